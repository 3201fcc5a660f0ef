// Deletes Revisions that no Route has used for long.
// Source: knative/serving pkg/reconciler/gc/gc.go
#include <algorithm>

#include "controllers/serving/serving.h"
#include "controllers/serving/subject.h"

namespace knit::serving {
namespace {

struct Old {
  ObjectPtr revision;
  WallTime created, last_active;
};

WallTime time_of(std::string_view text, WallTime otherwise) {
  const auto t = parse_rfc3339(text);
  return t ? *t : otherwise;
}

Plan collect(const World& world, const Json& configuration, const GcConfig& config) {
  Plan plan;
  if (!config.max_non_active && !config.retain_since_create && !config.retain_since_last_active) {
    return plan;
  }
  const auto revisions = world.labelled(res::revisions(), namespace_of(configuration),
                                        label::kConfiguration, name_of(configuration));
  const auto minimum = static_cast<std::size_t>(config.min_non_active);
  if (revisions.size() <= minimum) return plan;
  const auto latest = json::str(configuration, {"status", "latestReadyRevisionName"});
  std::vector<Old> old;
  for (const auto& revision : revisions) {
    if (revision->deleting() || revision->key().name == latest) continue;
    const Json dom = revision->parse();
    const auto annotations = annotations_of(dom);
    if (value_of(annotations, annotation::kNoGc) == "true") continue;
    if (revision->label(label::kRoutingState) != "reserve") continue;
    const auto created = time_of(json::str(dom, {"metadata", "creationTimestamp"}), WallTime{});
    old.push_back({revision, created,
                   time_of(value_of(annotations, annotation::kRoutingStateModified), created)});
  }
  if (old.size() <= minimum) return plan;
  std::sort(old.begin(), old.end(), [](const Old& a, const Old& b) {
    return a.last_active != b.last_active ? a.last_active < b.last_active
                                          : a.revision->key().name < b.revision->key().name;
  });

  const WallTime now = world.wall_now();
  const auto fresh = [&](const Old& o) -> std::optional<Duration> {  // until it may be stale
    if (!config.retain_since_create && !config.retain_since_last_active) return Duration::max();
    Duration wait{};
    if (config.retain_since_create)
      wait = std::max(wait, *config.retain_since_create - (now - o.created));
    if (config.retain_since_last_active) {
      wait = std::max(wait, *config.retain_since_last_active - (now - o.last_active));
    }
    if (wait > Duration::zero()) return wait;
    return std::nullopt;
  };
  std::size_t left = old.size();
  std::vector<Old> kept;
  for (auto& o : old) {
    const auto wait = fresh(o);
    if (left > minimum && !wait) {
      plan.remove(o.revision);
      --left;
      continue;
    }
    if (left > minimum && wait && *wait != Duration::max()) plan.again_in(*wait);
    kept.push_back(std::move(o));
  }
  if (config.max_non_active) {
    const auto maximum = static_cast<std::size_t>(*config.max_non_active);
    for (std::size_t i = 0; i < kept.size() && left > maximum; ++i, --left) {
      plan.remove(kept[i].revision);
    }
  }
  return plan;
}

}  // namespace

reconcile::Planner gc_planner(ContextPtr context) {
  reconcile::Planner planner;
  planner.name = "revision-gc";
  planner.owns = res::configurations();
  planner.plan = [context](const World& world, const Key& key, Instant) {
    const auto object = world.get(key);
    if (object == nullptr || object->deleting() || !installed(world)) return Plan{};
    return collect(world, object->parse(), context->configs.get(world).gc);
  };
  planner.triggers = {reconcile::by_owner(res::revisions(), res::configurations())};
  add_config_triggers(planner);
  return planner;
}

}  // namespace knit::serving
