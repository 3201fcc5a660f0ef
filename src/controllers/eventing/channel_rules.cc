// eventing-istio-controller: a DestinationRule for each channel's ExternalName Service.
// Source: knative-extensions/eventing-istio pkg/reconciler/channel
#include "controllers/eventing/config.h"
#include "controllers/eventing/eventing.h"

namespace knit::eventing {
namespace {
constexpr std::string_view kManagedBy = "app.kubernetes.io/managed-by";
constexpr std::string_view kManager = "knative-eventing-istio-controller";

Plan plan_rule(const World& world, const Key& key, const EventingSettings& settings) {
  Plan plan;
  const Key rule{res::destinationrules(), key.ns, key.name};
  const auto existing = world.get(rule);
  const bool ours = existing != nullptr && existing->label(kManagedBy) == kManager;
  const auto object = world.get(key);
  const Json service = object != nullptr ? object->parse() : Json();
  const auto role =
      object != nullptr ? object->label("messaging.knative.dev/role") : std::string_view();
  const bool wanted = object != nullptr && !object->deleting() && installed(world) &&
                      feature(world, "istio") &&
                      json::str(service, {"spec", "type"}) == "ExternalName" &&
                      (role == "in-memory-channel" || role == "kafka-channel");
  if (!wanted) {
    if (ours && !existing->deleting()) plan.remove(existing);
    return plan;
  }
  if (existing != nullptr && !ours) return plan;  // somebody's own rule for this host
  Json want = make_object("networking.istio.io/v1beta1", "DestinationRule", rule);
  json::set(want, {"metadata", "labels", kManagedBy}, Json(kManager));
  json::set(want, {"metadata", "ownerReferences"}, serving::controller_ref(service));
  json::set(want, {"spec", "host"},
            Json(key.name + "." + key.ns + ".svc." + settings.cluster_domain));
  json::set(want, {"spec", "trafficPolicy", "tls", "mode"}, Json("ISTIO_MUTUAL"));
  plan.ensure(world, rule, want);
  return plan;
}

}  // namespace

Planner channel_rules_planner(EventingSettings settings) {
  Planner planner;
  planner.name = "eventing-istio";
  planner.owns = res::services();
  planner.plan = [settings](const World& world, const Key& key, Instant) {
    return plan_rule(world, key, settings);
  };
  // A rule that was changed or taken away, and the switch itself.
  planner.triggers.push_back(
      {res::destinationrules(), [](const World&, const ObjectPtr& before, const ObjectPtr& after) {
         const auto& rule = after != nullptr ? after : before;
         if (rule->label(kManagedBy) != kManager) return std::vector<Key>();
         return std::vector<Key>{{res::services(), rule->key().ns, rule->key().name}};
       }});
  const auto channels = [](const World& world, const ObjectPtr& before, const ObjectPtr& after) {
    std::vector<Key> keys;
    const Key& changed = (after != nullptr ? after : before)->key();
    if (changed.ns != kNamespace) return keys;
    if (changed.resource == res::configmaps() && changed.name != "config-features") return keys;
    for (const auto& object : world.list(res::services())) {
      if (!object->label("messaging.knative.dev/role").empty()) keys.push_back(object->key());
    }
    return keys;
  };
  planner.triggers.push_back({res::configmaps(), channels});
  planner.triggers.push_back({res::knativeeventings(), channels});
  return planner;
}

}  // namespace knit::eventing
