// Source: knative/eventing pkg/apis/{eventing,messaging,flows,sources}/v1/*_defaults.go,
// knative/pkg apis/duck/v1/destination.go
#include "kube/schema/defaults.h"
#include "kube/schema/eventing_config.h"

namespace knit::schema {

namespace {
using json::str;

std::string_view document(const Context& context, std::string_view map, std::string_view key) {
  return context.knative_config == nullptr ? std::string_view()
                                           : str(*context.knative_config, {map, key});
}

/// A reference without a namespace means the object's own.
void default_reference(JsonObject* reference, std::string_view ns) {
  if (reference == nullptr || ns.empty()) return;
  const Json* have = reference->if_contains("namespace");
  if (have == nullptr || *have == Json("")) (*reference)["namespace"] = Json(ns);
}
void default_destination(JsonObject& parent, std::string_view field, std::string_view ns) {
  if (JsonObject* d = child(parent, field)) default_reference(child(*d, "ref"), ns);
}
void default_delivery(JsonObject& parent, std::string_view ns) {
  if (JsonObject* delivery = child(parent, "delivery")) {
    default_destination(*delivery, "deadLetterSink", ns);
  }
}

void default_broker(JsonObject& object, JsonObject& spec, const Context& context,
                    std::string_view ns) {
  constexpr std::string_view kClass = "eventing.knative.dev/broker.class";
  JsonObject& annotations = need(need(object, "metadata"), "annotations");
  const Json* have = annotations.if_contains(kClass);
  const std::string own(have != nullptr && have->is_string() ? have->get_string() : "");
  // A map that does not parse gives no defaults; validation then tells what is missing.
  const auto defaults =
      broker_defaults(document(context, "config-br-defaults", "default-br-config"), ns, own);
  if (own.empty()) {
    annotations[kClass] = defaults ? defaults->broker_class : std::string(kMtBrokerClass);
  }
  if (defaults) {
    if (!spec.contains("config") && !defaults->config.is_null()) spec["config"] = defaults->config;
    if (!spec.contains("delivery") && !defaults->delivery.is_null()) {
      spec["delivery"] = defaults->delivery;
    }
  }
  default_reference(child(spec, "config"), ns);
  default_delivery(spec, ns);
}

void default_channel_template(JsonObject& spec, const Context& context, std::string_view ns) {
  if (spec.contains("channelTemplate")) return;
  auto found = default_channel(document(context, "default-ch-webhook", "default-ch-config"), ns);
  if (found) spec["channelTemplate"] = std::move(*found);
}

void default_container_source(JsonObject& object, JsonObject& spec) {
  JsonObject* pod = child(spec, "template");
  pod = pod == nullptr ? nullptr : child(*pod, "spec");
  JsonArray* containers = pod == nullptr ? nullptr : children(*pod, "containers");
  for (std::size_t i = 0; containers != nullptr && i < containers->size(); ++i) {
    auto* c = (*containers)[i].if_object();
    if (c == nullptr) continue;
    const Json* name = c->if_contains("name");
    if (name != nullptr && !(*name == Json(""))) continue;
    const JsonObject* metadata = child(object, "metadata");
    const Json* own = metadata == nullptr ? nullptr : metadata->if_contains("name");
    if (own == nullptr || !own->is_string()) continue;
    (*c)["name"] = std::string(own->get_string()) + "-" + std::to_string(i);
  }
}

void default_flow(JsonObject& spec, const Context& context, std::string_view ns) {
  default_channel_template(spec, context, ns);
  for (const auto list : {"steps", "branches"}) {
    JsonArray* entries = children(spec, list);
    for (std::size_t i = 0; entries != nullptr && i < entries->size(); ++i) {
      auto* entry = (*entries)[i].if_object();
      if (entry == nullptr) continue;
      default_reference(child(*entry, "ref"), ns);
      for (const auto field : {"filter", "subscriber", "reply"}) {
        default_destination(*entry, field, ns);
      }
      default_delivery(*entry, ns);
    }
  }
  default_destination(spec, "reply", ns);
}
}  // namespace

bool is_eventing(const Kind& kind) {
  return kind.group == "eventing.knative.dev" || kind.group == "messaging.knative.dev" ||
         kind.group == "flows.knative.dev" || kind.group == "sources.knative.dev" ||
         kind.group == "sinks.knative.dev";
}

void default_eventing(const Kind& kind, JsonObject& object, const Context& context) {
  if (!is_eventing(kind)) return;
  need(object, "metadata");  // so that `spec` stays where it is
  JsonObject& spec = need(object, "spec");
  const Json* own = need(object, "metadata").if_contains("namespace");
  const std::string ns(own != nullptr && own->is_string() ? own->get_string() : "");
  if (kind.kind == "Broker") return default_broker(object, spec, context, ns);
  if (kind.kind == "Trigger") {
    set_default(spec, "filter", JsonObject());
    default_destination(spec, "subscriber", ns);
    default_delivery(spec, ns);
    const Json* broker = spec.if_contains("broker");
    if (broker != nullptr && broker->is_string() && !broker->get_string().empty()) {
      need(need(object, "metadata"), "labels")["eventing.knative.dev/broker"] = *broker;
    }
  } else if (kind.kind == "Channel" || kind.kind == "InMemoryChannel") {
    need(need(object, "metadata"), "annotations")["messaging.knative.dev/subscribable"] = "v1";
    if (kind.kind == "Channel") default_channel_template(spec, context, ns);
    default_delivery(spec, ns);
  } else if (kind.kind == "Subscription") {
    default_destination(spec, "subscriber", ns);
    default_destination(spec, "reply", ns);
    default_delivery(spec, ns);
  } else if (kind.group == "flows.knative.dev") {
    default_flow(spec, context, ns);
  } else if (kind.group == "sources.knative.dev") {
    default_destination(spec, "sink", ns);
    if (kind.kind == "PingSource") set_default(spec, "schedule", "* * * * *");
    if (kind.kind == "ContainerSource") default_container_source(object, spec);
    if (kind.kind == "SinkBinding") default_reference(child(spec, "subject"), ns);
  }
}

}  // namespace knit::schema
