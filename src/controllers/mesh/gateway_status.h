// What became of each Istio Gateway, as conditions: upstream only logs it.
#pragma once

#include "controllers/mesh/mesh_view.h"
#include "reconcile/plan.h"

namespace knit::mesh {

/// status.conditions: Programmed, with reason NotInMesh, NoMatchingPods (rule GW-03),
/// ServerDropped (GW-01), UnsupportedTls, SecretMissing, SecretInvalid, SecretExpired (GW-06), or
/// Programmed.
Plan plan_gateway_status(const World& world, const Key& key, Instant);
reconcile::Planner gateway_status_planner();

bool is_plain_http(const mesh_model::GatewayServer& server);
/// Whether Knit's gateways do what the server's TLS mode asks. PASSTHROUGH, the API's default,
/// would need TLS routes of users' VirtualServices, which are not in effect.
bool carried_out(const mesh_model::GatewayServer& server);

/// Why servers of the gateway would be left out beside those that are there already; each reason
/// once, whatever the number of pods. The gateway itself need not be in the world yet.
std::vector<std::string> dropped_servers(const World& world,
                                         const mesh_model::GatewayView& gateway);

}  // namespace knit::mesh
