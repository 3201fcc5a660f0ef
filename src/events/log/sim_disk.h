// A disk for tests that forgets: what was not synced may be lost, torn or written out of order at a
// crash, and a crash may come at any operation.
#pragma once

#include <functional>
#include <map>
#include <set>

#include "base/random.h"
#include "events/log/disk.h"

namespace knit::events {

class SimDisk final : public LogDisk {
 public:
  /// `random` decides what survives a crash.
  explicit SimDisk(Random& random) : random_(&random) {}

  /// The operation with this number (1 is the next) is cut short, and all after it fail.
  void crash_after(std::uint64_t operations) { crash_at_ = operations_ + operations; }
  bool crashed() const { return crashed_; }
  std::uint64_t operations() const { return operations_; }
  /// The machine comes back: what survived is what is there, and operations work again.
  void restart();

  /// Writes fail with ResourceExhausted once the files together would take more.
  void set_capacity(std::uint64_t bytes) { capacity_ = bytes; }
  /// The next `n` syncs of files fail (and what they should have synced stays in doubt).
  void fail_syncs(int n) { failing_syncs_ = n; }
  std::uint64_t used() const;
  std::uint64_t syncs() const { return syncs_; }

  /// For tests that damage or cut files.
  std::string& bytes_of(const std::string& path);
  std::vector<std::string> files() const;

  Result<std::vector<std::string>> list(const std::string& directory) override;
  Result<void> make_directory(const std::string& directory) override;
  Result<std::shared_ptr<LogFile>> open(const std::string& path, Open mode) override;
  Result<void> remove(const std::string& path) override;
  Result<void> remove_directory(const std::string& directory) override;
  Result<void> sync_directory(const std::string& directory) override;

 private:
  friend class SimFile;
  struct Node {
    std::string now;      // what a reader sees
    std::string durable;  // what a crash cannot take
    struct Change {       // since the last sync, in order
      std::uint64_t offset = 0;
      std::string bytes;
      bool truncate = false;  // to `offset`
    };
    std::vector<Change> changes;
  };
  /// False when the operation must fail; `cut` then tells whether it is the one in progress.
  bool begin(bool& cut);
  Error dead() const { return Error(Code::Unavailable, "the machine has crashed"); }

  Random* random_;
  std::set<std::string> directories_;
  std::map<std::string, std::shared_ptr<Node>> names_;          // as seen now
  std::map<std::string, std::shared_ptr<Node>> durable_names_;  // what a crash cannot take
  std::uint64_t operations_ = 0, crash_at_ = 0, capacity_ = UINT64_MAX, syncs_ = 0;
  int failing_syncs_ = 0;
  bool crashed_ = false;
};

}  // namespace knit::events
