// The SQLite file: one append-only table of changes, compacted like etcd's. Everything here blocks.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "kube/object.h"

struct sqlite3;
struct sqlite3_stmt;

namespace knit::store {

struct DiskRow {
  std::uint64_t version = 0;
  kube::Key key;
  bool deleted = false;  // `value` is then the last state
  std::string value;
  std::string before;  // read_changes() only: the value before, empty when there was none
  std::uint64_t before_version = 0;
};

struct DiskWrite {
  std::uint64_t version = 0;
  const kube::Key* key = nullptr;
  bool deleted = false;
  std::string_view value;
};

class Disk {
 public:
  /// Errors: Unavailable (cannot open; another process has it), Internal (damaged).
  static Result<std::unique_ptr<Disk>> open(const std::string& path);
  ~Disk();
  Disk(const Disk&) = delete;
  Disk& operator=(const Disk&) = delete;

  std::uint64_t reserved() const { return reserved_; }
  std::uint64_t compacted() const { return compacted_; }
  /// The last stored change; what lies between it and reserved() may have been lost.
  std::uint64_t last() const { return last_; }

  /// Every live object once.
  Result<void> load(const std::function<Result<void>(DiskRow)>& visit);

  /// One transaction. `durable`: on the disk when it returns, together with all before it; the
  /// reserved number becomes `reserve`.
  Result<void> write(const std::vector<DiskWrite>& rows, bool durable, std::uint64_t reserve);
  /// After the last write(): nothing is in doubt, so opening goes on at `last`.
  Result<void> close_cleanly(std::uint64_t last);

  /// Changes in (from, to], oldest first, at most `limit`.
  Result<std::vector<DiskRow>> read_changes(std::uint64_t from, std::uint64_t to,
                                            std::optional<kube::Resource> resource,
                                            std::size_t limit);
  /// Forgets superseded changes up to `version`, a bounded number a transaction.
  Result<void> compact(std::uint64_t version);

  /// Refuses to grow past this many pages of 4 KiB (0: no bound).
  Result<void> bound_pages(std::uint64_t pages);

 private:
  struct Connection;
  Disk() = default;
  Result<void> exec(const char* sql);
  Error failure(const char* what) const;
  Result<std::uint64_t> meta(const char* name);
  Result<void> set_meta(const char* name, std::uint64_t value);
  Result<void> set_synchronous(bool full);

  std::string path_;
  Fd lock_;
  mutable std::mutex write_mutex_;
  std::mutex read_mutex_;
  std::unique_ptr<Connection> writer_, reader_;
  std::uint64_t reserved_ = 0, compacted_ = 0, last_ = 0;
  bool full_ = true;
};

}  // namespace knit::store
