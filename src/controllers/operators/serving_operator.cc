#include "controllers/operators/serving_operator.h"

#include <algorithm>

#include "controllers/operators/serving_manifest.h"

namespace knit::controllers::operators {
namespace {
using reconcile::Planner;
constexpr std::string_view kFinalizer = "knativeservings.operator.knative.dev";
constexpr std::string_view kComponent = "knativeserving-controller";

bool has_finalizer(const Json& object) {
  const auto& list = json::array(object, {"metadata", "finalizers"});
  return std::any_of(list.begin(), list.end(), [](const Json& f) { return f == Json(kFinalizer); });
}

void set_finalizers(Plan& plan, const Key& key, JsonArray finalizers) {
  JsonObject metadata{{"finalizers", finalizers.empty() ? Json() : Json(std::move(finalizers))}};
  plan.merge(key, JsonObject{{"metadata", std::move(metadata)}});
}

// Only one installation exists (its namespace is fixed), so what carries these names is its.
Plan plan_removal(const World& world, const Key& key, const Json& serving,
                  const OperatorSettings& settings) {
  Plan plan;
  if (!has_finalizer(serving)) return plan;
  if (key.ns == kServingNamespace) {
    std::vector<std::string> notes;
    for (const auto& [child, item] : serving_manifest(world, serving, settings, &notes)) {
      const auto object = world.get(child);
      if (object != nullptr && !object->deleting()) plan.remove(object);
    }
  }
  JsonArray left;
  for (const auto& f : json::array(serving, {"metadata", "finalizers"})) {
    if (f != Json(kFinalizer)) left.push_back(f);
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

Plan plan_serving(const World& world, const Key& key, const OperatorSettings& settings) {
  Plan plan;
  const auto object = world.get(key);
  if (object == nullptr) return plan;
  const Json serving = object->parse();
  if (object->deleting()) return plan_removal(world, key, serving, settings);

  Conditions conditions(serving);
  const auto finish = [&](std::string_view version) {
    plan.status(key, conditions.status({"DependenciesInstalled", "InstallSucceeded",
                                        "DeploymentsAvailable", "VersionMigrationEligible"},
                                       version, world.wall_now()));
  };
  if (const std::string why = refusal_of(serving); !why.empty()) {
    conditions.yes("DependenciesInstalled");
    conditions.no("InstallSucceeded", "Error", "Install failed with message: " + why);
    conditions.unknown("DeploymentsAvailable", "", "");
    conditions.yes("VersionMigrationEligible");
    plan.event(key, "Warning", "InternalError", why, std::string(kComponent));
    finish("");
    return plan;
  }
  const auto version = json::str(serving, {"spec", "version"});
  if (!version.empty() && version != "latest" && version != kServingVersion) {
    const std::string why = "spec.version: \"" + std::string(version) +
                            "\" is not available; Knit is compatible with " +
                            std::string(kServingVersion) + ": remove the field";
    conditions.yes("DependenciesInstalled");
    conditions.no("VersionMigrationEligible", "Error",
                  "Version migration is not eligible with message: " + why);
    finish("");
    return plan;
  }

  if (!has_finalizer(serving)) {
    JsonArray finalizers = json::array(serving, {"metadata", "finalizers"});
    finalizers.push_back(Json(kFinalizer));
    set_finalizers(plan, key, std::move(finalizers));
  }
  std::vector<std::string> notes;
  const Manifest manifest = serving_manifest(world, serving, settings, &notes);
  ensure_manifest(plan, world, serving, manifest);
  remove_unwanted(plan, world, key, object->uid(), manifest);
  for (const auto& note : notes) {
    plan.event(key, "Warning", "NoSuchName", note, std::string(kComponent));
  }

  conditions.yes("DependenciesInstalled");
  conditions.yes("VersionMigrationEligible");
  conditions.yes("InstallSucceeded");
  const auto waiting = waiting_for(world, manifest);
  if (waiting.empty()) {
    conditions.yes("DeploymentsAvailable");
  } else {
    std::string names;
    for (const auto& name : waiting) names += (names.empty() ? "" : ", ") + name;
    conditions.no("DeploymentsAvailable", "NotReady", "Waiting on deployments: " + names);
  }
  finish(kServingVersion);
  return plan;
}

}  // namespace

std::string refusal_of(const Json& serving) {
  if (json::str(serving, {"metadata", "namespace"}) != kServingNamespace) {
    return "Knative Serving must be installed into the namespace \"" +
           std::string(kServingNamespace) + "\"";
  }
  for (const auto provider : {"kourier", "contour", "gateway-api"}) {
    if (json::boolean(serving, {"spec", "ingress", provider, "enabled"})) {
      return "spec.ingress." + std::string(provider) +
             ".enabled: this ingress is not built into Knit; set spec.ingress.istio.enabled: true "
             "instead";
    }
  }
  if (!json::boolean(serving, {"spec", "ingress", "istio", "enabled"})) {
    return "spec.ingress.istio.enabled is not true: the default ingress Kourier is not built into "
           "Knit; set it to true";
  }
  for (const auto field : {"manifests", "additionalManifests"}) {
    if (!json::array(serving, {"spec", field}).empty()) {
      return "spec." + std::string(field) +
             ": manifests from elsewhere are not supported; remove the field";
    }
  }
  if (json::boolean(serving, {"spec", "security", "securityGuard", "enabled"})) {
    return "spec.security.securityGuard.enabled: not built into Knit; remove it";
  }
  return {};
}

Planner knative_serving_planner(const OperatorSettings& settings) {
  Planner p;
  p.name = "knative-serving";
  p.owns = res::knativeservings();
  p.plan = [settings](const World& world, const Key& key, Instant) {
    return plan_serving(world, key, settings);
  };
  for (const Resource child :
       {res::deployments(), res::services(), res::configmaps(), res::serviceaccounts(),
        res::networkpolicies(), res::poddisruptionbudgets(), res::peerauthentications(),
        res::roles(), res::rolebindings(), res::images()}) {
    p.triggers.push_back(reconcile::by_owner(child, res::knativeservings()));
  }
  p.triggers.push_back(reconcile::by_any(res::oingresses(), res::knativeservings()));
  const auto cluster_scoped = [](const World& world, const ObjectPtr& before,
                                 const ObjectPtr& after) {
    const auto& object = after ? after : before;
    std::vector<Key> keys;
    if (object->label("app.kubernetes.io/name") != "knative-serving") return keys;
    for (const auto& serving : world.list(res::knativeservings())) keys.push_back(serving->key());
    return keys;
  };
  p.triggers.push_back({res::clusterroles(), cluster_scoped});
  p.triggers.push_back({res::clusterrolebindings(), cluster_scoped});
  return p;
}

Planner not_supported_planner(std::string name, Resource resource, std::string sentence) {
  Planner p;
  p.name = std::move(name);
  p.owns = resource;
  p.plan = [sentence](const World& world, const Key& key, Instant) {
    Plan plan;
    const Json object = world.view(key);
    if (object.is_null() || controllers::core::deleting(object)) return plan;
    Conditions conditions(object);
    conditions.no("InstallSucceeded", "NotSupportedYet", sentence);
    plan.status(key, conditions.status({"InstallSucceeded"}, "", world.wall_now()));
    plan.event(key, "Warning", "NotSupportedYet", sentence, "knit");
    return plan;
  };
  return p;
}

}  // namespace knit::controllers::operators
