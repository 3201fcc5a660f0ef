#include "controllers/core/workloads/pod_admission.h"

#include <algorithm>
#include <array>

namespace knit::controllers::core {
namespace {

constexpr std::string_view kTokenMount = "/var/run/secrets/kubernetes.io/serviceaccount";

bool has_named(const JsonArray& list, std::string_view name) {
  return std::any_of(list.begin(), list.end(),
                     [&](const Json& item) { return json::str(item, {"name"}) == name; });
}
JsonArray& array_at(Json& root, json::Path path) {
  Json* at = json::find(root, path);
  if (at == nullptr || !at->is_array()) {
    json::set(root, path, JsonArray());
    at = json::find(root, path);
  }
  return at->get_array();
}

Result<void> admit_account(const World& world, Json& pod) {
  const std::string ns(json::str(pod, {"metadata", "namespace"}));
  std::string name(json::str(pod, {"spec", "serviceAccountName"}));
  if (name.empty()) name = json::str(pod, {"spec", "serviceAccount"}, "default");
  json::set(pod, {"spec", "serviceAccountName"}, Json(name));
  json::set(pod, {"spec", "serviceAccount"}, Json(name));
  const Json account = world.view({res::serviceaccounts(), ns, name});
  if (account.is_null()) {
    return Error(Code::PermissionDenied,
                 "pods \"" + std::string(json::str(pod, {"metadata", "name"})) +
                     "\" is forbidden: error looking up service account " + ns + "/" + name +
                     ": serviceaccount \"" + name + "\" not found");
  }
  if (json::array(pod, {"spec", "imagePullSecrets"}).empty()) {
    if (const auto& secrets = json::array(account, {"imagePullSecrets"}); !secrets.empty()) {
      json::set(pod, {"spec", "imagePullSecrets"}, secrets);
    }
  }
  const bool automount =
      json::boolean(pod, {"spec", "automountServiceAccountToken"},
                    json::boolean(account, {"automountServiceAccountToken"}, true));
  if (!automount) return {};

  std::string volume;
  for (const auto& v : json::array(pod, {"spec", "volumes"})) {
    const auto have = json::str(v, {"name"});
    if (have.starts_with("kube-api-access-")) volume = have;
  }
  bool needed = false;
  for (const auto list : {"containers", "initContainers"}) {
    for (const auto& c : json::array(pod, {"spec", list})) {
      const auto& mounts = json::array(c, {"volumeMounts"});
      needed = needed || std::none_of(mounts.begin(), mounts.end(), [](const Json& m) {
                 return json::str(m, {"mountPath"}) == kTokenMount;
               });
    }
  }
  if (!needed) return {};
  if (volume.empty()) {
    const std::string seed = ns + '/' + std::string(json::str(pod, {"metadata", "name"})) + '/' +
                             std::string(json::str(pod, {"metadata", "uid"}));
    volume = "kube-api-access-" + name_suffix(seed, 5);
    Json v = literal(R"({"name":"","projected":{"defaultMode":420,"sources":[
      {"serviceAccountToken":{"expirationSeconds":3607,"path":"token"}},
      {"configMap":{"name":"kube-root-ca.crt","items":[{"key":"ca.crt","path":"ca.crt"}]}},
      {"downwardAPI":{"items":[{"path":"namespace",
        "fieldRef":{"apiVersion":"v1","fieldPath":"metadata.namespace"}}]}}]}})");
    json::set(v, {"name"}, Json(volume));
    array_at(pod, {"spec", "volumes"}).push_back(std::move(v));
  }
  for (const auto list : {"containers", "initContainers"}) {
    Json* containers = json::find(pod, {"spec", list});
    if (containers == nullptr || !containers->is_array()) continue;
    for (auto& c : containers->get_array()) {
      auto& mounts = array_at(c, {"volumeMounts"});
      if (std::any_of(mounts.begin(), mounts.end(),
                      [](const Json& m) { return json::str(m, {"mountPath"}) == kTokenMount; })) {
        continue;
      }
      mounts.push_back(
          JsonObject{{"name", volume}, {"mountPath", kTokenMount}, {"readOnly", true}});
    }
  }
  return {};
}

void admit_tolerations(Json& pod) {
  auto& tolerations = array_at(pod, {"spec", "tolerations"});
  for (const auto key : {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"}) {
    const bool has = std::any_of(tolerations.begin(), tolerations.end(), [&](const Json& t) {
      const auto effect = json::str(t, {"effect"});
      const auto k = json::str(t, {"key"});
      return (effect.empty() || effect == "NoExecute") && (k.empty() || k == key);
    });
    if (has) continue;
    tolerations.push_back(JsonObject{
        {"key", key}, {"operator", "Exists"}, {"effect", "NoExecute"}, {"tolerationSeconds", 300}});
  }
}

// Source: istio pkg/kube/inject/inject.go injectRequired: y, yes, true, on / n, no, false, off.
std::optional<bool> yes_or_no(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) {
    return static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  });
  if (lower == "true" || lower == "y" || lower == "yes" || lower == "on") return true;
  if (lower == "false" || lower == "n" || lower == "no" || lower == "off") return false;
  return std::nullopt;
}

