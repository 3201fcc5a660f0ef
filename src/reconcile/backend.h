// Where plans land: a store (local: one batch; remote: write by write) behind one small interface.
// Everything here lives on the driver's loop.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "reconcile/plan.h"

namespace knit::reconcile {

/// What one write would leave behind.
struct Effect {
  enum class Kind { None, Put, Removed };
  Kind kind = Kind::None;
  ObjectPtr object;  // Put only. Its version is the one it was made from (0: new) until committed
};

/// The net change of one object. `before` null: created; `after` null: removed.
struct Change {
  ObjectPtr before, after;
  const Key& key() const { return after ? after->key() : before->key(); }
};

/// Inputs of planners that are not API objects: in memory, never persisted.
class Signals {
 public:
  /// null JSON when absent.
  Json get(Signal kind, const Key& key) const;
  /// Tells subscribers when the value differs from before; null JSON erases.
  void set(Signal kind, const Key& key, Json value);
  void subscribe(std::function<void(Signal, const Key&)> listener);

 private:
  std::map<std::pair<Signal, Key>, Json> values_;
  std::vector<std::function<void(Signal, const Key&)>> listeners_;
};

class Backend {
 public:
  virtual ~Backend() = default;
  /// The committed state now; immutable.
  virtual std::shared_ptr<const World> snapshot() const = 0;
  /// Materialises `write` on top of `seen` exactly as it would be stored: uid, generation,
  /// defaults, admission, finalizers, deletionTimestamp. Changes nothing. A write without a
  /// difference is Effect::None. Errors: what the API would answer. (reconcile/stage.h has the
  /// rules that do not depend on a schema.)
  virtual Result<Effect> stage(const World& seen, const Write& write) = 0;
  /// Stores all changes or none. `done` runs later on the loop. Errors: Conflict when an object is
  /// no longer the `before` of its change. A key comes once.
  virtual void commit(std::vector<Change> changes, std::function<void(Result<void>)> done) = 0;
  /// Every committed change, in order, on the loop; also those that this driver committed.
  virtual void subscribe(std::function<void(const Change&)> feed) = 0;

  Signals& signals() { return signals_; }
  const Signals& signals() const { return signals_; }

 private:
  Signals signals_;
};

}  // namespace knit::reconcile
