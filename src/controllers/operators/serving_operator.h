// KnativeServing; and KnativeKafka, which is not built yet.
#pragma once

#include "controllers/operators/settings.h"

namespace knit::controllers::operators {

/// Installs Serving when the resource is applied and takes it away when it is deleted (finalizer).
/// What cannot be installed is told in InstallSucceeded and Ready, and nothing is made.
/// Source: knative/operator pkg/reconciler/knativeserving/knativeserving.go,
/// openshift-knative/serverless-operator openshift-knative-operator/pkg/serving/extension.go
reconcile::Planner knative_serving_planner(const OperatorSettings& settings);

/// Kinds whose installation is not built yet: stored, untouched, and Ready=False says so.
reconcile::Planner not_supported_planner(std::string name, Resource resource, std::string sentence);

/// Why this KnativeServing cannot be installed, or "".
std::string refusal_of(const Json& serving);

}  // namespace knit::controllers::operators
