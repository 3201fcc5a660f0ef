#include "base/quantity.h"

#include <gtest/gtest.h>

namespace knit {
namespace {

// Source of the rows: apimachinery pkg/api/resource/quantity_test.go and the doc of Quantity.
TEST(Quantity, PrintsCanonically) {
  const struct {
    const char *in, *out;
    std::int64_t value, milli;
  } rows[] = {
      {"0", "0", 0, 0},
      {"0Ki", "0", 0, 0},
      {"1", "1", 1, 1000},
      {"100m", "100m", 1, 100},
      {"0.5", "500m", 1, 500},
      {"1.5", "1500m", 2, 1500},
      {"1000m", "1", 1, 1000},
      {"1024Mi", "1Gi", 1073741824, 1073741824000},
      {"1.5Gi", "1536Mi", 1610612736, 1610612736000},
      {"512", "512", 512, 512000},
      {"0.5Ki", "512", 512, 512000},
      {"1500", "1500", 1500, 1500000},
      {"100000", "100k", 100000, 100000000},
      {"1e3", "1e3", 1000, 1000000},
      {"1E3", "1e3", 1000, 1000000},
      {"1E", "1E", 1000000000000000000, INT64_MAX},
      {"-1Ki", "-1Ki", -1024, -1024000},
      {"+2k", "2k", 2000, 2000000},
      {".5", "500m", 1, 500},
      {"5.", "5", 5, 5000},
      {"1n", "1n", 1, 1},
      {"0.1n", "1n", 1, 1},
      {"1e-10", "1e-9", 1, 1},
      {"12345678901234567890", "9223372036854775807", INT64_MAX, INT64_MAX},
      {"8Ei", "9223372036854775807", INT64_MAX, INT64_MAX},
      {"0.000000001", "1n", 1, 1},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.in);
    const auto q = Quantity::parse(row.in);
    ASSERT_TRUE(q);
    EXPECT_EQ(q->str(), row.out);
    EXPECT_EQ(q->value(), row.value);
    EXPECT_EQ(q->milli(), row.milli);
    const auto again = Quantity::parse(q->str());
    ASSERT_TRUE(again);
    EXPECT_EQ(*again, *q);
  }
}

TEST(Quantity, RefusesWhatIsNone) {
  for (const char* text : {"", "Ki", "1.1.1", "abc", "1 ", " 1", "--1", "1Kii", "1e", "1e+", "+",
                           ".", "1KI", "1mm", "0x10"}) {
    SCOPED_TRACE(text);
    EXPECT_FALSE(Quantity::parse(text));
  }
}

TEST(Quantity, ComparesAcrossFormats) {
  EXPECT_EQ(*Quantity::parse("1Ki"), *Quantity::parse("1024"));
  EXPECT_LT(*Quantity::parse("1k"), *Quantity::parse("1Ki"));
  EXPECT_EQ((*Quantity::parse("100m") + *Quantity::parse("0.9")).str(), "1");
}

}  // namespace
}  // namespace knit
