#include "controllers/core/workloads/deployment.h"

#include <algorithm>
#include <cmath>

#include "base/hash.h"
#include "kube/selector.h"

namespace knit::controllers::core {
namespace {
using reconcile::Planner;

constexpr std::string_view kComponent = "deployment-controller";
constexpr std::string_view kHashLabel = "pod-template-hash";
constexpr std::string_view kRevision = "deployment.kubernetes.io/revision";
constexpr std::string_view kDesired = "deployment.kubernetes.io/desired-replicas";
constexpr std::string_view kMax = "deployment.kubernetes.io/max-replicas";

struct Set {
  ObjectPtr object;  // null: planned, not yet stored
  Key key;
  Json json;
  std::int64_t replicas = 0;  // spec
  std::int64_t current = 0, ready = 0, available = 0;
};

Set set_of(const ObjectPtr& object) {
  Set s{object, object->key(), object->parse()};
  s.replicas = json::i64(s.json, {"spec", "replicas"}, 1);
  s.current = json::i64(s.json, {"status", "replicas"});
  s.ready = json::i64(s.json, {"status", "readyReplicas"});
  s.available = json::i64(s.json, {"status", "availableReplicas"});
  return s;
}

std::int64_t to_int(std::string_view text) {
  std::int64_t v = 0;
  if (text.size() > 18) return 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return 0;
    v = v * 10 + (c - '0');
  }
  return v;
}
std::int64_t revision_of(const Json& object) {
  return to_int(json::str(object, {"metadata", "annotations", kRevision}));
}
std::string template_text(const Json& pod_template) {
  Json copy = pod_template;
  json::erase(copy, {"metadata", "labels", kHashLabel});
  json::erase(copy, {"metadata", "creationTimestamp"});
  if (json::object(copy, {"metadata", "labels"}).empty()) json::erase(copy, {"metadata", "labels"});
  return json::canonical(copy);
}

class Rollout {
 public:
  Rollout(const World& world, Key key, ObjectPtr object)
      : world_(world), key_(std::move(key)), object_(std::move(object)), d_(object_->parse()) {
    replicas_ = json::i64(d_, {"spec", "replicas"}, 1);
    const bool rolling =
        json::str(d_, {"spec", "strategy", "type"}, "RollingUpdate") == "RollingUpdate";
    rolling_ = rolling;
    const Json quarter = Json("25%");
    const Json* surge = json::find(d_, {"spec", "strategy", "rollingUpdate", "maxSurge"});
    const Json* gone = json::find(d_, {"spec", "strategy", "rollingUpdate", "maxUnavailable"});
    if (rolling) {
      surge_ = int_or_percent(surge != nullptr ? surge : &quarter, replicas_, Round::Up)
                   .value_or(std::int64_t{0});
      unavailable_ = int_or_percent(gone != nullptr ? gone : &quarter, replicas_, Round::Down)
                         .value_or(std::int64_t{0});
      // Both may resolve to 0: then one may be unavailable. Source: ResolveFenceposts
      if (surge_ == 0 && unavailable_ == 0) unavailable_ = 1;
      unavailable_ = std::min(unavailable_, replicas_);
    }
    paused_ = json::boolean(d_, {"spec", "paused"});
    conditions_ = json::array(d_, {"status", "conditions"});
  }

  Plan run() {
    collect();
    if (object_->deleting()) {
      sync_status();
      return std::move(plan_);
    }
    check_paused();
    if (paused_) {
      find_or_create(Create::No);
      scale();
      cleanup();
    } else if (scaling_event()) {
      find_or_create(Create::No);
      scale();
    } else if (rolling_) {
      find_or_create(Create::Yes);
      if (!reconcile_new()) reconcile_old();
    } else {
      recreate();
    }
    if (complete()) cleanup();
    sync_status();
    return std::move(plan_);
  }

 private:
  enum class Create { No, Yes };

