// What happens to a Pod between a client's create and the store: account, token volume,
// tolerations, priority, QoS class and the mesh's sidecar. Pure: a function of the world.
#pragma once

#include <optional>
#include <string>

#include "controllers/core/util.h"

namespace knit::controllers::core {

struct PodAdmissionSettings {
  std::string proxy_image = "knit.local/role/istio-proxy";
};

/// Mutates `pod` (a whole Pod with metadata.namespace) for creation; `pod` gets status
/// {phase: Pending, qosClass}. Doing it twice changes nothing more.
/// Errors: PermissionDenied in upstream's words when the service account does not exist.
/// Source: kubernetes plugin/pkg/admission/{serviceaccount,defaulttolerationseconds,priority},
/// istio pkg/kube/inject/inject.go
Result<void> admit_pod(const World& world, Json& pod, const PodAdmissionSettings& settings);

/// Why a pod is, or is not, injected: what `knit why` and conditions say.
struct Injection {
  bool inject = false;
  std::string reason;    // one sentence
  std::string mesh_ns;   // when inject: the control plane's namespace
  std::string revision;  // when inject: the name of the ServiceMeshControlPlane, or "default"
};
/// The decision for a Pod or pod template (metadata, spec) in namespace `ns`. A label
/// sidecar.istio.io/inject beats the annotation of the same name; host network and system
/// namespaces are never injected; the namespace must be a member of a mesh.
Injection injection_of(const World& world, std::string_view ns, const Json& pod);

std::string_view qos_class(const Json& pod);

}  // namespace knit::controllers::core
