// A whole world inside one test: loop, store model, driver and node, in simulated time.
//   SimWorld world;
//   register_core(world.driver, {...});
//   world.start();
//   world.apply(res::deployments(), R"({...})");
//   world.run(1s);
//   EXPECT_EQ(world.driver.pending_plans(), std::vector<std::string>());
#pragma once

#include "io/sim_loop.h"
#include "reconcile/driver.h"
#include "reconcile/fake_backend.h"
#include "reconcile/fake_node.h"

namespace knit::reconcile {

struct SimWorld {
  io::SimLoop loop;
  FakeBackend backend{loop};
  Driver driver{loop, backend};
  FakeNode node{loop, backend};

  /// The node's objects, then every planner.
  void start() {
    node.start();
    loop.settle();
    driver.start();
    loop.settle();
  }
  /// Applies and lets the controllers answer; time does not move.
  Result<ObjectPtr> apply(Resource resource, std::string_view manifest_json) {
    auto result = backend.apply(resource, manifest_json);
    loop.settle();
    return result;
  }
  Result<ObjectPtr> apply(Resource resource, const char* manifest_json) {
    return apply(resource, std::string_view(manifest_json));
  }
  Result<ObjectPtr> apply(Resource resource, const Json& manifest) {
    auto result = backend.apply(resource, manifest);
    loop.settle();
    return result;
  }
  void run(Duration d) { loop.advance(d); }
  /// Moves time until the driver has been idle for `quiet`; false when it is not after `at_most`.
  bool run_until_quiet(Duration at_most = std::chrono::seconds(60),
                       Duration quiet = std::chrono::seconds(1)) {
    Duration still{};
    std::uint64_t commits = backend.commits();
    for (Duration spent{}; spent < at_most; spent += std::chrono::milliseconds(100)) {
      loop.advance(std::chrono::milliseconds(100));
      const bool same = driver.idle() && backend.commits() == commits;
      commits = backend.commits();
      still = same ? still + std::chrono::milliseconds(100) : Duration{};
      if (still >= quiet) return true;
    }
    return false;
  }
  /// What planning everything again would write; empty in a settled world.
  std::vector<std::string> pending() const { return driver.pending_plans(); }
  Json view(const Key& key) const { return backend.view(key); }
};

}  // namespace knit::reconcile
