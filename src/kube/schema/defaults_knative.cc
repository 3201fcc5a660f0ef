// Source: knative/serving pkg/apis/serving/v1/{service,configuration,route,revision}_defaults.go,
// pkg/apis/autoscaling/v1alpha1/pa_defaults.go, knative/networking ingress_defaults.go.
#include <charconv>

#include "base/quantity.h"
#include "kube/schema/defaults.h"

namespace knit::schema {

namespace {
using json::str;

std::string_view setting(const Context& context, std::string_view map, std::string_view key,
                         std::string_view otherwise) {
  return context.knative_config == nullptr ? otherwise
                                           : str(*context.knative_config, {map, key}, otherwise);
}
std::int64_t number(std::string_view text, std::int64_t otherwise) {
  std::int64_t n = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), n);
  return ec == std::errc() && end == text.data() + text.size() ? n : otherwise;
}
bool is_string(const Json* v, std::string_view s) { return v != nullptr && *v == Json(s); }
std::int64_t int_or(const JsonObject& o, std::string_view key, std::int64_t otherwise) {
  const Json* v = o.if_contains(key);
  return v != nullptr && v->is_int64() ? v->get_int64() : otherwise;
}

void default_resources(JsonObject& c, const Context& context) {
  const struct {
    std::string_view list, name, key;
  } rows[] = {{"requests", "cpu", "revision-cpu-request"},
              {"requests", "memory", "revision-memory-request"},
              {"requests", "ephemeral-storage", "revision-ephemeral-storage-request"},
              {"limits", "cpu", "revision-cpu-limit"},
              {"limits", "memory", "revision-memory-limit"},
              {"limits", "ephemeral-storage", "revision-ephemeral-storage-limit"}};
  JsonObject& resources = need(c, "resources");
  for (const auto& row : rows) {
    const auto value = Quantity::parse(setting(context, "config-defaults", row.key, ""));
    if (value) set_default(need(resources, row.list), row.name, value->str());
  }
}

bool has_handler(const JsonObject& probe) {
  return probe.contains("httpGet") || probe.contains("tcpSocket") || probe.contains("exec") ||
         probe.contains("grpc");
}

void default_grpc(JsonObject* probe) {
  JsonObject* grpc = probe == nullptr ? nullptr : child(*probe, "grpc");
  if (grpc != nullptr) set_default(*grpc, "service", "");
}

void default_readiness(JsonObject& c) {
  JsonObject& probe = need(c, "readinessProbe");
  if (!has_handler(probe)) probe["tcpSocket"] = JsonObject();
  default_grpc(&probe);
  if (int_or(probe, "successThreshold", 0) == 0) probe["successThreshold"] = 1;
  // periodSeconds 0 asks for Knative's aggressive probing; then these stay unset.
  if (int_or(probe, "periodSeconds", 0) != 0) {
    if (int_or(probe, "failureThreshold", 0) == 0) probe["failureThreshold"] = 3;
    if (int_or(probe, "timeoutSeconds", 0) == 0) probe["timeoutSeconds"] = 1;
  }
}

/// Volumes that cannot be written: everything but emptyDir, PVC and ephemeral.
void default_mounts(JsonObject& spec, JsonObject& c) {
  JsonArray* mounts = children(c, "volumeMounts");
  if (mounts == nullptr) return;
  for (Json& m : *mounts) {
    auto* mount = m.if_object();
    if (mount == nullptr) continue;
    bool writable = false;
    if (JsonArray* volumes = children(spec, "volumes")) {
      for (const Json& v : *volumes) {
        const auto* volume = v.if_object();
        const Json* name = mount->if_contains("name");
        if (volume != nullptr && name != nullptr && json::find(v, "name") != nullptr &&
            *json::find(v, "name") == *name) {
          writable = volume->contains("emptyDir") || volume->contains("persistentVolumeClaim") ||
                     volume->contains("ephemeral");
        }
      }
    }
    if (!writable) (*mount)["readOnly"] = true;
  }
}

