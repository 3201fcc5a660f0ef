#include "controllers/operators/serving_manifest.h"

namespace knit::controllers::operators {
namespace {
using controllers::core::literal;

struct Port {
  const char* name;
  int port;
  const char* target = "";  // Services: the name of the container port
};
struct Role {
  const char* name;       // Deployment, container, image
  const char* component;  // app.kubernetes.io/component
  const char* account;
  const char* role_label;  // label "role", or ""
  const char* cpu;
  const char* memory;
  const char* cpu_limit;
  const char* memory_limit;
  std::vector<Port> ports;
  const char* probe;  // of readiness and liveness, or ""
  std::vector<std::pair<const char*, const char*>> env;
};

const std::vector<Role>& roles() {
  static const std::vector<Role> all = {
      {"activator",
       "activator",
       "activator",
       "activator",
       "300m",
       "60Mi",
       "1000m",
       "600Mi",
       {{"metrics", 9090}, {"profiling", 8008}, {"http1", 8012}, {"h2c", 8013}},
       R"({"httpGet":{"path":"/","port":8012,"scheme":"HTTP","httpHeaders":[{"name":"k-kubelet-probe","value":"activator"}]},"periodSeconds":5,"failureThreshold":5,"timeoutSeconds":1,"successThreshold":1})",
       {{"GOGC", "500"}}},
      {"autoscaler",
       "autoscaler",
       "controller",
       "",
       "100m",
       "100Mi",
       "1000m",
       "1000Mi",
       {{"metrics", 9090}, {"profiling", 8008}, {"websocket", 8080}},
       R"({"httpGet":{"path":"/","port":8080,"scheme":"HTTP"},"periodSeconds":10,"failureThreshold":3,"timeoutSeconds":1,"successThreshold":1})",
       {}},
      {"autoscaler-hpa",
       "autoscaler-hpa",
       "controller",
       "",
       "30m",
       "40Mi",
       "300m",
       "400Mi",
       {{"metrics", 9090}, {"profiling", 8008}},
       "",
       {}},
      {"controller",
       "controller",
       "controller",
       "",
       "100m",
       "100Mi",
       "1000m",
       "1000Mi",
       {{"metrics", 9090}, {"profiling", 8008}, {"probes", 8080}},
       R"({"httpGet":{"path":"/readiness","port":"probes","scheme":"HTTP"},"periodSeconds":5,"failureThreshold":3,"timeoutSeconds":1,"successThreshold":1})",
       {}},
      {"webhook",
       "webhook",
       "controller",
       "webhook",
       "100m",
       "100Mi",
       "500m",
       "1024Mi",
       {{"metrics", 9090}, {"profiling", 8008}, {"https-webhook", 8443}},
       R"({"httpGet":{"path":"/","port":8443,"scheme":"HTTPS"},"periodSeconds":1,"failureThreshold":3,"timeoutSeconds":1,"successThreshold":1})",
       {{"WEBHOOK_NAME", "webhook"}, {"WEBHOOK_PORT", "8443"}}},
      {"net-istio-controller",
       "net-istio",
       "controller",
       "",
       "30m",
       "40Mi",
       "300m",
       "400Mi",
       {{"metrics", 9090}, {"profiling", 8008}},
       "",
       {{"ENABLE_SECRET_INFORMER_FILTERING_BY_CERT_UID", "true"}}},
      {"net-istio-webhook",
       "net-istio",
       "controller",
       "net-istio-webhook",
       "20m",
       "20Mi",
       "200m",
       "200Mi",
       {{"metrics", 9090}, {"profiling", 8008}, {"https-webhook", 8443}},
       "",
       {{"WEBHOOK_NAME", "net-istio-webhook"}}},
  };
  return all;
}

struct ServiceSpec {
  const char* name;
  const char* app;
  const char* role;  // label "role" in the selector, or ""
  std::vector<Port> ports;
};
const std::vector<ServiceSpec>& services() {
  static const std::vector<ServiceSpec> all = {
      {"activator-service",
       "activator",
       "",
       {{"http-metrics", 9090, "9090"},
        {"http-profiling", 8008, "8008"},
        {"http", 80, "8012"},
        {"http2", 81, "8013"},
        {"https", 443, "8112"}}},
      {"autoscaler",
       "autoscaler",
       "",
       {{"http-metrics", 9090, "9090"}, {"http-profiling", 8008, "8008"}, {"http", 8080, "8080"}}},
      {"autoscaler-hpa",
       "autoscaler-hpa",
       "",
       {{"http-metrics", 9090, "9090"}, {"http-profiling", 8008, "8008"}}},
      {"controller",
       "controller",
       "",
       {{"http-metrics", 9090, "9090"}, {"http-profiling", 8008, "8008"}}},
      {"webhook",
       "webhook",
       "webhook",
       {{"http-metrics", 9090, "9090"},
        {"http-profiling", 8008, "8008"},
        {"https-webhook", 443, "8443"}}},
      {"net-istio-webhook",
       "net-istio-webhook",
       "",
       {{"http-metrics", 9090, "9090"},
        {"http-profiling", 8008, "8008"},
        {"https-webhook", 443, "8443"}}},
  };
  return all;
}

Json metadata_labels(std::string_view component) {
  return JsonObject{{"app.kubernetes.io/component", component},
                    {"app.kubernetes.io/name", "knative-serving"},
                    {"app.kubernetes.io/version", kServingVersion}};
}

class Builder {
 public:
  Builder(std::string ns, const OperatorSettings& settings)
      : ns_(std::move(ns)), settings_(settings) {}

