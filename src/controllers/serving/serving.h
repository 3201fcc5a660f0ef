// Knative Serving's controllers: planners for Services, Configurations, Revisions, Routes,
// PodAutoscalers, ServerlessServices, and net-istio's for Ingresses.
#pragma once

#include "controllers/serving/config.h"
#include "reconcile/driver.h"

namespace knit::autoscaler {
class Autoscaler;
struct Decision;
}  // namespace knit::autoscaler

namespace knit::serving {

struct ServingSettings {
  std::string cluster_domain = "cluster.local";
  /// Somebody answers Signal::Digest. Otherwise an image keeps its tag and the node resolves it.
  bool resolve_digests = false;
};

/// What all planners share. One loop.
struct Context {
  explicit Context(ServingSettings s) : settings(std::move(s)), configs(settings.cluster_domain) {}
  ServingSettings settings;
  ConfigStore configs;
  /// Specs of PodAutoscalers that have not changed since sync_autoscaler read them.
  struct CachedSpec;
  std::map<std::string, std::shared_ptr<CachedSpec>> specs;
};
using ContextPtr = std::shared_ptr<Context>;

void register_serving(reconcile::Driver& driver, ServingSettings settings);
/// The planners by themselves, for tests.
std::vector<reconcile::Planner> serving_planners(const ContextPtr& context);

// One file each.
reconcile::Planner service_planner(ContextPtr context);
reconcile::Planner configuration_planner(ContextPtr context);
reconcile::Planner gc_planner(ContextPtr context);
reconcile::Planner revision_planner(ContextPtr context);
reconcile::Planner route_planner(ContextPtr context);
reconcile::Planner labeler_planner(ContextPtr context);
reconcile::Planner pod_autoscaler_planner(ContextPtr context);
reconcile::Planner metric_planner(ContextPtr context);
reconcile::Planner sks_planner(ContextPtr context);
reconcile::Planner ingress_planner(ContextPtr context);

/// Tells the autoscaler which revisions there are, with their specs and ready pods. Call it before
/// each tick and before a demand for a revision that it does not know.
void sync_autoscaler(autoscaler::Autoscaler& autoscaler, const World& world, Context& context,
                     Instant now);
/// The value of Signal::Decision.
Json decision_signal(const autoscaler::Decision& decision);
/// "namespace/name" → the key of its PodAutoscaler (Signal::Decision, Signal::Activator).
Key pod_autoscaler_key(std::string_view revision);

// Triggers that several planners use.
/// KnativeServing and the ConfigMaps of knative-serving concern every key of `owns`.
void add_config_triggers(reconcile::Planner& planner);

}  // namespace knit::serving
