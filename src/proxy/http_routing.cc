#include <algorithm>

#include "proxy/exchange.h"

namespace knit::proxy {
namespace {

struct Walk {
  const Tables& t;
  const HttpContext& c;
  const RequestView& q;
  std::uint64_t random;
  Decision d;
  int depth = 0;

  Decision reply(int status, std::string body, const char* flags, const char* details) {
    d.kind = Decision::Kind::Reply;
    d.status = status;
    d.body = std::move(body);
    d.flags = flags;
    d.details = details;
    return std::move(d);
  }
  Decision terminated() {
    return reply(503, kTermination, "UC", "upstream_reset_before_response_started");
  }

  void set(const std::map<std::string, std::string>& headers) {
    for (const auto& [name, value] : headers) {
      std::erase_if(d.set_headers, [&](const auto& h) { return http::h1::iequals(h.first, name); });
      d.set_headers.emplace_back(name, value);
    }
  }
  std::string_view header_set(std::string_view name) const {
    for (const auto& [n, v] : d.set_headers) {
      if (http::h1::iequals(n, name)) return v;
    }
    return {};
  }

  void send_as(const std::string& uid, const pc::Workload* w) {
    d.sender_uid = uid;
    d.sender_workload = w;
    d.sender = {};
    if (w && w->injected) {
      d.sender.spiffe_id = w->spiffe_id;
      if (const auto* held = t.held.find(w->spiffe_id)) d.sender.hash = held->hash;
    }
  }

  // ---- a gateway: hosts, then the VirtualServices bound to it
  Decision gateway(const std::string& uid, std::uint16_t port, bool tls) {
    if (++depth > 4) return reply(508, "", "-", "loop");
    const auto* g = t.gateways.find(uid + ":" + std::to_string(port));
    const auto* w = t.workloads.find(uid);
    if (!g || !w) return reply(503, "no healthy upstream", "UH", "no_healthy_upstream");
    const std::string host = host_of(q.authority);
    RouteQuery rq;
    rq.authority = q.authority;
    rq.path = q.path;
    rq.method = q.method;
    rq.mesh = g->mesh;
    rq.header = q.header;
    bool served = false, redirect = false;
    for (const auto& s : g->servers) {
      // Over TLS only the filter chain that the SNI picked; its hosts decide the authority.
      if (tls && c.listener == HttpContext::Listener::Gateway && c.tls &&
          s.gateway != c.gateway_server) {
        continue;
      }
      const bool hosts = std::any_of(s.hosts.begin(), s.hosts.end(),
                                     [&](const auto& p) { return host_matches(p, host); });
      if (!hosts) continue;
      served = true;
      redirect = redirect || s.https_redirect;
      rq.gateways.emplace_back(s.gateway);
    }
    if (!served) {
      return tls ? reply(421, "", "NR", "misdirected_request")
                 : reply(404, "", "NR", "route_not_found");
    }
    if (redirect) {
      d.location = "https://" + host + std::string(q.path);
      return reply(301, "", "-", "direct_response");
    }
    send_as(uid, w);
    d.mesh_response = true;
    const RoutePick pick = pick_route(t, rq);
    if (!pick.route) return reply(404, "", "NR", "route_not_found");
    return follow(pick);
  }

  Decision follow(const RoutePick& pick) {
    const pc::Route& route = *pick.route;
    d.route = pick.route;
    set(route.set_headers);
    if (route.timeout.count() > 0) d.timeout = route.timeout;
    if (!route.rewrite_authority.empty()) d.rewrite_authority = route.rewrite_authority;
    if (route.direct_status != 0) {
      return reply(static_cast<int>(route.direct_status), "", "-", "direct_response");
    }
    const auto* dest = pick_destination(route, random);
    if (!dest) return reply(503, "", "NC", "cluster_not_found");
    set(dest->set_headers);
    return service(dest->service, dest->port);
  }

