#include "proxy/road.h"

#include <gtest/gtest.h>

#include "proxy/tls.h"

namespace knit::proxy {
namespace {

template <class T>
void set(Tables& t, pc::Type type, std::string name, const T& v) {
  const auto r = t.set({type, std::move(name), "", codec::encode(v)});
  ASSERT_TRUE(r.has_value()) << (r ? "" : r.error().message());
}

// spec/mesh.md 2.7: client side by DestinationRule or endpoint label, server side by the effective
// PeerAuthentication mode.
TEST(Road, JudgeHop) {
  using enum HopVerdict;
  using pc::ClientTls;
  using pc::MtlsMode;
  const struct {
    const char* name;
    bool sender_injected;
    bool by_service;
    ClientTls client;
    bool forced;
    bool receiver_injected;
    MtlsMode mode;
    bool excluded;
    HopVerdict want;
  } rows[] = {
      {"mesh to STRICT", true, true, ClientTls::Auto, false, true, MtlsMode::Strict, false, Mtls},
      {"outside to STRICT", false, true, ClientTls::Auto, false, true, MtlsMode::Strict, false,
       Rejected},
      {"outside to PERMISSIVE", false, true, ClientTls::Auto, false, true, MtlsMode::Permissive,
       false, Plain},
      {"mesh to PERMISSIVE", true, true, ClientTls::Auto, false, true, MtlsMode::Permissive, false,
       Mtls},
      {"mesh to plain pod", true, true, ClientTls::Auto, false, false, MtlsMode::Permissive, false,
       Plain},
      {"forced mTLS to plain pod", true, true, ClientTls::Auto, true, false, MtlsMode::Permissive,
       false, Rejected},
      {"ISTIO_MUTUAL to plain pod", true, true, ClientTls::IstioMutual, false, false,
       MtlsMode::Permissive, false, Rejected},
      {"DISABLE to STRICT", true, true, ClientTls::Disable, true, true, MtlsMode::Strict, false,
       Rejected},
      {"by pod IP to STRICT", true, false, ClientTls::Auto, true, true, MtlsMode::Strict, false,
       Rejected},
      {"outside to excluded port", false, true, ClientTls::Auto, false, true, MtlsMode::Strict,
       true, Plain},
      {"mesh to excluded port", true, true, ClientTls::Auto, false, true, MtlsMode::Strict, true,
       Rejected},
      {"mesh to DISABLE", true, true, ClientTls::Auto, false, true, MtlsMode::Disable, false,
       Rejected},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    Tables t;
    pc::Mesh mesh;
    mesh.force_mtls_to_cluster = row.forced;
    set(t, pc::Type::Mesh, "m", mesh);
    pc::Workload sender, receiver;
    sender.mesh = receiver.mesh = "m";
    sender.injected = row.sender_injected;
    receiver.injected = row.receiver_injected;
    receiver.inbound = row.mode;
    if (row.excluded) receiver.excluded_inbound_ports = {8012};
    pc::Service service;
    service.client_tls = row.client;
    EXPECT_EQ(judge_hop(t, &sender, row.by_service ? &service : nullptr, receiver, 8012), row.want);
  }
}

TEST(Road, JudgeHopBetweenMeshes) {
  Tables t;
  pc::Workload a, b;
  a.mesh = "one";
  b.mesh = "two";
  a.injected = b.injected = true;
  b.inbound = pc::MtlsMode::Strict;
  const pc::Service s;
  EXPECT_EQ(judge_hop(t, &a, &s, b, 80), HopVerdict::Rejected) << "other roots";
}

TEST(Road, PickServerTakesTheLongestMatch) {
  pc::Gateway g;
  g.servers.resize(3);
  g.servers[0].sni = {"*"};
  g.servers[1].sni = {"*.apps.test"};
  g.servers[2].sni = {"a.apps.test"};
  EXPECT_EQ(pick_server(g, "a.apps.test"), &g.servers[2]);
  EXPECT_EQ(pick_server(g, "b.apps.test"), &g.servers[1]);
  EXPECT_EQ(pick_server(g, "apps.test"), &g.servers[0]);
  EXPECT_EQ(pick_server(g, ""), &g.servers[0]) << "no SNI meets only *";
  g.servers.erase(g.servers.begin());
  EXPECT_EQ(pick_server(g, ""), nullptr);
  EXPECT_EQ(pick_server(g, "other.test"), nullptr);
}

TEST(Road, HostMatches) {
  EXPECT_TRUE(host_matches("*", "a"));
  EXPECT_TRUE(host_matches("ns/*.x", "a.x"));
  EXPECT_TRUE(host_matches("A.x", "a.x"));
  EXPECT_FALSE(host_matches("*.x", "x"));
  EXPECT_FALSE(host_matches("*.x", "ax"));
  EXPECT_EQ(host_of("A.B:80"), "a.b");
  EXPECT_EQ(host_of("[::1]:80"), "[::1]");
  EXPECT_EQ(host_of("a.b."), "a.b");
}

// spec/mesh.md 2.3, 3.2: first match wins, catch-alls last, the oldest VirtualService first.
TEST(Road, PickRoute) {
  Tables t;
  const auto route = [](std::string tag, std::vector<pc::Match> matches) {
    pc::Route r;
    r.matches = std::move(matches);
    r.set_headers = {{"tag", std::move(tag)}};
    return r;
  };
  pc::Match all, prefix, path, header;
  prefix.gateways = {"ns/gw"};
  prefix.authority_prefix = "hello.default";
  path.path_prefix = "/a";
  header.headers = {{"k-network-hash", pc::HeaderMatch::Kind::Exact, "override"}};
  pc::Routes one;
  one.hosts = {"hello.default", "hello.default.svc"};
  one.gateways = {"ns/gw", "mesh"};
  one.mesh = "m";
  one.created = {1};
  one.routes = {route("all", {}), route("path", {path}), route("header", {header})};
  set(t, pc::Type::Routes, "d/one", one);
  pc::Routes two = one;
  two.created = {2};
  two.routes = {route("second", {prefix})};
  two.hosts = {"hello.default"};
  set(t, pc::Type::Routes, "d/two", two);
  pc::Routes wild;
  wild.hosts = {"*.default"};
  wild.gateways = {"ns/gw"};
  wild.routes = {route("wild", {})};
  set(t, pc::Type::Routes, "d/wild", wild);

  const std::string_view override_value = "override";
  const auto pick = [&](std::string_view gateway, std::string_view authority, std::string_view p,
                        bool probe = false, std::string_view mesh = "m") {
    RouteQuery q;
    q.gateways = {gateway};
    q.mesh = mesh;
    q.authority = authority;
    q.path = p;
    q.header = [&](std::string_view name) {
      return probe && name == "k-network-hash" ? &override_value : nullptr;
    };
    const RoutePick r = pick_route(t, q);
    return r.route ? r.route->set_headers.at("tag") : std::string(r.host_known ? "404" : "none");
  };
  EXPECT_EQ(pick("ns/gw", "hello.default:80", "/abc?x"), "path") << "a plain string prefix";
  EXPECT_EQ(pick("ns/gw", "hello.default", "/b", true), "header");
  EXPECT_EQ(pick("ns/gw", "hello.default", "/b"), "second") << "catch-alls come last";
  EXPECT_EQ(pick("ns/gw", "hello.default.svc", "/b"), "all");
  EXPECT_EQ(pick("ns/gw", "x.default", "/b"), "wild");
  EXPECT_EQ(pick("ns/other", "hello.default", "/"), "none");
  EXPECT_EQ(pick("mesh", "hello.default.svc", "/"), "all");
  EXPECT_EQ(pick("mesh", "hello.default.svc", "/", false, "other"), "none");
  t.remove({pc::Type::Routes, "d/one"});
  EXPECT_EQ(pick("ns/gw", "hello.default", "/b"), "second");
  EXPECT_EQ(pick("ns/gw", "hello.default.svc", "/b"), "none");
}

TEST(Road, ResolveAndEgress) {
  Tables t;
  pc::Settings s;
  s.pod_cidrs = {"10.128.0.0/20", "fd00:10:128::/64"};
  s.service_cidrs = {"172.30.0.0/16"};
  s.router_ip = "172.30.0.20";
  s.dns_ip = "172.30.0.10";
  s.host_ip = "192.168.1.5";
  s.egress_allow = {"10.0.0.0/8:9092", "0.0.0.0/0:443", "127.0.0.1:9092"};
  set(t, pc::Type::Settings, "node", s);
  pc::Service service;
  service.cluster_ips = {"172.30.1.1"};
  service.ports = {{80, "http", pc::Protocol::Http, {}}};
  set(t, pc::Type::Service, "d/s", service);
  pc::Workload w;
  w.ns = "d";
  w.ip = "10.128.0.5";
  set(t, pc::Type::Workload, "u1", w);
  using Kind = Resolved::Kind;
  const struct {
    const char* ip;
    std::uint16_t port;
    Kind kind;
  } rows[] = {
      {"172.30.0.20", 443, Kind::Router},   {"172.30.0.20", 444, Kind::Unknown},
      {"172.30.0.10", 53, Kind::Dns},       {"172.30.1.1", 80, Kind::Service},
      {"172.30.1.1", 81, Kind::NoSuchPort}, {"10.128.0.5", 1, Kind::Workload},
      {"10.128.0.6", 1, Kind::Unknown},     {"fd00:10:128::7", 1, Kind::Unknown},
      {"8.8.8.8", 53, Kind::Outside},
  };
  for (const auto& row : rows) EXPECT_EQ(resolve(t, row.ip, row.port).kind, row.kind) << row.ip;
  EXPECT_TRUE(egress_allowed(t, "10.1.1.1", 9092));
  EXPECT_FALSE(egress_allowed(t, "10.1.1.1", 9093));
  EXPECT_TRUE(egress_allowed(t, "8.8.8.8", 443));
  EXPECT_TRUE(egress_allowed(t, "127.0.0.1", 9092)) << "named with address and port";
  for (const char* ip : {"127.0.0.2", "169.254.169.254", "192.168.1.5", "0.0.0.0", "224.0.0.1"}) {
    EXPECT_FALSE(egress_allowed(t, ip, 443)) << ip << ": a wide range does not name it";
  }
  pc::Workload moved = w;
  moved.ip = "10.128.0.9";
  set(t, pc::Type::Workload, "u1", moved);
  EXPECT_EQ(resolve(t, "10.128.0.5", 1).kind, Kind::Unknown);
  EXPECT_EQ(resolve(t, "10.128.0.9", 1).uid, "u1");
}

TEST(Tables, RefusesByName) {
  Tables t;
  const auto refused = [&](pc::Type type, const auto& v) {
    const auto r = t.set({type, "ns/x", "", codec::encode(v)});
    return r ? std::string() : r.error().message();
  };
  pc::Revision h2c;
  h2c.h2c = true;
  EXPECT_NE(refused(pc::Type::Revision, h2c).find("h2c"), std::string::npos);
  pc::EdgeRoute e;
  e.termination = pc::EdgeRoute::Termination::Reencrypt;
  EXPECT_NE(refused(pc::Type::EdgeRoute, e).find("reencrypt"), std::string::npos);
  pc::Certificate c;
  c.chain_pem = "no certificate";
  EXPECT_NE(refused(pc::Type::Certificate, c).find("tls.crt"), std::string::npos);
  pc::Settings s;
  s.egress_allow = {"example.com:80"};
  EXPECT_NE(refused(pc::Type::Settings, s).find("example.com"), std::string::npos);
  pc::Routes r;
  r.hosts = {"a"};
  r.routes.resize(1);
  r.routes[0].matches.resize(1);
  r.routes[0].matches[0].headers = {{"x", pc::HeaderMatch::Kind::Regex, ".*"}};
  EXPECT_NE(refused(pc::Type::Routes, r).find("regex"), std::string::npos);
  EXPECT_EQ(t.routes.size(), 0U) << "nothing was changed";
}

/// A ClientHello as OpenSSL writes it.
std::string client_hello(const char* sni) {
  SSL_CTX* ctx = SSL_CTX_new(TLS_client_method());
  static constexpr unsigned char kAlpn[] = "\x05istio\x08http/1.1";
  SSL_CTX_set_alpn_protos(ctx, kAlpn, sizeof kAlpn - 1);
  SSL* ssl = SSL_new(ctx);
  BIO* in = BIO_new(BIO_s_mem());
  BIO* out = BIO_new(BIO_s_mem());
  SSL_set_bio(ssl, in, out);
  SSL_set_connect_state(ssl);
  if (sni) SSL_set_tlsext_host_name(ssl, sni);
  SSL_do_handshake(ssl);
  char* data = nullptr;
  const long n = BIO_get_mem_data(out, &data);
  std::string bytes(data, static_cast<std::size_t>(n));
  SSL_free(ssl);
  SSL_CTX_free(ctx);
  return bytes;
}

TEST(ClientHelloPeek, EveryPrefixAndManyRecords) {
  const std::string hello = client_hello("A.Apps.Test");
  for (std::size_t n = 0; n < hello.size(); ++n) {
    EXPECT_EQ(peek_client_hello(std::string_view(hello).substr(0, n)).state,
              ClientHello::State::Incomplete)
        << n;
  }
  const ClientHello whole = peek_client_hello(hello);
  EXPECT_EQ(whole.state, ClientHello::State::Complete);
  EXPECT_EQ(whole.sni, "a.apps.test");
  EXPECT_EQ(whole.alpn, (std::vector<std::string>{"istio", "http/1.1"}));
  // The same message in records of one byte each.
  std::string split;
  for (const char c : hello.substr(5)) split += std::string("\x16\x03\x01\x00\x01", 5) + c;
  EXPECT_EQ(peek_client_hello(split).sni, "a.apps.test");
  EXPECT_EQ(peek_client_hello(client_hello(nullptr)).sni, "");
}

TEST(ClientHelloPeek, NotTls) {
  for (const std::string_view in : {"GET / HTTP/1.1\r\n", "\x16\x05", "\x17\x03\x03"}) {
    EXPECT_EQ(peek_client_hello(in).state, ClientHello::State::NotTls);
  }
}

}  // namespace
}  // namespace knit::proxy