  void collect() {
    const auto selector = kube::LabelSelector::from_object(json::find(d_, {"spec", "selector"}));
    const std::string want = template_text(*template_json());
    std::vector<Set> sets;
    for (const auto& rs : world_.list(res::replicasets(), key_.ns)) {
      const auto owner = controller_uid(*rs);
      if (owner.empty() && !rs->deleting() && !object_->deleting() && selector &&
          !selector->requirements().empty() && selector->matches(rs->labels())) {
        JsonArray owners = json::array(rs->parse(), {"metadata", "ownerReferences"});
        owners.push_back(controller_ref(d_));
        plan_.merge(rs->key(),
                    JsonObject{{"metadata", JsonObject{{"ownerReferences", std::move(owners)}}}});
      } else if (owner != object_->uid()) {
        continue;
      }
      if (!rs->deleting()) sets.push_back(set_of(rs));
    }
    sort_stably(sets, [](const Set& a, const Set& b) {
      const auto ta = created_at(a.json), tb = created_at(b.json);
      return ta != tb ? ta < tb : revision_of(a.json) < revision_of(b.json);
    });
    for (auto& s : sets) {
      const Json* tmpl = json::find(s.json, {"spec", "template"});
      if (!new_ && tmpl != nullptr && template_text(*tmpl) == want) {
        new_ = std::move(s);
      } else {
        old_.push_back(std::move(s));
      }
    }
  }
  const Json* template_json() const {
    static const Json none = JsonObject();
    const Json* t = json::find(d_, {"spec", "template"});
    return t == nullptr ? &none : t;
  }

  void check_paused() {
    if (!deadline()) return;
    const Json progressing = progress_condition();
    const auto reason = json::str(progressing, {"reason"});
    if (reason == "ProgressDeadlineExceeded") return;
    if (paused_ && reason != "DeploymentPaused") {
      set_progress("Unknown", "DeploymentPaused", "Deployment is paused");
    } else if (!paused_ && reason == "DeploymentPaused") {
      set_progress("Unknown", "DeploymentResumed", "Deployment is resumed");
    }
  }

  JsonObject annotations_for(std::int64_t revision) const {
    JsonObject out;
    for (const auto& [k, v] : json::string_map(d_, {"metadata", "annotations"})) {
      if (k == "kubectl.kubernetes.io/last-applied-configuration" || k == kRevision ||
          k == "deployment.kubernetes.io/revision-history" || k == kDesired || k == kMax ||
          k == "deprecated.deployment.rollback.to") {
        continue;
      }
      out[k] = v;
    }
    out[kRevision] = std::to_string(revision);
    out[kDesired] = std::to_string(replicas_);
    out[kMax] = std::to_string(replicas_ + surge_);
    return out;
  }

  void find_or_create(Create create) {
    std::int64_t newest = 0;
    for (const auto& s : old_) newest = std::max(newest, revision_of(s.json));
    const std::int64_t revision = newest + 1;
    if (new_) {
      const std::int64_t have = revision_of(new_->json);
      const std::int64_t wanted = std::max(revision, have);
      JsonObject annotations = annotations_for(wanted);
      // desired and max follow only when the set is scaled (see scale_set).
      for (const auto k : {kDesired, kMax}) {
        if (json::find(new_->json, {"metadata", "annotations", k}) != nullptr) annotations.erase(k);
      }
      JsonObject patch;
      for (const auto& kv : annotations) {
        const Json* old = json::find(new_->json, {"metadata", "annotations", kv.key()});
        if (old == nullptr || *old != kv.value()) patch[kv.key()] = kv.value();
      }
      JsonObject body;
      if (!patch.empty()) body["metadata"] = JsonObject{{"annotations", std::move(patch)}};
      if (json::i64(new_->json, {"spec", "minReadySeconds"}) !=
          json::i64(d_, {"spec", "minReadySeconds"})) {
        body["spec"] = JsonObject{{"minReadySeconds", json::i64(d_, {"spec", "minReadySeconds"})}};
      }
      if (!body.empty()) plan_.merge(new_->key, std::move(body));
      set_revision(wanted);
      if (progress_condition().is_null() && deadline()) {
        set_progress("True", "FoundNewReplicaSet",
                     "Found new replica set \"" + new_->key.name + "\"");
      }
      return;
    }
    if (create == Create::No) return;
    std::int64_t collisions = json::i64(d_, {"status", "collisionCount"});
    std::string hash = template_hash(*template_json(), collisions);
    Key key{res::replicasets(), key_.ns, key_.name + "-" + hash};
    while (world_.has(key)) {  // somebody else's, or of another template
      ++collisions;
      hash = template_hash(*template_json(), collisions);
      key.name = key_.name + "-" + hash;
    }
    if (collisions != json::i64(d_, {"status", "collisionCount"})) collisions_ = collisions;
    Json rs = JsonObject();
    json::set(rs, {"apiVersion"}, Json("apps/v1"));
    json::set(rs, {"kind"}, Json("ReplicaSet"));
    json::set(rs, {"metadata", "name"}, Json(key.name));
    json::set(rs, {"metadata", "namespace"}, Json(key_.ns));
    json::set(rs, {"metadata", "labels"},
              Json(json::object(d_, {"spec", "template", "metadata", "labels"})));
    json::set(rs, {"metadata", "labels", kHashLabel}, Json(hash));
    json::set(rs, {"metadata", "annotations"}, annotations_for(revision));
    json::set(rs, {"metadata", "ownerReferences"}, JsonArray{controller_ref(d_)});
    Set planned{nullptr, key, nullptr};
    planned.replicas = new_replicas(0);
    json::set(rs, {"spec", "replicas"}, Json(planned.replicas));
    if (const auto ready = json::i64(d_, {"spec", "minReadySeconds"}); ready != 0) {
      json::set(rs, {"spec", "minReadySeconds"}, Json(ready));
    }
    json::set(rs, {"spec", "selector"}, Json(json::object(d_, {"spec", "selector"})));
    json::set(rs, {"spec", "selector", "matchLabels", kHashLabel}, Json(hash));
    json::set(rs, {"spec", "template"}, *template_json());
    json::set(rs, {"spec", "template", "metadata", "labels", kHashLabel}, Json(hash));
    planned.json = rs;
    plan_.create(key, std::move(rs));
    if (planned.replicas > 0) scaled_event("up", key.name, 0, planned.replicas);
    new_ = std::move(planned);
    set_revision(revision);
    created_ = true;
    if (deadline()) {
      set_progress("True", "NewReplicaSetCreated", "Created new replica set \"" + key.name + "\"");
    }
  }
  void set_revision(std::int64_t revision) {
    if (revision_of(d_) == revision) return;
    JsonObject annotations;
    annotations[kRevision] = std::to_string(revision);
    plan_.merge(key_,
                JsonObject{{"metadata", JsonObject{{"annotations", std::move(annotations)}}}});
  }