  Json& add(Resource resource, std::string_view api_version, std::string_view kind,
            std::string_view name, std::string_view component, Json body = JsonObject()) {
    const bool cluster = resource == res::clusterroles() || resource == res::clusterrolebindings();
    json::set(body, {"apiVersion"}, Json(api_version));
    json::set(body, {"kind"}, Json(kind));
    json::set(body, {"metadata", "name"}, Json(name));
    if (!cluster) json::set(body, {"metadata", "namespace"}, Json(ns_));
    const Json labels = metadata_labels(component);
    for (const auto& kv : labels.get_object()) {
      if (json::find(body, {"metadata", "labels", kv.key()}) == nullptr) {
        json::set(body, {"metadata", "labels", kv.key()}, kv.value());
      }
    }
    Item& item = manifest[{resource, cluster ? "" : ns_, std::string(name)}];
    item.object = std::move(body);
    return item.object;
  }

  void deployment(const Role& role, std::int64_t grace) {
    Json labels = metadata_labels(role.component);
    labels.get_object()["app"] = role.name;
    if (*role.role_label != '\0') labels.get_object()["role"] = role.role_label;
    Json selector = JsonObject{{"app", role.name}};
    if (*role.role_label != '\0') selector.get_object()["role"] = role.role_label;

    Json container = JsonObject{{"name", role.name},
                                {"image", settings_.role_images + role.name},
                                {"imagePullPolicy", "IfNotPresent"}};
    json::set(
        container, {"resources"},
        JsonObject{{"requests", JsonObject{{"cpu", role.cpu}, {"memory", role.memory}}},
                   {"limits", JsonObject{{"cpu", role.cpu_limit}, {"memory", role.memory_limit}}}});
    JsonArray ports;
    for (const auto& port : role.ports) {
      ports.push_back(
          JsonObject{{"name", port.name}, {"containerPort", port.port}, {"protocol", "TCP"}});
    }
    json::set(container, {"ports"}, std::move(ports));
    JsonArray env = literal(R"([
      {"name":"POD_NAME","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}},
      {"name":"POD_IP","valueFrom":{"fieldRef":{"fieldPath":"status.podIP"}}},
      {"name":"SYSTEM_NAMESPACE","valueFrom":{"fieldRef":{"fieldPath":"metadata.namespace"}}},
      {"name":"CONFIG_LOGGING_NAME","value":"config-logging"},
      {"name":"CONFIG_OBSERVABILITY_NAME","value":"config-observability"}])")
                        .get_array();
    for (const auto& [name, value] : role.env) {
      env.push_back(JsonObject{{"name", name}, {"value", value}});
    }
    json::set(container, {"env"}, std::move(env));
    if (*role.probe != '\0') {
      json::set(container, {"readinessProbe"}, literal(role.probe));
      Json liveness = literal(role.probe);
      json::set(liveness, {"failureThreshold"}, Json(6));
      json::set(liveness, {"initialDelaySeconds"}, Json(15));
      json::set(container, {"livenessProbe"}, std::move(liveness));
    }
    json::set(container, {"securityContext"},
              literal(R"({"allowPrivilegeEscalation":false,"readOnlyRootFilesystem":true,
                "runAsNonRoot":true,"capabilities":{"drop":["ALL"]},
                "seccompProfile":{"type":"RuntimeDefault"}})"));

    Json body = JsonObject();
    json::set(body, {"metadata", "annotations"}, JsonObject{{kBuiltIn, "true"}});
    json::set(body, {"spec", "replicas"}, Json(1));
    json::set(body, {"spec", "selector", "matchLabels"}, selector);
    json::set(body, {"spec", "template", "metadata", "labels"}, labels);
    json::set(body, {"spec", "template", "metadata", "annotations"},
              JsonObject{{kBuiltIn, "true"}});
    json::set(body, {"spec", "template", "spec"},
              JsonObject{{"serviceAccountName", role.account},
                         {"terminationGracePeriodSeconds", grace},
                         {"nodeSelector", nullptr},
                         {"tolerations", nullptr},
                         {"topologySpreadConstraints", nullptr},
                         {"affinity", nullptr},
                         {"hostNetwork", nullptr}});
    JsonArray containers;
    containers.push_back(std::move(container));
    json::set(body, {"spec", "template", "spec", "containers"}, std::move(containers));
    add(res::deployments(), "apps/v1", "Deployment", role.name, role.component, std::move(body));
  }

