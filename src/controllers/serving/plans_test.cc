// Single planners: what one object's plan writes.
#include <gtest/gtest.h>

#include "controllers/serving/configuration_plan.h"
#include "controllers/serving/test_world.h"

namespace knit::serving {
namespace {
using namespace std::chrono_literals;

class PlansTest : public ::testing::Test {
 protected:
  PlansTest() { world.begin_serving(); }
  void make(kube::Resource resource, const std::string& manifest) {
    ASSERT_TRUE(world.backend.apply(resource, manifest)) << manifest;
  }
  ServingWorld world;
};

std::string service(const std::string& name, const std::string& template_metadata = "{}",
                    const std::string& traffic = R"([{"latestRevision":true,"percent":100}])") {
  return R"({"apiVersion":"serving.knative.dev/v1","kind":"Service","metadata":{"name":")" + name +
         R"(","namespace":"default"},"spec":{"template":{"metadata":)" + template_metadata +
         R"(,"spec":{"containers":[{"name":"user-container","image":"knit.local/hello"}]}},)"
         R"("traffic":)" +
         traffic + "}}";
}

TEST_F(PlansTest, NamedRevisions) {  // serving.md 1.1, 2.4
  make(res::ksvcs(), service("a", R"({"name":"a-one"})"));
  world.live(5);
  EXPECT_TRUE(world.backend.get({res::revisions(), "default", "a-one"}));
  EXPECT_EQ(world.status_of({res::ksvcs(), "default", "a"}, "Ready"), "True");
  // The same name with another template is a conflict, and traffic stays.
  ASSERT_TRUE(world.backend.merge({res::ksvcs(), "default", "a"}, R"({"spec":{"template":{"spec":{
      "timeoutSeconds":7}}}})"));
  world.live(5);
  EXPECT_EQ(world.reason_of({res::ksvcs(), "default", "a"}, "RoutesReady"), "RevisionNameTaken");
  EXPECT_EQ(world.message_of({res::ksvcs(), "default", "a"}, "ConfigurationsReady"),
            "Revision creation failed with message: revisions.serving.knative.dev \"a-one\" "
            "already exists.");
  // Somebody else's name.
  make(res::ksvcs(), service("b", R"({"name":"a-one"})"));
  world.live(3);
  EXPECT_EQ(world.reason_of({res::ksvcs(), "default", "b"}, "RoutesReady"), "RevisionNameTaken");
}

TEST_F(PlansTest, TrafficProblems) {  // serving.md 1.4
  make(res::ksvcs(), service("a"));
  world.live(5);
  make(res::ksvcs(), service("other"));
  world.live(5);
  const struct {
    const char* name;
    const char* traffic;
    const char *status, *reason, *message;
  } rows[] = {
      {"no such revision", R"([{"revisionName":"nope","percent":100,"latestRevision":false}])",
       "False", "RevisionMissing", "Revision \"nope\" referenced in traffic not found."},
      {"another service's revision",
       R"([{"revisionName":"other-00001","percent":100,"latestRevision":false}])", "False",
       "RevisionNotOwned",
       "Revision \"other-00001\" does not belong to the Service of this Route."},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    Json patch = JsonObject();
    json::set(patch, {"spec", "traffic"}, *json::parse(row.traffic));
    ASSERT_TRUE(world.backend.merge({res::ksvcs(), "default", "a"}, json::print(patch)));
    world.live(3);
    const Key route{res::kroutes(), "default", "a"};
    EXPECT_EQ(world.status_of(route, "AllTrafficAssigned"), row.status);
    EXPECT_EQ(world.reason_of(route, "AllTrafficAssigned"), row.reason);
    EXPECT_EQ(world.message_of(route, "AllTrafficAssigned"), row.message);
  }
  make(res::kroutes(), R"({"apiVersion":"serving.knative.dev/v1","kind":"Route","metadata":{
      "name":"r","namespace":"default"},"spec":{"traffic":[
      {"configurationName":"none","percent":100,"latestRevision":true}]}})");
  world.live(1);
  EXPECT_EQ(world.reason_of({res::kroutes(), "default", "r"}, "AllTrafficAssigned"),
            "ConfigurationMissing");
}

