// What the mesh controllers are told at start. Immutable.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace knit::mesh {

struct MeshSettings {
  std::string cluster_domain = "cluster.local";
  std::string apps_domain = "apps.knit.localhost";
  std::string node_name = "knit";
  std::string host_ip = "127.0.0.1";
  std::string dns_ip = "172.30.0.10";
  std::string router_ip;  // ClusterIP of the router's Service
  std::vector<std::string> pod_cidrs = {"10.128.0.0/20"};
  std::vector<std::string> service_cidrs = {"172.30.0.0/16"};
  std::vector<std::string> egress_allow;
  /// The root of a mesh ("istio-system"), PEM; the same text for the same mesh. Called by planners,
  /// so it must not block: the app loads roots beforehand (pki::Vault::mesh).
  std::function<std::string(const std::string& mesh)> mesh_root_pem;
  /// The router's own serving certificate (for edge Routes and unknown names): chain and key, PEM.
  std::string router_chain_pem, router_key_pem;
};

}  // namespace knit::mesh
