// What the autoscaler remembers of a metric: one bucket a second over a window, and the largest of
// recent decisions.
// Source: knative/serving pkg/autoscaler/aggregation/bucketing.go, aggregation/max/window.go
#pragma once

#include <deque>
#include <vector>

#include "base/time.h"

namespace knit::autoscaler {

enum class Aggregation { Linear, WeightedExponential };

/// A ring of one-second buckets. Values recorded in the same second add up.
class Window {
 public:
  Window(Duration length, Aggregation aggregation);

  /// A value older than the window is dropped; a gap of the whole window starts afresh.
  void record(Instant at, double value);
  /// Linear: over the seconds since the first write (at most the window), without those that fell
  /// out, to six decimals. Weighted-exponential: recent seconds weigh more, not normalised.
  double average(Instant now) const;
  /// Nothing was recorded for longer than the window.
  bool empty(Instant now) const;
  /// Keeps what still fits.
  void resize(Duration length);
  Duration length() const { return length_; }
  Aggregation aggregation() const { return aggregation_; }

 private:
  double linear(std::int64_t second) const;
  double weighted(std::int64_t second) const;
  std::int64_t size() const { return static_cast<std::int64_t>(buckets_.size()); }
  double& bucket(std::int64_t second);
  double bucket(std::int64_t second) const;

  Duration length_;
  Aggregation aggregation_;
  std::vector<double> buckets_;
  bool written_ = false;
  std::int64_t first_ = 0, last_ = 0;  // seconds
  double total_ = 0;
};

/// The largest value recorded during the last `length`, in steps of `step`.
class MaxWindow {
 public:
  MaxWindow(Duration length, Duration step);
  void record(Instant at, int value);
  int max() const { return entries_.empty() ? 0 : entries_.front().value; }

 private:
  struct Entry {
    std::int64_t index;
    int value;
  };
  std::int64_t step_ns_, size_;
  std::deque<Entry> entries_;  // values fall towards the back
};

}  // namespace knit::autoscaler
