// What comes from outside, before it meets a terminal.
#pragma once

#include <string>
#include <string_view>

namespace knit::check {

/// Control characters and those that turn the direction of writing are shown as \xNN or \u{NNNN}:
/// names in files and archives cannot move the cursor, recolour or reorder what a reader sees. Line
/// ends stay; `colour` keeps the few colour sequences that reports are printed with.
std::string plain(std::string_view text, bool colour = false);

}  // namespace knit::check
