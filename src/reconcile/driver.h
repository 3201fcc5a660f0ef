// The one driver of all planners: watches, queues keys, settles plans and commits them.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "io/loop.h"
#include "reconcile/overlay.h"

namespace knit::reconcile {

struct DriverSettings {
  int max_rounds = 16;             // planning rounds of one settle
  int max_unsettled = 4;           // settles in a row that use all rounds; then back-off
  std::size_t max_batch = 512;     // keys of one settle
  std::size_t max_changes = 4096;  // objects of one commit; a settle that passes it commits
  Duration retry_first = std::chrono::milliseconds(5);
  Duration retry_last = std::chrono::seconds(1000);
  std::size_t max_event_series = 4096;  // remembered for aggregation and the spam filter
};

struct PlannerStats {
  std::uint64_t plans = 0, writes = 0, errors = 0;
  std::string last_error;  // names the object
};

/// Level-triggered. A settle runs the planners of all dirty keys on a snapshot plus the writes
/// planned so far, and the planners that those writes concern, until nothing changes (at most
/// max_rounds), then commits once: one scale-up is one transaction. What is left continues in the
/// next settle. A plan is all or nothing: when one of its writes is refused, none of it is kept
/// and its key is tried again after 5 ms, doubling to 1000 s. One commit is in flight at a time;
/// after a conflict its keys are planned again on a fresh snapshot.
class Driver {
 public:
  Driver(io::Loop& loop, Backend& backend, DriverSettings settings = {});
  ~Driver();
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

  /// Before start().
  void add(Planner planner);
  /// Subscribes and plans every key there is.
  void start();
  /// Plans `key` of planner `name` soon.
  void enqueue(std::string_view name, const Key& key);
  /// Nothing queued, no commit in flight (timers of `again` and retries may be pending).
  bool idle() const;

  /// Called with the net changes of a settle before they are committed: the place to start work
  /// in parallel with the fsync (a node that starts the pod). Not called again on success.
  void before_commit(std::function<void(const std::vector<Change>&)> hook);

  const std::map<std::string, PlannerStats>& stats() const;
  /// What planning every known key now would write: empty in a settled world.
  std::vector<std::string> pending_plans() const;

 private:
  struct State;
  std::shared_ptr<State> state_;  // shared with posted work, which ends when the driver is gone
};

}  // namespace knit::reconcile
