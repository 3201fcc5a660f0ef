#include "events/filter/text.h"

#include <algorithm>

namespace knit::events::text {
namespace {

bool continues(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

char32_t decode(std::string_view s, std::size_t n) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(s[i]); };
  switch (n) {
    case 2:
      return static_cast<char32_t>((byte(0) & 0x1f) << 6 | (byte(1) & 0x3f));
    case 3:
      return static_cast<char32_t>((byte(0) & 0x0f) << 12 | (byte(1) & 0x3f) << 6 |
                                   (byte(2) & 0x3f));
    default:
      return n == 1 ? byte(0) : 0xfffd;
  }
}

void put(std::string& out, char32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xc0 | (c >> 6));
    out += static_cast<char>(0x80 | (c & 0x3f));
  } else {
    out += static_cast<char>(0xe0 | (c >> 12));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3f));
    out += static_cast<char>(0x80 | (c & 0x3f));
  }
}

bool in(char32_t c, char32_t first, char32_t last) { return c >= first && c <= last; }

// DIFFERS: upstream maps all of Unicode; here letters outside these ranges stay as they are.
char32_t to_lower(char32_t c) {
  if (in(c, 'A', 'Z') || (in(c, 0xc0, 0xde) && c != 0xd7)) return c + 32;
  if (in(c, 0x100, 0x137) && c != 0x130) return c | 1;
  if ((in(c, 0x139, 0x147) || in(c, 0x179, 0x17d)) && (c & 1) == 1) return c + 1;
  if (in(c, 0x14a, 0x177)) return c | 1;
  if (c == 0x178) return 0xff;
  if (in(c, 0x391, 0x3ab) && c != 0x3a2) return c + 32;
  if (in(c, 0x410, 0x42f)) return c + 32;
  if (in(c, 0x400, 0x40f)) return c + 80;
  return c;
}
char32_t to_upper(char32_t c) {
  if (in(c, 'a', 'z') || (in(c, 0xe0, 0xfe) && c != 0xf7)) return c - 32;
  if (c == 0xff) return 0x178;
  if (in(c, 0x100, 0x137) && c != 0x131) return c & ~char32_t{1};
  if ((in(c, 0x13a, 0x148) || in(c, 0x17a, 0x17e)) && (c & 1) == 0) return c - 1;
  if (in(c, 0x14a, 0x177)) return c & ~char32_t{1};
  if (in(c, 0x3b1, 0x3cb) && c != 0x3c2) return c - 32;
  if (in(c, 0x430, 0x44f)) return c - 32;
  if (in(c, 0x450, 0x45f)) return c - 80;
  return c;
}

template <class F>
std::string map(std::string_view s, F f) {
  std::string out;
  out.reserve(s.size());
  while (!s.empty()) {
    const std::size_t n = first_bytes(s);
    if (n > 3 || (n == 1 && static_cast<unsigned char>(s[0]) >= 0x80)) {
      out += s.substr(0, n);
    } else {
      put(out, f(decode(s, n)));
    }
    s.remove_prefix(n);
  }
  return out;
}

bool is_space(char32_t c) {
  return in(c, 9, 13) || c == ' ' || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         in(c, 0x2000, 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
         c == 0x3000;
}

}  // namespace

std::size_t first_bytes(std::string_view s) {
  const auto c = static_cast<unsigned char>(s[0]);
  const std::size_t n = c < 0xc0 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf8 ? 4 : 1;
  if (n > s.size()) return 1;
  for (std::size_t i = 1; i < n; ++i) {
    if (!continues(s[i])) return 1;
  }
  return n;
}

std::size_t length(std::string_view s) {
  std::size_t n = 0;
  for (; !s.empty(); ++n) s.remove_prefix(first_bytes(s));
  return n;
}

std::size_t offset_of(std::string_view s, std::size_t n) {
  std::size_t at = 0;
  for (; n > 0 && at < s.size(); --n) at += first_bytes(s.substr(at));
  return at;
}

std::string lower(std::string_view s) { return map(s, to_lower); }
std::string upper(std::string_view s) { return map(s, to_upper); }

std::string_view trim(std::string_view s) {
  std::size_t begin = 0, end = 0;
  bool seen = false;
  for (std::size_t at = 0; at < s.size();) {
    const std::size_t n = first_bytes(s.substr(at));
    if (!is_space(decode(s.substr(at), n)) || (n == 1 && continues(s[at]))) {
      if (!seen) begin = at;
      seen = true;
      end = at + n;
    }
    at += n;
  }
  return seen ? s.substr(begin, end - begin) : std::string_view();
}

std::optional<std::int32_t> parse_int(std::string_view s) {
  bool negative = false;
  if (!s.empty() && (s[0] == '+' || s[0] == '-')) {
    negative = s[0] == '-';
    s.remove_prefix(1);
  }
  if (s.empty()) return std::nullopt;
  std::int64_t v = 0;
  for (const char c : s) {
    if (c < '0' || c > '9') return std::nullopt;
    v = v * 10 + (c - '0');
    if (v > std::int64_t{INT32_MAX} + 1) return std::nullopt;
  }
  if (negative) v = -v;
  if (v > INT32_MAX) return std::nullopt;
  return static_cast<std::int32_t>(v);
}

bool is_word(std::string_view s, std::string_view word) {
  return s.size() == word.size() &&
         std::equal(s.begin(), s.end(), word.begin(), [](char a, char b) {
           return (a >= 'a' && a <= 'z' ? static_cast<char>(a - 32) : a) == b;
         });
}

}  // namespace knit::events::text