  // ---- a Service
  Decision service(const std::string& name, std::uint16_t port) {
    if (++depth > 4) return reply(508, "", "-", "loop");
    const auto* s = t.services.find(name);
    const auto* p = s ? port_of(*s, port) : nullptr;
    if (!p) return reply(503, "", "NC", "cluster_not_found");
    d.service = name;
    d.service_port = port;
    if (!s->revision.empty()) return revision(s->revision, s);
    if (p->backends.empty()) return reply(503, "no healthy upstream", "UH", "no_healthy_upstream");
    const auto& b = p->backends[random % p->backends.size()];
    if (!speaks_http(t, *s, *p) && p->protocol == pc::Protocol::Http2) {
      return reply(502,
                   "Service " + name + " port " + std::to_string(port) +
                       " speaks HTTP/2, which is not supported on this road yet\n",
                   "UPE", "upstream_protocol_error");
    }
    if (b.pod_uid.empty()) return address(b.ip, b.port);
    return pod(b.pod_uid, b.port, s);
  }

  Decision address(const std::string& ip, std::uint16_t port) {
    const Resolved r = resolve(t, ip, port);
    if (r.kind == Resolved::Kind::Workload) return pod(r.uid, port, nullptr);
    if (r.kind != Resolved::Kind::Outside || !egress_allowed(t, ip, port)) {
      return reply(502, "", "-", "egress_refused");
    }
    d.kind = Decision::Kind::Address;
    d.ip = ip;
    d.port = port;
    return std::move(d);
  }

  /// False: rejected. Otherwise the receiver's XFCC element is written if it saw an identity.
  bool hop(const pc::Workload& receiver, std::uint16_t port, const pc::Service* s) {
    switch (judge_hop(t, d.sender_workload, s, receiver, port)) {
      case HopVerdict::Rejected:
        return false;
      case HopVerdict::Plain:
        d.mtls = false;
        return true;
      case HopVerdict::Mtls:
        d.mtls = true;
        if (d.source_principal.empty()) d.source_principal = d.sender.spiffe_id;
        append_xfcc(d.xfcc, receiver.spiffe_id, d.sender);
        return true;
    }
    return false;
  }

  Decision pod(const std::string& uid, std::uint16_t port, const pc::Service* s) {
    const auto* w = t.workloads.find(uid);
    if (!w) return reply(503, "no healthy upstream", "UH", "no_healthy_upstream");
    switch (w->role) {
      case pc::Role::IngressGateway:
        return into_gateway(uid, *w, port, s);
      case pc::Role::Activator:
        if (!hop(*w, port, s)) return terminated();
        return activator(uid, w);
      case pc::Role::App:
        break;
      case pc::Role::Events:
        if (port == kEventsPort) break;
        [[fallthrough]];
      default:
        return reply(503,
                     "upstream connect error or disconnect/reset before headers. reset reason: "
                     "connection failure",
                     "UF", "upstream_reset_before_response_started");
    }
    if (!hop(*w, port, s)) return terminated();
    d.uid = uid;
    d.ip = w->ip;
    d.port = port;
    return at_pod(*w);
  }

  /// Behind the pod's inbound policy: queue-proxy or the app's port.
  Decision at_pod(const pc::Workload& w) {
    if (queue_proxy_port(w, d.port)) {
      const auto* r = t.revisions.find(w.revision);
      if (!r) return reply(503, "no healthy upstream", "UH", "no_healthy_upstream");
      d.kind = Decision::Kind::Revision;
      d.revision = w.revision;
      d.queue_proxy = true;
      d.port = r->user_port;
      return std::move(d);
    }
    d.kind = w.role == pc::Role::Events ? Decision::Kind::Role : Decision::Kind::Pod;
    return std::move(d);
  }

