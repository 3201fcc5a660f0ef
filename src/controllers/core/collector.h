// Owner references: what is deleted with its owners.
#pragma once

#include "controllers/core/settings.h"

namespace knit::controllers::core {

/// Background (dependents go after their last owner), Foreground (finalizer foregroundDeletion:
/// the owner waits for dependents with blockOwnerDeletion) and Orphan (finalizer orphan: the
/// references are taken out first).
/// Source: kubernetes pkg/controller/garbagecollector/garbagecollector.go
reconcile::Planner collector_planner();

}  // namespace knit::controllers::core
