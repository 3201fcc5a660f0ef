// One ksvc on a STRICT mesh, ready to be asked over real sockets.
#pragma once

#include "proxy/test_rig.h"

namespace knit::proxy::test {

inline constexpr char kHost[] = "hello-default.apps.test";
inline constexpr char kHash[] = "cafe";

class RoadTest : public testing::Test {
 protected:
  /// One ksvc "hello" on a STRICT mesh, behind a passthrough Route and a SIMPLE gateway.
  void SetUp() override {
    gateway = rig.workload("istio-ingressgateway", 9);
    gateway.ns = "istio-system";
    gateway.spiffe_id = "spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway";
    gateway.role = pc::Role::IngressGateway;
    activator = rig.workload("activator", 8);
    activator.ns = "knative-serving";
    activator.spiffe_id = "spiffe://cluster.local/ns/knative-serving/sa/controller";
    activator.role = pc::Role::Activator;
    pod = rig.workload("hello", 5);
    pod.revision = "default/hello-00001";
    pod.inbound = pc::MtlsMode::Strict;
    pod.excluded_inbound_ports = {8022, 8444};
    rig.put_workload("gw", gateway);
    rig.put_workload("act", activator);

    pki::LeafSpec wildcard;
    wildcard.dns_names = {"*.apps.test"};
    wildcard.server = true;
    wildcard.lifetime = 24h;
    const auto certificate = *rig.apps_ca->issue_with_key(wildcard, Rig::wall());
    rig.put(pc::Type::Certificate, "istio-system/wildcard-certs",
            pc::Certificate{certificate.chain_pem, certificate.key_pem, ""});

    pc::Service ingress;
    ingress.ports = {{443, "https", pc::Protocol::Tls, {{gateway.ip, 8443, "gw"}}}};
    rig.put(pc::Type::Service, "istio-system/istio-ingressgateway", ingress);
    pc::Service local;
    local.cluster_ips = {rig.ip(131)};
    local.ports = {{80, "http2", pc::Protocol::Http, {{gateway.ip, 8081, "gw"}}}};
    rig.put(pc::Type::Service, "istio-system/knative-local-gateway", local);

    pc::Gateway g;
    g.pod_uid = "gw";
    g.mesh = "istio-system";
    g.port = 8443;
    g.servers = {{{"*"},
                  pc::TlsMode::Simple,
                  "istio-system/wildcard-certs",
                  "knative-serving/knative-ingress-gateway",
                  {"*"},
                  false}};
    rig.put(pc::Type::Gateway, "gw:8443", g);
    g.port = 8081;
    g.servers = {{{"*"},
                  pc::TlsMode::IstioMutual,
                  "",
                  "knative-serving/knative-local-gateway",
                  {"*"},
                  false}};
    rig.put(pc::Type::Gateway, "gw:8081", g);
    set_revision(0, 300s);

    pc::Routes routes;
    routes.hosts = {kHost, "hello.default", "hello.default.svc", "hello.default.svc.cluster.local"};
    routes.gateways = {"knative-serving/knative-ingress-gateway",
                       "knative-serving/knative-local-gateway"};
    pc::Route route;
    pc::Match outer, inner;
    outer.gateways = {"knative-serving/knative-ingress-gateway"};
    outer.authority_prefix = kHost;
    inner.gateways = {"knative-serving/knative-local-gateway"};
    inner.authority_prefix = "hello.default";
    route.matches = {outer, inner};
    pc::Destination d;
    d.service = "default/hello-00001";
    d.port = 80;
    d.set_headers = {{"Knative-Serving-Namespace", "default"},
                     {"Knative-Serving-Revision", "hello-00001"}};
    route.destinations = {d};
    pc::Route probe = route;
    for (auto& m : probe.matches) {
      m.headers = {{"k-network-hash", pc::HeaderMatch::Kind::Exact, "override"}};
    }
    probe.set_headers = {{"K-Network-Hash", kHash}};
    routes.routes = {probe, route};
    routes.mesh = "istio-system";
    rig.put(pc::Type::Routes, "default/hello-ingress", routes);

    pc::EdgeRoute e;
    e.host = kHost;
    e.termination = pc::EdgeRoute::Termination::Passthrough;
    e.insecure = pc::EdgeRoute::Insecure::Redirect;
    e.service = "istio-system/istio-ingressgateway";
    e.port = 443;
    rig.put(pc::Type::EdgeRoute, "knative-serving-ingress/route-1", e);
    pc::Probe p;
    p.hash = kHash;
    p.targets = {
        {kHost, true, "knative-serving/knative-ingress-gateway"},
        {"hello.default.svc.cluster.local", false, "knative-serving/knative-local-gateway"}};
    rig.put(pc::Type::Probe, "default/hello", p);
    ASSERT_TRUE(rig.apply().empty());
    https = rig.listen("router-https", "127.0.0.1");
    http = rig.listen("router-http", "127.0.0.1");
    ASSERT_TRUE(rig.until([&] { return rig.csrs >= 2; }));
  }

  void set_revision(std::uint32_t concurrency, Duration timeout) {
    pc::Revision r;
    r.service = r.configuration = "hello";
    r.container_concurrency = concurrency;
    r.timeout = timeout;
    r.user_port = user_port;
    r.sks_hash = "s1";
    r.request_log_template =
        R"({{.Request.Method}} {{js .Request.RequestURI}} {{.Response.Code}} {{.Revision.Name}} )"
        R"({{index .Request.Header "X-Kept"}})";
    rig.put(pc::Type::Revision, "default/hello-00001", r);
    pc::Service s;
    s.cluster_ips = {rig.ip(130)};
    s.revision = "default/hello-00001";
    s.ports = {{80, "http", pc::Protocol::Http, {{activator.ip, 8012, "act"}}}};
    rig.put(pc::Type::Service, "default/hello-00001", s);
  }
  /// The pod exists; its app may listen or not.
  void start_pod(const std::string& uid = "pod1", int host = 5) {
    pc::Workload w = pod;
    w.ip = rig.ip(host);
    rig.put_workload(uid, w);
    ASSERT_TRUE(rig.apply().empty());
    rig.node_pod(uid, w);
  }
  App& start_app(std::uint32_t concurrency = 0, Duration timeout = 300s) {
    App& a = rig.app(5);
    user_port = a.port;
    set_revision(concurrency, timeout);
    start_pod();
    EXPECT_TRUE(rig.until([&] { return ready("pod1"); }));
    return a;
  }
  bool ready(const std::string& uid) {
    return rig.engine->shared_for_test().gate("default/hello-00001")->usable(uid);
  }
  ClientOptions tls(const std::string& sni = kHost) const {
    ClientOptions o;
    o.tls = true;
    o.sni = sni;
    o.ca_pem = rig.apps_ca->root_pem();
    return o;
  }
  Answer get(const std::string& headers = "", const std::string& path = "/") {
    return rig.one([=, this] {
      return ask("127.0.0.1", https,
                 "GET " + path + " HTTP/1.1\r\nHost: " + kHost + "\r\nConnection: close\r\n" +
                     headers + "\r\n",
                 tls());
    });
  }

  Rig rig;
  pc::Workload gateway, activator, pod;
  std::uint16_t https = 0, http = 0, user_port = 1;
};

}  // namespace knit::proxy::test
