#include "mesh_model/gateways.h"

namespace knit::mesh_model {
namespace {

Json parse(const char* text) { return json::parse(text).value(); }

ServiceView service(const char* name, int created, std::vector<std::pair<int, int>> ports,
                    Labels labels = {}, Labels selector = {{"istio", "ingressgateway"}}) {
  ServiceView s;
  s.ns = "istio-system";
  s.name = name;
  s.type = "ClusterIP";
  s.created = {created};
  s.labels = std::move(labels);
  s.selector = std::move(selector);
  for (const auto& [port, target] : ports) {
    ServicePortView p;
    p.port = static_cast<std::uint16_t>(port);
    p.target_port = static_cast<std::uint16_t>(target);
    s.ports.push_back(p);
  }
  return s;
}
PodView pod() {
  return {"istio-system",
          "gw",
          "uid",
          {{"istio", "ingressgateway"}, {"knative", "ingressgateway"}},
          {{"https", 8443}}};
}
GatewayServer server(std::uint32_t port, const char* protocol, std::vector<std::string> hosts,
                     TlsMode tls = TlsMode::None, const char* bind = "") {
  GatewayServer s;
  s.port = port;
  s.protocol = protocol;
  s.hosts = std::move(hosts);
  s.tls = tls;
  s.has_tls = tls != TlsMode::None;
  s.bind = bind;
  return s;
}
GatewayView gateway(const char* name, int created, std::vector<GatewayServer> servers,
                    Labels selector = {{"knative", "ingressgateway"}}) {
  return {"ns", name, {created}, std::move(selector), std::move(servers)};
}

const std::vector<ServiceView> kSeedServices = {
    service("istio-ingressgateway", 10, {{15021, 15021}, {80, 8080}, {443, 8443}}),
    service("knative-local-gateway", 20, {{80, 8081}}, {{std::string(kNoPortTranslation), "true"}}),
};

TEST(ResolvePort, Table) {  // spec mesh.md 1.3
  ServiceView named = service("named", 5, {{9443, 0}});
  named.ports[0].target_name = "https";
  ServiceView unknown = service("named", 5, {{9443, 0}});
  unknown.ports[0].target_name = "absent";
  const auto plain = service("knative-local-gateway", 5, {{80, 8081}});
  const auto other = service("other", 1, {{443, 9999}}, {}, {{"app", "other"}});
  const struct {
    const char* name;
    std::uint32_t number;
    std::vector<ServiceView> services;
    std::uint16_t want;
    const char* through;
  } rows[] = {
      {"443 through the gateway's Service", 443, kSeedServices, 8443,
       "istio-system/istio-ingressgateway"},
      {"80 ignores the labelled Service", 80, kSeedServices, 8080,
       "istio-system/istio-ingressgateway"},
      {"no Service has 8081", 8081, kSeedServices, 8081, ""},
      {"without the label an older local gateway takes 80",
       80,
       {plain, kSeedServices[0]},
       8081,
       "istio-system/knative-local-gateway"},
      {"the label counts by presence",
       80,
       {service("l", 5, {{80, 8081}}, {{std::string(kNoPortTranslation), "false"}})},
       80,
       ""},
      {"a Service of other pods",
       443,
       {other, kSeedServices[0]},
       8443,
       "istio-system/istio-ingressgateway"},
      {"named target port", 9443, {named}, 8443, "istio-system/named"},
      {"unknown named target port", 9443, {unknown}, 9443, ""},
      {"no selector selects nothing", 443, {service("s", 1, {{443, 1}}, {}, {})}, 443, ""},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const auto got = resolve_port(row.number, pod(), row.services);
    EXPECT_EQ(got.port, row.want);
    EXPECT_EQ(got.through, row.through);
  }
}

std::string print(const GatewayMerge& m) {
  std::string out;
  for (const auto& [port, merged] : m.ports) {
    out += std::to_string(port) + ":";
    for (const auto& s : merged.servers) out += " " + s.gateway + "#" + std::to_string(s.index);
    out += ";";
  }
  for (const auto& d : m.dropped) {
    out += " -" + d.gateway + "#" + std::to_string(d.index) + "<" + d.winner;
  }
  return out;
}

TEST(MergeGateways, Table) {
  const auto seed = gateway("seed", 10, {server(443, "HTTPS", {"*"}, TlsMode::Simple)});
  const auto local = gateway("local", 11, {server(8081, "HTTPS", {"*"}, TlsMode::IstioMutual)});
  const Labels by_istio = {{"istio", "ingressgateway"}};
  const struct {
    const char* name;
    std::vector<GatewayView> gateways;
    const char* want;
  } rows[] = {
      {"the seed's", {seed, local}, "8081: ns/local#0;8443: ns/seed#0;"},
      {"a later * on 443 by another selector (GW-01)",
       {gateway("user", 20, {server(443, "HTTPS", {"*"}, TlsMode::Simple)}, by_istio), seed},
       "8443: ns/seed#0; -ns/user#0<ns/seed"},
      {"an older * on 443 wins over the seed's",
       {gateway("user", 5, {server(443, "HTTPS", {"*"}, TlsMode::Simple)}, by_istio), seed},
       "8443: ns/user#0; -ns/seed#0<ns/user"},
      {"equal times go by name",
       {gateway("b", 5, {server(443, "HTTPS", {"*"}, TlsMode::Simple)}),
        gateway("a", 5, {server(443, "HTTPS", {"*"}, TlsMode::Simple)})},
       "8443: ns/a#0; -ns/b#0<ns/a"},
      {"* beside *.apps is no conflict",
       {seed, gateway("apps", 20, {server(443, "HTTPS", {"*.apps.test"}, TlsMode::Simple)})},
       "8443: ns/seed#0 ns/apps#0;"},
      {"one duplicate of two hosts drops the server",
       {gateway("a", 1, {server(443, "HTTPS", {"a.test"}, TlsMode::Simple)}),
        gateway("b", 2, {server(443, "HTTPS", {"b.test", "a.test"}, TlsMode::Simple)})},
       "8443: ns/a#0; -ns/b#0<ns/a"},
      {"8443 as it stands meets 443 translated",
       {seed, gateway("raw", 20, {server(8443, "HTTPS", {"*"}, TlsMode::Simple)})},
       "8443: ns/seed#0; -ns/raw#0<ns/seed"},
      {"another bind is another listener",
       {seed, gateway("b", 20, {server(443, "HTTPS", {"*"}, TlsMode::Simple, "10.0.0.1")})},
       "8443: ns/seed#0 ns/b#0;"},
      {"plaintext after TLS",
       {seed, gateway("p", 20, {server(443, "HTTP", {"*"})})},
       "8443: ns/seed#0; -ns/p#0<ns/seed"},
      {"TLS after plaintext",
       {gateway("p", 5, {server(443, "HTTP", {"*"})}), seed},
       "8443: ns/p#0; -ns/seed#0<ns/p"},
      {"two plaintext servers share",
       {gateway("a", 1, {server(80, "HTTP", {"*"})}),
        gateway("b", 2, {server(80, "HTTP2", {"*"})})},
       "8080: ns/a#0 ns/b#0;"},
      {"TCP after HTTP",
       {gateway("a", 1, {server(80, "HTTP", {"*"})}), gateway("b", 2, {server(80, "TCP", {"*"})})},
       "8080: ns/a#0; -ns/b#0<ns/a"},
      {"other pods' Gateways",
       {gateway("a", 1, {server(80, "HTTP", {"*"})}, {{"istio", "egressgateway"}})},
       ""},
      {"an empty selector selects every gateway",
       {gateway("a", 1, {server(80, "HTTP", {"*"})}, {})},
       "8080: ns/a#0;"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    EXPECT_EQ(print(merge_gateways(pod(), kSeedServices, row.gateways)), row.want);
  }
}

TEST(MergeGateways, SaysWhyASentence) {
  const auto merge =
      merge_gateways(pod(), kSeedServices,
                     {gateway("seed", 10, {server(443, "HTTPS", {"*"}, TlsMode::Simple)}),
                      gateway("user", 20, {server(443, "HTTPS", {"*"}, TlsMode::Simple)})});
  ASSERT_EQ(merge.dropped.size(), 1u);
  EXPECT_EQ(merge.dropped[0].reason,
            "server 0 of Gateway ns/user on port 443 (8443 on the pod) is left out: host * is "
            "claimed by the older Gateway ns/seed");
}

TEST(DecodeGateway, ReadsTheSeed) {
  const auto g = decode_gateway(parse(R"({"metadata":{"name":"knative-ingress-gateway",
    "namespace":"knative-serving","creationTimestamp":"2026-01-01T00:00:00Z"},
    "spec":{"selector":{"knative":"ingressgateway"},"servers":[{"port":{"number":443,"name":"https",
    "protocol":"HTTPS"},"hosts":["*","./a.test","*/b.test","x/c.test"],
    "tls":{"mode":"SIMPLE","credentialName":"wildcard-certs"}}]}})"));
  EXPECT_EQ(g.full_name(), "knative-serving/knative-ingress-gateway");
  ASSERT_EQ(g.servers.size(), 1u);
  EXPECT_EQ(g.servers[0].hosts,
            (std::vector<std::string>{"*", "knative-serving/a.test", "b.test", "x/c.test"}));
  EXPECT_EQ(g.servers[0].tls, TlsMode::Simple);
  EXPECT_EQ(g.servers[0].credential, "wildcard-certs");
  EXPECT_EQ(g.created.ns, 1'767'225'600'000'000'000);
}

}  // namespace
}  // namespace knit::mesh_model
