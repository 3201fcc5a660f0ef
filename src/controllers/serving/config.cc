#include "controllers/serving/config.h"

#include <algorithm>
#include <cctype>

#include "base/log.h"
#include "base/yaml.h"

namespace knit::serving {
namespace {
constexpr std::string_view kLogModule = "serving";

std::string lower(std::string_view s) {
  std::string out(s);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}
std::string trim(std::string_view s) {
  const auto first = s.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return {};
  return std::string(s.substr(first, s.find_last_not_of(" \t\r\n") - first + 1));
}

/// Reads keys into fields; the first wrong one is the error.
class Reader {
 public:
  explicit Reader(const StringMap& data) : data_(data) {}

  void number(std::string_view key, double& field, double min, double max = 1e18) {
    const auto text = take(key);
    if (!text) return;
    const auto value = to_double(trim(*text));
    if (!value || *value < min || *value > max) return fail(key, *text, "a number in range");
    field = *value;
  }
  void integer(std::string_view key, int& field, int min) {
    const auto text = take(key);
    if (!text) return;
    const auto value = to_int(trim(*text));
    if (!value || *value < min) return fail(key, *text, "a whole number in range");
    field = *value;
  }
  void boolean(std::string_view key, bool& field) {
    if (const auto text = take(key)) field = lower(trim(*text)) == "true";
  }
  void duration(std::string_view key, Duration& field, Duration min,
                Duration max = std::chrono::hours(24 * 365)) {
    const auto text = take(key);
    if (!text) return;
    const auto value = parse_go_duration(trim(*text));
    if (!value || *value < min || *value > max) return fail(key, *text, "a duration in range");
    field = *value;
  }
  void text(std::string_view key, std::string& field) {
    if (const auto value = take(key)) field = *value;
  }
  std::optional<std::string> take(std::string_view key) const {
    const auto it = data_.find(key);
    return it == data_.end() ? std::nullopt : std::optional<std::string>(it->second);
  }
  void fail(std::string_view key, std::string_view value, std::string_view want) {
    if (error_.empty()) {
      error_ = std::string(key) + ": \"" + std::string(value) + "\" is not " + std::string(want);
    }
  }
  template <class T>
  Result<T> done(T value) const {
    if (!error_.empty()) return Error(Code::InvalidArgument, error_);
    return value;
  }

 private:
  const StringMap& data_;
  std::string error_;
};

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> out;
  while (true) {
    const auto at = text.find(separator);
    if (const auto item = trim(text.substr(0, at)); !item.empty()) out.push_back(item);
    if (at == std::string_view::npos) return out;
    text.remove_prefix(at + 1);
  }
}

}  // namespace

Result<AutoscalerConfig> parse_autoscaler(const StringMap& data) {
  AutoscalerConfig c;
  Reader r(data);
  double percentage = 70;
  r.number("container-concurrency-target-percentage", percentage, 0, 100);
  c.target_utilization = percentage > 1 ? percentage / 100 : percentage;
  if (c.target_utilization <= 0) {
    r.fail("container-concurrency-target-percentage", "0", "in (0, 100]");
  }
  r.number("container-concurrency-target-default", c.concurrency_default, 0.01);
  r.number("requests-per-second-target-default", c.rps_default, 0.01);
  r.number("target-burst-capacity", c.target_burst_capacity, -1);
  if (c.target_burst_capacity < 0 && c.target_burst_capacity != -1) {
    r.fail("target-burst-capacity", std::to_string(c.target_burst_capacity), "-1 or at least 0");
  }
  r.duration("stable-window", c.stable_window, std::chrono::seconds(6), std::chrono::hours(1));
  r.number("panic-window-percentage", c.panic_window_percentage, 1, 100);
  r.number("panic-threshold-percentage", c.panic_threshold_percentage, 110, 1000);
  r.number("max-scale-up-rate", c.max_scale_up_rate, 1.0000001);
  r.number("max-scale-down-rate", c.max_scale_down_rate, 1.0000001);
  r.boolean("enable-scale-to-zero", c.enable_scale_to_zero);
  r.duration("scale-to-zero-grace-period", c.grace_period, std::chrono::seconds(6));
  r.duration("scale-to-zero-pod-retention-period", c.pod_retention, Duration::zero());
  r.duration("scale-down-delay", c.scale_down_delay, Duration::zero(), std::chrono::hours(1));
  r.text("pod-autoscaler-class", c.pod_autoscaler_class);
  r.number("activator-capacity", c.activator_capacity, 1);
  r.boolean("allow-zero-initial-scale", c.allow_zero_initial_scale);
  r.integer("initial-scale", c.initial_scale, c.allow_zero_initial_scale ? 0 : 1);
  r.integer("min-scale", c.min_scale, 0);
  r.integer("max-scale", c.max_scale, 0);
  return r.done(c);
}

