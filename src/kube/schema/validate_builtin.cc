// Source: kubernetes pkg/apis/{core,apps,networking,policy,rbac}/validation
#include <algorithm>
#include <charconv>
#include <set>

#include "kube/names.h"
#include "kube/schema/validation.h"
#include "kube/selector.h"

namespace knit::schema {

namespace {
using json::array;
using json::find;
using json::i64;
using json::object;
using json::str;

constexpr std::size_t kMaxData = 1 << 20;

std::string_view sv(boost::json::string_view s) { return {s.data(), s.size()}; }

bool same(const Json& a, const Json& b, json::Path path) {
  const Json* x = find(a, path);
  const Json* y = find(b, path);
  if (x == nullptr || y == nullptr) return x == y;
  return *x == *y;
}

// ------------------------------------------------------------------ services

void validate_service_ports(const Json& service, Errors& errors) {
  const auto& ports = array(service, {"spec", "ports"});
  const std::string_view type = str(service, {"spec", "type"});
  std::set<std::string_view> names;
  std::set<std::pair<std::string_view, std::int64_t>> numbers;
  for (std::size_t i = 0; i < ports.size(); ++i) {
    const std::string here = at("spec.ports", i);
    const std::string_view name = str(ports[i], {"name"});
    if (name.empty()) {
      if (ports.size() > 1) errors.required(at(here, "name"));
    } else {
      errors.all(at(here, "name"), name, kube::check_dns1123_label(name));
      if (!names.insert(name).second) errors.duplicate(at(here, "name"), name);
    }
    const auto number = i64(ports[i], {"port"});
    if (number < 1 || number > 65535) errors.invalid(at(here, "port"), number, kPortRange);
    if (const Json* target = find(ports[i], "targetPort")) {
      if (const auto* s = target->if_string()) {
        errors.all(at(here, "targetPort"), *target, kube::check_port_name(sv(*s)));
      } else if (const auto n = i64(ports[i], {"targetPort"}); n < 1 || n > 65535) {
        errors.invalid(at(here, "targetPort"), n, kPortRange);
      }
    }
    if (!numbers.insert({str(ports[i], {"protocol"}, "TCP"), number}).second) {
      errors.duplicate(here, ports[i]);
    }
    const auto node = i64(ports[i], {"nodePort"});
    if (node != 0 && type == "ClusterIP") {
      errors.forbidden(at(here, "nodePort"), "may not be used when `type` is 'ClusterIP'");
    } else if (node != 0 && (node < 30000 || node > 32767)) {
      errors.invalid(at(here, "nodePort"), node,
                     "provided port is not in the valid range. The range of valid ports is "
                     "30000-32767");
    }
  }
}

void validate_service(const Json& service, const Json* old, Errors& errors) {
  const std::string_view type = str(service, {"spec", "type"});
  const std::string_view ip = str(service, {"spec", "clusterIP"});
  if (type == "ExternalName") {
    const std::string_view name = str(service, {"spec", "externalName"});
    if (name.empty()) {
      errors.required("spec.externalName");
    } else {
      std::string_view host = name;
      if (host.ends_with('.')) host.remove_suffix(1);
      errors.all("spec.externalName", name, kube::check_dns1123_subdomain(host));
    }
    if (!ip.empty()) {
      errors.forbidden("spec.clusterIPs[0]", "may not be set when `type` is 'ExternalName'");
    }
  } else if (array(service, {"spec", "ports"}).empty() && ip != "None") {
    errors.required("spec.ports");
  }
  if (ip == "None" && (type == "NodePort" || type == "LoadBalancer")) {
    errors.invalid("spec.clusterIPs[0]", "None",
                   "may not be set to 'None' for " + std::string(type) + " services");
  }
  validate_service_ports(service, errors);
  for (const auto& [key, value] : json::string_map(service, {"spec", "selector"})) {
    errors.all("spec.selector", key, kube::check_qualified_name(key));
    errors.all("spec.selector", value, kube::check_label_value(value));
  }
  if (old == nullptr) return;
  const std::string_view before = str(*old, {"spec", "clusterIP"});
  if (!before.empty() && type != "ExternalName" && str(*old, {"spec", "type"}) != "ExternalName" &&
      ip != before) {
    errors.invalid("spec.clusterIPs[0]", JsonArray{Json(ip)},
                   ip.empty() ? "primary clusterIP can not be unset" : "may not change once set");
  }
}

// ------------------------------------------------------------------ data

void validate_keys(const Json& holder, std::string_view field, std::size_t* total,
                   std::set<std::string>& keys, Errors& errors) {
  for (const auto& member : object(holder, {field})) {
    const std::string_view key = sv(member.key());
    errors.all(at_key(field, key), key, kube::check_config_key(key));
    if (!keys.insert(std::string(key)).second) {
      errors.invalid(at_key(field, key), key, "duplicate of key present in data");
    }
    if (const auto* s = member.value().if_string()) *total += s->size();
  }
}

void validate_immutable_data(const Json& o, const Json& old,
                             std::initializer_list<std::string_view> fields, Errors& errors) {
  if (!json::boolean(old, {"immutable"})) return;
  if (!json::boolean(o, {"immutable"})) {
    errors.forbidden("immutable", "field is immutable when `immutable` is set");
  }
  for (const auto f : fields) {
    if (!same(o, old, {f})) {
      errors.forbidden(std::string(f), "field is immutable when `immutable` is set");
    }
  }
}

void validate_configmap(const Json& o, const Json* old, Errors& errors) {
  std::size_t total = 0;
  std::set<std::string> keys;
  validate_keys(o, "data", &total, keys, errors);
  validate_keys(o, "binaryData", &total, keys, errors);
  if (total > kMaxData) errors.too_long("", kMaxData);
  if (old != nullptr) validate_immutable_data(o, *old, {"data", "binaryData"}, errors);
}

void validate_secret(const Json& o, const Json* old, Errors& errors) {
  std::size_t total = 0;
  std::set<std::string> keys;
  validate_keys(o, "data", &total, keys, errors);
  if (total / 4 * 3 > kMaxData) errors.too_long("data", kMaxData);
  const std::string_view type = str(o, {"type"});
  const auto need_key = [&](std::string_view key) {
    if (find(o, {"data", key}) == nullptr) errors.required(at_key("data", key));
  };
  if (type == "kubernetes.io/tls") {
    need_key("tls.crt");
    need_key("tls.key");
  } else if (type == "kubernetes.io/dockerconfigjson") {
    need_key(".dockerconfigjson");
  } else if (type == "kubernetes.io/dockercfg") {
    need_key(".dockercfg");
  } else if (type == "kubernetes.io/basic-auth" && find(o, {"data", "username"}) == nullptr &&
             find(o, {"data", "password"}) == nullptr) {
    need_key("username");
    need_key("password");
  } else if (type == "kubernetes.io/ssh-auth") {
    need_key("ssh-privatekey");
  } else if (type == "kubernetes.io/service-account-token" &&
             str(o, {"metadata", "annotations", "kubernetes.io/service-account.name"}).empty()) {
    errors.required("metadata.annotations[kubernetes.io/service-account.name]");
  }
  if (old == nullptr) return;
  if (!same(o, *old, {"type"})) errors.invalid("type", type, kImmutable);
  validate_immutable_data(o, *old, {"data", "type"}, errors);
}

// ------------------------------------------------------------------ workloads

void validate_workload(const Kind& kind, const Json& o, const Json* old, Errors& errors) {
  const Json* selector = find(o, {"spec", "selector"});
  std::string lower(kind.kind);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  if (selector == nullptr) {
    errors.required("spec.selector");
  } else {
    const auto parsed = kube::LabelSelector::from_object(selector);
    if (!parsed) {
      errors.invalid("spec.selector", *selector, parsed.error().message());
    } else if (parsed->empty()) {
      errors.invalid("spec.selector", *selector, "empty selector is invalid for " + lower);
    } else {
      const auto labels = json::string_map(o, {"spec", "template", "metadata", "labels"});
      if (!parsed->matches(labels)) {
        const Json* shown = find(o, {"spec", "template", "metadata", "labels"});
        errors.invalid("spec.template.metadata.labels",
                       shown == nullptr ? Json(JsonObject()) : *shown,
                       "`selector` does not match template `labels`");
      }
    }
  }
  if (const auto n = i64(o, {"spec", "replicas"}); n < 0) {
    errors.invalid("spec.replicas", n, kNotNegative);
  }
  if (const auto n = i64(o, {"spec", "minReadySeconds"}); n < 0) {
    errors.invalid("spec.minReadySeconds", n, kNotNegative);
  }
  const Json* spec = find(o, {"spec", "template", "spec"});
  const Json none = JsonObject();
  validate_pod_spec(spec == nullptr ? none : *spec, "spec.template.spec", errors);
  const std::string_view restart = str(o, {"spec", "template", "spec", "restartPolicy"}, "Always");
  if (restart != "Always") {
    errors.not_supported("spec.template.spec.restartPolicy", restart, {"Always"});
  }
  if (find(o, {"spec", "template", "spec", "activeDeadlineSeconds"}) != nullptr) {
    errors.forbidden("spec.template.spec.activeDeadlineSeconds",
                     "activeDeadlineSeconds in " + std::string(kind.kind) + " is not Supported");
  }
  if (old != nullptr && !same(o, *old, {"spec", "selector"})) {
    errors.invalid("spec.selector", selector == nullptr ? Json() : *selector, kImmutable);
  }
}

bool is_percent(std::string_view s) {
  if (!s.ends_with('%')) return false;
  s.remove_suffix(1);
  return !s.empty() && std::all_of(s.begin(), s.end(), [](char c) { return c >= '0' && c <= '9'; });
}

/// 0 and "0%" are zero.
bool validate_int_or_percent(const Json* v, const std::string& path, Errors& errors) {
  if (v == nullptr) return true;
  if (const auto* s = v->if_string()) {
    if (!is_percent(sv(*s))) {
      errors.invalid(path, *v,
                     "a valid percent string must be a numeric string followed by an ending '%' "
                     "(e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')");
    }
    return sv(*s) == "0%";
  }
  const auto* n = v->if_int64();
  if (n != nullptr && *n < 0) errors.invalid(path, *v, kNotNegative);
  return n != nullptr && *n == 0;
}

void validate_deployment(const Json& o, Errors& errors) {
  const std::string_view type = str(o, {"spec", "strategy", "type"});
  const Json* rolling = find(o, {"spec", "strategy", "rollingUpdate"});
  if (type == "Recreate" && rolling != nullptr) {
    errors.forbidden("spec.strategy.rollingUpdate",
                     "may not be specified when strategy `type` is 'Recreate'");
  }
  if (type == "RollingUpdate" && rolling != nullptr) {
    const bool none = validate_int_or_percent(find(*rolling, "maxUnavailable"),
                                              "spec.strategy.rollingUpdate.maxUnavailable", errors);
    const bool no_surge = validate_int_or_percent(find(*rolling, "maxSurge"),
                                                  "spec.strategy.rollingUpdate.maxSurge", errors);
    if (none && no_surge && find(*rolling, "maxUnavailable") != nullptr) {
      errors.invalid("spec.strategy.rollingUpdate.maxUnavailable",
                     *find(*rolling, "maxUnavailable"), "may not be 0 when `maxSurge` is 0");
    }
  }
  if (const auto n = i64(o, {"spec", "revisionHistoryLimit"}); n < 0) {
    errors.invalid("spec.revisionHistoryLimit", n, kNotNegative);
  }
  const auto deadline = json::opt_i64(o, {"spec", "progressDeadlineSeconds"});
  if (deadline && *deadline < 0) {
    errors.invalid("spec.progressDeadlineSeconds", *deadline, kNotNegative);
  } else if (deadline && *deadline <= i64(o, {"spec", "minReadySeconds"})) {
    errors.invalid("spec.progressDeadlineSeconds", *deadline,
                   "must be greater than minReadySeconds");
  }
}

// ------------------------------------------------------------------ the rest

void validate_binding(const Json& o, const Json* old, Errors& errors) {
  if (str(o, {"roleRef", "name"}).empty()) errors.required("roleRef.name");
  const std::string_view kind = str(o, {"roleRef", "kind"});
  if (kind != "Role" && kind != "ClusterRole") {
    errors.not_supported("roleRef.kind", kind, {"ClusterRole", "Role"});
  }
  const auto& subjects = array(o, {"subjects"});
  for (std::size_t i = 0; i < subjects.size(); ++i) {
    const std::string here = at("subjects", i);
    if (str(subjects[i], {"name"}).empty()) errors.required(at(here, "name"));
    const std::string_view k = str(subjects[i], {"kind"});
    if (k == "ServiceAccount") {
      if (str(subjects[i], {"namespace"}).empty()) errors.required(at(here, "namespace"));
    } else if (k != "User" && k != "Group") {
      errors.not_supported(at(here, "kind"), k, {"ServiceAccount", "User", "Group"});
    }
  }
  if (old != nullptr && !same(o, *old, {"roleRef"})) {
    errors.invalid("roleRef", *find(o, "roleRef"), "cannot change roleRef");
  }
}

void validate_rules(const Json& o, bool namespaced, Errors& errors) {
  const auto& rules = array(o, {"rules"});
  for (std::size_t i = 0; i < rules.size(); ++i) {
    const std::string here = at("rules", i);
    if (array(rules[i], {"verbs"}).empty()) {
      errors.required(at(here, "verbs"), "verbs must contain at least one value");
    }
    const bool urls = !array(rules[i], {"nonResourceURLs"}).empty();
    if (urls && namespaced) {
      errors.invalid(at(here, "nonResourceURLs"), *find(rules[i], "nonResourceURLs"),
                     "namespaced rules cannot apply to non-resource URLs");
    }
    if (urls) continue;
    if (array(rules[i], {"apiGroups"}).empty()) {
      errors.required(at(here, "apiGroups"), "resource rules must supply at least one api group");
    }
    if (array(rules[i], {"resources"}).empty()) {
      errors.required(at(here, "resources"), "resource rules must supply at least one resource");
    }
  }
}

void validate_crd(const Json& o, Errors& errors) {
  const std::string want = std::string(str(o, {"spec", "names", "plural"})) + "." +
                           std::string(str(o, {"spec", "group"}));
  if (str(o, {"metadata", "name"}) != want) {
    errors.invalid("metadata.name", str(o, {"metadata", "name"}),
                   "must be spec.names.plural+\".\"+spec.group");
  }
  std::size_t storage = 0;
  for (const Json& v : array(o, {"spec", "versions"})) {
    storage += json::boolean(v, {"storage"}) ? 1 : 0;
  }
  if (storage != 1) {
    const Json* v = find(o, {"spec", "versions"});
    errors.invalid("spec.versions", v == nullptr ? Json(JsonArray()) : *v,
                   "must have exactly one version marked as storage version");
  }
  if (str(o, {"spec", "scope"}).empty()) errors.required("spec.scope");
}
}  // namespace

void validate_builtin(const Kind& kind, const Json& o, const Json* old, Errors& errors) {
  if (kind.kind == "Pod") {
    const Json* spec = find(o, "spec");
    const Json none = JsonObject();
    validate_pod_spec(spec == nullptr ? none : *spec, "spec", errors);
    if (old != nullptr && errors.list.empty()) validate_pod_update(o, *old, errors);
  } else if (kind.kind == "Service") {
    validate_service(o, old, errors);
  } else if (kind.kind == "ConfigMap") {
    validate_configmap(o, old, errors);
  } else if (kind.kind == "Secret") {
    validate_secret(o, old, errors);
  } else if (kind.kind == "Deployment") {
    validate_workload(kind, o, old, errors);
    validate_deployment(o, errors);
  } else if (kind.kind == "ReplicaSet") {
    validate_workload(kind, o, old, errors);
  } else if (kind.kind.ends_with("RoleBinding")) {
    validate_binding(o, old, errors);
  } else if (kind.kind == "Role" || kind.kind == "ClusterRole") {
    validate_rules(o, kind.kind == "Role", errors);
  } else if (kind.kind == "CustomResourceDefinition") {
    validate_crd(o, errors);
  } else if (kind.kind == "PodDisruptionBudget") {
    if (find(o, {"spec", "minAvailable"}) != nullptr &&
        find(o, {"spec", "maxUnavailable"}) != nullptr) {
      errors.invalid("spec", *find(o, "spec"),
                     "minAvailable and maxUnavailable cannot be both set");
    }
  } else if (kind.kind == "EndpointSlice") {
    const std::string_view type = str(o, {"addressType"});
    if (type.empty()) errors.required("addressType");
    if (old != nullptr && !same(o, *old, {"addressType"})) {
      errors.invalid("addressType", type, kImmutable);
    }
  } else if (kind.kind == "Event" && kind.group.empty()) {
    const std::string_view ns = str(o, {"involvedObject", "namespace"});
    if (str(o, {"metadata", "namespace"}) != (ns.empty() ? "default" : ns)) {
      errors.invalid("involvedObject.namespace", ns, "does not match event.namespace");
    }
  }
}

}  // namespace knit::schema
