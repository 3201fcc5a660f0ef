#include "controllers/operators/eventing_manifest.h"

#include <algorithm>

namespace knit::controllers::operators {
namespace {
using controllers::core::literal;

using Pairs = std::vector<std::pair<const char*, const char*>>;

struct Role {
  const char* name;  // Deployment and image
  const char* container;
  const char* component;  // app.kubernetes.io/component
  const char* account;
  const char* cpu;
  const char* memory;
  const char* cpu_limit;  // "": none
  const char* memory_limit;
  Pairs selector;
  std::vector<std::pair<const char*, int>> ports;
  Pairs env;
  int replicas = 1;
};

// eventing.md 3.1
const std::vector<Role>& roles() {
  static const std::vector<Role> all = {
      {"eventing-controller",
       "eventing-controller",
       "eventing-controller",
       "eventing-controller",
       "100m",
       "100Mi",
       "",
       "",
       {{"app", "eventing-controller"}},
       {{"metrics", 9090}, {"profiling", 8008}, {"probes", 8080}},
       {}},
      {"eventing-webhook",
       "eventing-webhook",
       "eventing-webhook",
       "eventing-webhook",
       "100m",
       "50Mi",
       "200m",
       "200Mi",
       {{"app", "eventing-webhook"}, {"role", "eventing-webhook"}},
       {{"https-webhook", 8443}, {"metrics", 9090}, {"profiling", 8008}},
       {{"WEBHOOK_NAME", "eventing-webhook"}, {"WEBHOOK_PORT", "8443"}}},
      {"mt-broker-controller",
       "mt-broker-controller",
       "mt-broker-controller",
       "eventing-controller",
       "100m",
       "100Mi",
       "",
       "",
       {{"app", "mt-broker-controller"}},
       {{"metrics", 9090}, {"profiling", 8008}, {"probes", 8080}},
       {}},
      {"mt-broker-ingress",
       "ingress",
       "broker-ingress",
       "mt-broker-ingress",
       "100m",
       "100Mi",
       "",
       "",
       {{"eventing.knative.dev/brokerRole", "ingress"}},
       {{"http", 8080}, {"https", 8443}, {"metrics", 9092}},
       {{"INGRESS_PORT", "8080"}}},
      {"mt-broker-filter",
       "filter",
       "broker-filter",
       "mt-broker-filter",
       "100m",
       "100Mi",
       "",
       "",
       {{"eventing.knative.dev/brokerRole", "filter"}},
       {{"http", 8080}, {"https", 8443}, {"metrics", 9092}},
       {{"FILTER_PORT", "8080"}}},
      {"imc-controller",
       "controller",
       "imc-controller",
       "imc-controller",
       "",
       "",
       "",
       "",
       {{"messaging.knative.dev/channel", "in-memory-channel"},
        {"messaging.knative.dev/role", "controller"}},
       {{"https-webhook", 8443}, {"metrics", 9090}, {"profiling", 8008}},
       {{"WEBHOOK_NAME", "inmemorychannel-webhook"}, {"WEBHOOK_PORT", "8443"}}},
      {"imc-dispatcher",
       "dispatcher",
       "imc-dispatcher",
       "imc-dispatcher",
       "",
       "",
       "",
       "",
       {{"messaging.knative.dev/channel", "in-memory-channel"},
        {"messaging.knative.dev/role", "dispatcher"}},
       {{"http", 8080}, {"https", 8443}, {"metrics", 9090}},
       {}},
      // The first PingSource sets it to one replica.
      {"pingsource-mt-adapter",
       "dispatcher",
       "pingsource-mt-adapter",
       "pingsource-mt-adapter",
       "125m",
       "64Mi",
       "1000m",
       "2048Mi",
       {{"eventing.knative.dev/source", "ping-source-controller"},
        {"sources.knative.dev/role", "adapter"}},
       {{"metrics", 9090}},
       {{"K_NO_SHUTDOWN_AFTER", "55"}},
       0},
      // 3.4: one replica with config.features.istio, else none.
      {"eventing-istio-controller",
       "eventing-istio-controller",
       "eventing-istio-controller",
       "eventing-istio-controller",
       "30m",
       "40Mi",
       "",
       "",
       {{"app", "eventing-istio-controller"}},
       {{"metrics", 9090}, {"profiling", 8008}, {"probes", 8080}},
       {},
       0},
  };
  return all;
}

struct ServiceSpec {
  const char* name;
  const char* role;  // whose selector it has
  std::vector<std::tuple<const char*, int, int>> ports;
};
const std::vector<ServiceSpec>& services() {
  static const std::vector<ServiceSpec> all = {
      {"eventing-webhook", "eventing-webhook", {{"https-webhook", 443, 8443}}},
      {"inmemorychannel-webhook", "imc-controller", {{"https-webhook", 443, 8443}}},
      {"broker-ingress",
       "mt-broker-ingress",
       {{"http", 80, 8080}, {"https", 443, 8443}, {"http-metrics", 9092, 9092}}},
      {"broker-filter",
       "mt-broker-filter",
       {{"http", 80, 8080}, {"https", 443, 8443}, {"http-metrics", 9092, 9092}}},
      {"imc-dispatcher",
       "imc-dispatcher",
       {{"http-dispatcher", 80, 8080}, {"https", 443, 8443}, {"http-metrics", 9090, 9090}}},
  };
  return all;
}

constexpr const char* kBrokerDefaults = R"(clusterDefault:
  brokerClass: MTChannelBasedBroker
  apiVersion: v1
  kind: ConfigMap
  name: config-br-default-channel
  namespace: knative-eventing
  delivery:
    retry: 10
    backoffPolicy: exponential
    backoffDelay: PT0.2S
)";
constexpr const char* kBrokerChannel = R"(apiVersion: messaging.knative.dev/v1
kind: InMemoryChannel
)";
constexpr const char* kChannelDefaults = R"(clusterDefault:
  apiVersion: messaging.knative.dev/v1
  kind: InMemoryChannel
)";