TEST_F(PlansTest, ARouteByItselfKeepsItsRevisionReachable) {  // serving.md 2.4, the labeler
  make(res::configurations(), R"({"apiVersion":"serving.knative.dev/v1","kind":"Configuration",
      "metadata":{"name":"c","namespace":"default"},"spec":{"template":{"spec":{"containers":[
      {"name":"user-container","image":"knit.local/hello"}]}}}})");
  world.live(5);
  const Key revision{res::revisions(), "default", "c-00001"};
  EXPECT_EQ(json::str(world.view(revision), {"metadata", "labels", label::kRoutingState}),
            "pending");
  make(res::kroutes(), R"({"apiVersion":"serving.knative.dev/v1","kind":"Route","metadata":{
      "name":"r","namespace":"default"},"spec":{"traffic":[
      {"configurationName":"c","percent":100,"latestRevision":true}]}})");
  world.live(5);
  EXPECT_EQ(json::str(world.view(revision), {"metadata", "labels", label::kRoutingState}),
            "active");
  EXPECT_EQ(json::str(world.view(revision), {"metadata", "annotations", annotation::kRoutes}), "r");
  EXPECT_EQ(json::str(world.view({res::kroutes(), "default", "r"}), {"status", "url"}),
            "https://r-default.apps.x.test");
  ASSERT_TRUE(world.backend.remove({res::kroutes(), "default", "r"}));
  world.live(2);
  EXPECT_FALSE(world.backend.get({res::kroutes(), "default", "r"}));  // the finalizer went
  EXPECT_EQ(json::str(world.view(revision), {"metadata", "labels", label::kRoutingState}),
            "reserve");
  EXPECT_EQ(json::find(world.view(revision), {"metadata", "annotations", annotation::kRoutes}),
            nullptr);
  EXPECT_EQ(world.pending(), std::vector<std::string>());
}

TEST_F(PlansTest, CrashingContainerNamesItsExitCode) {  // serving.md 1.3
  world.node.never_ready("a-00001");
  make(res::ksvcs(), service("a"));
  world.live(3);
  const auto pods = world.backend.list(res::pods(), "default");
  ASSERT_EQ(pods.size(), 1u);
  Json status = *json::find(pods[0]->parse(), "status");
  for (auto& c : json::find(status, "containerStatuses")->get_array()) {
    json::set(c, {"lastState", "terminated"},
              *json::parse(R"({"exitCode":3,"message":"no config"})"));
  }
  ASSERT_TRUE(world.backend.status(pods[0]->key(), status));
  world.live(1);
  const Key revision{res::revisions(), "default", "a-00001"};
  EXPECT_EQ(world.reason_of(revision, "ContainerHealthy"), "ExitCode3");
  EXPECT_EQ(world.message_of(revision, "Ready"), "Container failed with: no config");
  EXPECT_EQ(world.message_of({res::ksvcs(), "default", "a"}, "ConfigurationsReady"),
            "Revision \"a-00001\" failed with message: Container failed with: no config.");
  // A minimum scale must not pin it.
  EXPECT_EQ(json::str(world.view({res::podautoscalers(), "default", "a-00001"}),
                      {"spec", "reachability"}),
            "Unreachable");
}

TEST_F(PlansTest, WhatAContainerWaitsForIsSaidAtOnce) {
  const struct {
    const char *name, *state, *type, *status, *reason, *message, *service;
  } rows[] = {
      {"image", R"({"waiting":{"reason":"ErrImagePull","message":"not in the store"}})",
       "ContainerHealthy", "False", "ContainerMissing",
       "Unable to fetch image \"knit.local/hello\": not in the store",
       "Revision \"a-00001\" failed with message: Unable to fetch image \"knit.local/hello\": not "
       "in the store."},
      {"secret",
       R"({"waiting":{"reason":"CreateContainerConfigError","message":"secret \"x\" not found"}})",
       "ResourcesAvailable", "Unknown", "CreateContainerConfigError", "secret \"x\" not found",
       "Revision \"a-00001\" is not ready: secret \"x\" not found"},
      {"creating", R"({"waiting":{"reason":"ContainerCreating"}})", "ResourcesAvailable", "Unknown",
       "Deploying", "", ""},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    ServingWorld fresh;
    fresh.begin_serving();
    fresh.node.never_ready("a-00001");
    ASSERT_TRUE(fresh.apply(res::ksvcs(), service("a")));
    fresh.live(3);
    const auto pods = fresh.backend.list(res::pods(), "default");
    ASSERT_EQ(pods.size(), 1u);
    Json status = *json::find(pods[0]->parse(), "status");
    for (auto& c : json::find(status, "containerStatuses")->get_array()) {
      json::set(c, {"state"}, *json::parse(row.state));
    }
    ASSERT_TRUE(fresh.backend.status(pods[0]->key(), status));
    fresh.live(1);
    const Key revision{res::revisions(), "default", "a-00001"};
    EXPECT_EQ(fresh.status_of(revision, row.type), row.status);
    EXPECT_EQ(fresh.reason_of(revision, row.type), row.reason);
    EXPECT_EQ(fresh.message_of(revision, row.type), row.message);
    EXPECT_EQ(fresh.message_of({res::ksvcs(), "default", "a"}, "ConfigurationsReady"), row.service);
    EXPECT_EQ(fresh.pending(), std::vector<std::string>());
  }
}

