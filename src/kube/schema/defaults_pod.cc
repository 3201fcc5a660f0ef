#include "base/quantity.h"
#include "kube/schema/defaults.h"

namespace knit::schema {

namespace {
using json::array;
using json::str;

void default_http_get(JsonObject& holder) {
  if (JsonObject* http = child(holder, "httpGet")) {
    set_default(*http, "path", "/");
    if ((*http)["path"] == "") (*http)["path"] = "/";
    set_default(*http, "scheme", "HTTP");
  }
}

void default_probe(JsonObject* probe) {
  if (probe == nullptr) return;
  default_http_get(*probe);
  if (JsonObject* grpc = child(*probe, "grpc")) set_default(*grpc, "service", "");
  set_default(*probe, "timeoutSeconds", 1);
  set_default(*probe, "periodSeconds", 10);
  set_default(*probe, "successThreshold", 1);
  set_default(*probe, "failureThreshold", 3);
}

/// Always for ":latest" and no tag; a digest or another tag: IfNotPresent.
std::string_view pull_policy(std::string_view image) {
  if (image.find('@') != std::string_view::npos) return "IfNotPresent";
  const auto colon = image.rfind(':');
  const auto slash = image.rfind('/');
  const bool tagged =
      colon != std::string_view::npos && (slash == std::string_view::npos || colon > slash);
  return !tagged || image.substr(colon) == ":latest" ? "Always" : "IfNotPresent";
}

void default_container(JsonObject& c) {
  if (!c.contains("imagePullPolicy")) {
    const Json* image = c.if_contains("image");
    const auto* s = image == nullptr ? nullptr : image->if_string();
    c["imagePullPolicy"] =
        pull_policy(s == nullptr ? std::string_view() : std::string_view(s->data(), s->size()));
  }
  set_default(c, "terminationMessagePath", "/dev/termination-log");
  set_default(c, "terminationMessagePolicy", "File");
  set_default(c, "resources", JsonObject());
  if (JsonArray* ports = children(c, "ports")) {
    for (Json& p : *ports) {
      if (auto* port = p.if_object()) set_default(*port, "protocol", "TCP");
    }
  }
  if (JsonArray* env = children(c, "env")) {
    for (Json& e : *env) {
      auto* variable = e.if_object();
      JsonObject* from = variable == nullptr ? nullptr : child(*variable, "valueFrom");
      if (from == nullptr) continue;
      if (JsonObject* ref = child(*from, "fieldRef")) set_default(*ref, "apiVersion", "v1");
      if (JsonObject* ref = child(*from, "resourceFieldRef")) set_default(*ref, "divisor", "0");
    }
  }
  for (const std::string_view probe : {"livenessProbe", "readinessProbe", "startupProbe"}) {
    default_probe(child(c, probe));
  }
  if (JsonObject* lifecycle = child(c, "lifecycle")) {
    for (const std::string_view hook : {"postStart", "preStop"}) {
      if (JsonObject* h = child(*lifecycle, hook)) default_http_get(*h);
    }
  }
}

void default_downward_items(JsonObject& source) {
  if (JsonArray* items = children(source, "items")) {
    for (Json& i : *items) {
      auto* item = i.if_object();
      JsonObject* ref = item == nullptr ? nullptr : child(*item, "fieldRef");
      if (ref != nullptr) set_default(*ref, "apiVersion", "v1");
    }
  }
}

void default_volume(JsonObject& v) {
  if (v.size() <= 1) set_default(v, "emptyDir", JsonObject());
  for (const std::string_view source : {"secret", "configMap", "downwardAPI", "projected"}) {
    if (JsonObject* s = child(v, source)) set_default(*s, "defaultMode", 420);
  }
  if (JsonObject* s = child(v, "downwardAPI")) default_downward_items(*s);
  if (JsonObject* s = child(v, "hostPath")) set_default(*s, "type", "");
  if (JsonObject* s = child(v, "projected")) {
    JsonArray* sources = children(*s, "sources");
    for (std::size_t i = 0; sources != nullptr && i < sources->size(); ++i) {
      auto* source = (*sources)[i].if_object();
      if (source == nullptr) continue;
      if (JsonObject* token = child(*source, "serviceAccountToken")) {
        set_default(*token, "expirationSeconds", 3600);
      }
      if (JsonObject* d = child(*source, "downwardAPI")) default_downward_items(*d);
    }
  }
}

template <class F>
void each_container(JsonObject& spec, F f) {
  for (const std::string_view list : {"initContainers", "containers"}) {
    if (JsonArray* containers = children(spec, list)) {
      for (Json& c : *containers) {
        if (auto* container = c.if_object()) f(*container);
      }
    }
  }
}

void default_tolerations(JsonObject& spec) {
  Json& list = spec["tolerations"];
  if (!list.is_array()) list = JsonArray();
  for (const std::string_view key :
       {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"}) {
    bool tolerated = false;
    for (const Json& t : list.get_array()) {
      const std::string_view k = str(t, {"key"});
      const std::string_view effect = str(t, {"effect"});
      tolerated =
          tolerated || ((k == key || k.empty()) && (effect == "NoExecute" || effect.empty()));
    }
    if (tolerated) continue;
    list.get_array().push_back(Json{
        {"key", key}, {"operator", "Exists"}, {"effect", "NoExecute"}, {"tolerationSeconds", 300}});
  }
}
}  // namespace

void default_pod_spec(JsonObject& spec) {
  set_default(spec, "dnsPolicy", "ClusterFirst");
  set_default(spec, "restartPolicy", "Always");
  set_default(spec, "securityContext", JsonObject());
  set_default(spec, "terminationGracePeriodSeconds", 30);
  set_default(spec, "schedulerName", "default-scheduler");
  // The deprecated alias is kept equal.
  if (const Json* name = spec.if_contains("serviceAccountName")) {
    const Json copy = *name;
    spec["serviceAccount"] = copy;
  } else if (const Json* alias = spec.if_contains("serviceAccount")) {
    const Json copy = *alias;
    spec["serviceAccountName"] = copy;
  }
  each_container(spec, default_container);
  if (JsonArray* volumes = children(spec, "volumes")) {
    for (Json& v : *volumes) {
      if (auto* volume = v.if_object()) default_volume(*volume);
    }
  }
}

void default_pod(JsonObject& pod, const Context& context) {
  JsonObject& spec = need(pod, "spec");
  if (context.operation == Operation::Create && !spec.contains("serviceAccountName") &&
      !spec.contains("serviceAccount")) {
    spec["serviceAccountName"] = "default";  // admission plugin ServiceAccount
  }
  default_pod_spec(spec);
  set_default(spec, "enableServiceLinks", true);
  each_container(spec, [](JsonObject& c) {  // a limit without a request requests it
    JsonObject& resources = need(c, "resources");
    JsonObject* limits = child(resources, "limits");
    if (limits == nullptr || limits->empty()) return;
    const JsonObject copy = *limits;
    JsonObject& requests = need(resources, "requests");
    for (const auto& l : copy) {
      if (!requests.contains(l.key())) requests[l.key()] = l.value();
    }
  });
  if (context.operation != Operation::Create) return;
  // Admission plugins DefaultTolerationSeconds and Priority.
  default_tolerations(spec);
  set_default(spec, "priority", 0);
  set_default(spec, "preemptionPolicy", "PreemptLowerPriority");
}

std::string_view qos_class(const Json& pod) {
  bool any = false, guaranteed = true;
  for (const std::string_view list : {"containers", "initContainers"}) {
    for (const Json& c : array(pod, {"spec", list})) {
      for (const std::string_view resource : {"cpu", "memory"}) {
        const auto get = [&](std::string_view which) {
          return Quantity::parse(str(c, {"resources", which, resource}));
        };
        const auto limit = get("limits");
        const auto request = get("requests");
        const bool has_limit = limit && !limit->zero();
        const bool has_request = request && !request->zero();
        any = any || has_limit || has_request;
        if (!has_limit || (has_request && *request != *limit)) guaranteed = false;
      }
    }
  }
  return !any ? "BestEffort" : guaranteed ? "Guaranteed" : "Burstable";
}

}  // namespace knit::schema
