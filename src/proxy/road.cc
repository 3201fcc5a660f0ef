#include "proxy/road.h"

#include <arpa/inet.h>

#include <algorithm>

namespace knit::proxy {
namespace {

template <class T, class V>
bool contains(const std::vector<T>& list, const V& s) {
  return std::find(list.begin(), list.end(), s) != list.end();
}

bool matches(const pc::Match& m, const RouteQuery& q) {
  if (!m.gateways.empty() && std::none_of(m.gateways.begin(), m.gateways.end(),
                                          [&](const auto& g) { return contains(q.gateways, g); })) {
    return false;
  }
  if (!m.authority_exact.empty() && q.authority != m.authority_exact) return false;
  if (!q.authority.starts_with(m.authority_prefix)) return false;
  const std::string_view path = q.path.substr(0, q.path.find('?'));
  if (!m.path_exact.empty() && path != m.path_exact) return false;
  if (!path.starts_with(m.path_prefix)) return false;
  for (const auto& h : m.headers) {
    const std::string_view* value = h.name == ":authority" ? &q.authority
                                    : h.name == ":method"  ? &q.method
                                                           : q.header(h.name);
    if (!value) return false;
    switch (h.kind) {
      case pc::HeaderMatch::Kind::Exact:
        if (*value != h.value) return false;
        break;
      case pc::HeaderMatch::Kind::Prefix:
        if (!value->starts_with(h.value)) return false;
        break;
      case pc::HeaderMatch::Kind::Present:
        break;
      case pc::HeaderMatch::Kind::Regex:
        return false;  // refused when it arrives
    }
  }
  return true;
}

bool catch_all(const pc::Match& m) {
  return m.authority_exact.empty() && m.authority_prefix.empty() && m.path_exact.empty() &&
         m.path_prefix.size() <= 1 && m.headers.empty();
}

bool bound(const pc::Routes& r, const RouteQuery& q) {
  return std::any_of(r.gateways.begin(), r.gateways.end(), [&](const std::string& g) {
    if (!contains(q.gateways, g)) return false;
    return g != "mesh" || r.mesh == q.mesh;
  });
}

bool special_address(std::string_view ip) {
  const std::string s(ip);
  in_addr v4{};
  if (inet_pton(AF_INET, s.c_str(), &v4) == 1) {
    const std::uint32_t a = ntohl(v4.s_addr);
    return a >> 24 == 0 || a >> 24 == 127 || a >> 16 == 0xa9fe || a >> 28 >= 0xe;
  }
  in6_addr v6{};
  if (inet_pton(AF_INET6, s.c_str(), &v6) != 1) return true;
  return IN6_IS_ADDR_LOOPBACK(&v6) || IN6_IS_ADDR_LINKLOCAL(&v6) || IN6_IS_ADDR_UNSPECIFIED(&v6) ||
         IN6_IS_ADDR_MULTICAST(&v6);
}

}  // namespace

Resolved resolve(const Tables& t, std::string_view ip, std::uint16_t port) {
  Resolved r;
  if (!t.settings.router_ip.empty() && ip == t.settings.router_ip && (port == 443 || port == 80)) {
    r.kind = Resolved::Kind::Router;
    return r;
  }
  if (!t.settings.dns_ip.empty() && ip == t.settings.dns_ip && port == 53) {
    r.kind = Resolved::Kind::Dns;
    return r;
  }
  if (const auto* name = t.service_by_ip.find(ip)) {
    const auto* s = t.services.find(*name);
    r.service = *name;
    r.port = s ? port_of(*s, port) : nullptr;
    r.kind = r.port ? Resolved::Kind::Service : Resolved::Kind::NoSuchPort;
    return r;
  }
  if (const auto* uid = t.workload_by_ip.find(ip)) {
    r.workload = t.workloads.find(*uid);
    if (r.workload) {
      r.uid = *uid;
      r.kind = Resolved::Kind::Workload;
      return r;
    }
  }
  r.kind = t.in_mesh_ranges(ip) ? Resolved::Kind::Unknown : Resolved::Kind::Outside;
  return r;
}

bool egress_allowed(const Tables& t, std::string_view ip, std::uint16_t port) {
  // Only what the setting names goes out: the exceptions (loopback, link-local, the host itself)
  // need an entry with their own address, not one wide range that happens to hold them.
  for (const Range& r : t.egress_allow) {
    if (!r.holds(ip, port)) continue;
    if (special_address(ip) || ip == t.settings.host_ip) {
      if (r.bits == 128 && r.port != 0) return true;
      continue;
    }
    return true;
  }
  return false;
}

bool host_matches(std::string_view pattern, std::string_view host) {
  if (const auto slash = pattern.find('/'); slash != std::string_view::npos) {
    pattern.remove_prefix(slash + 1);
  }
  if (pattern == "*") return true;
  if (pattern.starts_with("*.")) {
    return host.size() > pattern.size() - 1 && host.ends_with(pattern.substr(1));
  }
  return std::equal(pattern.begin(), pattern.end(), host.begin(), host.end(),
                    [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a + 32 : a) == b; });
}

