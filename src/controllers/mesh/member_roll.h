// ServiceMeshMemberRoll and ServiceMeshMember → who is in a mesh.
#pragma once

#include "controllers/mesh/mesh_view.h"
#include "controllers/mesh/settings.h"
#include "reconcile/plan.h"

namespace knit::mesh {

/// Joins the namespaces of the roll: ServiceMeshMember, copies of the mesh's NetworkPolicies, the
/// mesh's root, the label maistra.io/member-of; and undoes it for those that left.
/// Source: maistra/istio-operator pkg/controller/servicemesh/memberroll/controller.go
Plan plan_member_roll(const MeshSettings& settings, const World& world, const Key& key, Instant);
reconcile::Planner member_roll_planner(MeshSettings settings);

/// A ServiceMeshMember that a user wrote asks for its namespace to be in the roll.
/// Source: maistra/istio-operator pkg/controller/servicemesh/member/controller.go
Plan plan_member(const World& world, const Key& key, Instant);
reconcile::Planner member_planner();

}  // namespace knit::mesh
