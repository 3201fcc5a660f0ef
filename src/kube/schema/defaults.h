// Defaulting, one function per family. Internal to kube/schema.
#pragma once

#include "kube/schema/schema.h"

namespace knit::schema {

/// Sets `key` unless it is there.
template <class T>
void set_default(JsonObject& object, std::string_view key, T value) {
  if (!object.contains(key)) object[key] = Json(std::move(value));
}
/// The object under `key`, or nullptr.
inline JsonObject* child(JsonObject& object, std::string_view key) {
  Json* v = object.if_contains(key);
  return v == nullptr ? nullptr : v->if_object();
}
inline JsonArray* children(JsonObject& object, std::string_view key) {
  Json* v = object.if_contains(key);
  return v == nullptr ? nullptr : v->if_array();
}
/// The object under `key`, made when absent or of another type. References into `object` stay valid
/// when the key is there (operator[] may move everything even then).
inline JsonObject& need(JsonObject& object, std::string_view key) {
  Json* v = object.if_contains(key);
  if (v == nullptr) v = &object[key];
  if (!v->is_object()) *v = JsonObject();
  return v->get_object();
}

/// Of a core v1 PodSpec (pods and templates). Source: kubernetes pkg/apis/core/v1/defaults.go
void default_pod_spec(JsonObject& spec);
void default_pod(JsonObject& pod, const Context& context);
/// "Guaranteed", "Burstable" or "BestEffort". Source: kubernetes pkg/apis/core/v1/helper/qos
std::string_view qos_class(const Json& pod);
/// Knative's kinds. Source: knative/serving pkg/apis/serving/v1/*_defaults.go
void default_knative(const Kind& kind, JsonObject& object, const Context& context);
/// Eventing's kinds, with the ConfigMaps of its namespace as context.knative_config.
void default_eventing(const Kind& kind, JsonObject& object, const Context& context);
/// ServiceMeshControlPlane, Route.
void default_mesh(const Kind& kind, JsonObject& object, const Context& context);

}  // namespace knit::schema
