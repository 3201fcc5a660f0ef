#include "controllers/core/housekeeping.h"

#include <algorithm>

namespace knit::controllers::core {
using reconcile::Planner;

namespace {
constexpr Duration kQuarantine = std::chrono::seconds(40);
}

Planner event_ttl_planner(const CoreSettings& settings) {
  Planner p;
  p.name = "event-ttl";
  p.owns = res::events();
  // As an etcd lease does, the time to live runs from when the event was last written: a step of
  // the clock neither ends nor prolongs it.
  struct Due {
    std::uint64_t version = 0;
    Instant at{};
  };
  p.plan = [ttl = settings.event_ttl, all = std::make_shared<std::map<Key, Due>>()](
               const World& world, const Key& key, Instant now) {
    Plan plan;
    const auto object = world.get(key);
    if (object == nullptr) {
      all->erase(key);
      return plan;
    }
    Due& due = (*all)[key];
    if (due.version != object->version()) {
      const Json event = object->parse();
      WallTime seen = created_at(event);
      for (const auto& path : {json::Path{"lastTimestamp"}, json::Path{"eventTime"},
                               json::Path{"series", "lastObservedTime"}}) {
        seen = std::max(seen, time_at(event, path));
      }
      const Duration left = seen + ttl - world.wall_now();
      due = {object->version(), now + std::clamp(left, Duration::zero(), ttl)};
    }
    if (due.at <= now) {
      plan.remove(object);
    } else {
      plan.again_in(due.at - now);
    }
    return plan;
  };
  return p;
}

Planner pod_gc_planner(const CoreSettings& settings) {
  const Key all{res::pods(), "", ""};  // one key for every pod
  Planner p;
  p.name = "pod-gc";
  p.owns = res::pods();
  p.always = {all};
  p.plan = [settings, all](const World& world, const Key& key, Instant) {
    Plan plan;
    if (key != all) return plan;
    std::vector<std::pair<WallTime, ObjectPtr>> ended;
    for (const auto& object : world.list(res::pods())) {
      const Json pod = object->parse();
      const auto node = json::str(pod, {"spec", "nodeName"});
      if (node.empty()) {
        if (object->deleting()) plan.remove(object, 0);
      } else if (!world.has({res::nodes(), "", std::string(node)})) {
        const WallTime bound = std::max(
            time_at(condition(pod, "PodScheduled"), {"lastTransitionTime"}), created_at(pod));
        const Duration left = bound + kQuarantine - world.wall_now();
        if (left <= Duration::zero()) {
          plan.remove(object, 0);
          plan.event(object->key(), "Normal", "PodGC", "PodGC: node no longer exists",
                     "pod-garbage-collector");
          continue;
        }
        plan.again_in(left);
      }
      if (pod_ended(pod) && !object->deleting()) ended.emplace_back(created_at(pod), object);
    }
    if (ended.size() > settings.ended_pods_kept) {
      sort_stably(ended, [](const auto& a, const auto& b) { return a.first < b.first; });
      for (std::size_t i = 0; i < ended.size() - settings.ended_pods_kept; ++i) {
        plan.remove(ended[i].second);
      }
    }
    return plan;
  };
  p.triggers = {
      {res::pods(),
       [all](const World& world, const ObjectPtr& before, const ObjectPtr& after) {
         if (after == nullptr) return std::vector<Key>{};
         const Json pod = after->parse();
         const auto node = json::str(pod, {"spec", "nodeName"});
         const bool lost =
             node.empty() ? after->deleting() : !world.has({res::nodes(), "", std::string(node)});
         const bool ends = pod_ended(pod) && (before == nullptr || !pod_ended(before->parse()));
         return lost || ends ? std::vector<Key>{all} : std::vector<Key>{};
       }},
      {res::nodes(), [all](const World&, const ObjectPtr&, const ObjectPtr& after) {
         return after == nullptr ? std::vector<Key>{all} : std::vector<Key>{};
       }}};
  return p;
}

Planner node_lifecycle_planner(const CoreSettings& settings) {
  Planner p;
  p.name = "node-lifecycle";
  p.owns = res::nodes();
  // A lease is old when it has not changed for so long while we looked: neither a stop of this
  // program nor a step of the clock makes a node silent.
  // Source: kubernetes pkg/controller/nodelifecycle tryUpdateNodeHealth (probeTimestamp)
  struct Seen {
    std::string renewed;
    Instant at;
  };
  p.plan = [timeout = settings.lease_timeout, seen = std::make_shared<std::map<Key, Seen>>()](
               const World& world, const Key& key, Instant now) {
    Plan plan;
    const Json node = world.view(key);
    if (node.is_null() || deleting(node)) {
      seen->erase(key);
      return plan;
    }
    const Json lease = world.view({res::leases(), "kube-node-lease", key.name});
    const std::string renewed = std::string(json::str(node, {"metadata", "uid"})) + ' ' +
                                std::string(json::str(lease, {"spec", "renewTime"}));
    Seen& mine = (*seen)[key];
    if (mine.renewed != renewed) mine = {renewed, now};
    const Duration left = mine.at + timeout - now;
    if (left > Duration::zero()) {
      plan.again_in(left);
      return plan;
    }
    JsonArray conditions = json::array(node, {"status", "conditions"});
    for (const auto type : {"Ready", "MemoryPressure", "DiskPressure", "PIDPressure"}) {
      if (std::string_view(type) != "Ready" && condition(node, type).is_null()) continue;
      if (condition_status(node, type) == "Unknown") continue;
      set_condition(conditions,
                    {type, "Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status."},
                    world.wall_now());
    }
    plan.status(key, JsonObject{{"conditions", std::move(conditions)}});
    plan.event(key, "Normal", "NodeNotReady", "Node " + key.name + " status is now: NodeNotReady",
               "node-controller");
    return plan;
  };
  p.triggers = {{res::leases(), [](const World&, const ObjectPtr& before, const ObjectPtr& after) {
                   const Key& key = after ? after->key() : before->key();
                   return key.ns == "kube-node-lease"
                              ? std::vector<Key>{{res::nodes(), "", key.name}}
                              : std::vector<Key>{};
                 }}};
  return p;
}

}  // namespace knit::controllers::core