void secure_container(JsonObject& c, bool root_bounded) {
  JsonObject& security = need(c, "securityContext");
  set_default(security, "allowPrivilegeEscalation", false);
  JsonObject& capabilities = need(security, "capabilities");
  set_default(capabilities, "drop", JsonArray{"ALL"});
  if (root_bounded) return;
  if (JsonArray* ports = children(c, "ports")) {
    for (const Json& p : *ports) {
      if (json::i64(p, {"containerPort"}, 8080) < 1024 && !capabilities.contains("add")) {
        capabilities["add"] = JsonArray{"NET_BIND_SERVICE"};
      }
    }
  }
}

void name_containers(JsonArray& containers, const Context& context, bool init) {
  std::string base(setting(context, "config-defaults",
                           init ? "init-container-name-template" : "container-name-template",
                           init ? "init-container" : "user-container"));
  for (std::size_t i = 0; i < containers.size(); ++i) {
    auto* c = containers[i].if_object();
    if (c == nullptr) continue;
    const Json* name = c->if_contains("name");
    if (name != nullptr && !is_string(name, "")) continue;
    (*c)["name"] = i == 0 ? base : base + "-" + std::to_string(i);
  }
}

void default_revision_spec(JsonObject& spec, const Context& context) {
  set_default(spec, "containerConcurrency",
              number(setting(context, "config-defaults", "container-concurrency", "0"), 0));
  const std::int64_t timeout =
      number(setting(context, "config-defaults", "revision-timeout-seconds", "300"), 300);
  if (int_or(spec, "timeoutSeconds", 0) == 0) spec["timeoutSeconds"] = timeout;
  for (const auto& [field, key] :
       {std::pair{"responseStartTimeoutSeconds", "revision-response-start-timeout-seconds"},
        std::pair{"idleTimeoutSeconds", "revision-idle-timeout-seconds"}}) {
    const std::int64_t value = number(setting(context, "config-defaults", key, "0"), 0);
    if (value != 0 && value < int_or(spec, "timeoutSeconds", timeout)) {
      set_default(spec, field, value);
    }
  }
  if (context.operation == Operation::Create && !spec.contains("enableServiceLinks")) {
    const std::string_view links =
        setting(context, "config-defaults", "enable-service-links", "false");
    if (links != "default") spec["enableServiceLinks"] = links == "true";
  }
  const std::string_view secure =
      setting(context, "config-features", "secure-pod-defaults", "disabled");
  const bool bounded = secure == "AllowRootBounded" || secure == "allowrootbounded";
  const bool secured = bounded || secure == "enabled" || secure == "Enabled";
  if (secured) {
    JsonObject& security = need(spec, "securityContext");
    if (!bounded) set_default(security, "runAsNonRoot", true);
    JsonObject& seccomp = need(security, "seccompProfile");
    set_default(seccomp, "type", "RuntimeDefault");
  }
  JsonArray* containers = children(spec, "containers");
  if (containers == nullptr) return;
  name_containers(*containers, context, false);
  std::size_t serving = 0;  // the container with a port, or the only one
  for (std::size_t i = 0; i < containers->size(); ++i) {
    auto* c = (*containers)[i].if_object();
    if (c != nullptr && c->contains("ports")) serving = i;
  }
  for (std::size_t i = 0; i < containers->size(); ++i) {
    auto* c = (*containers)[i].if_object();
    if (c == nullptr) continue;
    default_resources(*c, context);
    const bool has_port = c->contains("ports");
    if (has_port || (containers->size() == 1 && i == serving)) default_readiness(*c);
    default_grpc(child(*c, "readinessProbe"));
    default_grpc(child(*c, "livenessProbe"));
    default_grpc(child(*c, "startupProbe"));
    default_mounts(spec, *c);
    if (secured) secure_container(*c, bounded);
  }
  if (JsonArray* init = children(spec, "initContainers")) {
    name_containers(*init, context, true);
    for (Json& v : *init) {
      if (auto* c = v.if_object()) {
        default_mounts(spec, *c);
        if (secured) secure_container(*c, bounded);
      }
    }
  }
}