  // Source: deployment_util.go NewRSNewReplicas
  std::int64_t new_replicas(std::int64_t have) const {
    if (!rolling_) return replicas_;
    std::int64_t pods = have;
    for (const auto& s : old_) pods += s.replicas;
    const std::int64_t most = replicas_ + surge_;
    if (pods >= most) return have;
    return have + std::min(most - pods, replicas_ - have);
  }

  void scaled_event(std::string_view way, const std::string& name, std::int64_t from,
                    std::int64_t to) {
    plan_.event(key_, "Normal", "ScalingReplicaSet",
                "Scaled " + std::string(way) + " replica set " + name + " from " +
                    std::to_string(from) + " to " + std::to_string(to),
                std::string(kComponent));
  }
  bool scale_set(Set& s, std::int64_t to) {
    to = std::max<std::int64_t>(to, 0);
    JsonObject annotations;
    const auto note = [&](std::string_view k, std::int64_t v) {
      if (json::str(s.json, {"metadata", "annotations", k}) != std::to_string(v)) {
        annotations[k] = std::to_string(v);
      }
    };
    note(kDesired, replicas_);
    note(kMax, replicas_ + surge_);
    const bool changed = s.replicas != to;
    if (!changed && annotations.empty()) return false;
    JsonObject patch;
    if (!annotations.empty()) {
      patch["metadata"] = JsonObject{{"annotations", std::move(annotations)}};
    }
    if (changed) {
      patch["spec"] = JsonObject{{"replicas", to}};
      scaled_event(to > s.replicas ? "up" : "down", s.key.name, s.replicas, to);
    }
    plan_.merge(s.key, std::move(patch));
    s.replicas = to;
    return changed;
  }

  std::vector<Set*> active() {
    std::vector<Set*> out;
    for (auto& s : old_) {
      if (s.replicas > 0) out.push_back(&s);
    }
    if (new_ && new_->replicas > 0) out.push_back(&*new_);
    return out;
  }
  bool scaling_event() {
    for (const Set* s : active()) {
      const Json* desired = json::find(s->json, {"metadata", "annotations", kDesired});
      if (desired == nullptr) continue;
      if (json::str(s->json, {"metadata", "annotations", kDesired}) != std::to_string(replicas_)) {
        return true;
      }
    }
    return false;
  }

