// Two kinds of time that do not convert into each other.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace knit {

using Duration = std::chrono::nanoseconds;

/// Monotonic, for timeouts and rates. Comes from a Loop or a Clock, never from the system directly.
struct Instant {
  std::int64_t ns = 0;
  auto operator<=>(const Instant&) const = default;
  Instant operator+(Duration d) const { return {ns + d.count()}; }
  Instant operator-(Duration d) const { return {ns - d.count()}; }
  Duration operator-(Instant o) const { return Duration(ns - o.ns); }
  static Instant max() { return {INT64_MAX}; }
};

/// Wall-clock time, nanoseconds since the Unix epoch; for timestamps that users see.
struct WallTime {
  std::int64_t ns = 0;
  auto operator<=>(const WallTime&) const = default;
  WallTime operator+(Duration d) const { return {ns + d.count()}; }
  WallTime operator-(Duration d) const { return {ns - d.count()}; }
  Duration operator-(WallTime o) const { return Duration(ns - o.ns); }
};

/// "2026-11-25T01:02:03Z", the form of metav1.Time (whole seconds, UTC).
std::string rfc3339(WallTime t);
/// "2026-11-25T01:02:03.123456Z", metav1.MicroTime. `digits` is 6 or 9.
std::string rfc3339_fraction(WallTime t, int digits);
/// Parses RFC 3339 with optional fraction and offset; years that nanoseconds do not reach (before
/// 1678, after 2261) count as the nearest. Errors: InvalidArgument.
Result<WallTime> parse_rfc3339(std::string_view text);
/// Parses a Go duration ("1h2m3.5s", "300ms", "-1s", "0"). Errors: InvalidArgument.
Result<Duration> parse_go_duration(std::string_view text);
/// Prints as Go does ("1m30s", "6s", "1.5s", "0s").
std::string go_duration(Duration d);

}  // namespace knit
