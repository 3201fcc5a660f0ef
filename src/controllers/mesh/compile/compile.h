// API objects → what proxies run. Pure: functions of a world, one resource at a time, so that the
// cost of a change is proportional to the change.
#pragma once

#include <set>

#include "controllers/mesh/mesh_view.h"
#include "controllers/mesh/settings.h"
#include "proxy_config/types.h"

namespace knit::mesh {

/// The Certificate of the router itself (edge Routes without their own, unknown names).
inline constexpr std::string_view kRouterCertificate = "openshift-ingress/router-certs-default";

/// What is compiled at once: as proxy_config's Ref, except that a Gateway is named by the pod's uid
/// alone and gives one resource per port, and an Identity is named "namespace/account".
using Unit = proxy_config::Ref;

/// The resources of one unit, now. None: what it describes does not exist.
std::vector<proxy_config::Resource> compile(const Unit& unit, const World& world,
                                            const MeshSettings& settings);
/// The units that a change may alter. `before` null: created; `after` null: deleted. `world` holds
/// the state after the change.
std::set<Unit> affected(const ObjectPtr& before, const ObjectPtr& after, const World& world,
                        const MeshSettings& settings);
/// Every unit of a world: at start.
std::set<Unit> all_units(const World& world, const MeshSettings& settings);

// ---- one per type (compile/*.cc); nullopt: does not exist
std::optional<proxy_config::Settings> compile_settings(const MeshSettings& settings);
std::optional<proxy_config::TrustBundle> compile_trust_bundle(const std::string& mesh,
                                                              const World& world,
                                                              const MeshSettings& settings);
std::optional<proxy_config::Mesh> compile_mesh(const std::string& mesh, const World& world,
                                               const MeshSettings& settings);
/// The SPIFFE id and its resource.
std::optional<std::pair<std::string, proxy_config::Identity>> compile_identity(
    const std::string& account, const World& world);
std::optional<proxy_config::Certificate> compile_certificate(const std::string& name,
                                                             const World& world,
                                                             const MeshSettings& settings);
std::optional<proxy_config::Workload> compile_workload(const std::string& uid, const World& world);
/// … of a pod that need not be there yet.
proxy_config::Workload workload_of(const Json& pod, const World& world);
std::optional<proxy_config::Service> compile_service(const std::string& name, const World& world,
                                                     const MeshSettings& settings);
std::optional<proxy_config::Revision> compile_revision(const std::string& name, const World& world);
std::vector<proxy_config::Gateway> compile_gateways(const std::string& pod_uid, const World& world);
std::optional<proxy_config::Routes> compile_routes(const std::string& name, const World& world,
                                                   const MeshSettings& settings);
std::optional<proxy_config::EdgeRoute> compile_edge_route(const std::string& name,
                                                          const World& world);
std::optional<proxy_config::Probe> compile_probe(const std::string& name, const World& world);

// ---- what several of them and the planners share
/// What Knit plays for a pod; App when it has a container of its own.
proxy_config::Role role_of(const Json& pod);
bool has_sidecar(const Json& pod);  // a container istio-proxy
/// spec.serviceAccountName, or "default".
std::string account_of(const Json& pod);
/// Gateway pods of a mesh that run.
std::vector<Json> gateway_pods(const World& world, const std::string& mesh);
/// All Gateways that a mesh sees, and the Services of its own namespace.
std::vector<mesh_model::GatewayView> gateways_of(const World& world, const std::string& mesh);
std::vector<mesh_model::ServiceView> services_in(const World& world, const std::string& ns);
/// "ns/name" split at the first slash.
std::pair<std::string, std::string> split_name(std::string_view name);
}  // namespace knit::mesh
