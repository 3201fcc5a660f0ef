#include "base/time.h"

namespace knit {
namespace {
using namespace std::chrono_literals;

TEST(Time, Rfc3339RoundTrip) {
  const auto t = parse_rfc3339("2026-11-25T01:02:03.123456Z").value();
  EXPECT_EQ(rfc3339(t), "2026-11-25T01:02:03Z");
  EXPECT_EQ(rfc3339_fraction(t, 6), "2026-11-25T01:02:03.123456Z");
  EXPECT_EQ(parse_rfc3339("2026-11-25T03:02:03+02:00").value(),
            parse_rfc3339("2026-11-25T01:02:03Z").value());
  for (const auto* bad : {"", "2026-11-25", "2026-13-25T01:02:03Z", "2026-11-25T01:02:03", "x"}) {
    EXPECT_FALSE(parse_rfc3339(bad)) << bad;
  }
}

TEST(Time, YearsBeyondNanosecondsCountAsTheNearest) {
  const auto first = parse_rfc3339("0001-01-01T00:00:00Z").value();
  EXPECT_EQ(first, parse_rfc3339("1013-01-01T00:00:00Z").value());
  EXPECT_LT(first, parse_rfc3339("1678-01-01T00:00:00Z").value());
  EXPECT_GT(parse_rfc3339("9999-12-31T23:59:59.999999999Z").value(),
            parse_rfc3339("2261-12-31T23:59:59Z").value());
}

TEST(Time, GoDurations) {
  const struct { const char* text; Duration want; const char* print; } rows[] = {
      {"0", 0s, "0s"}, {"6s", 6s, "6s"}, {"1m30s", 90s, "1m30s"}, {"1.5s", 1500ms, "1.5s"},
      {"300ms", 300ms, "300ms"}, {"-1s", -1s, "-1s"}, {"2h45m", 165min, "2h45m0s"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.text);
    const auto d = parse_go_duration(row.text);
    ASSERT_TRUE(d);
    EXPECT_EQ(*d, row.want);
    EXPECT_EQ(go_duration(*d), row.print);
  }
  for (const auto* bad : {"", "5", "s", "1x", "1..2s", "-", "1s2"}) {
    EXPECT_FALSE(parse_go_duration(bad)) << bad;
  }
}
}  // namespace
}  // namespace knit
