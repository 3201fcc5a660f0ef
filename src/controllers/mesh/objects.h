// Small helpers to write objects and conditions.
#pragma once

#include "mesh_model/views.h"
#include "reconcile/plan.h"

namespace knit::mesh {

using kube::Key;
using kube::ObjectPtr;
using mesh_model::Labels;
using reconcile::Plan;
using reconcile::World;

JsonObject to_json(const Labels& labels);
std::string text(const Json& j, json::Path path);
/// Key with a namespaced name.
Key key_of(kube::Resource resource, std::string ns, std::string name);

struct Meta {
  std::string ns, name;
  Labels labels, annotations;
  const Json* owner = nullptr;  // becomes the controller
};
/// {"apiVersion", "kind", "metadata"}
JsonObject object(std::string_view api_version, std::string_view kind, const Meta& meta);

struct ConditionValue {
  std::string type;
  std::string status;  // "True", "False", "Unknown"
  std::string reason, message;
};
/// status.conditions with the old lastTransitionTime where the status is unchanged.
JsonArray conditions(const Json& before, const std::vector<ConditionValue>& values, WallTime now);
/// The status of a condition of `object`: "True", …; empty when absent.
std::string_view condition_status(const Json& object, std::string_view type);

/// Removes `key` if it exists and its controller is `owner_uid`.
void remove_owned(Plan& plan, const World& world, const Key& key, std::string_view owner_uid);

}  // namespace knit::mesh
