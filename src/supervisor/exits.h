// Exit statuses of containers: expected, recorded on disk, kept until the node acknowledges.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "base/fd.h"
#include "ipc/messages.h"

namespace knit::supervisor {

/// Field 22 of /proc/PID/stat, 0 when there is no such process. `parent` gets field 4.
std::uint64_t start_time(pid_t pid, pid_t* parent = nullptr);

class Exits {
 public:
  /// Reads what a former supervisor left in `path`; later lines are appended to it.
  /// Errors: of the system.
  Result<void> open(const std::string& path);
  /// What is wrong with the request, or "". A process that is already gone gets its Exit at once:
  /// the status if it was reaped here, else `lost`.
  std::string expect(const ipc::Expect& e, WallTime now);
  /// A process that this one reaped. Unexpected ones are remembered for a while.
  void reaped(pid_t pid, std::uint64_t start, int status, WallTime now);
  /// The next Exit that was not sent yet, or nullptr; mark it with sent().
  const ipc::Exit* unsent() const;
  void sent(std::uint64_t sequence);
  void acked(std::uint64_t sequence);
  /// The node is new: everything unacknowledged is to be sent again.
  void resend();

  /// Expected processes that are not this one's children (it was restarted): their pidfds are
  /// polled; check_foreign() runs when one is readable, and again while it returns true.
  std::vector<int> foreign() const;
  bool check_foreign(WallTime now);
  std::size_t pending() const { return pending_.size(); }

 private:
  struct Expected {
    std::string container;
    Fd pidfd;             // only if foreign
    WallTime dead_since;  // only if foreign
  };
  struct Pending {
    ipc::Exit exit;
    std::uint64_t sequence = 0;  // 0: not sent
  };
  using Id = std::pair<pid_t, std::uint64_t>;
  void record(std::string container, int status, WallTime when, bool lost);
  void append(const std::string& line);
  Fd journal_;
  std::map<Id, Expected> expected_;
  std::deque<Pending> pending_;
  std::deque<std::pair<Id, std::pair<int, WallTime>>> unclaimed_;  // the newest last
};

}  // namespace knit::supervisor
