// Source: kubernetes pkg/apis/core/validation/validation.go
#include <algorithm>
#include <set>

#include "base/quantity.h"
#include "kube/names.h"
#include "kube/schema/validation.h"

namespace knit::schema {

namespace {
using json::array;
using json::find;
using json::i64;
using json::object;
using json::str;

std::string_view sv(boost::json::string_view s) { return {s.data(), s.size()}; }

void not_negative(const Json& holder, std::string_view key, const std::string& path,
                  Errors& errors) {
  if (const auto n = json::opt_i64(holder, {key}); n && *n < 0) {
    errors.invalid(at(path, key), *n, kNotNegative);
  }
}

void port_number_or_name(const Json* port, const std::string& path, Errors& errors) {
  if (port == nullptr) {
    errors.required(path);
  } else if (const auto* s = port->if_string()) {
    errors.all(path, *port, kube::check_port_name({s->data(), s->size()}));
  } else if (const auto n = port->if_int64(); n == nullptr || *n < 1 || *n > 65535) {
    errors.invalid(path, *port, kPortRange);
  }
}

/// Exactly one of `kinds` in `holder`.
std::size_t handlers(const Json& holder, const std::string& path,
                     std::initializer_list<std::string_view> kinds, Errors& errors) {
  std::size_t n = 0;
  for (const auto k : kinds) {
    if (find(holder, k) == nullptr) continue;
    if (++n > 1) errors.forbidden(at(path, k), "may not specify more than 1 handler type");
  }
  return n;
}

void validate_handler(const Json& holder, const std::string& path, Errors& errors) {
  if (const Json* http = find(holder, "httpGet")) {
    if (str(*http, {"path"}).empty()) errors.required(at(path, "httpGet.path"));
    port_number_or_name(find(*http, "port"), at(path, "httpGet.port"), errors);
  }
  if (const Json* tcp = find(holder, "tcpSocket")) {
    port_number_or_name(find(*tcp, "port"), at(path, "tcpSocket.port"), errors);
  }
  if (const Json* exec = find(holder, "exec");
      exec != nullptr && array(*exec, {"command"}).empty()) {
    errors.required(at(path, "exec.command"));
  }
  if (const Json* grpc = find(holder, "grpc")) {
    const auto n = i64(*grpc, {"port"});
    if (n < 1 || n > 65535) errors.invalid(at(path, "grpc.port"), n, kPortRange);
  }
}

void validate_probe(const Json* probe, const std::string& path, bool success_must_be_one,
                    Errors& errors) {
  if (probe == nullptr) return;
  if (handlers(*probe, path, {"exec", "httpGet", "tcpSocket", "grpc"}, errors) == 0) {
    errors.required(path, "must specify a handler type");
  }
  validate_handler(*probe, path, errors);
  for (const std::string_view key : {"initialDelaySeconds", "timeoutSeconds", "periodSeconds",
                                     "successThreshold", "failureThreshold"}) {
    not_negative(*probe, key, path, errors);
  }
  if (const auto n = i64(*probe, {"successThreshold"}, 1); success_must_be_one && n != 1) {
    errors.invalid(at(path, "successThreshold"), n, "must be 1");
  }
}

void validate_env(const Json& container, const std::string& path, Errors& errors) {
  const auto& env = array(container, {"env"});
  for (std::size_t i = 0; i < env.size(); ++i) {
    const std::string here = at(at(path, "env"), i);
    const std::string_view name = str(env[i], {"name"});
    if (name.empty()) {
      errors.required(at(here, "name"));
    } else {
      errors.all(at(here, "name"), name, kube::check_env_name(name));
    }
    const Json* from = find(env[i], "valueFrom");
    if (from == nullptr) continue;
    std::size_t sources = 0;
    for (const std::string_view s :
         {"fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"}) {
      const Json* source = find(*from, s);
      if (source == nullptr) continue;
      ++sources;
      if (s.ends_with("KeyRef") && str(*source, {"key"}).empty()) {
        errors.required(at(here, "valueFrom." + std::string(s) + ".key"));
      }
      if ((s == "configMapKeyRef" || s == "secretKeyRef") && str(*source, {"name"}).empty()) {
        errors.required(at(here, "valueFrom." + std::string(s) + ".name"));
      }
      if (s == "fieldRef" && str(*source, {"fieldPath"}).empty()) {
        errors.required(at(here, "valueFrom.fieldRef.fieldPath"));
      }
    }
    if (!str(env[i], {"value"}).empty() && sources > 0) {
      errors.invalid(at(here, "valueFrom"), "", "may not be specified when `value` is not empty");
    } else if (sources == 0) {
      errors.invalid(at(here, "valueFrom"), "",
                     "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, "
                     "`secretKeyRef` or `fileKeyRef`");
    } else if (sources > 1) {
      errors.invalid(at(here, "valueFrom"), "",
                     "may not have more than one field specified at a time");
    }
  }
}

void validate_ports(const Json& container, const std::string& path, std::set<std::string>& host,
                    Errors& errors) {
  const auto& ports = array(container, {"ports"});
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < ports.size(); ++i) {
    const std::string here = at(at(path, "ports"), i);
    const std::string_view name = str(ports[i], {"name"});
    if (!name.empty()) {
      errors.all(at(here, "name"), name, kube::check_port_name(name));
      if (!names.insert(name).second) errors.duplicate(at(here, "name"), name);
    }
    const auto number = i64(ports[i], {"containerPort"});
    if (number == 0) {
      errors.required(at(here, "containerPort"));
    } else if (number < 1 || number > 65535) {
      errors.invalid(at(here, "containerPort"), number, kPortRange);
    }
    if (const auto h = i64(ports[i], {"hostPort"}); h != 0) {
      if (h < 1 || h > 65535) errors.invalid(at(here, "hostPort"), h, kPortRange);
      const std::string key = std::string(str(ports[i], {"protocol"})) + "/" +
                              std::string(str(ports[i], {"hostIP"})) + "/" + std::to_string(h);
      if (!host.insert(key).second) errors.duplicate(at(here, "hostPort"), key);
    }
  }
}

void validate_mounts(const Json& container, const std::string& path,
                     const std::set<std::string_view>& volumes, Errors& errors) {
  const auto& mounts = array(container, {"volumeMounts"});
  std::set<std::string_view> paths;
  for (std::size_t i = 0; i < mounts.size(); ++i) {
    const std::string here = at(at(path, "volumeMounts"), i);
    const std::string_view name = str(mounts[i], {"name"});
    if (name.empty()) {
      errors.required(at(here, "name"));
    } else if (!volumes.contains(name)) {
      errors.not_found(at(here, "name"), name);
    }
    const std::string_view mount = str(mounts[i], {"mountPath"});
    if (mount.empty()) {
      errors.required(at(here, "mountPath"));
    } else if (!paths.insert(mount).second) {
      errors.invalid(at(here, "mountPath"), mount, "must be unique");
    }
    const std::string_view sub = str(mounts[i], {"subPath"});
    if (!sub.empty() && sub.front() == '/') {
      errors.invalid(at(here, "subPath"), sub, "must be a relative path");
    }
    if (("/" + std::string(sub) + "/").find("/../") != std::string::npos) {
      errors.invalid(at(here, "subPath"), sub, "must not contain '..'");
    }
    if (!sub.empty() && !str(mounts[i], {"subPathExpr"}).empty()) {
      errors.invalid(at(here, "subPathExpr"), str(mounts[i], {"subPathExpr"}),
                     "subPathExpr and subPath are mutually exclusive");
    }
  }
}

struct Seen {
  std::set<std::string_view> names;
  std::set<std::string> host_ports;
  const std::set<std::string_view>& volumes;
};

void validate_container(const Json& c, const std::string& path, bool init, Seen& seen,
                        Errors& errors) {
  const std::string_view name = str(c, {"name"});
  if (name.empty()) {
    errors.required(at(path, "name"));
  } else {
    errors.all(at(path, "name"), name, kube::check_dns1123_label(name));
    if (!seen.names.insert(name).second) errors.duplicate(at(path, "name"), name);
  }
  const std::string_view image = str(c, {"image"});
  if (image.empty()) {
    errors.required(at(path, "image"));
  } else if (image.front() == ' ' || image.back() == ' ' || image.back() == '\n') {
    errors.invalid(at(path, "image"), image, "must not have leading or trailing whitespace");
  }
  validate_ports(c, path, seen.host_ports, errors);
  validate_env(c, path, errors);
  validate_mounts(c, path, seen.volumes, errors);
  validate_container_resources(
      find(c, "resources") == nullptr ? Json(JsonObject()) : *find(c, "resources"),
      at(path, "resources"), errors);
  const bool restartable = str(c, {"restartPolicy"}) == "Always";
  for (const std::string_view probe : {"livenessProbe", "readinessProbe", "startupProbe"}) {
    const Json* p = find(c, probe);
    if (p != nullptr && init && !restartable) {
      errors.forbidden(at(path, probe),
                       "may not be set for init containers without restartPolicy=Always");
      continue;
    }
    validate_probe(p, at(path, probe), probe != "readinessProbe", errors);
  }
  for (const std::string_view hook : {"postStart", "preStop"}) {
    const Json* h = find(c, {"lifecycle", hook});
    if (h == nullptr) continue;
    const std::string here = at(path, "lifecycle." + std::string(hook));
    if (init && !restartable) {
      errors.forbidden(at(path, "lifecycle"),
                       "may not be set for init containers without restartPolicy=Always");
      break;
    }
    if (handlers(*h, here, {"exec", "httpGet", "tcpSocket", "sleep"}, errors) == 0) {
      errors.required(here, "must specify a handler type");
    }
    validate_handler(*h, here, errors);
  }
}

void validate_volume_source(const Json& v, const std::string& path, Errors& errors) {
  std::size_t sources = 0;
  for (const auto& member : v.get_object()) {
    if (sv(member.key()) == "name") continue;
    if (++sources > 1) {
      errors.forbidden(at(path, sv(member.key())), "may not specify more than 1 volume type");
    }
  }
  if (const Json* s = find(v, "configMap"); s != nullptr && str(*s, {"name"}).empty()) {
    errors.required(at(path, "configMap.name"));
  }
  if (const Json* s = find(v, "secret"); s != nullptr && str(*s, {"secretName"}).empty()) {
    errors.required(at(path, "secret.secretName"));
  }
  if (const Json* s = find(v, "hostPath"); s != nullptr && str(*s, {"path"}).empty()) {
    errors.required(at(path, "hostPath.path"));
  }
  for (const std::string_view source : {"configMap", "secret", "downwardAPI", "projected"}) {
    const auto mode = json::opt_i64(v, {source, "defaultMode"});
    if (mode && (*mode < 0 || *mode > 0777)) {
      errors.invalid(at(path, std::string(source) + ".defaultMode"), *mode,
                     "must be a number between 0 and 0777 (octal), both inclusive");
    }
  }
  const auto& projected = array(v, {"projected", "sources"});
  for (std::size_t i = 0; i < projected.size(); ++i) {
    const std::string here = at(at(path, "projected.sources"), i);
    const Json* token = find(projected[i], "serviceAccountToken");
    if (token == nullptr) continue;
    if (str(*token, {"path"}).empty()) errors.required(at(here, "serviceAccountToken.path"));
    const auto seconds = i64(*token, {"expirationSeconds"}, 3600);
    if (seconds < 600) {
      errors.invalid(at(here, "serviceAccountToken.expirationSeconds"), seconds,
                     "may not specify a duration less than 10 minutes");
    }
  }
}
}  // namespace

