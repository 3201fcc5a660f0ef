#include "autoscaler/autoscaler.h"

#include <algorithm>

namespace knit::autoscaler {

Autoscaler::Revision::Revision(const Spec& s, int ready_pods, Instant now)
    : spec(s),
      state(initial_state(s, ready_pods, now)),
      ready(ready_pods),
      concurrency_stable(s.stable_window, s.aggregation),
      concurrency_panic(s.panic_window, s.aggregation),
      rps_stable(s.stable_window, s.aggregation),
      rps_panic(s.panic_window, s.aggregation),
      last(initial_decision(s)) {}

void Autoscaler::set(const std::string& name, const Spec& spec, int ready, Instant now) {
  auto& slot = revisions_[name];
  if (slot == nullptr) {
    slot = std::make_unique<Revision>(spec, ready, now);
    publish(name, *slot, slot->last);
    return;
  }
  Revision& revision = *slot;
  revision.ready = ready;
  if (revision.spec == spec) return;
  if (revision.spec.aggregation != spec.aggregation) {
    revision.concurrency_stable = Window(spec.stable_window, spec.aggregation);
    revision.concurrency_panic = Window(spec.panic_window, spec.aggregation);
    revision.rps_stable = Window(spec.stable_window, spec.aggregation);
    revision.rps_panic = Window(spec.panic_window, spec.aggregation);
  } else {
    revision.concurrency_stable.resize(spec.stable_window);
    revision.concurrency_panic.resize(spec.panic_window);
    revision.rps_stable.resize(spec.stable_window);
    revision.rps_panic.resize(spec.panic_window);
  }
  revision.spec = spec;
}

void Autoscaler::remove(const std::string& name) { revisions_.erase(name); }

void Autoscaler::retain(const std::function<bool(const std::string&)>& keep) {
  for (auto it = revisions_.begin(); it != revisions_.end();) {
    it = keep(it->first) ? std::next(it) : revisions_.erase(it);
  }
}

const Decision* Autoscaler::last(const std::string& name) const {
  const auto it = revisions_.find(name);
  return it == revisions_.end() ? nullptr : &it->second->last;
}

void Autoscaler::record(Revision& revision, double concurrency, double rps, Instant now) {
  revision.concurrency_stable.record(now, concurrency);
  revision.concurrency_panic.record(now, concurrency);
  revision.rps_stable.record(now, rps);
  revision.rps_panic.record(now, rps);
}

void Autoscaler::on_stats(const std::vector<Sample>& samples, Instant now) {
  std::map<std::string_view, const Sample*> by_name;
  for (const auto& sample : samples) by_name[sample.revision] = &sample;
  for (auto& [name, slot] : revisions_) {
    Revision& revision = *slot;
    const auto it = by_name.find(name);
    double concurrency = it == by_name.end() ? 0 : it->second->average_concurrency;
    double rps = it == by_name.end() ? 0 : it->second->requests_per_second;
    const bool traffic = concurrency > 0 || rps > 0;
    if (!traffic && revision.ready == 0 && !revision.active) continue;
    if (revision.poked) {
      concurrency = std::max(0.0, concurrency - 1);
      rps = std::max(0.0, rps - 1);
      revision.poked = false;
    }
    revision.active = traffic;
    record(revision, concurrency, rps, now);
    // A request that the proxy reports before its demand arrived wakes the revision all the same.
    if (revision.last.desired == 0 && concurrency > 0) decide(name, revision, now);
  }
}

void Autoscaler::on_demand(const std::string& name, Instant now) {
  const auto it = revisions_.find(name);
  if (it == revisions_.end()) return;
  Revision& revision = *it->second;
  if (!revision.active) {
    revision.active = true;
    revision.poked = true;
    record(revision, 1, 1, now);
  }
  // DIFFERS: upstream waits for its tick when it does not know the scale (-1, after a restart);
  // there is no reason to let a request wait for that.
  if (revision.last.desired <= 0) decide(name, revision, now);
}

void Autoscaler::tick(Instant now) {
  for (auto& [name, revision] : revisions_) decide(name, *revision, now);
}

void Autoscaler::decide(const std::string& name, Revision& revision, Instant now) {
  const bool rps = revision.spec.metric == Metric::Rps;
  const Window& stable = rps ? revision.rps_stable : revision.concurrency_stable;
  const Window& panic = rps ? revision.rps_panic : revision.concurrency_panic;
  std::optional<Averages> averages;
  if (!stable.empty(now)) {
    averages = Averages{stable.average(now), panic.average(now)};
  } else if (revision.spec.target_burst_capacity == -1) {
    averages = Averages{};  // nothing is scraped then, so silence is zero
  }
  if (const auto decision =
          autoscaler::tick(revision.state, revision.spec, averages, revision.ready, now)) {
    publish(name, revision, *decision);
  }
}

void Autoscaler::publish(const std::string& name, Revision& revision, const Decision& decision) {
  const Decision before = revision.last;
  revision.last = decision;
  const bool same = before.desired == decision.desired &&
                    (before.excess_burst < 0) == (decision.excess_burst < 0) &&
                    before.activators == decision.activators && before.panic == decision.panic;
  if (same && revision.emitted) return;
  revision.emitted = true;
  if (emit_) emit_(name, decision);
}

}  // namespace knit::autoscaler
