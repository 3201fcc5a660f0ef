#include "controllers/serving/scale/kpa_spec.h"

#include "autoscaler/autoscaler.h"
#include "controllers/serving/conditions.h"
#include "controllers/serving/revision/deployment.h"
#include "controllers/serving/serving.h"

namespace knit::serving {
namespace {

/// autoscaling.knative.dev/<kebab>, or the old camelCase spelling.
std::optional<std::string> setting(const StringMap& annotations, std::string_view kebab) {
  std::string camel;
  for (std::size_t i = 0; i < kebab.size(); ++i) {
    if (kebab[i] == '-' && i + 1 < kebab.size()) {
      ++i;
      camel += static_cast<char>(kebab[i] - 'a' + 'A');
    } else {
      camel += kebab[i];
    }
  }
  const std::string prefix(annotation::kAutoscalingPrefix);
  return first_of(annotations, {prefix + std::string(kebab), prefix + camel});
}
std::optional<double> number(const StringMap& annotations, std::string_view key) {
  const auto text = setting(annotations, key);
  return text ? to_double(*text) : std::nullopt;
}
std::optional<int> integer(const StringMap& annotations, std::string_view key) {
  const auto text = setting(annotations, key);
  return text ? to_int(*text) : std::nullopt;
}
Duration duration(const StringMap& annotations, std::string_view key, Duration otherwise) {
  const auto text = setting(annotations, key);
  if (!text) return otherwise;
  const auto value = parse_go_duration(*text);
  return value ? *value : otherwise;
}

}  // namespace

std::string scaler_class(const Json& pa) {
  const auto text = json::str(pa, {"metadata", "annotations", annotation::kScalerClass});
  return text.empty() ? std::string(kKpaClass) : std::string(text);
}

Duration stable_window(const StringMap& annotations, const AutoscalerConfig& config) {
  return duration(annotations, "window", config.stable_window);
}
Duration pod_retention(const StringMap& annotations, const AutoscalerConfig& config) {
  return duration(annotations, "scale-to-zero-pod-retention-period", config.pod_retention);
}

autoscaler::Bounds pa_bounds(const Json& pa, const AutoscalerConfig& config) {
  const StringMap annotations = annotations_of(pa);
  return autoscaler::scale_bounds(
      integer(annotations, "min-scale"), integer(annotations, "max-scale"), config.min_scale,
      config.max_scale, json::str(pa, {"spec", "reachability"}) == "Unreachable");
}

autoscaler::Spec kpa_spec(const Json& pa, const ServingConfig& all) {
  const AutoscalerConfig& config = all.autoscaler;
  const StringMap annotations = annotations_of(pa);
  autoscaler::Spec spec;
  const auto metric = setting(annotations, "metric");
  spec.metric =
      metric && *metric == "rps" ? autoscaler::Metric::Rps : autoscaler::Metric::Concurrency;
  const auto algorithm = setting(annotations, "metric-aggregation-algorithm");
  if (algorithm && (*algorithm == "weighted-exponential" || *algorithm == "weightedExponential")) {
    spec.aggregation = autoscaler::Aggregation::WeightedExponential;
  }
  double utilization = config.target_utilization;
  if (const auto percent = number(annotations, "target-utilization-percentage")) {
    utilization = *percent / 100;
  }
  const auto target = autoscaler::resolve_target(
      spec.metric, number(annotations, "target"),
      static_cast<double>(json::i64(pa, {"spec", "containerConcurrency"})), utilization,
      config.concurrency_default, config.rps_default);
  spec.target = target.target;
  spec.total = target.total;
  spec.target_burst_capacity =
      number(annotations, "target-burst-capacity").value_or(config.target_burst_capacity);
  spec.panic_threshold = number(annotations, "panic-threshold-percentage")
                             .value_or(config.panic_threshold_percentage) /
                         100;
  spec.max_scale_up_rate = config.max_scale_up_rate;
  spec.max_scale_down_rate = config.max_scale_down_rate;
  spec.activator_capacity = config.activator_capacity;
  spec.stable_window = stable_window(annotations, config);
  spec.panic_window = autoscaler::panic_window(
      spec.stable_window,
      number(annotations, "panic-window-percentage").value_or(config.panic_window_percentage));
  spec.scale_down_delay = duration(annotations, "scale-down-delay", config.scale_down_delay);
  spec.activation_scale = integer(annotations, "activation-scale").value_or(0);
  spec.initial_scale = initial_scale(annotations, config);
  spec.reachable = json::str(pa, {"spec", "reachability"}) != "Unreachable";
  return spec;
}

PodCounts count_pods(const World& world, std::string_view ns, std::string_view revision) {
  PodCounts counts;
  for (const auto& object : world.labelled(res::pods(), ns, label::kRevision, revision)) {
    if (object->deleting()) {
      ++counts.terminating;
      continue;
    }
    const Json pod = object->parse();
    const auto phase = json::str(pod, {"status", "phase"});
    if (phase == "Succeeded" || phase == "Failed") continue;
    if (phase != "Running") {
      ++counts.pending;
      continue;
    }
    const auto ready = find_condition(pod, "Ready");
    ready && ready->is_true() ? ++counts.ready : ++counts.not_ready;
  }
  return counts;
}

struct Context::CachedSpec {
  ObjectPtr pa;
  std::uint64_t config = 0;
  std::optional<autoscaler::Spec> spec;  // nullopt: not ours to scale
  bool seen = false;
};

void sync_autoscaler(autoscaler::Autoscaler& autoscaler, const World& world, Context& context,
                     Instant now) {
  const auto& config = context.configs.get(world);
  for (auto& [name, cached] : context.specs) cached->seen = false;
  for (const auto& object : world.list(res::podautoscalers())) {
    if (object->deleting()) continue;
    const std::string name = object->key().ns + "/" + object->key().name;
    auto& cached = context.specs[name];
    if (cached == nullptr) cached = std::make_shared<Context::CachedSpec>();
    if (cached->pa != object || cached->config != context.configs.version()) {
      const Json pa = object->parse();
      cached->pa = object;
      cached->config = context.configs.version();
      cached->spec.reset();
      if (scaler_class(pa) == kKpaClass) cached->spec = kpa_spec(pa, config);
    }
    cached->seen = cached->spec.has_value();
    if (!cached->seen) continue;
    autoscaler.set(name, *cached->spec,
                   count_pods(world, object->key().ns, object->key().name).ready, now);
  }
  std::erase_if(context.specs, [](const auto& kv) { return !kv.second->seen; });
  autoscaler.retain([&](const std::string& name) { return context.specs.contains(name); });
}

Json decision_signal(const autoscaler::Decision& decision) {
  JsonObject out;
  out["desired"] = decision.desired;
  out["excessBurst"] = decision.excess_burst;
  out["activators"] = decision.activators;
  out["panic"] = decision.panic;
  out["stable"] = decision.stable;
  out["panicAvg"] = decision.panic_average;
  return out;
}

Key pod_autoscaler_key(std::string_view revision) {
  const auto slash = revision.find('/');
  if (slash == std::string_view::npos) return {res::podautoscalers(), "", std::string(revision)};
  return {res::podautoscalers(), std::string(revision.substr(0, slash)),
          std::string(revision.substr(slash + 1))};
}

}  // namespace knit::serving
