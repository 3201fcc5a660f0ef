#include "autoscaler/autoscaler.h"

#include <gtest/gtest.h>

namespace knit::autoscaler {
namespace {
using namespace std::chrono_literals;

class AutoscalerTest : public ::testing::Test {
 protected:
  void pass(Duration d, std::vector<Sample> each_second = {}) {
    const Instant end = now + d;
    while (now < end) {
      now = now + 1s;
      scaler.on_stats(each_second, now);
      if ((now.ns / 1'000'000'000) % 2 == 0) scaler.tick(now);
    }
  }
  int desired() const { return scaler.last("ns/rev")->desired; }

  Instant now{1'000'000'000'000};
  std::vector<std::pair<std::string, Decision>> emitted;
  Autoscaler scaler{
      [this](const std::string& name, const Decision& d) { emitted.emplace_back(name, d); }};
};

TEST_F(AutoscalerTest, SaysWhatItStartsWith) {
  scaler.set("ns/rev", Spec{}, 0, now);
  ASSERT_EQ(emitted.size(), 1u);
  EXPECT_EQ(emitted[0].second.desired, -1);
  EXPECT_EQ(emitted[0].second.excess_burst, -111);
}

TEST_F(AutoscalerTest, DemandAtZeroDecidesAtOnce) {
  scaler.set("ns/rev", Spec{}, 1, now);
  pass(62s);
  ASSERT_EQ(desired(), 0);
  scaler.set("ns/rev", Spec{}, 0, now);
  pass(600s);
  emitted.clear();
  scaler.on_demand("ns/rev", now);
  ASSERT_EQ(emitted.size(), 1u);
  EXPECT_EQ(emitted[0].second.desired, 1);
  scaler.on_demand("ns/rev", now);  // the same demand, a second later
  EXPECT_EQ(emitted.size(), 1u);
}

// serving.md 4.1: the poke's 1 is taken off the next report.
TEST_F(AutoscalerTest, TakesThePokeOffTheNextReport) {
  scaler.set("ns/rev", Spec{.target = 1, .total = 1}, 0, now);
  scaler.on_demand("ns/rev", now);
  EXPECT_EQ(desired(), 1);
  scaler.on_stats({{"ns/rev", 1, 1}}, now);  // the same second: 1 + (1 - 1)
  scaler.tick(now);
  EXPECT_EQ(desired(), 1);
  scaler.on_stats({{"ns/rev", 3, 3}}, now + 1s);
  scaler.tick(now + 1s);
  EXPECT_DOUBLE_EQ(scaler.last("ns/rev")->stable, 2);  // (1 + 3) / 2
}

TEST_F(AutoscalerTest, IdleReachesZeroAfterTheStableWindow) {
  scaler.set("ns/rev", Spec{}, 1, now);
  pass(10s, {{"ns/rev", 2, 2}});
  EXPECT_EQ(desired(), 1);
  pass(58s);
  EXPECT_EQ(desired(), 1);
  pass(4s);
  EXPECT_EQ(desired(), 0);
}

TEST_F(AutoscalerTest, SilenceAtZeroKeepsTheLastDecision) {
  scaler.set("ns/rev", Spec{}, 0, now);
  pass(200s);
  EXPECT_EQ(desired(), -1);
  EXPECT_EQ(emitted.size(), 1u);
}

TEST_F(AutoscalerTest, AlwaysInPathDecidesWithoutData) {
  scaler.set("ns/rev", Spec{.target_burst_capacity = -1}, 0, now);
  scaler.tick(now);
  EXPECT_EQ(desired(), 0);
}

TEST_F(AutoscalerTest, EmitsOnlyChanges) {
  scaler.set("ns/rev", Spec{}, 1, now);
  pass(10s, {{"ns/rev", 10, 10}});
  const auto before = emitted.size();
  pass(30s, {{"ns/rev", 20, 10}});  // still one pod
  EXPECT_EQ(emitted.size(), before);
  pass(30s, {{"ns/rev", 100, 10}});
  EXPECT_GT(emitted.size(), before);
}

TEST_F(AutoscalerTest, RpsMetric) {
  scaler.set("ns/rev", Spec{.metric = Metric::Rps, .target = 10, .total = 10}, 1, now);
  pass(60s, {{"ns/rev", 0.1, 25}});
  EXPECT_EQ(desired(), 3);
}

TEST_F(AutoscalerTest, RemovedIsForgotten) {
  scaler.set("ns/rev", Spec{}, 1, now);
  scaler.retain([](const std::string&) { return false; });
  EXPECT_EQ(scaler.size(), 0u);
  EXPECT_EQ(scaler.last("ns/rev"), nullptr);
  scaler.on_demand("ns/rev", now);
}

}  // namespace
}  // namespace knit::autoscaler
