#include "autoscaler/kpa.h"

#include <gtest/gtest.h>

namespace knit::autoscaler {
namespace {
using namespace std::chrono_literals;
constexpr Instant kNow{1'000'000'000'000};

// serving.md 4.4
TEST(Kpa, Targets) {
  const struct {
    const char* name;
    Metric metric;
    std::optional<double> annotation;
    double cc, target, total;
  } rows[] = {
      {"default", Metric::Concurrency, {}, 0, 70, 100},
      {"concurrency limit", Metric::Concurrency, {}, 10, 7, 10},
      {"annotation", Metric::Concurrency, 50, 0, 35, 50},
      {"annotation above the limit", Metric::Concurrency, 50, 10, 7, 10},
      {"annotation below the limit", Metric::Concurrency, 5, 10, 3.5, 5},
      {"rps", Metric::Rps, {}, 10, 140, 200},
      {"rps annotation", Metric::Rps, 10, 0, 7, 10},
      {"never zero", Metric::Concurrency, 0.01, 0, 0.01, 0.01},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const auto got = resolve_target(row.metric, row.annotation, row.cc, 0.7, 100, 200);
    EXPECT_DOUBLE_EQ(got.target, row.target);
    EXPECT_DOUBLE_EQ(got.total, row.total);
  }
  EXPECT_EQ(panic_window(60s, 10), Duration(6s));
  EXPECT_EQ(panic_window(6s, 10), Duration(1s));
  EXPECT_EQ(panic_window(15s, 10), Duration(2s));  // 1.5 rounds away from zero
}

TEST(Kpa, TickTable) {
  const struct {
    const char* name;
    Spec spec;
    Averages averages;
    int ready, desired;
    bool panic;
    double excess;
  } rows[] = {
      // serving.md 4.10: dspc 3, dppc 8, 8/2 >= 2: panic with 8
      {"panics", {.target = 7, .total = 10}, {20, 50}, 2, 8, true, 20 - 211 - 50},
      {"ready 0 has no capacity", {}, {0, 0}, 0, 0, false, -211},
      {"ready 3 serves", {}, {0, 0}, 3, 1, false, 89},  // floor(3/2) = 1
      {"halves at most", {}, {70, 70}, 9, 4, false, 900 - 211 - 70},
      {"unreachable goes to zero at once", {.reachable = false}, {0, 0}, 9, 0, false, 689},
      {"up rate",
       {.target = 1, .total = 1, .max_scale_up_rate = 1.1},
       {5, 1},
       2,
       3,
       false,
       -1 * 210},
      {"TBC 0", {.target_burst_capacity = 0}, {1, 1}, 0, 1, false, 0},
      {"TBC -1", {.target_burst_capacity = -1}, {1, 1}, 5, 2, false, -1},
      {"activation scale", {.activation_scale = 4}, {1, 0}, 4, 4, false, 189},
      {"activation scale only with traffic", {.activation_scale = 4}, {0, 0}, 1, 0, false, -111},
      // TestTargetBurstCapacity: target 10, 70 %, TBC 7, 12 concurrent → 2 pods, activator out
      {"burst test",
       {.target = 7, .total = 10, .target_burst_capacity = 7},
       {12, 12},
       2,
       2,
       false,
       1},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    State state;
    const auto got = tick(state, row.spec, row.averages, row.ready, kNow);
    ASSERT_TRUE(got.has_value());
    EXPECT_EQ(got->desired, row.desired);
    EXPECT_EQ(got->panic, row.panic);
    EXPECT_DOUBLE_EQ(got->excess_burst, row.excess);
  }
}

TEST(Kpa, NoDataGivesNoDecision) {
  State state;
  EXPECT_FALSE(tick(state, Spec{}, std::nullopt, 1, kNow).has_value());
}

TEST(Kpa, PanicNeverShrinksAndEndsAfterTheStableWindow) {
  Spec spec{.target = 10, .total = 10};
  State state;
  EXPECT_EQ(tick(state, spec, Averages{10, 80}, 1, kNow)->desired, 8);
  EXPECT_EQ(tick(state, spec, Averages{20, 20}, 8, kNow + 2s)->desired, 8);  // below the threshold
  EXPECT_TRUE(tick(state, spec, Averages{20, 20}, 8, kNow + 60s)->panic);    // not yet after 60 s
  const auto after = tick(state, spec, Averages{20, 20}, 8, kNow + 60s + 1ns);
  EXPECT_FALSE(after->panic);
  EXPECT_EQ(after->desired, 4);  // halves from 8
}

TEST(Kpa, PanicIsExtendedWhileOver) {
  Spec spec{.target = 10, .total = 10};
  State state;
  (void)tick(state, spec, Averages{10, 80}, 1, kNow);
  (void)tick(state, spec, Averages{10, 80}, 4, kNow + 50s);
  EXPECT_TRUE(tick(state, spec, Averages{10, 10}, 8, kNow + 100s)->panic);
}

TEST(Kpa, RestartWithPodsStartsInPanic) {
  State state = initial_state(Spec{}, 5, kNow);
  const auto got = tick(state, Spec{}, Averages{0, 0}, 5, kNow + 2s);
  EXPECT_TRUE(got->panic);
  EXPECT_EQ(got->desired, 5);
  State single = initial_state(Spec{}, 1, kNow);
  EXPECT_EQ(tick(single, Spec{}, Averages{0, 0}, 1, kNow + 2s)->desired, 0);
}

TEST(Kpa, ScaleDownDelayHoldsTheLargest) {
  Spec spec{.target = 10, .total = 10, .panic_threshold = 10, .scale_down_delay = 10s};
  State state = initial_state(spec, 0, kNow);
  EXPECT_EQ(tick(state, spec, Averages{30, 30}, 3, kNow)->desired, 3);
  for (int s = 2; s < 10; s += 2) {
    EXPECT_EQ(tick(state, spec, Averages{0, 0}, 3, kNow + std::chrono::seconds(s))->desired, 3);
  }
  EXPECT_EQ(tick(state, spec, Averages{0, 0}, 3, kNow + 10s)->desired, 1);
  spec.reachable = false;  // an unreachable revision is not held
  EXPECT_EQ(tick(state, spec, Averages{0, 0}, 3, kNow + 12s)->desired, 0);
}

TEST(Kpa, InitialDecisionAndActivators) {
  EXPECT_EQ(initial_decision(Spec{}).desired, -1);
  EXPECT_DOUBLE_EQ(initial_decision(Spec{}).excess_burst, -111);
  EXPECT_DOUBLE_EQ(initial_decision(Spec{.initial_scale = 4}).excess_burst, 189);
  EXPECT_DOUBLE_EQ(initial_decision(Spec{.target_burst_capacity = 0}).excess_burst, 0);
  EXPECT_DOUBLE_EQ(initial_decision(Spec{.target_burst_capacity = -1}).excess_burst, -1);
  EXPECT_EQ(activators_for(Spec{.target_burst_capacity = 0}, 50), 2);
  EXPECT_EQ(activators_for(Spec{}, 0), 3);    // ceil(211/100)
  EXPECT_EQ(activators_for(Spec{}, 10), 13);  // ceil((1000+211)/100)
  EXPECT_EQ(activators_for(Spec{.target_burst_capacity = -1}, 1), 2);
}

}  // namespace
}  // namespace knit::autoscaler
