// The objects of a fresh install.
#pragma once

#include "controllers/operators/settings.h"

namespace knit::controllers::operators {

/// Namespaces default, kube-system, kube-public, kube-node-lease, istio-system, knative-serving,
/// knative-eventing and openshift-ingress; made when absent, otherwise left alone.
reconcile::Planner system_namespaces_planner();
/// ingresses.config.openshift.io/cluster with spec.domain, the apps domain.
reconcile::Planner cluster_ingress_planner(const OperatorSettings& settings);
/// Service openshift-ingress/router-default: the address at which Routes are served.
reconcile::Planner router_service_planner(const OperatorSettings& settings);

}  // namespace knit::controllers::operators
