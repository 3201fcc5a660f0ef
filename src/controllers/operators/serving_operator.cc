#include "controllers/operators/serving_operator.h"

#include "controllers/operators/installation.h"
#include "controllers/operators/serving_manifest.h"

namespace knit::controllers::operators {
using reconcile::Planner;

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
  Installation what;
  what.name = "knativeserving";
  what.resource = res::knativeservings();
  what.ns = kServingNamespace;
  what.finalizer = "knativeservings.operator.knative.dev";
  what.version = kServingVersion;
  what.part_of = "knative-serving";
  what.manifest = [settings](const World& world, const Json& serving,
                             std::vector<std::string>* notes) {
    return serving_manifest(world, serving, settings, notes);
  };
  what.refusal = refusal_of;
  return installation_planner(std::move(what));
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
