// The core controllers and operators over the real registry, schema tables and store, with a fake
// node, in simulated time: what they write is what the API accepts, and it settles.
#include "app/local_backend.h"

#include <gtest/gtest.h>

#include "controllers/core/register.h"
#include "controllers/operators/register.h"
#include "io/sim_loop.h"
#include "kube/resources.h"
#include "reconcile/driver.h"
#include "reconcile/fake_node.h"

namespace knit::app {
namespace {
namespace res = kube::res;
using kube::Key;

class ReaderWorld final : public reconcile::World {
 public:
  ReaderWorld(const apiserver::ObjectReader& reader, WallTime now) : reader_(reader), now_(now) {}
  kube::ObjectPtr get(const Key& key) const override { return reader_.get(key); }
  std::vector<kube::ObjectPtr> list(kube::Resource resource, std::string_view ns) const override {
    return reader_.list(resource, ns);
  }
  Json signal(reconcile::Signal, const Key&) const override { return nullptr; }
  WallTime wall_now() const override { return now_; }

 private:
  const apiserver::ObjectReader& reader_;
  WallTime now_;
};

class LocalWorld : public testing::Test {
 protected:
  io::SimLoop loop;
  std::unique_ptr<Random> random = seeded_random(3);
  apiserver::Registry registry{*random};
  controllers::core::CoreSettings core;
  std::unique_ptr<store::Store> store;
  std::unique_ptr<LocalBackend> backend;
  std::unique_ptr<reconcile::Driver> driver;
  std::unique_ptr<reconcile::FakeNode> node;

  void SetUp() override {
    core.api_root_pem = "-----ROOT-----";
    registry.add_mutator("core",
                         [this](const apiserver::AdmissionRequest& request, Json& object,
                                std::vector<std::string>&) -> std::optional<apiserver::Status> {
                           if (!request.subresource.empty()) return std::nullopt;
                           const ReaderWorld world(request.state, loop.wall_now());
                           const auto done = controllers::core::admit_core(
                               world, request.key, object, request.old, core);
                           if (!done) return apiserver::from_error(done.error());
                           return std::nullopt;
                         });
    store::Options options;
    options.writer_thread = false;
    auto opened = store::Store::open(options);
    ASSERT_TRUE(opened);
    store = std::move(*opened);
    backend = std::make_unique<LocalBackend>(loop, *store, registry, "system:knit:server");
    driver = std::make_unique<reconcile::Driver>(loop, *backend);
    node = std::make_unique<reconcile::FakeNode>(loop, *backend);
    controllers::core::register_core(*driver, core);
    controllers::operators::register_operators(*driver, {});
    node->start();
    loop.settle();
    driver->start();
    loop.settle();
  }

  void write(reconcile::Write write) {
    const auto seen = backend->snapshot();
    const auto effect = backend->stage(*seen, write);
    ASSERT_TRUE(effect) << effect.error().message();
    std::vector<reconcile::Change> changes;
    changes.push_back({seen->get(write.key), effect->object});
    backend->commit(std::move(changes), [](Result<void> done) {
      EXPECT_TRUE(done) << (done ? "" : done.error().message());
    });
    loop.settle();
  }
  void create(kube::Resource resource, std::string_view text) {
    const auto manifest = json::parse(text);
    ASSERT_TRUE(manifest);
    const Key key{resource, std::string(json::str(*manifest, {"metadata", "namespace"})),
                  std::string(json::str(*manifest, {"metadata", "name"}))};
    write({reconcile::Write::Op::Create, key, *manifest, {}, -1});
  }
  void merge(const Key& key, std::string_view patch) {
    const auto body = json::parse(patch);
    ASSERT_TRUE(body);
    write({reconcile::Write::Op::Merge, key, *body, {}, -1});
  }
  void remove(const Key& key) { write({reconcile::Write::Op::Delete, key, nullptr, {}, -1}); }

  /// Nothing is left to do and nothing was refused.
  void expect_quiet() {
    loop.advance(std::chrono::seconds(3));
    EXPECT_TRUE(driver->idle());
    EXPECT_EQ(driver->pending_plans(), std::vector<std::string>());
    for (const auto& [name, stats] : driver->stats()) {
      EXPECT_EQ(stats.errors, 0U) << name << ": " << stats.last_error;
    }
  }
  std::size_t count(kube::Resource resource, std::string_view ns = {}) {
    return backend->snapshot()->list(resource, ns).size();
  }
  Json view(const Key& key) { return backend->snapshot()->view(key); }
};

constexpr const char* kDeployment = R"({"apiVersion":"apps/v1","kind":"Deployment",
  "metadata":{"name":"web","namespace":"default"},"spec":{"replicas":2,
  "selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},
  "spec":{"containers":[{"name":"c","image":"i","ports":[{"containerPort":80}]}]}}}})";

