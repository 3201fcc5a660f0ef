#include "controllers/routes/routes.h"

#include <gtest/gtest.h>

#include "base/hash.h"
#include "reconcile/sim_world.h"

namespace knit::routes {
namespace {
using kube::Key;
using namespace std::chrono_literals;
namespace res = kube::res;

constexpr const char* kIngress = R"({
  "apiVersion": "networking.internal.knative.dev/v1alpha1", "kind": "Ingress",
  "metadata": {"name": "hello", "namespace": "default",
    "labels": {"serving.knative.dev/route": "hello", "argocd.argoproj.io/instance": "x"},
    "annotations": {"networking.knative.dev/ingress.class":
                      "istio.ingress.networking.knative.dev",
                    "argocd.argoproj.io/tracking-id": "y"}},
  "spec": {"httpOption": "Enabled", "rules": [
    {"visibility": "ClusterLocal", "hosts": ["hello.default", "hello.default.svc",
                                             "hello.default.svc.cluster.local"],
     "http": {"paths": [{"splits": [{"serviceName": "r", "serviceNamespace": "default",
                                     "servicePort": 80, "percent": 100}]}]}},
    {"visibility": "ExternalIP", "hosts": ["hello-default.apps.x.test"],
     "http": {"paths": [{"splits": [{"serviceName": "r", "serviceNamespace": "default",
                                     "servicePort": 80, "percent": 100}]}]}}]},
  "status": {"publicLoadBalancer": {"ingress": [
    {"domainInternal": "istio-ingressgateway.istio-system.svc.cluster.local"}]}}})";

Json ingress() {
  Json out = *json::parse(kIngress);
  json::set(out, {"metadata", "uid"}, Json("u-1"));
  return out;
}

TEST(ServerlessRoute, Names) {  // mesh.md 4.2: a double hex
  const std::string digest = hash::sha256_hex("hello-default.apps.x.test").substr(0, 6);
  const std::string name = serverless_route_name("u-1", "hello-default.apps.x.test");
  EXPECT_EQ(name.size(), std::string("route-u-1-").size() + 12);
  EXPECT_EQ(name, "route-u-1-" + hash::hex(digest));
}

TEST(ServerlessRoute, PublicHosts) {
  const struct {
    const char* name;
    const char* host;
    bool wanted;
  } rows[] = {{"two labels", "x.test", true},
              {"external", "a.b.c.test", true},
              {"service name", "hello.default.svc", false},
              {"full service name", "hello.default.svc.cluster.local", false}};
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    Json i = ingress();
    json::find(i, {"spec", "rules"})->get_array()[1].get_object()["hosts"] =
        JsonArray{Json(row.host)};
    EXPECT_EQ(public_hosts(i).size(), row.wanted ? 1u : 0u);
  }
}

TEST(ServerlessRoute, Table) {
  const struct {
    const char* name;
    const char* patch;
    const char *termination, *port, *insecure, *timeout;
  } rows[] = {
      {"edge by default", "{}", "edge", "http2", "Allow", "600s"},
      {"redirected", R"({"spec":{"httpOption":"Redirected"}})", "edge", "http2", "Redirect",
       "600s"},
      {"passthrough", R"({"metadata":{"annotations":{
          "serving.knative.openshift.io/enablePassthrough":"true"}}})",
       "passthrough", "https", "Redirect", "600s"},
      {"passthrough with any value", R"({"metadata":{"annotations":{
          "serving.knative.openshift.io/enablePassthrough":"false"}}})",
       "passthrough", "https", "Redirect", "600s"},
      {"own certificates", R"({"spec":{"tls":[{"hosts":["a"],"secretName":"b"}]}})", "passthrough",
       "https", "Redirect", "600s"},
      {"timeout", R"({"metadata":{"annotations":{
          "serving.knative.openshift.io/setRouteTimeout":"800"}}})",
       "edge", "http2", "Allow", "800s"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    Json i = ingress();
    json::merge_patch(i, *json::parse(row.patch));
    const auto made = make_route(i, "hello-default.apps.x.test", {});
    ASSERT_TRUE(made.has_value());
    EXPECT_EQ(made->first.ns, "istio-system");
    const Json& r = made->second;
    EXPECT_EQ(json::str(r, {"spec", "tls", "termination"}), row.termination);
    EXPECT_EQ(json::str(r, {"spec", "port", "targetPort"}), row.port);
    EXPECT_EQ(json::str(r, {"spec", "tls", "insecureEdgeTerminationPolicy"}), row.insecure);
    EXPECT_EQ(json::str(r, {"metadata", "annotations", "haproxy.router.openshift.io/timeout"}),
              row.timeout);
    EXPECT_EQ(json::str(r, {"spec", "to", "name"}), "istio-ingressgateway");
    EXPECT_EQ(json::str(r, {"metadata", "labels", "serving.knative.openshift.io/ingressName"}),
              "hello");
    EXPECT_EQ(json::find(r, {"metadata", "labels", "argocd.argoproj.io/instance"}), nullptr);
    EXPECT_EQ(json::find(r, {"metadata", "annotations", "argocd.argoproj.io/tracking-id"}),
              nullptr);
  }
}