const pc::GatewayServer* pick_server(const pc::Gateway& g, std::string_view sni) {
  const pc::GatewayServer* best = nullptr;
  std::size_t best_rank = 0;
  for (const auto& s : g.servers) {
    std::size_t rank = 0;
    if (s.sni.empty()) {
      rank = 1;
    } else {
      for (const auto& pattern : s.sni) {
        if (pattern == "*") {
          rank = std::max<std::size_t>(rank, 1);
        } else if (!sni.empty() && host_matches(pattern, sni)) {
          rank = std::max(rank, pattern.starts_with("*.") ? pattern.size() : SIZE_MAX);
        }
      }
    }
    if (rank > best_rank) {
      best = &s;
      best_rank = rank;
    }
  }
  return best;
}

RoutePick pick_route(const Tables& t, const RouteQuery& q) {
  RoutePick out;
  const std::string host = host_of(q.authority);
  std::string key = host;
  while (true) {
    if (const auto* list = t.routes_by_host.find(key)) {
      for (const bool last : {false, true}) {
        for (const auto& r : *list) {
          if (!bound(*r, q)) continue;
          out.host_known = true;
          for (const auto& route : r->routes) {
            const bool all = route.matches.empty() ||
                             std::any_of(route.matches.begin(), route.matches.end(), catch_all);
            if (all != last) continue;
            const bool hit = route.matches.empty() ||
                             std::any_of(route.matches.begin(), route.matches.end(),
                                         [&](const pc::Match& m) { return matches(m, q); });
            if (!hit) continue;
            out.owner = r;
            out.route = &route;
            return out;
          }
        }
      }
      if (out.host_known) return out;  // a virtual host without a match answers 404
    }
    if (key == "*") return out;
    const auto dot = key.find('.', key.starts_with("*.") ? 2 : 0);
    if (dot == std::string::npos) {
      key = "*";
    } else {
      std::string next = "*" + key.substr(dot);
      key = std::move(next);
    }
  }
}

const pc::Destination* pick_destination(const pc::Route& route, std::uint64_t random) {
  std::uint64_t total = 0;
  for (const auto& d : route.destinations) total += d.weight;
  if (route.destinations.empty()) return nullptr;
  if (total == 0) return &route.destinations.front();
  std::uint64_t at = random % total;
  for (const auto& d : route.destinations) {
    if (at < d.weight) return &d;
    at -= d.weight;
  }
  return &route.destinations.back();
}

std::shared_ptr<const pc::EdgeRoute> pick_edge(const Tables& t, std::string_view host,
                                               std::string_view path) {
  const auto* list = t.edge_by_host.find(host);
  if (!list) return nullptr;
  for (const auto& e : *list) {
    if (e->path.empty() || path.starts_with(e->path)) return e;
  }
  return nullptr;
}

