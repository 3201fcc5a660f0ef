// Containers through an OCI runtime: crun, or runc where crun refuses. Created ahead, started by
// their exec FIFO. Every function blocks (1–30 ms): call it from the pool. Thread-safe.
#pragma once

#include <sys/types.h>

#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "node/runtime/cgroups.h"
#include "node/runtime/oci_config.h"
#include "node/runtime/seccomp.h"
#include "node/runtime/spawn.h"

namespace knit::node::runtime {

struct EngineSettings {
  std::string run_dir;  // "/run/knit": bundles, runtime state; absolute
  std::string crun = "/usr/bin/crun";
  std::string runc = "/usr/sbin/runc";
};

struct Created {
  pid_t pid = 0;
  std::uint64_t start_time = 0;
  bool runc = false;
};

struct ExecResult {
  int exit_code = 0;
  std::string output;
};

inline constexpr std::string_view kCgroupRoot = "/knit";

class Engine {
 public:
  /// Errors: Unsupported (no runtime, no cgroup2), PermissionDenied.
  static Result<std::unique_ptr<Engine>> create(EngineSettings settings);

  /// Mounts the root from `layers` (directories, lowest first), writes the bundle and parks the
  /// container's init. `out` and `err` become its standard output and error.
  /// Errors: InvalidArgument (the spec cannot work: user, capability), Unavailable.
  Result<Created> prepare(const ContainerSpec& spec, const std::vector<std::string>& layers,
                          int out, int err);
  /// Lets a parked container run. Errors: Unavailable ("failed to start": command not found …).
  Result<void> start(const std::string& id);
  /// To the container's first process, if it is still that one.
  static Result<void> signal(pid_t pid, std::uint64_t start_time, int signo);
  /// Ends it if needed; removes its state, mounts and cgroup. Absent is fine.
  Result<void> remove(const std::string& id);
  /// Runs a command in a running container. Errors: DeadlineExceeded.
  Result<ExecResult> exec(const std::string& id, const std::vector<std::string>& argv,
                          Duration timeout);
  /// A tmpfs of `bytes` (0: the kernel's default) at an existing directory, in the pods' mount
  /// space.
  Result<void> mount_memory(const std::string& path, std::int64_t bytes);
  void unmount(const std::string& path);
  /// What is mounted below `dir`, as one descriptor that outlives this process; and back again.
  Result<Fd> keep_mounts(const std::string& dir);
  Result<void> restore_mounts(const std::string& dir, int tree);
  /// Ids that the runtime's state directory has.
  std::vector<std::string> list() const;
  const CgroupLayout& cgroups() const { return cgroups_; }
  /// UNIFIED/knit: where listen events are watched. Never the hierarchy's root.
  const Fd& cgroup() const { return cgroup_; }
  /// "crun://" or "runc://" + id.
  std::string uri(const std::string& id) const;
  /// Removes the cgroup of this engine's runtimes, and the root of all when nobody else's pods are
  /// in it: another Knit of this machine, in another network namespace, may have some.
  void remove_cgroups();

 private:
  Engine(EngineSettings settings, CgroupLayout cgroups)
      : settings_(std::move(settings)), cgroups_(std::move(cgroups)) {}
  Result<void> mount_root(const std::string& bundle, const std::vector<std::string>& layers,
                          std::int64_t size) const;
  Result<void> create_with(const std::string& runtime, const ContainerSpec& spec, const User& user,
                           const std::string& bundle, int out, int err) const;
  Result<Finished> runtime_command(const std::string& id, std::vector<std::string> args,
                                   Duration timeout) const;
  std::string bundle_of(const std::string& id) const {
    return settings_.run_dir + "/bundles/" + id;
  }
  bool is_runc(const std::string& id) const;

  EngineSettings settings_;
  CgroupLayout cgroups_;
  std::unique_ptr<MountSpace> mounts_;
  /// Where runtimes start: made anew when somebody removed it, empty as it is between two calls.
  Result<Fd> leaf() const;

  SeccompCache seccomp_;
  std::string leaf_path_;
  Fd cgroup_;
  mutable std::mutex leaf_mutex_;
  mutable Fd leaf_;  // guarded by leaf_mutex_
};

}  // namespace knit::node::runtime