  // Source: sync.go scale()
  void scale() {
    const auto sets = active();
    Set* latest = nullptr;
    if (sets.size() == 1) latest = sets.front();
    if (sets.empty()) {
      if (new_) {
        latest = &*new_;
      } else {
        for (auto& s : old_) {
          if (latest == nullptr || created_at(s.json) >= created_at(latest->json)) latest = &s;
        }
      }
    }
    if (latest != nullptr) {
      scale_set(*latest, replicas_);
      return;
    }
    if (new_ && new_->replicas == replicas_ && new_->available == replicas_) {  // saturated
      for (auto& s : old_) scale_set(s, 0);
      return;
    }
    if (!rolling_) return;
    std::int64_t all = 0;
    for (const Set* s : sets) all += s->replicas;
    const std::int64_t allowed = replicas_ > 0 ? replicas_ + surge_ : 0;
    const std::int64_t to_add = allowed - all;
    auto order = sets;
    sort_stably(order, [&](const Set* a, const Set* b) {
      if (a->replicas != b->replicas) return a->replicas > b->replicas;
      return to_add > 0 ? created_at(a->json) > created_at(b->json)
                        : created_at(a->json) < created_at(b->json);
    });
    std::int64_t added = 0;
    std::vector<std::int64_t> target;
    for (const Set* s : order) {
      std::int64_t share = 0;
      if (to_add != 0) {
        const std::int64_t annotated =
            to_int(json::str(s->json, {"metadata", "annotations", kMax}));
        const double base = annotated > 0 ? static_cast<double>(annotated)
                                          : static_cast<double>(std::max<std::int64_t>(all, 1));
        const double size = static_cast<double>(s->replicas) * static_cast<double>(allowed) / base;
        share = static_cast<std::int64_t>(std::llround(size)) - s->replicas;
        const std::int64_t left = to_add - added;
        share = to_add > 0 ? std::min(share, left) : std::max(share, left);
      }
      added += share;
      target.push_back(s->replicas + share);
    }
    for (std::size_t i = 0; i < order.size(); ++i) {
      if (i == 0) target[i] = std::max<std::int64_t>(target[i] + (to_add - added), 0);
      scale_set(*order[i], target[i]);
    }
  }

  // Source: rolling.go reconcileNewReplicaSet
  bool reconcile_new() {
    if (!new_ || created_) return created_;
    if (new_->replicas == replicas_) {
      scale_set(*new_, replicas_);
      return false;
    }
    return scale_set(*new_, new_->replicas > replicas_ ? replicas_ : new_replicas(new_->replicas));
  }

  // Source: rolling.go reconcileOldReplicaSets
  void reconcile_old() {
    std::int64_t old_pods = 0, all_pods = 0, available = 0;
    for (const auto& s : old_) {
      old_pods += s.replicas;
      available += s.available;
    }
    if (old_pods == 0 || !new_) return;
    all_pods = old_pods + new_->replicas;
    available += new_->available;
    const std::int64_t least = replicas_ - unavailable_;
    const std::int64_t max_down = all_pods - least - (new_->replicas - new_->available);
    if (max_down <= 0) return;
    // Unhealthy ones first: they serve nobody.
    std::int64_t cleaned = 0;
    for (auto& s : old_) {
      if (cleaned >= max_down) break;
      if (s.replicas == 0 || s.replicas == s.available) continue;
      const std::int64_t n = std::min(max_down - cleaned, s.replicas - s.available);
      if (n <= 0) continue;
      scale_set(s, s.replicas - n);
      cleaned += n;
    }
    std::int64_t down = available - least;
    for (auto& s : old_) {
      if (down <= 0) break;
      if (s.replicas == 0) continue;
      const std::int64_t n = std::min(s.replicas, down);
      scale_set(s, s.replicas - n);
      down -= n;
    }
  }

  // Source: recreate.go
  void recreate() {
    bool scaled = false;
    find_or_create(Create::No);
    for (auto& s : old_) scaled = (s.replicas > 0 && scale_set(s, 0)) || scaled;
    if (scaled) return;
    for (const auto& s : old_) {
      for (const auto& pod : world_.owned(res::pods(), key_.ns, s.object->uid())) {
        if (!pod_ended(pod->parse())) return;  // still running: wait
      }
    }
    find_or_create(Create::Yes);
    if (!created_ && new_) scale_set(*new_, replicas_);
  }

