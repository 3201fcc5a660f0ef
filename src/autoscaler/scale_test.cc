#include "autoscaler/scale.h"

#include <gtest/gtest.h>

namespace knit::autoscaler {
namespace {
using namespace std::chrono_literals;

// serving.md 4.7
TEST(Scale, Bounds) {
  EXPECT_EQ(scale_bounds(2, 5, 1, 10, false).min, 2);
  EXPECT_EQ(scale_bounds({}, {}, 1, 10, false).min, 1);
  EXPECT_EQ(scale_bounds({}, {}, 1, 10, false).max, 10);
  EXPECT_EQ(scale_bounds(2, 5, 1, 10, true).min, 0);
  EXPECT_EQ(apply_bounds(0, {2, 5}), 2);
  EXPECT_EQ(apply_bounds(9, {2, 5}), 5);
  EXPECT_EQ(apply_bounds(9, {2, 0}), 9);
  EXPECT_EQ(apply_bounds(-1, {0, 0}), 0);
}

TEST(Scale, DecideTable) {
  const ScaleInput idle{
      .desired = 0, .initialized = true, .activity = Activity::Active, .in_activity = 61s};
  const auto with = [](ScaleInput base, auto change) {
    change(base);
    return base;
  };
  ScaleInput gone = idle;
  gone.activity = Activity::Inactive;
  gone.in_activity = 0s;
  gone.activator_confirmed = true;
  const struct {
    const char* name;
    ScaleInput in;
    ScaleResult want;
  } rows[] = {
      {"no data yet", {.desired = -1}, {-1, false, {}, false}},
      {"no data, inactive",
       {.desired = -1, .activity = Activity::Inactive},
       {-1, false, {}, false}},
      {"scales", {.desired = 3}, {3, true, {}, false}},
      {"minimum", {.desired = 0, .bounds = {2, 0}}, {2, true, {}, false}},
      {"maximum", {.desired = 9, .bounds = {0, 5}}, {5, true, {}, false}},
      {"initial scale", {.desired = 1, .initial_scale = 3}, {3, true, {}, false}},
      {"initial scale reached once",
       {.desired = 1, .initial_scale = 3, .initialized = true},
       {1, true, {}, false}},
      {"initial scale of the unreachable",
       {.desired = 1, .initial_scale = 3, .unreachable = true},
       {1, true, {}, false}},
      {"scale to zero off",
       with(idle, [](ScaleInput& i) { i.enable_scale_to_zero = false; }),
       {1, true, {}, false}},
      {"active for long: first inactive", idle, {0, false, {}, false}},
      {"proxy mode asks again",
       with(idle, [](ScaleInput& i) { i.sks_proxy = true; }),
       {0, false, Duration(3s), false}},
      {"active too short: one pod",
       with(idle, [](ScaleInput& i) { i.in_activity = 20s; }),
       {1, true, Duration(40s), false}},
      {"activating waits",
       {.desired = 0, .activity = Activity::Activating, .in_activity = 10s},
       {-1, false, Duration(621s), false}},
      {"activation failed",
       {.desired = 0, .activity = Activity::Activating, .in_activity = 631s},
       {0, true, {}, false}},
      {"no data while activating keeps on",
       {.desired = -1, .activity = Activity::Activating, .in_activity = 10s},
       {-1, false, Duration(621s), false}},
      {"asks for the activator",
       with(gone, [](ScaleInput& i) { i.activator_confirmed = false; }),
       {0, false, {}, true}},
      {"TBC -1 needs no question",
       with(gone,
            [](ScaleInput& i) {
              i.activator_confirmed = false;
              i.target_burst_capacity = -1;
              i.proxy_for = 31s;
            }),
       {0, true, {}, false}},
      {"grace period from proxy start", gone, {0, false, Duration(30s), false}},
      {"part of the grace",
       with(gone, [](ScaleInput& i) { i.proxy_for = 12s; }),
       {0, false, Duration(18s), false}},
      {"asks again when it has been inactive for the grace, if that is sooner",
       with(gone,
            [](ScaleInput& i) {
              i.proxy_for = 2s;
              i.in_activity = 25s;
            }),
       {0, false, Duration(5s), false}},
      {"in the path for long",
       with(gone, [](ScaleInput& i) { i.proxy_for = 90s; }),
       {0, true, {}, false}},
      {"inactive for the grace",
       with(gone, [](ScaleInput& i) { i.in_activity = 30s; }),
       {0, true, {}, false}},
      {"retention waits",
       with(gone,
            [](ScaleInput& i) {
              i.pod_retention = 60s;
              i.in_activity = 40s;
              i.proxy_for = 90s;
            }),
       {0, false, Duration(20s), false}},
      {"retention not for the unreachable",
       with(gone,
            [](ScaleInput& i) {
              i.pod_retention = 60s;
              i.in_activity = 40s;
              i.unreachable = true;
            }),
       {0, true, {}, false}},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const auto got = decide_scale(row.in);
    EXPECT_EQ(got.want, row.want.want);
    EXPECT_EQ(got.apply, row.want.apply);
    EXPECT_EQ(got.again, row.want.again);
    EXPECT_EQ(got.probe_activator, row.want.probe_activator);
  }
}

// serving.md 4.6
TEST(Scale, SksMode) {
  EXPECT_EQ(sks_mode(0, 100, false), SksMode::Proxy);
  EXPECT_EQ(sks_mode(3, 0, false), SksMode::Serve);
  EXPECT_EQ(sks_mode(3, -1, false), SksMode::Proxy);
  EXPECT_EQ(sks_mode(-1, 5, true), SksMode::Proxy);
  EXPECT_EQ(sks_mode(-1, 5, false), SksMode::Serve);
}

TEST(Scale, PaStateTable) {
  using A = Activity;
  const struct {
    const char* name;
    int want, ready, min, initial;
    bool initialized, service;
    A before;
    bool now_initialized;
    A activity;
    bool timed_out;
  } rows[] = {
      {"first pods start", 1, 0, 0, 1, false, true, A::Activating, false, A::Activating, false},
      {"reaches the initial scale", 1, 1, 0, 1, false, true, A::Activating, true, A::Active, false},
      {"not before the service has a name", 1, 1, 0, 1, false, false, A::Activating, false,
       A::Active, false},
      {"initial scale 3 of 2", 3, 2, 0, 3, false, true, A::Activating, false, A::Activating, false},
      {"idle", 0, 1, 0, 1, true, true, A::Active, true, A::Inactive, false},
      {"never came up", 0, 0, 0, 1, false, true, A::Activating, false, A::Inactive, true},
      {"initial scale 0", -1, 0, 0, 0, false, true, A::Unset, true, A::Inactive, false},
      {"unknown stays inactive", -1, 0, 0, 1, true, true, A::Inactive, true, A::Inactive, false},
      {"wakes up", 1, 0, 0, 1, true, true, A::Inactive, true, A::Activating, false},
      {"unknown with pods stays inactive", -1, 1, 0, 1, true, true, A::Inactive, true, A::Inactive,
       false},
      {"minimum not reached", 5, 4, 5, 1, true, true, A::Active, true, A::Activating, false},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const auto got = pa_state(row.want, row.ready, row.min, row.initial, row.initialized,
                              row.service, row.before);
    EXPECT_EQ(got.initialized, row.now_initialized);
    EXPECT_EQ(got.activity, row.activity);
    EXPECT_EQ(got.timed_out, row.timed_out);
  }
}

}  // namespace
}  // namespace knit::autoscaler
