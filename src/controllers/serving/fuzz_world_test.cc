// Seeded programs of edits, deletions, traffic and time; after each quiet point every plan is
// empty, owners own, and Ready is only said of what is reachable.
#include <gtest/gtest.h>

#include "controllers/serving/test_world.h"
#include "reconcile/fuzz_seeds.h"

namespace knit::serving {
namespace {

class Program {
 public:
  explicit Program(std::uint64_t seed) : random_(seeded_random(seed)) { world_.begin_serving(); }

  void step() {
    const std::string name(1, static_cast<char>('a' + random_->below(3)));
    const Key service{res::ksvcs(), "default", name};
    switch (random_->below(12)) {
      case 0:
      case 1:
      case 2:
        if (!world_.backend.get(service)) {
          create(name);
        } else {
          merge(service, R"({"spec":{"template":{"metadata":{"annotations":{"n":")" +
                             std::to_string(random_->below(1000)) + R"("}}}}})");
        }
        break;
      case 3:
        merge(service, R"({"spec":{"template":{"metadata":{"annotations":{
            "autoscaling.knative.dev/min-scale":")" +
                           std::to_string(random_->below(3)) + R"("}}}}})");
        break;
      case 4:
        split(service);
        break;
      case 5:
        static_cast<void>(world_.backend.remove(service));
        break;
      case 6:
        remove_child();
        break;
      case 7:
        world_.traffic.clear();
        if (random_->below(2) == 0) {
          world_.traffic.push_back(
              {"default/" + name + "-00001", static_cast<double>(random_->below(400)), 10});
        }
        break;
      case 8:
        world_.live(static_cast<int>(random_->below(80)));
        break;
      case 9:
        merge(service, random_->below(2) == 0 ? R"({"metadata":{"labels":{
                                "networking.knative.dev/visibility":"cluster-local"}}})"
                                              : R"({"metadata":{"labels":{
                                "networking.knative.dev/visibility":null}}})");
        break;
      case 10:
        world_.config_map("config-autoscaler",
                          random_->below(2) == 0 ? "{}" : R"({"target-burst-capacity":"0"})");
        break;
      case 11:
        world_.demand("default/" + name + "-00001");
        break;
    }
    world_.live(static_cast<int>(1 + random_->below(3)));
  }

  void check() {
    world_.traffic.clear();
    world_.live(40);
    EXPECT_EQ(world_.pending(), std::vector<std::string>());
    for (const auto& object : world_.backend.list(res::ksvcs())) {
      const Json service = object->parse();
      const auto ready = find_condition(service, "Ready");
      ASSERT_TRUE(ready.has_value());
      if (!ready->is_true()) continue;
      // Ready implies reachable: every Ingress path leads to a public Service with endpoints.
      const Json ingress = world_.view({res::kingresses(), "default", object->key().name});
      ASSERT_FALSE(ingress.is_null());
      for (const auto& rule : json::array(ingress, {"spec", "rules"})) {
        for (const auto& path : json::array(rule, {"http", "paths"})) {
          for (const auto& part : json::array(path, {"splits"})) {
            const std::string target(json::str(part, {"serviceName"}));
            EXPECT_TRUE(world_.backend.get({res::services(), "default", target})) << target;
            const Json endpoints = world_.view({res::endpoints(), "default", target});
            EXPECT_FALSE(json::array(endpoints, {"subsets"}).empty()) << target;
          }
        }
      }
    }
    for (const auto resource : {res::configurations(), res::kroutes(), res::revisions(),
                                res::podautoscalers(), res::sks(), res::kingresses()}) {
      for (const auto& object : world_.backend.list(resource)) {
        const auto* owner = object->controller();
        ASSERT_NE(owner, nullptr) << kube::to_string(object->key());
        EXPECT_NE(world_.backend.snapshot()->by_uid(owner->uid), nullptr)
            << kube::to_string(object->key()) << " outlives its " << owner->kind;
      }
    }
  }

 private:
  void create(const std::string& name) {
    Json service = *json::parse(kHello);
    json::set(service, {"metadata", "name"}, Json(name));
    ASSERT_TRUE(world_.apply(res::ksvcs(), service));
  }
  void merge(const Key& key, const std::string& patch) {
    static_cast<void>(world_.backend.merge(key, patch));
    world_.loop.settle();
  }
  void split(const Key& service) {
    const auto revisions = world_.backend.snapshot()->labelled(res::revisions(), "default",
                                                               label::kService, service.name);
    if (revisions.empty()) return;
    const auto& old = revisions[random_->below(revisions.size())]->key().name;
    const auto percent = random_->below(101);
    merge(service, R"({"spec":{"traffic":[{"latestRevision":true,"percent":)" +
                       std::to_string(100 - percent) + R"(},{"revisionName":")" + old +
                       R"(","latestRevision":false,"percent":)" + std::to_string(percent) +
                       (random_->below(2) == 0 ? R"(,"tag":"old"}]}})" : "}]}}"));
  }
  void remove_child() {
    const kube::Resource kinds[] = {res::kroutes(),   res::deployments(),     res::sks(),
                                    res::services(),  res::virtualservices(), res::podautoscalers(),
                                    res::endpoints(), res::kingresses(),      res::pods()};
    const auto list = world_.backend.list(kinds[random_->below(std::size(kinds))], "default");
    if (list.empty()) return;
    const auto& victim = list[random_->below(list.size())];
    if (victim->key().name == "kubernetes") return;
    static_cast<void>(world_.backend.remove(victim->key()));
    world_.loop.settle();
  }

  std::unique_ptr<Random> random_;
  ServingWorld world_;
};

TEST(ServingFuzz, QuietWorldsHaveNothingToPlan) {
  const auto seeds = reconcile::fuzz_seeds(std::getenv("KNIT_SEEDS"), 10);
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Program program(seed);
    for (int i = 0; i < 25; ++i) program.step();
    program.check();
    if (::testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace knit::serving
