// What one KnativeServing consists of.
#pragma once

#include "controllers/operators/overrides.h"

namespace knit::controllers::operators {

/// Every object of the installation that `serving` (a KnativeServing) asks for, overrides and
/// configuration applied; `notes` tells what in the spec names nothing. Names, labels and ports
/// are upstream's; images are roles that Knit plays itself.
/// Source: knative/serving config/core, knative-extensions/net-istio config,
/// openshift-knative/serverless-operator openshift-knative-operator/pkg/serving
Manifest serving_manifest(const World& world, const Json& serving, const OperatorSettings& settings,
                          std::vector<std::string>* notes);

}  // namespace knit::controllers::operators
