#include "node/net/address.h"

#include <arpa/inet.h>

#include <charconv>
#include <cstring>

namespace knit::node::net {

std::uint32_t Address::word(std::size_t i) const {
  std::uint32_t w = 0;
  std::memcpy(&w, bytes.data() + 4 * i, 4);
  return w;
}

Result<Address> parse_address(std::string_view text) {
  Address out;
  const std::string copy(text);
  if (::inet_pton(AF_INET, copy.c_str(), out.bytes.data()) == 1) return out;
  out.v6 = true;
  if (::inet_pton(AF_INET6, copy.c_str(), out.bytes.data()) == 1) return out;
  return Error(Code::InvalidArgument, "'" + copy + "' is no IP address");
}

std::string to_string(const Address& a) {
  char text[INET6_ADDRSTRLEN];
  ::inet_ntop(a.v6 ? AF_INET6 : AF_INET, a.bytes.data(), text, sizeof text);
  return text;
}

bool Prefix::contains(const Address& a) const {
  if (a.v6 != base.v6) return false;
  for (std::size_t bit = 0; bit < length; ++bit) {
    const auto mask = static_cast<std::uint8_t>(0x80U >> (bit % 8));
    if ((a.bytes[bit / 8] & mask) != (base.bytes[bit / 8] & mask)) return false;
  }
  return true;
}

Result<Prefix> parse_prefix(std::string_view text) {
  const auto bad = [&](const char* why) {
    return Error(Code::InvalidArgument, "'" + std::string(text) + "' is no address range: " + why);
  };
  const auto slash = text.find('/');
  if (slash == std::string_view::npos) return bad("want ADDRESS/BITS");
  Prefix out;
  KNIT_TRY(out.base, parse_address(text.substr(0, slash)));
  const std::string_view bits = text.substr(slash + 1);
  const auto [end, error] = std::from_chars(bits.data(), bits.data() + bits.size(), out.length);
  if (error != std::errc() || end != bits.data() + bits.size() ||
      out.length > 8 * out.base.size()) {
    return bad("bad number of bits");
  }
  for (std::size_t bit = out.length; bit < 8 * out.base.size(); ++bit) {
    if ((out.base.bytes[bit / 8] & (0x80U >> (bit % 8))) != 0) return bad("host bits are set");
  }
  return out;
}

std::string to_string(const Prefix& p) {
  return to_string(p.base) + "/" + std::to_string(p.length);
}

}  // namespace knit::node::net
