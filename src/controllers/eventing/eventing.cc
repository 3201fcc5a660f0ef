#include "controllers/eventing/eventing.h"

namespace knit::eventing {

std::vector<Planner> eventing_planners(const EventingSettings& s) {
  return {broker_planner(s),
          trigger_planner(s),
          channel_planner(s),
          in_memory_channel_planner(s),
          subscription_planner(s),
          sequence_planner(s),
          parallel_planner(s),
          ping_source_planner(s),
          container_source_planner(s),
          sink_binding_planner(s),
          event_type_planner(s),
          event_policy_planner(s),
          sugar_planner(),
          channel_rules_planner(s)};
}

void register_eventing(reconcile::Driver& driver, EventingSettings settings) {
  for (auto& planner : eventing_planners(settings)) driver.add(std::move(planner));
}

}  // namespace knit::eventing