struct Rule {
  const char *groups, *resources, *verbs;  // comma separated
};
struct ClusterRole {
  const char* name;
  Pairs labels;
  std::vector<Rule> rules;
  const char* aggregates = "";  // the label that it gathers
};
constexpr const char* kRead = "get,list,watch";

const std::vector<ClusterRole>& cluster_roles() {
  static const std::vector<ClusterRole> all = {
      {"addressable-resolver", {}, {}, "duck.knative.dev/addressable"},
      {"service-addressable-resolver",
       {{"duck.knative.dev/addressable", "true"}},
       {{"", "services", kRead}}},
      {"serving-addressable-resolver",
       {{"duck.knative.dev/addressable", "true"}},
       {{"serving.knative.dev", "routes,routes/status,services,services/status", kRead}}},
      {"broker-addressable-resolver",
       {{"duck.knative.dev/addressable", "true"}},
       {{"eventing.knative.dev", "brokers,brokers/status", kRead}}},
      {"channel-addressable-resolver",
       {{"duck.knative.dev/addressable", "true"}},
       {{"messaging.knative.dev",
         "channels,channels/status,inmemorychannels,inmemorychannels/status", kRead}}},
      {"flows-addressable-resolver",
       {{"duck.knative.dev/addressable", "true"}},
       {{"flows.knative.dev", "sequences,sequences/status,parallels,parallels/status", kRead}}},
      {"channelable-manipulator", {}, {}, "duck.knative.dev/channelable"},
      {"meta-channelable-manipulator",
       {{"duck.knative.dev/channelable", "true"}},
       {{"messaging.knative.dev", "channels,channels/status",
         "create,get,list,watch,update,patch"}}},
      {"imc-channelable-manipulator",
       {{"duck.knative.dev/channelable", "true"}},
       {{"messaging.knative.dev", "inmemorychannels,inmemorychannels/status",
         "create,get,list,watch,update,patch"}}},
      {"podspecable-binding", {}, {}, "duck.knative.dev/podspecable"},
      {"builtin-podspecable-binding",
       {{"duck.knative.dev/podspecable", "true"}},
       {{"apps", "deployments,daemonsets,replicasets,statefulsets", "list,watch,patch"},
        {"batch", "jobs", "list,watch,patch"}}},
      {"source-observer", {}, {}, "duck.knative.dev/source"},
      {"eventing-sources-source-observer",
       {{"duck.knative.dev/source", "true"}},
       {{"sources.knative.dev", "pingsources,containersources,sinkbindings", kRead}}},
      {"knative-eventing-namespaced-admin",
       {{"rbac.authorization.k8s.io/aggregate-to-admin", "true"}},
       {{"eventing.knative.dev", "*", "*"}}},
      {"knative-messaging-namespaced-admin",
       {{"rbac.authorization.k8s.io/aggregate-to-admin", "true"}},
       {{"messaging.knative.dev", "*", "*"}}},
      {"knative-flows-namespaced-admin",
       {{"rbac.authorization.k8s.io/aggregate-to-admin", "true"}},
       {{"flows.knative.dev", "*", "*"}}},
      {"knative-sources-namespaced-admin",
       {{"rbac.authorization.k8s.io/aggregate-to-admin", "true"}},
       {{"sources.knative.dev", "*", "*"}}},
      {"knative-eventing-namespaced-edit",
       {{"rbac.authorization.k8s.io/aggregate-to-edit", "true"}},
       {{"eventing.knative.dev,messaging.knative.dev,sources.knative.dev,flows.knative.dev", "*",
         "create,update,patch,delete"}}},
      {"knative-eventing-namespaced-view",
       {{"rbac.authorization.k8s.io/aggregate-to-view", "true"}},
       {{"eventing.knative.dev,messaging.knative.dev,sources.knative.dev,flows.knative.dev", "*",
         kRead}}},
  };
  return all;
}

