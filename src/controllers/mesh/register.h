// The mesh controllers' way in.
#pragma once

#include "controllers/mesh/settings.h"
#include "reconcile/driver.h"

namespace knit::mesh {

/// Adds every planner of this folder. The config compiler is wired by the app (compile/compiler.h).
void register_mesh(reconcile::Driver& driver, const MeshSettings& settings);

}  // namespace knit::mesh
