#include "reconcile/plan.h"

#include <gtest/gtest.h>

#include "io/sim_loop.h"
#include "reconcile/fake_backend.h"

namespace knit::reconcile {
namespace {
namespace res = kube::res;

TEST(PlanEnsure, Table) {
  const struct {
    const char* name;
    const char* have;  // "" = absent
    const char* want;
    const char* patch;  // "" = nothing to do; "create"
  } rows[] = {
      {"creates what is absent", "", R"({"data":{"a":"1"}})", "create"},
      {"equal data is no difference", R"({"data":{"a":"1"}})", R"({"data":{"a":"1"}})", ""},
      {"data is compared exactly", R"({"data":{"a":"1","b":"2"}})", R"({"data":{"a":"1"}})",
       R"({"data":{"b":null}})"},
      {"defaults in spec are no difference", R"({"spec":{"a":1,"type":"ClusterIP"}})",
       R"({"spec":{"a":1}})", ""},
      {"lists cover element by element", R"({"spec":{"ports":[{"port":80,"protocol":"TCP"}]}})",
       R"({"spec":{"ports":[{"port":80}]}})", ""},
      {"a list of another length is replaced", R"({"spec":{"ports":[{"port":80},{"port":81}]}})",
       R"({"spec":{"ports":[{"port":80}]}})", R"({"spec":{"ports":[{"port":80}]}})"},
      {"selector is exact", R"({"spec":{"selector":{"a":"1","b":"2"}}})",
       R"({"spec":{"selector":{"a":"1"}}})", R"({"spec":{"selector":{"b":null}}})"},
      {"other labels stay", R"({"metadata":{"labels":{"x":"1"}}})",
       R"({"metadata":{"labels":{"a":"1"}}})", R"({"metadata":{"labels":{"a":"1"}}})"},
      {"null removes", R"({"spec":{"a":1,"b":2}})", R"({"spec":{"b":null}})",
       R"({"spec":{"b":null}})"},
      {"null of an absent field is nothing", R"({"spec":{"a":1}})", R"({"spec":{"b":null}})", ""},
      {"status is never touched", R"({"spec":{"a":1}})", R"({"spec":{"a":1},"status":{"x":1}})",
       ""},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    io::SimLoop loop;
    FakeBackend backend(loop);
    const Key key{res::configmaps(), "default", "c"};
    if (*row.have != '\0') {
      Json have = *json::parse(row.have);
      json::set(have, {"metadata", "name"}, Json("c"));
      json::set(have, {"metadata", "namespace"}, Json("default"));
      ASSERT_TRUE(backend.apply(res::configmaps(), have));
    }
    Plan plan;
    plan.ensure(*backend.snapshot(), key, *json::parse(row.want));
    if (*row.patch == '\0') {
      EXPECT_TRUE(plan.writes.empty()) << to_string(plan);
      continue;
    }
    ASSERT_EQ(plan.writes.size(), 1U);
    if (std::string_view(row.patch) == "create") {
      EXPECT_EQ(plan.writes[0].op, Write::Op::Create);
      continue;
    }
    EXPECT_EQ(plan.writes[0].op, Write::Op::Merge);
    EXPECT_EQ(json::canonical(plan.writes[0].body), json::canonical(*json::parse(row.patch)));
    // Applying it leaves nothing to do.
    ASSERT_TRUE(backend.write(plan.writes[0]));
    Plan second;
    second.ensure(*backend.snapshot(), key, *json::parse(row.want));
    EXPECT_TRUE(second.writes.empty()) << to_string(second);
  }
}

TEST(PlanEnsure, AddsOwnersByUidAndKeepsOthers) {
  io::SimLoop loop;
  FakeBackend backend(loop);
  ASSERT_TRUE(backend.apply(res::configmaps(), R"({"metadata":{"name":"c","namespace":"d",
      "ownerReferences":[{"uid":"u1","name":"one"}]}})"));
  Plan plan;
  plan.ensure(*backend.snapshot(), {res::configmaps(), "d", "c"},
              *json::parse(R"({"metadata":{"ownerReferences":[{"uid":"u2","name":"two"}]}})"));
  ASSERT_EQ(plan.writes.size(), 1U);
  EXPECT_EQ(json::array(plan.writes[0].body, {"metadata", "ownerReferences"}).size(), 2U);
}

TEST(Plan, AgainKeepsTheEarliest) {
  Plan plan;
  plan.again_in(std::chrono::seconds(5));
  plan.again_in(std::chrono::seconds(2));
  plan.again_in(std::chrono::seconds(9));
  EXPECT_EQ(plan.again, Duration(std::chrono::seconds(2)));
}

}  // namespace
}  // namespace knit::reconcile
