// The embedded text of tables/*.txt.
#pragma once

#include <span>
#include <string_view>

namespace knit::schema::tables {

/// Messages and kinds, in the order of kinds' discovery.
std::span<const std::string_view> all();
/// The support overlay, in order of precedence (last wins).
std::span<const std::string_view> support();

}  // namespace knit::schema::tables
