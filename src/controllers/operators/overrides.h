// The common part of the operators' specs: what users change in the objects that are made.
#pragma once

#include <map>

#include "controllers/operators/settings.h"

namespace knit::controllers::operators {

struct Item {
  Json object;
  bool replicas_set = false;  // by the resource; otherwise `kubectl scale` may change them
};
using Manifest = std::map<Key, Item>;

/// spec.workloads and spec.deployments (the older name; workloads win): labels and annotations on
/// workload and pod template, replicas, nodeSelector, tolerations, topologySpreadConstraints,
/// affinity, resources, env, probes, hostNetwork. spec.high-availability.replicas,
/// spec.services, spec.podDisruptionBudgets. Returns what names nothing in `manifest`.
/// Source: knative/operator pkg/reconciler/common/{workload_override,ha,services_override,
/// poddisruptionbudget}.go
std::vector<std::string> apply_overrides(const Json& spec, Manifest& manifest);

/// spec.config: data of the ConfigMap config-<key> (or <key> when it has the prefix). Returns the
/// keys that name no ConfigMap of `manifest`.
/// Source: knative/operator pkg/reconciler/common/config_maps.go
std::vector<std::string> apply_config(const Json& spec, const std::string& ns, Manifest& manifest);
/// spec.config.<name>, with or without the prefix; null JSON when absent.
Json config_of(const Json& spec, std::string_view name);

/// Deployments of `manifest` that are not (yet) Available.
std::vector<std::string> waiting_for(const World& world, const Manifest& manifest);

/// Writes of `manifest`, owned by `owner` (cluster-scoped objects have no owner).
void ensure_manifest(Plan& plan, const World& world, const Json& owner, const Manifest& manifest);

/// The conditions of an operator resource, in upstream's order and form: Ready follows the others.
class Conditions {
 public:
  explicit Conditions(const Json& object);
  void yes(std::string_view type);
  void no(std::string_view type, std::string_view reason, std::string message);
  void unknown(std::string_view type, std::string_view reason, std::string message);
  /// {conditions, observedGeneration, version}; `types` decide Ready together.
  Json status(std::initializer_list<std::string_view> types, std::string_view version,
              WallTime now) const;

 private:
  struct Entry {
    std::string status, reason, message;
  };
  Json object_;
  std::map<std::string, Entry, std::less<>> entries_;
};

}  // namespace knit::controllers::operators
