#include "app/control.h"

#include "controllers/core/register.h"
#include "controllers/eventing/eventing.h"
#include "controllers/mesh/register.h"
#include "controllers/operators/register.h"
#include "controllers/serving/serving.h"

namespace knit::app {

Control::Control(io::Loop& loop, store::Store& store, Random& random, ControlSettings settings)
    : settings_(std::move(settings)),
      registry_(random),
      admission_(loop, settings_.core),
      backend_(loop, store, registry_, "system:knit:controllers"),
      housekeeping_(loop, store),
      driver_(std::make_unique<reconcile::Driver>(loop, backend_)),
      serving_(std::make_shared<serving::Context>(settings_.serving)),
      autoscaling_(loop, backend_, serving_),
      proxy_(loop, backend_, settings_.mesh, autoscaling_, settings_.node_name,
             settings_.authority) {
  admission_.install(registry_);
  admission_.set_signals(std::as_const(backend_).signals());
  controllers::core::register_core(*driver_, settings_.core);
  controllers::operators::register_operators(*driver_, settings_.operators);
  for (auto& planner : serving::serving_planners(serving_)) driver_->add(std::move(planner));
  eventing::register_eventing(*driver_, {});
  routes::register_routes(*driver_, settings_.routes);
  mesh::register_mesh(*driver_, settings_.mesh);
}

void Control::start() {
  driver_->start();
  proxy_.start();
  housekeeping_.start();
}

}  // namespace knit::app
