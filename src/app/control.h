// What the server does with API objects: admission, planners, the autoscaler, and the config and
// certificates of the proxy. Needs no descriptors, threads or clocks of its own, so a test in
// simulated time runs exactly what `knit server` runs.
#pragma once

#include "apiserver/housekeeping.h"
#include "apiserver/registry.h"
#include "app/admission.h"
#include "app/autoscaling.h"
#include "app/local_backend.h"
#include "app/proxy_link.h"
#include "controllers/operators/settings.h"
#include "controllers/routes/routes.h"
#include "reconcile/driver.h"

namespace knit::app {

struct ControlSettings {
  controllers::core::CoreSettings core;
  controllers::operators::OperatorSettings operators;
  serving::ServingSettings serving;
  routes::RouteSettings routes;
  mesh::MeshSettings mesh;
  std::string node_name = "knit";
  ProxyLink::AuthorityOf authority;  // signs for workloads
};

/// On one loop.
class Control {
 public:
  /// All outlive the object. Nothing is planned before start().
  Control(io::Loop& loop, store::Store& store, Random& random, ControlSettings settings);
  Control(const Control&) = delete;
  Control& operator=(const Control&) = delete;

  /// When the first objects are there (apiserver::bootstrap).
  void start();
  /// No plan is made or committed any more.
  void stop() { driver_.reset(); }

  const apiserver::Registry& registry() const { return registry_; }
  LocalBackend& backend() { return backend_; }
  /// Not after stop().
  reconcile::Driver& driver() { return *driver_; }
  ProxyLink& proxy() { return proxy_; }

 private:
  const ControlSettings settings_;
  apiserver::Registry registry_;
  Admission admission_;
  LocalBackend backend_;
  apiserver::Housekeeping housekeeping_;
  std::unique_ptr<reconcile::Driver> driver_;
  serving::ContextPtr serving_;
  Autoscaling autoscaling_;
  ProxyLink proxy_;
};

}  // namespace knit::app
