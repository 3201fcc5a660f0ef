// Deployment → ReplicaSets.
#pragma once

#include "controllers/core/settings.h"

namespace knit::controllers::core {

/// Source: kubernetes pkg/controller/deployment/{deployment_controller,sync,rolling,recreate,
/// progress}.go, util/deployment_util.go
reconcile::Planner deployment_planner(const CoreSettings& settings);

/// The label pod-template-hash of a pod template: equal templates give equal hashes.
/// DIFFERS: upstream hashes Go's memory dump of the struct; nothing depends on the value.
std::string template_hash(const Json& pod_template, std::int64_t collisions);

}  // namespace knit::controllers::core
