#include "controllers/core/workloads/reinjection.h"

#include "controllers/core/workloads/pod_admission.h"

namespace knit::controllers::core {
namespace {

constexpr std::string_view kStatus = "sidecar.istio.io/status";  // written by injection only

bool has_container(const Json& pod, std::string_view name) {
  for (const auto& c : json::array(pod, {"spec", "containers"})) {
    if (json::str(c, {"name"}) == name) return true;
  }
  return false;
}

reconcile::Plan plan_reinjection(const World& world, const Key& key, Instant) {
  reconcile::Plan plan;
  const auto object = world.get(key);
  if (!object || object->deleting()) return plan;
  const auto* owner = object->controller();
  if (owner == nullptr || owner->kind != "ReplicaSet") return plan;
  const Json pod = object->parse();
  const auto phase = json::str(pod, {"status", "phase"});
  if (phase == "Succeeded" || phase == "Failed") return plan;
  const bool injected = !json::str(pod, {"metadata", "annotations", kStatus}).empty();
  const auto wanted = injection_of(world, key.ns, pod);
  if (wanted.inject == injected) return plan;
  if (!injected && has_container(pod, "istio-proxy")) return plan;  // brings its own
  plan.remove(object);
  plan.event(key, "Normal", "Reinjected", "The pod is replaced: " + wanted.reason,
             "sidecar-injector");
  return plan;
}

std::vector<Key> pods_of(const World& world, std::string_view ns) {
  std::vector<Key> keys;
  for (const auto& pod : world.list(res::pods(), ns)) keys.push_back(pod->key());
  return keys;
}

}  // namespace

reconcile::Planner reinjection_planner() {
  reconcile::Planner planner;
  planner.name = "reinjection";
  planner.owns = res::pods();
  planner.plan = plan_reinjection;
  const auto membership = [](const ObjectPtr& o) {
    return o ? std::pair(std::string(o->label("maistra.io/member-of")), o->deleting())
             : std::pair(std::string(), true);
  };
  planner.triggers.push_back(
      {res::namespaces(),
       [membership](const World& world, const ObjectPtr& before, const ObjectPtr& after) {
         if (membership(before) == membership(after)) return std::vector<Key>();
         return pods_of(world, (after ? after : before)->key().name);
       }});
  planner.triggers.push_back(
      {res::smcps(), [](const World& world, const ObjectPtr& before, const ObjectPtr& after) {
         if (before && after) return std::vector<Key>();  // it is there, and was
         std::vector<Key> keys;
         const std::string mesh = (after ? after : before)->key().ns;
         for (const auto& ns :
              world.labelled(res::namespaces(), {}, "maistra.io/member-of", mesh)) {
           for (auto& key : pods_of(world, ns->key().name)) keys.push_back(std::move(key));
         }
         return keys;
       }});
  return planner;
}

}  // namespace knit::controllers::core