  void service(const ServiceSpec& s) {
    JsonArray ports;
    for (const auto& port : s.ports) {
      ports.push_back(JsonObject{{"name", port.name},
                                 {"port", port.port},
                                 {"protocol", "TCP"},
                                 {"targetPort", std::stoi(port.target)}});
    }
    Json body = JsonObject();
    json::set(body, {"metadata", "labels", "app"}, Json(s.app));
    json::set(body, {"spec", "type"}, Json("ClusterIP"));
    json::set(body, {"spec", "selector", "app"}, Json(s.app));
    if (*s.role != '\0') json::set(body, {"spec", "selector", "role"}, Json(s.role));
    json::set(body, {"spec", "ports"}, std::move(ports));
    add(res::services(), "v1", "Service", s.name, s.app, std::move(body));
  }

  void config_maps() {
    for (const auto name :
         {"config-autoscaler", "config-certmanager", "config-defaults", "config-deployment",
          "config-domain", "config-features", "config-gc", "config-istio", "config-leader-election",
          "config-logging", "config-network", "config-observability", "config-tracing"}) {
      Json body = JsonObject();
      json::set(body, {"data"}, JsonObject());
      const bool istio = std::string_view(name) == "config-istio";
      if (istio) {
        json::set(body, {"metadata", "labels", "networking.knative.dev/ingress-provider"},
                  Json("istio"));
      }
      add(res::configmaps(), "v1", "ConfigMap", name, istio ? "net-istio" : "controller",
          std::move(body));
    }
    const auto set = [&](std::string_view map, std::string_view key, std::string value) {
      json::set(manifest[{res::configmaps(), ns_, std::string(map)}].object, {"data", key},
                Json(std::move(value)));
    };
    set("config-deployment", "queue-sidecar-image", settings_.role_images + "queue-proxy");
    // mesh.md 1.4: what OpenShift Serverless adds under Istio.
    set("config-network", "ingress-class", "istio.ingress.networking.knative.dev");
    set("config-network", "default-external-scheme", "https");
    set("config-network", "domain-template", "{{.Name}}-{{.Namespace}}.{{.Domain}}");
    set("config-network", "autocreate-cluster-domain-claims", "true");
  }

