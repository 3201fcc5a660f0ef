#include "base/hash.h"

#include <openssl/evp.h>

#include <array>

namespace knit::hash {
namespace {
std::string digest(const EVP_MD* md, std::string_view data) {
  std::string out(static_cast<std::size_t>(EVP_MD_get_size(md)), '\0');
  unsigned size = 0;
  KNIT_CHECK(EVP_Digest(data.data(), data.size(), reinterpret_cast<unsigned char*>(out.data()),
                        &size, md, nullptr) == 1);
  return out;
}

std::string encode(std::string_view raw, std::string_view alphabet, bool pad) {
  std::string out;
  out.reserve((raw.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < raw.size(); i += 3) {
    const std::size_t n = std::min<std::size_t>(3, raw.size() - i);
    std::uint32_t v = 0;
    for (std::size_t j = 0; j < 3; ++j) {
      v = (v << 8) | (j < n ? static_cast<unsigned char>(raw[i + j]) : 0U);
    }
    for (std::size_t j = 0; j < 4; ++j) {
      if (j <= n) {
        out += alphabet[(v >> (18 - 6 * j)) & 63];
      } else if (pad) {
        out += '=';
      }
    }
  }
  return out;
}

constexpr std::string_view kStandard =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::string_view kUrl =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

Result<std::string> decode(std::string_view text, std::string_view alphabet) {
  std::array<signed char, 256> table;
  table.fill(-1);
  for (std::size_t i = 0; i < alphabet.size(); ++i) {
    table[static_cast<unsigned char>(alphabet[i])] = static_cast<signed char>(i);
  }
  std::string out;
  out.reserve(text.size() * 3 / 4);
  std::uint32_t v = 0;
  int bits = 0;
  bool padding = false;
  for (const char c : text) {
    if (c == '\n' || c == '\r') continue;
    if (c == '=') {
      padding = true;
      continue;
    }
    const int d = table[static_cast<unsigned char>(c)];
    if (d < 0 || padding) return Error(Code::InvalidArgument, "invalid base64");
    v = (v << 6) | static_cast<std::uint32_t>(d);
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      out += static_cast<char>((v >> bits) & 0xff);
    }
  }
  if (bits == 6) return Error(Code::InvalidArgument, "invalid base64: truncated");
  return out;
}
}  // namespace

std::string sha256(std::string_view data) { return digest(EVP_sha256(), data); }
std::string sha256_hex(std::string_view data) { return hex(sha256(data)); }
std::string sha512_hex(std::string_view data) { return hex(digest(EVP_sha512(), data)); }
std::string md5_hex(std::string_view data) { return hex(digest(EVP_md5(), data)); }

std::string hex(std::string_view raw) {
  std::string out;
  out.reserve(raw.size() * 2);
  for (const char c : raw) {
    out += "0123456789abcdef"[static_cast<unsigned char>(c) >> 4];
    out += "0123456789abcdef"[static_cast<unsigned char>(c) & 15];
  }
  return out;
}

std::uint64_t fnv64a(std::string_view data) {
  std::uint64_t h = 0xcbf29ce484222325;
  for (const char c : data) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return h;
}
std::uint32_t fnv32a(std::string_view data) {
  std::uint32_t h = 0x811c9dc5;
  for (const char c : data) h = (h ^ static_cast<unsigned char>(c)) * 0x01000193;
  return h;
}
std::uint32_t adler32(std::string_view data) {
  std::uint32_t a = 1;
  std::uint32_t b = 0;
  for (const char c : data) {
    a = (a + static_cast<unsigned char>(c)) % 65521;
    b = (b + a) % 65521;
  }
  return (b << 16) | a;
}

std::string base64(std::string_view raw) { return encode(raw, kStandard, true); }
std::string base64url(std::string_view raw) { return encode(raw, kUrl, false); }
Result<std::string> decode_base64(std::string_view text) { return decode(text, kStandard); }
Result<std::string> decode_base64url(std::string_view text) { return decode(text, kUrl); }

}  // namespace knit::hash
