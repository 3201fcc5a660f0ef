// What the API server does by itself, now and then: Events end after an hour, and the store forgets
// history that no watch should need any more.
#pragma once

#include "io/loop.h"
#include "store/store.h"

namespace knit::apiserver {

struct HousekeepingSettings {
  Duration event_lifetime = std::chrono::hours(1);
  Duration events_every = std::chrono::minutes(1);
  /// History older than this is compacted at the next round (etcd's apiserver: 5 minutes).
  Duration compact_every = std::chrono::minutes(5);
  std::size_t batch = 500;  // events of one commit
};

/// Loop-bound; ends with the object.
class Housekeeping {
 public:
  Housekeeping(io::Loop& loop, store::Store& store, HousekeepingSettings settings = {});
  void start();

 private:
  static io::Task<void> expire_events(Housekeeping* h);
  static io::Task<void> compact(Housekeeping* h);

  io::Loop& loop_;
  store::Store& store_;
  HousekeepingSettings settings_;
  io::Loop::Scope events_, compaction_;
};

/// When an Event said something last. Source: core/v1 Event, events.k8s.io/v1 series
WallTime last_seen(const Json& event);

}  // namespace knit::apiserver
