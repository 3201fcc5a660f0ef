#include "app/event_roles.h"

#include <gtest/gtest.h>

#include "io/sim_loop.h"
#include "kube/resources.h"
#include "kube/roles.h"
#include "reconcile/fake_backend.h"

namespace knit::app {
namespace {

/// A pod of these images, with what else its JSON is to have.
Json pod(const std::vector<std::string>& images) {
  JsonArray containers;
  for (const auto& image : images) {
    containers.push_back(JsonObject{{"name", image.ends_with("istio-proxy") ? "istio-proxy" : "c"},
                                    {"image", image}});
  }
  return JsonObject{
      {"apiVersion", "v1"},
      {"kind", "Pod"},
      {"metadata", JsonObject{{"name", "p"}, {"namespace", "n"}, {"uid", "u"}}},
      {"spec", JsonObject{{"nodeName", "knit"}, {"containers", std::move(containers)}}},
      {"status", JsonObject{{"phase", "Running"}}}};
}
reconcile::ObjectPtr object(const Json& dom) {
  return std::make_shared<kube::Object>(kube::Key{kube::res::pods(), "n", "p"}, 1, dom);
}

class EventRolesTest : public testing::Test {
 protected:
  EventRoles roles{"knit", kube::runs_in_events, [](const ipc::Roles&) {}};
};

TEST_F(EventRolesTest, NamesTheRoleAndWhetherItIsInTheMesh) {
  const auto plain = roles.role_of(object(pod({"knit.local/role/mt-broker-ingress"})));
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->pod_uid, "u");
  EXPECT_EQ(plain->name, "mt-broker-ingress");
  EXPECT_FALSE(plain->injected);
  const auto injected = roles.role_of(
      object(pod({"knit.local/role/istio-proxy", "knit.local/role/imc-dispatcher:v1"})));
  ASSERT_TRUE(injected);
  EXPECT_EQ(injected->name, "imc-dispatcher");
  EXPECT_TRUE(injected->injected);
}

TEST_F(EventRolesTest, OnlyPodsThatRunHere) {
  const Json good = pod({"knit.local/role/imc-dispatcher"});
  const struct {
    const char *what, *part, *field, *value;
  } rows[] = {
      {"another node's", "spec", "nodeName", "other"},
      {"not bound", "spec", "nodeName", ""},
      {"not running yet", "status", "phase", "Pending"},
      {"over", "status", "phase", "Failed"},
      {"going", "metadata", "deletionTimestamp", "2026-01-01T00:00:00Z"},
  };
  EXPECT_TRUE(roles.role_of(object(good)));
  for (const auto& row : rows) {
    Json bad = good;
    json::set(bad, {row.part, row.field}, Json(row.value));
    EXPECT_FALSE(roles.role_of(object(bad))) << row.what;
  }
  EXPECT_FALSE(roles.role_of(object(pod({"knit.local/role/activator"})))) << "the proxy's";
  EXPECT_FALSE(roles.role_of(object(pod({"example.com/knit.local/role/imc-dispatcher"}))));
  EXPECT_FALSE(roles.role_of(nullptr));
}

TEST_F(EventRolesTest, TellsTheListAtTheStartAndWhenItChanges) {
  io::SimLoop loop;
  reconcile::FakeBackend backend(loop);
  std::vector<std::size_t> told;
  EventRoles live("knit", kube::runs_in_events,
                  [&](const ipc::Roles& r) { told.push_back(r.roles.size()); });
  live.start(backend);
  EXPECT_EQ(told, (std::vector<std::size_t>{0})) << "a supervisor may run what is not needed";
  const auto commit = [&](reconcile::Change change) {
    backend.commit({std::move(change)}, [](Result<void>) {});
    loop.settle();
  };
  Json pending = pod({"knit.local/role/imc-dispatcher"});
  json::set(pending, {"status", "phase"}, Json("Pending"));
  commit({nullptr, object(pending)});
  EXPECT_EQ(told.size(), 1U);
  const kube::Key key{kube::res::pods(), "n", "p"};
  auto running = backend.snapshot()->get(key);
  commit({running, object(pod({"knit.local/role/imc-dispatcher"}))});
  EXPECT_EQ(told, (std::vector<std::size_t>{0, 1}));
  running = backend.snapshot()->get(key);
  Json ready = running->parse();
  json::set(ready, {"status", "podIP"}, Json("10.0.0.9"));
  commit({running, object(ready)});
  EXPECT_EQ(told.size(), 2U) << "nothing that matters changed";
  commit({backend.snapshot()->get(key), nullptr});
  EXPECT_EQ(told, (std::vector<std::size_t>{0, 1, 0}));
}

}  // namespace
}  // namespace knit::app
