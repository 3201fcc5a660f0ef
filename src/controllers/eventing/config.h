// The ConfigMaps of knative-eventing as values, read from the world on each use (they are small).
// Source: knative/eventing pkg/apis/{config,feature,messaging/config,sugar,sources/config}
#pragma once

#include "controllers/eventing/common.h"

namespace knit::eventing {

/// The data of a ConfigMap of the system namespace; empty when absent.
serving::StringMap config_data(const World& world, std::string_view name);

/// config-features: "enabled" for what is on; delivery-timeout is on by default.
bool feature(const World& world, std::string_view name);

/// {apiVersion, kind, spec?}: `channel-template-spec` of the ConfigMap that a Broker's spec.config
/// names. Errors: NotFound, InvalidArgument.
Result<Json> broker_channel_template(const World& world, const Json& config_reference,
                                     std::string_view broker_namespace);
/// default-ch-webhook for a namespace; InMemoryChannel when the map is absent.
Result<Json> default_channel_template(const World& world, std::string_view ns);

/// config-sugar: whether a selector (`namespace-selector`, `trigger-selector`) picks an object. An
/// absent or empty value picks nothing; an empty selector picks everything.
bool sugar_selects(const World& world, std::string_view key, const Json& object);

/// A metav1.LabelSelector; null or malformed picks nothing, an empty one everything.
bool selects(const Json* selector, const Json& object);

}  // namespace knit::eventing
