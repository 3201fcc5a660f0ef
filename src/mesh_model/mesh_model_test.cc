#include "mesh_model/peer_authentication.h"
#include "mesh_model/protocol.h"
#include "mesh_model/visibility.h"

namespace knit::mesh_model {
namespace {

Json parse(const char* text) { return json::parse(text).value(); }

TEST(SelectProtocol, Table) {  // spec mesh.md 2.13
  using P = PortProtocol;
  const struct {
    const char *transport, *app, *name;
    std::uint32_t port;
    P want;
  } rows[] = {
      {"TCP", "", "http", 80, P::Http},
      {"TCP", "", "http2-foo", 80, P::Http2},
      {"TCP", "", "http-autometric", 9090, P::Http},
      {"TCP", "", "HTTP-x", 80, P::Http},
      {"TCP", "", "grpc-web-x", 80, P::Http2},
      {"TCP", "", "https", 443, P::Tls},
      {"TCP", "", "tls-x", 443, P::Tls},
      {"TCP", "", "tcp-sasl-tls", 9094, P::Tcp},
      {"TCP", "", "redis", 6379, P::Tcp},
      {"TCP", "", "web", 8080, P::Unknown},
      {"TCP", "", "", 8080, P::Unknown},
      {"TCP", "", "", 3306, P::Tcp},
      {"TCP", "http", "tcp", 80, P::Http},
      {"TCP", "kubernetes.io/h2c", "http", 81, P::Http2},
      {"TCP", "kubernetes.io/ws", "", 80, P::Http},
      {"TCP", "kubernetes.io/wss", "", 443, P::Tls},
      {"TCP", "example.com/own", "http", 80, P::Unknown},
      {"UDP", "", "http", 80, P::Udp},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(select_protocol(row.transport, row.app, row.name, row.port), row.want)
        << row.app << " " << row.name << " " << row.port;
  }
}

PeerAuthenticationView policy(const char* ns, const char* name, int created, Mtls mode,
                              Labels selector = {}) {
  PeerAuthenticationView p;
  p.ns = ns;
  p.name = name;
  p.created = {created};
  p.has_selector = !selector.empty();
  p.selector = std::move(selector);
  p.mode = mode;
  return p;
}

TEST(EffectiveMtls, Table) {  // spec mesh.md 2.7
  const auto mesh = policy("istio-system", "default", 1, Mtls::Strict);
  const auto space = policy("a", "default", 2, Mtls::Permissive);
  const struct {
    const char* name;
    std::vector<PeerAuthenticationView> policies;
    Mtls want;
    const char* from;
  } rows[] = {
      {"none", {}, Mtls::Permissive, ""},
      {"mesh", {mesh}, Mtls::Strict, "istio-system/default"},
      {"namespace over mesh", {mesh, space}, Mtls::Permissive, "a/default"},
      {"UNSET falls through",
       {mesh, policy("a", "default", 2, Mtls::Unset)},
       Mtls::Strict,
       "istio-system/default"},
      {"another namespace",
       {mesh, policy("b", "default", 2, Mtls::Disable)},
       Mtls::Strict,
       "istio-system/default"},
      {"workload over namespace",
       {mesh, space, policy("a", "w", 3, Mtls::Disable, {{"app", "x"}})},
       Mtls::Disable,
       "a/w"},
      {"another workload",
       {space, policy("a", "w", 3, Mtls::Disable, {{"app", "y"}})},
       Mtls::Permissive,
       "a/default"},
      {"the oldest of one level",
       {policy("a", "new", 5, Mtls::Disable), policy("a", "old", 4, Mtls::Strict)},
       Mtls::Strict,
       "a/old"},
      {"equal age goes by name",
       {policy("a", "y", 4, Mtls::Disable), policy("a", "x", 4, Mtls::Strict)},
       Mtls::Strict,
       "a/x"},
      {"a selector in the root namespace is ignored elsewhere",
       {policy("istio-system", "w", 1, Mtls::Strict, {{"app", "x"}})},
       Mtls::Permissive,
       ""},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const auto got = effective_mtls(row.policies, "istio-system", "a", {{"app", "x"}});
    EXPECT_EQ(got.mode, row.want);
    EXPECT_EQ(got.from, row.from);
  }
  auto ports = policy("a", "w", 3, Mtls::Unset, {{"app", "x"}});
  ports.ports = {{8443, Mtls::Permissive}, {9090, Mtls::Unset}};
  const auto got = effective_mtls({mesh, ports}, "istio-system", "a", {{"app", "x"}});
  EXPECT_EQ(got.mode, Mtls::Strict);
  EXPECT_EQ(got.ports,
            (std::map<std::uint16_t, Mtls>{{8443, Mtls::Permissive}, {9090, Mtls::Strict}}));
}

TEST(PeerAuthentication, SupportTable) {
  const struct {
    const char* name;
    const char* spec;
    const char* refused;  // empty: carried out
  } rows[] = {
      {"strict", R"({"mtls":{"mode":"STRICT"}})", ""},
      {"permissive", R"({"mtls":{"mode":"PERMISSIVE"}})", ""},
      {"disable", R"({"mtls":{"mode":"DISABLE"}})", "spec.mtls.mode"},
      {"unset", R"({"mtls":{"mode":"UNSET"}})", "spec.mtls.mode"},
      {"nothing", "{}", "spec.mtls.mode"},
      {"selector", R"({"mtls":{"mode":"STRICT"},"selector":{"matchLabels":{"a":"b"}}})",
       "spec.selector"},
      {"ports", R"({"mtls":{"mode":"STRICT"},"portLevelMtls":{"80":{"mode":"DISABLE"}}})",
       "spec.portLevelMtls"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const auto why = unsupported_peer_authentication(JsonObject{{"spec", parse(row.spec)}});
    EXPECT_EQ(why.has_value(), *row.refused != '\0');
    if (why) EXPECT_TRUE(why->starts_with(row.refused)) << *why;
  }
}

TEST(Visibility, ExportToTable) {
  const struct {
    std::vector<std::string> list;
    const char* client;
    bool visible;
  } rows[] = {
      {{}, "b", true},     {{"*"}, "b", true}, {{"."}, "a", true},
      {{"."}, "b", false}, {{"b"}, "b", true}, {{"~"}, "a", false},
  };
  for (const auto& row : rows) EXPECT_EQ(exported_to(row.list, "a", row.client), row.visible);
}

TEST(Visibility, DestinationRuleTable) {  // spec mesh.md 1.1 (mtls: true), 2.4
  const auto rule = [](const char* ns, const char* name, const char* host, ClientTlsMode tls) {
    DestinationRuleView r;
    r.ns = ns;
    r.name = name;
    r.host = host;
    r.tls = tls;
    return r;
  };
  const std::vector<DestinationRuleView> rules = {
      rule("istio-system", "default", "*.cluster.local", ClientTlsMode::IstioMutual),
      rule("istio-system", "api-server", "kubernetes.default.svc.cluster.local",
           ClientTlsMode::Disable),
      rule("a", "own", "hello", ClientTlsMode::Disable),
  };
  const struct {
    const char *host, *client, *service, *want;
  } rows[] = {
      {"x.b.svc.cluster.local", "a", "b", "default"},
      {"kubernetes.default.svc.cluster.local", "a", "default", "api-server"},
      {"hello.a.svc.cluster.local", "a", "a", "own"},
      {"hello.a.svc.cluster.local", "b", "a", "own"},
      {"example.com", "a", "", ""},
  };
  for (const auto& row : rows) {
    const auto* got =
        destination_rule(rules, row.host, row.client, row.service, "istio-system", "cluster.local");
    EXPECT_EQ(got == nullptr ? "" : got->name, row.want) << row.host;
  }
}

TEST(ServiceEntry, TheSeedsRepeatedPortNamesAreFound) {  // spec mesh.md 1.7
  const auto issues = service_entry_issues(parse(R"({"spec":{"ports":[
    {"number":9092,"name":"tcp-plain"},{"number":9093,"name":"tcp-tls"},
    {"number":9094,"name":"tcp-sasl-tls"},{"number":9095,"name":"tcp-sasl-tls"},
    {"number":9096,"name":"tcp-tls"},{"number":9092,"name":"x"}]}})"));
  ASSERT_EQ(issues.size(), 3u);
  EXPECT_EQ(issues[0].field, "spec.ports[3].name");
  EXPECT_NE(issues[0].message.find("\"tcp-sasl-tls\" already defined"), std::string::npos);
  EXPECT_EQ(issues[1].field, "spec.ports[4].name");
  EXPECT_EQ(issues[2].field, "spec.ports[5].number");
}

}  // namespace
}  // namespace knit::mesh_model
