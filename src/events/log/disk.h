// The few things that the event log asks of a file system. Everything here blocks and is called on
// the pool; calls on one file are never concurrent with a write to it but may be with each other.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace knit::events {

class LogFile {
 public:
  virtual ~LogFile() = default;
  /// All or an error; after an error any part may have been written.
  virtual Result<void> write(std::uint64_t offset, std::string_view bytes) = 0;
  /// Up to `n` bytes; fewer only at the end of the file.
  virtual Result<std::string> read(std::uint64_t offset, std::size_t n) const = 0;
  virtual Result<std::uint64_t> size() const = 0;
  virtual Result<void> truncate(std::uint64_t size) = 0;
  /// Content and size are on the disk when it returns.
  virtual Result<void> sync() = 0;
};

/// Paths are "directory" or "directory/file", relative to the root of the log.
class LogDisk {
 public:
  enum class Open { Existing, Fresh };  // Fresh: created, or emptied

  virtual ~LogDisk() = default;
  /// The names in a directory ("" is the root), unordered. Errors: NotFound.
  virtual Result<std::vector<std::string>> list(const std::string& directory) = 0;
  /// Present already is fine; on the disk when it returns.
  virtual Result<void> make_directory(const std::string& directory) = 0;
  virtual Result<std::shared_ptr<LogFile>> open(const std::string& path, Open mode) = 0;
  /// Absent already is fine.
  virtual Result<void> remove(const std::string& path) = 0;
  /// With everything in it; on the disk when it returns.
  virtual Result<void> remove_directory(const std::string& directory) = 0;
  /// Files made in and removed from the directory are on the disk when it returns.
  virtual Result<void> sync_directory(const std::string& directory) = 0;
};

/// The disk below an existing directory.
Result<std::unique_ptr<LogDisk>> open_posix_disk(const std::string& root);

}  // namespace knit::events
