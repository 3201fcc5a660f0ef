// Every core controller at once.
#pragma once

#include "controllers/core/settings.h"
#include "reconcile/driver.h"

namespace knit::controllers::core {

void register_core(reconcile::Driver& driver, const CoreSettings& settings);

/// Admission of the core kinds as one function for a backend's `admit` (StageRules::admit): Pods
/// on create, Services always; other kinds pass.
Result<void> admit_core(const World& world, const Key& key, Json& object, const Json* before,
                        const CoreSettings& settings);

}  // namespace knit::controllers::core
