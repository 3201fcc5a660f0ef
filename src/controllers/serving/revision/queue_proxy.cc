#include "controllers/serving/revision/queue_proxy.h"

#include <algorithm>

#include "controllers/serving/revision/deployment.h"

namespace knit::serving {
namespace {

constexpr std::string_view kLocal = "127.0.0.1";
constexpr int kHttpPort = 8012, kHttp2Port = 8013, kTlsPort = 8112, kAdminPort = 8022,
              kAutoMetricPort = 9090, kUserMetricPort = 9091;

Json port(std::string_view name, int number) {
  JsonObject out;
  out["containerPort"] = number;
  out["name"] = name;
  out["protocol"] = "TCP";
  return out;
}
Json env(std::string_view name, std::string_view value) {
  JsonObject out;
  out["name"] = name;
  if (!value.empty()) out["value"] = value;
  return out;
}
Json env_field(std::string_view name, std::string_view path) {
  Json out = JsonObject();
  json::set(out, {"name"}, Json(name));
  json::set(out, {"valueFrom", "fieldRef", "apiVersion"}, Json("v1"));
  json::set(out, {"valueFrom", "fieldRef", "fieldPath"}, Json(path));
  return out;
}

const Json* user_container(const Json& revision) {
  const auto& containers = json::array(revision, {"spec", "containers"});
  const auto index = serving_container(revision);
  return index < containers.size() ? &containers[index] : nullptr;
}

/// The probe that queue-proxy runs; what has no handler that it can run becomes a TCP connect.
Json effective_probe(const Json& revision) {
  const Json* container = user_container(revision);
  const Json* given = container == nullptr ? nullptr : json::find(*container, "readinessProbe");
  Json probe = given != nullptr && given->is_object() ? *given : Json(JsonObject());
  auto& object = probe.get_object();
  if (json::i64(probe, {"successThreshold"}) == 0) object["successThreshold"] = 1;
  const int user = user_port(revision);
  object.erase("exec");  // runs in the container; here its stand-in
  for (const auto handler : {"httpGet", "tcpSocket", "grpc"}) {
    Json* h = json::find(probe, handler);
    if (h == nullptr || !h->is_object()) continue;
    auto& fields = h->get_object();
    // A named port is the user's only one.
    if (json::i64(*h, {"port"}) == 0) fields["port"] = user;
    if (std::string_view(handler) != "grpc") fields["host"] = kLocal;
    if (std::string_view(handler) == "httpGet" && json::str(*h, {"scheme"}).empty()) {
      fields["scheme"] = "HTTP";
    }
    if (json::i64(probe, {"periodSeconds"}) > 0 && json::i64(probe, {"timeoutSeconds"}) < 1) {
      object["timeoutSeconds"] = 1;
    }
    return probe;
  }
  JsonObject tcp;
  tcp["port"] = user;
  tcp["host"] = kLocal;
  object["tcpSocket"] = std::move(tcp);
  return probe;
}

void copy_in_order(JsonObject& out, const Json& from,
                   std::initializer_list<std::string_view> fields) {
  for (const auto field : fields) {
    const Json* value = json::find(from, field);
    if (value == nullptr || value->is_null()) continue;
    if (value->is_int64() && value->get_int64() == 0) continue;  // omitempty
    out[field] = *value;
  }
}

Json resources(const Json& revision, const ServingConfig& config) {
  const StringMap annotations = annotations_of(revision);
  const auto& d = config.deployment;
  const bool defaults = config.feature("queueproxy.resource-defaults");
  Json out = JsonObject();
  const auto set = [&](std::string_view side, std::string_view resource, std::string_view kind,
                       const std::string& configured, std::string_view fallback) {
    std::string value = configured;
    if (value.empty() && defaults) value = fallback;
    const std::string key = "queue.sidecar.serving.knative.dev/" + std::string(resource) +
                            "-resource-" + std::string(kind);
    if (const auto v = value_of(annotations, key); !v.empty()) value = v;
    if (!value.empty()) json::set(out, {side, resource}, Json(value));
  };
  set("requests", "cpu", "request", d.queue_cpu_request, "25m");
  set("limits", "cpu", "limit", d.queue_cpu_limit, "1000m");
  set("requests", "memory", "request", d.queue_memory_request, "400Mi");
  set("limits", "memory", "limit", d.queue_memory_limit, "800Mi");
  set("requests", "ephemeral-storage", "request", d.queue_ephemeral_request, "512Mi");
  set("limits", "ephemeral-storage", "limit", d.queue_ephemeral_limit, "1024Mi");
  return out;
}

}  // namespace

std::string readiness_probe_json(const Json& revision) {
  const Json probe = effective_probe(revision);
  JsonObject ordered;
  if (const Json* h = json::find(probe, "httpGet")) {
    JsonObject o;
    copy_in_order(o, *h, {"path", "port", "host", "scheme", "httpHeaders"});
    ordered["httpGet"] = std::move(o);
  }
  if (const Json* h = json::find(probe, "tcpSocket")) {
    JsonObject o;
    copy_in_order(o, *h, {"port", "host"});
    ordered["tcpSocket"] = std::move(o);
  }
  if (const Json* h = json::find(probe, "grpc")) {
    JsonObject o;
    copy_in_order(o, *h, {"port", "service"});
    ordered["grpc"] = std::move(o);
  }
  copy_in_order(ordered, probe,
                {"initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold",
                 "failureThreshold"});
  return json::print(ordered);
}

Json make_queue_proxy(const Json& revision, const ServingConfig& config) {
  const int serving = is_h2c(revision) ? kHttp2Port : kHttpPort;
  const StringMap labels = labels_of(revision), annotations = annotations_of(revision);
  const Json user_probe = effective_probe(revision);

  Json probe = JsonObject();
  JsonObject header;
  header["name"] = "K-Network-Probe";
  header["value"] = "queue";
  json::set(probe, {"httpGet", "port"}, Json(serving));
  json::set(probe, {"httpGet", "httpHeaders"}, JsonArray{std::move(header)});
  const auto period = json::i64(user_probe, {"periodSeconds"});
  for (const auto field :
       {"initialDelaySeconds", "timeoutSeconds", "successThreshold", "failureThreshold"}) {
    if (const auto v = json::i64(user_probe, {field}); v != 0) json::set(probe, {field}, Json(v));
  }
  json::set(probe, {"periodSeconds"}, Json(period == 0 ? 1 : period));

  const auto seconds = [&](std::string_view field, std::int64_t otherwise) {
    return std::to_string(json::i64(revision, {"spec", field}, otherwise));
  };
  const bool duplex =
      value_of(annotations, "features.knative.dev/http-full-duplex").size() == 7 && [&] {
        std::string v(value_of(annotations, "features.knative.dev/http-full-duplex"));
        std::transform(v.begin(), v.end(), v.begin(), [](unsigned char c) {
          return static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
        });
        return v == "enabled";
      }();
  JsonArray e;
  e.push_back(env("SERVING_NAMESPACE", namespace_of(revision)));
  e.push_back(env("SERVING_SERVICE", value_of(labels, label::kService)));
  e.push_back(env("SERVING_CONFIGURATION", value_of(labels, label::kConfiguration)));
  e.push_back(env("SERVING_REVISION", name_of(revision)));
  e.push_back(env("QUEUE_SERVING_PORT", std::to_string(serving)));
  e.push_back(env("QUEUE_SERVING_TLS_PORT", std::to_string(kTlsPort)));
  e.push_back(env("CONTAINER_CONCURRENCY", seconds("containerConcurrency", 0)));
  e.push_back(env("REVISION_TIMEOUT_SECONDS", seconds("timeoutSeconds", 300)));
  e.push_back(
      env("REVISION_RESPONSE_START_TIMEOUT_SECONDS", seconds("responseStartTimeoutSeconds", 0)));
  e.push_back(env("REVISION_IDLE_TIMEOUT_SECONDS", seconds("idleTimeoutSeconds", 0)));
  e.push_back(env_field("SERVING_POD", "metadata.name"));
  e.push_back(env_field("SERVING_POD_IP", "status.podIP"));
  e.push_back(env("SERVING_LOGGING_CONFIG", config.logging_config));
  e.push_back(env("SERVING_LOGGING_LEVEL", config.queueproxy_level));
  e.push_back(env("USER_PORT", std::to_string(user_port(revision))));
  e.push_back(env("SYSTEM_NAMESPACE", kSystemNamespace));
  e.push_back(env("SERVING_READINESS_PROBE", readiness_probe_json(revision)));
  e.push_back(env_field("HOST_IP", "status.hostIP"));
  e.push_back(
      env("ENABLE_HTTP2_AUTO_DETECTION", config.feature("autodetect-http2") ? "true" : "false"));
  e.push_back(env("ENABLE_HTTP_FULL_DUPLEX", duplex ? "true" : "false"));
  e.push_back(env("ROOT_CA", ""));
  e.push_back(env("ENABLE_MULTI_CONTAINER_PROBES",
                  config.feature("multi-container-probing") ? "true" : "false"));
  e.push_back(env("OBSERVABILITY_CONFIG", config.observability_json));

  Json security = JsonObject();
  json::set(security, {"allowPrivilegeEscalation"}, Json(false));
  json::set(security, {"readOnlyRootFilesystem"}, Json(true));
  json::set(security, {"runAsNonRoot"}, Json(true));
  json::set(security, {"capabilities", "drop"}, JsonArray{"ALL"});
  json::set(security, {"seccompProfile", "type"}, Json("RuntimeDefault"));

  JsonObject out;
  out["name"] = "queue-proxy";
  out["image"] = config.deployment.queue_sidecar_image;
  out["resources"] = resources(revision, config);
  out["ports"] =
      JsonArray{port("http-queueadm", kAdminPort), port("http-autometric", kAutoMetricPort),
                port("http-usermetric", kUserMetricPort), port("queue-port", serving),
                port("https-port", kTlsPort)};
  out["readinessProbe"] = std::move(probe);
  out["securityContext"] = std::move(security);
  out["env"] = std::move(e);
  return out;
}

}  // namespace knit::serving
