// A CoreWorld with Serving: the operator's ConfigMaps, the gateways, an activator, and whoever
// answers signals (data plane and autoscaler), for tests.
#pragma once

#include "autoscaler/autoscaler.h"
#include "controllers/core/test_world.h"
#include "controllers/serving/conditions.h"
#include "controllers/serving/ingress/virtual_service.h"
#include "controllers/serving/scale/kpa_spec.h"
#include "controllers/serving/serving.h"

namespace knit::serving {

struct ServingWorld : controllers::core::CoreWorld {
  ContextPtr context = std::make_shared<Context>(ServingSettings{});
  autoscaler::Autoscaler scaler{[this](const std::string& name, const autoscaler::Decision& d) {
    backend.signals().set(reconcile::Signal::Decision, pod_autoscaler_key(name),
                          decision_signal(d));
  }};
  std::vector<autoscaler::Sample> traffic;  // what the proxy reports each second

  ServingWorld() {
    for (auto& planner : serving_planners(context)) driver.add(std::move(planner));
  }
  void config_map(const std::string& name, const std::string& data = "{}") {
    KNIT_CHECK(apply(res::configmaps(), R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{
        "name":")" + name + R"(","namespace":"knative-serving"},"data":)" +
                                            data + "}")
                   .has_value());
  }
  void gateway(const std::string& name) {
    KNIT_CHECK(apply(res::gateways(), R"({"apiVersion":"networking.istio.io/v1beta1",
        "kind":"Gateway","metadata":{"name":")" +
                                          name + R"(","namespace":"knative-serving"},
        "spec":{"selector":{"knative":"ingressgateway"},"servers":[{"port":{"number":8081,
        "name":"https","protocol":"HTTPS"},"tls":{"mode":"ISTIO_MUTUAL"},"hosts":["*"]}]}})")
                   .has_value());
  }
  void install() {
    config_map("config-autoscaler");
    config_map("config-domain", R"({"apps.x.test":""})");
    config_map("config-network", R"({"domain-template":
        "{{.Name}}-{{.Namespace}}.{{.Domain}}","default-external-scheme":"https"})");
    config_map("config-istio", R"({
        "gateway.knative-serving.knative-ingress-gateway":
            "istio-ingressgateway.istio-system.svc.cluster.local",
        "local-gateway.knative-serving.knative-local-gateway":
            "knative-local-gateway.istio-system.svc.cluster.local"})");
    KNIT_CHECK(apply(res::knativeservings(), R"({"apiVersion":"operator.knative.dev/v1beta1",
        "kind":"KnativeServing","metadata":{"name":"knative-serving",
        "namespace":"knative-serving"},"spec":{}})")
                   .has_value());
    KNIT_CHECK(apply(res::endpoints(), R"({"apiVersion":"v1","kind":"Endpoints","metadata":{
        "name":"activator-service","namespace":"knative-serving"},"subsets":[{
        "addresses":[{"ip":"10.128.1.1"}],"ports":[
          {"name":"http","port":8012,"protocol":"TCP"},{"name":"http2","port":8013,"protocol":"TCP"},
          {"name":"https","port":8112,"protocol":"TCP"}]}]})")
                   .has_value());
  }
  void begin_serving() {
    begin();
    make_namespace("knative-serving");
    make_namespace("istio-system");
    gateway("knative-ingress-gateway");
    gateway("knative-local-gateway");
    install();
  }
  /// The data plane's answers: every Ingress reachable, activators confirmed where asked.
  void answer(bool reachable = true) {
    for (const auto& object : backend.list(res::kingresses())) {
      JsonObject reach;
      reach["hash"] = ingress_hash(object->parse());
      reach["ready"] = reachable;
      if (!reachable) reach["failure"] = "hello-default.apps.x.test: SNI matched no route";
      backend.signals().set(reconcile::Signal::Reach, object->key(), std::move(reach));
    }
    for (const auto& object : backend.list(res::sks())) {
      JsonObject confirmed;
      confirmed["confirmed"] = json::str(object->parse(), {"spec", "mode"}) == "Proxy";
      backend.signals().set(reconcile::Signal::Activator,
                            {res::podautoscalers(), object->key().ns, object->key().name},
                            std::move(confirmed));
    }
    loop.settle();
  }
  /// Seconds go by: reports each second, ticks every second one, the data plane answers.
  void live(int seconds) {
    for (int i = 0; i < seconds; ++i) {
      run(std::chrono::seconds(1));
      answer();
      sync_autoscaler(scaler, *backend.snapshot(), *context, loop.now());
      scaler.on_stats(traffic, loop.now());
      if (i % 2 == 1) scaler.tick(loop.now());
      loop.settle();
    }
  }
  void demand(const std::string& revision) {
    sync_autoscaler(scaler, *backend.snapshot(), *context, loop.now());
    scaler.on_demand(revision, loop.now());
    loop.settle();
  }
  std::string status_of(const Key& key, std::string_view type) {
    const auto c = find_condition(view(key), type);
    return c ? c->status : "absent";
  }
  std::string reason_of(const Key& key, std::string_view type) {
    const auto c = find_condition(view(key), type);
    return c ? c->reason : "absent";
  }
  std::string message_of(const Key& key, std::string_view type) {
    const auto c = find_condition(view(key), type);
    return c ? c->message : "absent";
  }
};

inline constexpr const char* kHello = R"({
  "apiVersion": "serving.knative.dev/v1", "kind": "Service",
  "metadata": {"name": "hello", "namespace": "default",
    "annotations": {"serving.knative.openshift.io/enablePassthrough": "true"}},
  "spec": {"template": {
    "metadata": {"annotations": {"sidecar.istio.io/inject": "true",
                                 "sidecar.istio.io/rewriteAppHTTPProbers": "true"}},
    "spec": {"containerConcurrency": 0, "timeoutSeconds": 300, "enableServiceLinks": false,
             "containers": [{"name": "user-container", "image": "knit.local/hello",
               "readinessProbe": {"tcpSocket": {"port": 0}, "successThreshold": 1}}]}},
    "traffic": [{"latestRevision": true, "percent": 100}]}})";

}  // namespace knit::serving
