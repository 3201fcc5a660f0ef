// What goes by itself with time: Events, ended pods, pods of lost nodes; and a silent node.
#pragma once

#include "controllers/core/settings.h"

namespace knit::controllers::core {

/// Events are removed `event_ttl` after they were last seen (the API server's --event-ttl, 1 h).
reconcile::Planner event_ttl_planner(const CoreSettings& settings);

/// Ended pods beyond `ended_pods_kept` (oldest first), pods bound to a node that is not there for
/// 40 s, and pods that were deleted before they were bound.
/// Source: kubernetes pkg/controller/podgc/gc_controller.go
reconcile::Planner pod_gc_planner(const CoreSettings& settings);

/// Ready becomes Unknown when the node's Lease is older than `lease_timeout`.
/// Source: kubernetes pkg/controller/nodelifecycle/node_lifecycle_controller.go
reconcile::Planner node_lifecycle_planner(const CoreSettings& settings);

}  // namespace knit::controllers::core
