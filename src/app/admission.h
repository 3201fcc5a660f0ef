// What the registry asks the controllers' folders when something is written.
#pragma once

#include "apiserver/registry.h"
#include "controllers/core/settings.h"
#include "io/loop.h"
#include "reconcile/backend.h"

namespace knit::app {

class Admission {
 public:
  /// All outlive the registry.
  Admission(io::Loop& loop, const controllers::core::CoreSettings& core)
      : loop_(loop), core_(core) {}
  /// Signals are there once the backend is; planners' functions that need them see none before.
  void set_signals(const reconcile::Signals& signals) { signals_ = &signals; }
  void install(apiserver::Registry& registry);

 private:
  io::Loop& loop_;
  const controllers::core::CoreSettings& core_;
  const reconcile::Signals* signals_ = nullptr;
};

}  // namespace knit::app
