#include "controllers/core/workloads/scheduler.h"

#include <algorithm>
#include <map>

#include "kube/selector.h"

namespace knit::controllers::core {
namespace {
using reconcile::Planner;

// What a pod asks for: the sum of its containers, or the largest init container; plus overhead.
// DIFFERS: containers of roles that Knit plays itself have no process and so take no room.
std::int64_t request_of(const Json& pod, std::string_view resource) {
  const auto amount = [&](const Json& container) {
    if (json::str(container, {"image"}).starts_with("knit.local/role/")) return std::int64_t{0};
    const Json* r = json::find(container, {"resources", "requests", resource});
    if (r == nullptr) r = json::find(container, {"resources", "limits", resource});
    return quantity_milli(r).value_or(std::int64_t{0});
  };
  std::int64_t sum = 0, init = 0, sidecars = 0;
  for (const auto& c : json::array(pod, {"spec", "containers"})) sum += amount(c);
  for (const auto& c : json::array(pod, {"spec", "initContainers"})) {
    if (json::str(c, {"restartPolicy"}) == "Always") {
      sidecars += amount(c);
      init = std::max(init, sidecars);
    } else {
      init = std::max(init, sidecars + amount(c));
    }
  }
  return std::max(sum + sidecars, init) +
         quantity_milli(json::find(pod, {"spec", "overhead", resource})).value_or(std::int64_t{0});
}

bool tolerated(const Json& pod, const Json& taint) {
  const auto effect = json::str(taint, {"effect"});
  for (const auto& t : json::array(pod, {"spec", "tolerations"})) {
    const auto e = json::str(t, {"effect"});
    const auto k = json::str(t, {"key"});
    if (!e.empty() && e != effect) continue;
    if (!k.empty() && k != json::str(taint, {"key"})) continue;
    if (json::str(t, {"operator"}, "Equal") == "Exists" ||
        (!k.empty() && json::str(t, {"value"}) == json::str(taint, {"value"}))) {
      return true;
    }
  }
  return false;
}

// requiredDuringScheduling terms are ORed, the expressions of one are ANDed.
bool affinity_fits(const Json& pod, const kube::Labels& labels, const std::string& name) {
  const auto& terms =
      json::array(pod, {"spec", "affinity", "nodeAffinity",
                        "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms"});
  if (terms.empty()) return true;
  const kube::Labels fields{{"metadata.name", name}};
  const auto matches = [](const Json& term, std::string_view list, const kube::Labels& values) {
    const JsonObject selector{{"matchExpressions", json::array(term, {list})}};
    const Json holder(selector);
    const auto parsed = kube::LabelSelector::from_object(&holder);
    return parsed.has_value() && parsed->matches(values);
  };
  return std::any_of(terms.begin(), terms.end(), [&](const Json& term) {
    const bool some = !json::array(term, {"matchExpressions"}).empty() ||
                      !json::array(term, {"matchFields"}).empty();
    return some && matches(term, "matchExpressions", labels) &&
           matches(term, "matchFields", fields);
  });
}

Plan plan_pod(const World& world, const Key& key) {
  Plan plan;
  const auto object = world.get(key);
  if (object == nullptr || object->deleting()) return plan;
  const Json pod = object->parse();
  if (!json::str(pod, {"spec", "nodeName"}).empty() || pod_ended(pod)) return plan;
  JsonArray conditions = json::array(pod, {"status", "conditions"});
  const auto unscheduled = [&](std::string_view reason, const std::string& message) {
    const Json old = condition(pod, "PodScheduled");
    set_condition(conditions, {"PodScheduled", "False", reason, message}, world.wall_now());
    plan.status(key, JsonObject{{"phase", "Pending"}, {"conditions", conditions}});
    if (reason == "Unschedulable") {
      plan.event(key, "Warning", "FailedScheduling", message, "default-scheduler");
    }
  };
  if (!json::array(pod, {"spec", "schedulingGates"}).empty()) {
    unscheduled("SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates");
    return plan;
  }
  const auto scheduler = json::str(pod, {"spec", "schedulerName"}, "default-scheduler");
  if (scheduler != "default-scheduler") return plan;  // another one's
  const auto nodes = world.list(res::nodes());
  if (nodes.empty()) {
    unscheduled("Unschedulable", "no nodes available to schedule pods");
    return plan;
  }
  std::map<std::string, int> reasons;
  for (const auto& node : nodes) {
    const auto why = misfits(world, pod, node->parse());
    if (!why.empty()) {
      for (const auto& reason : why) ++reasons[reason];
      continue;
    }
    set_condition(conditions, {"PodScheduled", "True", "", ""}, world.wall_now());
    plan.merge(key, JsonObject{{"spec", JsonObject{{"nodeName", node->key().name}}}});
    plan.status(key, JsonObject{{"phase", "Pending"}, {"conditions", conditions}});
    plan.event(key, "Normal", "Scheduled",
               "Successfully assigned " + key.ns + "/" + key.name + " to " + node->key().name,
               "default-scheduler");
    return plan;
  }
  std::string message = "0/" + std::to_string(nodes.size()) + " nodes are available:";
  bool first = true;
  for (const auto& [reason, count] : reasons) {
    message += std::string(first ? " " : ", ") + std::to_string(count) + " " + reason;
    first = false;
  }
  unscheduled("Unschedulable", message + ".");
  return plan;
}

std::vector<Key> waiting_pods(const World& world) {
  std::vector<Key> keys;
  for (const auto& pod : world.list(res::pods())) {
    if (pod->bytes().find("\"nodeName\":\"") == std::string::npos) keys.push_back(pod->key());
  }
  return keys;
}

}  // namespace

std::vector<std::string> misfits(const World& world, const Json& pod, const Json& node) {
  std::vector<std::string> out;
  const std::string name(json::str(node, {"metadata", "name"}));
  const auto labels = json::string_map(node, {"metadata", "labels"});
  if (json::boolean(node, {"spec", "unschedulable"}) &&
      !tolerated(
          pod, JsonObject{{"key", "node.kubernetes.io/unschedulable"}, {"effect", "NoSchedule"}})) {
    out.push_back("node(s) were unschedulable");
  }
  if (condition_status(node, "Ready") != "True") {
    out.push_back("node(s) had untolerated taint {node.kubernetes.io/not-ready: }");
  }
  for (const auto& taint : json::array(node, {"spec", "taints"})) {
    if (json::str(taint, {"effect"}) == "PreferNoSchedule" || tolerated(pod, taint)) continue;
    out.push_back("node(s) had untolerated taint {" + std::string(json::str(taint, {"key"})) +
                  ": " + std::string(json::str(taint, {"value"})) + "}");
    break;
  }
  bool selected = affinity_fits(pod, labels, name);
  for (const auto& [k, v] : json::string_map(pod, {"spec", "nodeSelector"})) {
    selected = selected && std::any_of(labels.begin(), labels.end(), [&](const auto& label) {
                 return label.first == k && label.second == v;
               });
  }
  if (!selected) out.push_back("node(s) didn't match Pod's node affinity/selector");

  const std::int64_t cpu = request_of(pod, "cpu"), memory = request_of(pod, "memory");
  std::int64_t used_cpu = 0, used_memory = 0, pods = 0;
  const std::string bound = "\"nodeName\":\"" + name + "\"";
  for (const auto& other : world.list(res::pods())) {
    if (other->bytes().find(bound) == std::string::npos) continue;
    const Json view = other->parse();
    if (pod_ended(view) || json::str(view, {"spec", "nodeName"}) != name) continue;
    ++pods;
    used_cpu += request_of(view, "cpu");
    used_memory += request_of(view, "memory");
  }
  const auto room = [&](std::string_view resource) -> std::optional<std::int64_t> {
    const Json* v = json::find(node, {"status", "allocatable", resource});
    if (v == nullptr) return std::nullopt;
    const auto amount = quantity_milli(v);
    return amount ? std::optional(*amount) : std::nullopt;
  };
  if (const auto most = room("pods"); most && (pods + 1) * 1000 > *most) {
    out.push_back("Too many pods");
  }
  if (const auto most = room("cpu"); most && cpu > 0 && used_cpu + cpu > *most) {
    out.push_back("Insufficient cpu");
  }
  if (const auto most = room("memory"); most && memory > 0 && used_memory + memory > *most) {
    out.push_back("Insufficient memory");
  }
  return out;
}

Planner scheduler_planner() {
  Planner p;
  p.name = "scheduler";
  p.owns = res::pods();
  p.plan = [](const World& world, const Key& key, Instant) { return plan_pod(world, key); };
  p.triggers = {
      {res::nodes(),
       [](const World& world, const ObjectPtr&, const ObjectPtr&) { return waiting_pods(world); }},
      // A pod that ends or goes makes room.
      {res::pods(), [](const World& world, const ObjectPtr& before, const ObjectPtr& after) {
         const bool room =
             before != nullptr &&
             (after == nullptr || (pod_ended(after->parse()) && !pod_ended(before->parse())));
         return room ? waiting_pods(world) : std::vector<Key>{};
       }}};
  return p;
}

}  // namespace knit::controllers::core
