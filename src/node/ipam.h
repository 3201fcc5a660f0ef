// Pod addresses of this node: the next free one of a range, so that a freed address rests a while.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "node/net/address.h"

namespace knit::node {

class Ipam {
 public:
  /// The first two addresses and the last are never given. `reserved` are not given either.
  Ipam(net::Prefix range, std::vector<net::Address> reserved);
  /// The same owner gets the same address. Errors: ResourceExhausted.
  Result<net::Address> take(const std::string& owner);
  /// Adoption. Errors: Conflict when somebody else has it, InvalidArgument outside the range.
  Result<void> claim(const std::string& owner, const net::Address& address);
  void release(const std::string& owner);
  std::size_t used() const { return by_owner_.size(); }

 private:
  net::Address at(std::uint64_t index) const;
  std::optional<std::uint64_t> index_of(const net::Address& a) const;
  net::Prefix range_;
  std::uint64_t size_ = 0, next_ = 2;
  std::map<std::string, std::uint64_t> by_owner_;
  std::map<std::uint64_t, std::string> by_index_;
};

}  // namespace knit::node
