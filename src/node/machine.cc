#include "node/machine.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <charconv>

namespace knit::node {

namespace {

std::string read_text(const char* path) {
  const Fd fd(::open(path, O_RDONLY | O_CLOEXEC));
  std::string out;
  char buffer[4096];
  ssize_t n = 0;
  while (fd && out.size() < (64 << 10) && (n = ::read(fd.get(), buffer, sizeof buffer)) > 0) {
    out.append(buffer, static_cast<std::size_t>(n));
  }
  while (!out.empty() && (out.back() == '\n' || out.back() == ' ')) out.pop_back();
  return out;
}

std::string line_value(std::string_view text, std::string_view key) {
  for (std::size_t at = 0; at < text.size();) {
    const auto end = std::min(text.find('\n', at), text.size());
    std::string_view line = text.substr(at, end - at);
    at = end + 1;
    if (!line.starts_with(key)) continue;
    line.remove_prefix(key.size());
    while (!line.empty() && (line.front() == ' ' || line.front() == '\t' || line.front() == '"')) {
      line.remove_prefix(1);
    }
    while (!line.empty() && line.back() == '"') line.remove_suffix(1);
    return std::string(line);
  }
  return {};
}

std::string cpu_text(std::int64_t milli) {
  return milli % 1000 == 0 ? std::to_string(milli / 1000) : std::to_string(milli) + "m";
}

}  // namespace

Machine read_machine(const std::string& data_dir) {
  Machine out;
  out.cpu_milli = std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN)) * 1000;
  struct sysinfo info{};
  if (::sysinfo(&info) == 0) {
    out.memory =
        static_cast<std::int64_t>(info.totalram) * static_cast<std::int64_t>(info.mem_unit);
  }
  struct statvfs fs{};
  if (::statvfs(data_dir.c_str(), &fs) == 0) {
    out.disk = static_cast<std::int64_t>(fs.f_blocks) * static_cast<std::int64_t>(fs.f_frsize);
  }
  utsname name{};
  ::uname(&name);
  out.kernel = name.release;
  out.architecture = name.machine;
  if (out.architecture == "x86_64") out.architecture = "amd64";
  if (out.architecture == "aarch64") out.architecture = "arm64";
  out.os_image = line_value(read_text("/etc/os-release"), "PRETTY_NAME=");
  out.machine_id = read_text("/etc/machine-id");
  out.boot_id = read_text("/proc/sys/kernel/random/boot_id");
  out.system_uuid = read_text("/sys/class/dmi/id/product_uuid");
  // Lowering oom_score_adj needs CAP_SYS_RESOURCE: clamp instead of failing.
  std::uint64_t caps = 0;
  const std::string text = line_value(read_text("/proc/self/status"), "CapEff:");
  std::from_chars(text.data(), text.data() + text.size(), caps, 16);
  if ((caps >> CAP_SYS_RESOURCE & 1) == 0) {
    const std::string own = read_text("/proc/self/oom_score_adj");
    out.least_oom_score = 0;
    std::from_chars(own.data(), own.data() + own.size(), out.least_oom_score);
  }
  return out;
}

Json node_status(const Settings& s, const Machine& m, WallTime now, std::string_view ready_since) {
  const JsonObject amounts{{"cpu", cpu_text(m.cpu_milli)},
                           {"memory", std::to_string(m.memory / 1024) + "Ki"},
                           {"ephemeral-storage", std::to_string(m.disk / 1024) + "Ki"},
                           {"hugepages-2Mi", "0"},
                           {"pods", std::to_string(s.max_pods)}};
  JsonArray conditions;
  const auto condition = [&](const char* type, bool yes, const char* reason, const char* message) {
    conditions.push_back(JsonObject{
        {"type", type},
        {"status", yes ? "True" : "False"},
        {"lastHeartbeatTime", rfc3339(now)},
        {"lastTransitionTime", ready_since.empty() ? rfc3339(now) : std::string(ready_since)},
        {"reason", reason},
        {"message", message}});
  };
  condition("MemoryPressure", false, "KubeletHasSufficientMemory",
            "kubelet has sufficient memory available");
  condition("DiskPressure", false, "KubeletHasNoDiskPressure", "kubelet has no disk pressure");
  condition("PIDPressure", false, "KubeletHasSufficientPID",
            "kubelet has sufficient PID available");
  condition("Ready", true, "KubeletReady", "kubelet is posting ready status");
  return JsonObject{
      {"status",
       JsonObject{
           {"addresses", JsonArray{JsonObject{{"type", "InternalIP"}, {"address", s.host_ip}},
                                   JsonObject{{"type", "Hostname"}, {"address", s.node_name}}}},
           {"capacity", amounts},
           {"allocatable", amounts},
           {"conditions", std::move(conditions)},
           {"daemonEndpoints", JsonObject{{"kubeletEndpoint", JsonObject{{"Port", 0}}}}},
           {"nodeInfo", JsonObject{{"machineID", m.machine_id},
                                   {"systemUUID", m.system_uuid},
                                   {"bootID", m.boot_id},
                                   {"kernelVersion", m.kernel},
                                   {"osImage", m.os_image},
                                   {"containerRuntimeVersion", "crun://oci"},
                                   {"kubeletVersion", s.version},
                                   {"kubeProxyVersion", s.version},
                                   {"operatingSystem", "linux"},
                                   {"architecture", m.architecture}}}}}};
}

Json node_object(const Settings& s, const Machine& m, WallTime now) {
  Json out = JsonObject{
      {"apiVersion", "v1"},
      {"kind", "Node"},
      {"metadata", JsonObject{{"name", s.node_name},
                              {"labels", JsonObject{{"kubernetes.io/hostname", s.node_name},
                                                    {"kubernetes.io/os", "linux"},
                                                    {"kubernetes.io/arch", m.architecture},
                                                    {"beta.kubernetes.io/os", "linux"},
                                                    {"beta.kubernetes.io/arch", m.architecture},
                                                    {"node-role.kubernetes.io/control-plane", ""},
                                                    {"node-role.kubernetes.io/worker", ""}}}}},
      {"spec", JsonObject{{"podCIDR", s.pod_range}, {"podCIDRs", JsonArray{s.pod_range}}}}};
  json::merge_patch(out, node_status(s, m, now, {}));
  return out;
}

Json lease_object(const Settings& s, WallTime now) {
  return JsonObject{
      {"apiVersion", "coordination.k8s.io/v1"},
      {"kind", "Lease"},
      {"metadata", JsonObject{{"name", s.node_name}, {"namespace", "kube-node-lease"}}},
      {"spec", JsonObject{{"holderIdentity", s.node_name},
                          {"leaseDurationSeconds", 40},
                          {"renewTime", rfc3339_fraction(now, 6)}}}};
}

}  // namespace knit::node
