#include "http/message.h"

#include "http/h1.h"

namespace knit::http {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::string_view Headers::get(std::string_view name) const {
  for (const auto& [n, v] : fields_) {
    if (h1::iequals(n, name)) return v;
  }
  return {};
}
bool Headers::has(std::string_view name) const {
  return std::any_of(fields_.begin(), fields_.end(),
                     [&](const auto& f) { return h1::iequals(f.first, name); });
}
std::vector<std::string_view> Headers::all(std::string_view name) const {
  std::vector<std::string_view> out;
  for (const auto& [n, v] : fields_) {
    if (h1::iequals(n, name)) out.push_back(v);
  }
  return out;
}
void Headers::set(std::string_view name, std::string value) {
  std::erase_if(fields_, [&](const auto& f) { return h1::iequals(f.first, name); });
  fields_.emplace_back(std::string(name), std::move(value));
}

std::string url_decode(std::string_view text, bool plus) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 &&
        hex_digit(text[i + 2]) >= 0) {
      out += static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]));
      i += 2;
    } else if (plus && text[i] == '+') {
      out += ' ';
    } else {
      out += text[i];
    }
  }
  return out;
}

namespace {
std::string encode(std::string_view text, std::string_view also_kept) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
        c == '_' || c == '.' || c == '~' || also_kept.find(c) != std::string_view::npos) {
      out += c;
    } else {
      out += '%';
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    }
  }
  return out;
}
}  // namespace

std::string url_encode(std::string_view text) { return encode(text, {}); }
std::string url_encode_path(std::string_view text) { return encode(text, "/:@"); }

Query::Query(std::string_view raw) {
  while (!raw.empty()) {
    const std::size_t end = raw.find('&');
    const std::string_view pair = raw.substr(0, end);
    raw = end == std::string_view::npos ? std::string_view() : raw.substr(end + 1);
    if (pair.empty()) continue;
    const std::size_t equals = pair.find('=');
    fields_.emplace_back(url_decode(pair.substr(0, equals), true),
                         equals == std::string_view::npos
                             ? std::string()
                             : url_decode(pair.substr(equals + 1), true));
  }
}
std::string_view Query::get(std::string_view name) const {
  for (const auto& [n, v] : fields_) {
    if (n == name) return v;
  }
  return {};
}
bool Query::has(std::string_view name) const {
  return std::any_of(fields_.begin(), fields_.end(),
                     [&](const auto& f) { return f.first == name; });
}
std::vector<std::string> Query::all(std::string_view name) const {
  std::vector<std::string> out;
  for (const auto& [n, v] : fields_) {
    if (n == name) out.push_back(v);
  }
  return out;
}
std::string Query::print() const {
  std::string out;
  for (const auto& [n, v] : fields_) {
    if (!out.empty()) out += '&';
    out += url_encode(n) + "=" + url_encode(v);
  }
  return out;
}

}  // namespace knit::http
