#include "autoscaler/kpa.h"

#include <algorithm>
#include <cmath>

namespace knit::autoscaler {
namespace {
constexpr double kMinTarget = 0.01;
constexpr Duration kTick = std::chrono::seconds(2);
constexpr int kMinActivators = 2;

int to_pods(double v) { return static_cast<int>(std::clamp(v, 0.0, 2147483647.0)); }
}  // namespace

Target resolve_target(Metric metric, std::optional<double> annotation, double container_concurrency,
                      double utilization, double default_concurrency, double default_rps) {
  double total = 0;
  if (metric == Metric::Rps) {
    total = annotation.value_or(default_rps);
  } else {
    total = container_concurrency > 0 ? container_concurrency : default_concurrency;
    if (annotation) {
      total =
          container_concurrency > 0 ? std::min(*annotation, container_concurrency) : *annotation;
    }
  }
  return {std::max(kMinTarget, total * utilization), total};
}

Duration panic_window(Duration stable_window, double percentage) {
  const double seconds =
      std::round(static_cast<double>(stable_window.count()) / 1e9 * percentage / 100);
  return std::chrono::seconds(std::max<std::int64_t>(1, static_cast<std::int64_t>(seconds)));
}

State initial_state(const Spec& spec, int ready, Instant now) {
  State state;
  if (ready > 1) {
    state.panic_since = now;
    state.max_panic_pods = ready;
  }
  if (spec.scale_down_delay > Duration::zero()) state.delay.emplace(spec.scale_down_delay, kTick);
  return state;
}

int activators_for(const Spec& spec, int ready) {
  if (spec.target_burst_capacity == 0) return kMinActivators;
  const double capacity = ready * spec.total + std::max(0.0, spec.target_burst_capacity);
  return std::max(kMinActivators, to_pods(std::ceil(capacity / spec.activator_capacity)));
}

Decision initial_decision(const Spec& spec) {
  Decision decision;
  const double tbc = spec.target_burst_capacity;
  decision.excess_burst =
      tbc == -1 || tbc == 0 ? tbc : std::trunc(spec.initial_scale * spec.total - tbc);
  decision.activators = activators_for(spec, 0);
  return decision;
}

std::optional<Decision> tick(State& state, const Spec& spec,
                             const std::optional<Averages>& averages, int ready, Instant now) {
  if (!averages) return std::nullopt;
  const double ready_pods = std::max(1, ready);
  const double up = std::ceil(spec.max_scale_up_rate * ready_pods);
  const double down = spec.reachable ? std::floor(ready_pods / spec.max_scale_down_rate) : 0;
  const double stable_pods = std::ceil(averages->stable / spec.target);
  const double panic_pods = std::ceil(averages->panic / spec.target);
  int desired_stable = to_pods(std::min(std::max(stable_pods, down), up));
  int desired_panic = to_pods(std::min(std::max(panic_pods, down), up));
  if (spec.activation_scale > 1) {
    if (stable_pods > 0) desired_stable = std::max(desired_stable, spec.activation_scale);
    if (panic_pods > 0) desired_panic = std::max(desired_panic, spec.activation_scale);
  }

  const bool over = panic_pods / ready_pods >= spec.panic_threshold;
  if (over) {
    state.panic_since = now;
  } else if (state.panic_since && *state.panic_since + spec.stable_window < now) {
    state.panic_since.reset();
    state.max_panic_pods = 0;
  }

  int want = desired_stable;
  if (state.panic_since) {
    want = std::max(want, desired_panic);
    state.max_panic_pods = std::max(state.max_panic_pods, want);
    want = state.max_panic_pods;
  }
  if (spec.reachable && state.delay) {
    state.delay->record(now, want);
    want = state.delay->max();
  }

  Decision decision;
  decision.desired = want;
  const double tbc = spec.target_burst_capacity;
  decision.excess_burst = tbc == 0  ? 0
                          : tbc > 0 ? std::floor(ready * spec.total - tbc - averages->panic)
                                    : -1;
  decision.activators = activators_for(spec, ready);
  decision.panic = state.panic_since.has_value();
  decision.stable = averages->stable;
  decision.panic_average = averages->panic;
  return decision;
}

}  // namespace knit::autoscaler
