// IP addresses and prefixes in network byte order, without any name resolution.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace knit::node::net {

struct Address {
  bool v6 = false;
  std::array<std::uint8_t, 16> bytes{};  // the first 4 for IPv4
  std::size_t size() const { return v6 ? 16 : 4; }
  bool operator==(const Address&) const = default;
  /// The first four bytes as they lie in memory (an IPv4 address in network order).
  std::uint32_t word(std::size_t i) const;
};
/// Errors: InvalidArgument.
Result<Address> parse_address(std::string_view text);
std::string to_string(const Address& a);

struct Prefix {
  Address base;
  std::uint8_t length = 0;
  bool contains(const Address& a) const;
  bool operator==(const Prefix&) const = default;
};
/// "10.128.0.0/20". Errors: InvalidArgument (also when host bits are set).
Result<Prefix> parse_prefix(std::string_view text);
std::string to_string(const Prefix& p);

}  // namespace knit::node::net
