// Names, labels and annotations of Knative Serving, and small readers of metadata.
// Source: knative/serving pkg/apis/serving/register.go, pkg/apis/autoscaling/register.go,
// knative/networking pkg/apis/networking/register.go, knative/pkg kmeta/names.go
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "reconcile/plan.h"

namespace knit::serving {

using kube::Key;
using reconcile::ObjectPtr;
using reconcile::Plan;
using reconcile::World;
namespace res = kube::res;

inline constexpr std::string_view kSystemNamespace = "knative-serving";
inline constexpr std::string_view kIstioIngressClass = "istio.ingress.networking.knative.dev";
inline constexpr std::string_view kKpaClass = "kpa.autoscaling.knative.dev";
inline constexpr std::string_view kHpaClass = "hpa.autoscaling.knative.dev";
inline constexpr std::string_view kActivatorService = "activator-service";

namespace label {
inline constexpr std::string_view kService = "serving.knative.dev/service";
inline constexpr std::string_view kServiceUid = "serving.knative.dev/serviceUID";
inline constexpr std::string_view kConfiguration = "serving.knative.dev/configuration";
inline constexpr std::string_view kConfigurationUid = "serving.knative.dev/configurationUID";
inline constexpr std::string_view kConfigurationGeneration =
    "serving.knative.dev/configurationGeneration";
inline constexpr std::string_view kRevision = "serving.knative.dev/revision";
inline constexpr std::string_view kRevisionUid = "serving.knative.dev/revisionUID";
inline constexpr std::string_view kRoute = "serving.knative.dev/route";
inline constexpr std::string_view kRouteNamespace = "serving.knative.dev/routeNamespace";
inline constexpr std::string_view kRoutingState = "serving.knative.dev/routingState";
inline constexpr std::string_view kDeploymentHash = "serving.knative.dev/deployment-hash";
inline constexpr std::string_view kVisibility = "networking.knative.dev/visibility";
inline constexpr std::string_view kSks = "networking.internal.knative.dev/serverlessservice";
inline constexpr std::string_view kServiceType = "networking.internal.knative.dev/serviceType";
inline constexpr std::string_view kIngress = "networking.internal.knative.dev/ingress";
inline constexpr std::string_view kApp = "app";
}  // namespace label

namespace annotation {
inline constexpr std::string_view kLastApplied = "kubectl.kubernetes.io/last-applied-configuration";
inline constexpr std::string_view kCreator = "serving.knative.dev/creator";
inline constexpr std::string_view kLastModifier = "serving.knative.dev/lastModifier";
inline constexpr std::string_view kRolloutDuration = "serving.knative.dev/rollout-duration";
inline constexpr std::string_view kRolloutDurationOld = "serving.knative.dev/rolloutDuration";
inline constexpr std::string_view kRoutes = "serving.knative.dev/routes";
inline constexpr std::string_view kRoutingStateModified =
    "serving.knative.dev/routingStateModified";
inline constexpr std::string_view kNoGc = "serving.knative.dev/no-gc";
inline constexpr std::string_view kProgressDeadline = "serving.knative.dev/progress-deadline";
inline constexpr std::string_view kIngressClass = "networking.knative.dev/ingress.class";
inline constexpr std::string_view kIngressClassNew = "networking.knative.dev/ingress-class";
inline constexpr std::string_view kHttpProtocol = "networking.knative.dev/http-protocol";
inline constexpr std::string_view kRollout = "networking.internal.knative.dev/rollout";
inline constexpr std::string_view kScalerClass = "autoscaling.knative.dev/class";
inline constexpr std::string_view kAutoscalingPrefix = "autoscaling.knative.dev/";
}  // namespace annotation

/// A name of at most 63 characters; too long ones carry the parent's MD5.
std::string child_name(std::string_view parent, std::string_view suffix);

using StringMap = std::map<std::string, std::string, std::less<>>;
StringMap labels_of(const Json& object);
StringMap annotations_of(const Json& object);
Json to_json(const StringMap& map);
/// The value, or "" when absent.
std::string_view value_of(const StringMap& map, std::string_view key);
/// The first of the spellings that is present (newest first).
std::optional<std::string> first_of(const StringMap& map,
                                    std::initializer_list<std::string_view> keys);

std::string_view name_of(const Json& object);
std::string_view namespace_of(const Json& object);
std::string_view uid_of(const Json& object);
std::int64_t generation_of(const Json& object);

/// metadata.ownerReferences with one controller: `owner`.
JsonArray controller_ref(const Json& owner);
/// `child` has a controller with the uid of `owner`.
bool controlled_by(const ObjectPtr& child, const Json& owner);
bool controlled_by(const ObjectPtr& child, const ObjectPtr& owner);

/// The whole number of an annotation, when it is one in int32's range.
std::optional<int> to_int(std::string_view text);
std::optional<double> to_double(std::string_view text);

}  // namespace knit::serving
