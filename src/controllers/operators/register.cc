#include "controllers/operators/register.h"

#include "controllers/operators/bootstrap.h"
#include "controllers/operators/eventing_operator.h"
#include "controllers/operators/serving_operator.h"

namespace knit::controllers::operators {

void register_operators(reconcile::Driver& driver, const OperatorSettings& settings) {
  driver.add(system_namespaces_planner());
  driver.add(cluster_ingress_planner(settings));
  driver.add(router_service_planner(settings));
  driver.add(knative_serving_planner(settings));
  driver.add(knative_eventing_planner(settings));
  driver.add(not_supported_planner(
      "knative-kafka", res::knativekafkas(),
      "Knative for Apache Kafka is not built into this version of Knit: the resource is stored and "
      "nothing is installed"));
}

}  // namespace knit::controllers::operators
