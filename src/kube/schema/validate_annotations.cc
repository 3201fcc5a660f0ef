// Source: knative/serving pkg/apis/autoscaling/annotation_validation.go,
// pkg/apis/serving/metadata_validation.go.
#include <charconv>
#include <cstdlib>
#include <optional>

#include "base/quantity.h"
#include "kube/schema/knative_errors.h"

namespace knit::schema {

namespace {
using json::str;
using Pairs = std::vector<std::pair<std::string, std::string>>;

std::optional<std::int64_t> integer(std::string_view s) {
  if (s.starts_with('+')) s.remove_prefix(1);
  std::int64_t n = 0;
  const auto [end, ec] = std::from_chars(s.data(), s.data() + s.size(), n);
  if (ec != std::errc() || end != s.data() + s.size()) return std::nullopt;
  return n;
}
std::optional<double> real(const std::string& s) {
  if (s.empty() || s.find_first_not_of("0123456789+-.eE") != std::string::npos) return std::nullopt;
  char* end = nullptr;
  const double d = std::strtod(s.c_str(), &end);
  if (end != s.c_str() + s.size()) return std::nullopt;
  return d;
}

/// Every key of group autoscaling.knative.dev, with its older spelling.
struct Key {
  std::string_view name, old;
};
constexpr Key kKeys[] = {
    {"class", ""},
    {"metric", ""},
    {"target", ""},
    {"min-scale", "minScale"},
    {"max-scale", "maxScale"},
    {"initial-scale", "initialScale"},
    {"activation-scale", "activationScale"},
    {"scale-down-delay", "scaleDownDelay"},
    {"scale-to-zero-pod-retention-period", "scaleToZeroPodRetentionPeriod"},
    {"metric-aggregation-algorithm", "metricAggregationAlgorithm"},
    {"window", ""},
    {"target-utilization-percentage", "targetUtilizationPercentage"},
    {"target-burst-capacity", "targetBurstCapacity"},
    {"panic-window-percentage", "panicWindowPercentage"},
    {"panic-threshold-percentage", "panicThresholdPercentage"},
};
constexpr std::string_view kGroup = "autoscaling.knative.dev/";

struct Found {
  std::string key, value;  // the full key as written
};
std::optional<Found> lookup(const Pairs& annotations, std::string_view name) {
  for (const Key& k : kKeys) {
    if (k.name != name) continue;
    for (const auto& [key, value] : annotations) {
      if (!key.starts_with(kGroup)) continue;
      const std::string_view rest = std::string_view(key).substr(kGroup.size());
      if (rest == k.name || (!k.old.empty() && rest == k.old)) return Found{key, value};
    }
  }
  return std::nullopt;
}

class Check {
 public:
  Check(const Pairs& annotations, const std::string& path, const Context& context,
        KnativeErrors& errors)
      : annotations_(annotations),
        path_(path + ".annotations"),
        context_(context),
        errors_(errors) {}

  void run() {
    keys();
    klass();
    scales();
    percentage("panic-window-percentage", 1, 100);
    percentage("panic-threshold-percentage", 110, 1000);
    percentage("target-utilization-percentage", 1, 100);
    if (const auto f = lookup(annotations_, "target")) {
      const auto v = real(f->value);
      if (!v || *v < 0.01) {
        errors_.add("target " + f->value + " should be at least 0.01", at(path_, f->key));
      }
    }
    if (const auto f = lookup(annotations_, "target-burst-capacity")) {
      const auto v = real(f->value);
      if (!v || (*v < 0 && *v != -1)) errors_.invalid(f->value, at(path_, f->key));
    }
    duration("window", 6, 3600);
    duration("scale-down-delay", 0, 3600);
    duration("scale-to-zero-pod-retention-period", 0, 3600);
    if (const auto f = lookup(annotations_, "metric-aggregation-algorithm")) {
      if (f->value != "linear" && f->value != "weighted-exponential" &&
          f->value != "weightedExponential") {
        errors_.invalid(f->value, at(path_, f->key));
      }
    }
  }

