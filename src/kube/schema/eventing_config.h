// What Eventing's admission and its controllers both read: the YAML documents inside its ConfigMaps.
// Pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace knit::schema {

inline constexpr std::string_view kMtBrokerClass = "MTChannelBasedBroker";

struct BrokerDefaults {
  std::string broker_class = std::string(kMtBrokerClass);
  Json config;                       // KReference, or null
  Json delivery;                     // only the fields that upstream's defaulter copies, or null
  bool same_namespace_only = false;  // disallowDifferentNamespaceConfig
};
/// `document` is config-br-defaults' key default-br-config ("" is absent); `broker_class` is the
/// Broker's own, or "". Source: knative/eventing pkg/apis/config/defaults.go
Result<BrokerDefaults> broker_defaults(std::string_view document, std::string_view ns,
                                       std::string_view broker_class);

/// {apiVersion, kind, spec?} of a channel: default-ch-webhook's key default-ch-config; an
/// InMemoryChannel when the document is absent. Source: pkg/apis/messaging/config
Result<Json> default_channel(std::string_view document, std::string_view ns);

}  // namespace knit::schema