void default_traffic(JsonObject& spec, bool of_service) {
  JsonArray* traffic = children(spec, "traffic");
  if (traffic == nullptr || traffic->empty()) {
    if (!of_service) return;
    spec["traffic"] = JsonArray{Json{{"latestRevision", true}, {"percent", 100}}};
    return;
  }
  for (Json& t : *traffic) {
    if (auto* target = t.if_object()) {
      const Json* revision = target->if_contains("revisionName");
      set_default(*target, "latestRevision", revision == nullptr || is_string(revision, ""));
      set_default(*target, "percent", 0);
    }
  }
}

void default_user_info(JsonObject& object, const Context& context) {
  if (context.user.empty() || context.internal) return;
  JsonObject& annotations = need(need(object, "metadata"), "annotations");
  if (context.operation == Operation::Create) {
    annotations["serving.knative.dev/creator"] = context.user;
    annotations["serving.knative.dev/lastModifier"] = context.user;
  } else if (context.operation == Operation::Update && context.old != nullptr) {
    // The last modifier changes with the spec only.
    const Json* before = json::find(*context.old, "spec");
    const Json* after = object.if_contains("spec");
    if (before != nullptr && after != nullptr && !(*before == *after)) {
      annotations["serving.knative.dev/lastModifier"] = context.user;
    }
  }
}

void default_ingress(JsonObject& spec) {
  set_default(spec, "httpOption", "Enabled");
  JsonArray* rules = children(spec, "rules");
  for (std::size_t i = 0; rules != nullptr && i < rules->size(); ++i) {
    auto* rule = (*rules)[i].if_object();
    if (rule == nullptr) continue;
    set_default(*rule, "visibility", "ExternalIP");
    JsonObject* http = child(*rule, "http");
    JsonArray* paths = http == nullptr ? nullptr : children(*http, "paths");
    for (std::size_t j = 0; paths != nullptr && j < paths->size(); ++j) {
      auto* path = (*paths)[j].if_object();
      JsonArray* splits = path == nullptr ? nullptr : children(*path, "splits");
      if (splits == nullptr || splits->size() != 1) continue;
      auto* split = (*splits)[0].if_object();
      if (split != nullptr && int_or(*split, "percent", 0) == 0) (*split)["percent"] = 100;
    }
  }
}

void default_autoscaler(JsonObject& object, const Context& context) {
  JsonObject& annotations = need(need(object, "metadata"), "annotations");
  set_default(
      annotations, "autoscaling.knative.dev/class",
      setting(context, "config-autoscaler", "pod-autoscaler-class", "kpa.autoscaling.knative.dev"));
  const bool hpa = is_string(annotations.if_contains("autoscaling.knative.dev/class"),
                             "hpa.autoscaling.knative.dev");
  const bool kpa = is_string(annotations.if_contains("autoscaling.knative.dev/class"),
                             "kpa.autoscaling.knative.dev");
  if (hpa || kpa) {
    set_default(annotations, "autoscaling.knative.dev/metric", hpa ? "cpu" : "concurrency");
  }
}
}  // namespace

void default_knative(const Kind& kind, JsonObject& object, const Context& context) {
  if (kind.group == "serving.knative.dev") {
    JsonObject& spec = need(object, "spec");
    if (kind.kind == "Service" || kind.kind == "Configuration") {
      default_revision_spec(need(need(spec, "template"), "spec"), context);
    }
    if (kind.kind == "Service" || kind.kind == "Route") {
      default_traffic(spec, kind.kind == "Service");
    }
    if (kind.kind == "Revision") default_revision_spec(spec, context);
    if (kind.kind != "Revision") default_user_info(object, context);
  } else if (kind.group == "networking.internal.knative.dev" && kind.kind == "Ingress") {
    default_ingress(need(object, "spec"));
  } else if (kind.kind == "PodAutoscaler") {
    default_autoscaler(object, context);
  }
}

}  // namespace knit::schema
