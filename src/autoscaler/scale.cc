#include "autoscaler/scale.h"

#include <algorithm>

namespace knit::autoscaler {

Bounds scale_bounds(std::optional<int> annotation_min, std::optional<int> annotation_max,
                    int config_min, int config_max, bool unreachable) {
  Bounds bounds;
  if (!unreachable) bounds.min = std::max(0, annotation_min.value_or(config_min));
  bounds.max = std::max(0, annotation_max.value_or(config_max));
  return bounds;
}

int apply_bounds(int scale, Bounds bounds) {
  if (scale < bounds.min) return bounds.min;
  if (bounds.max != 0 && scale > bounds.max) return bounds.max;
  return scale;
}

namespace {

ScaleResult scale_to_zero(const ScaleInput& in) {
  if (!in.enable_scale_to_zero) return {1, true, {}, false};
  switch (in.activity) {
    case Activity::Unset:
    case Activity::Activating:
      if (in.activity == Activity::Activating && in.in_activity > in.activation_timeout) {
        return {0, true, {}, false};
      }
      return {-1, false, in.activation_timeout - in.in_activity + std::chrono::seconds(1), false};
    case Activity::Active:
      if (in.in_activity >= in.stable_window) {
        ScaleResult result{0, false, {}, false};
        if (in.sks_proxy) result.again = std::chrono::seconds(3);
        return result;
      }
      return {1, true, in.stable_window - in.in_activity, false};
    case Activity::Inactive:
      break;
  }
  if (in.target_burst_capacity != -1 && !in.activator_confirmed) return {0, false, {}, true};
  const Duration retention = in.unreachable ? Duration::zero() : in.pod_retention;
  const Duration inactive_for = std::max(in.grace_period, retention);
  if (in.in_activity >= inactive_for) return {0, true, {}, false};
  if (retention > Duration::zero() && in.in_activity < retention) {
    return {0, false, retention - in.in_activity, false};
  }
  const Duration left = in.grace_period - in.proxy_for;
  if (left <= Duration::zero()) return {0, true, {}, false};
  // DIFFERS: upstream asks again after `left` alone, and misses what `in_activity` allows before.
  return {0, false, std::min(left, inactive_for - in.in_activity), false};
}

}  // namespace

ScaleResult decide_scale(const ScaleInput& in) {
  if (in.desired < 0 && in.activity != Activity::Activating) return {in.desired, false, {}, false};
  Bounds bounds = in.bounds;
  if (in.initial_scale > 1 && !in.initialized && !in.unreachable) {
    bounds.min = std::max(bounds.min, in.initial_scale);
  }
  const int want = apply_bounds(in.desired, bounds);
  if (want != 0) return {want, true, {}, false};
  return scale_to_zero(in);
}

SksMode sks_mode(int want, double excess_burst, bool inactive) {
  return want == 0 || excess_burst < 0 || (want < 0 && inactive) ? SksMode::Proxy : SksMode::Serve;
}

PaState pa_state(int want, int ready, int min, int initial_scale, bool initialized,
                 bool has_service, Activity before) {
  const auto threshold = [&](bool init) {
    return init ? std::max(min, 1) : std::max(min, initial_scale);
  };
  PaState state;
  const int min_ready = threshold(initialized);
  state.initialized = initialized || (ready >= min_ready && has_service);
  const bool inactive = before == Activity::Inactive;
  if (want == 0 || min_ready == 0) {
    state.activity = Activity::Inactive;
    state.timed_out = before == Activity::Activating && min_ready > 0;
  } else if (ready < min_ready) {
    state.activity = want > 0 || !inactive ? Activity::Activating : Activity::Inactive;
  } else {
    state.activity = want > 0 || !inactive ? Activity::Active : Activity::Inactive;
  }
  return state;
}

}  // namespace knit::autoscaler
