#include "check/plain.h"

#include <cstddef>

namespace knit::check {
namespace {

/// "\033[31m" and the like, as reports are coloured; 0 when it is none of them.
std::size_t own_colour(std::string_view text) {
  for (const std::string_view code : {"0", "1", "2", "31", "32", "33", "36"}) {
    const std::string whole = "\033[" + std::string(code) + "m";
    if (text.starts_with(whole)) return whole.size();
  }
  return 0;
}

std::string hex(unsigned value, std::size_t digits) {
  std::string out;
  for (std::size_t i = digits; i-- > 0;) out += "0123456789abcdef"[(value >> (4 * i)) & 0xF];
  return out;
}

}  // namespace

std::string plain(std::string_view text, bool colour) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte == '\033' && colour) {
      if (const auto own = own_colour(text.substr(i)); own > 0) {
        out += text.substr(i, own);
        i += own;
        continue;
      }
    }
    if ((byte < 0x20 && byte != '\n' && byte != '\t') || byte == 0x7f) {
      out += "\\x" + hex(byte, 2);
      ++i;
      continue;
    }
    if (byte == 0xc2 && i + 1 < text.size()) {  // U+0080 to U+009F
      const auto next = static_cast<unsigned char>(text[i + 1]);
      if (next >= 0x80 && next < 0xa0) {
        out += "\\x" + hex(next, 2);
        i += 2;
        continue;
      }
    }
    if (byte == 0xe2 && i + 2 < text.size()) {
      const unsigned point = 0x2000U | ((static_cast<unsigned char>(text[i + 1]) & 0x3fU) << 6) |
                             (static_cast<unsigned char>(text[i + 2]) & 0x3fU);
      const bool turns = (point >= 0x202a && point <= 0x202e) ||
                         (point >= 0x2066 && point <= 0x2069) || point == 0x2028 || point == 0x2029;
      if (turns) {
        out += "\\u{" + hex(point, 4) + "}";
        i += 3;
        continue;
      }
    }
    out += text[i++];
  }
  return out;
}

}  // namespace knit::check
