#include "controllers/core/workloads/deployment.h"

#include <gtest/gtest.h>

#include "controllers/core/test_world.h"

namespace knit::controllers::core {
namespace {
using std::chrono::milliseconds;
using std::chrono::seconds;

std::string manifest(int replicas, std::string_view image = "a:1", std::string_view extra = "") {
  return R"({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":"default"},
    "spec":{"replicas":)" +
         std::to_string(replicas) + std::string(extra) +
         R"(,"selector":{"matchLabels":{"app":"web"}},"template":{"metadata":{"labels":{"app":"web"}},
    "spec":{"containers":[{"name":"c","image":")" +
         std::string(image) + R"("}]}}}})";
}

class DeploymentTest : public testing::Test {
 protected:
  CoreWorld world;
  const Key key{res::deployments(), "default", "web"};
  void SetUp() override { world.begin(); }
  Json deployment() { return world.view(key); }
  std::vector<ObjectPtr> pods() { return world.backend.list(res::pods(), "default"); }
  std::vector<ObjectPtr> sets() { return world.backend.list(res::replicasets(), "default"); }
  void expect_quiet() {
    EXPECT_TRUE(world.run_until_quiet());
    EXPECT_EQ(world.pending(), std::vector<std::string>());
  }
  std::string reason(std::string_view type) {
    return std::string(json::str(condition(deployment(), type), {"reason"}));
  }
};

TEST_F(DeploymentTest, CreateIsOneTransactionDownToTheBoundPod) {
  const auto before = world.backend.commits();
  ASSERT_TRUE(world.apply(res::deployments(), manifest(2)));
  EXPECT_EQ(world.backend.commits(), before + 1);
  ASSERT_EQ(pods().size(), 2U);
  for (const auto& pod : pods()) {
    EXPECT_EQ(json::str(pod->parse(), {"spec", "nodeName"}), "knit");
  }
}

// kubeapi.md 4.1: names, hash label, annotations, owner, status and conditions.
TEST_F(DeploymentTest, BecomesAvailable) {
  ASSERT_TRUE(world.apply(res::deployments(), manifest(2)));
  EXPECT_EQ(reason("Available"), "MinimumReplicasUnavailable");
  EXPECT_EQ(json::i64(deployment(), {"status", "unavailableReplicas"}), 2);
  expect_quiet();
  ASSERT_EQ(sets().size(), 1U);
  const Json rs = sets()[0]->parse();
  const auto hash = json::str(rs, {"metadata", "labels", "pod-template-hash"});
  EXPECT_FALSE(hash.empty());
  EXPECT_EQ(sets()[0]->key().name, "web-" + std::string(hash));
  EXPECT_EQ(json::str(rs, {"spec", "selector", "matchLabels", "pod-template-hash"}), hash);
  EXPECT_EQ(json::str(rs, {"metadata", "annotations", "deployment.kubernetes.io/revision"}), "1");
  EXPECT_EQ(json::str(rs, {"metadata", "annotations", "deployment.kubernetes.io/desired-replicas"}),
            "2");
  EXPECT_EQ(json::str(rs, {"metadata", "annotations", "deployment.kubernetes.io/max-replicas"}),
            "3");
  EXPECT_EQ(sets()[0]->controller()->uid, world.backend.get(key)->uid());
  const Json d = deployment();
  EXPECT_EQ(json::i64(d, {"status", "replicas"}), 2);
  EXPECT_EQ(json::i64(d, {"status", "updatedReplicas"}), 2);
  EXPECT_EQ(json::i64(d, {"status", "readyReplicas"}), 2);
  EXPECT_EQ(json::i64(d, {"status", "availableReplicas"}), 2);
  EXPECT_EQ(json::find(d, {"status", "unavailableReplicas"}), nullptr);
  EXPECT_EQ(json::i64(d, {"status", "observedGeneration"}), 1);
  EXPECT_EQ(json::str(d, {"metadata", "annotations", "deployment.kubernetes.io/revision"}), "1");
  EXPECT_EQ(condition_status(d, "Available"), "True");
  EXPECT_EQ(reason("Progressing"), "NewReplicaSetAvailable");
  EXPECT_EQ(json::str(condition(d, "Progressing"), {"message"}),
            "ReplicaSet \"" + sets()[0]->key().name + "\" has successfully progressed.");
}