class RoutesWorld : public ::testing::Test {
 protected:
  RoutesWorld() {
    register_routes(world.driver, {.apps_domain = "apps.x.test"});
    world.start();
  }
  Json condition(const std::string& ns, const std::string& name) {
    const Json route = world.view({res::oroutes(), ns, name});
    const auto& list = json::array(route, {"status", "ingress"});
    if (list.empty()) return Json();
    return json::array(list[0], {"conditions"}).at(0);
  }
  void make(const std::string& ns, const std::string& name, const std::string& spec) {
    ASSERT_TRUE(world.apply(res::oroutes(), R"({"apiVersion":"route.openshift.io/v1",
      "kind":"Route","metadata":{"name":")" + name +
                                                R"(","namespace":")" + ns + R"("},"spec":)" + spec +
                                                "}"));
    world.run(10s);
  }
  void quiet() { EXPECT_EQ(world.pending(), std::vector<std::string>()); }
  reconcile::SimWorld world;
};

TEST_F(RoutesWorld, MakesAndRemovesTheRouteOfAnIngress) {
  ASSERT_TRUE(world.apply(res::kingresses(), kIngress));
  world.run(1s);
  auto routes = world.backend.list(res::oroutes());
  ASSERT_EQ(routes.size(), 1u);
  EXPECT_EQ(routes[0]->key().ns, "istio-system");
  EXPECT_EQ(json::str(condition("istio-system", routes[0]->key().name), {"status"}), "True");
  quiet();
  ASSERT_TRUE(world.backend.merge({res::kingresses(), "default", "hello"},
                                  R"({"metadata":{"annotations":{
      "serving.knative.openshift.io/disableRoute":"true"}}})"));
  world.run(1s);
  EXPECT_TRUE(world.backend.list(res::oroutes()).empty());
  ASSERT_TRUE(world.backend.merge({res::kingresses(), "default", "hello"},
                                  R"({"metadata":{"annotations":{
      "serving.knative.openshift.io/disableRoute":null}}})"));
  world.run(1s);
  EXPECT_EQ(world.backend.list(res::oroutes()).size(), 1u);
  ASSERT_TRUE(world.backend.remove({res::kingresses(), "default", "hello"}));
  world.run(1s);
  EXPECT_TRUE(world.backend.list(res::oroutes()).empty());
  EXPECT_TRUE(world.backend.list(res::kingresses()).empty());
  quiet();
}

TEST_F(RoutesWorld, WaitsForTheLoadBalancer) {
  Json i = *json::parse(kIngress);
  i.get_object().erase("status");
  ASSERT_TRUE(world.apply(res::kingresses(), i));
  world.run(1s);
  EXPECT_TRUE(world.backend.list(res::oroutes()).empty());
  quiet();
}

TEST_F(RoutesWorld, GeneratesHosts) {
  make("app", "web", R"({"to":{"kind":"Service","name":"web"}})");
  const Json route = world.view({res::oroutes(), "app", "web"});
  EXPECT_EQ(json::str(route, {"spec", "host"}), "web-app.apps.x.test");
  EXPECT_EQ(json::str(condition("app", "web"), {"type"}), "Admitted");
  quiet();
}

TEST_F(RoutesWorld, TheOldestHasTheHost) {  // mesh.md 4.1
  make("a", "first", R"({"host":"H.test","to":{"kind":"Service","name":"x"}})");
  make("b", "second", R"({"host":"h.test","to":{"kind":"Service","name":"x"}})");
  make("b", "path", R"({"host":"h.test","path":"/p","to":{"kind":"Service","name":"x"}})");
  EXPECT_EQ(json::str(condition("a", "first"), {"status"}), "True");
  EXPECT_EQ(json::str(condition("b", "second"), {"reason"}), "HostAlreadyClaimed");
  EXPECT_EQ(json::str(condition("b", "second"), {"message"}),
            "a route in another namespace holds h.test and is older than second");
  EXPECT_EQ(json::str(condition("b", "path"), {"status"}), "True");
  quiet();
  ASSERT_TRUE(world.backend.remove({res::oroutes(), "a", "first"}));
  world.run(1s);
  EXPECT_EQ(json::str(condition("b", "second"), {"status"}), "True");
  quiet();
}

TEST_F(RoutesWorld, RefusesWhatPassthroughCannotDo) {
  make("a", "r", R"({"host":"h.test","to":{"kind":"Service","name":"x"},
      "tls":{"termination":"passthrough","insecureEdgeTerminationPolicy":"Allow"}})");
  EXPECT_EQ(json::str(condition("a", "r"), {"reason"}), "ExtendedValidationFailed");
  quiet();
}

}  // namespace
}  // namespace knit::routes
