// A Knative Ingress as Istio VirtualServices, as pure functions.
// Source: knative-extensions/net-istio pkg/reconciler/ingress/resources/virtual_service.go,
// knative/networking pkg/ingress/ingress.go
#pragma once

#include "controllers/serving/config.h"

namespace knit::serving {

/// The spec with its defaults: visibility ExternalIP, 100 percent for a lone split.
Json ingress_spec(const Json& ingress);
/// hex(sha256(JSON(spec) ‖ namespace ‖ name)), the JSON as Go's encoding/json prints
/// v1alpha1.IngressSpec. The value of K-Network-Hash in the probe routes.
std::string ingress_hash(const Json& ingress);
/// The JSON that is hashed.
std::string go_ingress_json(const Json& spec);

/// Gateways ("namespace/name") by visibility.
struct IngressGateways {
  std::vector<std::string> external, local;
};

/// Name → VirtualService ("<ingress>-mesh", "<ingress>-ingress"), without owner references.
std::vector<std::pair<std::string, Json>> make_virtual_services(const Json& ingress,
                                                                const IngressGateways& gateways,
                                                                std::string_view cluster_domain);

/// The gateways of config-istio for an Ingress with these labels.
std::vector<IstioGateway> choose_gateways(const std::vector<IstioGateway>& all,
                                          const StringMap& labels);

}  // namespace knit::serving
