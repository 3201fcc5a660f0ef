#include "node/ipam.h"

#include <algorithm>

namespace knit::node {

Ipam::Ipam(net::Prefix range, std::vector<net::Address> reserved) : range_(range) {
  const std::size_t bits = std::min<std::size_t>(8 * range.base.size() - range.length, 32);
  size_ = std::uint64_t{1} << bits;
  for (const net::Address& a : reserved) {
    if (const auto i = index_of(a)) by_index_[*i] = "";
  }
}

net::Address Ipam::at(std::uint64_t index) const {
  net::Address out = range_.base;
  for (std::size_t i = out.size(); i-- > 0 && index != 0; index >>= 8) {
    out.bytes[i] = static_cast<std::uint8_t>(out.bytes[i] | (index & 0xff));
  }
  return out;
}

std::optional<std::uint64_t> Ipam::index_of(const net::Address& a) const {
  if (!range_.contains(a)) return {};
  std::uint64_t index = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const auto host = static_cast<std::uint8_t>(a.bytes[i] ^ range_.base.bytes[i]);
    if (index >> 32 != 0) return {};
    index = index << 8 | host;
  }
  if (index >= size_) return {};
  return index;
}

Result<net::Address> Ipam::take(const std::string& owner) {
  if (const auto it = by_owner_.find(owner); it != by_owner_.end()) return at(it->second);
  const std::uint64_t usable = size_ > 3 ? size_ - 3 : 0;  // 2 … size-2
  for (std::uint64_t tried = 0; tried < usable && tried <= by_index_.size(); ++tried) {
    if (next_ < 2 || next_ > size_ - 2) next_ = 2;
    const std::uint64_t index = next_++;
    if (by_index_.contains(index)) continue;
    by_index_[index] = owner;
    by_owner_[owner] = index;
    return at(index);
  }
  return Error(Code::ResourceExhausted, "no free pod address is left in " + to_string(range_));
}

Result<void> Ipam::claim(const std::string& owner, const net::Address& address) {
  const auto index = index_of(address);
  if (!index) {
    return Error(Code::InvalidArgument, to_string(address) + " is not in " + to_string(range_));
  }
  const auto it = by_index_.find(*index);
  if (it != by_index_.end() && it->second != owner) {
    return Error(Code::Conflict, to_string(address) + " belongs to another pod");
  }
  release(owner);
  by_index_[*index] = owner;
  by_owner_[owner] = *index;
  return {};
}

void Ipam::release(const std::string& owner) {
  const auto it = by_owner_.find(owner);
  if (it == by_owner_.end()) return;
  by_index_.erase(it->second);
  by_owner_.erase(it);
}

}  // namespace knit::node
