#include "autoscaler/window.h"

#include <gtest/gtest.h>

#include <cmath>

namespace knit::autoscaler {
namespace {
using namespace std::chrono_literals;
Instant at(double seconds) { return Instant{static_cast<std::int64_t>(seconds * 1e9)}; }

// serving.md 4.10
TEST(Window, LinearVectors) {
  Window w(60s, Aggregation::Linear);
  for (int i = 0; i < 3; ++i) w.record(at(100 + i), 10);
  EXPECT_DOUBLE_EQ(w.average(at(102)), 10);
  EXPECT_DOUBLE_EQ(w.average(at(112)), 10);  // 30 / min(3, 60 - 10)
  for (int i = 3; i < 60; ++i) w.record(at(100 + i), 0);
  EXPECT_DOUBLE_EQ(w.average(at(159)), 0.5);
}

TEST(Window, LinearTable) {
  const struct {
    const char* name;
    std::vector<std::pair<double, double>> writes;
    double read, want;
  } rows[] = {
      {"nothing", {}, 5, 0},
      {"adds up within a second", {{1.0, 2}, {1.7, 3}}, 1.9, 5},
      {"a young window divides by its age", {{1, 6}, {3, 0}}, 3, 2},
      {"values fall out", {{0, 10}, {4, 20}}, 6, 6.666667},  // 20 over 5 - 2 buckets
      {"the whole window later", {{0, 10}}, 5, 0},
      {"a gap starts afresh", {{0, 10}, {1, 10}, {7, 4}}, 7, 4},
      {"late value counts", {{3, 4}, {1, 2}}, 3, 2},  // 6 over 3 seconds
      {"too late value does not", {{10, 4}, {5, 100}}, 10, 4},
      {"rounded to six decimals", {{0, 1}, {1, 0}, {2, 0}}, 2, 0.333333},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    Window w(5s, Aggregation::Linear);
    for (const auto& [t, v] : row.writes) w.record(at(t), v);
    EXPECT_DOUBLE_EQ(w.average(at(row.read)), row.want);
  }
}

TEST(Window, EmptyOnlyAfterTheWholeWindow) {
  Window w(6s, Aggregation::Linear);
  EXPECT_TRUE(w.empty(at(0)));
  w.record(at(10), 1);
  EXPECT_FALSE(w.empty(at(16)));
  EXPECT_TRUE(w.empty(at(16.001)));
}

// serving.md 4.3: weights m(1-m)^i with m = max(0.2, 1-(1-0.9999)^(1/nb)).
TEST(Window, WeightedExponential) {
  Window w(5s, Aggregation::WeightedExponential);
  const double m = std::max(0.2, 1 - std::pow(0.0001, 1.0 / 5));
  w.record(at(0), 8);
  EXPECT_NEAR(w.average(at(0)), 8 * m, 1e-12);
  EXPECT_NEAR(w.average(at(2)), 8 * m * std::pow(1 - m, 2), 1e-12);
  w.record(at(1), 4);
  EXPECT_NEAR(w.average(at(1)), 4 * m + 8 * m * (1 - m), 1e-12);
  for (int i = 2; i < 7; ++i) w.record(at(i), 10);
  EXPECT_NEAR(w.average(at(6)), 10 * 0.9999, 1e-9);  // not normalised
  EXPECT_DOUBLE_EQ(w.average(at(20)), 0);
  Window wide(60s, Aggregation::WeightedExponential);
  wide.record(at(0), 10);
  EXPECT_NEAR(wide.average(at(0)), 10 * std::max(0.2, 1 - std::pow(0.0001, 1.0 / 60)), 1e-12);
}

TEST(Window, ResizeKeepsTheNewest) {
  Window w(6s, Aggregation::Linear);
  for (int i = 0; i < 6; ++i) w.record(at(i), i < 3 ? 0 : 6);
  EXPECT_DOUBLE_EQ(w.average(at(5)), 3);
  w.resize(3s);
  EXPECT_DOUBLE_EQ(w.average(at(5)), 6);
  w.resize(10s);
  EXPECT_DOUBLE_EQ(w.average(at(5)), 6);
}

TEST(MaxWindow, KeepsTheLargestOfTheWindow) {
  MaxWindow w(6s, 2s);  // three buckets
  w.record(at(0), 5);
  w.record(at(2), 3);
  EXPECT_EQ(w.max(), 5);
  w.record(at(4), 1);
  EXPECT_EQ(w.max(), 5);
  w.record(at(6), 1);
  EXPECT_EQ(w.max(), 3);
  w.record(at(8), 1);
  EXPECT_EQ(w.max(), 1);
  w.record(at(9), 7);
  EXPECT_EQ(w.max(), 7);
}

}  // namespace
}  // namespace knit::autoscaler
