#include "events/engine/trace.h"

namespace knit::events {
namespace {

Step attempt(Seq seq, int status) {
  Step s;
  s.subscriber = "u";
  s.seq = seq;
  s.status = status;
  return s;
}

TEST(Tracer, FindsByIdInOrder) {
  Tracer t;
  t.accepted("broker ns/a", 0, "1");
  t.accepted("broker ns/b", 0, "1");
  t.accepted("broker ns/a", 1, "2");
  t.step("broker ns/a", attempt(1, 503), WallTime{1});
  t.step("broker ns/a", attempt(1, 200), WallTime{2});
  ASSERT_EQ(t.find("1").size(), 2u);
  EXPECT_EQ(t.find("1")[0]->stream, "broker ns/a");
  EXPECT_EQ(t.find("1")[1]->stream, "broker ns/b");
  ASSERT_EQ(t.find("2").size(), 1u);
  EXPECT_EQ(t.find("2")[0]->steps.size(), 2u);
  EXPECT_EQ(t.find("2")[0]->steps[1].step.status, 200);
  EXPECT_TRUE(t.find("3").empty());
}

TEST(Tracer, IsBounded) {
  Tracer t(3, 4);
  for (Seq n = 0; n < 10; ++n) t.accepted("s", n, std::to_string(n));
  EXPECT_EQ(t.size(), 3u);
  EXPECT_EQ(t.find("s", 6), nullptr);
  ASSERT_NE(t.find("s", 9), nullptr);
  for (int n = 0; n < 10; ++n) {
    Step s = attempt(9, n);
    s.text = std::string(10'000, 'x');
    t.step("s", s, WallTime{n});
  }
  const auto& steps = t.find("s", 9)->steps;
  ASSERT_EQ(steps.size(), 4u);
  EXPECT_EQ(steps[0].step.status, 0) << "the first tries";
  EXPECT_EQ(steps[3].step.status, 9) << "and the latest";
  EXPECT_LE(steps[3].step.text.size(), 512u);
  // A step of what was accepted before the tracer looked.
  t.step("old", attempt(5, 200), WallTime{1});
  EXPECT_EQ(t.find("old", 5)->id, "");
}

}  // namespace
}  // namespace knit::events
