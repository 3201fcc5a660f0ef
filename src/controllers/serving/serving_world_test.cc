// The whole of Serving in simulated time (serving.md 2.2, 4.7).
#include <gtest/gtest.h>

#include "controllers/serving/test_world.h"

namespace knit::serving {
namespace {
using namespace std::chrono_literals;

const Key kService{res::ksvcs(), "default", "hello"};
const Key kConfiguration{res::configurations(), "default", "hello"};
const Key kRoute{res::kroutes(), "default", "hello"};
const Key kRevision{res::revisions(), "default", "hello-00001"};
const Key kDeployment{res::deployments(), "default", "hello-00001-deployment"};
const Key kPa{res::podautoscalers(), "default", "hello-00001"};
const Key kSks{res::sks(), "default", "hello-00001"};
const Key kIngress{res::kingresses(), "default", "hello"};

class ServingWorldTest : public ::testing::Test {
 protected:
  void hello() {
    world.begin_serving();
    ASSERT_TRUE(world.apply(res::ksvcs(), kHello));
    world.live(5);
  }
  std::int64_t replicas() { return json::i64(world.view(kDeployment), {"spec", "replicas"}, -1); }
  void quiet() { EXPECT_EQ(world.pending(), std::vector<std::string>()); }
  ServingWorld world;
};

TEST_F(ServingWorldTest, UntouchedUntilServingIsInstalled) {  // design 4
  world.begin();
  world.make_namespace("knative-serving");
  ASSERT_TRUE(world.apply(res::ksvcs(), kHello));
  world.run(5s);
  EXPECT_FALSE(world.backend.get(kConfiguration));
  EXPECT_EQ(json::find(world.view(kService), "status"), nullptr);
  world.gateway("knative-ingress-gateway");
  world.gateway("knative-local-gateway");
  world.install();
  world.live(5);
  EXPECT_EQ(world.status_of(kService, "Ready"), "True");
}

TEST_F(ServingWorldTest, OneServiceMakesEverything) {
  hello();
  const struct {
    kube::Resource resource;
    const char* name;
  } rows[] = {{res::configurations(), "hello"},
              {res::kroutes(), "hello"},
              {res::revisions(), "hello-00001"},
              {res::deployments(), "hello-00001-deployment"},
              {res::images(), "hello-00001-cache-user-container"},
              {res::podautoscalers(), "hello-00001"},
              {res::metrics(), "hello-00001"},
              {res::sks(), "hello-00001"},
              {res::services(), "hello-00001"},
              {res::services(), "hello-00001-private"},
              {res::endpoints(), "hello-00001"},
              {res::kingresses(), "hello"},
              {res::services(), "hello"},
              {res::virtualservices(), "hello-ingress"},
              {res::virtualservices(), "hello-mesh"}};
  for (const auto& row : rows) {
    const Key key{row.resource, "default", row.name};
    EXPECT_TRUE(world.backend.get(key)) << kube::to_string(key);
  }
  for (const auto type : {"Ready", "ConfigurationsReady", "RoutesReady"}) {
    EXPECT_EQ(world.status_of(kService, type), "True") << type;
  }
  const Json service = world.view(kService);
  EXPECT_EQ(json::str(service, {"status", "url"}), "https://hello-default.apps.x.test");
  EXPECT_EQ(json::str(service, {"status", "address", "url"}),
            "http://hello.default.svc.cluster.local");
  EXPECT_EQ(json::str(service, {"status", "latestReadyRevisionName"}), "hello-00001");
  EXPECT_EQ(json::str(world.view({res::services(), "default", "hello"}), {"spec", "externalName"}),
            "knative-local-gateway.istio-system.svc.cluster.local");
  EXPECT_EQ(json::str(world.view(kRevision), {"metadata", "labels", label::kRoutingState}),
            "active");
  EXPECT_EQ(json::str(world.view(kPa), {"spec", "reachability"}), "Reachable");
  quiet();
}

TEST_F(ServingWorldTest, NotReadyUntilReachable) {
  world.begin_serving();
  ASSERT_TRUE(world.apply(res::ksvcs(), kHello));
  world.run(5s);
  EXPECT_EQ(world.status_of(kIngress, "LoadBalancerReady"), "Unknown");
  EXPECT_EQ(world.reason_of(kService, "RoutesReady"), "Uninitialized");
  EXPECT_EQ(world.message_of(kService, "Ready"), "Waiting for load balancer to be ready");
  world.answer(false);
  EXPECT_EQ(world.message_of(kService, "Ready"),
            "Waiting for load balancer to be ready: hello-default.apps.x.test: SNI matched no "
            "route");
  quiet();
  world.answer(true);
  EXPECT_EQ(world.status_of(kService, "Ready"), "True");
  quiet();
}

TEST_F(ServingWorldTest, SaysWhichGatewayIsMissing) {  // mesh.md GW-02
  world.begin();
  world.make_namespace("knative-serving");
  world.gateway("knative-local-gateway");
  world.install();
  ASSERT_TRUE(world.apply(res::ksvcs(), kHello));
  world.live(3);
  EXPECT_EQ(world.reason_of(kService, "Ready"), "Uninitialized");
  EXPECT_NE(world.message_of(kService, "Ready")
                .find("\"knative-ingress-gateway\" not found in namespace knative-serving"),
            std::string::npos)
      << world.message_of(kService, "Ready");
  world.gateway("knative-ingress-gateway");
  world.live(1);
  EXPECT_EQ(world.status_of(kService, "Ready"), "True");
}

TEST_F(ServingWorldTest, GoesToZeroAndComesBack) {
  hello();
  EXPECT_EQ(replicas(), 1);
  // TBC 211: the activator is in the path of one pod.
  EXPECT_EQ(json::str(world.view(kSks), {"spec", "mode"}), "Proxy");
  world.live(50);
  EXPECT_EQ(replicas(), 1);
  world.live(20);
  EXPECT_EQ(replicas(), 0);
  world.live(3);
  EXPECT_TRUE(world.backend.list(res::pods(), "default").empty());
  EXPECT_EQ(world.reason_of(kPa, "Active"), "NoTraffic");
  EXPECT_EQ(world.reason_of(kRevision, "Active"), "NoTraffic");
  EXPECT_EQ(world.status_of(kRevision, "Ready"), "True");  // idle is not broken
  EXPECT_EQ(world.status_of(kService, "Ready"), "True");
  quiet();

  world.demand("default/hello-00001");
  EXPECT_EQ(replicas(), 1);  // at once: no time has passed
  EXPECT_EQ(world.backend.list(res::pods(), "default").size(), 1u);
  EXPECT_EQ(world.reason_of(kPa, "Active"), "Queued");
  world.traffic = {{"default/hello-00001", 1, 1}};
  world.live(5);
  EXPECT_EQ(world.status_of(kPa, "Active"), "True");
  EXPECT_EQ(world.status_of(kService, "Ready"), "True");
  world.live(100);
  EXPECT_EQ(replicas(), 1);
  world.traffic.clear();
  world.live(70);
  EXPECT_EQ(replicas(), 0);
  quiet();
}

TEST_F(ServingWorldTest, WaitsForTheActivatorBeforeZero) {
  hello();
  for (int i = 0; i < 100; ++i) {  // time and ticks, but nobody confirms the activator
    world.run(1s);
    world.backend.signals().set(reconcile::Signal::Activator, kPa, JsonObject{});
    sync_autoscaler(world.scaler, *world.backend.snapshot(), *world.context, world.loop.now());
    world.scaler.on_stats({}, world.loop.now());
    world.scaler.tick(world.loop.now());
    world.loop.settle();
  }
  EXPECT_EQ(world.status_of(kPa, "Active"), "False");
  EXPECT_EQ(replicas(), 1);
  world.answer();
  EXPECT_EQ(replicas(), 0);
}

TEST_F(ServingWorldTest, ScalesWithTrafficAndLeavesTheActivator) {
  hello();
  world.traffic = {{"default/hello-00001", 600, 100}};
  world.live(70);
  EXPECT_EQ(replicas(), 9);  // ceil(600 / 70)
  EXPECT_EQ(json::str(world.view(kSks), {"spec", "mode"}), "Serve");
  const Json endpoints = world.view({res::endpoints(), "default", "hello-00001"});
  EXPECT_EQ(json::array(json::array(endpoints, {"subsets"}).at(0), {"addresses"}).size(), 9u);
  quiet();
}

TEST_F(ServingWorldTest, ANewTemplateMakesANewRevision) {
  hello();
  ASSERT_TRUE(world.backend.merge(kService, R"({"spec":{"template":{"metadata":{"annotations":{
      "autoscaling.knative.dev/min-scale":"2"}}}}})"));
  world.live(10);
  EXPECT_EQ(json::str(world.view(kService), {"status", "latestReadyRevisionName"}), "hello-00002");
  EXPECT_EQ(world.status_of(kService, "Ready"), "True");
  EXPECT_EQ(json::i64(world.view({res::deployments(), "default", "hello-00002-deployment"}),
                      {"spec", "replicas"}),
            2);
  EXPECT_EQ(json::str(world.view(kRevision), {"metadata", "labels", label::kRoutingState}),
            "reserve");
  EXPECT_EQ(json::str(world.view(kPa), {"spec", "reachability"}), "Unreachable");
  world.live(130);
  EXPECT_EQ(replicas(), 0);
  quiet();
}