const pc::EdgeRoute* pick_passthrough(const Tables& t, std::string_view sni) {
  const auto* list = t.edge_by_host.find(sni);
  if (!list) return nullptr;
  for (const auto& e : *list) {
    if (e->termination == pc::EdgeRoute::Termination::Passthrough) return e.get();
  }
  return nullptr;
}

const pc::ServicePort* port_of(const pc::Service& s, std::uint16_t port) {
  for (const auto& p : s.ports) {
    if (p.port == port) return &p;
  }
  return nullptr;
}

pc::MtlsMode inbound_mode(const pc::Workload& w, std::uint16_t port) {
  const auto it = w.inbound_ports.find(std::to_string(port));
  return it == w.inbound_ports.end() ? w.inbound : it->second;
}

bool excluded_inbound(const pc::Workload& w, std::uint16_t port) {
  return contains(w.excluded_inbound_ports, port);
}

bool speaks_http(const Tables& t, const pc::Service& s, const pc::ServicePort& p) {
  if (p.protocol == pc::Protocol::Http) return true;
  if (p.protocol != pc::Protocol::Http2) return false;
  if (!s.revision.empty()) return true;
  for (const auto& b : p.backends) {
    const auto* w = t.workloads.find(b.pod_uid);
    if (w && w->role != pc::Role::App) return true;
  }
  return false;
}

bool queue_proxy_port(const pc::Workload& w, std::uint16_t port) {
  return !w.revision.empty() && (port == 8012 || port == 8013);
}

bool sidecar_admin_port(const pc::Workload& w, std::uint16_t port) {
  return (w.injected || w.role == pc::Role::IngressGateway) &&
         (port == 15020 || port == 15021 || port == 15090);
}

HopVerdict judge_hop(const Tables& t, const pc::Workload* sender, const pc::Service* service,
                     const pc::Workload& receiver, std::uint16_t port) {
  const bool excluded = excluded_inbound(receiver, port);
  bool tls = false;
  if (sender && sender->injected && !contains(sender->excluded_outbound_ports, port)) {
    const auto* mesh = t.meshes.find(sender->mesh);
    switch (service ? service->client_tls : pc::ClientTls::Auto) {
      case pc::ClientTls::IstioMutual:
        tls = true;
        break;
      case pc::ClientTls::Disable:
        break;
      case pc::ClientTls::Auto:
        // The mesh-wide DestinationRule for *.cluster.local covers Services; auto mTLS looks at
        // the endpoint's label.
        tls = service && ((mesh && mesh->force_mtls_to_cluster) || receiver.injected);
        break;
    }
  }
  if (excluded || !receiver.injected) return tls ? HopVerdict::Rejected : HopVerdict::Plain;
  if (receiver.role == pc::Role::IngressGateway) return tls ? HopVerdict::Mtls : HopVerdict::Plain;
  switch (inbound_mode(receiver, port)) {
    case pc::MtlsMode::Strict:
      return tls && sender->mesh == receiver.mesh ? HopVerdict::Mtls : HopVerdict::Rejected;
    case pc::MtlsMode::Permissive:
      return tls ? HopVerdict::Mtls : HopVerdict::Plain;
    case pc::MtlsMode::Disable:
      return tls ? HopVerdict::Rejected : HopVerdict::Plain;
  }
  return HopVerdict::Rejected;
}

std::pair<std::string, const pc::Workload*> find_role(const Tables& t, pc::Role role) {
  std::pair<std::string, const pc::Workload*> out{"", nullptr};
  const auto* list = t.by_role.find(std::to_string(static_cast<unsigned>(role)));
  if (!list) return out;
  for (const auto& uid : *list) {
    const auto* w = t.workloads.find(uid);
    if (!w || w->terminating) continue;
    if (!out.second || (w->ready && !out.second->ready)) out = {uid, w};
  }
  return out;
}

}  // namespace knit::proxy