TEST_F(LocalWorld, AFreshInstallSettles) {
  expect_quiet();
  EXPECT_EQ(count(res::namespaces()), 8U);
  EXPECT_EQ(count(res::services()), 2U) << "kubernetes, router-default";
}

TEST_F(LocalWorld, DeploymentServiceAndBackToNothing) {
  create(res::deployments(), kDeployment);
  create(res::services(), R"({"apiVersion":"v1","kind":"Service","metadata":{"name":"s",
    "namespace":"default"},"spec":{"selector":{"a":"b"},"ports":[{"port":80}]}})");
  create(res::services(), R"({"apiVersion":"v1","kind":"Service","metadata":{"name":"k",
    "namespace":"default"},"spec":{"ports":[{"port":80}]}})");
  create(res::endpoints(), R"({"apiVersion":"v1","kind":"Endpoints","metadata":{"name":"k",
    "namespace":"default"},"subsets":[{"addresses":[{"ip":"10.128.0.99"}],"ports":[{"port":8012}]}]})");
  expect_quiet();
  const Key key{res::deployments(), "default", "web"};
  EXPECT_EQ(json::i64(view(key), {"status", "availableReplicas"}), 2);
  const Json endpoints = view({res::endpoints(), "default", "s"});
  ASSERT_EQ(json::array(endpoints, {"subsets"}).size(), 1U);
  EXPECT_EQ(json::array(json::array(endpoints, {"subsets"})[0], {"addresses"}).size(), 2U);
  EXPECT_EQ(count(res::endpointslices(), "default"), 3U) << "kubernetes, s, k";
  merge(key, R"({"spec":{"replicas":0}})");
  expect_quiet();
  EXPECT_EQ(count(res::pods(), "default"), 0U);
  remove(key);
  expect_quiet();
  EXPECT_EQ(count(res::replicasets(), "default"), 0U);
}

TEST_F(LocalWorld, AStoreThatOutlivesItsBackendStillHandsInResults) {
  bool done = false;
  store::Options options;
  options.writer_thread = false;
  options.writer = [](std::function<void()>) {};  // its turn never comes before the end
  auto slow = store::Store::open(options);
  ASSERT_TRUE(slow);
  auto other = std::make_unique<LocalBackend>(loop, **slow, registry, "system:knit:server");
  const Key key{res::namespaces(), "", "late"};
  const auto effect = other->stage(*other->snapshot(), {reconcile::Write::Op::Create, key,
                                                        *json::parse(R"({"apiVersion":"v1",
      "kind":"Namespace","metadata":{"name":"late"}})"), {}, -1});
  ASSERT_TRUE(effect);
  std::vector<reconcile::Change> changes;
  changes.push_back({nullptr, effect->object});
  other->commit(std::move(changes), [&done](Result<void> r) { done = r.has_value(); });
  other.reset();
  slow->reset();
  loop.settle();
  EXPECT_TRUE(done);
}

TEST_F(LocalWorld, ANamespaceGoesWithItsContent) {
  create(res::namespaces(), R"({"apiVersion":"v1","kind":"Namespace","metadata":{"name":"team"}})");
  auto deployment = json::parse(kDeployment);
  json::set(*deployment, {"metadata", "namespace"}, Json("team"));
  create(res::deployments(), json::print(*deployment));
  expect_quiet();
  EXPECT_EQ(count(res::pods(), "team"), 2U);
  remove({res::namespaces(), "", "team"});
  expect_quiet();
  EXPECT_FALSE(backend->snapshot()->has({res::namespaces(), "", "team"}));
  EXPECT_EQ(count(res::pods(), "team"), 0U);
}

TEST_F(LocalWorld, ServingIsInstalledAndTakenAway) {
  const Key key{res::knativeservings(), "knative-serving", "knative-serving"};
  create(res::knativeservings(), R"({"apiVersion":"operator.knative.dev/v1beta1",
    "kind":"KnativeServing","metadata":{"name":"knative-serving","namespace":"knative-serving"},
    "spec":{"ingress":{"istio":{"enabled":true}},
    "deployments":[{"name":"activator","labels":{"sidecar.istio.io/inject":"true"}}]}})");
  expect_quiet();
  EXPECT_EQ(controllers::core::condition_status(view(key), "Ready"), "True");
  EXPECT_EQ(count(res::pods(), "knative-serving"), 7U);
  remove(key);
  expect_quiet();
  EXPECT_FALSE(backend->snapshot()->has(key));
  for (const auto resource : {res::deployments(), res::pods(), res::clusterroles(),
                              res::clusterrolebindings(), res::peerauthentications()}) {
    EXPECT_EQ(count(resource), 0U) << resource.name();
  }
}

}  // namespace
}  // namespace knit::app