TEST_F(DeploymentTest, ScalesToZeroAndBack) {
  ASSERT_TRUE(world.apply(res::deployments(), manifest(3)));
  expect_quiet();
  ASSERT_TRUE(world.backend.merge(key, R"({"spec":{"replicas":0}})"));
  expect_quiet();
  EXPECT_EQ(pods().size(), 0U);
  EXPECT_EQ(json::find(deployment(), {"status", "replicas"}), nullptr);
  ASSERT_TRUE(world.backend.merge(key, R"({"spec":{"replicas":1}})"));
  expect_quiet();
  EXPECT_EQ(pods().size(), 1U);
  EXPECT_EQ(json::i64(deployment(), {"status", "availableReplicas"}), 1);
  EXPECT_EQ(sets().size(), 1U);
}

TEST_F(DeploymentTest, RollsOutWithinSurgeAndUnavailable) {
  ASSERT_TRUE(world.apply(res::deployments(), manifest(4)));
  expect_quiet();
  ASSERT_TRUE(world.apply(res::deployments(), manifest(4, "a:2")));
  for (int step = 0; step < 200; ++step) {
    world.run(milliseconds(1));
    std::int64_t all = 0, ready = 0;
    for (const auto& pod : pods()) {
      const Json p = pod->parse();
      if (!pod_active(p)) continue;
      ++all;
      ready += pod_ready(p) ? 1 : 0;
    }
    ASSERT_LE(all, 5) << "maxSurge 25% of 4 is 1";
    ASSERT_GE(ready, 3) << "maxUnavailable 25% of 4 is 1";
  }
  expect_quiet();
  ASSERT_EQ(sets().size(), 2U);
  for (const auto& pod : pods()) {
    EXPECT_EQ(json::str(json::array(pod->parse(), {"spec", "containers"})[0], {"image"}), "a:2");
  }
  EXPECT_EQ(
      json::str(deployment(), {"metadata", "annotations", "deployment.kubernetes.io/revision"}),
      "2");
  // Going back reuses the first set, with a new revision number.
  ASSERT_TRUE(world.apply(res::deployments(), manifest(4, "a:1")));
  expect_quiet();
  EXPECT_EQ(sets().size(), 2U);
  EXPECT_EQ(
      json::str(deployment(), {"metadata", "annotations", "deployment.kubernetes.io/revision"}),
      "3");
}

TEST_F(DeploymentTest, KeepsSoManyOldSets) {
  for (int i = 0; i < 6; ++i) {
    ASSERT_TRUE(world.apply(res::deployments(),
                            manifest(1, "a:" + std::to_string(i), R"(,"revisionHistoryLimit":2)")));
    expect_quiet();
  }
  EXPECT_EQ(sets().size(), 3U);
}

TEST_F(DeploymentTest, RecreateStopsAllBeforeItStartsOne) {
  const std::string recreate = R"(,"strategy":{"type":"Recreate"})";
  ASSERT_TRUE(world.apply(res::deployments(), manifest(2, "a:1", recreate)));
  expect_quiet();
  ASSERT_TRUE(world.apply(res::deployments(), manifest(2, "a:2", recreate)));
  for (int step = 0; step < 100; ++step) {
    world.run(milliseconds(1));
    std::set<std::string> images;
    for (const auto& pod : pods()) {
      images.insert(
          std::string(json::str(json::array(pod->parse(), {"spec", "containers"})[0], {"image"})));
    }
    ASSERT_LE(images.size(), 1U);
  }
  expect_quiet();
  EXPECT_EQ(json::i64(deployment(), {"status", "availableReplicas"}), 2);
}

TEST_F(DeploymentTest, APausedOneScalesButDoesNotRollOut) {
  ASSERT_TRUE(world.apply(res::deployments(), manifest(1)));
  expect_quiet();
  ASSERT_TRUE(world.backend.merge(key, R"({"spec":{"paused":true}})"));
  expect_quiet();
  EXPECT_EQ(reason("Progressing"), "DeploymentPaused");
  ASSERT_TRUE(world.apply(res::deployments(), manifest(3, "a:2")));
  expect_quiet();
  EXPECT_EQ(sets().size(), 1U);
  EXPECT_EQ(pods().size(), 3U);
  ASSERT_TRUE(world.backend.merge(key, R"({"spec":{"paused":false}})"));
  expect_quiet();
  EXPECT_EQ(sets().size(), 2U);
  EXPECT_EQ(reason("Progressing"), "NewReplicaSetAvailable");
}

