#include "proxy/doorway.h"

#include <algorithm>

#include "proxy/http_session.h"
#include "proxy/tcp_session.h"

namespace knit::proxy {
namespace {
using namespace std::chrono_literals;
constexpr Duration kHelloLimit = 5s;       // the router's tcp-request inspect-delay; Istio's sniff
constexpr Duration kHandshakeLimit = 15s;  // Istio's gateways

void refuse(std::unique_ptr<Conn> conn) { conn->reset_on_close(); }

Peer held_peer(const Tables& t, const pc::Workload* w) {
  if (!w || !w->injected) return {};
  Peer p{w->spiffe_id, {}};
  if (const auto* held = t.held.find(w->spiffe_id)) p.hash = held->hash;
  return p;
}
}  // namespace

// ---- the listeners. Each says what happens to a connection, outermost first.

/// Router :443: peek at the SNI (5 s) → passthrough to the Route's backend with all bytes, or TLS
/// with the Route's or the default certificate → HTTP.
void Worker::enter_router_https(std::unique_ptr<Conn> conn, Caller caller) {
  auto d = std::make_unique<Doorway>(*this, std::move(conn), std::move(caller),
                                     Doorway::Stage::RouterSni, "", 443);
  Doorway* p = d.get();
  adopt(std::move(d));
  p->begin();
}

/// Router :80: HTTP; redirect, allow or the 503 page.
void Worker::enter_router_http(std::unique_ptr<Conn> conn, Caller caller) {
  HttpContext c;
  c.listener = HttpContext::Listener::RouterPlain;
  c.caller = std::move(caller);
  c.port = 80;
  enter_http(std::move(conn), std::move(c));
}

/// Captured (pods and host processes): original destination → router, Service, pod or egress. An
/// injected pod's connection passes its sidecar (HTTP stage, identity); others are handed over.
void Worker::enter_captured(std::unique_ptr<Conn> conn, Caller caller, const std::string& ip,
                            std::uint16_t port) {
  const TablesRef t = tables_;
  const pc::Workload* source = caller.uid.empty() ? nullptr : t->workloads.find(caller.uid);
  const bool sidecar =
      source && source->injected &&
      std::find(source->excluded_outbound_ports.begin(), source->excluded_outbound_ports.end(),
                port) == source->excluded_outbound_ports.end();
  const Resolved r = resolve(*t, ip, port);
  const auto outbound_http = [&] {
    HttpContext c;
    c.listener = HttpContext::Listener::Outbound;
    c.caller = caller;
    c.ip = ip;
    c.port = port;
    c.peer = held_peer(*t, source);
    enter_http(std::move(conn), std::move(c));
  };
  /// L4 of an injected pod: the hop is judged, then the receiver's own chain takes over.
  const auto outbound_tcp = [&](const pc::Service* service, const std::string& uid,
                                std::uint16_t to_port) {
    const auto* w = t->workloads.find(uid);
    if (!w) return refuse(std::move(conn));
    switch (judge_hop(*t, source, service, *w, to_port)) {
      case HopVerdict::Rejected:
        return refuse(std::move(conn));
      case HopVerdict::Plain:
        return enter_backend(std::move(conn), caller, {w->ip, to_port, uid});
      case HopVerdict::Mtls:
        // A TLS gateway needs its own hop (ISTIO_MUTUAL is for HTTP here), so only pods.
        if (w->role == pc::Role::IngressGateway) return refuse(std::move(conn));
        return enter_inbound_open(*this, std::move(conn), caller, uid, to_port,
                                  held_peer(*t, source), true);
    }
  };
  switch (r.kind) {
    case Resolved::Kind::Router:
      return port == 443 ? enter_router_https(std::move(conn), std::move(caller))
                         : enter_router_http(std::move(conn), std::move(caller));
    case Resolved::Kind::Dns:
      return enter_dns(std::move(conn), std::move(caller));
    case Resolved::Kind::Service: {
      const auto* service = t->services.find(r.service);
      const bool http = service && speaks_http(*t, *service, *r.port);
      if (sidecar && http) return outbound_http();
      if (r.port->backends.empty()) return refuse(std::move(conn));
      const auto& b = r.port->backends[random() % r.port->backends.size()];
      if (sidecar && !b.pod_uid.empty()) {
        return outbound_tcp(service, b.pod_uid, b.port);
      }
      return enter_backend(std::move(conn), std::move(caller), b);
    }
    case Resolved::Kind::Workload: {
      if (sidecar) {
        const auto* protocol = t->backend_protocol.find(ip + ":" + std::to_string(port));
        if ((protocol && *protocol == pc::Protocol::Http) || queue_proxy_port(*r.workload, port)) {
          return outbound_http();
        }
        return outbound_tcp(nullptr, r.uid, port);
      }
      return enter_backend(std::move(conn), std::move(caller), {ip, port, r.uid});
    }
    case Resolved::Kind::Outside:
      if (egress_allowed(*t, ip, port)) {
        return enter_tcp(std::move(conn), std::move(caller), "", ip, port);
      }
      [[fallthrough]];
    case Resolved::Kind::NoSuchPort:
    case Resolved::Kind::Unknown:
      if (r.kind == Resolved::Kind::Outside) {
        metrics_.count_egress_refused((source ? source->ns + "/" + source->name : "host") + " " +
                                      ip + ":" + std::to_string(port));
      }
      return refuse(std::move(conn));
  }
}

/// A node port (also a LoadBalancer's): an endpoint of the Service, from outside the mesh.
void Worker::enter_node_port(std::unique_ptr<Conn> conn, Caller caller, const std::string& service,
                             std::uint16_t port) {
  const TablesRef t = tables_;
  const auto* s = t->services.find(service);
  const auto* p = s ? port_of(*s, port) : nullptr;
  if (!p || p->backends.empty()) return refuse(std::move(conn));
  enter_backend(std::move(conn), std::move(caller), p->backends[random() % p->backends.size()]);
}

/// A connection without mesh identity, arriving at a backend.
void Worker::enter_backend(std::unique_ptr<Conn> conn, Caller caller, const pc::Backend& b) {
  const TablesRef t = tables_;
  if (b.pod_uid.empty()) {
    const Resolved r = resolve(*t, b.ip, b.port);
    if (r.kind == Resolved::Kind::Workload) {
      return enter_backend(std::move(conn), std::move(caller), {b.ip, b.port, r.uid});
    }
    // Manual Endpoints: an address like any other, so the egress rule holds.
    if (r.kind != Resolved::Kind::Outside || !egress_allowed(*t, b.ip, b.port)) {
      metrics_.count_egress_refused("endpoints " + b.ip + ":" + std::to_string(b.port));
      return refuse(std::move(conn));
    }
    return enter_tcp(std::move(conn), std::move(caller), "", b.ip, b.port);
  }
  const auto* w = t->workloads.find(b.pod_uid);
  if (!w) return refuse(std::move(conn));
  switch (w->role) {
    case pc::Role::IngressGateway:
      if (sidecar_admin_port(*w, b.port)) {
        return enter_inbound(std::move(conn), std::move(caller), b.pod_uid, b.port);
      }
      return enter_gateway(std::move(conn), std::move(caller), b.pod_uid, b.port);
    case pc::Role::Router:
      if (b.port == 443) return enter_router_https(std::move(conn), std::move(caller));
      if (b.port == 80) return enter_router_http(std::move(conn), std::move(caller));
      return refuse(std::move(conn));
    case pc::Role::App:
    case pc::Role::Activator:
    case pc::Role::Events:
      return enter_inbound(std::move(conn), std::move(caller), b.pod_uid, b.port);
    default:
      return refuse(std::move(conn));
  }
}

/// A gateway pod's port: plain HTTP, or SNI → filter chain → TLS (15 s) → HTTP.
void Worker::enter_gateway(std::unique_ptr<Conn> conn, Caller caller, const std::string& uid,
                           std::uint16_t port) {
  const TablesRef t = tables_;
  const auto* g = t->gateways.find(uid + ":" + std::to_string(port));
  if (!g || g->servers.empty()) return refuse(std::move(conn));
  const bool plain = std::all_of(g->servers.begin(), g->servers.end(),
                                 [](const auto& s) { return s.tls == pc::TlsMode::Plain; });
  if (plain) {
    HttpContext c;
    c.listener = HttpContext::Listener::Gateway;
    c.caller = std::move(caller);
    c.target = uid;
    c.port = port;
    return enter_http(std::move(conn), std::move(c));
  }
  auto d = std::make_unique<Doorway>(*this, std::move(conn), std::move(caller),
                                     Doorway::Stage::GatewaySni, uid, port);
  Doorway* p = d.get();
  adopt(std::move(d));
  p->begin();
}

/// A pod's port from outside the mesh: excluded or not injected → straight on; DISABLE → straight
/// on; STRICT → mesh TLS or closed without a byte; PERMISSIVE → sniffed.
void Worker::enter_inbound(std::unique_ptr<Conn> conn, Caller caller, const std::string& uid,
                           std::uint16_t port) {
  const TablesRef t = tables_;
  const auto* w = t->workloads.find(uid);
  if (!w) return refuse(std::move(conn));
  if (!w->injected || excluded_inbound(*w, port) || sidecar_admin_port(*w, port) ||
      inbound_mode(*w, port) == pc::MtlsMode::Disable) {
    return enter_inbound_open(*this, std::move(conn), std::move(caller), uid, port, {}, false);
  }
  auto d = std::make_unique<Doorway>(*this, std::move(conn), std::move(caller),
                                     Doorway::Stage::InboundSniff, uid, port);
  Doorway* p = d.get();
  adopt(std::move(d));
  p->begin();
}

void enter_inbound_open(Worker& worker, std::unique_ptr<Conn> conn, Caller caller,
                        const std::string& uid, std::uint16_t port, Peer peer, bool tls) {
  const TablesRef t = worker.tables();
  const auto* w = t->workloads.find(uid);
  if (!w) return refuse(std::move(conn));
  const auto* protocol = t->backend_protocol.find(w->ip + ":" + std::to_string(port));
  const bool queue_proxy = queue_proxy_port(*w, port) ||
                           (!w->revision.empty() && (port == 8022 || port == 9090 || port == 9091));
  const bool activator =
      w->role == pc::Role::Activator && (port == 8012 || port == 8013 || port == 9090);
  const bool admin = sidecar_admin_port(*w, port);
  const bool http = protocol && *protocol == pc::Protocol::Http && w->injected;
  const bool events = w->role == pc::Role::Events && port == kEventsPort;
  if (w->role != pc::Role::App && !activator && !admin && !events) return refuse(std::move(conn));
  if (!queue_proxy && !activator && !admin && !http && !events) {
    return worker.enter_tcp(std::move(conn), std::move(caller), uid, w->ip, port);
  }
  HttpContext c;
  c.listener = HttpContext::Listener::Inbound;
  c.caller = std::move(caller);
  c.peer = std::move(peer);
  c.tls = tls;
  c.target = uid;
  c.port = port;
  worker.enter_http(std::move(conn), std::move(c));
}

void Worker::enter_http(std::unique_ptr<Conn> conn, HttpContext context) {
  auto s = std::make_unique<HttpSession>(*this, std::move(conn), std::move(context));
  HttpSession* p = s.get();
  adopt(std::move(s));
  p->begin();
}

void Worker::enter_tcp(std::unique_ptr<Conn> conn, Caller caller, const std::string& uid,
                       const std::string& ip, std::uint16_t port) {
  auto s = std::make_unique<TcpSession>(*this, std::move(conn), std::move(caller), uid, ip, port);
  TcpSession* p = s.get();
  adopt(std::move(s));
  p->begin();
}

// ---- Doorway

Doorway::Doorway(Worker& worker, std::unique_ptr<Conn> conn, Caller caller, Stage stage,
                 std::string uid, std::uint16_t port)
    : Session(worker),
      conn_(std::move(conn)),
      caller_(std::move(caller)),
      stage_(stage),
      uid_(std::move(uid)),
      port_(port) {}

void Doorway::begin() {
  conn_->set_owner(this);
  limit(stage_ == Stage::GatewaySni ? kHandshakeLimit : kHelloLimit);
  on_conn(*conn_);
}

void Doorway::limit(Duration d) {
  timer_ = worker_.loop().after(d, [this] {
    if (gone_) return;
    if (stage_ == Stage::InboundSniff) {
      const TablesRef t = worker_.tables();
      const auto* w = t->workloads.find(uid_);
      if (w && inbound_mode(*w, port_) == pc::MtlsMode::Permissive) {
        // A server-first protocol: nobody spoke within the detection time, so it is plaintext.
        auto conn = leave();
        return enter_inbound_open(worker_, std::move(conn), std::move(caller_), uid_, port_, {},
                                  false);
      }
    }
    close(How::Fin);
  });
}

void Doorway::drain() {
  if (!gone_) close(How::Fin);
}

std::unique_ptr<Conn> Doorway::leave() {
  gone_ = true;
  timer_.cancel();
  conn_->set_owner(nullptr);
  auto conn = std::move(conn_);
  worker_.retire(this);
  return conn;
}

void Doorway::close(How how) {
  if (gone_) return;
  gone_ = true;
  timer_.cancel();
  if (how == How::Reset) conn_->reset_on_close();
  conn_->set_owner(nullptr);
  worker_.retire(this);
}

void Doorway::on_conn(Conn& conn) {
  if (gone_) return;
  if (conn.failed()) return close(How::Fin);
  switch (stage_) {
    case Stage::RouterTls:
    case Stage::GatewayTls:
    case Stage::InboundTls:
      if (conn.phase() == Conn::Phase::Open) handshake_done();
      return;
    default:
      break;
  }
  const std::string_view bytes = conn.peek();
  if (bytes.empty()) {
    if (conn.failed() || conn.eof()) close(How::Fin);
    return;
  }
  if (stage_ == Stage::InboundSniff) return inbound_bytes(bytes);
  const ClientHello hello = peek_client_hello(bytes);
  if (hello.state == ClientHello::State::Incomplete && bytes.size() < 16 * 1024) return;
  if (stage_ == Stage::RouterSni) {
    router_hello(hello);
  } else {
    gateway_hello(hello);
  }
}

void Doorway::start_tls(std::shared_ptr<TlsContext> context, Stage next, Duration d) {
  stage_ = next;
  limit(d);
  conn_->start_tls(std::move(context));
  if (conn_->failed()) return close(How::Fin);
  if (conn_->phase() == Conn::Phase::Open) handshake_done();
}

/// Source: spec/mesh.md 4.3: SNI in the passthrough map → TCP to the backend; else TLS here.
void Doorway::router_hello(const ClientHello& hello) {
  if (hello.state == ClientHello::State::NotTls) return close(How::Fin);
  sni_ = hello.sni;
  const TablesRef t = worker_.tables();
  if (const auto* e = pick_passthrough(*t, sni_)) {
    const auto* service = t->services.find(e->service);
    const auto* port = service ? port_of(*service, e->port) : nullptr;
    if (!port || port->backends.empty()) return close(How::Fin);
    // A fixed backend per client, as HAProxy's `balance source`.
    const std::size_t at = StringHash{}(caller_.remote_ip) % port->backends.size();
    const pc::Backend backend = port->backends[at];
    // The router itself is no mesh member: what follows sees an outside connection.
    Caller outside{"", caller_.remote_ip, caller_.remote_port};
    auto conn = leave();
    return worker_.enter_backend(std::move(conn), std::move(outside), backend);
  }
  std::shared_ptr<TlsContext> context = worker_.default_certificate();
  if (const auto e = pick_edge(*t, sni_, "/"); e && !e->certificate.empty()) {
    if (const auto* c = t->certificates.find(e->certificate)) context = c->simple;
  }
  if (!context) return close(How::Reset);
  start_tls(std::move(context), Stage::RouterTls, kHandshakeLimit);
}

void Doorway::gateway_hello(const ClientHello& hello) {
  if (hello.state == ClientHello::State::NotTls) return close(How::Fin);
  const TablesRef t = worker_.tables();
  const auto* g = t->gateways.find(uid_ + ":" + std::to_string(port_));
  sni_ = hello.sni;
  const auto* server = g ? pick_server(*g, sni_) : nullptr;
  if (!server) return close(How::Fin);  // filter_chain_not_found
  server_ = server->gateway;
  hosts_ = server->hosts;
  std::shared_ptr<TlsContext> context;
  switch (server->tls) {
    case pc::TlsMode::Simple:
    case pc::TlsMode::Mutual:
      if (const auto* c = t->certificates.find(server->certificate)) {
        context = server->tls == pc::TlsMode::Simple ? c->simple : c->mutual;
      }
      break;
    case pc::TlsMode::IstioMutual:
      if (const auto* w = t->workloads.find(uid_); w && w->injected) {
        if (const auto* held = t->held.find(w->spiffe_id)) context = held->server;
      }
      break;
    case pc::TlsMode::Plain:
    case pc::TlsMode::Passthrough:
      break;  // compiled away or refused by the server
  }
  if (!context) return close(How::Reset);  // no certificate (yet): Istio resets, too
  start_tls(std::move(context), Stage::GatewayTls, kHandshakeLimit);
}

void Doorway::inbound_bytes(std::string_view bytes) {
  const TablesRef t = worker_.tables();
  const auto* w = t->workloads.find(uid_);
  if (!w) return close(How::Reset);
  const bool strict = inbound_mode(*w, port_) == pc::MtlsMode::Strict;
  if (bytes[0] != 0x16) {
    if (strict) return close(How::Reset);
    auto conn = leave();
    return enter_inbound_open(worker_, std::move(conn), std::move(caller_), uid_, port_, {}, false);
  }
  const ClientHello hello = peek_client_hello(bytes);
  if (hello.state == ClientHello::State::Incomplete && bytes.size() < 16 * 1024) return;
  const bool mesh = std::any_of(hello.alpn.begin(), hello.alpn.end(),
                                [](const std::string& a) { return a.starts_with("istio"); });
  if (!strict && !mesh) {  // PERMISSIVE: the app's own TLS
    auto conn = leave();
    return enter_inbound_open(worker_, std::move(conn), std::move(caller_), uid_, port_, {}, false);
  }
  const auto* held = t->held.find(w->spiffe_id);
  if (!held || !held->server) return close(How::Reset);
  start_tls(held->server, Stage::InboundTls, kHandshakeLimit);
}

void Doorway::handshake_done() {
  const Peer peer = conn_->tls_peer();
  const Stage stage = stage_;
  auto conn = leave();
  HttpContext c;
  c.caller = caller_;
  c.peer = peer;
  c.tls = true;
  c.sni = sni_;
  c.target = uid_;
  c.port = port_;
  switch (stage) {
    case Stage::RouterTls:
      c.listener = HttpContext::Listener::RouterEdge;
      return worker_.enter_http(std::move(conn), std::move(c));
    case Stage::GatewayTls:
      c.listener = HttpContext::Listener::Gateway;
      c.gateway_server = server_;
      c.server_hosts = hosts_;
      return worker_.enter_http(std::move(conn), std::move(c));
    default:
      return enter_inbound_open(worker_, std::move(conn), std::move(caller_), uid_, port_, peer,
                                true);
  }
}

}  // namespace knit::proxy
