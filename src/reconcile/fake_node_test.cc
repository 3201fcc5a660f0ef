#include "reconcile/fake_node.h"

#include <gtest/gtest.h>

#include "reconcile/sim_world.h"

namespace knit::reconcile {
namespace {
namespace res = kube::res;
using std::chrono::milliseconds;
using std::chrono::seconds;
using Kind = PodFate::Kind;

struct NodeTest : ::testing::Test {
  io::SimLoop loop;
  FakeBackend backend{loop};
  PodFate fate;
  bool busy = false;
  std::vector<std::string> seen;
  FakeNode node{loop, settings()};
  const Key pod{res::pods(), "default", "p"};

  FakeNodeSettings settings() {
    FakeNodeSettings s;
    s.fate = [this](const Json&) { return fate; };
    s.busy = [this](const std::string&) { return busy; };
    s.started = [this](const std::string&) { seen.push_back("started"); };
    s.ended = [this](const std::string&) { seen.push_back("ended"); };
    return s;
  }
  void start() {
    node.connect(backend);
    ASSERT_TRUE(backend.apply(res::pods(), R"({"apiVersion":"v1","kind":"Pod",
      "metadata":{"name":"p","namespace":"default"},"spec":{"nodeName":"knit",
      "containers":[{"name":"c","image":"x"}]}})"));
    loop.advance(milliseconds(20));
  }
  std::string state() {
    const Json p = backend.view(pod);
    if (p.is_null()) return "none";
    std::string out(json::str(p, {"status", "phase"}));
    for (const auto& c : json::array(p, {"status", "containerStatuses"})) {
      const std::string waits(json::str(c, {"state", "waiting", "reason"}));
      if (!waits.empty()) out += " " + waits;
      if (json::boolean(c, {"ready"})) out += " ready";
      out += " " + std::to_string(json::i64(c, {"restartCount"}));
    }
    return out;
  }
};

TEST_F(NodeTest, EachFateIsToldAndTriedAgain) {
  const struct {
    PodFate fate;
    const char *at_start, *after_5s, *repaired;
  } rows[] = {
      {{Kind::Runs, {}}, "Running ready 0", "Running ready 0", "Running ready 0"},
      {{Kind::Runs, seconds(3)}, "Running 0", "Running ready 0", "Running ready 0"},
      {{Kind::NeverReady, {}}, "Running 0", "Running 0", "Running 0"},
      {{Kind::Crashes, {}}, "Running 0", "Running CrashLoopBackOff 1", "Running ready 1"},
      {{Kind::NoImage, {}},
       "Pending ImagePullBackOff 0",
       "Pending ImagePullBackOff 0",
       "Running ready 0"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.at_start);
    fate = row.fate;
    start();
    EXPECT_EQ(state(), row.at_start);
    loop.advance(seconds(5));
    EXPECT_EQ(state(), row.after_5s);
    fate = {};
    loop.advance(seconds(30));
    EXPECT_EQ(state(), row.repaired);
    ASSERT_TRUE(backend.remove(pod));
    loop.advance(seconds(31));
    EXPECT_EQ(state(), "none");
  }
}

TEST_F(NodeTest, ContainersOutliveTheNodesProcessAndItsConnection) {
  start();
  EXPECT_EQ(state(), "Running ready 0");
  node.disconnect();
  node.crash_container(pod);
  loop.advance(seconds(1));
  EXPECT_EQ(state(), "Running ready 0") << "nobody could tell";
  node.connect(backend);
  loop.settle();
  EXPECT_EQ(state(), "Running CrashLoopBackOff 1");
  loop.advance(seconds(20));
  EXPECT_EQ(state(), "Running ready 1");

  node.kill();
  node.disconnect();
  ASSERT_TRUE(backend.remove(pod));
  loop.advance(seconds(60));
  EXPECT_EQ(state(), "Running ready 1") << "asked to go, but nobody is there to do it";
  node.restart();
  node.connect(backend);
  loop.advance(seconds(1));
  EXPECT_EQ(state(), "none");
  EXPECT_EQ(seen, (std::vector<std::string>{"started", "ended", "started", "ended", "ended"}));
}

TEST_F(NodeTest, APodWithWorkHasItsGrace) {
  start();
  busy = true;
  ASSERT_TRUE(backend.remove(pod));
  loop.advance(seconds(29));
  EXPECT_EQ(state(), "Running ready 0");
  loop.advance(seconds(2));
  EXPECT_EQ(state(), "none");
}

}  // namespace
}  // namespace knit::reconcile
