#include "mesh_model/gateways.h"

#include <algorithm>
#include <tuple>

namespace knit::mesh_model {
namespace {

bool plain_http(const std::string& protocol) {
  return protocol == "HTTP" || protocol == "HTTP2" || protocol == "GRPC" || protocol == "GRPC-WEB";
}
/// Terminates or routes TLS; a plain server whose tls block only redirects does not.
bool is_tls(const GatewayServer& s) { return s.has_tls && !plain_http(s.protocol); }

bool can_merge(const std::string& a, const std::string& b) {
  return (plain_http(a) && plain_http(b)) || a == b;
}

std::string joined(const std::vector<std::string>& list) {
  std::string out;
  for (const auto& s : list) out += (out.empty() ? "" : ", ") + s;
  return out;
}

using ClaimedHosts =
    std::map<std::pair<std::string, std::string>, std::string>;  // host, bind → gateway

/// Those that may translate the pod's ports, in the order in which they are asked.
std::vector<const ServiceView*> services_of(const PodView& pod,
                                            const std::vector<ServiceView>& services) {
  std::vector<const ServiceView*> out;
  for (const auto& service : services) {
    if (service.ns != pod.ns || service.selector.empty() || service.type == "ExternalName" ||
        !selects(service.selector, pod.labels) ||
        service.labels.contains(std::string(kNoPortTranslation))) {
      continue;
    }
    out.push_back(&service);
  }
  std::sort(out.begin(), out.end(), [](const ServiceView* a, const ServiceView* b) {
    return std::tie(a->created, a->name) < std::tie(b->created, b->name);
  });
  return out;
}

ResolvedPort resolve(std::uint32_t number, const PodView& pod,
                     const std::vector<const ServiceView*>& services) {
  for (const ServiceView* service : services) {
    for (const auto& port : service->ports) {
      if (port.port != number) continue;
      std::uint16_t target = port.target_port;
      if (target == 0) {
        const auto it = pod.named_ports.find(port.target_name);
        if (it == pod.named_ports.end()) continue;
        target = it->second;
      }
      return {target, service->ns + "/" + service->name};
    }
  }
  return {static_cast<std::uint16_t>(number), {}};
}

}  // namespace

ResolvedPort resolve_port(std::uint32_t number, const PodView& pod,
                          const std::vector<ServiceView>& services) {
  return resolve(number, pod, services_of(pod, services));
}

GatewayMerge merge_gateways(const PodView& pod, const std::vector<ServiceView>& services,
                            std::vector<GatewayView> gateways) {
  std::erase_if(gateways, [&](const GatewayView& g) { return !selects(g.selector, pod.labels); });
  std::sort(gateways.begin(), gateways.end(), [](const GatewayView& a, const GatewayView& b) {
    return std::tie(a.created, a.name, a.ns) < std::tie(b.created, b.name, b.ns);
  });
  GatewayMerge merge;
  std::map<std::uint16_t, ClaimedHosts> claimed;
  const auto translating = services_of(pod, services);
  std::map<std::uint32_t, ResolvedPort> ports;  // as many Gateways name the same few
  for (const auto& gateway : gateways) {
    for (std::size_t i = 0; i < gateway.servers.size(); ++i) {
      const GatewayServer& server = gateway.servers[i];
      const auto [known, fresh_port] = ports.try_emplace(server.port);
      if (fresh_port) known->second = resolve(server.port, pod, translating);
      const ResolvedPort& resolved = known->second;
      if (resolved.port == 0) continue;
      ClaimedHosts& tls_hosts = claimed[resolved.port];
      const std::string where =
          "port " + std::to_string(server.port) +
          (resolved.port == server.port ? std::string()
                                        : " (" + std::to_string(resolved.port) + " on the pod)");
      const auto drop = [&](const std::string& winner, const std::string& why) {
        merge.dropped.push_back({gateway.full_name(), i, resolved.port, winner,
                                 "server " + std::to_string(i) + " of Gateway " +
                                     gateway.full_name() + " on " + where +
                                     " is left out: " + why});
      };
      if (server.has_tls) {
        std::vector<std::string> duplicates;
        std::string winner;
        for (const auto& host : server.hosts) {
          const auto [it, fresh] = tls_hosts.try_emplace({host, server.bind}, gateway.full_name());
          if (!fresh) {
            duplicates.push_back(host);
            winner = it->second;
          }
        }
        if (!duplicates.empty()) {
          drop(winner, "host " + joined(duplicates) + " is claimed by the older Gateway " + winner);
          continue;
        }
      }
      if (const auto there = merge.ports.find(resolved.port); there != merge.ports.end()) {
        const MergedServer& first = there->second.servers.front();
        if (!is_tls(first.server)) {
          if (!can_merge(server.protocol, first.server.protocol) &&
              server.bind == first.server.bind) {
            drop(first.gateway, "the older Gateway " + first.gateway + " speaks " +
                                    first.server.protocol + " there, not " + server.protocol);
            continue;
          }
        } else if (!server.has_tls) {
          drop(first.gateway,
               "the older Gateway " + first.gateway + " speaks TLS there, this one plaintext");
          continue;
        }
      }
      merge.ports[resolved.port].servers.push_back(
          {gateway.full_name(), i, server, resolved.through});
    }
  }
  return merge;
}

}  // namespace knit::mesh_model