  void rbac();
  void policies(const Json& serving);

  Manifest manifest;

 private:
  std::string ns_;
  const OperatorSettings& settings_;
};

Json subject(std::string_view account, std::string_view ns) {
  return JsonObject{{"kind", "ServiceAccount"}, {"name", account}, {"namespace", ns}};
}
Json role_ref(std::string_view kind, std::string_view name) {
  return JsonObject{{"apiGroup", "rbac.authorization.k8s.io"}, {"kind", kind}, {"name", name}};
}

void Builder::rbac() {
  constexpr std::string_view kApi = "rbac.authorization.k8s.io/v1";
  const auto cluster_role = [&](std::string_view name, std::string_view component,
                                std::string_view text) {
    add(res::clusterroles(), kApi, "ClusterRole", name, component, literal(text));
  };
  for (const auto account : {"controller", "activator"}) {
    add(res::serviceaccounts(), "v1", "ServiceAccount", account, account);
  }
  cluster_role(
      "knative-serving-admin", "controller",
      R"({"aggregationRule":{"clusterRoleSelectors":[{"matchLabels":{"serving.knative.dev/controller":"true"}}]},"rules":[]})");
  cluster_role("knative-serving-core", "controller",
               R"({"metadata":{"labels":{"serving.knative.dev/controller":"true"}},"rules":[
    {"apiGroups":[""],"resources":["pods","namespaces","secrets","configmaps","endpoints","services","events","serviceaccounts"],"verbs":["get","list","create","update","delete","patch","watch"]},
    {"apiGroups":[""],"resources":["endpoints/restricted"],"verbs":["create"]},
    {"apiGroups":[""],"resources":["namespaces/finalizers"],"verbs":["update"]},
    {"apiGroups":["apps"],"resources":["deployments","deployments/finalizers"],"verbs":["get","list","create","update","delete","patch","watch"]},
    {"apiGroups":["admissionregistration.k8s.io"],"resources":["mutatingwebhookconfigurations","validatingwebhookconfigurations"],"verbs":["get","list","create","update","delete","patch","watch"]},
    {"apiGroups":["apiextensions.k8s.io"],"resources":["customresourcedefinitions","customresourcedefinitions/status"],"verbs":["get","list","create","update","delete","patch","watch"]},
    {"apiGroups":["autoscaling"],"resources":["horizontalpodautoscalers"],"verbs":["get","list","create","update","delete","patch","watch"]},
    {"apiGroups":["coordination.k8s.io"],"resources":["leases"],"verbs":["get","list","create","update","delete","patch","watch"]},
    {"apiGroups":["serving.knative.dev","autoscaling.internal.knative.dev","networking.internal.knative.dev"],"resources":["*","*/status","*/finalizers"],"verbs":["get","list","create","update","delete","deletecollection","patch","watch"]},
    {"apiGroups":["caching.internal.knative.dev"],"resources":["images"],"verbs":["get","list","create","update","delete","patch","watch"]}]})");
  cluster_role(
      "knative-serving-istio", "net-istio",
      R"({"metadata":{"labels":{"serving.knative.dev/controller":"true","networking.knative.dev/ingress-provider":"istio"}},"rules":[
    {"apiGroups":["networking.istio.io"],"resources":["virtualservices","gateways","destinationrules"],"verbs":["get","list","create","update","delete","patch","watch"]}]})");
  cluster_role("knative-serving-activator-cluster", "activator",
               R"({"metadata":{"labels":{"serving.knative.dev/controller":"true"}},"rules":[
    {"apiGroups":[""],"resources":["services","endpoints"],"verbs":["get","list","watch"]},
    {"apiGroups":["serving.knative.dev"],"resources":["revisions"],"verbs":["get","list","watch"]}]})");
  cluster_role(
      "knative-serving-aggregated-addressable-resolver", "controller",
      R"({"aggregationRule":{"clusterRoleSelectors":[{"matchLabels":{"duck.knative.dev/addressable":"true"}}]},"rules":[]})");
  cluster_role("knative-serving-addressable-resolver", "controller",
               R"({"metadata":{"labels":{"duck.knative.dev/addressable":"true"}},"rules":[
    {"apiGroups":["serving.knative.dev"],"resources":["routes","routes/status","services","services/status"],"verbs":["get","list","watch"]}]})");
  cluster_role("knative-serving-podspecable-binding", "controller",
               R"({"metadata":{"labels":{"duck.knative.dev/podspecable":"true"}},"rules":[
    {"apiGroups":["serving.knative.dev"],"resources":["configurations","services"],"verbs":["list","watch","patch"]}]})");
  cluster_role(
      "knative-serving-namespaced-admin", "controller",
      R"({"metadata":{"labels":{"rbac.authorization.k8s.io/aggregate-to-admin":"true"}},"rules":[
    {"apiGroups":["serving.knative.dev"],"resources":["*"],"verbs":["*"]},
    {"apiGroups":["networking.internal.knative.dev","autoscaling.internal.knative.dev","caching.internal.knative.dev"],"resources":["*"],"verbs":["get","list","watch"]}]})");
  cluster_role(
      "knative-serving-namespaced-edit", "controller",
      R"({"metadata":{"labels":{"rbac.authorization.k8s.io/aggregate-to-edit":"true"}},"rules":[
    {"apiGroups":["serving.knative.dev"],"resources":["*"],"verbs":["create","update","patch","delete"]},
    {"apiGroups":["networking.internal.knative.dev","autoscaling.internal.knative.dev","caching.internal.knative.dev"],"resources":["*"],"verbs":["get","list","watch"]}]})");
  cluster_role(
      "knative-serving-namespaced-view", "controller",
      R"({"metadata":{"labels":{"rbac.authorization.k8s.io/aggregate-to-view":"true"}},"rules":[
    {"apiGroups":["serving.knative.dev","networking.internal.knative.dev","autoscaling.internal.knative.dev","caching.internal.knative.dev"],"resources":["*"],"verbs":["get","list","watch"]}]})");
  const auto bind = [&](std::string_view name, std::string_view role, std::string_view account) {
    Json body = JsonObject{{"roleRef", role_ref("ClusterRole", role)}};
    JsonArray subjects;
    subjects.push_back(subject(account, ns_));
    json::set(body, {"subjects"}, std::move(subjects));
    add(res::clusterrolebindings(), kApi, "ClusterRoleBinding", name, account, std::move(body));
  };
  bind("knative-serving-controller-admin", "knative-serving-admin", "controller");
  bind("knative-serving-controller-addressable-resolver",
       "knative-serving-aggregated-addressable-resolver", "controller");
  bind("knative-serving-activator-cluster", "knative-serving-activator-cluster", "activator");
  add(res::roles(), kApi, "Role", "knative-serving-activator", "activator",
      literal(
          R"({"rules":[{"apiGroups":[""],"resources":["configmaps","secrets"],"verbs":["get","list","watch"]}]})"));
  Json binding = JsonObject{{"roleRef", role_ref("Role", "knative-serving-activator")}};
  JsonArray subjects;
  subjects.push_back(subject("activator", ns_));
  json::set(binding, {"subjects"}, std::move(subjects));
  add(res::rolebindings(), kApi, "RoleBinding", "knative-serving-activator", "activator",
      std::move(binding));
}