TEST_F(PlansTest, AContainerThatNeverListensIsNamedAfterTenSeconds) {
  world.node.never_ready("a-00001");
  make(res::ksvcs(), service("a"));
  world.live(3);
  const auto pods = world.backend.list(res::pods(), "default");
  ASSERT_EQ(pods.size(), 1u);
  Json status = *json::find(pods[0]->parse(), "status");
  for (auto& c : json::find(status, "containerStatuses")->get_array()) {
    json::set(
        c, {"state"},
        *json::parse(R"({"running":{"startedAt":")" + rfc3339(world.loop.wall_now()) + R"("}})"));
  }
  ASSERT_TRUE(world.backend.status(pods[0]->key(), status));
  world.live(5);
  const Key service_key{res::ksvcs(), "default", "a"};
  EXPECT_EQ(world.message_of(service_key, "ConfigurationsReady"), "");
  world.live(6);
  EXPECT_EQ(world.status_of(service_key, "Ready"), "Unknown");
  EXPECT_EQ(world.reason_of(service_key, "ConfigurationsReady"), "ContainersNotReady");
  EXPECT_EQ(world.message_of(service_key, "ConfigurationsReady"),
            "Revision \"a-00001\" is not ready: container \"user-container\" of pod " +
                pods[0]->key().name +
                " runs, but its readiness probe has not succeeded yet: it must listen on port 8080 "
                "($PORT) of every address, not only of localhost");
}

TEST_F(PlansTest, GcKeepsWhatItMust) {  // serving.md 2.4
  world.config_map("config-gc", R"({"min-non-active-revisions":"1",
      "max-non-active-revisions":"2","retain-since-create-time":"disabled",
      "retain-since-last-active-time":"disabled"})");
  make(res::ksvcs(), service("a"));
  world.live(5);
  for (int i = 2; i <= 6; ++i) {
    ASSERT_TRUE(world.backend.merge({res::ksvcs(), "default", "a"},
                                    R"({"spec":{"template":{"metadata":{"annotations":{"n":")" +
                                        std::to_string(i) + R"("}}}}})"));
    world.live(5);
  }
  std::string left;
  for (const auto& r : world.backend.list(res::revisions(), "default")) left += r->key().name + " ";
  EXPECT_EQ(left, "a-00004 a-00005 a-00006 ");  // two in reserve, one serves
  world.config_map("config-gc", R"({"min-non-active-revisions":"1",
      "retain-since-create-time":"10m","retain-since-last-active-time":"disabled"})");
  world.live(1);
  EXPECT_EQ(world.backend.list(res::revisions(), "default").size(), 3u);
  world.run(600s);
  world.live(2);
  EXPECT_EQ(world.backend.list(res::revisions(), "default").size(), 2u);
}

