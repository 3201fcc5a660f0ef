// What is served: legacy and aggregated discovery, version, health (kubeapi.md 1.15).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"

namespace knit::apiserver {

inline constexpr std::string_view kAggregatedType =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// Legacy documents: "/api", "/apis", "/api/v1", "/apis/apps", "/apis/apps/v1". nullopt: no such
/// group or version.
std::optional<Json> legacy_discovery(std::string_view path, std::string_view server_address);
/// The aggregated form of "/api" or "/apis".
Json aggregated_discovery(bool core);
/// {"major": "1", …}
Json version_document(std::string_view git_version);
/// A small OpenAPI v2 document, as gnostic protobuf: which kinds there are, and that they take the
/// parameters dryRun and fieldValidation. It describes no fields.
std::string openapi_v2_stub();

}  // namespace knit::apiserver
