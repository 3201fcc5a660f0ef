// Runs a program and waits for it; and the private mount namespace in which pods are prepared.
// Everything here blocks: call it from the pool.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "base/time.h"

namespace knit::node::runtime {

struct Command {
  std::vector<std::string> argv;  // argv[0] is an absolute path
  int out = -1, err = -1;         // -1: captured into `output`
  int cgroup = -1;                // an open cgroup2 directory to start in
  Duration timeout = std::chrono::seconds(30);
};
struct Finished {
  int status = 0;      // as waitpid's
  std::string output;  // of stdout and stderr as far as captured, at most 64 KiB
  bool ok() const { return status == 0; }
};
/// Errors: NotFound (no such program), DeadlineExceeded (killed), Unavailable.
Result<Finished> run(const Command& command);

/// The start time of a process (field 22 of /proc/PID/stat); 0 when there is none.
std::uint64_t start_time(pid_t pid);

/// Overlays, tmpfs and the hugetlb work-around are mounted here, unseen by the machine.
class MountSpace {
 public:
  /// With `hugetlb_dir`, mounts the stray hugetlb controller there as v1, without which crun 1.8
  /// refuses machines with hybrid cgroups. The mount ends with the namespace.
  static Result<std::unique_ptr<MountSpace>> create(const std::string& hugetlb_dir);
  /// Runs `work` on a short-lived thread inside, with its own working directory.
  Result<void> run(const std::function<Result<void>()>& work) const;

 private:
  explicit MountSpace(Fd space) : space_(std::move(space)) {}
  Fd space_;
};

}  // namespace knit::node::runtime
