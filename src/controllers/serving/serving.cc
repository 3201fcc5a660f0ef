#include "controllers/serving/serving.h"

namespace knit::serving {

void add_config_triggers(reconcile::Planner& planner) {
  const auto owns = planner.owns;
  const auto every = [owns](const World& world, const ObjectPtr& before, const ObjectPtr& after) {
    std::vector<Key> keys;
    const Key& changed = (after != nullptr ? after : before)->key();
    if (changed.ns != kSystemNamespace) return keys;
    if (changed.resource == res::configmaps() && changed.name.rfind("config-", 0) != 0) {
      return keys;
    }
    for (const auto& object : world.list(owns)) keys.push_back(object->key());
    return keys;
  };
  planner.triggers.push_back({res::configmaps(), every});
  planner.triggers.push_back({res::knativeservings(), every});
}

std::vector<reconcile::Planner> serving_planners(const ContextPtr& context) {
  return {service_planner(context),        configuration_planner(context), gc_planner(context),
          revision_planner(context),       route_planner(context),         labeler_planner(context),
          pod_autoscaler_planner(context), metric_planner(context),        sks_planner(context),
          ingress_planner(context)};
}

void register_serving(reconcile::Driver& driver, ServingSettings settings) {
  const auto context = std::make_shared<Context>(std::move(settings));
  for (auto& planner : serving_planners(context)) driver.add(std::move(planner));
}

}  // namespace knit::serving
