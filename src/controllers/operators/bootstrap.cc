#include "controllers/operators/bootstrap.h"

namespace knit::controllers::operators {
using controllers::core::literal;
using reconcile::Planner;

Planner system_namespaces_planner() {
  Planner p;
  p.name = "system-namespaces";
  p.owns = res::namespaces();
  for (const auto name :
       {"default", "kube-system", "kube-public", "kube-node-lease", "istio-system",
        "knative-serving", "knative-eventing", "openshift-ingress"}) {
    p.always.push_back({res::namespaces(), "", name});
  }
  p.plan = [always = p.always](const World& world, const Key& key, Instant) {
    Plan plan;
    if (std::find(always.begin(), always.end(), key) == always.end() || world.has(key)) return plan;
    Json ns = literal(R"({"apiVersion":"v1","kind":"Namespace"})");
    json::set(ns, {"metadata", "labels", "kubernetes.io/metadata.name"}, Json(key.name));
    if (key.name == kServingNamespace) {
      json::set(ns, {"metadata", "labels", "serving.knative.openshift.io/system-namespace"},
                Json("true"));
    }
    plan.create(key, std::move(ns));
    return plan;
  };
  return p;
}

Planner cluster_ingress_planner(const OperatorSettings& settings) {
  const Key cluster{res::oingresses(), "", "cluster"};
  Planner p;
  p.name = "cluster-ingress";
  p.owns = res::oingresses();
  p.always = {cluster};
  p.plan = [cluster, domain = settings.apps_domain](const World& world, const Key& key, Instant) {
    Plan plan;
    if (key != cluster) return plan;
    Json want = literal(R"({"apiVersion":"config.openshift.io/v1","kind":"Ingress","spec":{}})");
    json::set(want, {"spec", "domain"}, Json(domain));
    plan.ensure(world, key, want);
    return plan;
  };
  return p;
}

Planner router_service_planner(const OperatorSettings& settings) {
  const Key router{res::services(), "openshift-ingress", "router-default"};
  Planner p;
  p.name = "router-service";
  p.owns = res::services();
  p.always = {router};
  p.triggers = {
      {res::namespaces(), [router](const World&, const ObjectPtr& before, const ObjectPtr& after) {
         const Key& key = after ? after->key() : before->key();
         return key.name == router.ns ? std::vector<Key>{router} : std::vector<Key>{};
       }}};
  p.plan = [router, ip = settings.router_ip](const World& world, const Key& key, Instant) {
    Plan plan;
    if (key != router || !world.has({res::namespaces(), "", key.ns})) return plan;
    Json want = literal(R"({"apiVersion":"v1","kind":"Service","metadata":{
      "labels":{"ingresscontroller.operator.openshift.io/owning-ingresscontroller":"default"},
      "annotations":{"knit.dev/built-in":"true"}},
      "spec":{"type":"ClusterIP","ports":[
        {"name":"http","port":80,"protocol":"TCP","targetPort":80},
        {"name":"https","port":443,"protocol":"TCP","targetPort":443}]}})");
    if (!ip.empty()) json::set(want, {"spec", "clusterIP"}, Json(ip));
    plan.ensure(world, key, want);
    return plan;
  };
  return p;
}

}  // namespace knit::controllers::operators
