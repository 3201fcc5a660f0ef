// Joins what the proxy reports to the autoscaler, and the autoscaler's decisions to the planners.
#pragma once

#include "autoscaler/autoscaler.h"
#include "controllers/serving/serving.h"
#include "io/loop.h"
#include "ipc/messages.h"
#include "reconcile/backend.h"

namespace knit::app {

/// On the driver's loop.
class Autoscaling {
 public:
  Autoscaling(io::Loop& loop, reconcile::Backend& backend, serving::ContextPtr context);

  void on_stats(const ipc::Stats& stats);
  void on_demand(const ipc::Demand& demand);
  /// The compiled Revision of proxy config changed: what the proxy has to confirm.
  void on_revision(const std::string& revision, std::string sks_hash, bool proxy_mode);
  void forget_revision(const std::string& revision);

 private:
  void sync();
  void tick();
  void confirm(const std::string& revision);
  struct Mode {
    std::string wanted, running;
    bool proxy_mode = true;
  };
  io::Loop& loop_;
  reconcile::Backend& backend_;
  serving::ContextPtr context_;
  autoscaler::Autoscaler autoscaler_;
  std::map<std::string, Mode> modes_;
  io::Loop::Timer timer_;
};

}  // namespace knit::app
