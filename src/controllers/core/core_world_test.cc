// Namespaces, services, scheduling, housekeeping: the core controllers together.
#include <gtest/gtest.h>

#include "controllers/core/test_world.h"

namespace knit::controllers::core {
namespace {
using std::chrono::minutes;
using std::chrono::seconds;

class CoreTest : public testing::Test {
 protected:
  CoreWorld world;
  void SetUp() override { world.begin(); }
  void expect_quiet() {
    EXPECT_TRUE(world.run_until_quiet());
    EXPECT_EQ(world.pending(), std::vector<std::string>());
  }
  void pod(const std::string& name, const std::string& spec_extra = "",
           const std::string& labels = R"({"app":"a"})") {
    const auto made = world.apply(
        res::pods(),
        R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":")" + name +
            R"(","namespace":"default","labels":)" + labels +
            R"(},"spec":{"containers":[{"name":"c","image":"i","ports":[{"name":"web","containerPort":8080}]}])" +
            spec_extra + "}}");
    ASSERT_TRUE(made) << made.error().message();
  }
};

TEST_F(CoreTest, ANamespaceHasAccountRootAndLabel) {
  world.make_namespace("team");
  EXPECT_TRUE(world.backend.get({res::serviceaccounts(), "team", "default"}));
  EXPECT_EQ(
      json::str(world.view({res::configmaps(), "team", "kube-root-ca.crt"}), {"data", "ca.crt"}),
      "-----ROOT-----");
  EXPECT_EQ(
      world.backend.get({res::namespaces(), "", "team"})->label("kubernetes.io/metadata.name"),
      "team");
  ASSERT_TRUE(world.backend.remove({res::serviceaccounts(), "team", "default"}));
  world.loop.settle();
  EXPECT_TRUE(world.backend.get({res::serviceaccounts(), "team", "default"})) << "it comes back";
  expect_quiet();
}

