#include "node/container_spec.h"

#include <algorithm>

namespace knit::node {

namespace {

constexpr std::int64_t kDefaultRootBytes = 256 << 20;

/// The container's own securityContext field, else the Pod's.
const Json* security(const Json& pod, const Json& container, std::string_view field) {
  const Json* own = json::find(container, {"securityContext", field});
  if (own != nullptr && !own->is_null()) return own;
  const Json* shared = json::find(pod, {"spec", "securityContext", field});
  return shared != nullptr && !shared->is_null() ? shared : nullptr;
}

std::optional<std::uint32_t> id_of(const Json* v) {
  if (v == nullptr || !v->is_int64() || v->as_int64() < 0 || v->as_int64() > 0xfffffffe) return {};
  return static_cast<std::uint32_t>(v->as_int64());
}

bool is_true(const Json* v) { return v != nullptr && v->is_bool() && v->as_bool(); }

Result<std::vector<std::string>> capabilities(const Json& container) {
  std::vector<std::string> caps = runtime::default_capabilities();
  const auto name = [](const Json& v) {
    std::string n = v.is_string() ? std::string(v.as_string()) : std::string();
    std::transform(n.begin(), n.end(), n.begin(), [](char c) {
      return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    });
    return n.starts_with("CAP_") || n == "ALL" ? n : "CAP_" + n;
  };
  for (const Json& v : json::array(container, {"securityContext", "capabilities", "drop"})) {
    const std::string n = name(v);
    if (n == "ALL") caps.clear();
    std::erase(caps, n);
  }
  for (const Json& v : json::array(container, {"securityContext", "capabilities", "add"})) {
    const std::string n = name(v);
    if (n == "ALL") {
      return Error(Code::Unsupported,
                   "capabilities.add ALL is not supported by Knit's node: name "
                   "the capabilities that are needed");
    }
    if (!runtime::known_capability(n)) {
      return Error(Code::InvalidArgument, "unknown capability to add: \"" + n + "\"");
    }
    if (std::find(caps.begin(), caps.end(), n) == caps.end()) caps.push_back(n);
  }
  return caps;
}

/// Source: kubernetes pkg/kubelet/cm/helpers_linux.go, pkg/kubelet/qos/policy.go
runtime::Resources resources(const Json& pod, const Json& container, const ContainerInput& in) {
  runtime::Resources out;
  const auto cpu_limit = resource_of(container, "limits", "cpu");
  auto cpu_request = resource_of(container, "requests", "cpu");
  if (!cpu_request) cpu_request = cpu_limit;
  if (cpu_request && *cpu_request > 0) {
    out.cpu_shares = static_cast<std::uint64_t>(
        std::clamp<std::int64_t>(*cpu_request * 1024 / 1000, 2, 262'144));
  }
  if (cpu_limit && *cpu_limit > 0) {
    out.cpu_quota_us = std::max<std::int64_t>(*cpu_limit * 100, 1000);
  }
  out.memory_limit = resource_of(container, "limits", "memory").value_or(0);
  out.pids_limit = 32'768;
  const std::string_view qos = qos_class(pod);
  std::int64_t score = 1000;
  if (qos == "Guaranteed") {
    score = -997;
  } else if (qos == "Burstable" && in.facts.node_memory > 0) {
    const std::int64_t request =
        resource_of(container, "requests", "memory").value_or(out.memory_limit);
    // In units that cannot overflow: a thousandth of the node's memory.
    score = 1000 - request / std::max<std::int64_t>(in.facts.node_memory / 1000, 1);
    score = std::clamp<std::int64_t>(score, 3, 999);
  }
  out.oom_score_adj = std::max(score, in.least_oom_score);
  return out;
}

Result<void> add_mounts(runtime::ContainerSpec& out, const ContainerInput& in) {
  for (const Json& m : json::array(*in.container.json, {"volumeMounts"})) {
    const std::string name(json::str(m, {"name"})), path(json::str(m, {"mountPath"}));
    const auto it = in.volumes.find(name);
    if (it == in.volumes.end() || path.empty()) {
      return Error(Code::InvalidArgument, "container \"" + in.container.name +
                                              "\" mounts the unknown volume \"" + name + "\"");
    }
    const std::string_view propagation = json::str(m, {"mountPropagation"}, "None");
    if (propagation != "None") {
      return Error(Code::Unsupported, "mountPropagation " + std::string(propagation) +
                                          " is not supported by Knit's node: remove it");
    }
    runtime::Mount mount;
    mount.source = it->second;
    mount.destination = path.front() == '/' ? path : "/" + path;
    mount.options = {"rbind", "rprivate", json::boolean(m, {"readOnly"}) ? "ro" : "rw"};
    mount.beneath = json::str(m, {"subPath"});
    const std::string_view expression = json::str(m, {"subPathExpr"});
    if (!expression.empty()) {
      std::map<std::string, std::string> values;
      for (const std::string& e : out.env) {
        values.emplace(e.substr(0, e.find('=')), e.substr(e.find('=') + 1));
      }
      mount.beneath = expand(expression, values);
    }
    // Content volumes are never writable (kubelet makes them so since 1.9.4).
    for (const Json& v : json::array(*in.pod, {"spec", "volumes"})) {
      if (json::str(v, {"name"}) == name && json::find(v, "emptyDir") == nullptr && v.is_object() &&
          v.as_object().size() > 1) {
        mount.options.back() = "ro";
      }
    }
    out.mounts.push_back(std::move(mount));
  }
  const auto has = [&](std::string_view at) {
    return std::any_of(out.mounts.begin(), out.mounts.end(),
                       [&](const runtime::Mount& m) { return m.destination == at; });
  };
  for (const char* file : {"hosts", "resolv.conf", "hostname"}) {
    const std::string at = "/etc/" + std::string(file);
    if (!in.files.empty() && !has(at)) {
      out.mounts.push_back({in.files + "/" + file, at, "bind", {"rbind", "rprivate", "rw"}, {}});
    }
  }
  if (!in.termination_log.empty()) {
    const std::string at(
        json::str(*in.container.json, {"terminationMessagePath"}, "/dev/termination-log"));
    if (!has(at)) {
      out.mounts.push_back({in.termination_log, at, "bind", {"rbind", "rprivate", "rw"}, {}});
    }
  }
  return {};
}

}  // namespace

std::string pod_cgroup(std::string_view uid) { return "/knit/pod" + std::string(uid); }

Result<runtime::ContainerSpec> container_spec(const ContainerInput& in) {
  const Json& pod = *in.pod;
  const Json& c = *in.container.json;
  runtime::ContainerSpec out;
  out.id = in.id;
  out.hostname = hostname_of(pod);
  KNIT_TRY(out.env, container_env(pod, c, in.image->env, *in.objects, in.facts));
  out.args = container_args(c, in.image->entrypoint, in.image->cmd, out.env);
  if (out.args.empty()) {
    return Error(Code::InvalidArgument,
                 "no command specified: the image has neither entrypoint nor "
                 "command, and the container gives none");
  }
  out.cwd = json::str(c, {"workingDir"}, in.image->workdir.empty() ? "/" : in.image->workdir);
  if (!out.cwd.starts_with('/')) out.cwd.insert(0, "/");
  out.user = in.image->user;
  out.run_as_user = id_of(security(pod, c, "runAsUser"));
  out.run_as_group = id_of(security(pod, c, "runAsGroup"));
  out.run_as_non_root = is_true(security(pod, c, "runAsNonRoot"));
  for (const Json& g : json::array(pod, {"spec", "securityContext", "supplementalGroups"})) {
    if (const auto id = id_of(&g)) out.supplemental_groups.push_back(*id);
  }
  if (const auto id = id_of(json::find(pod, {"spec", "securityContext", "fsGroup"}))) {
    out.supplemental_groups.push_back(*id);
  }
  out.privileged = json::boolean(c, {"securityContext", "privileged"});
  if (out.privileged) {
    return Error(Code::Unsupported, "container \"" + in.container.name +
                                        "\": securityContext.privileged is not supported by Knit's "
                                        "node: name the capabilities that are needed");
  }
  KNIT_TRY(out.capabilities, capabilities(c));
  const Json* escalation = json::find(c, {"securityContext", "allowPrivilegeEscalation"});
  out.no_new_privileges = escalation != nullptr && escalation->is_bool() && !escalation->as_bool();
  // DIFFERS: a kubelet without --seccomp-default runs containers that ask for nothing unconfined.
  const Json* profile = security(pod, c, "seccompProfile");
  if (profile != nullptr && json::str(*profile, {"type"}) == "Unconfined") {
    out.seccomp = runtime::Seccomp::Unconfined;
  }
  out.read_only_root = json::boolean(c, {"securityContext", "readOnlyRootFilesystem"});
  out.resources = resources(pod, c, in);
  out.root_size = resource_of(c, "limits", "ephemeral-storage").value_or(kDefaultRootBytes);
  if (out.root_size <= 0) out.root_size = kDefaultRootBytes;
  out.cgroup = pod_cgroup(uid_of(pod)) + "/" + in.id;
  out.netns_path = in.netns_path;
  out.annotations = {{"io.kubernetes.pod.name", std::string(name_of(pod))},
                     {"io.kubernetes.pod.namespace", std::string(namespace_of(pod))},
                     {"io.kubernetes.pod.uid", uid_of(pod)},
                     {"io.kubernetes.container.name", in.container.name}};
  KNIT_TRY_VOID(add_mounts(out, in));
  return out;
}

}  // namespace knit::node
