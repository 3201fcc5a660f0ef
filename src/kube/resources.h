// The collections that Knit's own code names.
#pragma once

#include "kube/object.h"

namespace knit::kube::res {
#define KNIT_RESOURCE(id, name)                   \
  inline Resource id() {                          \
    static const Resource r = Resource::of(name); \
    return r;                                     \
  }
KNIT_RESOURCE(namespaces, "namespaces")
KNIT_RESOURCE(pods, "pods")
KNIT_RESOURCE(services, "services")
KNIT_RESOURCE(endpoints, "endpoints")
KNIT_RESOURCE(endpointslices, "endpointslices.discovery.k8s.io")
KNIT_RESOURCE(configmaps, "configmaps")
KNIT_RESOURCE(secrets, "secrets")
KNIT_RESOURCE(serviceaccounts, "serviceaccounts")
KNIT_RESOURCE(nodes, "nodes")
KNIT_RESOURCE(events, "events")
KNIT_RESOURCE(leases, "leases.coordination.k8s.io")
KNIT_RESOURCE(deployments, "deployments.apps")
KNIT_RESOURCE(replicasets, "replicasets.apps")
KNIT_RESOURCE(networkpolicies, "networkpolicies.networking.k8s.io")
KNIT_RESOURCE(poddisruptionbudgets, "poddisruptionbudgets.policy")
KNIT_RESOURCE(clusterroles, "clusterroles.rbac.authorization.k8s.io")
KNIT_RESOURCE(clusterrolebindings, "clusterrolebindings.rbac.authorization.k8s.io")
KNIT_RESOURCE(roles, "roles.rbac.authorization.k8s.io")
KNIT_RESOURCE(rolebindings, "rolebindings.rbac.authorization.k8s.io")
KNIT_RESOURCE(crds, "customresourcedefinitions.apiextensions.k8s.io")
KNIT_RESOURCE(ksvcs, "services.serving.knative.dev")
KNIT_RESOURCE(configurations, "configurations.serving.knative.dev")
KNIT_RESOURCE(revisions, "revisions.serving.knative.dev")
KNIT_RESOURCE(kroutes, "routes.serving.knative.dev")
KNIT_RESOURCE(podautoscalers, "podautoscalers.autoscaling.internal.knative.dev")
KNIT_RESOURCE(metrics, "metrics.autoscaling.internal.knative.dev")
KNIT_RESOURCE(sks, "serverlessservices.networking.internal.knative.dev")
KNIT_RESOURCE(kingresses, "ingresses.networking.internal.knative.dev")
KNIT_RESOURCE(kcertificates, "certificates.networking.internal.knative.dev")
KNIT_RESOURCE(images, "images.caching.internal.knative.dev")
KNIT_RESOURCE(knativeservings, "knativeservings.operator.knative.dev")
KNIT_RESOURCE(knativeeventings, "knativeeventings.operator.knative.dev")
KNIT_RESOURCE(knativekafkas, "knativekafkas.operator.serverless.openshift.io")
KNIT_RESOURCE(smcps, "servicemeshcontrolplanes.maistra.io")
KNIT_RESOURCE(smmrs, "servicemeshmemberrolls.maistra.io")
KNIT_RESOURCE(smms, "servicemeshmembers.maistra.io")
KNIT_RESOURCE(gateways, "gateways.networking.istio.io")
KNIT_RESOURCE(virtualservices, "virtualservices.networking.istio.io")
KNIT_RESOURCE(destinationrules, "destinationrules.networking.istio.io")
KNIT_RESOURCE(serviceentries, "serviceentries.networking.istio.io")
KNIT_RESOURCE(peerauthentications, "peerauthentications.security.istio.io")
KNIT_RESOURCE(oroutes, "routes.route.openshift.io")
KNIT_RESOURCE(oingresses, "ingresses.config.openshift.io")
#undef KNIT_RESOURCE
}  // namespace knit::kube::res