// kubeapi.md 1.8: everything is deleted, conditions tell what remains, then the namespace goes.
TEST_F(CoreTest, ANamespaceIsEmptiedThenGoes) {
  world.make_namespace("team");
  ASSERT_TRUE(world.apply(res::deployments(), R"({"apiVersion":"apps/v1","kind":"Deployment",
    "metadata":{"name":"d","namespace":"team"},"spec":{"replicas":2,"selector":{"matchLabels":{"a":"b"}},
    "template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}})"));
  ASSERT_TRUE(world.apply(res::configmaps(), R"({"apiVersion":"v1","kind":"ConfigMap",
    "metadata":{"name":"held","namespace":"team","finalizers":["x/y"]}})"));
  expect_quiet();
  const Key key{res::namespaces(), "", "team"};
  ASSERT_TRUE(world.backend.remove(key));
  world.run(seconds(5));
  const Json view = world.view(key);
  ASSERT_FALSE(view.is_null());
  EXPECT_EQ(json::str(view, {"status", "phase"}), "Terminating");
  EXPECT_EQ(json::str(condition(view, "NamespaceContentRemaining"), {"message"}),
            "Some resources are remaining: configmaps. has 1 resource instances");
  EXPECT_EQ(json::str(condition(view, "NamespaceFinalizersRemaining"), {"message"}),
            "Some content in the namespace has finalizers remaining: x/y in 1 resource instances");
  EXPECT_EQ(world.backend.list(res::pods(), "team").size(), 0U);
  EXPECT_EQ(world.pending(), std::vector<std::string>());
  ASSERT_TRUE(world.backend.merge({res::configmaps(), "team", "held"},
                                  R"({"metadata":{"finalizers":null}})"));
  expect_quiet();
  EXPECT_EQ(world.backend.get(key), nullptr);
  EXPECT_EQ(world.backend.list(res::serviceaccounts(), "team").size(), 0U);
}

TEST_F(CoreTest, TheKubernetesServiceIsThere) {
  const Json service = world.view({res::services(), "default", "kubernetes"});
  EXPECT_EQ(json::str(service, {"spec", "clusterIP"}), "172.30.0.1");
  const Json endpoints = world.view({res::endpoints(), "default", "kubernetes"});
  EXPECT_EQ(
      json::str(json::array(json::array(endpoints, {"subsets"})[0], {"addresses"})[0], {"ip"}),
      "127.0.0.1");
  EXPECT_EQ(world.backend.list(res::endpointslices(), "default").size(), 1U);
  expect_quiet();
  for (const auto resource : {res::services(), res::endpoints(), res::endpointslices()}) {
    SCOPED_TRACE(resource.name());
    ASSERT_TRUE(world.backend.remove({resource, "default", "kubernetes"}));
    world.run(seconds(1));
    EXPECT_NE(world.backend.get({resource, "default", "kubernetes"}), nullptr);
    expect_quiet();
  }
}

TEST_F(CoreTest, ServicesGetAddressesAndEndpoints) {
  pod("one");
  pod("two");
  ASSERT_TRUE(world.apply(res::services(), R"({"apiVersion":"v1","kind":"Service",
    "metadata":{"name":"s","namespace":"default"},"spec":{"selector":{"app":"a"},
    "ports":[{"name":"http","port":80,"targetPort":"web"},{"name":"none","port":81,"targetPort":"absent"}]}})"));
  const Key key{res::services(), "default", "s"};
  const auto ip = std::string(json::str(world.view(key), {"spec", "clusterIP"}));
  EXPECT_TRUE(ip.starts_with("172.30.")) << ip;
  expect_quiet();
  const Json endpoints = world.view({res::endpoints(), "default", "s"});
  ASSERT_EQ(json::array(endpoints, {"subsets"}).size(), 1U);
  const Json subset = json::array(endpoints, {"subsets"})[0];
  EXPECT_EQ(json::array(subset, {"addresses"}).size(), 2U);
  ASSERT_EQ(json::array(subset, {"ports"}).size(), 1U);
  EXPECT_EQ(json::i64(json::array(subset, {"ports"})[0], {"port"}), 8080);
  const auto slices = world.backend.snapshot()->labelled(res::endpointslices(), "default",
                                                         "kubernetes.io/service-name", "s");
  ASSERT_EQ(slices.size(), 1U);
  EXPECT_EQ(slices[0]->label("endpointslice.kubernetes.io/managed-by"),
            "endpointslice-controller.k8s.io");
  EXPECT_EQ(json::array(slices[0]->parse(), {"endpoints"}).size(), 2U);

  world.node.set_ready({res::pods(), "default", "one"}, false);
  expect_quiet();
  const Json after = json::array(world.view({res::endpoints(), "default", "s"}), {"subsets"})[0];
  EXPECT_EQ(json::array(after, {"addresses"}).size(), 1U);
  EXPECT_EQ(json::array(after, {"notReadyAddresses"}).size(), 1U);

  // A terminating pod leaves Endpoints at once and is told as terminating in the slice.
  ASSERT_TRUE(world.backend.remove({res::pods(), "default", "two"}));
  world.loop.settle();
  bool terminating = false;
  const Json slice = world.view(slices[0]->key());
  for (const auto& e : json::array(slice, {"endpoints"})) {
    terminating = terminating || json::boolean(e, {"conditions", "terminating"});
  }
  EXPECT_TRUE(terminating);
  EXPECT_EQ(json::array(json::array(world.view({res::endpoints(), "default", "s"}), {"subsets"})[0],
                        {"addresses"})
                .size(),
            0U);

  ASSERT_TRUE(world.backend.remove(key));
  expect_quiet();
  EXPECT_EQ(world.backend.get({res::endpoints(), "default", "s"}), nullptr);
  EXPECT_EQ(world.backend.list(res::endpointslices(), "default").size(), 1U) << "only kubernetes'";
}

TEST_F(CoreTest, SelectorsOfSeveralLabelsFollowLabelChanges) {
  ASSERT_TRUE(world.apply(res::services(), R"({"apiVersion":"v1","kind":"Service",
    "metadata":{"name":"s","namespace":"default"},"spec":{"selector":{"zone":"z","app":"a","tier":""},
    "ports":[{"port":80}]}})"));
  pod("one", "", R"({"app":"a","zone":"z"})");
  expect_quiet();
  const Key endpoints{res::endpoints(), "default", "s"};
  EXPECT_TRUE(json::array(world.view(endpoints), {"subsets"}).empty()) << "tier is missing";
  const Key one{res::pods(), "default", "one"};
  ASSERT_TRUE(world.backend.merge(one, R"({"metadata":{"labels":{"tier":""}}})"));
  expect_quiet();
  EXPECT_EQ(json::array(world.view(endpoints), {"subsets"}).size(), 1U);
  ASSERT_TRUE(world.backend.merge(one, R"({"metadata":{"labels":{"app":"b"}}})"));
  expect_quiet();
  EXPECT_TRUE(json::array(world.view(endpoints), {"subsets"}).empty());
}

TEST_F(CoreTest, ServiceAdmissionTable) {
  const struct {
    const char* name;
    const char* spec;
    const char* error;  // "" = accepted
  } rows[] = {
      {"headless", R"({"clusterIP":"None","ports":[{"port":80}]})", ""},
      {"by name", R"({"clusterIP":"172.30.1.1","ports":[{"port":80}]})", ""},
      {"taken", R"({"clusterIP":"172.30.0.1","ports":[{"port":80}]})",
       "provided IP is already allocated"},
      {"out of range", R"({"clusterIP":"10.0.0.1","ports":[{"port":80}]})",
       "the provided IP is not in the valid range. The range of valid IPs is 172.30.0.0/16"},
      {"node port out of range", R"({"type":"NodePort","ports":[{"port":80,"nodePort":80}]})",
       "The range of valid ports is 30000-32767"},
      {"node port", R"({"type":"NodePort","ports":[{"port":80,"nodePort":30080}]})", ""},
      {"IPv6", R"({"ipFamilies":["IPv6"],"ports":[{"port":80}]})",
       "spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster"},
      {"two families", R"({"ipFamilyPolicy":"RequireDualStack","ports":[{"port":80}]})",
       "this cluster is not configured for dual-stack services"},
      {"external name", R"({"type":"ExternalName","externalName":"x.y"})", ""},
  };
  int n = 0;
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const auto made = world.apply(res::services(),
                                  R"({"apiVersion":"v1","kind":"Service","metadata":{"name":"t)" +
                                      std::to_string(n++) + R"(","namespace":"default"},"spec":)" +
                                      row.spec + "}");
    if (*row.error == '\0') {
      EXPECT_TRUE(made) << made.error().message();
    } else {
      ASSERT_FALSE(made);
      EXPECT_NE(made.error().message().find(row.error), std::string::npos)
          << made.error().message();
    }
  }
  const auto again = world.apply(res::services(), R"({"apiVersion":"v1","kind":"Service",
    "metadata":{"name":"again","namespace":"default"},
    "spec":{"type":"NodePort","ports":[{"port":80,"nodePort":30080}]}})");
  ASSERT_FALSE(again);
  EXPECT_NE(again.error().message().find("provided port is already allocated"), std::string::npos);
  // Addresses are immutable, and a smaller number is not a prefix of a larger one.
  const auto changed = world.backend.merge({res::services(), "default", "t1"},
                                           R"({"spec":{"clusterIP":"172.30.1.2"}})");
  ASSERT_FALSE(changed);
  EXPECT_NE(changed.error().message().find("may not change once set"), std::string::npos);
  expect_quiet();
}

