// One mesh as its ServiceMeshControlPlane asks for it, after merging profiles, and who is in it.
#pragma once

#include <optional>

#include "controllers/mesh/objects.h"
#include "mesh_model/peer_authentication.h"
#include "proxy_config/types.h"

namespace knit::mesh {

struct GatewayValues {
  bool enabled = true;
  std::string service_type = "ClusterIP";
  /// service.metadata.labels of the SMCP: on Service, Deployment, selector and pods.
  Labels labels;
  Labels annotations;  // service.metadata.annotations: on the Service
  Labels selector;     // service.selector: added to the Service's
  JsonArray ports;     // service.ports; empty: the chart's
  bool route = true;   // routeConfig.enabled: an OpenShift Route to its HTTP port (ingress only)
};

/// The effective values of the fields that Knit carries out (spec mesh.md 1.1).
struct ControlPlane {
  std::string ns, name, uid, version = "v2.5";
  bool mtls = false;  // security.dataPlane.mtls
  std::string trust_domain = "cluster.local";
  bool registry_only = false;                          // trafficControl.outbound.policy
  bool sniff_inbound = false, sniff_outbound = false;  // proxy.networking.protocol.autoDetect
  bool manage_network_policy = true;
  Duration drain = std::chrono::seconds(5);  // terminationDrainDuration
  /// proxy.accessLogging.file. DIFFERS: without a name upstream writes none; here `kubectl logs` of
  /// a sidecar or gateway is its access log unless the name is "".
  proxy_config::AccessLogFormat access_log = proxy_config::AccessLogFormat::Text;
  std::vector<std::uint16_t> excluded_inbound_ports;
  GatewayValues ingress, egress;
  /// Why the SMCP cannot be carried out; empty: it can.
  std::string invalid;
};
ControlPlane decode_control_plane(const Json& smcp);

/// The control plane of namespace `ns` (the oldest, then by name), or nothing.
std::optional<ControlPlane> control_plane_of(const World& world, std::string_view ns);
/// The mesh that `ns` belongs to: its own control plane, or the one of its label
/// maistra.io/member-of; empty: none.
std::string mesh_of(const World& world, std::string_view ns);
/// The namespaces of a mesh, its own first.
std::vector<std::string> namespaces_of(const World& world, const std::string& mesh);
/// PeerAuthentications that concern a mesh.
std::vector<mesh_model::PeerAuthenticationView> peer_authentications(const World& world,
                                                                     const std::string& mesh,
                                                                     const std::string& ns);
/// "1,2, 3" → ports; anything else in it is skipped.
std::vector<std::uint16_t> parse_ports(std::string_view list);

}  // namespace knit::mesh
