#include "controllers/mesh/objects.h"

namespace knit::mesh {

JsonObject to_json(const Labels& labels) {
  JsonObject out;
  for (const auto& [k, v] : labels) out[k] = v;
  return out;
}

std::string text(const Json& j, json::Path path) { return std::string(json::str(j, path)); }

Key key_of(kube::Resource resource, std::string ns, std::string name) {
  return Key{resource, std::move(ns), std::move(name)};
}

JsonObject object(std::string_view api_version, std::string_view kind, const Meta& meta) {
  JsonObject metadata{{"name", meta.name}};
  if (!meta.ns.empty()) metadata["namespace"] = meta.ns;
  if (!meta.labels.empty()) metadata["labels"] = to_json(meta.labels);
  if (!meta.annotations.empty()) metadata["annotations"] = to_json(meta.annotations);
  if (meta.owner != nullptr) {
    metadata["ownerReferences"] = JsonArray{JsonObject{
        {"apiVersion", text(*meta.owner, {"apiVersion"})},
        {"kind", text(*meta.owner, {"kind"})},
        {"name", text(*meta.owner, {"metadata", "name"})},
        {"uid", text(*meta.owner, {"metadata", "uid"})},
        {"controller", true},
        {"blockOwnerDeletion", true},
    }};
  }
  return {{"apiVersion", api_version}, {"kind", kind}, {"metadata", std::move(metadata)}};
}

JsonArray conditions(const Json& before, const std::vector<ConditionValue>& values, WallTime now) {
  JsonArray out;
  for (const auto& v : values) {
    std::string since = rfc3339(now);
    for (const Json& old : json::array(before, {"status", "conditions"})) {
      if (json::str(old, {"type"}) == v.type && json::str(old, {"status"}) == v.status) {
        since = std::string(json::str(old, {"lastTransitionTime"}, since));
      }
    }
    out.push_back(JsonObject{{"type", v.type},
                             {"status", v.status},
                             {"reason", v.reason},
                             {"message", v.message},
                             {"lastTransitionTime", since}});
  }
  return out;
}

std::string_view condition_status(const Json& object, std::string_view type) {
  for (const Json& c : json::array(object, {"status", "conditions"})) {
    if (json::str(c, {"type"}) == type) return json::str(c, {"status"});
  }
  return {};
}

void remove_owned(Plan& plan, const World& world, const Key& key, std::string_view owner_uid) {
  const ObjectPtr found = world.get(key);
  if (found == nullptr || found->deleting()) return;
  const auto* controller = found->controller();
  if (controller != nullptr && controller->uid == owner_uid) plan.remove(found);
}

}  // namespace knit::mesh
