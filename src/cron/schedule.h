// When something periodic fires: cron schedules with optional seconds and descriptors, in a time
// zone. Pure functions; a TimeZone is read once from the system's files. Source: robfig/cron v3
// parser.go, spec.go (the parser upstream uses)
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace knit::cron {

/// Offsets from UTC over time, from a TZif file (RFC 8536), with the footer's rule after the last
/// transition.
class TimeZone {
 public:
  /// "UTC", "Europe/Berlin". Errors: NotFound (unknown zone), InvalidArgument (a name that is no
  /// relative path of names, a file that is no TZif or is larger than 256 KiB).
  static Result<TimeZone> load(std::string_view name,
                               const std::string& directory = "/usr/share/zoneinfo");
  static Result<TimeZone> parse(std::string_view tzif);
  static TimeZone utc() { return TimeZone(); }

  /// Seconds east of UTC at a Unix time.
  std::int64_t offset_at(std::int64_t unix_seconds) const;

 private:
  struct Rule {  // "M3.5.0/2" or "Jn" or "n" of a POSIX TZ string
    int kind = 0, month = 0, week = 0, day = 0;
    std::int64_t second = 7200;
  };
  static bool parse_footer(std::string_view text, TimeZone& zone);
  static std::int64_t rule_seconds(const Rule& rule, std::int64_t year);

  std::vector<std::int64_t> at_;
  std::vector<std::int64_t> offset_;  // from at_[i] on
  std::int64_t first_ = 0;            // before at_[0]
  bool has_footer_ = false, has_dst_ = false;
  std::int64_t standard_ = 0, summer_ = 0;
  Rule begins_, ends_;
};

class Schedule {
 public:
  /// Five fields, six with seconds first, or @yearly … @hourly. Errors: InvalidArgument; @every and
  /// CRON_TZ= (spec.timezone is its place) are refused.
  static Result<Schedule> parse(std::string_view text);
  /// The first instant after `now` (whole seconds); nullopt when there is none within five years.
  std::optional<WallTime> next(WallTime now, const TimeZone& zone) const;

 private:
  bool day_matches(std::int64_t days_since_epoch) const;

  std::uint64_t second_ = 0, minute_ = 0, hour_ = 0, day_ = 0, month_ = 0, weekday_ = 0;
  bool any_day_ = false, any_weekday_ = false;  // "*" or "?"
};

}  // namespace knit::cron
