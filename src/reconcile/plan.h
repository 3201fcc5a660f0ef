// A plan: the writes that a planner wants, as values. Planners are pure; one driver applies plans.
#pragma once

#include <functional>
#include <optional>

#include "base/time.h"
#include "reconcile/world.h"

namespace knit::reconcile {

struct Write {
  enum class Op {
    Create,  // body: the whole object (apiVersion, kind, metadata.name, …)
    Merge,   // body: RFC 7386 patch of the main resource
    Status,  // body: RFC 7386 patch {"status": {…}} of the status subresource
    Delete,  // body: null; `uid` is the precondition
  };
  Op op = Op::Create;
  Key key;
  Json body;
  std::string uid;
  std::int64_t grace = -1;  // Delete: grace period in seconds; -1 is the object's own
  bool operator==(const Write&) const = default;
};

struct EventNote {
  Key about;
  std::string type = "Normal";  // or "Warning"
  std::string reason, message, component;
  bool operator==(const EventNote&) const = default;
};

struct Plan {
  std::vector<Write> writes;
  std::vector<EventNote> events;  // recorded only when a write of the same plan has an effect
  std::optional<Duration> again;  // plan this key again after this long, even if nothing changes
  bool operator==(const Plan&) const = default;

  void create(const Key& key, Json object);
  void merge(const Key& key, Json patch);
  void status(const Key& key, Json status);  // wraps into {"status": …}
  /// `grace` in seconds overrides the object's own (0: at once, for pods that no node runs).
  void remove(const ObjectPtr& object, std::int64_t grace = -1);
  void event(const Key& about, std::string type, std::string reason, std::string message,
             std::string component);
  /// Keeps the earliest.
  void again_in(Duration d);
  /// Makes `key` look like `want` (metadata labels, annotations, ownerReferences, spec, data, …):
  /// creates it, or merges the difference of the top-level fields that `want` has. Fields of
  /// `metadata` that `want` does not name stay. Within `spec`, objects are compared by the fields
  /// that `want` names (so the server's defaults are no difference), but maps of strings called
  /// labels, annotations, matchLabels, selector, nodeSelector, limits and requests exactly; lists
  /// are equal when they have the same length and each element covers its counterpart. Every other
  /// top-level field (data, rules, subsets, …) is compared exactly. null in `want` removes a field.
  /// Does nothing while the object is being deleted. Never touches status.
  void ensure(const World& world, const Key& key, const Json& want);
};
std::string to_string(const Plan& plan);

/// `now` is monotonic and only for `again`; timestamps come from world.wall_now().
using PlanFn = std::function<Plan(const World& world, const Key& key, Instant now)>;

/// One planner owns one kind and names the other kinds that matter to its keys.
struct Planner {
  std::string name;  // "revision"
  Resource owns;
  PlanFn plan;
  struct Trigger {
    Resource resource;  // Resource() is every kind
    /// The keys (of `owns`) that a change of `object` concerns. `before` may be null (created),
    /// `after` may be null (deleted).
    std::function<std::vector<Key>(const World& world, const ObjectPtr& before,
                                   const ObjectPtr& after)>
        keys;
  };
  std::vector<Trigger> triggers;
  std::vector<Signal> signals;  // whose changes (same key) plan the key again
  std::vector<Key> always;      // planned at start even when absent
  /// Owns no kind but looks at every object of every kind (owner collection): `owns` is ignored,
  /// a changed object's key is planned.
  bool every_kind = false;
};

/// Trigger helpers: the controller owner of `resource` objects; every key of `owns`.
Planner::Trigger by_owner(Resource child, Resource owner);
Planner::Trigger by_any(Resource changed, Resource owns);

}  // namespace knit::reconcile
