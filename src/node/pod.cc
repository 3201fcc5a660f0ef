#include "node/pod.h"

#include <algorithm>

#include "base/quantity.h"
#include "image/reference.h"

namespace knit::node {

std::vector<ContainerView> containers_of(const Json& pod) {
  std::vector<ContainerView> out;
  for (const char* list : {"initContainers", "containers"}) {
    const bool init = std::string_view(list) == "initContainers";
    for (const Json& c : json::array(pod, {"spec", list})) {
      ContainerView v;
      v.json = &c;
      v.kind = !init                                         ? Kind::Main
               : json::str(c, {"restartPolicy"}) == "Always" ? Kind::Sidecar
                                                             : Kind::Init;
      v.name = json::str(c, {"name"});
      v.image = json::str(c, {"image"});
      v.role = image::role_of(json::str(c, {"image"}));
      out.push_back(std::move(v));
    }
  }
  return out;
}

std::string uid_of(const Json& pod) { return std::string(json::str(pod, {"metadata", "uid"})); }
std::string_view namespace_of(const Json& pod) { return json::str(pod, {"metadata", "namespace"}); }
std::string_view name_of(const Json& pod) { return json::str(pod, {"metadata", "name"}); }
bool deleting(const Json& pod) {
  return !json::str(pod, {"metadata", "deletionTimestamp"}).empty();
}

std::int64_t grace_of(const Json& pod) {
  const auto own = json::opt_i64(pod, {"metadata", "deletionGracePeriodSeconds"});
  const auto seconds = own ? *own : json::i64(pod, {"spec", "terminationGracePeriodSeconds"}, 30);
  return std::clamp<std::int64_t>(seconds, 0, 86'400);
}

std::optional<std::int64_t> resource_of(const Json& container, std::string_view kind,
                                        std::string_view resource) {
  const Json* v = json::find(container, {"resources", kind, resource});
  if (v == nullptr) return {};
  const auto q = Quantity::parse(v->is_string() ? std::string(v->as_string()) : json::print(*v));
  if (!q) return {};
  return resource == "cpu" ? q->milli() : q->value();
}

std::string_view qos_class(const Json& pod) {
  bool any = false, guaranteed = true;
  for (const ContainerView& c : containers_of(pod)) {
    for (const char* r : {"cpu", "memory"}) {
      const auto limit = resource_of(*c.json, "limits", r);
      const auto request = resource_of(*c.json, "requests", r);
      any = any || limit.value_or(0) > 0 || request.value_or(0) > 0;
      if (limit.value_or(0) <= 0 || (request && *request != *limit)) guaranteed = false;
    }
  }
  return !any ? "BestEffort" : guaranteed ? "Guaranteed" : "Burstable";
}

std::string unsupported(const Json& pod) {
  for (const char* flag : {"hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"}) {
    if (json::boolean(pod, {"spec", flag})) {
      return "spec." + std::string(flag) + " is not supported by Knit's node: remove it";
    }
  }
  if (const Json* users = json::find(pod, {"spec", "hostUsers"});
      users != nullptr && users->is_bool() && !users->as_bool()) {
    return "spec.hostUsers: false is not supported by Knit's node: remove it";
  }
  const std::string_view runtime = json::str(pod, {"spec", "runtimeClassName"});
  if (!runtime.empty()) {
    return "spec.runtimeClassName \"" + std::string(runtime) +
           "\" is not supported by Knit's node: remove it";
  }
  const JsonArray& volumes = json::array(pod, {"spec", "volumes"});
  for (std::size_t i = 0; i < volumes.size(); ++i) {
    if (!volumes[i].is_object()) continue;
    for (const auto& [key, value] : volumes[i].as_object()) {
      if (key == "name" || key == "emptyDir" || key == "configMap" || key == "secret" ||
          key == "projected" || key == "downwardAPI" || value.is_null()) {
        continue;
      }
      return "spec.volumes[" + std::to_string(i) + "]." + std::string(key) + " (volume \"" +
             std::string(json::str(volumes[i], {"name"})) +
             "\") is not supported by Knit's node: use emptyDir, configMap, secret, projected or "
             "downwardAPI";
    }
  }
  for (const ContainerView& c : containers_of(pod)) {
    if (!c.role.empty()) continue;
    for (const char* flag : {"tty", "stdin"}) {
      if (json::boolean(*c.json, {flag})) {
        return "container \"" + c.name + "\": " + flag + " is not supported by Knit's node";
      }
    }
    if (!json::array(*c.json, {"volumeDevices"}).empty()) {
      return "container \"" + c.name + "\": volumeDevices is not supported by Knit's node";
    }
    const std::string_view profile =
        json::str(*c.json, {"securityContext", "seccompProfile", "type"},
                  json::str(pod, {"spec", "securityContext", "seccompProfile", "type"}));
    if (profile == "Localhost") {
      return "container \"" + c.name +
             "\": seccompProfile.type Localhost is not supported by Knit's node";
    }
    for (const char* hook : {"preStop", "postStart"}) {
      if (json::find(*c.json, {"lifecycle", hook, "tcpSocket"}) != nullptr) {
        return "container \"" + c.name + "\": lifecycle." + hook +
               ".tcpSocket is not supported by Knit's node";
      }
    }
  }
  return {};
}

std::string probe_id(std::string_view container, std::string_view which) {
  return std::string(container) + "/" + std::string(which.substr(0, which.find("Probe")));
}

Result<std::optional<ipc::ProbeSpec>> proxy_probe(const ContainerView& c, std::string_view which) {
  const Json* probe = json::find(*c.json, which);
  if (probe == nullptr || !probe->is_object()) return std::optional<ipc::ProbeSpec>();
  ipc::ProbeSpec out;
  out.id = probe_id(c.name, which);
  const auto seconds = [&](std::string_view field, std::int64_t otherwise, std::int64_t least) {
    const std::int64_t v = json::i64(*probe, {field}, otherwise);
    return static_cast<std::uint32_t>(
        std::clamp<std::int64_t>(v == 0 ? otherwise : v, least, 86'400));
  };
  out.initial_delay_s = seconds("initialDelaySeconds", 0, 0);
  out.period_s = seconds("periodSeconds", 10, 1);
  out.timeout_s = seconds("timeoutSeconds", 1, 1);
  out.success = seconds("successThreshold", 1, 1);
  out.failure = seconds("failureThreshold", 3, 1);
  const Json* handler = nullptr;
  if ((handler = json::find(*probe, "httpGet")) != nullptr && handler->is_object()) {
    out.kind = ipc::ProbeSpec::Kind::Http;
    out.path = json::str(*handler, {"path"}, "/");
    if (!out.path.starts_with('/')) out.path.insert(0, "/");
    out.host = json::str(*handler, {"host"});
    out.scheme = json::str(*handler, {"scheme"}, "HTTP");
    for (const Json& h : json::array(*handler, {"httpHeaders"})) {
      out.headers.emplace(json::str(h, {"name"}), json::str(h, {"value"}));
    }
  } else if ((handler = json::find(*probe, "tcpSocket")) != nullptr && handler->is_object()) {
    out.kind = ipc::ProbeSpec::Kind::Tcp;
    out.host = json::str(*handler, {"host"});
  } else if ((handler = json::find(*probe, "grpc")) != nullptr && handler->is_object()) {
    out.kind = ipc::ProbeSpec::Kind::Grpc;
    out.path = json::str(*handler, {"service"});
  } else {
    return std::optional<ipc::ProbeSpec>();
  }
  const Json* port = json::find(*handler, "port");
  std::int64_t number = port != nullptr && port->is_int64() ? port->as_int64() : 0;
  if (port != nullptr && port->is_string()) {
    for (const Json& p : json::array(*c.json, {"ports"})) {
      if (json::str(p, {"name"}) == std::string_view(port->as_string())) {
        number = json::i64(p, {"containerPort"});
      }
    }
  }
  if (number < 1 || number > 65535) {
    return Error(Code::InvalidArgument,
                 "container \"" + c.name + "\": " + std::string(which) + " has no usable port");
  }
  out.port = static_cast<std::uint16_t>(number);
  return std::optional<ipc::ProbeSpec>(std::move(out));
}

std::vector<std::uint16_t> ports_of(const Json& pod) {
  std::vector<std::uint16_t> out;
  for (const ContainerView& c : containers_of(pod)) {
    for (const Json& p : json::array(*c.json, {"ports"})) {
      const std::int64_t number = json::i64(p, {"containerPort"});
      if (json::str(p, {"protocol"}, "TCP") == "TCP" && number > 0 && number <= 65535) {
        out.push_back(static_cast<std::uint16_t>(number));
      }
    }
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

std::string hostname_of(const Json& pod) {
  std::string out(json::str(pod, {"spec", "hostname"}, name_of(pod)));
  if (out.size() > 63) out.resize(63);  // as kubelet: cut, without a trailing '-' or '.'
  while (!out.empty() && (out.back() == '-' || out.back() == '.')) out.pop_back();
  return out;
}

}  // namespace knit::node
