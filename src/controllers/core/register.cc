#include "controllers/core/register.h"

#include "controllers/core/collector.h"
#include "controllers/core/housekeeping.h"
#include "controllers/core/namespaces.h"
#include "controllers/core/services/endpoints.h"
#include "controllers/core/services/service.h"
#include "controllers/core/workloads/deployment.h"
#include "controllers/core/workloads/reinjection.h"
#include "controllers/core/workloads/replicaset.h"
#include "controllers/core/workloads/scheduler.h"

namespace knit::controllers::core {

void register_core(reconcile::Driver& driver, const CoreSettings& settings) {
  driver.add(namespace_planner(settings));
  driver.add(kubernetes_service_planner(settings));
  driver.add(service_planner(settings));
  driver.add(deployment_planner(settings));
  driver.add(replicaset_planner(settings));
  driver.add(reinjection_planner());
  driver.add(scheduler_planner());
  driver.add(endpoints_planner());
  driver.add(endpointslice_mirroring_planner());
  driver.add(collector_planner());
  driver.add(event_ttl_planner(settings));
  driver.add(pod_gc_planner(settings));
  driver.add(node_lifecycle_planner(settings));
}

Result<void> admit_core(const World& world, const Key& key, Json& object, const Json* before,
                        const CoreSettings& settings) {
  if (key.resource == res::pods()) {
    return before == nullptr ? admit_pod(world, object, settings.pods) : Result<void>();
  }
  if (key.resource == res::services()) {
    return admit_service(world, object, before, settings.ranges);
  }
  return {};
}

}  // namespace knit::controllers::core
