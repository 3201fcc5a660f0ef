#include "proxy/reach.h"

#include <openssl/err.h>

#include "proxy/exchange.h"

namespace knit::proxy {
namespace {

std::string handshake(TlsContext& server, const std::string& sni) {
  struct Free {
    void operator()(SSL* s) const { SSL_free(s); }
    void operator()(SSL_CTX* c) const { SSL_CTX_free(c); }
  };
  const std::unique_ptr<SSL_CTX, Free> client_ctx(SSL_CTX_new(TLS_client_method()));
  SSL_CTX_set_verify(client_ctx.get(), SSL_VERIFY_NONE, nullptr);  // as upstream's prober
  const std::unique_ptr<SSL, Free> s(SSL_new(server.get())), c(SSL_new(client_ctx.get()));
  BIO *a = nullptr, *b = nullptr;
  BIO_new_bio_pair(&a, 0, &b, 0);
  SSL_set_bio(s.get(), a, a);
  SSL_set_bio(c.get(), b, b);
  SSL_set_accept_state(s.get());
  SSL_set_connect_state(c.get());
  SSL_set_tlsext_host_name(c.get(), sni.c_str());
  for (int i = 0; i < 16; ++i) {
    ERR_clear_error();
    const int cr = SSL_do_handshake(c.get());
    const int ce = SSL_get_error(c.get(), cr);
    ERR_clear_error();
    const int sr = SSL_do_handshake(s.get());
    const int se = SSL_get_error(s.get(), sr);
    // A server that asks for a client certificate has shown its own by then.
    if (cr == 1) return {};
    if ((cr <= 0 && ce != SSL_ERROR_WANT_READ && ce != SSL_ERROR_WANT_WRITE) ||
        (sr <= 0 && se != SSL_ERROR_WANT_READ && se != SSL_ERROR_WANT_WRITE)) {
      break;
    }
  }
  ERR_clear_error();
  return "the TLS handshake fails";
}

struct Probing {
  const Tables& t;
  const pc::Probe& probe;
  HandshakeCache& handshakes;

  const std::string_view kOverride = "override";
  const pc::Route* route = nullptr;  // that the last walk followed

  /// The first number that picks the destination after the one that `at` picked; 0: no more.
  std::uint64_t next_destination(std::uint64_t at) const {
    std::uint64_t sum = 0;
    if (!route) return 0;
    for (const auto& d : route->destinations) {
      sum += d.weight;
      if (d.weight > 0 && sum > at && &d != &route->destinations.back()) return sum;
    }
    return 0;
  }

  /// Walks from a gateway's listener. Empty: arrived.
  std::string gateway(const std::string& uid, const pc::Gateway& g, std::string_view name,
                      const std::string& host, bool sni) {
    const auto* w = t.workloads.find(uid);
    if (!w) return "gateway pod is unknown";
    const pc::GatewayServer* server = nullptr;
    if (sni) {
      server = pick_server(g, host);
    } else {
      for (const auto& s : g.servers) {
        if (s.gateway == name) server = &s;
      }
    }
    const std::string at = "gateway port " + std::to_string(g.port);
    if (!server) return at + ": no server matches the name";
    std::shared_ptr<TlsContext> context;
    HttpContext c;
    c.listener = HttpContext::Listener::Gateway;
    c.target = uid;
    c.port = g.port;
    switch (server->tls) {
      case pc::TlsMode::Plain:
        break;
      case pc::TlsMode::Passthrough:
        return at + ": PASSTHROUGH is not supported yet";
      case pc::TlsMode::Simple:
      case pc::TlsMode::Mutual: {
        const auto* cert = t.certificates.find(server->certificate);
        if (!cert) return at + ": certificate " + server->certificate + " does not exist";
        context = server->tls == pc::TlsMode::Simple ? cert->simple : cert->mutual;
        if (!context) return at + ": certificate " + server->certificate + " has no ca.crt";
        break;
      }
      case pc::TlsMode::IstioMutual: {
        const auto* held = w->injected ? t.held.find(w->spiffe_id) : nullptr;
        if (!held) return at + ": ISTIO_MUTUAL, but the gateway has no mesh certificate";
        context = held->server;
        c.peer.spiffe_id = w->spiffe_id;  // any mesh client
        break;
      }
    }
    if (context) {
      const std::string problem = handshakes.check(context, host);
      if (!problem.empty()) return at + ": " + problem;
      c.tls = true;
      c.gateway_server = server->gateway;
    }
    return walk(c, host);
  }

  std::string walk(const HttpContext& c, const std::string& host) {
    const RequestView q{"GET", host, "/healthz",
                        [this](std::string_view name) -> const std::string_view* {
                          return name == "k-network-hash" ? &kOverride : nullptr;
                        }};
    // Every destination of the route must lead to its revision: each weight's range in turn.
    std::uint64_t at = 0;
    do {
      Decision d = route_request(t, c, q, at);
      if (std::string s = judge(std::move(d)); !s.empty()) return s;
      at = next_destination(at);
    } while (at != 0);
    return {};
  }

