// What became of the requests: counts, percentiles, gaps, failures; as one JSON object.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/json.h"

namespace knit::load {

/// Seconds of the monotonic clock (Python's time.monotonic() is the same one).
using Seconds = double;

struct Sample {
  std::uint64_t n = 0;
  Seconds due = 0;    // when the schedule wanted it (closed loop: when it was begun)
  Seconds begun = 0;  // when it got a connection; for a new one: connect()
  Seconds sent = 0;   // when the request was written; 0: never
  Seconds done = 0;
  int status = 0;
  std::string error;   // empty: a good answer
  bool fresh = false;  // on a connection made for it
};

class Report {
 public:
  /// `began`: when the run did. Keeps every good sample's time and the first 1,000 failures.
  explicit Report(Seconds began) : began_(began) {}
  void add(const Sample& sample);
  void idle_closed() { ++idle_closed_; }
  std::uint64_t good() const { return good_.size(); }
  /// {"requests", "good", "errors": {kind: n}, "failures": […], "rps", "latency_ms": {…}, "gaps":
  /// [{"from", "to", "seconds"}], …}. Times are absolute seconds of the monotonic clock.
  Json json(Seconds ended, Seconds cpu) const;

 private:
  struct Good {
    Seconds due, done;
  };
  Seconds began_;
  std::vector<Good> good_;
  std::map<std::string, std::uint64_t> errors_;
  std::vector<Sample> failures_;
  std::uint64_t requests_ = 0, connections_ = 0, idle_closed_ = 0;
};

/// The value at `share` (0…1) of sorted `values`: the smallest that at least this share is at or
/// below. 0 for none.
double percentile(const std::vector<double>& sorted, double share);

/// One line of the trace.
std::string trace_line(const Sample& sample);

}  // namespace knit::load
