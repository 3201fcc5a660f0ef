#include "controllers/core/workloads/replicaset.h"

#include <gtest/gtest.h>

#include "controllers/core/test_world.h"

namespace knit::controllers::core {
namespace {

// kubeapi.md 4.1: not ready first, then newest. The whole order is upstream's ActivePodsWithRanks.
TEST(DeletedBefore, Table) {
  const struct {
    const char* name;
    const char* first;
    const char* second;
  } rows[] = {
      {"unassigned", R"({"spec":{}})", R"({"spec":{"nodeName":"n"}})"},
      {"pending", R"({"status":{"phase":"Pending"}})", R"({"status":{"phase":"Running"}})"},
      {"unknown", R"({"status":{"phase":"Unknown"}})", R"({"status":{"phase":"Running"}})"},
      {"not ready", R"({"status":{"phase":"Running"}})",
       R"({"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}})"},
      {"cheaper",
       R"({"metadata":{"annotations":{"controller.kubernetes.io/pod-deletion-cost":"-5"}}})",
       R"({"metadata":{}})"},
      {"ready for less time",
       R"({"status":{"conditions":[{"type":"Ready","status":"True","lastTransitionTime":"2026-01-01T00:00:09Z"}]}})",
       R"({"status":{"conditions":[{"type":"Ready","status":"True","lastTransitionTime":"2026-01-01T00:00:01Z"}]}})"},
      {"more restarts", R"({"status":{"containerStatuses":[{"restartCount":3}]}})",
       R"({"status":{"containerStatuses":[{"restartCount":1}]}})"},
      {"newer", R"({"metadata":{"creationTimestamp":"2026-01-01T00:00:09Z"}})",
       R"({"metadata":{"creationTimestamp":"2026-01-01T00:00:01Z"}})"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const Json a = literal(row.first), b = literal(row.second);
    EXPECT_TRUE(deleted_before(a, b));
    EXPECT_FALSE(deleted_before(b, a));
  }
}

TEST(ReplicaSet, ReplacesADeletedPodAndCountsAvailability) {
  CoreWorld world;
  world.begin();
  ASSERT_TRUE(world.apply(res::replicasets(), R"({"apiVersion":"apps/v1","kind":"ReplicaSet",
    "metadata":{"name":"r","namespace":"default"},"spec":{"replicas":2,"minReadySeconds":30,
    "selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},
    "spec":{"containers":[{"name":"c","image":"i"}]}}}})"));
  EXPECT_TRUE(world.run_until_quiet());
  const Key key{res::replicasets(), "default", "r"};
  EXPECT_EQ(json::i64(world.view(key), {"status", "readyReplicas"}), 2);
  EXPECT_EQ(json::i64(world.view(key), {"status", "availableReplicas"}), 0);
  world.run(std::chrono::seconds(31));
  EXPECT_EQ(json::i64(world.view(key), {"status", "availableReplicas"}), 2);
  const auto pods = world.backend.list(res::pods());
  ASSERT_EQ(pods.size(), 2U);
  EXPECT_TRUE(pods[0]->key().name.starts_with("r-"));
  EXPECT_EQ(pods[0]->key().name.size(), 7U);
  ASSERT_TRUE(world.backend.remove(pods[0]->key()));
  EXPECT_TRUE(world.run_until_quiet());
  EXPECT_EQ(world.backend.list(res::pods()).size(), 2U);
  EXPECT_EQ(world.pending(), std::vector<std::string>());
  // An ended pod is replaced, too, and kept.
  world.node.finish(world.backend.list(res::pods())[0]->key(), "Failed");
  EXPECT_TRUE(world.run_until_quiet());
  EXPECT_EQ(world.backend.list(res::pods()).size(), 3U);
}

}  // namespace
}  // namespace knit::controllers::core
