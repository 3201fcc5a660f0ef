// Knative Eventing's controllers: planners for Brokers, Triggers, channels, Subscriptions, flows,
// sources, EventTypes and EventPolicies.
#pragma once

#include "controllers/eventing/common.h"

namespace knit::eventing {

struct EventingSettings {
  std::string cluster_domain = "cluster.local";
};

void register_eventing(reconcile::Driver& driver, EventingSettings settings);
/// The planners by themselves, for tests.
std::vector<Planner> eventing_planners(const EventingSettings& settings);

// One file each.
Planner broker_planner(EventingSettings settings);
Planner trigger_planner(EventingSettings settings);
Planner channel_planner(EventingSettings settings);
Planner in_memory_channel_planner(EventingSettings settings);
Planner subscription_planner(EventingSettings settings);
Planner sequence_planner(EventingSettings settings);
Planner parallel_planner(EventingSettings settings);
Planner ping_source_planner(EventingSettings settings);
Planner container_source_planner(EventingSettings settings);
Planner sink_binding_planner(EventingSettings settings);
Planner event_type_planner(EventingSettings settings);
Planner event_policy_planner(EventingSettings settings);
Planner sugar_planner();
/// DestinationRules of channel Services while feature `istio` is enabled.
Planner channel_rules_planner(EventingSettings settings);

/// spec.subscribers of a channel: every Subscription that names it (or the Channel that it backs)
/// and whose references resolve.
JsonArray wanted_subscribers(const World& world, const Json& channel,
                             const EventingSettings& settings);
/// The name of the EventType that is made for a type and source that arrived at `reference`.
std::string event_type_name(std::string_view type, std::string_view source, std::string_view ns,
                            std::string_view reference);
/// Sets K_SINK, K_CE_OVERRIDES and K_CA_CERTS (none when empty) in every container and init
/// container of a PodSpecable. True when something changed.
bool bind_sink(Json& pod_specable, std::string_view sink, const Json& ce_overrides,
               std::string_view ca_certs);
/// Injects what the SinkBindings of the object's namespace say into an object that is written (a
/// mutating admission step). True when something changed.
bool admit_sink_bindings(const World& world, const Key& key, Json& object);

}  // namespace knit::eventing
