// ReplicaSet → Pods.
#pragma once

#include "controllers/core/settings.h"

namespace knit::controllers::core {

/// Source: kubernetes pkg/controller/replicaset/replica_set.go, controller_utils.go
reconcile::Planner replicaset_planner(const CoreSettings& settings);

/// Orders pods so that the first are deleted first.
/// Source: controller_utils.go ActivePodsWithRanks.Less
bool deleted_before(const Json& a, const Json& b);

/// `<owner>-<5 characters>`, the same for the same (owner uid, epoch, ordinal).
std::string pod_name(const kube::Object& owner, std::int64_t epoch, std::int64_t ordinal);

}  // namespace knit::controllers::core
