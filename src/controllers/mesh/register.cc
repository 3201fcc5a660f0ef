#include "controllers/mesh/register.h"

#include "controllers/mesh/control_plane.h"
#include "controllers/mesh/gateway_status.h"
#include "controllers/mesh/member_roll.h"

namespace knit::mesh {

void register_mesh(reconcile::Driver& driver, const MeshSettings& settings) {
  driver.add(control_plane_planner(settings));
  driver.add(member_roll_planner(settings));
  driver.add(member_planner());
  driver.add(gateway_status_planner());
}

}  // namespace knit::mesh