  bool complete() const {
    if (!new_ || created_) return false;
    std::int64_t all = new_->current;
    for (const auto& s : old_) all += s.current;
    return new_->current == replicas_ && all == replicas_ && new_->available == replicas_;
  }

  void cleanup() {
    const std::int64_t limit = json::i64(d_, {"spec", "revisionHistoryLimit"}, 10);
    std::vector<const Set*> idle;
    for (const auto& s : old_) {
      if (s.replicas == 0 && s.current == 0 &&
          json::i64(s.json, {"metadata", "generation"}) <=
              json::i64(s.json, {"status", "observedGeneration"})) {
        idle.push_back(&s);
      }
    }
    std::int64_t surplus = static_cast<std::int64_t>(old_.size()) - limit;
    sort_stably(idle, [](const Set* a, const Set* b) {
      return revision_of(a->json) < revision_of(b->json);
    });
    for (const Set* s : idle) {
      if (surplus-- <= 0) break;
      plan_.remove(s->object);
    }
  }

  std::optional<Duration> deadline() const {
    const auto seconds = json::i64(d_, {"spec", "progressDeadlineSeconds"}, 600);
    if (seconds >= INT32_MAX) return std::nullopt;
    return Duration(std::chrono::seconds(seconds));
  }
  Json progress_condition() const {
    for (const auto& c : conditions_) {
      if (json::str(c, {"type"}) == "Progressing") return c;
    }
    return nullptr;
  }
  // An equal status and reason keeps the condition as it is (SetDeploymentCondition), unless
  // `touch` renews lastUpdateTime: the rollout moved.
  void set_condition_full(std::string_view type, std::string_view status, std::string_view reason,
                          const std::string& message, bool touch = false) {
    for (const auto& c : conditions_) {
      if (json::str(c, {"type"}) == type && json::str(c, {"status"}) == status &&
          json::str(c, {"reason"}) == reason && !touch) {
        return;
      }
    }
    set_condition(conditions_, {type, status, reason, message}, world_.wall_now());
    for (auto& c : conditions_) {
      if (json::str(c, {"type"}) == type) {
        json::set(c, {"lastUpdateTime"}, Json(rfc3339(world_.wall_now())));
      }
    }
  }
  void set_progress(std::string_view status, std::string_view reason, const std::string& message,
                    bool touch = false) {
    set_condition_full("Progressing", status, reason, message, touch);
  }

  void sync_status() {
    std::int64_t total = 0, ready = 0, available = 0;
    for (const auto& s : old_) {
      total += s.current;
      ready += s.ready;
      available += s.available;
    }
    const std::int64_t updated = new_ ? new_->current : 0;
    if (new_) {
      total += new_->current;
      ready += new_->ready;
      available += new_->available;
    }
    const std::int64_t least = replicas_ - unavailable_;
    if (available >= least) {
      set_condition_full("Available", "True", "MinimumReplicasAvailable",
                         "Deployment has minimum availability.");
    } else {
      set_condition_full("Available", "False", "MinimumReplicasUnavailable",
                         "Deployment does not have minimum availability.");
    }
    progress(total, updated, ready, available);
    replica_failure();

    const auto count = [](std::int64_t n) { return n == 0 ? Json() : Json(n); };
    JsonObject status;
    status["observedGeneration"] = json::i64(d_, {"metadata", "generation"});
    status["replicas"] = count(total);
    status["updatedReplicas"] = count(updated);
    status["readyReplicas"] = count(ready);
    status["availableReplicas"] = count(available);
    status["unavailableReplicas"] = count(std::max<std::int64_t>(wanted_pods() - available, 0));
    if (collisions_) status["collisionCount"] = *collisions_;
    status["conditions"] = conditions_;
    plan_.status(key_, std::move(status));
  }
  // Source: sync.go calculateStatus: pods that the sets ask for count as unavailable.
  std::int64_t wanted_pods() const {
    std::int64_t n = new_ ? new_->replicas : 0;
    for (const auto& s : old_) n += s.replicas;
    return n;
  }

