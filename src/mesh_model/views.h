// The fields of Istio's and Kubernetes' objects that decide what a mesh does, decoded once.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/time.h"

namespace knit::mesh_model {

using Labels = std::map<std::string, std::string>;

/// Every entry of `selector` is in `labels`; an empty selector matches.
bool selects(const Labels& selector, const Labels& labels);
Labels labels_of(const Json& object);  // metadata.labels
WallTime created_of(const Json& object);

enum class TlsMode {
  None,
  Passthrough,
  Simple,
  Mutual,
  AutoPassthrough,
  IstioMutual,
  OptionalMutual
};

struct GatewayServer {
  std::uint32_t port = 0;
  std::string port_name, protocol;  // protocol upper-case as in the API
  std::string bind;
  std::vector<std::string> hosts;  // sanitised: "./x" has its namespace, "*/x" is "x"
  TlsMode tls = TlsMode::None;
  bool has_tls = false;  // a tls block is there, whatever its mode
  std::string credential;
  bool https_redirect = false;
};
struct GatewayView {
  std::string ns, name;
  WallTime created{};
  Labels selector;
  std::vector<GatewayServer> servers;
  std::string full_name() const { return ns + "/" + name; }
};
GatewayView decode_gateway(const Json& gateway);

struct ServicePortView {
  std::uint16_t port = 0;
  std::string name, protocol = "TCP", app_protocol;
  std::uint16_t target_port = 0;  // 0: by name
  std::string target_name;
};
struct ServiceView {
  std::string ns, name, type;
  WallTime created{};
  Labels labels, selector;
  std::vector<ServicePortView> ports;
  std::vector<std::string> cluster_ips;
  std::string external_name;
};
ServiceView decode_service(const Json& service);

struct PodView {
  std::string ns, name, uid;
  Labels labels;
  std::map<std::string, std::uint16_t> named_ports;
};
PodView decode_pod(const Json& pod);

}  // namespace knit::mesh_model