std::string workload_name(const Json& pod) {
  for (const auto& owner : json::array(pod, {"metadata", "ownerReferences"})) {
    if (!json::boolean(owner, {"controller"})) continue;
    std::string name(json::str(owner, {"name"}));
    const auto hash = json::str(pod, {"metadata", "labels", "pod-template-hash"});
    if (json::str(owner, {"kind"}) == "ReplicaSet" && !hash.empty() &&
        name.ends_with("-" + std::string(hash))) {
      name.resize(name.size() - hash.size() - 1);
    }
    return name;
  }
  return std::string(json::str(pod, {"metadata", "name"}));
}

void inject(const World& world, Json& pod, const Injection& how,
            const PodAdmissionSettings& settings) {
  const Json smcp = world.view({res::smcps(), how.mesh_ns, how.revision});
  auto& containers = array_at(pod, {"spec", "containers"});
  if (!has_named(containers, "istio-proxy")) {
    Json proxy = literal(R"({"name":"istio-proxy","args":["proxy","sidecar"],
      "ports":[{"containerPort":15090,"name":"http-envoy-prom","protocol":"TCP"}],
      "env":[{"name":"POD_NAME","valueFrom":{"fieldRef":{"apiVersion":"v1","fieldPath":"metadata.name"}}},
             {"name":"POD_NAMESPACE","valueFrom":{"fieldRef":{"apiVersion":"v1","fieldPath":"metadata.namespace"}}},
             {"name":"SERVICE_ACCOUNT","valueFrom":{"fieldRef":{"apiVersion":"v1","fieldPath":"spec.serviceAccountName"}}}],
      "resources":{"requests":{"cpu":"10m","memory":"128Mi"}},
      "terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File",
      "imagePullPolicy":"IfNotPresent"})");
    json::set(proxy, {"image"}, Json(settings.proxy_image));
    for (const auto& [annotation, list, field] :
         {std::tuple{"sidecar.istio.io/proxyCPU", "requests", "cpu"},
          std::tuple{"sidecar.istio.io/proxyMemory", "requests", "memory"},
          std::tuple{"sidecar.istio.io/proxyCPULimit", "limits", "cpu"},
          std::tuple{"sidecar.istio.io/proxyMemoryLimit", "limits", "memory"}}) {
      const auto value = json::str(pod, {"metadata", "annotations", annotation});
      if (!value.empty()) json::set(proxy, {"resources", list, field}, Json(value));
    }
    containers.push_back(std::move(proxy));
  }
  const auto label = [&](std::string_view key, std::string value) {
    if (json::find(pod, {"metadata", "labels", key}) == nullptr) {
      json::set(pod, {"metadata", "labels", key}, Json(value));
    }
  };
  const auto first = [&](std::initializer_list<std::string_view> keys, std::string otherwise) {
    for (const auto key : keys) {
      const auto v = json::str(pod, {"metadata", "labels", key});
      if (!v.empty()) return std::string(v);
    }
    return otherwise;
  };
  label("security.istio.io/tlsMode", "istio");
  label("service.istio.io/canonical-name",
        first({"app.kubernetes.io/name", "app"}, workload_name(pod)));
  label("service.istio.io/canonical-revision",
        first({"app.kubernetes.io/version", "version"}, "latest"));
  label("istio.io/rev", how.revision);
  const auto annotate = [&](std::string_view key, std::string value) {
    if (json::find(pod, {"metadata", "annotations", key}) == nullptr) {
      json::set(pod, {"metadata", "annotations", key}, Json(value));
    }
  };
  JsonObject status{{"initContainers", nullptr},
                    {"containers", JsonArray{"istio-proxy"}},
                    {"volumes", nullptr},
                    {"imagePullSecrets", nullptr},
                    {"revision", how.revision}};
  annotate("sidecar.istio.io/status", json::print(Json(std::move(status))));
  annotate("knit.dev/served-by", "Knit's shared proxy");
  // mesh.md 1.1: "15090,<status port>" and the control plane's excludedPorts.
  std::string excluded =
      "15090," + std::string(json::str(
                     pod, {"metadata", "annotations", "status.sidecar.istio.io/port"}, "15020"));
  for (const auto& port : json::array(
           smcp, {"spec", "proxy", "networking", "trafficControl", "inbound", "excludedPorts"})) {
    if (port.is_number()) excluded += "," + json::print(port);
  }
  annotate("traffic.sidecar.istio.io/excludeInboundPorts", excluded);
}

}  // namespace

