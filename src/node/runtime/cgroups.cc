#include "node/runtime/cgroups.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace knit::node::runtime {

namespace {

std::string read_text(const std::string& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string out;
  char buffer[4096];
  ssize_t n = 0;
  while (fd && out.size() < (1 << 20) && (n = ::read(fd.get(), buffer, sizeof buffer)) > 0) {
    out.append(buffer, static_cast<std::size_t>(n));
  }
  return out;
}

std::vector<std::string_view> split(std::string_view text, char by) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    const auto end = text.find(by);
    if (end != 0) out.push_back(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
  }
  return out;
}

bool has_option(std::string_view options, std::string_view name) {
  for (const auto o : split(options, ',')) {
    if (o == name) return true;
  }
  return false;
}

void remove_below(const std::string& dir, int depth) {
  if (depth > 8) return;
  if (DIR* d = ::opendir(dir.c_str()); d != nullptr) {
    while (const dirent* e = ::readdir(d)) {
      if (e->d_type == DT_DIR && std::strcmp(e->d_name, ".") != 0 &&
          std::strcmp(e->d_name, "..") != 0) {
        remove_below(dir + "/" + e->d_name, depth + 1);
      }
    }
    ::closedir(d);
  }
  ::rmdir(dir.c_str());
}

}  // namespace

Result<CgroupLayout> cgroup_layout(std::string_view proc_mounts, std::string_view controllers,
                                   std::string_view proc_cgroups) {
  CgroupLayout out;
  bool hugetlb_here = false;
  for (const auto line : split(proc_mounts, '\n')) {
    const auto fields = split(line, ' ');
    if (fields.size() < 4) continue;
    const std::string point(fields[1]);
    if (fields[2] == "cgroup2" && out.unified.empty()) out.unified = point;
    if (fields[2] != "cgroup") continue;
    out.legacy.push_back(point);
    if (has_option(fields[3], "memory")) out.memory = point;
    if (has_option(fields[3], "cpu")) out.cpu = point;
    if (has_option(fields[3], "hugetlb")) hugetlb_here = true;
  }
  if (out.unified.empty()) {
    return Error(Code::Unsupported,
                 "there is no cgroup2 mount on this machine; the node needs one "
                 "(/sys/fs/cgroup or /sys/fs/cgroup/unified)");
  }
  out.memory_v1 = !out.memory.empty();
  if (out.memory.empty()) out.memory = out.unified;
  if (out.cpu.empty()) out.cpu = out.unified;
  // Another Knit may hold hugetlb as v1 at this moment, in mounts of its own: when it ends, the
  // controller is back in the unified root.
  bool held_elsewhere = false;
  for (const auto line : split(proc_cgroups, '\n')) {
    const auto fields = split(line, '\t');
    if (fields.size() > 1 && fields[0] == "hugetlb") held_elsewhere = fields[1] != "0";
  }
  out.hybrid_with_controllers =
      !out.legacy.empty() && !hugetlb_here &&
      (held_elsewhere || (!split(controllers, ' ').empty() && controllers != "\n"));
  return out;
}

Result<CgroupLayout> read_cgroup_layout() {
  const std::string mounts = read_text("/proc/self/mounts");
  KNIT_TRY(CgroupLayout first, cgroup_layout(mounts, "", ""));
  return cgroup_layout(mounts, read_text(first.unified + "/cgroup.controllers"),
                       read_text("/proc/cgroups"));
}

Result<Fd> open_unified(const CgroupLayout& layout, std::string_view path) {
  std::string at = layout.unified;
  for (const auto part : split(path, '/')) {
    at += "/" + std::string(part);
    if (::mkdir(at.c_str(), 0755) != 0 && errno != EEXIST) return errno_error("mkdir " + at, errno);
  }
  Fd fd(::open(at.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return errno_error("open " + at, errno);
  return fd;
}

bool oom_killed(const CgroupLayout& layout, std::string_view path) {
  const std::string dir = layout.memory + std::string(path);
  const std::string text =
      read_text(dir + (layout.memory_v1 ? "/memory.oom_control" : "/memory.events"));
  for (const auto line : split(text, '\n')) {
    const auto fields = split(line, ' ');
    if (fields.size() == 2 && fields[0] == "oom_kill") return fields[1] != "0";
  }
  return false;
}

void remove_cgroup(const CgroupLayout& layout, std::string_view path) {
  if (path.size() < 2 || path.find("..") != std::string_view::npos) return;
  remove_below(layout.unified + std::string(path), 0);
  for (const std::string& point : layout.legacy) remove_below(point + std::string(path), 0);
}

Result<void> make_cgroup(const CgroupLayout& layout, std::string_view path) {
  std::vector<std::string> points = layout.legacy;
  points.push_back(layout.unified);
  for (std::string at : points) {
    for (const auto part : split(path, '/')) {
      at += "/" + std::string(part);
      if (::mkdir(at.c_str(), 0755) != 0 && errno != EEXIST) {
        return errno_error("mkdir " + at, errno);
      }
    }
  }
  return {};
}

void remove_if_empty(const CgroupLayout& layout, std::string_view path) {
  ::rmdir((layout.unified + std::string(path)).c_str());
  for (const std::string& point : layout.legacy) ::rmdir((point + std::string(path)).c_str());
}

}  // namespace knit::node::runtime