TEST_F(ServingWorldTest, SplitsTrafficByTag) {
  hello();
  ASSERT_TRUE(world.backend.merge(kService, R"({"spec":{
      "template":{"metadata":{"annotations":{"a":"b"}}},
      "traffic":[{"latestRevision":true,"percent":80},
                 {"revisionName":"hello-00001","latestRevision":false,"percent":20,
                  "tag":"old"}]}})"));
  world.live(10);
  EXPECT_EQ(world.status_of(kService, "Ready"), "True");
  const Json ingress = world.view(kIngress);
  const auto& rules = json::array(ingress, {"spec", "rules"});
  ASSERT_EQ(rules.size(), 4u);
  EXPECT_EQ(json::array(rules[1], {"hosts"}).at(0), Json("hello-default.apps.x.test"));
  const auto& splits = json::array(json::array(rules[1], {"http", "paths"}).at(0), {"splits"});
  ASSERT_EQ(splits.size(), 2u);
  EXPECT_EQ(json::i64(splits[0], {"percent"}), 80);
  EXPECT_EQ(json::array(rules[3], {"hosts"}).at(0), Json("old-hello-default.apps.x.test"));
  EXPECT_TRUE(world.backend.get({res::services(), "default", "old-hello"}));
  const Json route = world.view(kRoute);
  EXPECT_EQ(json::str(json::array(route, {"status", "traffic"}).at(1), {"url"}),
            "https://old-hello-default.apps.x.test");
  quiet();
  ASSERT_TRUE(world.backend.merge(
      kService, R"({"spec":{"traffic":[{"latestRevision":true,"percent":100}]}})"));
  world.live(5);
  EXPECT_FALSE(world.backend.get({res::services(), "default", "old-hello"}));
  quiet();
}

