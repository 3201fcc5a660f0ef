// Every operator and the objects of a fresh install.
#pragma once

#include "controllers/operators/settings.h"
#include "reconcile/driver.h"

namespace knit::controllers::operators {

void register_operators(reconcile::Driver& driver, const OperatorSettings& settings);

}  // namespace knit::controllers::operators