// kubeapi.md 4.1: Knative's public Service is selectorless; its controller writes the Endpoints.
TEST_F(CoreTest, EndpointsWithoutSelectorAreMirrored) {
  ASSERT_TRUE(world.apply(res::services(), R"({"apiVersion":"v1","kind":"Service",
    "metadata":{"name":"k","namespace":"default"},"spec":{"ports":[{"name":"http","port":80}]}})"));
  ASSERT_TRUE(world.apply(res::endpoints(), R"({"apiVersion":"v1","kind":"Endpoints",
    "metadata":{"name":"k","namespace":"default","labels":{"l":"v"}},
    "subsets":[{"addresses":[{"ip":"10.128.0.9"}],"notReadyAddresses":[{"ip":"10.128.0.8"}],
    "ports":[{"name":"http","port":8012}]}]})"));
  expect_quiet();
  const auto slices = world.backend.snapshot()->labelled(res::endpointslices(), "default",
                                                         "kubernetes.io/service-name", "k");
  ASSERT_EQ(slices.size(), 1U);
  EXPECT_EQ(slices[0]->label("endpointslice.kubernetes.io/managed-by"),
            "endpointslicemirroring-controller.k8s.io");
  EXPECT_EQ(slices[0]->label("l"), "v");
  const Json slice = slices[0]->parse();
  EXPECT_EQ(json::array(slice, {"endpoints"}).size(), 2U);
  EXPECT_EQ(json::i64(json::array(slice, {"ports"})[0], {"port"}), 8012);
  ASSERT_TRUE(world.backend.remove({res::endpoints(), "default", "k"}));
  expect_quiet();
  EXPECT_TRUE(world.backend.snapshot()
                  ->labelled(res::endpointslices(), "default", "kubernetes.io/service-name", "k")
                  .empty());
}

