// Character classes and small grammars of HTTP/1, for the files of h1 only.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "http/h1.h"

namespace knit::http::h1 {

inline char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

constexpr std::array<bool, 256> token_table() {
  std::array<bool, 256> t{};
  for (unsigned c = '0'; c <= '9'; ++c) t[c] = true;
  for (unsigned c = 'a'; c <= 'z'; ++c) t[c] = true;
  for (unsigned c = 'A'; c <= 'Z'; ++c) t[c] = true;
  for (const char c :
       {'!', '#', '$', '%', '&', '\'', '*', '+', '-', '.', '^', '_', '`', '|', '~'}) {
    t[static_cast<unsigned char>(c)] = true;
  }
  return t;
}
inline constexpr auto kToken = token_table();
inline bool is_token(char c) { return kToken[static_cast<unsigned char>(c)]; }
inline bool is_digit(char c) { return c >= '0' && c <= '9'; }
inline bool is_value_byte(char c) {
  const auto u = static_cast<unsigned char>(c);
  return u == '\t' || (u >= 0x20 && u != 0x7f);
}
inline std::string_view trim(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return s;
}

/// host[:port] of RFC 3986 without userinfo; not empty.
bool valid_authority(std::string_view a);
/// Digits only. RFC 9110 8.6; leading zeros are legal.
bool parse_length(std::string_view text, std::uint64_t& out);

}  // namespace knit::http::h1