void Builder::policies(const Json& serving) {
  for (const auto name : {"activator", "webhook"}) {
    Json body = literal(R"({"spec":{"minAvailable":"80%"}})");
    json::set(body, {"spec", "selector", "matchLabels", "app"}, Json(name));
    add(res::poddisruptionbudgets(), "policy/v1", "PodDisruptionBudget", std::string(name) + "-pdb",
        name, std::move(body));
  }
  for (const auto name : {"webhook", "net-istio-webhook"}) {
    Json body = literal(R"({"spec":{"portLevelMtls":{"8443":{"mode":"PERMISSIVE"}}}})");
    json::set(body, {"spec", "selector", "matchLabels", "app"}, Json(name));
    json::set(body, {"metadata", "labels", "networking.knative.dev/ingress-provider"},
              Json("istio"));
    add(res::peerauthentications(), "security.istio.io/v1", "PeerAuthentication", name, "net-istio",
        std::move(body));
  }
  Json image = JsonObject();
  json::set(image, {"spec", "image"}, Json(settings_.role_images + "queue-proxy"));
  add(res::images(), "caching.internal.knative.dev/v1alpha1", "Image", "queue-proxy", "queue-proxy",
      std::move(image));

  constexpr std::string_view kOptOut =
      "serverless.openshift.io/disable-istio-net-policies-generation";
  if (json::str(serving, {"metadata", "annotations", kOptOut}) == "true") return;
  const auto policy = [&](std::string_view name, Json spec) {
    Json body = JsonObject{{"spec", std::move(spec)}};
    json::set(body, {"metadata", "annotations"}, JsonObject{{"knit.dev/enforced", "false"}});
    json::set(body, {"metadata", "labels", "networking.knative.dev/ingress-provider"},
              Json("istio"));
    add(res::networkpolicies(), "networking.k8s.io/v1", "NetworkPolicy", name, "net-istio",
        std::move(body));
  };
  for (const auto name : {"webhook", "net-istio-webhook"}) {
    Json spec = literal(R"({"ingress":[{}],"policyTypes":["Ingress"]})");
    json::set(spec, {"podSelector", "matchLabels", "app"}, Json(name));
    policy(name, std::move(spec));
  }
  policy("allow-from-openshift-monitoring-ns",
         literal(R"({"podSelector":{},"policyTypes":["Ingress"],"ingress":[{"from":[
           {"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":"openshift-monitoring"}}}]}]})"));
}