TEST_F(PlansTest, SksServices) {  // serving.md 2.2
  Json h2c = *json::parse(service("a"));
  json::find(h2c, {"spec", "template", "spec", "containers"})
      ->get_array()[0]
      .get_object()["ports"] = *json::parse(R"([{"name":"h2c","containerPort":8080}])");
  ASSERT_TRUE(world.backend.apply(res::ksvcs(), h2c));
  make(res::ksvcs(), service("b"));
  world.live(5);
  const auto ports = [&](const std::string& name) {
    std::string out;
    const Json object = world.view({res::services(), "default", name});
    for (const auto& p : json::array(object, {"spec", "ports"})) {
      out += std::string(json::str(p, {"name"})) + ":" + std::to_string(json::i64(p, {"port"})) +
             ">" + std::to_string(json::i64(p, {"targetPort"})) + " ";
    }
    return out;
  };
  EXPECT_EQ(ports("a-00001"), "http2:81>8013 https:443>8112 ");
  EXPECT_EQ(ports("a-00001-private"),
            "http2:80>8013 https:443>8112 http-autometric:9090>9090 "
            "http-usermetric:9091>9091 http2-istio:8013>8013 ");
  EXPECT_EQ(ports("b-00001"), "http:80>8012 https:443>8112 ");
  EXPECT_EQ(ports("b-00001-private"),
            "http:80>8012 https:443>8112 http-autometric:9090>9090 "
            "http-usermetric:9091>9091 http-istio:8012>8012 ");
  const Json endpoints = world.view({res::endpoints(), "default", "b-00001"});
  EXPECT_EQ(
      json::print(json::array(endpoints, {"subsets"})),
      R"([{"addresses":[{"ip":"10.128.1.1"}],"ports":[{"name":"http","port":8012,"protocol":"TCP"},)"
      R"({"name":"https","port":8112,"protocol":"TCP"}]}])");  // the activator: one pod, TBC 211
  EXPECT_EQ(
      json::i64(
          json::array(
              json::array(world.view({res::kingresses(), "default", "a"}), {"spec", "rules"}).at(0),
              {"http", "paths"})
              .at(0)
              .at("splits")
              .at(0),
          {"servicePort"}),
      81);
}

TEST_F(PlansTest, DigestsComeFromTheResolver) {  // serving.md 2.3
  world.context->settings.resolve_digests = true;
  Json external = *json::parse(service("a"));
  json::find(external, {"spec", "template", "spec", "containers"})
      ->get_array()[0]
      .get_object()["image"] = "r.test/i:1";
  ASSERT_TRUE(world.backend.apply(res::ksvcs(), external));
  make(res::ksvcs(), service("local"));
  world.live(5);
  EXPECT_EQ(world.status_of({res::ksvcs(), "default", "local"}, "Ready"), "True");
  const Key revision{res::revisions(), "default", "a-00001"};
  EXPECT_EQ(world.reason_of(revision, "ContainerHealthy"), "ResolvingDigests");
  EXPECT_FALSE(world.backend.get({res::deployments(), "default", "a-00001-deployment"}));
  world.backend.signals().set(reconcile::Signal::Digest, revision,
                              *json::parse(R"({"r.test/i:1":{"error":"401 Unauthorized"}})"));
  world.live(1);
  EXPECT_EQ(world.reason_of(revision, "ContainerHealthy"), "ContainerMissing");
  EXPECT_EQ(world.message_of(revision, "Ready"),
            "Unable to fetch image \"r.test/i:1\": 401 Unauthorized");
  world.backend.signals().set(reconcile::Signal::Digest, revision,
                              *json::parse(R"({"r.test/i:1":{"digest":"r.test/i@sha256:1"}})"));
  world.live(5);
  EXPECT_EQ(world.status_of(revision, "Ready"), "True");
  EXPECT_EQ(json::str(json::array(world.view({res::deployments(), "default", "a-00001-deployment"}),
                                  {"spec", "template", "spec", "containers"})
                          .at(0),
                      {"image"}),
            "r.test/i@sha256:1");
}

TEST_F(PlansTest, AVirtualServiceOfOthersIsNotTaken) {  // mesh.md 3.3
  make(res::virtualservices(), R"({"apiVersion":"networking.istio.io/v1beta1",
      "kind":"VirtualService","metadata":{"name":"a-ingress","namespace":"default"},
      "spec":{"hosts":["x.test"]}})");
  make(res::ksvcs(), service("a"));
  world.live(5);
  const Key ingress{res::kingresses(), "default", "a"};
  EXPECT_EQ(world.reason_of(ingress, "NetworkConfigured"), "NotOwned");
  EXPECT_EQ(world.message_of({res::ksvcs(), "default", "a"}, "Ready"),
            "There is an existing VirtualService \"a-ingress\" that we do not own.");
}

// Without Serving nobody plans; so whoever plans must wake when it is installed.
TEST(Planners, WakeWhenServingIsInstalled) {
  const auto context = std::make_shared<Context>(ServingSettings{});
  for (const auto& planner : serving_planners(context)) {
    EXPECT_TRUE(std::any_of(planner.triggers.begin(), planner.triggers.end(), [](const auto& t) {
      return t.resource == kube::res::knativeservings();
    })) << planner.name;
  }
}

}  // namespace
}  // namespace knit::serving
