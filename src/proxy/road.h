// Where a connection or a request goes: pure functions over Tables. Traffic and synthetic probes
// walk the same ones.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/tables.h"

namespace knit::proxy {

/// What an original destination is.
struct Resolved {
  enum class Kind {
    Router,      // the router's Service address
    Service,     // a port of a Service
    Workload,    // a pod's own address
    Dns,         // the cluster DNS address
    NoSuchPort,  // a Service without that port
    Unknown,     // inside the pod or service ranges, but nobody's
    Outside,     // outside the ranges: the egress rule decides
  } kind = Kind::Unknown;
  std::string service;                    // "ns/name"
  const pc::ServicePort* port = nullptr;  // lives as long as the Tables
  std::string uid;
  const pc::Workload* workload = nullptr;
};
Resolved resolve(const Tables& t, std::string_view ip, std::uint16_t port);
/// design.md 5 "egress": never loopback, link-local, metadata, own addresses unless allowed.
bool egress_allowed(const Tables& t, std::string_view ip, std::uint16_t port);

/// "*.x" and "*" patterns, an optional "ns/" in front. `host` is lower case without a port.
bool host_matches(std::string_view pattern, std::string_view host);

/// The filter chain of a TLS gateway port: exact SNI, then the longest "*." suffix, then any.
/// nullptr: no chain matches, the connection is closed. Source: spec/mesh.md 2.2.
const pc::GatewayServer* pick_server(const pc::Gateway& g, std::string_view sni);

using HeaderLookup = std::function<const std::string_view*(std::string_view name)>;
struct RouteQuery {
  std::vector<std::string_view> gateways;  // "ns/name" or "mesh"
  std::string_view mesh;                   // restricts "mesh" routes to this mesh
  std::string_view authority, path, method = "GET";
  HeaderLookup header;
};
/// The first matching route, or nullptr (404 NR). `owner` keeps it alive.
struct RoutePick {
  std::shared_ptr<const pc::Routes> owner;
  const pc::Route* route = nullptr;
  bool host_known = false;  // some virtual host of these gateways has the authority
};
RoutePick pick_route(const Tables& t, const RouteQuery& q);
/// By weight; nullptr without destinations.
const pc::Destination* pick_destination(const pc::Route& route, std::uint64_t random);

/// The admitted Route for host and path (longest path first), or nullptr.
std::shared_ptr<const pc::EdgeRoute> pick_edge(const Tables& t, std::string_view host,
                                               std::string_view path);
const pc::EdgeRoute* pick_passthrough(const Tables& t, std::string_view sni);

const pc::ServicePort* port_of(const pc::Service& s, std::uint16_t port);

/// What happens between the client's proxy and the server's, when both are ours.
enum class HopVerdict {
  Plain,     // no identity is handed over
  Mtls,      // the caller's identity is verified by the receiver
  Rejected,  // the receiver closes: STRICT and no mTLS, or TLS bytes to a plain receiver
};
/// `caller` is the SPIFFE id of an injected sender, empty otherwise. `service` may be nullptr (by
/// pod IP: an original-destination cluster, which auto mTLS does not cover).
/// Source: spec/mesh.md 2.7.
HopVerdict judge_hop(const Tables& t, const pc::Workload* sender, const pc::Service* service,
                     const pc::Workload& receiver, std::uint16_t port);
pc::MtlsMode inbound_mode(const pc::Workload& w, std::uint16_t port);
bool excluded_inbound(const pc::Workload& w, std::uint16_t port);
/// HTTP/1.1 is spoken to it: port named http…, or http2… where Knit itself answers. HTTP/2 ports of
/// apps pass as bytes.
bool speaks_http(const Tables& t, const pc::Service& s, const pc::ServicePort& p);
/// Where a role that runs inside the events process takes requests: upstream's containerPort "http".
inline constexpr std::uint16_t kEventsPort = 8080;
/// A port of queue-proxy in front of a revision's app.
bool queue_proxy_port(const pc::Workload& w, std::uint16_t port);
/// A port that a sidecar or gateway itself answers, in plaintext: metrics and health.
bool sidecar_admin_port(const pc::Workload& w, std::uint16_t port);

/// A workload with this role of the mesh, uid and all; nullptr without one.
std::pair<std::string, const pc::Workload*> find_role(const Tables& t, pc::Role role);

}  // namespace knit::proxy