 private:
  void keys() {
    for (const auto& [key, value] : annotations_) {
      if (!key.starts_with(kGroup)) continue;
      const std::string_view rest = std::string_view(key).substr(kGroup.size());
      bool known = false;
      for (const Key& k : kKeys) known = known || rest == k.name || rest == k.old;
      if (!known) errors_.key(key, path_);
    }
  }
  void klass() {
    const auto k = lookup(annotations_, "class");
    const std::string name = k ? k->value : "kpa.autoscaling.knative.dev";
    if (name.ends_with(".knative.dev") && name != "kpa.autoscaling.knative.dev" &&
        name != "hpa.autoscaling.knative.dev") {
      errors_.invalid(name, at(path_, k->key));
    }
    if (const auto m = lookup(annotations_, "metric"); m && name == "kpa.autoscaling.knative.dev" &&
                                                       m->value != "concurrency" &&
                                                       m->value != "rps") {
      errors_.invalid(m->value, at(path_, m->key));
    }
  }
  std::optional<std::int64_t> scale(std::string_view name, std::int64_t low) {
    const auto f = lookup(annotations_, name);
    if (!f) return std::nullopt;
    const auto n = integer(f->value);
    if (!n) {
      errors_.invalid(f->value, at(path_, f->key));
    } else if (*n < low || *n > INT32_MAX) {
      errors_.out_of_bounds(f->value, std::to_string(low), "2147483647", at(path_, f->key));
    } else {
      return n;
    }
    return std::nullopt;
  }
  void scales() {
    const auto min = scale("min-scale", 0);
    const auto max = scale("max-scale", 0);
    const bool zero_ok =
        context_.knative_config != nullptr &&
        str(*context_.knative_config, {"config-autoscaler", "allow-zero-initial-scale"}) == "true";
    if (const auto f = lookup(annotations_, "initial-scale")) {
      const auto n = integer(f->value);
      if (!n) {
        errors_.invalid(f->value, at(path_, f->key));
      } else if (*n < 0 || (*n == 0 && !zero_ok)) {
        errors_.add(f->key + "=" + f->value + " not allowed by cluster", at(path_, f->key));
      }
    }
    const auto activation = scale("activation-scale", 2);
    if (min && max && *max != 0 && *max < *min) {
      errors_.add(
          "max-scale=" + std::to_string(*max) + " is less than min-scale=" + std::to_string(*min),
          at(path_, lookup(annotations_, "max-scale")->key));
      errors_.add(
          "max-scale=" + std::to_string(*max) + " is less than min-scale=" + std::to_string(*min),
          at(path_, lookup(annotations_, "min-scale")->key));
    }
    if (activation && max && *max != 0 && *activation > *max) {
      errors_.add("activation-scale=" + std::to_string(*activation) +
                      " is greater than max-scale=" + std::to_string(*max),
                  at(path_, lookup(annotations_, "activation-scale")->key));
    }
    const auto limit =
        context_.knative_config == nullptr
            ? std::nullopt
            : integer(str(*context_.knative_config, {"config-autoscaler", "max-scale-limit"}));
    if (limit && *limit > 0 && max && (*max < 1 || *max > *limit)) {
      errors_.out_of_bounds(std::to_string(*max), "1", std::to_string(*limit),
                            at(path_, lookup(annotations_, "max-scale")->key));
    }
  }
  void percentage(std::string_view name, double low, double high) {
    const auto f = lookup(annotations_, name);
    if (!f) return;
    const auto v = real(f->value);
    if (!v) {
      errors_.invalid(f->value, at(path_, f->key));
    } else if (*v < low || *v > high) {
      errors_.out_of_bounds(f->value, std::to_string(static_cast<int>(low)),
                            std::to_string(static_cast<int>(high)), at(path_, f->key));
    }
  }
  void duration(std::string_view name, std::int64_t low, std::int64_t high) {
    const auto f = lookup(annotations_, name);
    if (!f) return;
    constexpr std::int64_t kSecond = 1'000'000'000;
    const auto d = parse_go_duration(f->value);
    if (!d) {
      errors_.invalid(f->value, at(path_, f->key));
    } else if (d->count() < low * kSecond || d->count() > high * kSecond) {
      errors_.out_of_bounds(f->value, go_duration(Duration(low * kSecond)),
                            go_duration(Duration(high * kSecond)), at(path_, f->key));
    } else if (d->count() % kSecond != 0) {
      errors_.add("must be specified with at most second precision", at(path_, f->key));
    }
  }

  const Pairs& annotations_;
  std::string path_;
  const Context& context_;
  KnativeErrors& errors_;
};

void queue_proxy(const Pairs& annotations, const std::string& path, KnativeErrors& errors,
                 std::vector<std::string>* warnings) {
  constexpr std::string_view kPrefix = "queue.sidecar.serving.knative.dev/";
  for (const auto& [key, value] : annotations) {
    if (!key.starts_with(kPrefix)) continue;
    const std::string_view rest = std::string_view(key).substr(kPrefix.size());
    const std::string here = at(path, key);
    if (rest == "resource-percentage" || rest == "resourcePercentage") {
      warnings->push_back(key + " is deprecated, use the resource annotations of the queue proxy");
      const auto v = real(value);
      if (!v) {
        errors.invalid(value, here);
      } else if (*v < 0.1 || *v > 100) {
        errors.out_of_bounds(value, "0.1", "100", here);
      }
    } else if (rest.ends_with("-resource-request") || rest.ends_with("-resource-limit")) {
      if (!Quantity::parse(value)) errors.invalid(value, here);
    }
  }
}
}  // namespace

void validate_template_annotations(const Json& metadata, const std::string& path,
                                   const Context& context, KnativeErrors& errors,
                                   std::vector<std::string>* warnings) {
  const Pairs annotations = json::string_map(metadata, {"annotations"});
  Check(annotations, path, context, errors).run();
  queue_proxy(annotations, at(path, "annotations"), errors, warnings);
  for (const auto& [key, value] : annotations) {
    const std::string here = at(at(path, "annotations"), key);
    if (key.starts_with("networking.knative.dev/")) {
      errors.key(key, at(path, "annotations"));
    } else if (key == "serving.knative.dev/progress-deadline") {
      const auto d = parse_go_duration(value);
      if (!d) {
        errors.invalid(value, here);
      } else if (d->count() <= 0 || d->count() % 1'000'000'000 != 0) {
        errors.add("progress-deadline=" + value + " must be positive and of whole seconds", here);
      }
    }
  }
}

}  // namespace knit::schema
