#include "http/h1_grammar.h"

#include <algorithm>
#include <charconv>

namespace knit::http::h1 {

bool valid_authority(std::string_view a) {
  if (a.empty() || a.size() > 512) return false;
  std::string_view port;
  if (a.front() == '[') {
    const auto close = a.find(']');
    if (close == std::string_view::npos) return false;
    for (const char c : a.substr(1, close - 1)) {
      const bool hex = is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'f');
      if (!hex && c != ':' && c != '.' && c != '%') return false;
    }
    a.remove_prefix(close + 1);
    if (a.empty()) return true;
    if (a.front() != ':') return false;
    port = a.substr(1);
  } else {
    const auto colon = a.find(':');
    const std::string_view host = a.substr(0, colon);
    if (host.empty()) return false;
    for (const char c : host) {
      const char l = lower(c);
      if (!is_digit(c) && !(l >= 'a' && l <= 'z') && c != '.' && c != '-' && c != '_' && c != '~') {
        return false;
      }
    }
    if (colon == std::string_view::npos) return true;
    port = a.substr(colon + 1);
  }
  return port.size() <= 5 && std::all_of(port.begin(), port.end(), is_digit);
}

bool parse_length(std::string_view text, std::uint64_t& out) {
  if (text.empty() || text.size() > 64) return false;
  if (!std::all_of(text.begin(), text.end(), is_digit)) return false;
  const auto r = std::from_chars(text.data(), text.data() + text.size(), out);
  return r.ec == std::errc() && out <= static_cast<std::uint64_t>(INT64_MAX);
}

bool iequals(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(),
                                            [](char x, char y) { return lower(x) == lower(y); });
}

bool has_token(std::string_view value, std::string_view token) {
  while (!value.empty()) {
    const auto comma = value.find(',');
    if (iequals(trim(value.substr(0, comma)), token)) return true;
    if (comma == std::string_view::npos) break;
    value.remove_prefix(comma + 1);
  }
  return false;
}

bool valid_value(std::string_view value) {
  return std::all_of(value.begin(), value.end(), is_value_byte);
}
bool valid_name(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), is_token);
}

bool hop_by_hop(std::string_view name) {
  for (const std::string_view h : {"connection", "keep-alive", "proxy-connection", "te", "trailer",
                                   "transfer-encoding", "upgrade"}) {
    if (iequals(name, h)) return true;
  }
  return false;
}

}  // namespace knit::http::h1
