// PingSource schedules (eventing.md 1.7: five fields, or six with seconds; descriptors; no @every).
#include "cron/schedule.h"

#include <gtest/gtest.h>

namespace knit::cron {
namespace {

std::string next(std::string_view schedule, std::string_view zone, std::string_view now) {
  auto s = Schedule::parse(schedule);
  if (!s) return std::string(s.error().message());
  auto z = TimeZone::load(zone);
  if (!z) return std::string(z.error().message());
  auto t = parse_rfc3339(now);
  KNIT_CHECK(t.has_value());
  const auto found = s->next(*t, *z);
  return found ? rfc3339(*found) : "never";
}

TEST(Schedule, Next) {
  const struct {
    const char *name, *schedule, *zone, *now, *want;
  } rows[] = {
      {"every minute", "* * * * *", "UTC", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"},
      {"within a second", "* * * * *", "UTC", "2026-01-01T00:00:59.5Z", "2026-01-01T00:01:00Z"},
      {"leading seconds", "*/10 * * * * *", "UTC", "2026-01-01T00:00:55Z", "2026-01-01T00:01:00Z"},
      {"descriptor", "@hourly", "UTC", "2026-01-01T00:10:00Z", "2026-01-01T01:00:00Z"},
      {"weekly", "@weekly", "UTC", "2026-01-01T00:10:00Z", "2026-01-04T00:00:00Z"},
      {"names", "0 9 * feb mon-fri", "UTC", "2026-01-31T00:00:00Z", "2026-02-02T09:00:00Z"},
      {"either day", "0 0 13 * 5", "UTC", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"},
      {"leap day", "0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"},
      {"no such day", "0 0 31 2 *", "UTC", "2026-01-01T00:00:00Z", "never"},
      {"zone in winter", "0 8 * * *", "Europe/Berlin", "2026-01-15T07:00:00Z",
       "2026-01-16T07:00:00Z"},
      {"zone in summer", "0 8 * * *", "Europe/Berlin", "2026-07-15T00:00:00Z",
       "2026-07-15T06:00:00Z"},
      // 2026-03-29 02:00 to 03:00 does not exist in Berlin.
      {"clocks forward", "30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z",
       "2026-03-30T00:30:00Z"},
      // 2026-10-25 02:30 comes twice.
      {"clocks back, first", "30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z",
       "2026-10-25T00:30:00Z"},
      {"clocks back, again", "30 2 * * *", "Europe/Berlin", "2026-10-25T00:30:00Z",
       "2026-10-25T01:30:00Z"},
      // Lord Howe Island goes from +10:30 to +11:00 at 02:00 on 2026-10-04.
      {"half an hour forward", "15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z",
       "2026-10-04T15:15:00Z"},
      {"every second", "* * * * * *", "Europe/Berlin", "2026-06-01T21:59:59.999Z",
       "2026-06-01T22:00:00Z"},
      {"before the epoch", "0 0 1 1 *", "UTC", "1969-06-01T00:00:00Z", "1970-01-01T00:00:00Z"},
      {"after the table ends", "0 8 * * *", "America/New_York", "2060-07-01T13:00:00Z",
       "2060-07-02T12:00:00Z"},
      {"half hours", "0 0 * * *", "Asia/Kolkata", "2026-01-01T00:00:00Z", "2026-01-01T18:30:00Z"},
      {"every", "@every 5s", "UTC", "2026-01-01T00:00:00Z", "unsupported descriptor @every"},
      {"unknown descriptor", "@sometimes", "UTC", "2026-01-01T00:00:00Z",
       "unrecognized descriptor: @sometimes"},
      {"fields", "* * *", "UTC", "2026-01-01T00:00:00Z",
       "expected 5 to 6 fields, found 3: [* * *]"},
      {"high", "61 * * * *", "UTC", "2026-01-01T00:00:00Z",
       "schedule: minute field \"61\": above maximum 59"},
      {"huge step", "*/4294967295 * * * *", "UTC", "2026-01-01T00:10:00Z", "2026-01-01T01:00:00Z"},
      {"zero step", "*/0 * * * *", "UTC", "2026-01-01T00:00:00Z",
       "schedule: minute field \"*/0\": step of range should be a positive number"},
      {"zone", "* * * * *", "Mars/Olympus", "2026-01-01T00:00:00Z",
       "unknown time zone Mars/Olympus"},
      {"no way out", "* * * * *", "../../etc/passwd", "2026-01-01T00:00:00Z",
       "unknown time zone ../../etc/passwd"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    EXPECT_EQ(next(row.schedule, row.zone, row.now), row.want);
  }
}

TEST(TimeZone, RefusesWhatIsNoZoneFile) {
  EXPECT_FALSE(TimeZone::parse(""));
  EXPECT_FALSE(TimeZone::parse("TZif"));
  std::string lying = "TZif2" + std::string(39, '\xff');
  EXPECT_FALSE(TimeZone::parse(lying));
  EXPECT_FALSE(TimeZone::parse(lying + lying));
}

}  // namespace
}  // namespace knit::cron
