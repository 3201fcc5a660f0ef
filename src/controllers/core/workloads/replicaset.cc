#include "controllers/core/workloads/replicaset.h"

#include <algorithm>

#include "kube/selector.h"

namespace knit::controllers::core {
namespace {
using reconcile::Planner;

constexpr std::string_view kComponent = "replicaset-controller";
constexpr std::int64_t kBurst = 500;  // pods made or deleted by one plan; the next goes on

struct Pod {
  ObjectPtr object;
  Json json;
};

int phase_rank(const Json& pod) {
  const auto phase = json::str(pod, {"status", "phase"}, "Pending");
  if (phase == "Pending") return 0;
  if (phase == "Unknown") return 1;
  return 2;
}
std::int64_t deletion_cost(const Json& pod) {
  const auto text =
      json::str(pod, {"metadata", "annotations", "controller.kubernetes.io/pod-deletion-cost"});
  if (text.empty() || text.size() > 11) return 0;
  std::int64_t value = 0;
  for (std::size_t i = text[0] == '-' ? 1 : 0; i < text.size(); ++i) {
    if (text[i] < '0' || text[i] > '9') return 0;
    value = value * 10 + (text[i] - '0');
  }
  return text[0] == '-' ? -value : value;
}
std::int64_t restarts(const Json& pod) {
  std::int64_t most = 0;
  for (const auto& c : json::array(pod, {"status", "containerStatuses"})) {
    most = std::max(most, json::i64(c, {"restartCount"}));
  }
  return most;
}

Json pod_of(const Json& rs, const Key& key, const std::string& name) {
  Json pod = JsonObject();
  json::set(pod, {"apiVersion"}, Json("v1"));
  json::set(pod, {"kind"}, Json("Pod"));
  json::set(pod, {"metadata", "name"}, Json(name));
  json::set(pod, {"metadata", "generateName"}, Json(key.name + "-"));
  json::set(pod, {"metadata", "namespace"}, Json(key.ns));
  for (const auto field : {"labels", "annotations", "finalizers"}) {
    if (const Json* v = json::find(rs, {"spec", "template", "metadata", field})) {
      json::set(pod, {"metadata", field}, *v);
    }
  }
  json::set(pod, {"metadata", "ownerReferences"}, JsonArray{controller_ref(rs)});
  json::set(pod, {"spec"}, Json(json::object(rs, {"spec", "template", "spec"})));
  return pod;
}

Plan plan_replicaset(const CoreSettings& settings, const World& world, const Key& key) {
  Plan plan;
  const auto object = world.get(key);
  if (object == nullptr) return plan;
  const Json rs = object->parse();
  const auto selector = kube::LabelSelector::from_object(json::find(rs, {"spec", "selector"}));
  if (!selector) return plan;

  std::vector<Pod> active;
  std::int64_t terminating = 0;
  for (const auto& candidate : world.list(res::pods(), key.ns)) {
    const auto owner = controller_uid(*candidate);
    if (owner != object->uid()) {
      // Adopt what matches and belongs to nobody.
      if (owner.empty() && !candidate->deleting() && !object->deleting() &&
          !selector->requirements().empty() && selector->matches(candidate->labels())) {
        Json pod = candidate->parse();
        if (pod_ended(pod)) continue;
        JsonArray owners = json::array(pod, {"metadata", "ownerReferences"});
        owners.push_back(controller_ref(rs));
        JsonObject metadata{{"ownerReferences", std::move(owners)}};
        plan.merge(candidate->key(), JsonObject{{"metadata", std::move(metadata)}});
        active.push_back({candidate, std::move(pod)});
      }
      continue;
    }
    Json pod = candidate->parse();
    if (candidate->deleting()) {
      ++terminating;
    } else if (!pod_ended(pod)) {
      active.push_back({candidate, std::move(pod)});
    }
  }

  const std::int64_t want = object->deleting() ? static_cast<std::int64_t>(active.size())
                                               : json::i64(rs, {"spec", "replicas"}, 1);
  const std::int64_t have = static_cast<std::int64_t>(active.size());
  std::string failure;
  if (have < want) {
    const std::int64_t epoch = json::i64(rs, {"metadata", "generation"}, 1);
    std::int64_t ordinal = 0;
    for (std::int64_t made = 0; made < std::min(want - have, kBurst); ++ordinal) {
      const Key pod_key{res::pods(), key.ns, pod_name(*object, epoch, ordinal)};
      if (world.has(pod_key)) continue;
      Json pod = pod_of(rs, key, pod_key.name);
      Json trial = pod;
      if (auto admitted = admit_pod(world, trial, settings.pods); !admitted) {
        failure = "Error creating: " + admitted.error().message();
        plan.event(key, "Warning", "FailedCreate", failure, std::string(kComponent));
        plan.again_in(std::chrono::seconds(5));
        break;
      }
      plan.create(pod_key, std::move(pod));
      plan.event(key, "Normal", "SuccessfulCreate", "Created pod: " + pod_key.name,
                 std::string(kComponent));
      ++made;
    }
  } else if (have > want) {
    sort_stably(active, [](const Pod& a, const Pod& b) { return deleted_before(a.json, b.json); });
    const std::int64_t n = std::min(have - want, kBurst);
    for (std::int64_t i = 0; i < n; ++i) {
      const auto& pod = active[static_cast<std::size_t>(i)];
      plan.remove(pod.object);
      plan.event(key, "Normal", "SuccessfulDelete", "Deleted pod: " + pod.object->key().name,
                 std::string(kComponent));
    }
  }

  // Status tells what the snapshot holds; the pods planned above come back as triggers.
  const Duration min_ready = std::chrono::seconds(json::i64(rs, {"spec", "minReadySeconds"}));
  const auto labels = json::string_map(rs, {"spec", "template", "metadata", "labels"});
  std::int64_t ready = 0, available = 0, labelled = 0;
  std::optional<Duration> wait;
  for (const auto& pod : active) {
    if (pod_ready(pod.json)) ++ready;
    if (pod_available(pod.json, min_ready, world.wall_now(), &wait)) ++available;
    if (std::all_of(labels.begin(), labels.end(),
                    [&](const auto& kv) { return pod.object->label(kv.first) == kv.second; })) {
      ++labelled;
    }
  }
  if (wait) plan.again_in(*wait);
  JsonArray conditions = json::array(rs, {"status", "conditions"});
  if (!failure.empty()) {
    set_condition(conditions, {"ReplicaFailure", "True", "FailedCreate", failure},
                  world.wall_now());
  } else {
    conditions.erase(
        std::remove_if(conditions.begin(), conditions.end(),
                       [](const Json& c) { return json::str(c, {"type"}) == "ReplicaFailure"; }),
        conditions.end());
  }
  // Zero counts are left out, as omitempty does; a merge patch needs null for that.
  const auto count = [](std::int64_t n) { return n == 0 ? Json() : Json(n); };
  JsonObject status;
  status["replicas"] = have;
  status["fullyLabeledReplicas"] = count(labelled);
  status["readyReplicas"] = count(ready);
  status["availableReplicas"] = count(available);
  status["terminatingReplicas"] = count(terminating);
  status["observedGeneration"] = json::i64(rs, {"metadata", "generation"});
  status["conditions"] = conditions.empty() ? Json() : Json(std::move(conditions));
  plan.status(key, std::move(status));
  return plan;
}

}  // namespace

bool deleted_before(const Json& a, const Json& b) {
  const bool assigned_a = !json::str(a, {"spec", "nodeName"}).empty();
  const bool assigned_b = !json::str(b, {"spec", "nodeName"}).empty();
  if (assigned_a != assigned_b) return !assigned_a;
  if (phase_rank(a) != phase_rank(b)) return phase_rank(a) < phase_rank(b);
  const bool ready_a = pod_ready(a), ready_b = pod_ready(b);
  if (ready_a != ready_b) return !ready_a;
  if (deletion_cost(a) != deletion_cost(b)) return deletion_cost(a) < deletion_cost(b);
  if (ready_a) {
    const auto since_a = time_at(condition(a, "Ready"), {"lastTransitionTime"});
    const auto since_b = time_at(condition(b, "Ready"), {"lastTransitionTime"});
    if (since_a != since_b) return since_a > since_b;
  }
  if (restarts(a) != restarts(b)) return restarts(a) > restarts(b);
  return created_at(a) > created_at(b);
}

std::string pod_name(const kube::Object& owner, std::int64_t epoch, std::int64_t ordinal) {
  constexpr std::size_t kMaxPrefix = 58;  // as generateName cuts it
  return (owner.key().name + "-").substr(0, kMaxPrefix) +
         name_suffix(owner.uid() + '/' + std::to_string(epoch) + '/' + std::to_string(ordinal), 5);
}

Planner replicaset_planner(const CoreSettings& settings) {
  Planner p;
  p.name = "replicaset";
  p.owns = res::replicasets();
  p.plan = [settings](const World& world, const Key& key, Instant) {
    return plan_replicaset(settings, world, key);
  };
  p.triggers = {reconcile::by_owner(res::pods(), res::replicasets())};
  return p;
}

}  // namespace knit::controllers::core
