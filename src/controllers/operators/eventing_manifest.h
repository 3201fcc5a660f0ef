// What one KnativeEventing consists of.
#pragma once

#include "controllers/operators/overrides.h"

namespace knit::controllers::operators {

/// Every object of the installation that `eventing` (a KnativeEventing) asks for, overrides and
/// configuration applied; `notes` tells what in the spec names nothing. Names, labels and ports are
/// upstream's; images are roles that Knit plays itself.
/// Source: knative/eventing config/{core,brokers,channels}, knative-extensions/eventing-istio
/// config
Manifest eventing_manifest(const Json& eventing, const OperatorSettings& settings,
                           std::vector<std::string>* notes);

}  // namespace knit::controllers::operators