JsonArray split(std::string_view list) {
  JsonArray out;
  for (std::size_t from = 0; from <= list.size();) {
    const auto comma = std::min(list.find(',', from), list.size());
    out.push_back(Json(list.substr(from, comma - from)));
    from = comma + 1;
  }
  return out;
}

Json to_labels(const Pairs& pairs) {
  JsonObject out;
  for (const auto& [k, v] : pairs) out[k] = v;
  return out;
}

class Builder {
 public:
  Builder(std::string ns, const OperatorSettings& settings)
      : ns_(std::move(ns)), settings_(settings) {}

  Item& add(Resource resource, std::string_view api_version, std::string_view kind,
            std::string_view name, std::string_view component, Json body = JsonObject()) {
    const bool cluster = resource == res::clusterroles() || resource == res::clusterrolebindings();
    json::set(body, {"apiVersion"}, Json(api_version));
    json::set(body, {"kind"}, Json(kind));
    json::set(body, {"metadata", "name"}, Json(name));
    if (!cluster) json::set(body, {"metadata", "namespace"}, Json(ns_));
    common_labels(body, {"metadata", "labels"}, component);
    Item& item = manifest[{resource, cluster ? "" : ns_, std::string(name)}];
    item.object = std::move(body);
    return item;
  }

  void deployment(const Role& role) {
    Json container = JsonObject{{"name", role.container},
                                {"image", settings_.role_images + role.name},
                                {"imagePullPolicy", "IfNotPresent"}};
    const auto amounts = [&](std::string_view field, const char* cpu, const char* memory) {
      if (*cpu == '\0') return;
      json::set(container, {"resources", field}, JsonObject{{"cpu", cpu}, {"memory", memory}});
    };
    amounts("requests", role.cpu, role.memory);
    amounts("limits", role.cpu_limit, role.memory_limit);
    JsonArray ports;
    for (const auto& [name, number] : role.ports) {
      ports.push_back(JsonObject{{"name", name}, {"containerPort", number}, {"protocol", "TCP"}});
    }
    json::set(container, {"ports"}, std::move(ports));
    JsonArray env = literal(R"([
      {"name":"POD_NAME","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}},
      {"name":"SYSTEM_NAMESPACE","valueFrom":{"fieldRef":{"fieldPath":"metadata.namespace"}}},
      {"name":"CONFIG_LOGGING_NAME","value":"config-logging"},
      {"name":"CONFIG_OBSERVABILITY_NAME","value":"config-observability"}])")
                        .get_array();
    for (const auto& [name, value] : role.env) {
      env.push_back(JsonObject{{"name", name}, {"value", value}});
    }
    json::set(container, {"env"}, std::move(env));
    json::set(container, {"securityContext"},
              literal(R"({"allowPrivilegeEscalation":false,"readOnlyRootFilesystem":true,
                "runAsNonRoot":true,"capabilities":{"drop":["ALL"]},
                "seccompProfile":{"type":"RuntimeDefault"}})"));

    Json body = JsonObject();
    json::set(body, {"metadata", "annotations"}, JsonObject{{kBuiltIn, "true"}});
    json::set(body, {"spec", "replicas"}, Json(role.replicas));
    json::set(body, {"spec", "selector", "matchLabels"}, to_labels(role.selector));
    json::set(body, {"spec", "template", "metadata", "labels"}, to_labels(role.selector));
    common_labels(body, {"spec", "template", "metadata", "labels"}, role.component);
    json::set(body, {"spec", "template", "metadata", "annotations"},
              JsonObject{{kBuiltIn, "true"}});
    json::set(body, {"spec", "template", "spec"},
              JsonObject{{"serviceAccountName", role.account},
                         {"nodeSelector", nullptr},
                         {"tolerations", nullptr},
                         {"topologySpreadConstraints", nullptr},
                         {"affinity", nullptr},
                         {"hostNetwork", nullptr}});
    JsonArray containers;
    containers.push_back(std::move(container));
    json::set(body, {"spec", "template", "spec", "containers"}, std::move(containers));
    add(res::deployments(), "apps/v1", "Deployment", role.name, role.component, std::move(body));
    add(res::serviceaccounts(), "v1", "ServiceAccount", role.account, role.account);
  }