Result<DeploymentConfig> parse_deployment(const StringMap& data) {
  DeploymentConfig c;
  Reader r(data);
  for (const auto key : {"queueSidecarImage", "queue-sidecar-image"}) {
    r.text(key, c.queue_sidecar_image);
  }
  for (const auto key : {"registriesSkippingTagResolving", "registries-skipping-tag-resolving"}) {
    if (const auto text = r.take(key)) c.skip_tag_resolving = split(*text, ',');
  }
  // Knit's own images are in the local store only.
  if (std::find(c.skip_tag_resolving.begin(), c.skip_tag_resolving.end(), "knit.local") ==
      c.skip_tag_resolving.end()) {
    c.skip_tag_resolving.push_back("knit.local");
  }
  for (const auto key : {"progressDeadline", "progress-deadline"}) {
    r.duration(key, c.progress_deadline, std::chrono::seconds(1));
  }
  if (c.progress_deadline.count() % 1'000'000'000 != 0) {
    r.fail("progress-deadline", go_duration(c.progress_deadline), "a whole number of seconds");
  }
  r.text("queue-sidecar-cpu-request", c.queue_cpu_request);
  r.text("queue-sidecar-cpu-limit", c.queue_cpu_limit);
  r.text("queue-sidecar-memory-request", c.queue_memory_request);
  r.text("queue-sidecar-memory-limit", c.queue_memory_limit);
  r.text("queue-sidecar-ephemeral-storage-request", c.queue_ephemeral_request);
  r.text("queue-sidecar-ephemeral-storage-limit", c.queue_ephemeral_limit);
  if (const auto affinity = r.take("default-affinity-type")) {
    if (*affinity == "none") {
      c.spread_over_nodes = false;
    } else if (*affinity != "prefer-spread-revision-over-nodes") {
      r.fail("default-affinity-type", *affinity, "prefer-spread-revision-over-nodes or none");
    }
  }
  r.text("runtime-class-name", c.runtime_class);
  r.boolean("pod-is-always-schedulable", c.always_schedulable);
  return r.done(c);
}

std::string DomainConfig::lookup(const StringMap& labels) const {
  std::string best;
  int specificity = -1;
  for (const auto& entry : entries) {
    const bool matches =
        std::all_of(entry.selector.begin(), entry.selector.end(),
                    [&](const auto& kv) { return value_of(labels, kv.first) == kv.second; });
    const int size = static_cast<int>(entry.selector.size());
    if (!matches || size < specificity) continue;
    if (size > specificity || entry.domain < best) {
      best = entry.domain;
      specificity = size;
    }
  }
  return best;
}

Result<DomainConfig> parse_domain(const StringMap& data, std::string_view cluster_domain) {
  DomainConfig c;
  bool has_default = false;
  for (const auto& [domain, text] : data) {
    if (domain == "_example") continue;
    DomainConfig::Entry entry{domain, {}};
    if (!trim(text).empty()) {
      auto value = yaml::parse_one(text);
      if (!value) return std::move(value).error().within(domain);
      for (auto& [k, v] : json::string_map(*value, {"selector"})) entry.selector[k] = v;
    }
    has_default = has_default || entry.selector.empty();
    c.entries.push_back(std::move(entry));
  }
  if (!has_default) c.entries.push_back({"svc." + std::string(cluster_domain), {}});
  return c;
}

Result<NetworkConfig> parse_network(const StringMap& data) {
  NetworkConfig c;
  Reader r(data);
  const auto enabled = [&](std::string_view key, bool& field) {
    if (const auto text = r.take(key)) {
      const auto value = lower(trim(*text));
      field = value == "enabled" || value == "true";
    }
  };
  for (const auto key : {"ingress.class", "ingress-class"}) r.text(key, c.ingress_class);
  for (const auto key : {"domainTemplate", "domain-template"}) r.text(key, c.domain_template);
  for (const auto key : {"tagTemplate", "tag-template"}) r.text(key, c.tag_template);
  for (const auto key : {"defaultExternalScheme", "default-external-scheme"}) {
    r.text(key, c.external_scheme);
  }
  c.external_scheme = lower(c.external_scheme);
  for (const auto key : {"httpProtocol", "http-protocol"}) {
    if (const auto text = r.take(key)) {
      const auto value = lower(trim(*text));
      if (value == "enabled") {
        c.http_protocol = "Enabled";
      } else if (value == "redirected") {
        c.http_protocol = "Redirected";
      } else {
        r.fail(key, *text, "Enabled or Redirected");
      }
    }
  }
  for (const auto key : {"rolloutDuration", "rollout-duration"}) {
    int seconds = 0;
    r.integer(key, seconds, 0);
    if (seconds != 0) c.rollout_duration = std::chrono::seconds(seconds);
  }
  for (const auto key : {"autoTLS", "auto-tls", "external-domain-tls"}) {
    enabled(key, c.external_domain_tls);
  }
  enabled("cluster-local-domain-tls", c.cluster_local_domain_tls);
  enabled("internal-encryption", c.system_internal_tls);
  enabled("system-internal-tls", c.system_internal_tls);
  return r.done(c);
}

