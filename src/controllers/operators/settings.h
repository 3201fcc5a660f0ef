// What the operators are told at start.
#pragma once

#include <string>
#include <vector>

#include "controllers/core/util.h"

namespace knit::controllers::operators {

namespace res = kube::res;
using kube::Key;
using kube::ObjectPtr;
using kube::Resource;
using reconcile::Plan;
using reconcile::World;

inline constexpr std::string_view kServingNamespace = "knative-serving";
inline constexpr std::string_view kEventingNamespace = "knative-eventing";
inline constexpr std::string_view kBuiltIn = "knit.dev/built-in";
inline constexpr std::string_view kServingVersion = "1.20.0";
inline constexpr std::string_view kEventingVersion = "1.20.0";

struct OperatorSettings {
  std::string apps_domain = "apps.knit.localhost";  // of ingresses.config.openshift.io/cluster
  std::string router_ip = "172.30.0.2";             // ClusterIP of the router's Service
  std::string role_images = "knit.local/role/";     // + the role's name
  std::string istio_namespace = "istio-system";
};

}  // namespace knit::controllers::operators