TEST_F(CoreTest, WhatDoesNotFitIsToldAndBoundLater) {
  pod("big", R"(,"nodeSelector":{"disk":"ssd"})");
  const Key key{res::pods(), "default", "big"};
  const Json scheduled = condition(world.view(key), "PodScheduled");
  EXPECT_EQ(json::str(scheduled, {"reason"}), "Unschedulable");
  EXPECT_EQ(json::str(scheduled, {"message"}),
            "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.");
  ASSERT_TRUE(
      world.backend.merge({res::nodes(), "", "knit"}, R"({"metadata":{"labels":{"disk":"ssd"}}})"));
  expect_quiet();
  EXPECT_EQ(json::str(world.view(key), {"spec", "nodeName"}), "knit");
  EXPECT_EQ(condition_status(world.view(key), "PodScheduled"), "True");
}

TEST_F(CoreTest, MemoryIsCounted) {
  const std::string half = R"(,"overhead":{"memory":"3Gi"})";
  pod("one", half);
  pod("two", half);
  const Key two{res::pods(), "default", "two"};
  EXPECT_EQ(json::str(condition(world.view(two), "PodScheduled"), {"message"}),
            "0/1 nodes are available: 1 Insufficient memory.");
  ASSERT_TRUE(world.backend.remove({res::pods(), "default", "one"}));
  expect_quiet();
  EXPECT_EQ(json::str(world.view(two), {"spec", "nodeName"}), "knit");
}

TEST_F(CoreTest, EventsGoAfterAnHour) {
  pod("p");
  const auto events = world.backend.list(res::events()).size();
  EXPECT_GT(events, 0U);
  world.loop.step_wall(minutes(90));
  expect_quiet();
  EXPECT_EQ(world.backend.list(res::events()).size(), events) << "the clock moved, no time went by";
  world.loop.step_wall(-minutes(180));
  world.run(minutes(61));
  EXPECT_TRUE(world.backend.list(res::events()).empty());
}

TEST_F(CoreTest, ASilentNodeIsUnknown) {
  world.run(seconds(30));
  const Key node{res::nodes(), "", "knit"};
  EXPECT_EQ(condition_status(world.view(node), "Ready"), "True");
  world.node.crash();
  world.run(seconds(51));
  const Json ready = condition(world.view(node), "Ready");
  EXPECT_EQ(json::str(ready, {"status"}), "Unknown");
  EXPECT_EQ(json::str(ready, {"reason"}), "NodeStatusUnknown");
}

TEST_F(CoreTest, NeitherAStepOfTheClockNorAStopOfTheControllersMakesANodeSilent) {
  world.run(seconds(15));
  const Key node{res::nodes(), "", "knit"};
  world.loop.step_wall(minutes(90));
  world.run(seconds(60));
  EXPECT_EQ(condition_status(world.view(node), "Ready"), "True");
  world.loop.step_wall(-minutes(180));
  world.run(seconds(60));
  EXPECT_EQ(condition_status(world.view(node), "Ready"), "True");
  // A driver that starts long after the lease was renewed gives the node its time, then judges.
  world.node.crash();
  world.run(seconds(30));
  reconcile::Driver late(world.loop, world.backend);
  register_core(late, world.settings);
  for (const auto& event : world.backend.list(res::events())) {
    ASSERT_TRUE(world.backend.remove(event->key()));
  }
  EXPECT_EQ(late.pending_plans(), std::vector<std::string>());
  world.run(seconds(21));
  EXPECT_EQ(condition_status(world.view(node), "Ready"), "Unknown");
}

TEST_F(CoreTest, PodsOfALostNodeGo) {
  pod("p");
  world.run(seconds(1));
  world.node.crash();
  ASSERT_TRUE(world.backend.remove({res::nodes(), "", "knit"}));
  world.run(seconds(30));
  EXPECT_EQ(world.backend.list(res::pods()).size(), 1U);
  world.run(seconds(11));
  EXPECT_EQ(world.backend.list(res::pods()).size(), 0U);
}

TEST(CoreEndedPods, OnlySoManyAreKept) {
  CoreSettings settings;
  settings.ended_pods_kept = 2;
  CoreWorld world(settings);
  world.begin();
  for (int i = 0; i < 5; ++i) {
    const std::string name = "p" + std::to_string(i);
    ASSERT_TRUE(world.apply(
        res::pods(),
        R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":")" + name +
            R"(","namespace":"default"},"spec":{"containers":[{"name":"c","image":"i"}]}})"));
    world.run(seconds(1));
    world.node.finish({res::pods(), "default", name}, "Succeeded");
    world.run(seconds(1));
  }
  const auto left = world.backend.list(res::pods());
  ASSERT_EQ(left.size(), 2U);
  EXPECT_EQ(left[0]->key().name, "p3");
}

}  // namespace
}  // namespace knit::controllers::core