TEST_F(DeploymentTest, SaysWhenItsDeadlinePasses) {
  world.node.never_ready("web-");
  ASSERT_TRUE(
      world.apply(res::deployments(), manifest(1, "a:1", R"(,"progressDeadlineSeconds":60)")));
  world.run(seconds(59));
  EXPECT_NE(reason("Progressing"), "ProgressDeadlineExceeded");
  world.run(seconds(3));
  EXPECT_EQ(reason("Progressing"), "ProgressDeadlineExceeded");
  EXPECT_EQ(json::str(condition(deployment(), "Progressing"), {"message"}),
            "ReplicaSet \"" + sets()[0]->key().name + "\" has timed out progressing.");
  EXPECT_EQ(world.pending(), std::vector<std::string>());
}

// A pod that admission refuses is told in the conditions, not only in a log.
TEST_F(DeploymentTest, SaysWhyPodsCannotBeMade) {
  Json d = literal(manifest(1));
  json::set(d, {"spec", "template", "spec", "serviceAccountName"}, Json("nobody"));
  ASSERT_TRUE(world.apply(res::deployments(), d));
  EXPECT_EQ(reason("ReplicaFailure"), "FailedCreate");
  EXPECT_NE(json::str(condition(deployment(), "ReplicaFailure"), {"message"})
                .find("serviceaccount \"nobody\" not found"),
            std::string_view::npos);
  ASSERT_TRUE(world.apply(res::serviceaccounts(), R"({"apiVersion":"v1","kind":"ServiceAccount",
      "metadata":{"name":"nobody","namespace":"default"}})"));
  world.run(seconds(6));
  expect_quiet();
  EXPECT_EQ(reason("ReplicaFailure"), "");
  EXPECT_EQ(pods().size(), 1U);
}

TEST_F(DeploymentTest, DeletingItTakesSetsAndPodsAlong) {
  ASSERT_TRUE(world.apply(res::deployments(), manifest(2)));
  expect_quiet();
  ASSERT_TRUE(world.backend.remove(key));
  expect_quiet();
  EXPECT_EQ(sets().size(), 0U);
  EXPECT_EQ(pods().size(), 0U);
}

TEST_F(DeploymentTest, ForegroundDeletionWaitsForDependents) {
  ASSERT_TRUE(world.apply(res::deployments(), manifest(1)));
  expect_quiet();
  ASSERT_TRUE(world.backend.merge(key, R"({"metadata":{"finalizers":["foregroundDeletion"]}})"));
  ASSERT_TRUE(world.backend.remove(key));
  world.loop.settle();
  EXPECT_NE(world.backend.get(key), nullptr) << "the pod is still stopping";
  expect_quiet();
  EXPECT_EQ(world.backend.get(key), nullptr);
  EXPECT_EQ(pods().size(), 0U);
}

TEST_F(DeploymentTest, OrphansAreLeftAndAdoptedAgain) {
  ASSERT_TRUE(world.apply(res::deployments(), manifest(1)));
  expect_quiet();
  const std::string pod = pods()[0]->uid();
  ASSERT_TRUE(world.backend.merge(key, R"({"metadata":{"finalizers":["orphan"]}})"));
  ASSERT_TRUE(world.backend.remove(key));
  expect_quiet();
  EXPECT_EQ(world.backend.get(key), nullptr);
  ASSERT_EQ(sets().size(), 1U);
  EXPECT_EQ(sets()[0]->controller(), nullptr);
  ASSERT_TRUE(world.apply(res::deployments(), manifest(1)));
  expect_quiet();
  ASSERT_EQ(sets().size(), 1U);
  ASSERT_EQ(pods().size(), 1U);
  EXPECT_EQ(pods()[0]->uid(), pod);
  EXPECT_EQ(sets()[0]->controller()->uid, world.backend.get(key)->uid());
}

TEST(TemplateHash, IgnoresTheHashLabelAndOrder) {
  const Json a = literal(R"({"metadata":{"labels":{"a":"1","b":"2"}},"spec":{"x":1}})");
  const Json b = literal(
      R"({"spec":{"x":1},"metadata":{"labels":{"b":"2","pod-template-hash":"z","a":"1"}}})");
  EXPECT_EQ(template_hash(a, 0), template_hash(b, 0));
  EXPECT_NE(template_hash(a, 0), template_hash(a, 1));
}

}  // namespace
}  // namespace knit::controllers::core
