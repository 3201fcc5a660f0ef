// Endpoints and EndpointSlices of Services.
#pragma once

#include "controllers/core/settings.h"

namespace knit::controllers::core {

/// Selector Services → Endpoints and EndpointSlices.
/// Source: kubernetes pkg/controller/endpoint/endpoints_controller.go,
/// pkg/controller/endpointslice/reconciler.go
reconcile::Planner endpoints_planner();

/// Endpoints that somebody else writes for a Service without selector → EndpointSlices.
/// Source: kubernetes pkg/controller/endpointslicemirroring/
reconcile::Planner endpointslice_mirroring_planner();

}  // namespace knit::controllers::core