void validate_container_resources(const Json& resources, const std::string& path, Errors& errors) {
  for (const std::string_view list : {"limits", "requests"}) {
    for (const auto& member : object(resources, {list})) {
      const auto* s = member.value().if_string();
      const auto q = Quantity::parse(s == nullptr ? std::string_view()
                                                  : std::string_view(s->data(), s->size()));
      if (q && q->negative()) {
        errors.invalid(at_key(at(path, list), sv(member.key())), member.value(), kNotNegative);
      }
    }
  }
  for (const auto& member : object(resources, {"requests"})) {
    const Json* limit = find(resources, {"limits", sv(member.key())});
    if (limit == nullptr || !limit->is_string() || !member.value().is_string()) continue;
    const auto request = Quantity::parse(sv(member.value().get_string()));
    const auto bound = Quantity::parse(sv(limit->get_string()));
    if (request && bound && *request > *bound) {
      errors.invalid(at(path, "requests"), member.value(),
                     "must be less than or equal to " + std::string(sv(member.key())) +
                         " limit of " + bound->str());
    }
  }
}

void validate_pod_spec(const Json& spec, const std::string& path, Errors& errors) {
  std::set<std::string_view> volumes;
  const auto& list = array(spec, {"volumes"});
  for (std::size_t i = 0; i < list.size(); ++i) {
    const std::string here = at(at(path, "volumes"), i);
    const std::string_view name = str(list[i], {"name"});
    if (name.empty()) {
      errors.required(at(here, "name"));
    } else {
      errors.all(at(here, "name"), name, kube::check_dns1123_label(name));
      if (!volumes.insert(name).second) errors.duplicate(at(here, "name"), name);
    }
    if (list[i].is_object()) validate_volume_source(list[i], here, errors);
  }
  Seen seen{{}, {}, volumes};
  const auto& containers = array(spec, {"containers"});
  if (containers.empty()) errors.required(at(path, "containers"));
  for (std::size_t i = 0; i < containers.size(); ++i) {
    validate_container(containers[i], at(at(path, "containers"), i), false, seen, errors);
  }
  const auto& init = array(spec, {"initContainers"});
  for (std::size_t i = 0; i < init.size(); ++i) {
    validate_container(init[i], at(at(path, "initContainers"), i), true, seen, errors);
  }
  not_negative(spec, "terminationGracePeriodSeconds", path, errors);
  if (const auto n = json::opt_i64(spec, {"activeDeadlineSeconds"}); n && *n < 1) {
    errors.invalid(at(path, "activeDeadlineSeconds"), *n,
                   "must be between 1 and 2147483647, inclusive");
  }
  if (const auto name = str(spec, {"serviceAccountName"}); !name.empty()) {
    errors.all(at(path, "serviceAccountName"), name, kube::check_dns1123_subdomain(name));
  }
  if (const auto name = str(spec, {"nodeName"}); !name.empty()) {
    errors.all(at(path, "nodeName"), name, kube::check_dns1123_subdomain(name));
  }
  if (const auto name = str(spec, {"hostname"}); !name.empty()) {
    errors.all(at(path, "hostname"), name, kube::check_dns1123_label(name));
  }
}

