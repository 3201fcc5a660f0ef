// Services: addresses for those that came without, and the `kubernetes` Service.
#pragma once

#include "controllers/core/settings.h"

namespace knit::controllers::core {

/// Completes Services that admission did not see (it normally does: service_admission.h).
reconcile::Planner service_planner(const CoreSettings& settings);
/// Keeps default/kubernetes: Service, Endpoints and EndpointSlice of the API server.
/// Source: kubernetes pkg/controlplane/controller/kubernetesservice/controller.go
reconcile::Planner kubernetes_service_planner(const CoreSettings& settings);

}  // namespace knit::controllers::core
