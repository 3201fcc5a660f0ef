// How Gateways merge onto the ports of the pods that they select, exactly as istiod does it.
#pragma once

#include <map>

#include "mesh_model/views.h"

namespace knit::mesh_model {

inline constexpr std::string_view kNoPortTranslation =
    "experimental.istio.io/disable-gateway-port-translation";

/// The port that a server's number means on a pod: the targetPort of the first Service (oldest,
/// then by name) that selects the pod and has that port; none: the number itself. Services with
/// the label kNoPortTranslation are skipped. (spec mesh.md 1.3)
struct ResolvedPort {
  std::uint16_t port = 0;
  std::string through;  // "ns/service", empty: bound as it stands
};
ResolvedPort resolve_port(std::uint32_t number, const PodView& pod,
                          const std::vector<ServiceView>& services);

struct MergedServer {
  std::string gateway;    // "ns/name"
  std::size_t index = 0;  // in spec.servers
  GatewayServer server;
  std::string through;  // the Service that translated its port
};
struct MergedPort {
  std::vector<MergedServer> servers;  // oldest Gateway first
};
/// A server that istiod leaves out, which upstream only traces in a log line and a metric.
struct DroppedServer {
  std::string gateway;
  std::size_t index = 0;
  std::uint16_t port = 0;  // resolved
  std::string winner;      // the Gateway that was there first
  std::string reason;      // a sentence
};
struct GatewayMerge {
  std::map<std::uint16_t, MergedPort> ports;
  std::vector<DroppedServer> dropped;
};

/// `gateways`: those that the pod's mesh sees, in any order; `services`: those of the pod's
/// namespace. Oldest first, then name, then namespace.
/// Source: istio pilot/pkg/model/gateway.go mergeGateways, resolvePorts, CheckDuplicates
GatewayMerge merge_gateways(const PodView& pod, const std::vector<ServiceView>& services,
                            std::vector<GatewayView> gateways);

}  // namespace knit::mesh_model
