// What every operator does: one resource describes an installation, and its objects follow it.
#pragma once

#include <functional>

#include "controllers/operators/overrides.h"

namespace knit::controllers::operators {

struct Installation {
  std::string name;  // of the planner, the events' component and the label of cluster objects
  Resource resource;
  std::string_view ns;  // the only namespace that it may be in
  std::string_view finalizer;
  std::string_view version;  // what Knit is compatible with
  std::string_view part_of;  // app.kubernetes.io/name of what is made
  /// Every object that the resource asks for; `notes` tells what in its spec names nothing.
  std::function<Manifest(const World&, const Json& resource, std::vector<std::string>* notes)>
      manifest;
  /// Why it cannot be installed, or "".
  std::function<std::string(const Json& resource)> refusal;
};

/// Installs when the resource is applied and takes everything away when it is deleted (finalizer).
/// What cannot be installed is told in InstallSucceeded and Ready, and nothing is made. Ready waits
/// for every Deployment; a role that this build does not play is named with the reason.
/// Source: knative/operator pkg/reconciler/knative{serving,eventing}, pkg/reconciler/common
reconcile::Planner installation_planner(Installation installation);

}  // namespace knit::controllers::operators
