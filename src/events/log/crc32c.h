// CRC-32C (Castagnoli), the checksum of every record of the event log.
#pragma once

#include <cstdint>
#include <string_view>

namespace knit::events {

/// Continues `seed` (0 to start) over `data`.
std::uint32_t crc32c(std::uint32_t seed, std::string_view data);

}  // namespace knit::events
