#include "controllers/mesh/member_roll.h"

#include "controllers/mesh/test_world.h"

namespace knit::mesh {
namespace {
namespace res = kube::res;

class MemberRoll : public ::testing::Test {
 protected:
  void SetUp() override {
    world.begin();
    world.apply_ok(res::smcps(), MeshWorld::seed("smcp.yaml")[0]);
  }
  void roll(std::vector<const char*> members) {
    JsonArray list;
    for (const char* m : members) list.emplace_back(m);
    world.apply_ok(
        res::smmrs(),
        JsonObject{{"apiVersion", "maistra.io/v1"},
                   {"kind", "ServiceMeshMemberRoll"},
                   {"metadata", JsonObject{{"name", "default"}, {"namespace", "istio-system"}}},
                   {"spec", JsonObject{{"members", list}}}});
    EXPECT_TRUE(world.run_until_quiet());
  }
  std::string label(const char* ns) {
    const auto o = world.backend.get({res::namespaces(), "", ns});
    return o ? std::string(o->label("maistra.io/member-of")) : "absent";
  }
  std::string ready() { return world.condition(res::smmrs(), "istio-system", "default", "Ready"); }
  std::string list(const char* field) {
    const Json o = world.view_of(res::smmrs(), "istio-system", "default");
    return json::print(json::array(o, {"status", field}));
  }
  std::string member_reason(const char* ns) {
    const Json o = world.view_of(res::smmrs(), "istio-system", "default");
    for (const Json& m : json::array(o, {"status", "memberStatuses"})) {
      if (json::str(m, {"namespace"}) == ns) {
        return text(json::array(m, {"conditions"})[0], {"reason"});
      }
    }
    return "absent";
  }
  MeshWorld world;
};

TEST_F(MemberRoll, SeedJoinsItsNamespaces) {  // spec mesh.md 1.2
  roll({"knative-serving", "knative-eventing", "default"});
  EXPECT_EQ(ready(), "True Configured");
  EXPECT_EQ(list("configuredMembers"), R"(["knative-serving","knative-eventing","default"])");
  EXPECT_EQ(list("pendingMembers"), "[]");
  EXPECT_EQ(label("default"), "istio-system");
  EXPECT_EQ(label("istio-system"), "");
  EXPECT_EQ(json::str(world.view_of(res::smmrs(), "istio-system", "default"),
                      {"status", "annotations", "configuredMemberCount"}),
            "3/3");
  EXPECT_EQ(json::str(world.view_of(res::smms(), "default", "default"),
                      {"spec", "controlPlaneRef", "name"}),
            "basic");
  EXPECT_EQ(world.condition(res::smms(), "default", "default", "Ready"), "True Reconciled");
  for (const char* name : {"istio-mesh-basic", "istio-expose-route-basic"}) {
    EXPECT_FALSE(world.view_of(res::networkpolicies(), "default", name).is_null()) << name;
  }
  EXPECT_EQ(json::str(world.view_of(res::configmaps(), "default", "istio-ca-root-cert"),
                      {"data", "root-cert.pem"}),
            "root of istio-system");
  EXPECT_EQ(world.pending(), std::vector<std::string>());
}

TEST_F(MemberRoll, WaitsForAMissingNamespace) {
  roll({"default", "later"});
  EXPECT_EQ(ready(), "False ReconcileError");
  EXPECT_EQ(list("pendingMembers"), R"(["later"])");
  EXPECT_EQ(member_reason("later"), "NamespaceNotExists");
  world.make_namespace("later");
  EXPECT_TRUE(world.run_until_quiet());
  EXPECT_EQ(ready(), "True Configured");
  EXPECT_EQ(label("later"), "istio-system");
}

TEST_F(MemberRoll, LeavingUndoesIt) {
  roll({"default", "knative-serving"});
  roll({"knative-serving"});
  EXPECT_EQ(label("default"), "");
  EXPECT_EQ(label("knative-serving"), "istio-system");
  EXPECT_TRUE(world.view_of(res::smms(), "default", "default").is_null());
  EXPECT_TRUE(world.list_names(res::networkpolicies(), "default").empty());
  EXPECT_TRUE(world.view_of(res::configmaps(), "default", "istio-ca-root-cert").is_null());
  // And so does deleting the roll: its finalizer waits for that.
  ASSERT_TRUE(world.backend.remove(key_of(res::smmrs(), "istio-system", "default")));
  EXPECT_TRUE(world.run_until_quiet());
  EXPECT_EQ(label("knative-serving"), "");
  EXPECT_TRUE(world.view_of(res::smmrs(), "istio-system", "default").is_null());
  EXPECT_EQ(world.pending(), std::vector<std::string>());
}

TEST_F(MemberRoll, TwoMeshesDoNotShareANamespace) {
  world.make_namespace("mesh-b");
  Json smcp = MeshWorld::seed("smcp.yaml")[0];
  json::set(smcp, {"metadata", "namespace"}, "mesh-b");
  world.apply_ok(res::smcps(), smcp);
  roll({"default"});
  world.backend.set_admit(nullptr);
  world.apply_ok(res::smmrs(), R"({"apiVersion":"maistra.io/v1","kind":"ServiceMeshMemberRoll",
    "metadata":{"name":"default","namespace":"mesh-b"},"spec":{"members":["default"]}})");
  EXPECT_TRUE(world.run_until_quiet());
  EXPECT_EQ(label("default"), "istio-system");
  EXPECT_EQ(world.condition(res::smmrs(), "mesh-b", "default", "Ready"), "False ReconcileError");
  const Json other = world.view_of(res::smmrs(), "mesh-b", "default");
  EXPECT_EQ(
      json::str(json::array(json::array(other, {"status", "memberStatuses"})[0], {"conditions"})[0],
                {"reason"}),
      "ReferencesDifferentControlPlane");
}

TEST_F(MemberRoll, NeedsExactlyOneControlPlane) {
  roll({"default"});
  world.backend.set_admit(nullptr);
  Json second = MeshWorld::seed("smcp.yaml")[0];
  json::set(second, {"metadata", "name"}, "another");
  world.apply_ok(res::smcps(), second);
  EXPECT_TRUE(world.run_until_quiet());
  EXPECT_EQ(ready(), "False ErrMultipleSMCPs");
  EXPECT_EQ(label("default"), "istio-system");
  ASSERT_TRUE(world.backend.remove(key_of(res::smcps(), "istio-system", "another")));
  ASSERT_TRUE(world.backend.remove(key_of(res::smcps(), "istio-system", "basic")));
  EXPECT_TRUE(world.run_until_quiet());
  EXPECT_EQ(ready(), "False ErrSMCPMissing");
}

TEST_F(MemberRoll, AMemberOfAUserJoinsTheRoll) {
  world.apply_ok(res::smms(), R"({"apiVersion":"maistra.io/v1","kind":"ServiceMeshMember",
    "metadata":{"name":"default","namespace":"default"},
    "spec":{"controlPlaneRef":{"name":"basic","namespace":"istio-system"}}})");
  EXPECT_TRUE(world.run_until_quiet());
  EXPECT_EQ(ready(), "True Configured");
  EXPECT_EQ(world.condition(res::smms(), "default", "default", "Ready"), "True Reconciled");
  EXPECT_EQ(world.pending(), std::vector<std::string>());
}

TEST(MemberRollName, OnlyDefault) {
  MeshWorld world;
  world.begin();
  world.backend.set_admit(nullptr);
  world.apply_ok(res::smmrs(), R"({"apiVersion":"maistra.io/v1","kind":"ServiceMeshMemberRoll",
    "metadata":{"name":"mine","namespace":"istio-system"},"spec":{"members":["default"]}})");
  EXPECT_EQ(world.condition(res::smmrs(), "istio-system", "mine", "Ready"), "False ErrInvalidName");
}

}  // namespace
}  // namespace knit::mesh
