#include "controllers/operators/installation.h"

#include <algorithm>

#include "kube/roles.h"

namespace knit::controllers::operators {
namespace {
using reconcile::Planner;

bool has_finalizer(const Json& object, std::string_view finalizer) {
  const auto& list = json::array(object, {"metadata", "finalizers"});
  return std::any_of(list.begin(), list.end(), [&](const Json& f) { return f == Json(finalizer); });
}

void set_finalizers(Plan& plan, const Key& key, JsonArray finalizers) {
  JsonObject metadata{{"finalizers", finalizers.empty() ? Json() : Json(std::move(finalizers))}};
  plan.merge(key, JsonObject{{"metadata", std::move(metadata)}});
}

// Only one installation exists (its namespace is fixed), so what carries these names is its.
Plan plan_removal(const World& world, const Key& key, const Json& resource,
                  const Installation& what) {
  Plan plan;
  if (!has_finalizer(resource, what.finalizer)) return plan;
  if (key.ns == what.ns) {
    std::vector<std::string> notes;
    for (const auto& [child, item] : what.manifest(world, resource, &notes)) {
      const auto object = world.get(child);
      if (object != nullptr && !object->deleting()) plan.remove(object);
    }
  }
  JsonArray left;
  for (const auto& f : json::array(resource, {"metadata", "finalizers"})) {
    if (f != Json(what.finalizer)) left.push_back(f);
  }
  set_finalizers(plan, key, std::move(left));
  return plan;
}

// What an earlier spec made and this one does not want any more.
void remove_unwanted(Plan& plan, const World& world, const Key& key, const std::string& uid,
                     const Manifest& manifest) {
  for (const Resource resource :
       {res::deployments(), res::services(), res::networkpolicies(), res::poddisruptionbudgets(),
        res::peerauthentications(), res::configmaps()}) {
    for (const auto& object : world.owned(resource, key.ns, uid)) {
      if (!object->deleting() && !manifest.contains(object->key())) plan.remove(object);
    }
  }
}

void mark_deployments(Conditions& conditions, const World& world, const Manifest& manifest) {
  std::string names, missing;
  for (const auto& name : waiting_for(world, manifest)) {
    names += (names.empty() ? "" : ", ") + name;
    if (!kube::plays_role(name)) missing += (missing.empty() ? "" : ", ") + name;
  }
  if (names.empty()) return conditions.yes("DeploymentsAvailable");
  std::string message = "Waiting on deployments: " + names;
  if (!missing.empty()) {
    message += ". This version of Knit does not play " + missing +
               " yet: no event is accepted or delivered";
  }
  conditions.no("DeploymentsAvailable", missing.empty() ? "NotReady" : "RoleNotBuiltIn",
                std::move(message));
}

Plan plan_installation(const World& world, const Key& key, const Installation& what) {
  Plan plan;
  const auto object = world.get(key);
  if (object == nullptr) return plan;
  const Json resource = object->parse();
  if (object->deleting()) return plan_removal(world, key, resource, what);

  const std::string component = what.name + "-controller";
  Conditions conditions(resource);
  const auto finish = [&](std::string_view version) {
    plan.status(key, conditions.status({"DependenciesInstalled", "InstallSucceeded",
                                        "DeploymentsAvailable", "VersionMigrationEligible"},
                                       version, world.wall_now()));
  };
  if (const std::string why = what.refusal(resource); !why.empty()) {
    conditions.yes("DependenciesInstalled");
    conditions.no("InstallSucceeded", "Error", "Install failed with message: " + why);
    conditions.unknown("DeploymentsAvailable", "", "");
    conditions.yes("VersionMigrationEligible");
    plan.event(key, "Warning", "InternalError", why, component);
    finish("");
    return plan;
  }
  const auto version = json::str(resource, {"spec", "version"});
  if (!version.empty() && version != "latest" && version != what.version) {
    const std::string why = "spec.version: \"" + std::string(version) +
                            "\" is not available; Knit is compatible with " +
                            std::string(what.version) + ": remove the field";
    conditions.yes("DependenciesInstalled");
    conditions.no("VersionMigrationEligible", "Error",
                  "Version migration is not eligible with message: " + why);
    finish("");
    return plan;
  }

  if (!has_finalizer(resource, what.finalizer)) {
    JsonArray finalizers = json::array(resource, {"metadata", "finalizers"});
    finalizers.push_back(Json(what.finalizer));
    set_finalizers(plan, key, std::move(finalizers));
  }
  std::vector<std::string> notes;
  const Manifest manifest = what.manifest(world, resource, &notes);
  ensure_manifest(plan, world, resource, manifest);
  remove_unwanted(plan, world, key, object->uid(), manifest);
  for (const auto& note : notes) plan.event(key, "Warning", "NoSuchName", note, component);

  conditions.yes("DependenciesInstalled");
  conditions.yes("VersionMigrationEligible");
  conditions.yes("InstallSucceeded");
  mark_deployments(conditions, world, manifest);
  finish(what.version);
  return plan;
}

}  // namespace

Planner installation_planner(Installation installation) {
  Planner p;
  p.name = installation.name;
  p.owns = installation.resource;
  for (const Resource child :
       {res::deployments(), res::services(), res::configmaps(), res::serviceaccounts(),
        res::networkpolicies(), res::poddisruptionbudgets(), res::peerauthentications(),
        res::roles(), res::rolebindings(), res::images()}) {
    p.triggers.push_back(reconcile::by_owner(child, p.owns));
  }
  p.triggers.push_back(reconcile::by_any(res::oingresses(), p.owns));
  const auto cluster_scoped = [owns = p.owns, part_of = installation.part_of](
                                  const World& world, const ObjectPtr& before,
                                  const ObjectPtr& after) {
    const auto& object = after ? after : before;
    std::vector<Key> keys;
    if (object->label("app.kubernetes.io/name") != part_of) return keys;
    for (const auto& resource : world.list(owns)) keys.push_back(resource->key());
    return keys;
  };
  p.triggers.push_back({res::clusterroles(), cluster_scoped});
  p.triggers.push_back({res::clusterrolebindings(), cluster_scoped});
  p.plan = [what = std::move(installation)](const World& world, const Key& key, Instant) {
    return plan_installation(world, key, what);
  };
  return p;
}

}  // namespace knit::controllers::operators
