// The first frames of role connections, from a hostile E (egress) and as E reads them (ingress).
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "ipc/roles.h"

using namespace knit;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  (void)ipc::parse_role_purpose(bytes);
  const auto whole = ipc::opening_size(bytes);
  if (!whole || !*whole) return 0;
  const std::string_view frame = bytes.substr(0, **whole);
  if (auto dial = ipc::read_opening<ipc::RoleDial>(frame)) {
    const auto again = ipc::read_opening<ipc::RoleDial>(ipc::opening(*dial));
    if (!again || again->host != dial->host || again->port != dial->port) std::abort();
  }
  (void)ipc::read_opening<ipc::RoleCall>(frame);
  (void)ipc::read_opening<ipc::RoleAnswer>(frame);
  return 0;
}
