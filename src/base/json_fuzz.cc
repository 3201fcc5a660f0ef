// Any bytes: parse never crashes, and what parses prints canonically to a fixed point.
#include "base/json.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace knit;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  json::duplicate_keys(text);
  const auto value = json::parse(text);
  if (!value) return 0;
  const std::string canonical = json::canonical(*value);
  const auto again = json::parse(canonical);
  KNIT_CHECK(again.has_value());
  // Boost.JSON 1.81 reads decimals with exponents up to one unit in the last place beside the
  // nearest double, so only texts without any are a fixed point to the byte.
  if (canonical.find_first_of(".eE") == std::string::npos) {
    KNIT_CHECK(json::canonical(*again) == canonical);
  }
  return 0;
}