Result<GcConfig> parse_gc(const StringMap& data) {
  GcConfig c;
  Reader r(data);
  const auto retain = [&](std::string_view key, std::optional<Duration>& field) {
    if (const auto text = r.take(key); text && lower(*text) == "disabled") {
      field.reset();
    } else {
      Duration value = *field;
      r.duration(key, value, Duration::zero());
      field = value;
    }
  };
  retain("retain-since-create-time", c.retain_since_create);
  retain("retain-since-last-active-time", c.retain_since_last_active);
  r.integer("min-non-active-revisions", c.min_non_active, 0);
  if (const auto text = r.take("max-non-active-revisions"); text && lower(*text) == "disabled") {
    c.max_non_active.reset();
  } else {
    int value = *c.max_non_active;
    r.integer("max-non-active-revisions", value, 0);
    if (value < c.min_non_active) {
      r.fail("max-non-active-revisions", std::to_string(value), "at least the minimum");
    }
    c.max_non_active = value;
  }
  return r.done(c);
}

namespace {

Result<std::vector<IstioGateway>> new_style_gateways(std::string_view key,
                                                     const std::string& text) {
  KNIT_TRY(const Json value, yaml::parse_one(text));
  std::vector<IstioGateway> out;
  if (!value.is_array()) {
    return Error(Code::InvalidArgument, std::string(key) + ": is not a YAML list");
  }
  int defaults = 0;
  for (const auto& item : value.get_array()) {
    IstioGateway gateway{std::string(json::str(item, {"namespace"})),
                         std::string(json::str(item, {"name"})),
                         std::string(json::str(item, {"service"})),
                         {}};
    if (gateway.ns.empty() || gateway.name.empty() || gateway.service.empty()) {
      return Error(Code::InvalidArgument,
                   std::string(key) + ": an entry lacks name, namespace or service");
    }
    for (auto& [k, v] : json::string_map(item, {"labelSelector", "matchLabels"})) {
      gateway.selector[k] = v;
    }
    if (gateway.selector.empty()) ++defaults;
    out.push_back(std::move(gateway));
  }
  if (!out.empty() && defaults != 1) {
    return Error(Code::InvalidArgument,
                 std::string(key) +
                     ": exactly one entry must be without labelSelector, there are " +
                     std::to_string(defaults));
  }
  return out;
}

bool old_style_gateways(const StringMap& data, std::string_view prefix,
                        std::vector<IstioGateway>& out) {
  bool any = false;
  for (const auto& [key, service] : data) {
    if (key.compare(0, prefix.size(), prefix) != 0) continue;
    const std::string rest = key.substr(prefix.size());
    any = true;
    if (rest == "mesh") continue;  // the legacy spelling of "no local gateway"
    const auto dot = rest.find('.');
    if (dot == std::string::npos) {
      out.push_back({std::string(kSystemNamespace), rest, trim(service), {}});
    } else {
      out.push_back({rest.substr(0, dot), rest.substr(dot + 1), trim(service), {}});
    }
  }
  return any;
}

bool host_name(std::string_view s) {
  return !s.empty() && s.size() <= 253 && std::all_of(s.begin(), s.end(), [](unsigned char c) {
    return (std::isalnum(c) != 0) || c == '-' || c == '.';
  });
}

}  // namespace

