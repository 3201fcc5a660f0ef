// KnativeEventing.
#pragma once

#include "controllers/operators/settings.h"

namespace knit::controllers::operators {

/// Installs Eventing's objects when the resource is applied and takes them away when it is deleted.
/// Source: knative/operator pkg/reconciler/knativeeventing/knativeeventing.go,
/// openshift-knative/serverless-operator openshift-knative-operator/pkg/eventing/extension.go
reconcile::Planner knative_eventing_planner(const OperatorSettings& settings);

/// Why this KnativeEventing cannot be installed, or "".
std::string eventing_refusal(const Json& eventing);

}  // namespace knit::controllers::operators