TEST_F(ServingWorldTest, ARevisionThatNeverStartsFailsWithItsReason) {
  world.begin_serving();
  world.node.never_ready("hello-00001");
  ASSERT_TRUE(world.apply(res::ksvcs(), kHello));
  world.live(20);
  EXPECT_EQ(world.status_of(kService, "Ready"), "Unknown");
  EXPECT_EQ(world.reason_of(kRoute, "AllTrafficAssigned"), "RevisionMissing");
  world.live(660);
  EXPECT_EQ(world.status_of(kService, "Ready"), "False");
  EXPECT_EQ(world.reason_of(kService, "ConfigurationsReady"), "RevisionFailed");
  EXPECT_EQ(world.reason_of(kService, "Ready"), "RevisionMissing");
  EXPECT_EQ(world.reason_of(kRevision, "ResourcesAvailable"), "ProgressDeadlineExceeded");
}

TEST_F(ServingWorldTest, DeletingTheServiceLeavesNothing) {
  hello();
  ASSERT_TRUE(world.backend.remove(kService));
  world.live(30);
  for (const auto resource :
       {res::ksvcs(), res::configurations(), res::kroutes(), res::revisions(), res::deployments(),
        res::podautoscalers(), res::sks(), res::metrics(), res::images(), res::kingresses(),
        res::virtualservices(), res::pods()}) {
    EXPECT_TRUE(world.backend.list(resource, "default").empty()) << resource.name();
  }
}

TEST_F(ServingWorldTest, OthersObjectsAreNotTaken) {
  world.begin_serving();
  ASSERT_TRUE(world.apply(res::configurations(), R"({"apiVersion":"serving.knative.dev/v1",
      "kind":"Configuration","metadata":{"name":"hello","namespace":"default"},
      "spec":{"template":{"spec":{"containers":[{"name":"c","image":"knit.local/hello"}]}}}})"));
  ASSERT_TRUE(world.apply(res::ksvcs(), kHello));
  world.live(3);
  EXPECT_EQ(world.reason_of(kService, "Ready"), "NotOwned");
  EXPECT_EQ(world.message_of(kService, "Ready"),
            "There is an existing Configuration \"hello\" that we do not own.");
}

TEST_F(ServingWorldTest, HpaIsRefusedByName) {
  world.begin_serving();
  Json service = *json::parse(kHello);
  json::set(service,
            {"spec", "template", "metadata", "annotations", "autoscaling.knative.dev/class"},
            Json("hpa.autoscaling.knative.dev"));
  ASSERT_TRUE(world.apply(res::ksvcs(), service));
  world.live(3);
  EXPECT_EQ(world.reason_of(kPa, "Active"), "UnsupportedClass");
}

TEST_F(ServingWorldTest, RolloutDurationIsNamedAsUnsupported) {
  hello();
  ASSERT_TRUE(world.backend.merge(kService, R"({"metadata":{"annotations":{
      "serving.knative.dev/rollout-duration":"60s"}}})"));
  world.live(3);
  EXPECT_EQ(world.reason_of(kRoute, "GradualRollout"), "Unsupported");
  EXPECT_EQ(world.status_of(kService, "Ready"), "True");
}

TEST_F(ServingWorldTest, LocalGatewayOnly) {
  world.begin_serving();
  Json service = *json::parse(kHello);
  json::set(service, {"metadata", "labels", label::kVisibility}, Json("cluster-local"));
  ASSERT_TRUE(world.apply(res::ksvcs(), service));
  world.live(5);
  EXPECT_EQ(json::str(world.view(kService), {"status", "url"}),
            "http://hello.default.svc.cluster.local");
  EXPECT_EQ(json::array(world.view(kIngress), {"spec", "rules"}).size(), 1u);
}

}  // namespace
}  // namespace knit::serving
