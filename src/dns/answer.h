// What the cluster's DNS says: a pure function of a query and the cluster's names.
// Source: Kubernetes DNS-Based Service Discovery 1.1.0, CoreDNS plugin/kubernetes.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dns/message.h"

namespace knit::dns {

struct ServiceNames {
  std::vector<std::string> ips;  // ClusterIPs, or the endpoints of a headless Service
  bool headless = false;
  std::string external_name;
  struct Port {
    std::string name;
    std::string protocol = "tcp";
    std::uint16_t port = 0;
  };
  std::vector<Port> ports;
};

/// The names of one cluster; lives as long as the call.
class Names {
 public:
  virtual ~Names() = default;
  virtual std::optional<ServiceNames> service(std::string_view ns, std::string_view name) const = 0;
  virtual bool has_namespace(std::string_view ns) const = 0;
  virtual bool has_pod(std::string_view ns, std::string_view ip) const = 0;
  /// The full name for a PTR of that address ("kubernetes.default.svc.cluster.local"), or empty.
  virtual std::string name_of(std::string_view ip) const = 0;
};

struct Zone {
  std::string domain = "cluster.local";
  std::string dns_ip;
  std::uint32_t ttl = 5;
};

/// The whole answer to the bytes of a query; empty: say nothing. `limit`: 65535 over TCP; over UDP
/// it is lowered to what the client takes.
/// Names outside the zone: REFUSED at once, never a timeout.
std::string answer(std::string_view query, const Names& names, const Zone& zone, std::size_t limit);

}  // namespace knit::dns
