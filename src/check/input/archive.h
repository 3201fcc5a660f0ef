// Manifests inside a tar archive (plain or gzip): a must-gather, a support bundle. Everything in it
// is hostile: nothing is written, links are not followed, sizes and counts are bounded.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace knit::check::input {

struct ArchiveLimits {
  std::size_t entries = 500'000;
  std::size_t files = 20'000;                 // manifests that are kept
  std::size_t file_bytes = 64 << 20;          // of one
  std::size_t total_bytes = 512 << 20;        // of all that are kept
  std::uint64_t expanded_bytes = 4ULL << 30;  // everything behind the compression
  std::size_t refusals = 100;                 // that are listed
};

struct Archive {
  std::map<std::string, std::string> files;  // path → text, manifests only
  /// What was not read, by name and why; a damaged end is the last one.
  std::vector<std::string> refused;
  std::size_t skipped = 0;  // logs and other files that are no manifests
};

/// By its first bytes (512 are enough): gzip or tar.
bool looks_like_archive(std::string_view head);
/// "x.yaml", "x.yml", "x.json".
bool is_manifest_name(std::string_view path);
/// "a/./b//c" → "a/b/c". Errors: InvalidArgument (absolute, "..", control bytes, too long).
Result<std::string> clean_entry_name(std::string_view raw);

/// Reads it all from memory or a descriptor. Never fails as a whole: what was read before damage is
/// there, and `refused` says where it ended.
Archive read_archive(std::string_view bytes, const ArchiveLimits& limits = {});
Archive read_archive(int fd, const ArchiveLimits& limits = {});

}  // namespace knit::check::input
