// Text as the expression language counts it: in characters (code points), not bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace knit::events::text {

/// Bytes of the character at the start of `s`; 1 for what is not UTF-8. `s` is not empty.
std::size_t first_bytes(std::string_view s);
std::size_t length(std::string_view s);
/// The byte offset of character `n`, at most s.size().
std::size_t offset_of(std::string_view s, std::size_t n);
/// Simple case mapping of ASCII, Latin, Greek and Cyrillic letters.
std::string lower(std::string_view s);
std::string upper(std::string_view s);
/// Without Unicode white space at both ends.
std::string_view trim(std::string_view s);
/// An optional sign and decimal digits within 32 bits.
std::optional<std::int32_t> parse_int(std::string_view s);
/// True when `s` is `word` but for the case of ASCII letters; `word` is in upper case.
bool is_word(std::string_view s, std::string_view word);

}  // namespace knit::events::text