  /// One in-process hop into a gateway pod's HTTP port.
  Decision into_gateway(const std::string& uid, const pc::Workload& w, std::uint16_t port,
                        const pc::Service* s) {
    const auto* g = t.gateways.find(uid + ":" + std::to_string(port));
    if (!g || g->servers.empty()) {
      return reply(503,
                   "upstream connect error or disconnect/reset before headers. reset reason: "
                   "connection failure",
                   "UF", "upstream_reset_before_response_started");
    }
    const pc::TlsMode mode = g->servers.front().tls;
    const HopVerdict v = judge_hop(t, d.sender_workload, s, w, port);
    const bool mtls = v == HopVerdict::Mtls;
    // A mesh client speaks mTLS and a SIMPLE or plain server does not understand it, and the other
    // way round.
    if (v == HopVerdict::Rejected || mtls != (mode == pc::TlsMode::IstioMutual)) {
      return terminated();
    }
    d.gateway_uid = uid;
    d.mtls = mtls;
    if (mtls) {
      if (d.source_principal.empty()) d.source_principal = d.sender.spiffe_id;
      d.xfcc.clear();  // SANITIZE_SET
      append_xfcc(d.xfcc, w.spiffe_id, d.sender);
    }
    return gateway(uid, port, false);
  }

  // ---- a revision, by its public Service
  Decision revision(const std::string& name, const pc::Service* s) {
    const auto* r = t.revisions.find(name);
    if (!r) return reply(503, "no healthy upstream", "UH", "no_healthy_upstream");
    d.revision = name;
    if (r->proxy_mode) {
      const auto [uid, w] = find_role(t, pc::Role::Activator);
      if (!w) return reply(503, "no healthy upstream", "UH", "no_healthy_upstream");
      if (!hop(*w, 8012, s)) return terminated();
      send_as(uid, w);
      d.via_activator = true;
    }
    d.kind = Decision::Kind::Revision;
    d.queue_proxy = true;
    d.port = r->user_port;
    return std::move(d);
  }

  /// A request that reached the activator itself. Source: spec/serving.md 5.4: headers, else Host.
  Decision activator(const std::string& uid, const pc::Workload* w) {
    std::string name;
    const std::string_view rev = header_set("Knative-Serving-Revision");
    const std::string_view ns = header_set("Knative-Serving-Namespace");
    if (!rev.empty() && !ns.empty()) {
      name = std::string(ns) + "/" + std::string(rev);
    } else {
      const std::string host = host_of(q.authority);
      const auto dot = host.find('.');
      const auto end = host.find('.', dot == std::string::npos ? dot : dot + 1);
      if (dot != std::string::npos) {
        name = host.substr(dot + 1, end == std::string::npos ? end : end - dot - 1) + "/" +
               host.substr(0, dot);
      }
    }
    const auto* r = t.revisions.find(name);
    if (!r) {
      return reply(404,
                   "Error getting active endpoint: revision.serving.knative.dev \"" + name +
                       "\" not found\n",
                   "-", "via_upstream");
    }
    send_as(uid, w);
    d.revision = name;
    d.via_activator = d.queue_proxy = true;
    d.port = r->user_port;
    d.kind = Decision::Kind::Revision;
    return std::move(d);
  }

  // ---- the listeners
  Decision router() {
    const std::string host = host_of(q.authority);
    const auto e = pick_edge(t, host, q.path);
    const auto page = [&] {
      d.page = true;
      return reply(503, "", "NR", "route_not_found");
    };
    if (!e) return page();
    if (c.listener == HttpContext::Listener::RouterPlain &&
        e->termination != pc::EdgeRoute::Termination::None) {
      if (e->insecure == pc::EdgeRoute::Insecure::Redirect) {
        d.location = "https://" + host + std::string(q.path);
        return reply(302, "", "-", "direct_response");
      }
      if (e->insecure == pc::EdgeRoute::Insecure::None) return page();
      // Allow on passthrough has no plain backend.
      if (e->termination == pc::EdgeRoute::Termination::Passthrough) return page();
    }
    if (c.listener == HttpContext::Listener::RouterEdge &&
        e->termination != pc::EdgeRoute::Termination::Edge) {
      return page();
    }
    const auto* s = t.services.find(e->service);
    const auto* p = s ? port_of(*s, e->port) : nullptr;
    if (!p || p->backends.empty()) return page();
    d.edge = true;
    if (e->timeout.count() > 0) d.timeout = e->timeout;
    return service(e->service, e->port);
  }

