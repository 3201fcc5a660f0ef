// Namespaces: what each one holds from the start, and how one is emptied.
#pragma once

#include "controllers/core/settings.h"

namespace knit::controllers::core {

/// Active: label kubernetes.io/metadata.name, ServiceAccount default, ConfigMap kube-root-ca.crt.
/// Terminating: deletes everything in it, tells what remains and why in five conditions, then
/// gives up the finalizer `kubernetes`.
/// Source: kubernetes pkg/controller/namespace/deletion/namespaced_resources_deleter.go,
/// pkg/controller/serviceaccount/, pkg/controller/certificates/rootcacertpublisher/
reconcile::Planner namespace_planner(const CoreSettings& settings);

}  // namespace knit::controllers::core
