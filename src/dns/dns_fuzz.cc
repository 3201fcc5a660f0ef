// Any bytes as a query: no crash, and every answer is within its limit.
#include <cstdint>

#include "base/result.h"
#include "dns/answer.h"

namespace {
class OneService final : public knit::dns::Names {
 public:
  std::optional<knit::dns::ServiceNames> service(std::string_view,
                                                 std::string_view name) const override {
    knit::dns::ServiceNames s;
    if (name == "loop") s.external_name = "loop.default.svc.cluster.local";
    s.ips = {"172.30.0.1", "fd00::1"};
    s.headless = name == "headless";
    s.ports = {{"https", "tcp", 443}};
    return s;
  }
  bool has_namespace(std::string_view) const override { return true; }
  bool has_pod(std::string_view, std::string_view) const override { return true; }
  std::string name_of(std::string_view) const override { return "a.default.svc.cluster.local"; }
};
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view in(reinterpret_cast<const char*>(data), size);
  const auto out = knit::dns::answer(in, OneService{}, {}, 512);
  KNIT_CHECK(out.size() <= 512 + 64);
  return 0;
}
