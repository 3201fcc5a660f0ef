// What a set of manifests will make a mesh do, worked out once for all rules: control planes, the
// gateway pods that will run (also when the set has no Pods), and the Services that select them.
#pragma once

#include "check/rule.h"
#include "mesh_model/gateways.h"

namespace knit::check {

/// A pod that will answer for Gateways: of the set, or computed from what creates it.
struct GatewayPod {
  mesh_model::PodView view;
  ItemPtr from;                // Pod, Deployment, SMCP…
  std::vector<ItemPtr> alike;  // more Pods of the same namespace, labels and ports
  std::string mesh;            // control plane's namespace; "" when no control plane is in the set
};

struct MeshFacts {
  std::string ns;         // of the control plane
  ItemPtr control_plane;  // SMCP or Istio; may be null (plain Istio)
  ItemPtr roll;           // SMMR; may be null
  std::vector<std::string> members;
  bool strict = false;  // mesh-wide
  ItemPtr strict_from;  // what says so (or the control plane that does not)
  std::vector<std::uint16_t> excluded_ports;
};

struct Facts {
  std::vector<MeshFacts> meshes;
  std::vector<GatewayPod> gateway_pods;
  /// Services of the set, and those that a control plane implies.
  std::vector<mesh_model::ServiceView> services;
  std::vector<std::pair<mesh_model::GatewayView, ItemPtr>> gateways;

  /// The mesh that a namespace belongs to, or nullptr.
  const MeshFacts* mesh_of(std::string_view ns) const;
  /// The only mesh, or the one whose roll holds knative-serving; nullptr when there is none.
  const MeshFacts* serverless() const;
  std::vector<const GatewayPod*> selected(const mesh_model::GatewayView& gateway) const {
    return pods_with(gateway.selector);
  }
  /// All that have these labels.
  std::vector<const GatewayPod*> pods_with(
      const std::map<std::string, std::string>& selector) const;
  /// The Gateways whose selector matches the pod, whatever their mesh.
  std::vector<const mesh_model::GatewayView*> reaching(const GatewayPod& pod) const;
  /// By full name "ns/name"; nullptr when there is none.
  const ItemPtr* gateway(std::string_view full_name) const;
  /// Fills what the functions above look up: after the last change.
  void index();

 private:
  using Label = std::pair<std::string, std::string>;
  std::map<Label, std::vector<std::size_t>> pods_by_label_;
  std::map<Label, std::vector<std::size_t>> gateways_by_first_label_;
  std::vector<std::size_t> gateways_of_all_;  // without selector
  std::map<std::string, std::size_t, std::less<>> gateways_by_name_;
};
Facts facts_of(const ObjectSet& objects);

/// spec.security.dataPlane.mtls and the like, after the profile: Maistra's defaults are false.
bool smcp_mtls(const Json& smcp);

/// The merged view of KnativeServing's spec.config: section "istio" or "config-istio".
struct ConfigEntry {
  std::string key, value;
  yaml::Path path;
};
std::vector<ConfigEntry> operator_config(const Json& operator_object, std::string_view section);
/// The value of one key, or nothing.
std::optional<ConfigEntry> operator_config(const Json& operator_object, std::string_view section,
                                           std::string_view key);

/// spec.deployments and spec.workloads of an operator object by name.
struct Workload {
  yaml::Path path;
  Json value;
};
std::optional<Workload> operator_workload(const Json& operator_object, std::string_view name);
/// Its inject label (or annotation): "true", "false" or "".
std::string workload_inject(const Json& workload);

}  // namespace knit::check