  // Source: progress.go syncRolloutStatus
  void progress(std::int64_t total, std::int64_t updated, std::int64_t ready,
                std::int64_t available) {
    const auto limit = deadline();
    if (!limit) {
      conditions_.erase(
          std::remove_if(conditions_.begin(), conditions_.end(),
                         [](const Json& c) { return json::str(c, {"type"}) == "Progressing"; }),
          conditions_.end());
      return;
    }
    if (paused_ || object_->deleting()) return;
    const Json current = progress_condition();
    const std::string what =
        new_ ? "ReplicaSet \"" + new_->key.name + "\"" : "Deployment \"" + key_.name + "\"";
    const auto reason = json::str(current, {"reason"});
    if (total == updated && reason == "NewReplicaSetAvailable" && !created_) return;
    const std::int64_t old_updated = json::i64(d_, {"status", "updatedReplicas"});
    const std::int64_t old_total = json::i64(d_, {"status", "replicas"});
    if (updated == replicas_ && total == replicas_ && available == replicas_ && new_ && !created_) {
      set_progress("True", "NewReplicaSetAvailable", what + " has successfully progressed.");
      return;
    }
    if (updated > old_updated || total - updated < old_total - old_updated ||
        ready > json::i64(d_, {"status", "readyReplicas"}) ||
        available > json::i64(d_, {"status", "availableReplicas"})) {
      set_progress("True", "ReplicaSetUpdated", what + " is progressing.", true);
    } else if (!current.is_null() && reason != "NewReplicaSetAvailable" &&
               reason != "ProgressDeadlineExceeded") {
      const Duration left =
          time_at(progress_condition(), {"lastUpdateTime"}) + *limit - world_.wall_now();
      if (left <= Duration::zero()) {
        set_progress("False", "ProgressDeadlineExceeded", what + " has timed out progressing.");
        return;
      }
    }
    const Json now = progress_condition();
    const auto now_reason = json::str(now, {"reason"});
    if (!now.is_null() && now_reason != "NewReplicaSetAvailable" &&
        now_reason != "ProgressDeadlineExceeded") {
      plan_.again_in(time_at(now, {"lastUpdateTime"}) + *limit - world_.wall_now());
    }
  }

  void replica_failure() {
    Json failure;
    if (new_) failure = condition(new_->json, "ReplicaFailure");
    for (auto it = old_.rbegin(); failure.is_null() && it != old_.rend(); ++it) {
      failure = condition(it->json, "ReplicaFailure");
    }
    if (!failure.is_null()) {
      set_condition_full("ReplicaFailure", "True", json::str(failure, {"reason"}),
                         std::string(json::str(failure, {"message"})));
      return;
    }
    conditions_.erase(
        std::remove_if(conditions_.begin(), conditions_.end(),
                       [](const Json& c) { return json::str(c, {"type"}) == "ReplicaFailure"; }),
        conditions_.end());
  }

  const World& world_;
  Key key_;
  ObjectPtr object_;
  Json d_;
  Plan plan_;
  std::int64_t replicas_ = 0, surge_ = 0, unavailable_ = 0;
  bool rolling_ = true, paused_ = false, created_ = false;
  std::optional<Set> new_;
  std::vector<Set> old_;
  std::optional<std::int64_t> collisions_;
  JsonArray conditions_;
};

}  // namespace

std::string template_hash(const Json& pod_template, std::int64_t collisions) {
  std::string text = template_text(pod_template);
  if (collisions > 0) text += '/' + std::to_string(collisions);
  return safe_encode(hash::fnv32a(text));
}

Planner deployment_planner(const CoreSettings&) {
  Planner p;
  p.name = "deployment";
  p.owns = res::deployments();
  p.plan = [](const World& world, const Key& key, Instant) {
    auto object = world.get(key);
    if (object == nullptr) return Plan();
    return Rollout(world, key, std::move(object)).run();
  };
  p.triggers = {
      reconcile::by_owner(res::replicasets(), res::deployments()),
      // Recreate waits for the last old pod.
      {res::pods(),
       [](const World& world, const ObjectPtr& before, const ObjectPtr& after) {
         std::vector<Key> keys;
         if (before == nullptr || after != nullptr) return keys;
         const auto* rs = before->controller();
         if (rs == nullptr || rs->kind != "ReplicaSet") return keys;
         const auto set = world.get({res::replicasets(), before->key().ns, rs->name});
         const auto* owner = set == nullptr ? nullptr : set->controller();
         if (owner != nullptr) keys.push_back({res::deployments(), before->key().ns, owner->name});
         return keys;
       }},
  };
  return p;
}

}  // namespace knit::controllers::core
