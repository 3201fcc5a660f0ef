// Random manifests, deletions, crashes of pods and lost races; after each quiet point the
// invariants hold. A failing seed is printed and replays exactly.
#include <gtest/gtest.h>

#include "base/random.h"
#include "controllers/core/test_world.h"
#include "reconcile/fuzz_seeds.h"

namespace knit::controllers::core {
namespace {
using std::chrono::milliseconds;

class Fuzz {
 public:
  explicit Fuzz(std::uint64_t seed) : random_(seeded_random(seed)) { world_.begin(); }

  void run(int steps) {
    for (int i = 0; i < steps; ++i) {
      step();
      if (random_->below(3) == 0) world_.run(milliseconds(random_->below(60)));
    }
    quiet();
  }

 private:
  std::string pick(std::initializer_list<const char*> names) {
    return *(names.begin() + random_->below(names.size()));
  }
  std::string ns() { return pick({"default", "a", "b"}); }
  Key some(Resource resource) {
    const auto all = world_.backend.list(resource);
    return all.empty() ? Key{} : all[random_->below(all.size())]->key();
  }
  void step() {
    const std::string space = ns();
    if (!world_.backend.get({res::namespaces(), "", space})) world_.make_namespace(space);
    if (world_.backend.get({res::namespaces(), "", space})->deleting()) return;
    const std::string name = pick({"x", "y"});
    switch (random_->below(9)) {
      case 0:
      case 1:
      case 2:
        deploy(space, name);
        break;
      case 3: {
        Json s = literal(R"({"apiVersion":"v1","kind":"Service","spec":{"ports":[{"port":80}]}})");
        json::set(s, {"metadata", "name"}, Json(name));
        json::set(s, {"metadata", "namespace"}, Json(space));
        json::set(s, {"spec", "selector", "app"}, Json(pick({"x", "y"})));
        ASSERT_TRUE(world_.apply(res::services(), s));
        break;
      }
      case 4:
        remove(some(res::pods()));
        break;
      case 5:
        remove(random_->below(2) == 0 ? some(res::replicasets()) : some(res::services()));
        break;
      case 6:
        remove(some(res::deployments()));
        break;
      case 7: {
        const Key pod = some(res::pods());
        if (pod.name.empty()) break;
        if (random_->below(2) == 0) {
          world_.node.set_ready(pod, random_->below(2) == 0);
        } else {
          world_.node.finish(pod, random_->below(2) == 0 ? "Failed" : "Succeeded");
        }
        break;
      }
      case 8:
        if (random_->below(3) == 0 && space != "default") remove({res::namespaces(), "", space});
        world_.backend.fail_commits(static_cast<int>(random_->below(3)));
        break;
      default:
        break;
    }
  }
  void deploy(const std::string& space, const std::string& name) {
    Json d = literal(R"({"apiVersion":"apps/v1","kind":"Deployment","spec":{
      "template":{"spec":{"containers":[{"name":"c"}]}}}})");
    json::set(d, {"metadata", "name"}, Json(name));
    json::set(d, {"metadata", "namespace"}, Json(space));
    json::set(d, {"spec", "replicas"}, Json(static_cast<std::int64_t>(random_->below(4))));
    json::set(d, {"spec", "selector", "matchLabels", "app"}, Json(name));
    json::set(d, {"spec", "template", "metadata", "labels", "app"}, Json(name));
    json::set(d.at("spec").at("template").at("spec").at("containers").at(0), {"image"},
              Json(pick({"i:1", "i:2", "i:3"})));
    json::set(d, {"spec", "strategy", "type"}, Json(pick({"RollingUpdate", "Recreate"})));
    json::set(d, {"spec", "paused"}, Json(random_->below(6) == 0));
    ASSERT_TRUE(world_.apply(res::deployments(), d));
  }
  void remove(const Key& key) {
    if (!key.name.empty() && key.name != "kubernetes") {
      static_cast<void>(world_.backend.remove(key));
    }
  }

  void quiet() {
    world_.backend.fail_commits(0);
    // Twice: a pod that comes back under the name of one that was made unready is unready too.
    for (int i = 0; i < 2; ++i) {
      for (const auto& pod : world_.backend.list(res::pods())) {
        if (!pod_ended(pod->parse())) world_.node.set_ready(pod->key(), true);
      }
      ASSERT_TRUE(world_.run_until_quiet());
    }
    EXPECT_EQ(world_.pending(), std::vector<std::string>());
    const auto snapshot = world_.backend.snapshot();
    for (const Resource resource : snapshot->resources()) {
      for (const auto& object : snapshot->list(resource)) {
        for (const auto& owner : object->owners()) {
          EXPECT_NE(snapshot->by_uid(owner.uid), nullptr)
              << to_string(object->key()) << " has outlived its owner " << owner.name;
        }
        if (!object->key().ns.empty() && resource != res::events() && resource != res::leases()) {
          EXPECT_TRUE(snapshot->has({res::namespaces(), "", object->key().ns}))
              << to_string(object->key()) << " has outlived its namespace";
        }
      }
    }
    for (const auto& object : snapshot->list(res::deployments())) {
      const Json d = object->parse();
      std::int64_t pods = 0;
      for (const auto& rs : snapshot->owned(res::replicasets(), object->key().ns, object->uid())) {
        for (const auto& pod : snapshot->owned(res::pods(), rs->key().ns, rs->uid())) {
          pods += pod_active(pod->parse()) ? 1 : 0;
        }
      }
      EXPECT_EQ(pods, json::i64(d, {"status", "replicas"})) << to_string(object->key());
      if (!json::boolean(d, {"spec", "paused"})) {
        EXPECT_EQ(pods, json::i64(d, {"spec", "replicas"})) << to_string(object->key());
        EXPECT_EQ(condition_status(d, "Available"), "True") << to_string(object->key());
      }
    }
    for (const auto& service : snapshot->list(res::services())) {
      const Json s = service->parse();
      const auto app = json::str(s, {"spec", "selector", "app"});
      if (app.empty()) continue;
      std::set<std::string> ready, told;
      for (const auto& pod : snapshot->labelled(res::pods(), service->key().ns, "app", app)) {
        const Json p = pod->parse();
        if (pod_active(p) && pod_ready(p)) ready.emplace(json::str(p, {"status", "podIP"}));
      }
      const Json e = snapshot->view({res::endpoints(), service->key().ns, service->key().name});
      for (const auto& subset : json::array(e, {"subsets"})) {
        for (const auto& address : json::array(subset, {"addresses"})) {
          told.emplace(json::str(address, {"ip"}));
        }
      }
      EXPECT_EQ(ready, told) << to_string(service->key());
    }
  }

  std::unique_ptr<Random> random_;
  CoreWorld world_;
};

TEST(CoreFuzz, InvariantsHoldAtEveryQuietPoint) {
  const auto seeds = reconcile::fuzz_seeds(std::getenv("KNIT_SEEDS"), 25);
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Fuzz fuzz(seed);
    for (int round = 0; round < 4; ++round) fuzz.run(12);
    if (testing::Test::HasFailure()) break;
  }
}

}  // namespace
}  // namespace knit::controllers::core