  void service(const ServiceSpec& s) {
    JsonArray ports;
    for (const auto& [name, port, target] : s.ports) {
      ports.push_back(
          JsonObject{{"name", name}, {"port", port}, {"protocol", "TCP"}, {"targetPort", target}});
    }
    const auto role = std::find_if(roles().begin(), roles().end(), [&](const Role& r) {
      return std::string_view(r.name) == s.role;
    });
    Json body = JsonObject();
    json::set(body, {"spec", "type"}, Json("ClusterIP"));
    json::set(body, {"spec", "selector"}, to_labels(role->selector));
    json::set(body, {"spec", "ports"}, std::move(ports));
    add(res::services(), "v1", "Service", s.name, role->component, std::move(body));
  }

  // Only what differs from upstream's defaults, and the documents that people look at.
  void config_maps() {
    for (const auto name :
         {"config-br-default-channel", "config-br-defaults", "config-features",
          "config-imc-event-dispatcher", "config-kreference-mapping", "config-leader-election",
          "config-logging", "config-observability", "config-ping-defaults", "config-sugar",
          "config-tracing", "default-ch-webhook"}) {
      add(res::configmaps(), "v1", "ConfigMap", name, "eventing-controller",
          JsonObject{{"data", JsonObject()}});
    }
    set("config-br-default-channel", "channel-template-spec", kBrokerChannel);
    set("config-br-defaults", "default-br-config", kBrokerDefaults);
    set("default-ch-webhook", "default-ch-config", kChannelDefaults);
  }
  void set(std::string_view map, std::string_view key, std::string_view value) {
    json::set(manifest[{res::configmaps(), ns_, std::string(map)}].object, {"data", key},
              Json(value));
  }

