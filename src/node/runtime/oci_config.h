// What an OCI runtime is told about one container, as a value.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"

namespace knit::node::runtime {

struct Mount {
  std::string source, destination;
  std::string type = "bind";
  std::vector<std::string> options;
  /// subPath: a path below `source` that no symbolic link may lead out of; made when absent.
  std::string beneath;
  bool operator==(const Mount&) const = default;
};

struct User {
  std::uint32_t uid = 0, gid = 0;
  std::vector<std::uint32_t> groups;
  bool operator==(const User&) const = default;
};

struct Resources {
  std::int64_t memory_limit = 0;  // bytes; 0: none
  std::uint64_t cpu_shares = 2;   // v1 scale; crun converts it to cpu.weight
  std::int64_t cpu_quota_us = 0;  // per period; 0: none
  std::uint64_t cpu_period_us = 100'000;
  std::int64_t pids_limit = 0;  // 0: none
  std::optional<std::int64_t> oom_score_adj;
};

enum class Seccomp { RuntimeDefault, Unconfined };

struct ContainerSpec {
  std::string id, hostname;
  std::vector<std::string> args;
  std::vector<std::string> env;  // "NAME=value"
  std::string cwd = "/";
  /// "uid", "uid:gid", "name", "name:group" or empty (root); looked up in the image's own files.
  std::string user;
  std::optional<std::uint32_t> run_as_user, run_as_group;  // win over `user`
  std::vector<std::uint32_t> supplemental_groups;
  bool run_as_non_root = false;
  std::vector<std::string> capabilities;  // "CAP_CHOWN"
  bool privileged = false;                // writable /sys and no masked paths
  bool no_new_privileges = false;
  Seccomp seccomp = Seccomp::RuntimeDefault;
  bool read_only_root = false;
  bool tty = false;
  std::vector<Mount> mounts;  // beyond /proc, /dev, /sys …
  Resources resources;
  std::string cgroup;      // "/knit/POD/CONTAINER"
  std::string netns_path;  // "/proc/PID/fd/N"; empty: a new, empty one
  std::map<std::string, std::string> annotations;
  std::int64_t root_size = 256 << 20;  // bytes that the container may write to its root
};

/// The default set of Docker, containerd and CRI-O (mask 0xa80425fb).
const std::vector<std::string>& default_capabilities();
/// Whether it is a capability that this kernel's headers know ("CAP_NET_ADMIN").
bool known_capability(std::string_view name);

/// config.json. `user` is what the names in `spec.user` turned out to be.
/// Source: opencontainers/runtime-spec config.md, config-linux.md; containerd pkg/cri/opts
Json oci_config(const ContainerSpec& spec, const User& user);

/// Finds `spec.user` in the texts of the image's /etc/passwd and /etc/group.
/// Errors: InvalidArgument ("container has runAsNonRoot and image will run as root", unknown user).
Result<User> resolve_user(const ContainerSpec& spec, std::string_view passwd,
                          std::string_view group);

}  // namespace knit::node::runtime
