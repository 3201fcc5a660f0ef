#include "controllers/eventing/common.h"

#include "kube/schema/schema.h"

namespace knit::eventing {

void follow(Conditions& conditions, const Follow& how, const Json& other) {
  const auto ready = find_condition(other, "Ready");
  if (!ready) {
    conditions.mark_unknown(how.type, how.unset_reason, how.unset_message);
  } else if (ready->is_true()) {
    conditions.mark_true(how.type);
  } else if (ready->is_false()) {
    conditions.mark_false(how.type, ready->reason, ready->message);
  } else {
    conditions.mark_unknown(how.type, ready->reason, ready->message);
  }
}

Json make_object(std::string_view api_version, std::string_view kind, const Key& key) {
  Json out = JsonObject();
  json::set(out, {"apiVersion"}, Json(api_version));
  json::set(out, {"kind"}, Json(kind));
  json::set(out, {"metadata", "name"}, Json(key.name));
  json::set(out, {"metadata", "namespace"}, Json(key.ns));
  return out;
}

std::optional<Key> key_of(const Json& reference, std::string_view default_namespace) {
  const auto* kind = schema::Registry::get().by_api_version(json::str(reference, {"apiVersion"}),
                                                            json::str(reference, {"kind"}));
  if (kind == nullptr) return std::nullopt;
  std::string ns(json::str(reference, {"namespace"}, default_namespace));
  if (ns.empty()) ns = default_namespace;
  if (!kind->namespaced) ns.clear();
  return Key{kind->resource, std::move(ns), std::string(json::str(reference, {"name"}))};
}

Json reference_to(const Json& object) {
  Json out = JsonObject();
  json::set(out, {"apiVersion"}, Json(json::str(object, {"apiVersion"})));
  json::set(out, {"kind"}, Json(json::str(object, {"kind"})));
  json::set(out, {"name"}, Json(name_of(object)));
  json::set(out, {"namespace"}, Json(namespace_of(object)));
  return out;
}

bool installed(const World& world) {
  for (const auto& object : world.list(res::knativeeventings(), kNamespace)) {
    if (object->deleting()) continue;
    const auto c = find_condition(object->parse(), "InstallSucceeded");
    if (c && c->is_true()) return true;
  }
  return false;
}

namespace {
std::vector<Key> keys_of(const World& world, Resource owns, std::string_view ns = {}) {
  std::vector<Key> keys;
  for (const auto& object : world.list(owns, ns)) keys.push_back(object->key());
  return keys;
}

/// What somebody who refers to an object sees of it.
Json outside(const Json& object) {
  JsonObject out;
  for (const auto field : {"address", "addresses", "observedGeneration", "annotations"}) {
    if (const Json* v = json::find(object, {"status", field})) out[field] = *v;
  }
  for (const auto& c : json::array(object, {"status", "conditions"})) {
    if (json::str(c, {"type"}) == "Ready") out["ready"] = c;
  }
  return out;
}
bool looks_different(const ObjectPtr& before, const ObjectPtr& after) {
  if (before == nullptr || after == nullptr || before->deleting() != after->deleting()) return true;
  if (after->key().resource == res::services()) return false;  // its name is its address
  return outside(before->parse()) != outside(after->parse());
}
}  // namespace

void replan_all(Planner& planner, std::initializer_list<Resource> changed) {
  const auto owns = planner.owns;
  for (const Resource resource : changed) {
    planner.triggers.push_back(
        {resource, [owns](const World& world, const ObjectPtr& before, const ObjectPtr& after) {
           auto keys = keys_of(world, owns);
           if (!keys.empty() && !looks_different(before, after)) keys.clear();
           return keys;
         }});
  }
  planner.triggers.push_back(reconcile::by_any(res::knativeeventings(), owns));
  for (const Resource resource : {res::configmaps(), res::endpoints()}) {
    planner.triggers.push_back(
        {resource, [owns](const World& world, const ObjectPtr& before, const ObjectPtr& after) {
           const bool ours = (after != nullptr ? after : before)->key().ns == kNamespace;
           return ours ? keys_of(world, owns) : std::vector<Key>();
         }});
  }
}

void replan_namespace(Planner& planner, std::initializer_list<Resource> changed) {
  for (const Resource resource : changed) {
    planner.triggers.push_back(
        {resource, [owns = planner.owns](const World& world, const ObjectPtr& before,
                                         const ObjectPtr& after) {
           return keys_of(world, owns, (after != nullptr ? after : before)->key().ns);
         }});
  }
}

std::optional<bool> endpoints_ready(const World& world, std::string_view name) {
  const Json endpoints = world.view({res::endpoints(), std::string(kNamespace), std::string(name)});
  if (endpoints.is_null()) return std::nullopt;
  for (const auto& subset : json::array(endpoints, {"subsets"})) {
    if (!json::array(subset, {"addresses"}).empty()) return true;
  }
  return false;
}

void no_event_policies(Conditions& conditions) {
  conditions.mark_true("EventPoliciesReady", "OIDCDisabled",
                       "Feature \"authentication-oidc\" must be enabled to support Authorization");
}
void no_oidc_identity(Conditions& conditions) {
  conditions.mark_true("OIDCIdentityCreated", "authentication-oidc feature disabled", "");
}

void put(Json& status, std::string_view field, Json value) {
  if (value.is_null()) {
    json::erase(status, {field});
  } else {
    json::set(status, {field}, std::move(value));
  }
}

}  // namespace knit::eventing
