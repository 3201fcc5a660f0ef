// Pods that were made before their namespace joined a mesh, or that it has left since.
#pragma once

#include "reconcile/plan.h"

namespace knit::controllers::core {

/// Replaces a ReplicaSet's pod whose sidecar is not what admission would decide now, so that the
/// order in which mesh, members and workloads are applied does not matter. Pods of nobody stay as
/// they are, as upstream's all do.
/// DIFFERS: Maistra and Istio leave running pods alone until somebody restarts them.
reconcile::Planner reinjection_planner();

}  // namespace knit::controllers::core
