// From a decision to replicas: bounds, scale to zero, SKS mode and the state of a PodAutoscaler,
// as pure functions of durations.
// Source: knative/serving pkg/reconciler/autoscaling/kpa/{scaler,kpa}.go,
// pkg/apis/autoscaling/v1alpha1/pa_lifecycle.go
#pragma once

#include <optional>

#include "base/time.h"

namespace knit::autoscaler {

struct Bounds {
  int min = 0;
  int max = 0;  // 0: none
};
/// `annotation_*` absent: the ConfigMap's value counts. An unreachable revision has no minimum.
Bounds scale_bounds(std::optional<int> annotation_min, std::optional<int> annotation_max,
                    int config_min, int config_max, bool unreachable);
int apply_bounds(int scale, Bounds bounds);

/// The PodAutoscaler's condition Active.
enum class Activity { Unset, Activating, Active, Inactive };

struct ScaleInput {
  int desired = -1;  // the Decision's
  Bounds bounds;
  int initial_scale = 1;
  bool initialized = false;  // ScaleTargetInitialized is True
  bool unreachable = false;
  Activity activity = Activity::Unset;
  Duration in_activity{};  // since Active last changed
  bool enable_scale_to_zero = true;
  Duration activation_timeout = std::chrono::seconds(630);  // progress deadline + 30 s
  Duration stable_window = std::chrono::seconds(60);
  Duration grace_period = std::chrono::seconds(30);
  Duration pod_retention{};
  double target_burst_capacity = 211;
  bool sks_proxy = false;            // the ServerlessService is in mode Proxy
  bool activator_confirmed = false;  // the data plane routes it to the activator
  Duration proxy_for{};              // since ActivatorEndpointsPopulated became True; 0: is not
};
struct ScaleResult {
  int want = -1;
  bool apply = false;             // write `want` into the Deployment's scale
  std::optional<Duration> again;  // decide again after this long
  bool probe_activator = false;   // waits for the activator to be confirmed
  bool operator==(const ScaleResult&) const = default;
};
ScaleResult decide_scale(const ScaleInput& input);

enum class SksMode { Serve, Proxy };
/// `want` is ScaleResult's; -1 counts as zero only while the PodAutoscaler is inactive.
SksMode sks_mode(int want, double excess_burst, bool inactive);

/// What the PodAutoscaler's conditions become.
struct PaState {
  bool initialized = false;  // mark ScaleTargetInitialized (sticky)
  Activity activity = Activity::Activating;
  bool timed_out = false;  // Inactive because it never came up
};
PaState pa_state(int want, int ready, int min, int initial_scale, bool initialized,
                 bool has_service, Activity before);

}  // namespace knit::autoscaler
