#include "controllers/serving/revision/deployment.h"

#include <algorithm>
#include <set>

#include "base/hash.h"
#include "controllers/serving/revision/queue_proxy.h"

namespace knit::serving {
namespace {

constexpr int kDefaultPort = 8080;
constexpr int kQueueAdminPort = 8022;

StringMap filtered_annotations(const Json& revision) {
  StringMap out = annotations_of(revision);
  std::erase_if(out, [](const auto& kv) {
    return kv.first == annotation::kRoutes || kv.first == annotation::kRoutingStateModified ||
           kv.first == annotation::kLastApplied ||
           kv.first.compare(0, annotation::kAutoscalingPrefix.size(),
                            annotation::kAutoscalingPrefix) == 0;
  });
  return out;
}

Json env(std::string_view name, std::string_view value) {
  JsonObject out;
  out["name"] = name;
  out["value"] = value;
  return out;
}

std::string base36(std::uint32_t v) {
  std::string out;
  do {
    out += "0123456789abcdefghijklmnopqrstuvwxyz"[v % 36];
    v /= 36;
  } while (v != 0);
  std::reverse(out.begin(), out.end());
  return out;
}

/// Every user container: Knative's environment, the drain hook, no terminal.
void prepare_user_container(Json& container, const Json& revision, bool serving, int port) {
  auto& object = container.get_object();
  JsonObject hook;
  hook["path"] = "/wait-for-drain";
  hook["port"] = kQueueAdminPort;
  json::set(container, {"lifecycle", "preStop", "httpGet"}, std::move(hook));
  object.erase("stdin");
  object.erase("stdinOnce");
  object.erase("tty");
  if (json::str(container, {"terminationMessagePolicy"}).empty()) {
    object["terminationMessagePolicy"] = "FallbackToLogsOnError";
  }
  if (!object.contains("env") || !object["env"].is_array()) object["env"] = JsonArray();
  auto& list = object["env"].get_array();
  if (serving) list.push_back(env("PORT", std::to_string(port)));
  const StringMap labels = labels_of(revision);
  list.push_back(env("K_REVISION", name_of(revision)));
  list.push_back(env("K_CONFIGURATION", value_of(labels, label::kConfiguration)));
  list.push_back(env("K_SERVICE", value_of(labels, label::kService)));
  object["image"] = image_of(revision, container);
  if (!serving) return;

  JsonObject user_port_entry;
  user_port_entry["containerPort"] = port;
  user_port_entry["name"] = "user-port";
  user_port_entry["protocol"] = "TCP";
  object["ports"] = JsonArray{std::move(user_port_entry)};
  // queue-proxy runs http, tcp and grpc readiness probes; exec stays with the container.
  if (const Json* probe = json::find(container, "readinessProbe");
      probe != nullptr && json::find(*probe, "exec") == nullptr) {
    object.erase("readinessProbe");
  }
  for (const auto kind : {"livenessProbe", "startupProbe"}) {
    for (const auto handler : {"httpGet", "tcpSocket"}) {
      if (json::find(container, {kind, handler}) == nullptr) continue;
      if (json::i64(container, {kind, handler, "port"}) == 0 &&
          json::str(container, {kind, handler, "port"}).empty()) {
        json::set(container, {kind, handler, "port"}, Json(port));
      }
    }
  }
}

}  // namespace

std::string deployment_name(const Json& revision) {
  return child_name(name_of(revision), "-deployment");
}

StringMap child_labels(const Json& revision) {
  StringMap out = labels_of(revision);
  // What changes during a Revision's life must not roll its pods.
  out.erase(std::string(label::kRoute));
  out.erase(std::string(label::kRoutingState));
  out[std::string(label::kRevision)] = name_of(revision);
  out[std::string(label::kRevisionUid)] = uid_of(revision);
  out.try_emplace(std::string(label::kApp), name_of(revision));
  return out;
}

std::size_t serving_container(const Json& revision) {
  const auto& containers = json::array(revision, {"spec", "containers"});
  for (std::size_t i = 0; i < containers.size(); ++i) {
    if (!json::array(containers[i], {"ports"}).empty()) return i;
  }
  return 0;
}

int user_port(const Json& revision) {
  const auto& containers = json::array(revision, {"spec", "containers"});
  const auto index = serving_container(revision);
  if (index < containers.size()) {
    const auto& ports = json::array(containers[index], {"ports"});
    if (!ports.empty()) {
      const auto port = json::i64(ports[0], {"containerPort"});
      if (port > 0 && port < 65536) return static_cast<int>(port);
    }
  }
  return kDefaultPort;
}

bool is_h2c(const Json& revision) {
  const auto& containers = json::array(revision, {"spec", "containers"});
  const auto index = serving_container(revision);
  if (index >= containers.size()) return false;
  const auto& ports = json::array(containers[index], {"ports"});
  return !ports.empty() && json::str(ports[0], {"name"}) == "h2c";
}

int initial_scale(const StringMap& annotations, const AutoscalerConfig& config) {
  if (const auto text = first_of(annotations, {"autoscaling.knative.dev/initial-scale",
                                               "autoscaling.knative.dev/initialScale"})) {
    const auto value = to_int(*text);
    if (value && (*value > 0 || (*value == 0 && config.allow_zero_initial_scale))) return *value;
  }
  return config.initial_scale;
}

Duration progress_deadline(const StringMap& annotations, const DeploymentConfig& config) {
  if (const auto text = value_of(annotations, annotation::kProgressDeadline); !text.empty()) {
    const auto value = parse_go_duration(text);
    if (value && *value > Duration::zero()) return *value;
  }
  return config.progress_deadline;
}

std::string image_of(const Json& revision, const Json& container) {
  for (const auto list : {"containerStatuses", "initContainerStatuses"}) {
    for (const auto& status : json::array(revision, {"status", list})) {
      if (json::str(status, {"name"}) == json::str(container, {"name"})) {
        const auto digest = json::str(status, {"imageDigest"});
        if (!digest.empty()) return std::string(digest);
      }
    }
  }
  return std::string(json::str(container, {"image"}));
}

std::string registry_of(std::string_view image) {
  const auto slash = image.find('/');
  if (slash != std::string_view::npos) {
    const auto host = image.substr(0, slash);
    if (host.find_first_of(".:") != std::string_view::npos || host == "localhost") {
      return std::string(host);
    }
  }
  return "index.docker.io";
}

Json make_deployment(const Json& revision, const ServingConfig& config) {
  const StringMap annotations = filtered_annotations(revision);
  const StringMap labels = child_labels(revision);
  const auto index = serving_container(revision);
  const int port = user_port(revision);

  Json pod_spec = JsonObject();
  for (const auto& kv : json::object(revision, {"spec"})) {
    static const std::set<std::string_view> kRevisionOnly = {
        "containerConcurrency", "timeoutSeconds", "responseStartTimeoutSeconds",
        "idleTimeoutSeconds"};
    if (!kRevisionOnly.contains({kv.key().data(), kv.key().size()})) {
      pod_spec.get_object()[kv.key()] = kv.value();
    }
  }
  JsonArray containers = json::array(revision, {"spec", "containers"});
  for (std::size_t i = 0; i < containers.size(); ++i) {
    if (containers[i].is_object()) {
      prepare_user_container(containers[i], revision, i == index, port);
    }
  }
  std::string default_container;
  if (index < containers.size()) default_container = json::str(containers[index], {"name"});
  containers.push_back(make_queue_proxy(revision, config));
  pod_spec.get_object()["containers"] = std::move(containers);
  if (json::find(pod_spec, "initContainers") != nullptr) {
    for (auto& container : pod_spec.get_object()["initContainers"].get_array()) {
      if (container.is_object()) {
        container.get_object()["image"] = image_of(revision, container);
      }
    }
  }
  pod_spec.get_object()["terminationGracePeriodSeconds"] =
      json::i64(revision, {"spec", "timeoutSeconds"}, 300);
  if (config.deployment.spread_over_nodes && json::find(pod_spec, "affinity") == nullptr) {
    JsonObject term;
    json::set(pod_spec, {"affinity", "podAntiAffinity"}, JsonObject());
    Json selector = JsonObject();
    json::set(selector, {"labelSelector", "matchLabels", label::kRevision},
              Json(name_of(revision)));
    json::set(selector, {"topologyKey"}, Json("kubernetes.io/hostname"));
    term["podAffinityTerm"] = std::move(selector);
    term["weight"] = 100;
    json::set(pod_spec,
              {"affinity", "podAntiAffinity", "preferredDuringSchedulingIgnoredDuringExecution"},
              JsonArray{std::move(term)});
  }
  if (!config.deployment.runtime_class.empty() &&
      json::find(pod_spec, "runtimeClassName") == nullptr) {
    pod_spec.get_object()["runtimeClassName"] = config.deployment.runtime_class;
  }

  StringMap pod_annotations = annotations;
  if (!default_container.empty()) {
    pod_annotations.try_emplace("kubectl.kubernetes.io/default-container", default_container);
  }
  Json out = JsonObject();
  json::set(out, {"apiVersion"}, Json("apps/v1"));
  json::set(out, {"kind"}, Json("Deployment"));
  json::set(out, {"metadata", "name"}, Json(deployment_name(revision)));
  json::set(out, {"metadata", "namespace"}, Json(namespace_of(revision)));
  json::set(out, {"metadata", "annotations"}, to_json(annotations));
  Json spec = JsonObject();
  json::set(spec, {"replicas"}, Json(initial_scale(annotations_of(revision), config.autoscaler)));
  json::set(spec, {"progressDeadlineSeconds"},
            Json(progress_deadline(annotations, config.deployment).count() / 1'000'000'000));
  json::set(spec, {"revisionHistoryLimit"}, Json(0));
  json::set(spec, {"strategy", "type"}, Json("RollingUpdate"));
  json::set(spec, {"strategy", "rollingUpdate", "maxUnavailable"}, Json(0));
  json::set(spec, {"selector", "matchLabels", label::kRevisionUid}, Json(uid_of(revision)));
  json::set(spec, {"template", "metadata", "labels"}, to_json(labels));
  json::set(spec, {"template", "metadata", "annotations"}, to_json(pod_annotations));
  json::set(spec, {"template", "spec"}, std::move(pod_spec));
  StringMap own = labels;
  // DIFFERS: upstream hashes its Go value; only that equal specs give equal labels matters.
  own[std::string(label::kDeploymentHash)] = base36(hash::fnv32a(json::canonical(spec)));
  json::set(out, {"metadata", "labels"}, to_json(own));
  json::set(out, {"spec"}, std::move(spec));
  return out;
}

std::vector<std::pair<std::string, Json>> make_images(const Json& revision) {
  std::vector<std::pair<std::string, Json>> out;
  for (const auto list : {"containers", "initContainers"}) {
    for (const auto& container : json::array(revision, {"spec", list})) {
      const std::string name =
          child_name(name_of(revision), "-cache-" + std::string(json::str(container, {"name"})));
      Json image = JsonObject();
      json::set(image, {"apiVersion"}, Json("caching.internal.knative.dev/v1alpha1"));
      json::set(image, {"kind"}, Json("Image"));
      json::set(image, {"metadata", "name"}, Json(name));
      json::set(image, {"metadata", "namespace"}, Json(namespace_of(revision)));
      json::set(image, {"metadata", "labels"}, to_json(child_labels(revision)));
      json::set(image, {"metadata", "annotations"}, to_json(filtered_annotations(revision)));
      json::set(image, {"spec", "image"}, Json(image_of(revision, container)));
      if (const auto account = json::str(revision, {"spec", "serviceAccountName"});
          !account.empty()) {
        json::set(image, {"spec", "serviceAccountName"}, Json(account));
      }
      if (const auto& secrets = json::array(revision, {"spec", "imagePullSecrets"});
          !secrets.empty()) {
        json::set(image, {"spec", "imagePullSecrets"}, secrets);
      }
      out.emplace_back(name, std::move(image));
    }
  }
  return out;
}

namespace {
bool condition_false(const Json& object, std::string_view type) {
  for (const auto& c : json::array(object, {"status", "conditions"})) {
    if (json::str(c, {"type"}) == type) return json::str(c, {"status"}) == "False";
  }
  return false;
}
}  // namespace

Json make_pod_autoscaler(const Json& revision, const Json& deployment) {
  std::string_view reachability;
  const bool broken = condition_false(revision, "ResourcesAvailable") ||
                      condition_false(revision, "ContainerHealthy");
  // A minimum scale must not pin a revision that cannot run.
  if (broken && json::i64(deployment, {"spec", "replicas"}, 1) > 0 &&
      json::i64(deployment, {"status", "readyReplicas"}) == 0) {
    reachability = "Unreachable";
  } else {
    const auto state = json::str(revision, {"metadata", "labels", label::kRoutingState});
    if (state == "reserve") reachability = "Unreachable";
    if (state == "active") reachability = "Reachable";
  }
  StringMap annotations = annotations_of(revision);
  std::erase_if(annotations, [](const auto& kv) {
    return kv.first == annotation::kRoutes || kv.first == annotation::kRoutingStateModified ||
           kv.first == annotation::kLastApplied;
  });
  annotations.try_emplace(std::string(annotation::kScalerClass), kKpaClass);
  Json out = JsonObject();
  json::set(out, {"apiVersion"}, Json("autoscaling.internal.knative.dev/v1alpha1"));
  json::set(out, {"kind"}, Json("PodAutoscaler"));
  json::set(out, {"metadata", "name"}, Json(name_of(revision)));
  json::set(out, {"metadata", "namespace"}, Json(namespace_of(revision)));
  json::set(out, {"metadata", "labels"}, to_json(child_labels(revision)));
  json::set(out, {"metadata", "annotations"}, to_json(annotations));
  json::set(out, {"spec", "containerConcurrency"},
            Json(json::i64(revision, {"spec", "containerConcurrency"})));
  json::set(out, {"spec", "protocolType"}, Json(is_h2c(revision) ? "h2c" : "http1"));
  json::set(out, {"spec", "reachability"}, reachability.empty() ? Json() : Json(reachability));
  json::set(out, {"spec", "scaleTargetRef", "apiVersion"}, Json("apps/v1"));
  json::set(out, {"spec", "scaleTargetRef", "kind"}, Json("Deployment"));
  json::set(out, {"spec", "scaleTargetRef", "name"}, Json(deployment_name(revision)));
  return out;
}

}  // namespace knit::serving
