#include "base/codec.h"

namespace knit::codec {

void put_varint(std::string& out, std::uint64_t v) {
  while (v >= 0x80) {
    out += static_cast<char>(v | 0x80);
    v >>= 7;
  }
  out += static_cast<char>(v);
}

std::uint64_t Reader::varint() {
  std::uint64_t v = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    if (in_.empty()) break;
    const auto byte = static_cast<unsigned char>(in_.front());
    in_.remove_prefix(1);
    v |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return v;
  }
  failed_ = true;
  return 0;
}

std::string_view Reader::bytes() {
  const std::uint64_t size = varint();
  if (failed_ || size > in_.size()) {
    failed_ = true;
    return {};
  }
  const std::string_view out = in_.substr(0, static_cast<std::size_t>(size));
  in_.remove_prefix(static_cast<std::size_t>(size));
  return out;
}

void Reader::skip(unsigned wire_type) {
  if (wire_type == 0) {
    varint();
  } else if (wire_type == 2) {
    bytes();
  } else {
    failed_ = true;
  }
}

}  // namespace knit::codec
