// The autoscaler of all revisions: takes what the proxy reports, decides every two seconds or at
// once when a request arrives at zero. No threads and no clock: its owner calls it with the time.
// One loop.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "autoscaler/kpa.h"

namespace knit::autoscaler {

/// One revision in one report: totals over the last second, all pods and the activation queue.
struct Sample {
  std::string revision;  // "namespace/name"
  double average_concurrency = 0;
  double requests_per_second = 0;
};

class Autoscaler {
 public:
  /// Called from inside on_stats, on_demand and tick, when `desired`, the sign of `excess_burst`,
  /// the number of activators or panic changed. Must not call back into the Autoscaler.
  using Emit = std::function<void(const std::string& revision, const Decision& decision)>;
  explicit Autoscaler(Emit emit) : emit_(std::move(emit)) {}

  static constexpr Duration kTick = std::chrono::seconds(2);

  /// Adds a revision, or changes its spec (windows keep what fits). `ready` is the number of pods
  /// that are ready now.
  void set(const std::string& revision, const Spec& spec, int ready, Instant now);
  void remove(const std::string& revision);
  /// Forgets every revision that `keep` does not name.
  void retain(const std::function<bool(const std::string& revision)>& keep);

  /// One report of a proxy. A revision that it does not name had no traffic: its zero counts
  /// while it has ready pods (that is when upstream scrapes), or once after traffic.
  void on_stats(const std::vector<Sample>& samples, Instant now);
  /// Requests wait for a revision's first pod. The first one counts as concurrency 1 at once, and
  /// is taken off the next report.
  void on_demand(const std::string& revision, Instant now);
  /// Decides for every revision. Call each kTick.
  void tick(Instant now);

  std::size_t size() const { return revisions_.size(); }
  /// The last decision, or nullptr when unknown.
  const Decision* last(const std::string& revision) const;

 private:
  struct Revision {
    Spec spec;
    State state;
    int ready = 0;
    Window concurrency_stable, concurrency_panic, rps_stable, rps_panic;
    Decision last;
    bool emitted = false;
    bool active = false;  // had traffic in the last report, or a poke since
    bool poked = false;   // 1 is to be taken off the next report
    Revision(const Spec& s, int ready_pods, Instant now);
  };
  void record(Revision& revision, double concurrency, double rps, Instant now);
  void decide(const std::string& name, Revision& revision, Instant now);
  void publish(const std::string& name, Revision& revision, const Decision& decision);

  Emit emit_;
  std::map<std::string, std::unique_ptr<Revision>> revisions_;
};

}  // namespace knit::autoscaler