Result<IstioConfig> parse_istio(const StringMap& data) {
  IstioConfig c;
  const bool old_external = old_style_gateways(data, "gateway.", c.external);
  const bool old_local = old_style_gateways(data, "local-gateway.", c.local);
  const auto external = data.find("external-gateways");
  const auto local = data.find("local-gateways");
  const bool modern = external != data.end() || local != data.end();
  if (modern && (old_external || old_local)) {
    return Error(Code::InvalidArgument,
                 "external-gateways and local-gateways cannot stand beside gateway.* and "
                 "local-gateway.*: write all gateways in one style");
  }
  if (external != data.end()) {
    KNIT_TRY(c.external, new_style_gateways("external-gateways", external->second));
  } else if (!old_external) {
    c.external = {{std::string(kSystemNamespace),
                   "knative-ingress-gateway",
                   "istio-ingressgateway.istio-system.svc.cluster.local",
                   {}}};
  }
  if (local != data.end()) {
    KNIT_TRY(c.local, new_style_gateways("local-gateways", local->second));
  } else if (!old_local) {
    c.local = {{std::string(kSystemNamespace),
                "knative-local-gateway",
                "knative-local-gateway.istio-system.svc.cluster.local",
                {}}};
  }
  for (const auto* list : {&c.external, &c.local}) {
    for (const auto& gateway : *list) {
      if (!host_name(gateway.service)) {
        return Error(Code::InvalidArgument, "gateway " + gateway.qualified() + ": \"" +
                                                gateway.service + "\" is not a host name");
      }
    }
  }
  return c;
}

Result<void> check_config(std::string_view name, const StringMap& data) {
  const auto check = [](auto parsed) -> Result<void> {
    if (!parsed) return std::move(parsed).error();
    return {};
  };
  if (name == "config-autoscaler") return check(parse_autoscaler(data));
  if (name == "config-deployment") return check(parse_deployment(data));
  if (name == "config-domain") return check(parse_domain(data, "cluster.local"));
  if (name == "config-network") return check(parse_network(data));
  if (name == "config-gc") return check(parse_gc(data));
  if (name == "config-istio") return check(parse_istio(data));
  return {};
}

bool ServingConfig::feature(std::string_view name) const {
  const auto it = features.find(std::string(name));
  return it != features.end() && it->second == "enabled";
}

const ServingConfig& ConfigStore::get(const World& world) {
  const auto changed = [&](const std::string& name, StringMap& data) {
    const auto object = world.get({res::configmaps(), std::string(kSystemNamespace), name});
    // Planned writes keep the version they were made from, so the bytes decide.
    const std::string mark = object == nullptr
                                 ? "-"
                                 : object->uid() + "/" + std::to_string(object->version()) + "/" +
                                       std::to_string(std::hash<std::string>{}(object->bytes()));
    auto& seen = seen_[name];
    if (loaded_ && seen == mark) return false;
    seen = mark;
    ++version_;
    data.clear();
    if (object != nullptr) {
      for (auto& [k, v] : json::string_map(object->parse(), {"data"})) data[k] = v;
    }
    return true;
  };
  const auto take = [&](const std::string& name, auto parsed, auto& field) {
    if (parsed) {
      field = std::move(parsed).value();
      errors_.erase(name);
    } else {
      errors_[name] = name + ": " + parsed.error().message();
      KNIT_LOG(Warn, "a ConfigMap keeps its last good value", KV("name", name),
               KV("error", parsed.error().message()));
    }
  };
  StringMap data;
  if (changed("config-autoscaler", data)) {
    take("config-autoscaler", parse_autoscaler(data), config_.autoscaler);
  }
  if (changed("config-deployment", data)) {
    take("config-deployment", parse_deployment(data), config_.deployment);
  }
  if (changed("config-domain", data)) {
    take("config-domain", parse_domain(data, cluster_domain_), config_.domain);
  }
  if (changed("config-network", data)) {
    take("config-network", parse_network(data), config_.network);
  }
  if (changed("config-gc", data)) take("config-gc", parse_gc(data), config_.gc);
  if (changed("config-istio", data)) take("config-istio", parse_istio(data), config_.istio);
  if (changed("config-features", data)) {
    config_.features.clear();
    for (const auto& [k, v] : data) config_.features[k] = lower(trim(v));
  }
  if (changed("config-logging", data)) {
    config_.logging_config = value_of(data, "zap-logger-config");
    config_.queueproxy_level = value_of(data, "loglevel.queueproxy");
  }
  if (changed("config-observability", data)) {
    config_.revision_url_template = value_of(data, "logging.revision-url-template");
    config_.var_log_collection = value_of(data, "logging.enable-var-log-collection") == "true";
    JsonObject observability;
    for (const auto& [k, v] : data) {
      if (k != "_example") observability[k] = v;
    }
    config_.observability_json = json::canonical(observability);
  }
  loaded_ = true;
  return config_;
}

bool installed(const World& world) {
  bool there = false;
  for (const auto& object : world.list(res::knativeservings(), kSystemNamespace)) {
    there = there || !object->deleting();
  }
  if (!there) return false;
  for (const auto name : {"config-network", "config-istio", "config-domain"}) {
    if (world.has({res::configmaps(), std::string(kSystemNamespace), name})) return true;
  }
  return false;
}

}  // namespace knit::serving