  std::string judge(Decision d) {
    route = d.route;
    if (d.kind == Decision::Kind::Reply) {
      std::string s = "answers " + std::to_string(d.status) + " (" + d.details + ")";
      if (!d.service.empty()) s += " on the way to Service " + d.service;
      return s;
    }
    std::string_view hash;
    for (const auto& [name, value] : d.set_headers) {
      if (http::h1::iequals(name, "k-network-hash")) hash = value;
    }
    if (hash != probe.hash) return "the route is of another version of the Ingress";
    if (d.kind != Decision::Kind::Revision) return "leads to no revision";
    const auto* r = t.revisions.find(d.revision);
    if (!r) return "Revision " + d.revision + " is unknown";
    const std::string who = d.via_activator ? "the activator" : "the gateway";
    const std::string why =
        ": its PeerAuthentication is STRICT and the caller has no mesh identity, or the caller "
        "sends mTLS to a pod without a sidecar";
    bool any = false;
    for (const auto& uid : r->pods) {
      Decision copy = d;
      const auto* w = t.workloads.find(uid);
      if (!w || !w->ready) continue;
      any = true;
      if (!last_hop(t, copy, uid, 8012)) {
        return "pod " + w->ns + "/" + w->name + " refuses " + who + why;
      }
    }
    if (!any && r->next_pod && !last_hop(t, d, *r->next_pod, 8012)) {
      return "pods of Revision " + d.revision + " will refuse " + who + why;
    }
    return {};
  }

  std::string target(const pc::ProbeTarget& target) {
    const std::string host = host_of(target.host);
    if (target.gateway == "mesh") {
      RouteQuery rq;
      rq.gateways = {"mesh"};
      rq.authority = host;
      rq.path = "/healthz";
      rq.header = [this](std::string_view name) -> const std::string_view* {
        return name == "k-network-hash" ? &kOverride : nullptr;
      };
      bool any = false;
      t.meshes.for_each([&](const std::string& name, const auto&) {
        rq.mesh = name;
        any = any || pick_route(t, rq).route != nullptr;
      });
      return any ? "" : "mesh: no route";
    }
    if (target.external) {
      const auto* e = pick_passthrough(t, host);
      std::shared_ptr<const pc::EdgeRoute> edge = e ? nullptr : pick_edge(t, host, "/");
      if (!e && !edge) return "router: no Route has the host";
      const pc::EdgeRoute& r = e ? *e : *edge;
      const auto* s = t.services.find(r.service);
      const auto* p = s ? port_of(*s, r.port) : nullptr;
      if (!p) return "router: Service " + r.service + " or its port does not exist";
      if (p->backends.empty()) return "router: Service " + r.service + " has no endpoints";
      if (!e) {
        HttpContext c;
        c.listener = r.termination == pc::EdgeRoute::Termination::Edge
                         ? HttpContext::Listener::RouterEdge
                         : HttpContext::Listener::RouterPlain;
        return walk(c, host);
      }
      for (const auto& b : p->backends) {
        const auto* g = t.gateways.find(b.pod_uid + ":" + std::to_string(b.port));
        if (!g) return "router: no gateway listens on port " + std::to_string(b.port);
        if (std::string s2 = gateway(b.pod_uid, *g, target.gateway, host, true); !s2.empty()) {
          return s2;
        }
      }
      return {};
    }
    std::string problem = "no gateway pod listens for Gateway " + target.gateway;
    bool arrived = false;
    t.gateways.for_each([&](const std::string&, const std::shared_ptr<const pc::Gateway>& g) {
      for (const auto& s : g->servers) {
        if (arrived || s.gateway != target.gateway) continue;
        problem = gateway(g->pod_uid, *g, target.gateway, host, false);
        arrived = problem.empty();
        break;
      }
    });
    return arrived ? "" : problem;
  }
};

}  // namespace

std::string HandshakeCache::check(const std::shared_ptr<TlsContext>& context,
                                  const std::string& sni) {
  const auto it = seen_.find(context);
  if (it != seen_.end()) return it->second;
  forget_old();
  return seen_[context] = handshake(*context, sni);
}
void HandshakeCache::forget_old(std::size_t keep) {
  if (seen_.size() > keep) seen_.clear();
}

ipc::Reach reach(const Tables& t, const std::string& ingress, const pc::Probe& probe,
                 std::uint32_t workers, HandshakeCache& handshakes) {
  ipc::Reach out;
  out.ingress = ingress;
  out.hash = probe.hash;
  out.workers = workers;
  Probing p{t, probe, handshakes};
  for (const auto& target : probe.targets) {
    const std::string problem = p.target(target);
    if (problem.empty()) continue;
    out.failure = target.host + ": " + problem;
    return out;
  }
  out.ready = !probe.targets.empty();
  if (!out.ready) out.failure = "the Ingress has no hosts";
  return out;
}

}  // namespace knit::proxy
