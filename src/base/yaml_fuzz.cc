// Any bytes: parse never crashes, and what parses prints and parses back to the same value.
#include "base/yaml.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace knit;
  yaml::Limits limits;
  limits.max_nodes = 20'000;
  const auto parsed = yaml::parse({reinterpret_cast<const char*>(data), size}, limits);
  for (const auto& d : parsed.documents) {
    if (!d.root) continue;
    const auto value = yaml::to_json(*d.root);
    if (!value) continue;
    const auto again = yaml::parse_one(yaml::print(*value), limits);
    KNIT_CHECK(again.has_value());
    KNIT_CHECK(json::canonical(*again) == json::canonical(*value));
  }
  return 0;
}
