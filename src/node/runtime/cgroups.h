// Where the machine's cgroups are, and the few files of them that the node reads and removes
// itself.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace knit::node::runtime {

struct CgroupLayout {
  std::string unified;              // the mount point of cgroup2
  std::vector<std::string> legacy;  // mount points of v1 controllers
  std::string memory;               // the one that has the memory controller (v1), or unified
  std::string cpu;
  bool memory_v1 = false;
  /// v1 hierarchies exist and the unified root lists controllers too, or will when another holder
  /// of hugetlb ends: crun needs the stray controller mounted as v1.
  bool hybrid_with_controllers = false;
};
/// From the text of /proc/mounts, of the unified root's cgroup.controllers and of /proc/cgroups.
/// Never mounts.
/// Errors: Unsupported when there is no cgroup2 mount.
Result<CgroupLayout> cgroup_layout(std::string_view proc_mounts, std::string_view controllers,
                                   std::string_view proc_cgroups);
Result<CgroupLayout> read_cgroup_layout();

/// Makes UNIFIED/`path` and opens it.
Result<Fd> open_unified(const CgroupLayout& layout, std::string_view path);
/// Whether the kernel killed something of the cgroup for want of memory.
bool oom_killed(const CgroupLayout& layout, std::string_view path);
/// Removes the (empty) cgroup and the empty ones below it, in every hierarchy.
void remove_cgroup(const CgroupLayout& layout, std::string_view path);
/// Makes the cgroup in every hierarchy: as long as it is there, nobody removes those above it.
Result<void> make_cgroup(const CgroupLayout& layout, std::string_view path);
/// Removes the cgroup alone, and only if nothing is in it or below it.
void remove_if_empty(const CgroupLayout& layout, std::string_view path);

}  // namespace knit::node::runtime