void validate_pod_update(const Json& pod, const Json& old, Errors& errors) {
  const auto masked = [](const Json& o) {
    const Json* spec = find(o, "spec");
    Json s = spec == nullptr ? Json(JsonObject()) : *spec;
    for (const std::string_view key : {"activeDeadlineSeconds", "terminationGracePeriodSeconds",
                                       "tolerations", "nodeName", "schedulingGates"}) {
      json::erase(s, {key});
    }
    for (const std::string_view key : {"containers", "initContainers"}) {
      if (Json* v = find(s, key); v != nullptr && v->is_array()) {
        for (Json& c : v->get_array()) json::erase(c, {"image"});
      }
    }
    return json::canonical(s);
  };
  if (masked(pod) != masked(old)) {
    errors.forbidden(
        "spec",
        "pod updates may not change fields other than "
        "`spec.containers[*].image`,`spec.initContainers[*].image`,"
        "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "
        "tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if "
        "it was previously negative)");
  }
  const std::string_view before = str(old, {"spec", "nodeName"});
  if (!before.empty() && str(pod, {"spec", "nodeName"}) != before) {
    errors.forbidden("spec.nodeName", "may not be changed once set");
  }
  const auto& kept = array(pod, {"spec", "tolerations"});
  for (const Json& t : array(old, {"spec", "tolerations"})) {
    if (std::find(kept.begin(), kept.end(), t) == kept.end()) {
      errors.forbidden("spec.tolerations",
                       "existing toleration can not be modified except its tolerationSeconds");
      break;
    }
  }
}

}  // namespace knit::schema
