// Digests and encodings that many folders need.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace knit::hash {

std::string sha256(std::string_view data);      // 32 raw bytes
std::string sha256_hex(std::string_view data);  // 64 characters
std::string sha512_hex(std::string_view data);
std::string md5_hex(std::string_view data);     // for upstream's names only
std::string hex(std::string_view raw);
std::uint64_t fnv64a(std::string_view data);
std::uint32_t fnv32a(std::string_view data);
std::uint32_t adler32(std::string_view data);

std::string base64(std::string_view raw);
std::string base64url(std::string_view raw);  // without padding
/// Accepts padded standard base64, ignoring line ends. Errors: InvalidArgument.
Result<std::string> decode_base64(std::string_view text);
Result<std::string> decode_base64url(std::string_view text);

}  // namespace knit::hash
