// ServiceMeshControlPlane → the objects of a mesh.
#pragma once

#include "controllers/mesh/mesh_view.h"
#include "controllers/mesh/settings.h"
#include "reconcile/plan.h"

namespace knit::mesh {

inline constexpr std::string_view kRoleImage = "knit.local/role/";

/// Makes a mesh what its SMCP says: components, policies, rules, configuration; then its status.
/// Of several SMCPs in a namespace only the oldest is carried out, the others say
/// ErrMultipleSMCPs.
/// Source: maistra/istio-operator pkg/controller/servicemesh/controlplane, resources/helm/v2.5
Plan plan_control_plane(const MeshSettings& settings, const World& world, const Key& key, Instant);
reconcile::Planner control_plane_planner(MeshSettings settings);

/// A component that the SMCP's readiness counts: its name there and its Deployment.
struct Component {
  std::string name, deployment;
};
std::vector<Component> components_of(const ControlPlane& plane);

// control_plane_objects.cc: the parts of the plan.
void plan_policies(Plan& plan, const World& world, const ControlPlane& plane, const Json& smcp);
void plan_configuration(Plan& plan, const World& world, const ControlPlane& plane, const Json& smcp,
                        const std::string& root_pem);
void plan_istiod(Plan& plan, const World& world, const ControlPlane& plane, const Json& smcp);
void plan_gateway(Plan& plan, const World& world, const ControlPlane& plane, const Json& smcp,
                  const std::string& which, const GatewayValues& values);
void plan_network_policies(Plan& plan, const World& world, const ControlPlane& plane,
                           const std::string& ns, const Json* owner, bool copies);

}  // namespace knit::mesh
