// Binds pods to the node.
#pragma once

#include "controllers/core/settings.h"

namespace knit::controllers::core {

/// One machine, so one node: the first ready one that the pod fits (node name and selector, taints,
/// cpu, memory, number of pods). Otherwise PodScheduled=False, reason Unschedulable, in upstream's
/// words; planned again when nodes change or a pod ends.
/// Source: kubernetes pkg/scheduler/framework/types.go (FitError), plugins/{noderesources,
/// nodeaffinity,tainttoleration}
reconcile::Planner scheduler_planner();

/// Why `pod` does not fit `node` ("Insufficient cpu"); empty when it does.
std::vector<std::string> misfits(const World& world, const Json& pod, const Json& node);

}  // namespace knit::controllers::core