Injection injection_of(const World& world, std::string_view ns, const Json& pod) {
  if (json::boolean(pod, {"spec", "hostNetwork"})) {
    return {false, "the pod uses the host's network", {}, {}};
  }
  for (const auto ignored :
       {"kube-system", "kube-public", "kube-node-lease", "local-path-storage"}) {
    if (ns == ignored)
      return {false, "namespace " + std::string(ns) + " is never injected", {}, {}};
  }
  const auto space = world.get({res::namespaces(), "", std::string(ns)});
  const std::string mesh(space == nullptr ? std::string_view()
                                          : space->label("maistra.io/member-of"));
  if (mesh.empty()) {
    return {false,
            "namespace " + std::string(ns) +
                " is not a member of a mesh: list it in a ServiceMeshMemberRoll",
            {},
            {}};
  }
  const Json view = space->parse();
  if (json::find(view, {"metadata", "labels", "maistra.io/ignore-namespace"}) != nullptr) {
    return {
        false, "namespace " + std::string(ns) + " has label maistra.io/ignore-namespace", {}, {}};
  }
  if (space->label("istio-injection") == "disabled") {
    return {false, "namespace " + std::string(ns) + " has label istio-injection=disabled", {}, {}};
  }
  std::string revision = "default";
  bool automatic = false;
  for (const auto& smcp : world.list(res::smcps(), mesh)) {
    if (smcp->deleting()) continue;
    revision = smcp->key().name;
    automatic = json::boolean(smcp->parse(), {"spec", "proxy", "injection", "autoInject"});
    break;
  }
  constexpr std::string_view kInject = "sidecar.istio.io/inject";
  const auto label = json::str(pod, {"metadata", "labels", kInject});
  const auto annotation = json::str(pod, {"metadata", "annotations", kInject});
  const bool by_label = json::find(pod, {"metadata", "labels", kInject}) != nullptr;
  const std::string_view asked = by_label ? label : annotation;
  const std::string where = by_label ? "label " : "annotation ";
  if (const auto decided = yes_or_no(asked)) {
    const std::string said = where + std::string(kInject) + ": \"" + std::string(asked) + "\"";
    if (!*decided) return {false, said, {}, {}};
    return {true, said, mesh, revision};
  }
  if (automatic) return {true, "the control plane injects automatically", mesh, revision};
  return {false, "no label or annotation sidecar.istio.io/inject: \"true\"", {}, {}};
}

std::string_view qos_class(const Json& pod) {
  bool any = false, guaranteed = true;
  for (const auto list : {"containers", "initContainers"}) {
    for (const auto& c : json::array(pod, {"spec", list})) {
      for (const auto resource : {"cpu", "memory"}) {
        const Json* request = json::find(c, {"resources", "requests", resource});
        const Json* limit = json::find(c, {"resources", "limits", resource});
        any = any || request != nullptr || limit != nullptr;
        const auto wanted = quantity_milli(request != nullptr ? request : limit);
        const auto most = quantity_milli(limit);
        if (limit == nullptr || !wanted || !most || *wanted != *most) guaranteed = false;
      }
    }
  }
  if (!any) return "BestEffort";
  return guaranteed ? "Guaranteed" : "Burstable";
}

Result<void> admit_pod(const World& world, Json& pod, const PodAdmissionSettings& settings) {
  const std::string ns(json::str(pod, {"metadata", "namespace"}));
  // Mutating webhooks run after the built-in plugins, but the sidecar mounts the token too, as
  // Istio's template writes it down itself; so the container comes first here.
  if (const auto how = injection_of(world, ns, pod); how.inject) inject(world, pod, how, settings);
  KNIT_TRY_VOID(admit_account(world, pod));
  admit_tolerations(pod);
  if (json::find(pod, {"spec", "priority"}) == nullptr) {
    json::set(pod, {"spec", "priority"}, Json(0));
    json::set(pod, {"spec", "preemptionPolicy"}, Json("PreemptLowerPriority"));
  }
  if (json::find(pod, {"spec", "enableServiceLinks"}) == nullptr) {
    json::set(pod, {"spec", "enableServiceLinks"}, Json(true));
  }
  json::set(pod, {"status", "phase"}, Json("Pending"));
  json::set(pod, {"status", "qosClass"}, Json(qos_class(pod)));
  return {};
}

}  // namespace knit::controllers::core