  Decision outbound() {
    const auto* w = t.workloads.find(c.caller.uid);
    send_as(c.caller.uid, w);
    d.mesh_response = true;
    if (w && w->injected) {
      RouteQuery rq;
      rq.gateways = {"mesh"};
      rq.mesh = w->mesh;
      rq.authority = q.authority;
      rq.path = q.path;
      rq.method = q.method;
      rq.header = q.header;
      const RoutePick pick = pick_route(t, rq);
      if (pick.route) return follow(pick);
      if (pick.host_known) return reply(404, "", "NR", "route_not_found");
    }
    const Resolved r = resolve(t, c.ip, c.port);
    switch (r.kind) {
      case Resolved::Kind::Service:
        return service(r.service, c.port);
      case Resolved::Kind::Workload:
        return pod(r.uid, c.port, nullptr);
      default:
        return reply(502, "", "-", "egress_refused");
    }
  }

  Decision inbound() {
    const auto* w = t.workloads.find(c.target);
    if (!w) return reply(503, "no healthy upstream", "UH", "no_healthy_upstream");
    d.mesh_response = w->injected;
    d.mtls = !c.peer.spiffe_id.empty();
    if (d.mtls) {
      d.source_principal = c.peer.spiffe_id;
      append_xfcc(d.xfcc, w->spiffe_id, c.peer);
    }
    d.uid = c.target;
    d.ip = w->ip;
    d.port = c.port;
    if (w->role == pc::Role::Activator) return activator(c.target, w);
    return at_pod(*w);
  }
};

}  // namespace

Decision route_request(const Tables& t, const HttpContext& c, const RequestView& q,
                       std::uint64_t random) {
  Walk w{t, c, q, random, {}};
  switch (c.listener) {
    case HttpContext::Listener::RouterPlain:
    case HttpContext::Listener::RouterEdge:
      return w.router();
    case HttpContext::Listener::Gateway: {
      w.d.edge = c.peer.spiffe_id.empty();
      if (const auto* g = t.workloads.find(c.target); g && !c.peer.spiffe_id.empty()) {
        w.d.mtls = true;
        w.d.source_principal = c.peer.spiffe_id;
        append_xfcc(w.d.xfcc, g->spiffe_id, c.peer);
      }
      return w.gateway(c.target, c.port, c.tls);
    }
    case HttpContext::Listener::Outbound:
      return w.outbound();
    case HttpContext::Listener::Inbound:
      return w.inbound();
  }
  return {};
}

bool last_hop(const Tables& t, Decision& d, const std::string& uid, std::uint16_t port) {
  const auto* w = t.workloads.find(uid);
  if (!w) return false;
  d.uid = uid;
  d.ip = w->ip;
  return last_hop(t, d, *w, port);
}

bool last_hop(const Tables& t, Decision& d, const pc::Workload& w, std::uint16_t port) {
  // From the activator, and from a mesh client in SKS Serve mode, by the revision's Service.
  const auto* s = d.service.empty() ? nullptr : t.services.find(d.service);
  static const pc::Service kPrivate{};  // the activator uses the private Service: auto mTLS
  switch (judge_hop(t, d.sender_workload, d.via_activator || !s ? &kPrivate : s, w, port)) {
    case HopVerdict::Rejected:
      return false;
    case HopVerdict::Plain:
      d.mtls = false;
      return true;
    case HopVerdict::Mtls:
      d.mtls = true;
      if (d.source_principal.empty()) d.source_principal = d.sender.spiffe_id;
      append_xfcc(d.xfcc, w.spiffe_id, d.sender);
      return true;
  }
  return false;
}

void append_xfcc(std::string& xfcc, const std::string& by, const Peer& peer) {
  if (!xfcc.empty()) xfcc += ',';
  xfcc += "By=" + by + ";Hash=" + peer.hash + ";Subject=\"\";URI=" + peer.spiffe_id;
}

}  // namespace knit::proxy
