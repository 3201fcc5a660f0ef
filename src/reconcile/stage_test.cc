#include "reconcile/stage.h"

#include <gtest/gtest.h>

#include "io/sim_loop.h"
#include "reconcile/fake_backend.h"

namespace knit::reconcile {
namespace {
namespace res = kube::res;

class StageTest : public testing::Test {
 protected:
  io::SimLoop loop;
  FakeBackend backend{loop};
  const Key pod{res::pods(), "default", "p"};
  const Key config{res::configmaps(), "default", "c"};
};

// kubeapi.md 1.7: metadata.generation counts changes of everything but metadata and status.
TEST_F(StageTest, GenerationCountsSpecOnly) {
  ASSERT_TRUE(backend.apply(res::deployments(),
                            R"({"metadata":{"name":"d","namespace":"default"},"spec":{"a":1}})"));
  const Key key{res::deployments(), "default", "d"};
  EXPECT_EQ(json::i64(backend.view(key), {"metadata", "generation"}), 1);
  ASSERT_TRUE(backend.merge(key, R"({"metadata":{"labels":{"x":"y"}}})"));
  EXPECT_EQ(json::i64(backend.view(key), {"metadata", "generation"}), 1);
  ASSERT_TRUE(backend.status(key, *json::parse(R"({"replicas":1})")));
  EXPECT_EQ(json::i64(backend.view(key), {"metadata", "generation"}), 1);
  ASSERT_TRUE(backend.merge(key, R"({"spec":{"a":2},"status":{"replicas":7}})"));
  EXPECT_EQ(json::i64(backend.view(key), {"metadata", "generation"}), 2);
  EXPECT_EQ(json::i64(backend.view(key), {"status", "replicas"}), 1) << "status is another door";
}

TEST_F(StageTest, AWriteWithoutDifferenceIsDropped) {
  ASSERT_TRUE(backend.apply(res::configmaps(), R"({"metadata":{"name":"c","namespace":"default"},
      "data":{"a":"1"}})"));
  const auto seen = backend.snapshot();
  const auto effect = backend.stage(
      *seen, {Write::Op::Merge, config, *json::parse(R"({"data":{"a":"1"}})"), {}, -1});
  ASSERT_TRUE(effect);
  EXPECT_EQ(effect->kind, Effect::Kind::None);
}

// kubeapi.md 1.8: an object with finalizers stays, marked, until the last one goes.
TEST_F(StageTest, FinalizersHoldADeletedObject) {
  ASSERT_TRUE(backend.apply(res::configmaps(), R"({"metadata":{"name":"c","namespace":"default",
      "finalizers":["x/y"]}})"));
  ASSERT_TRUE(backend.remove(config));
  ASSERT_NE(backend.get(config), nullptr);
  EXPECT_TRUE(backend.get(config)->deleting());
  ASSERT_TRUE(backend.merge(config, R"({"metadata":{"finalizers":null}})"));
  EXPECT_EQ(backend.get(config), nullptr);
}

// kubeapi.md 1.8: unscheduled or grace 0 → removed at once; scheduled → stays until the kubelet
// deletes with grace 0 (deletionTimestamp = now + grace).
TEST_F(StageTest, PodsGoWithGrace) {
  ASSERT_TRUE(backend.apply(res::pods(), R"({"metadata":{"name":"p","namespace":"default"},
      "spec":{}})"));
  ASSERT_TRUE(backend.remove(pod));
  EXPECT_EQ(backend.get(pod), nullptr);

  ASSERT_TRUE(backend.apply(res::pods(), R"({"metadata":{"name":"p","namespace":"default"},
      "spec":{"nodeName":"knit"}})"));
  ASSERT_TRUE(backend.remove(pod));
  ASSERT_NE(backend.get(pod), nullptr);
  EXPECT_EQ(json::i64(backend.view(pod), {"metadata", "deletionGracePeriodSeconds"}), 30);
  ASSERT_TRUE(backend.remove(pod, 60));
  EXPECT_EQ(json::i64(backend.view(pod), {"metadata", "deletionGracePeriodSeconds"}), 30)
      << "grace is only ever shortened";
  ASSERT_TRUE(backend.remove(pod, 0));
  EXPECT_EQ(backend.get(pod), nullptr);
}

TEST_F(StageTest, NamespacesWaitForTheirFinalizer) {
  ASSERT_TRUE(backend.apply(res::namespaces(), R"({"metadata":{"name":"n"}})"));
  const Key key{res::namespaces(), "", "n"};
  EXPECT_EQ(json::str(backend.view(key), {"status", "phase"}), "Active");
  ASSERT_TRUE(backend.remove(key));
  EXPECT_EQ(json::str(backend.view(key), {"status", "phase"}), "Terminating");
  ASSERT_TRUE(backend.merge(key, R"({"spec":{"finalizers":null}})"));
  EXPECT_EQ(backend.get(key), nullptr);
}

TEST_F(StageTest, Errors) {
  const auto seen = backend.snapshot();
  const struct {
    const char* name;
    Write write;
    Code code;
  } rows[] = {
      {"merge of nothing", {Write::Op::Merge, config, JsonObject(), {}, -1}, Code::NotFound},
      {"status of nothing", {Write::Op::Status, config, JsonObject(), {}, -1}, Code::NotFound},
      {"create without a body",
       {Write::Op::Create, config, nullptr, {}, -1},
       Code::InvalidArgument},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const auto effect = backend.stage(*seen, row.write);
    ASSERT_FALSE(effect);
    EXPECT_EQ(effect.error().code(), row.code);
  }
  ASSERT_TRUE(
      backend.apply(res::configmaps(), R"({"metadata":{"name":"c","namespace":"default"}})"));
  const auto wrong_uid =
      backend.stage(*backend.snapshot(), {Write::Op::Delete, config, nullptr, "other", -1});
  ASSERT_FALSE(wrong_uid);
  EXPECT_EQ(wrong_uid.error().code(), Code::Conflict);
}

}  // namespace
}  // namespace knit::reconcile
