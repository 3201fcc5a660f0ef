// The ConfigMaps of knative-serving as values.
// Source: knative/serving pkg/{autoscaler,deployment,gc}/config.go, pkg/reconciler/route/config,
// knative/networking pkg/config, knative-extensions/net-istio pkg/reconciler/ingress/config
#pragma once

#include <map>
#include <string>
#include <vector>

#include "controllers/serving/names.h"

namespace knit::serving {

struct AutoscalerConfig {
  double target_utilization = 0.7;  // fraction
  double concurrency_default = 100, rps_default = 200, target_burst_capacity = 211;
  Duration stable_window = std::chrono::seconds(60);
  double panic_window_percentage = 10, panic_threshold_percentage = 200;
  double max_scale_up_rate = 1000, max_scale_down_rate = 2;
  bool enable_scale_to_zero = true;
  Duration grace_period = std::chrono::seconds(30), pod_retention{}, scale_down_delay{};
  std::string pod_autoscaler_class = std::string(kKpaClass);
  double activator_capacity = 100;
  int initial_scale = 1, min_scale = 0, max_scale = 0;
  bool allow_zero_initial_scale = false;
};

struct DeploymentConfig {
  std::string queue_sidecar_image = "knit.local/role/queue-proxy";
  std::vector<std::string> skip_tag_resolving = {"kind.local", "ko.local", "dev.local",
                                                 "knit.local"};
  Duration progress_deadline = std::chrono::seconds(600);
  std::string queue_cpu_request = "25m";
  std::string queue_cpu_limit, queue_memory_request, queue_memory_limit, queue_ephemeral_request,
      queue_ephemeral_limit;
  bool spread_over_nodes = true;  // default-affinity-type
  std::string runtime_class;
  bool always_schedulable = false;
};

struct DomainConfig {
  struct Entry {
    std::string domain;
    StringMap selector;  // empty: the default
  };
  std::vector<Entry> entries;
  /// The most specific selector wins, then the smaller name.
  std::string lookup(const StringMap& labels) const;
};

struct NetworkConfig {
  std::string ingress_class = std::string(kIstioIngressClass);
  std::string domain_template = "{{.Name}}.{{.Namespace}}.{{.Domain}}";
  std::string tag_template = "{{.Tag}}-{{.Name}}";
  std::string external_scheme = "http";
  std::string http_protocol = "Enabled";
  Duration rollout_duration{};
  bool external_domain_tls = false, cluster_local_domain_tls = false, system_internal_tls = false;
};

struct GcConfig {
  std::optional<Duration> retain_since_create = std::chrono::hours(48);
  std::optional<Duration> retain_since_last_active = std::chrono::hours(15);
  int min_non_active = 20;
  std::optional<int> max_non_active = 1000;
};

struct IstioGateway {
  std::string ns, name, service;  // service: a host name
  StringMap selector;             // of the KIngress' labels; empty: the default
  std::string qualified() const { return ns + "/" + name; }
};
struct IstioConfig {
  std::vector<IstioGateway> external, local;
};

struct ServingConfig {
  AutoscalerConfig autoscaler;
  DeploymentConfig deployment;
  DomainConfig domain;
  NetworkConfig network;
  GcConfig gc;
  IstioConfig istio;
  std::map<std::string, std::string> features;  // lower case values
  std::string logging_config, queueproxy_level, revision_url_template;
  bool var_log_collection = false;
  std::string observability_json = "{}";
  bool feature(std::string_view name) const;  // "enabled"
};

// Each reads one ConfigMap's data. Errors: InvalidArgument with key and value.
Result<AutoscalerConfig> parse_autoscaler(const StringMap& data);
Result<DeploymentConfig> parse_deployment(const StringMap& data);
Result<DomainConfig> parse_domain(const StringMap& data, std::string_view cluster_domain);
Result<NetworkConfig> parse_network(const StringMap& data);
Result<GcConfig> parse_gc(const StringMap& data);
Result<IstioConfig> parse_istio(const StringMap& data);
/// Whether the ConfigMap `name` ("config-istio"; others are always fine) may have this data.
/// Source: knative/serving cmd/webhook/main.go, newConfigValidationController
Result<void> check_config(std::string_view name, const StringMap& data);

/// Parsed ConfigMaps, read again only when one changed. A map that does not parse keeps its last
/// good value and its error; at first the defaults. One loop.
class ConfigStore {
 public:
  explicit ConfigStore(std::string cluster_domain) : cluster_domain_(std::move(cluster_domain)) {}
  const ServingConfig& get(const World& world);
  /// "config-autoscaler: …" of maps that keep their last good value.
  const std::map<std::string, std::string>& errors() const { return errors_; }
  /// Grows whenever a map was read again.
  std::uint64_t version() const { return version_; }

 private:
  std::string cluster_domain_;
  std::map<std::string, std::string> seen_;  // name → identity of its bytes
  bool loaded_ = false;
  std::uint64_t version_ = 0;
  ServingConfig config_;
  std::map<std::string, std::string> errors_;
};

/// Serving is installed: KnativeServing is there and its ConfigMaps are.
bool installed(const World& world);

}  // namespace knit::serving
