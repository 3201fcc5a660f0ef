// The Knative Pod Autoscaler as a pure function: what one tick decides from state, spec, averages,
// ready pods and time.
// Source: knative/serving pkg/autoscaler/scaling/autoscaler.go, pkg/reconciler/autoscaling/kpa
#pragma once

#include <optional>

#include "autoscaler/window.h"
#include "base/time.h"

namespace knit::autoscaler {

enum class Metric { Concurrency, Rps };

/// What a PodAutoscaler's annotations and config-autoscaler make of one revision.
struct Spec {
  Metric metric = Metric::Concurrency;
  Aggregation aggregation = Aggregation::Linear;
  double target = 70;  // per pod, utilisation applied; >= 0.01
  double total = 100;  // per pod, before utilisation
  double target_burst_capacity = 211;
  double panic_threshold = 2.0;  // ratio of desired to ready pods
  double max_scale_up_rate = 1000;
  double max_scale_down_rate = 2;
  double activator_capacity = 100;
  Duration stable_window = std::chrono::seconds(60);
  Duration panic_window = std::chrono::seconds(6);
  Duration scale_down_delay{};
  int activation_scale = 0;  // 0: unset
  int initial_scale = 1;
  bool reachable = true;
  bool operator==(const Spec&) const = default;
};

struct Target {
  double target, total;
};
/// `annotation`: autoscaling.knative.dev/target; `utilization` a fraction.
Target resolve_target(Metric metric, std::optional<double> annotation, double container_concurrency,
                      double utilization, double default_concurrency, double default_rps);
/// max(1 s, rounded to seconds).
Duration panic_window(Duration stable_window, double percentage);

/// What a revision's autoscaler carries from tick to tick.
struct State {
  std::optional<Instant> panic_since;  // extended while over the threshold
  int max_panic_pods = 0;
  std::optional<MaxWindow> delay;
};
/// A new instance for a revision that runs more than one pod starts in panic, so that a restart
/// never scales down. The delay window is built here only.
State initial_state(const Spec& spec, int ready, Instant now);

struct Averages {
  double stable = 0, panic = 0;
};

struct Decision {
  int desired = -1;  // -1: not known yet
  double excess_burst = 0;
  int activators = 2;
  bool panic = false;
  double stable = 0, panic_average = 0;
  bool operator==(const Decision&) const = default;
};
/// Before the first tick.
Decision initial_decision(const Spec& spec);
/// `averages` absent: no data, so no decision.
std::optional<Decision> tick(State& state, const Spec& spec,
                             const std::optional<Averages>& averages, int ready, Instant now);
/// How many activators a revision's public Service wants.
int activators_for(const Spec& spec, int ready);

}  // namespace knit::autoscaler