  void rbac() {
    constexpr std::string_view kApi = "rbac.authorization.k8s.io/v1";
    for (const auto& role : cluster_roles()) {
      Json body = JsonObject();
      JsonArray rules;
      for (const auto& rule : role.rules) {
        rules.push_back(JsonObject{{"apiGroups", split(rule.groups)},
                                   {"resources", split(rule.resources)},
                                   {"verbs", split(rule.verbs)}});
      }
      json::set(body, {"rules"}, std::move(rules));
      if (!role.labels.empty()) json::set(body, {"metadata", "labels"}, to_labels(role.labels));
      if (*role.aggregates != '\0') {
        Json selector = JsonObject();
        json::set(selector, {"matchLabels", role.aggregates}, Json("true"));
        json::set(body, {"aggregationRule", "clusterRoleSelectors"},
                  JsonArray{std::move(selector)});
      }
      add(res::clusterroles(), kApi, "ClusterRole", role.name, "eventing-controller",
          std::move(body));
    }
    const std::pair<const char*, const char*> bindings[] = {
        {"eventing-controller-resolver", "addressable-resolver"},
        {"eventing-controller-manipulator", "channelable-manipulator"},
        {"eventing-controller-source-observer", "source-observer"},
        {"eventing-webhook-podspecable-binding", "podspecable-binding"}};
    for (const auto& [name, role] : bindings) {
      const bool webhook = std::string_view(name).starts_with("eventing-webhook");
      Json body = JsonObject{{"roleRef", JsonObject{{"apiGroup", "rbac.authorization.k8s.io"},
                                                    {"kind", "ClusterRole"},
                                                    {"name", role}}}};
      json::set(body, {"subjects"},
                JsonArray{JsonObject{{"kind", "ServiceAccount"},
                                     {"name", webhook ? "eventing-webhook" : "eventing-controller"},
                                     {"namespace", ns_}}});
      add(res::clusterrolebindings(), kApi, "ClusterRoleBinding", name, "eventing-controller",
          std::move(body));
    }
  }

  void budgets() {
    for (const auto name : {"eventing-webhook"}) {
      Json body = literal(R"({"spec":{"minAvailable":"80%"}})");
      json::set(body, {"spec", "selector", "matchLabels", "app"}, Json(name));
      add(res::poddisruptionbudgets(), "policy/v1", "PodDisruptionBudget", name, name,
          std::move(body));
    }
  }

  Manifest manifest;

 private:
  static void common_labels(Json& body, json::Path path, std::string_view component) {
    Json labels = json::object(body, path);
    labels.get_object()["app.kubernetes.io/component"] = component;
    labels.get_object()["app.kubernetes.io/name"] = "knative-eventing";
    labels.get_object()["app.kubernetes.io/version"] = kEventingVersion;
    json::set(body, path, std::move(labels));
  }

  std::string ns_;
  const OperatorSettings& settings_;
};

/// spec.defaultBrokerClass: the class of clusterDefault in the document that is in force.
void default_broker_class(std::string_view wanted, Json& config_map) {
  if (wanted.empty()) return;
  std::string text(json::str(config_map, {"data", "default-br-config"}));
  constexpr std::string_view kField = "brokerClass: MTChannelBasedBroker";
  const auto at = text.find(kField);
  if (at == std::string::npos) return;  // spec.config says it itself
  text.replace(at, kField.size(), "brokerClass: " + json::print(Json(wanted)));
  json::set(config_map, {"data", "default-br-config"}, Json(text));
}

}  // namespace

Manifest eventing_manifest(const Json& eventing, const OperatorSettings& settings,
                           std::vector<std::string>* notes) {
  const std::string ns(json::str(eventing, {"metadata", "namespace"}));
  const Json spec = json::object(eventing, {"spec"});
  Builder builder(ns, settings);
  for (const auto& role : roles()) builder.deployment(role);
  for (const auto& service : services()) builder.service(service);
  builder.config_maps();
  builder.rbac();
  builder.budgets();
  Manifest& manifest = builder.manifest;
  default_broker_class(json::str(spec, {"defaultBrokerClass"}),
                       manifest[{res::configmaps(), ns, "config-br-defaults"}].object);
  for (auto& note : apply_config(spec, ns, manifest)) notes->push_back(std::move(note));
  const Json& features = manifest[{res::configmaps(), ns, "config-features"}].object;
  const auto istio = json::str(features, {"data", "istio"});
  Item& controller = manifest[{res::deployments(), ns, "eventing-istio-controller"}];
  json::set(controller.object, {"spec", "replicas"},
            Json(istio == "enabled" || istio == "Enabled" ? 1 : 0));
  controller.replicas_set = true;
  for (auto& note : apply_overrides(spec, manifest)) notes->push_back(std::move(note));
  return std::move(manifest);
}

}  // namespace knit::controllers::operators
