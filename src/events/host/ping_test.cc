// spec/eventing.md 1.7, 3.1: when PingSources tick, what they send, how often they try.
#include "events/host/ping.h"

#include "io/sim_loop.h"

namespace knit::events {
namespace {

using namespace std::chrono_literals;

class FakeSender final : public Sender {
 public:
  explicit FakeSender(io::Loop& loop) : loop_(loop) {}
  io::Task<Answer> send(OutMessage message) override {
    at.push_back(loop_.wall_now());
    got.push_back(std::move(message));
    return reply(status);
  }
  std::vector<OutMessage> got;
  std::vector<WallTime> at;
  int status = 202;

 private:
  static io::Task<Answer> reply(int code) { co_return Answer{code, {}, {}, code ? "" : "refused"}; }
  io::Loop& loop_;
};

class PingTest : public testing::Test {
 protected:
  std::shared_ptr<PingView> ping(std::string schedule, std::string uid = "u") {
    auto p = std::make_shared<PingView>();
    p->ns = "ns";
    p->name = "p";
    p->uid = std::move(uid);
    p->schedule = std::move(schedule);
    p->content_type = "application/json";
    p->data = R"({"a":1})";
    p->extensions = {{"ext", "v"}};
    p->sink = {"http://sink", "", "", "pingsource-mt-adapter"};
    return p;
  }
  void set(std::vector<std::shared_ptr<const PingView>> pings) {
    runner.set(pings);
    loop.settle();
  }

  std::unique_ptr<Random> random = seeded_random(3);
  io::SimLoop loop;  // starts at a full minute
  FakeSender sender{loop};
  PingRunner runner{loop, sender, *random};
};

TEST_F(PingTest, TicksWithinHalfASecondOfEachMinute) {
  set({ping("* * * * *")});
  const WallTime began = loop.wall_now();
  loop.advance(10min + 1s);
  ASSERT_EQ(sender.got.size(), 10u);
  std::set<std::string> ids;
  for (std::size_t i = 0; i < 10; ++i) {
    const Duration late = sender.at[i] - (began + (i + 1) * Duration(1min));
    EXPECT_GE(late.count(), 0);
    EXPECT_LT(late, Duration(500ms));
    ids.insert(std::string(sender.got[i].headers.get("ce-id")));
  }
  EXPECT_EQ(ids.size(), 10u);
  const OutMessage& m = sender.got[0];
  EXPECT_EQ(m.to.url, "http://sink");
  EXPECT_EQ(m.to.role, "pingsource-mt-adapter");
  EXPECT_EQ(m.headers.get("ce-type"), "dev.knative.sources.ping");
  EXPECT_EQ(m.headers.get("ce-source"), "/apis/v1/namespaces/ns/pingsources/p");
  EXPECT_EQ(m.headers.get("ce-ext"), "v");
  EXPECT_EQ(m.headers.get("content-type"), "application/json");
  EXPECT_EQ(m.headers.get("Kn-Namespace"), "ns");
  EXPECT_EQ(m.body, R"({"a":1})");
  EXPECT_EQ(runner.stats().sent, 10u);
  EXPECT_EQ(runner.sending(), 0u);
}

TEST_F(PingTest, TriesFiveTimesMoreWithDoubledWaits) {
  sender.status = 503;
  set({ping("* * * * *")});
  loop.advance(1min + 10s);
  ASSERT_EQ(sender.got.size(), 6u);
  for (std::size_t i = 1; i < 6; ++i) {
    EXPECT_EQ(sender.at[i] - sender.at[i - 1], Duration(50ms) * (1 << (i - 1)));
    EXPECT_EQ(sender.got[i].headers.get("ce-id"), sender.got[0].headers.get("ce-id"));
  }
  EXPECT_EQ(runner.stats().lost, 1u);
  sender.status = 400;  // no use in trying again
  loop.advance(1min);
  EXPECT_EQ(sender.got.size(), 7u);
}

TEST_F(PingTest, OneThatStaysIsNotDisturbedAndOneThatChangesStartsOver) {
  set({ping("*/2 * * * *")});
  loop.advance(1min);
  set({ping("*/2 * * * *"), ping("* * * * *", "v")});
  loop.advance(1min + 1s);
  EXPECT_EQ(sender.got.size(), 2u);
  set({ping("0 0 1 1 *")});
  loop.advance(10min);
  EXPECT_EQ(sender.got.size(), 2u);
  auto lost = ping("* * * * *");
  lost->sink.url.clear();
  set({lost});
  loop.advance(10min);
  EXPECT_EQ(runner.stats().ticks, 2u) << "without a sink nothing ticks";
}

TEST_F(PingTest, AClockThatIsSetBackTicksOnThatClock) {
  set({ping("* * * * *")});
  loop.advance(30s);
  loop.step_wall(-1h);
  loop.advance(2min);
  EXPECT_GE(sender.got.size(), 1u);
  loop.advance(3min);
  EXPECT_GE(sender.got.size(), 4u);
  EXPECT_LE(sender.got.size(), 5u);
}

TEST_F(PingTest, AnExtensionThatIsNoneIsLostAndTold) {
  auto p = ping("* * * * *");
  p->extensions = {{"Not-One", "v"}};
  set({p});
  loop.advance(1min + 1s);
  EXPECT_TRUE(sender.got.empty());
  EXPECT_EQ(runner.stats().lost, 1u);
}

}  // namespace
}  // namespace knit::events
