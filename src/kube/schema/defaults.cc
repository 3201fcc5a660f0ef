#include "kube/schema/defaults.h"

#include "kube/schema/walk.h"

namespace knit::schema {

namespace {
using json::array;
using json::str;

void default_service(JsonObject& object, const Context& context) {
  JsonObject& spec = need(object, "spec");
  set_default(spec, "sessionAffinity", "None");
  if (spec["sessionAffinity"] == "ClientIP") {
    JsonObject& client = need(need(spec, "sessionAffinityConfig"), "clientIP");
    set_default(client, "timeoutSeconds", 10800);
  }
  set_default(spec, "type", "ClusterIP");
  const bool external_name = spec["type"] == "ExternalName";
  const bool open = spec["type"] == "NodePort" || spec["type"] == "LoadBalancer";
  if (JsonArray* ports = children(spec, "ports")) {
    for (Json& p : *ports) {
      JsonObject& port = p.get_object();
      set_default(port, "protocol", "TCP");
      const Json* target = port.if_contains("targetPort");
      if (target == nullptr || *target == 0 || *target == "") {
        const Json* number = port.if_contains("port");
        port["targetPort"] = number == nullptr ? Json(0) : *number;
      }
    }
  }
  if (open) {
    set_default(spec, "externalTrafficPolicy", "Cluster");
    if (spec["type"] == "LoadBalancer") set_default(spec, "allocateLoadBalancerNodePorts", true);
  }
  if (external_name) return;
  set_default(spec, "internalTrafficPolicy", "Cluster");
  if (const Json* ip = spec.if_contains("clusterIP");
      ip != nullptr && ip->is_string() && !ip->get_string().empty()) {
    set_default(spec, "clusterIPs", JsonArray{*ip});
  }
  if (context.operation == Operation::Create) {
    set_default(spec, "ipFamilies", JsonArray{"IPv4"});
    set_default(spec, "ipFamilyPolicy", "SingleStack");
  }
}

void default_deployment(JsonObject& object) {
  JsonObject& spec = need(object, "spec");
  set_default(spec, "replicas", 1);
  JsonObject& strategy = need(spec, "strategy");
  set_default(strategy, "type", "RollingUpdate");
  if (strategy["type"] == "RollingUpdate") {
    JsonObject& rolling = need(strategy, "rollingUpdate");
    set_default(rolling, "maxUnavailable", "25%");
    set_default(rolling, "maxSurge", "25%");
  }
  set_default(spec, "revisionHistoryLimit", 10);
  set_default(spec, "progressDeadlineSeconds", 600);
  default_pod_spec(need(need(spec, "template"), "spec"));
}

void default_namespace(JsonObject& object, const Context& context) {
  JsonObject& metadata = need(object, "metadata");
  const Json* name = metadata.if_contains("name");
  if (name != nullptr && name->is_string() && !name->get_string().empty()) {
    const Json copy = *name;  // what is added below may move it
    need(metadata, "labels")["kubernetes.io/metadata.name"] = copy;
  }
  if (context.operation == Operation::Create) {
    JsonArray& finalizers = [&]() -> JsonArray& {
      Json& f = need(object, "spec")["finalizers"];
      if (!f.is_array()) f = JsonArray();
      return f.get_array();
    }();
    bool found = false;
    for (const Json& f : finalizers) found = found || f == "kubernetes";
    if (!found) finalizers.emplace_back("kubernetes");
    set_default(need(object, "status"), "phase", "Active");
  }
}

/// stringData is written over data and never stored (it is a write-only convenience).
void default_secret(JsonObject& object) {
  set_default(object, "type", "Opaque");
  Json* strings = object.if_contains("stringData");
  if (strings == nullptr || !strings->is_object()) return;
  const JsonObject written = strings->get_object();  // what is added below may move it
  JsonObject& data = need(object, "data");
  for (const auto& member : written) {
    if (const auto* s = member.value().if_string()) {
      data[member.key()] = base64({s->data(), s->size()});
    }
  }
  object.erase("stringData");
}

void default_protocols(JsonObject& holder) {
  if (JsonArray* ports = children(holder, "ports")) {
    for (Json& p : *ports) {
      if (auto* port = p.if_object()) set_default(*port, "protocol", "TCP");
    }
  }
}

void default_network_policy(JsonObject& object) {
  JsonObject& spec = need(object, "spec");
  for (const std::string_view direction : {"ingress", "egress"}) {
    JsonArray* rules = children(spec, direction);
    for (std::size_t i = 0; rules != nullptr && i < rules->size(); ++i) {
      if (auto* rule = (*rules)[i].if_object()) default_protocols(*rule);
    }
  }
  if (spec.contains("policyTypes")) return;
  JsonArray types{"Ingress"};
  if (JsonArray* egress = children(spec, "egress"); egress != nullptr && !egress->empty()) {
    types.emplace_back("Egress");
  }
  spec["policyTypes"] = std::move(types);
}

void default_binding(JsonObject& object) {
  set_default(need(object, "roleRef"), "apiGroup", "rbac.authorization.k8s.io");
  if (object["roleRef"].get_object()["apiGroup"] == "") {
    object["roleRef"].get_object()["apiGroup"] = "rbac.authorization.k8s.io";
  }
  JsonArray* subjects = children(object, "subjects");
  for (std::size_t i = 0; subjects != nullptr && i < subjects->size(); ++i) {
    if (auto* s = (*subjects)[i].if_object()) {
      const Json* kind = s->if_contains("kind");
      if (kind != nullptr && (*kind == "User" || *kind == "Group")) {
        set_default(*s, "apiGroup", "rbac.authorization.k8s.io");
      }
    }
  }
}

void default_crd(JsonObject& object) {
  JsonObject& spec = need(object, "spec");
  JsonObject& names = need(spec, "names");
  const Json* kind = names.if_contains("kind");
  if (kind != nullptr && kind->is_string()) {
    const std::string name(kind->get_string());  // a new member may move the others
    std::string lower = name;
    for (char& c : lower) {
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    set_default(names, "singular", lower);
    set_default(names, "listKind", name + "List");
  }
  set_default(need(spec, "conversion"), "strategy", "None");
}
}  // namespace

void apply_defaults(const Kind& kind, Json& value, const Context& context) {
  auto* object = value.if_object();
  if (object == nullptr) return;
  if (kind.custom) {
    default_knative(kind, *object, context);
    default_eventing(kind, *object, context);
    default_mesh(kind, *object, context);
    return;
  }
  if (kind.group == "rbac.authorization.k8s.io") {
    if (kind.kind.ends_with("Binding")) default_binding(*object);
    return;
  }
  if (kind.kind == "Pod") {
    default_pod(*object, context);
  } else if (kind.kind == "Service") {
    default_service(*object, context);
  } else if (kind.kind == "Deployment") {
    default_deployment(*object);
  } else if (kind.kind == "ReplicaSet") {
    JsonObject& spec = need(*object, "spec");
    set_default(spec, "replicas", 1);
    default_pod_spec(need(need(spec, "template"), "spec"));
  } else if (kind.kind == "Namespace") {
    default_namespace(*object, context);
  } else if (kind.kind == "Secret") {
    default_secret(*object);
  } else if (kind.kind == "Endpoints") {
    JsonArray* subsets = children(*object, "subsets");
    for (std::size_t i = 0; subsets != nullptr && i < subsets->size(); ++i) {
      if (auto* s = (*subsets)[i].if_object()) default_protocols(*s);
    }
  } else if (kind.kind == "EndpointSlice") {
    default_protocols(*object);
    if (JsonArray* ports = children(*object, "ports")) {
      for (Json& p : *ports) {
        if (auto* port = p.if_object()) set_default(*port, "name", "");
      }
    }
  } else if (kind.kind == "NetworkPolicy") {
    default_network_policy(*object);
  } else if (kind.kind == "CustomResourceDefinition") {
    default_crd(*object);
  }
}

}  // namespace knit::schema