std::int64_t to_seconds(std::string_view text, std::int64_t otherwise) {
  std::int64_t v = 0;
  if (text.empty() || text.size() > 9) return otherwise;
  for (const char c : text) {
    if (c < '0' || c > '9') return otherwise;
    v = v * 10 + (c - '0');
  }
  return v;
}

}  // namespace

Manifest serving_manifest(const World& world, const Json& serving, const OperatorSettings& settings,
                          std::vector<std::string>* notes) {
  const std::string ns(json::str(serving, {"metadata", "namespace"}));
  const Json spec = json::object(serving, {"spec"});
  Builder builder(ns, settings);
  const Json defaults = config_of(spec, "defaults");
  // The activator holds requests as long as a revision may take (OpenShift Serverless).
  const std::int64_t longest =
      to_seconds(json::str(defaults, {"max-revision-timeout-seconds"}), 600);
  for (const auto& role : roles()) {
    builder.deployment(role, std::string_view(role.name) == "activator" ? longest : 300);
  }
  for (const auto& service : services()) builder.service(service);
  builder.config_maps();
  if (config_of(spec, "domain").is_null()) {
    const Json cluster = world.view({res::oingresses(), "", "cluster"});
    std::string domain(json::str(cluster, {"spec", "appsDomain"}));
    if (domain.empty()) domain = json::str(cluster, {"spec", "domain"});
    if (!domain.empty()) {
      json::set(builder.manifest[{res::configmaps(), ns, "config-domain"}].object, {"data", domain},
                Json(""));
    }
  }
  builder.rbac();
  builder.policies(serving);
  for (auto& note : apply_config(spec, ns, builder.manifest)) notes->push_back(std::move(note));
  for (auto& note : apply_overrides(spec, builder.manifest)) notes->push_back(std::move(note));
  return std::move(builder.manifest);
}

}  // namespace knit::controllers::operators
