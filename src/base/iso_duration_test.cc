#include "base/iso_duration.h"

namespace knit {
namespace {

using namespace std::chrono_literals;

TEST(IsoDuration, Table) {
  const struct {
    const char* text;
    Duration want;
  } rows[] = {
      {"PT0.2S", 200ms},
      {"PT0,2S", 200ms},
      {"PT1S", 1s},
      {"PT1M", 1min},
      {"PT2H", 2h},
      {"P1D", 24h},
      {"P1DT2H3M4S", 26h + 3min + 4s},
      {"P2W", 336h},
      {"-PT1S", -1s},
      {"+PT1S", 1s},
      {"PT0S", 0s},
      {"P1Y", 31'556'952s},
      {"P1M", 2'629'746s},
      {"PT36H", 36h},
      {"PT1.5M", 90s},
      {"PT0.000000001S", 1ns},
      {"P0D", 0s},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.text);
    const auto d = parse_iso_duration(row.text);
    ASSERT_TRUE(d) << d.error().message();
    EXPECT_EQ(*d, row.want);
  }
  for (const char* bad : {"",        "P",
                          "PT",      "T1S",
                          "1S",      "PTS",
                          "PT1",     "P1S",
                          "PT1D",    "PT1S1M",
                          "PT1M1M",  "PT1.S",
                          "PT.5S",   "PT1.5M2S",
                          "PT1S ",   "pt1s",
                          "P1DT",    "PT1X",
                          "5s",      "P999999999Y",
                          "PT1T1S",  "PT99999999999999999999S",
                          "PT1.2.3S"}) {
    EXPECT_FALSE(parse_iso_duration(bad)) << bad;
  }
}

}  // namespace
}  // namespace knit
