#include "controllers/core/workloads/reinjection.h"

namespace knit::controllers::core {
namespace {

using kube::Key;
using kube::ObjectPtr;
namespace res = kube::res;

class Fixed final : public reconcile::World {
 public:
  void put(const Key& key, const Json& object) {
    objects_[key] = std::make_shared<kube::Object>(key, 1, object);
  }
  ObjectPtr get(const Key& key) const override {
    const auto it = objects_.find(key);
    return it == objects_.end() ? nullptr : it->second;
  }
  std::vector<ObjectPtr> list(kube::Resource resource, std::string_view ns) const override {
    std::vector<ObjectPtr> out;
    for (const auto& [key, object] : objects_) {
      if (key.resource == resource && (ns.empty() || key.ns == ns)) out.push_back(object);
    }
    return out;
  }
  Json signal(reconcile::Signal, const Key&) const override { return {}; }
  WallTime wall_now() const override { return {}; }

 private:
  std::map<Key, ObjectPtr> objects_;
};

TEST(Reinjection, ReplacesOnlyPodsThatAReplicaSetCanReplace) {
  const struct {
    const char* name;
    bool member, owned, injected, own_proxy;
    const char* inject;
    std::size_t removed;
  } rows[] = {
      {"made before the namespace joined", true, true, false, false, "true", 1},
      {"as admission would decide", true, true, true, false, "true", 0},
      {"the namespace left", false, true, true, false, "true", 1},
      {"never asked for", true, true, false, false, "false", 0},
      {"nobody's pod", true, false, false, false, "true", 0},
      {"a gateway brings its own proxy", true, true, false, true, "true", 0},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    Fixed world;
    Json ns =
        json::parse(R"({"apiVersion":"v1","kind":"Namespace","metadata":{"name":"shop"}})").value();
    if (row.member) json::set(ns, {"metadata", "labels", "maistra.io/member-of"}, "istio-system");
    world.put(Key{res::namespaces(), "", "shop"}, ns);
    world.put(Key{res::smcps(), "istio-system", "basic"},
              json::parse(R"({"apiVersion":"maistra.io/v2","kind":"ServiceMeshControlPlane",
                                        "metadata":{"name":"basic","namespace":"istio-system"},"spec":{}})")
                  .value());
    Json pod =
        json::parse(R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"shop"},
                               "spec":{"containers":[{"name":"c","image":"x"}]}})")
            .value();
    json::set(pod, {"metadata", "annotations", "sidecar.istio.io/inject"}, row.inject);
    if (row.injected) json::set(pod, {"metadata", "annotations", "sidecar.istio.io/status"}, "{}");
    if (row.owned) {
      json::set(
          pod, {"metadata", "ownerReferences"},
          json::parse(
              R"([{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"r","uid":"u","controller":true}])")
              .value());
    }
    if (row.own_proxy) {
      json::find(pod, {"spec", "containers"})
          ->as_array()
          .push_back({{"name", "istio-proxy"}, {"image", "x"}});
    }
    const Key key{res::pods(), "shop", "p"};
    world.put(key, pod);
    const auto plan = reinjection_planner().plan(world, key, Instant{});
    EXPECT_EQ(plan.writes.size(), row.removed);
    EXPECT_EQ(plan.events.size(), row.removed);
  }
}

}  // namespace
}  // namespace knit::controllers::core
