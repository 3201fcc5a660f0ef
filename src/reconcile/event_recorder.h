// Turns EventNotes into Event objects: aggregated by what they say, filtered against floods.
#pragma once

#include <list>
#include <map>

#include "reconcile/plan.h"

namespace knit::reconcile {

/// Source: client-go tools/record/events_cache.go (aggregation by key; 25 at once, then one per
/// 300 s for each source and object)
class EventRecorder {
 public:
  explicit EventRecorder(std::size_t max_series) : max_series_(max_series) {}
  /// The write that records `note`, or nothing when it is filtered or its object is gone.
  std::optional<Write> record(const World& world, const EventNote& note, Instant now);

 private:
  struct Bucket {
    double tokens = 25;
    Instant at;
  };
  std::size_t max_series_;
  std::map<std::string, Bucket> buckets_;
  std::list<std::string> order_;  // of insertion, to stay bounded
};

}  // namespace knit::reconcile
