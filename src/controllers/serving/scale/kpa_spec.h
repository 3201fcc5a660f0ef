// What a PodAutoscaler's annotations and config-autoscaler say, as values of autoscaler/.
// Source: knative/serving pkg/reconciler/autoscaling/kpa/resources/decider.go,
// pkg/reconciler/autoscaling/resources/{metric,target}.go
#pragma once

#include "autoscaler/kpa.h"
#include "autoscaler/scale.h"
#include "controllers/serving/config.h"

namespace knit::serving {

autoscaler::Spec kpa_spec(const Json& pa, const ServingConfig& config);
autoscaler::Bounds pa_bounds(const Json& pa, const AutoscalerConfig& config);
Duration stable_window(const StringMap& annotations, const AutoscalerConfig& config);
Duration pod_retention(const StringMap& annotations, const AutoscalerConfig& config);
std::string scaler_class(const Json& pa);

struct PodCounts {
  int ready = 0, not_ready = 0, pending = 0, terminating = 0;
};
/// Of a revision's pods.
PodCounts count_pods(const World& world, std::string_view ns, std::string_view revision);

}  // namespace knit::serving
