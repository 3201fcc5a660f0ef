#include "node/runtime/oci_config.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "node/runtime/seccomp.h"

namespace knit::node::runtime {

namespace {

constexpr std::array<std::string_view, 41> kCapabilities = {"CAP_CHOWN",
                                                            "CAP_DAC_OVERRIDE",
                                                            "CAP_DAC_READ_SEARCH",
                                                            "CAP_FOWNER",
                                                            "CAP_FSETID",
                                                            "CAP_KILL",
                                                            "CAP_SETGID",
                                                            "CAP_SETUID",
                                                            "CAP_SETPCAP",
                                                            "CAP_LINUX_IMMUTABLE",
                                                            "CAP_NET_BIND_SERVICE",
                                                            "CAP_NET_BROADCAST",
                                                            "CAP_NET_ADMIN",
                                                            "CAP_NET_RAW",
                                                            "CAP_IPC_LOCK",
                                                            "CAP_IPC_OWNER",
                                                            "CAP_SYS_MODULE",
                                                            "CAP_SYS_RAWIO",
                                                            "CAP_SYS_CHROOT",
                                                            "CAP_SYS_PTRACE",
                                                            "CAP_SYS_PACCT",
                                                            "CAP_SYS_ADMIN",
                                                            "CAP_SYS_BOOT",
                                                            "CAP_SYS_NICE",
                                                            "CAP_SYS_RESOURCE",
                                                            "CAP_SYS_TIME",
                                                            "CAP_SYS_TTY_CONFIG",
                                                            "CAP_MKNOD",
                                                            "CAP_LEASE",
                                                            "CAP_AUDIT_WRITE",
                                                            "CAP_AUDIT_CONTROL",
                                                            "CAP_SETFCAP",
                                                            "CAP_MAC_OVERRIDE",
                                                            "CAP_MAC_ADMIN",
                                                            "CAP_SYSLOG",
                                                            "CAP_WAKE_ALARM",
                                                            "CAP_BLOCK_SUSPEND",
                                                            "CAP_AUDIT_READ",
                                                            "CAP_PERFMON",
                                                            "CAP_BPF",
                                                            "CAP_CHECKPOINT_RESTORE"};

JsonArray strings(const std::vector<std::string>& values) {
  JsonArray out;
  for (const std::string& v : values) out.emplace_back(v);
  return out;
}

JsonObject mount(std::string_view destination, std::string_view type, std::string_view source,
                 std::initializer_list<std::string_view> options) {
  JsonArray list;
  for (const auto o : options) list.emplace_back(o);
  return {{"destination", destination},
          {"type", type},
          {"source", source},
          {"options", std::move(list)}};
}

JsonObject device_rule(bool allow, std::string_view type, std::int64_t major, std::int64_t minor,
                       std::string_view access) {
  JsonObject out{{"allow", allow}, {"access", access}};
  if (!type.empty()) out["type"] = type;
  if (major >= 0) out["major"] = major;
  if (minor >= 0) out["minor"] = minor;
  return out;
}

std::optional<std::uint32_t> number(std::string_view text) {
  std::uint32_t out = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return {};
  return out;
}

/// The fields of the first line of a passwd or group file that `keep` accepts.
template <class Keep>
std::vector<std::string_view> line_of(std::string_view file, const Keep& keep) {
  while (!file.empty()) {
    const auto end = file.find('\n');
    std::string_view line = file.substr(0, end);
    file = end == std::string_view::npos ? std::string_view() : file.substr(end + 1);
    std::vector<std::string_view> fields;
    while (true) {
      const auto colon = line.find(':');
      fields.push_back(line.substr(0, colon));
      if (colon == std::string_view::npos) break;
      line = line.substr(colon + 1);
    }
    if (keep(fields)) return fields;
  }
  return {};
}

}  // namespace

const std::vector<std::string>& default_capabilities() {
  static const std::vector<std::string> kDefault = {
      "CAP_CHOWN",   "CAP_DAC_OVERRIDE", "CAP_FSETID",           "CAP_FOWNER",
      "CAP_MKNOD",   "CAP_NET_RAW",      "CAP_SETGID",           "CAP_SETUID",
      "CAP_SETFCAP", "CAP_SETPCAP",      "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT",
      "CAP_KILL",    "CAP_AUDIT_WRITE"};
  return kDefault;
}

bool known_capability(std::string_view name) {
  return std::find(kCapabilities.begin(), kCapabilities.end(), name) != kCapabilities.end();
}

Json oci_config(const ContainerSpec& spec, const User& user) {
  JsonArray groups;
  for (const auto g : user.groups) groups.emplace_back(g);
  // As containerd and CRI-O: only root has its capabilities at once; another user gets them through
  // the bounding set at most.
  const JsonArray caps = strings(spec.capabilities);
  const JsonArray effective = user.uid == 0 ? caps : JsonArray();
  JsonObject process{
      {"terminal", false},
      {"user",
       JsonObject{
           {"uid", user.uid}, {"gid", user.gid}, {"additionalGids", groups}, {"umask", 022}}},
      {"args", strings(spec.args)},
      {"env", strings(spec.env)},
      {"cwd", spec.cwd},
      {"capabilities", JsonObject{{"bounding", caps},
                                  {"effective", effective},
                                  {"permitted", effective},
                                  {"inheritable", JsonArray()}}},
      {"noNewPrivileges", spec.no_new_privileges}};
  if (spec.resources.oom_score_adj) process["oomScoreAdj"] = *spec.resources.oom_score_adj;

  JsonArray mounts{
      mount("/proc", "proc", "proc", {"nosuid", "noexec", "nodev"}),
      mount("/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}),
      mount("/dev/pts", "devpts", "devpts",
            {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}),
      mount("/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"}),
      mount("/dev/shm", "tmpfs", "shm", {"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}),
      spec.privileged ? mount("/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", "rw"})
                      : mount("/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", "ro"})};
  for (const Mount& m : spec.mounts) {
    mounts.emplace_back(JsonObject{{"destination", m.destination},
                                   {"type", m.type},
                                   {"source", m.source},
                                   {"options", strings(m.options)}});
  }

  JsonObject network{{"type", "network"}};
  if (!spec.netns_path.empty()) network["path"] = spec.netns_path;
  JsonObject memory;
  if (spec.resources.memory_limit > 0) {
    memory["limit"] = spec.resources.memory_limit;
    memory["swap"] = spec.resources.memory_limit;  // no swap beyond it
  }
  JsonObject cpu{{"shares", spec.resources.cpu_shares}};
  if (spec.resources.cpu_quota_us > 0) {
    cpu["quota"] = spec.resources.cpu_quota_us;
    cpu["period"] = spec.resources.cpu_period_us;
  }
  JsonArray devices;
  if (spec.privileged) {
    devices.emplace_back(device_rule(true, "", -1, -1, "rwm"));
  } else {
    devices.emplace_back(device_rule(false, "", -1, -1, "rwm"));
    devices.emplace_back(device_rule(true, "c", -1, -1, "m"));
    devices.emplace_back(device_rule(true, "b", -1, -1, "m"));
    for (const auto& [major, minor] : std::initializer_list<std::pair<int, int>>{
             {1, 3}, {1, 5}, {1, 7}, {1, 8}, {1, 9}, {5, 0}, {5, 2}, {136, -1}}) {
      devices.emplace_back(device_rule(true, "c", major, minor, "rwm"));
    }
  }
  JsonObject resources{{"cpu", std::move(cpu)}, {"devices", std::move(devices)}};
  if (!memory.empty()) resources["memory"] = std::move(memory);
  if (spec.resources.pids_limit > 0) {
    resources["pids"] = JsonObject{{"limit", spec.resources.pids_limit}};
  }
  JsonObject linux_part{
      {"cgroupsPath", spec.cgroup},
      {"namespaces",
       JsonArray{JsonObject{{"type", "pid"}}, JsonObject{{"type", "mount"}},
                 JsonObject{{"type", "ipc"}}, JsonObject{{"type", "uts"}}, std::move(network)}},
      {"resources", std::move(resources)}};
  if (!spec.privileged) {
    linux_part["maskedPaths"] = JsonArray{"/proc/asound",
                                          "/proc/acpi",
                                          "/proc/kcore",
                                          "/proc/keys",
                                          "/proc/latency_stats",
                                          "/proc/timer_list",
                                          "/proc/timer_stats",
                                          "/proc/sched_debug",
                                          "/proc/scsi",
                                          "/sys/firmware",
                                          "/sys/devices/virtual/powercap"};
    linux_part["readonlyPaths"] =
        JsonArray{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};
  }
  if (spec.seccomp == Seccomp::RuntimeDefault) {
    linux_part["seccomp"] = seccomp_section(default_seccomp_rules(spec.capabilities));
  }
  JsonObject annotations;
  for (const auto& [key, value] : spec.annotations) annotations[key] = value;
  return JsonObject{{"ociVersion", "1.0.2"},
                    {"process", std::move(process)},
                    {"root", JsonObject{{"path", "rootfs"}, {"readonly", spec.read_only_root}}},
                    {"hostname", spec.hostname},
                    {"mounts", std::move(mounts)},
                    {"annotations", std::move(annotations)},
                    {"linux", std::move(linux_part)}};
}

Result<User> resolve_user(const ContainerSpec& spec, std::string_view passwd,
                          std::string_view group) {
  User out;
  std::string_view user = spec.user;
  std::string_view group_name;
  if (const auto colon = user.find(':'); colon != std::string_view::npos) {
    group_name = user.substr(colon + 1);
    user = user.substr(0, colon);
  }
  std::string name(user);
  bool named_by_image = false;
  if (spec.run_as_user) {
    out.uid = *spec.run_as_user;
    group_name = {};
    name = std::to_string(out.uid);
  } else if (const auto id = number(user)) {
    out.uid = *id;
  } else if (!user.empty()) {
    const auto line = line_of(passwd, [&](const auto& f) { return f.size() >= 4 && f[0] == user; });
    const auto uid = line.empty() ? std::nullopt : number(line[2]);
    if (!uid) {
      return Error(Code::InvalidArgument, "unable to find user " + std::string(user) +
                                              ": no matching entries in passwd file");
    }
    out.uid = *uid;
    named_by_image = true;
  }
  // Source: kubernetes pkg/kubelet/kuberuntime/security_context_others.go
  if (spec.run_as_non_root && named_by_image) {
    return Error(Code::InvalidArgument,
                 "container has runAsNonRoot and image has non-numeric user (" + std::string(user) +
                     "), cannot verify user is non-root");
  }
  if (spec.run_as_non_root && out.uid == 0) {
    return Error(Code::InvalidArgument,
                 spec.run_as_user ? "container's runAsUser breaks non-root policy"
                                  : "container has runAsNonRoot and image will run as root");
  }
  const auto line =
      line_of(passwd, [&](const auto& f) { return f.size() >= 4 && number(f[2]) == out.uid; });
  if (!line.empty()) {
    if (const auto gid = number(line[3])) out.gid = *gid;
    name = line[0];
  }
  if (spec.run_as_group) {
    out.gid = *spec.run_as_group;
  } else if (!group_name.empty()) {
    if (const auto gid = number(group_name)) {
      out.gid = *gid;
    } else {
      const auto found =
          line_of(group, [&](const auto& f) { return f.size() >= 3 && f[0] == group_name; });
      const auto gid_of = found.empty() ? std::nullopt : number(found[2]);
      if (!gid_of) {
        return Error(Code::InvalidArgument, "unable to find group " + std::string(group_name) +
                                                ": no matching entries in group file");
      }
      out.gid = *gid_of;
    }
  }
  // Groups of which the image's group file says that the user is a member, then the Pod's.
  line_of(group, [&](const auto& f) {
    if (f.size() < 4) return false;
    std::string_view members = f[3];
    while (!members.empty()) {
      const auto comma = members.find(',');
      if (members.substr(0, comma) == name) {
        if (const auto gid = number(f[2])) out.groups.push_back(*gid);
      }
      members = comma == std::string_view::npos ? std::string_view() : members.substr(comma + 1);
    }
    return false;
  });
  for (const auto g : spec.supplemental_groups) out.groups.push_back(g);
  std::sort(out.groups.begin(), out.groups.end());
  out.groups.erase(std::unique(out.groups.begin(), out.groups.end()), out.groups.end());
  return out;
}

}  // namespace knit::node::runtime
