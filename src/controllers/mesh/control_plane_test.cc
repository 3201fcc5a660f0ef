#include "controllers/mesh/control_plane.h"

#include "controllers/mesh/test_world.h"

namespace knit::mesh {
namespace {
namespace res = kube::res;
using namespace std::chrono_literals;

Json seed_smcp() { return MeshWorld::seed("smcp.yaml")[0]; }

TEST(ControlPlane, SeedMakesTheMesh) {  // spec mesh.md 1.1
  MeshWorld world;
  world.begin();
  world.apply_ok(res::smcps(), seed_smcp());
  ASSERT_TRUE(world.run_until_quiet());
  EXPECT_EQ(world.condition(res::smcps(), "istio-system", "basic", "Ready"),
            "True ComponentsReady");
  EXPECT_EQ(world.condition(res::smcps(), "istio-system", "basic", "Installed"),
            "True InstallSuccessful");
  const Json smcp = world.view_of(res::smcps(), "istio-system", "basic");
  EXPECT_EQ(json::str(smcp, {"status", "annotations", "readyComponentCount"}), "4/4");
  for (const char* name : {"istiod-basic", "istio-ingressgateway", "istio-egressgateway"}) {
    EXPECT_EQ(json::str(world.view_of(res::deployments(), "istio-system", name),
                        {"metadata", "annotations", "knit.dev/built-in"}),
              "true")
        << name;
  }
  EXPECT_EQ(json::str(world.view_of(res::peerauthentications(), "istio-system", "default"),
                      {"spec", "mtls", "mode"}),
            "STRICT");
  EXPECT_EQ(json::str(world.view_of(res::destinationrules(), "istio-system", "default"),
                      {"spec", "trafficPolicy", "tls", "mode"}),
            "ISTIO_MUTUAL");
  EXPECT_EQ(json::str(world.view_of(res::destinationrules(), "istio-system", "api-server"),
                      {"spec", "trafficPolicy", "tls", "mode"}),
            "DISABLE");
  EXPECT_EQ(json::str(world.view_of(res::configmaps(), "istio-system", "istio-ca-root-cert"),
                      {"data", "root-cert.pem"}),
            "root of istio-system");
  EXPECT_NE(
      json::str(world.view_of(res::configmaps(), "istio-system", "istio-basic"), {"data", "mesh"})
          .find("terminationDrainDuration: 35s"),
      std::string_view::npos);
  EXPECT_EQ(json::str(world.view_of(res::networkpolicies(), "istio-system", "istio-mesh-basic"),
                      {"metadata", "annotations", "knit.dev/enforced"}),
            "false");
  // The seed prints: ClusterIP, 15021/TCP,80/TCP,443/TCP.
  const Json service = world.view_of(res::services(), "istio-system", "istio-ingressgateway");
  EXPECT_EQ(json::str(service, {"spec", "type"}), "ClusterIP");
  std::string ports;
  for (const Json& p : json::array(service, {"spec", "ports"})) {
    ports += std::to_string(json::i64(p, {"port"})) + ">" +
             std::to_string(json::i64(p, {"targetPort"})) + " ";
  }
  EXPECT_EQ(ports, "15021>15021 80>8080 443>8443 ");
  EXPECT_EQ(world.pending(), std::vector<std::string>());
}

TEST(ControlPlane, TheGatewaysLabelIsInSelectorPodAndService) {  // spec mesh.md 0.7
  MeshWorld world;
  world.begin();
  Json smcp = seed_smcp();
  json::erase(smcp, {"spec", "gateways"});
  world.apply_ok(res::smcps(), smcp);
  ASSERT_TRUE(world.run_until_quiet());
  const std::string before = world.uid(res::deployments(), "istio-system", "istio-ingressgateway");
  EXPECT_EQ(json::find(world.view_of(res::deployments(), "istio-system", "istio-ingressgateway"),
                       {"spec", "selector", "matchLabels", "knative"}),
            nullptr);
  // A selector is immutable: the Deployment is made again.
  world.apply_ok(res::smcps(), seed_smcp());
  ASSERT_TRUE(world.run_until_quiet());
  EXPECT_NE(world.uid(res::deployments(), "istio-system", "istio-ingressgateway"), before);
  const struct {
    kube::Resource resource;
    const char* name;
    std::initializer_list<std::string_view> path;
  } places[] = {
      {res::deployments(), "istio-ingressgateway", {"metadata", "labels", "knative"}},
      {res::deployments(), "istio-ingressgateway", {"spec", "selector", "matchLabels", "knative"}},
      {res::pods(), "istio-ingressgateway-0", {"metadata", "labels", "knative"}},
      {res::services(), "istio-ingressgateway", {"metadata", "labels", "knative"}},
      {res::services(), "istio-ingressgateway", {"spec", "selector", "knative"}},
      {res::networkpolicies(),
       "istio-ingressgateway",
       {"spec", "podSelector", "matchLabels", "knative"}},
  };
  for (const auto& place : places) {
    EXPECT_EQ(json::str(world.view_of(place.resource, "istio-system", place.name), place.path),
              "ingressgateway")
        << place.resource.name();
  }
  EXPECT_EQ(world.pending(), std::vector<std::string>());
}

TEST(ControlPlane, TheStrictSwitchIsReal) {
  MeshWorld world;
  world.begin();
  world.apply_ok(res::smcps(), seed_smcp());
  ASSERT_TRUE(world.run_until_quiet());
  ASSERT_TRUE(world.backend.merge(key_of(res::smcps(), "istio-system", "basic"),
                                  R"({"spec":{"security":{"dataPlane":{"mtls":false}}}})"));
  ASSERT_TRUE(world.run_until_quiet());
  EXPECT_EQ(json::str(world.view_of(res::peerauthentications(), "istio-system", "default"),
                      {"spec", "mtls", "mode"}),
            "PERMISSIVE");
  EXPECT_TRUE(world.view_of(res::destinationrules(), "istio-system", "default").is_null());
  EXPECT_TRUE(world.view_of(res::destinationrules(), "istio-system", "api-server").is_null());
  EXPECT_EQ(world.condition(res::smcps(), "istio-system", "basic", "Reconciled"),
            "True UpdateSuccessful");
}

TEST(ControlPlane, ReadinessFollowsTheDeployments) {
  MeshWorld world;
  world.node.never_ready("istio-ingressgateway");
  world.begin();
  world.apply_ok(res::smcps(), seed_smcp());
  ASSERT_TRUE(world.run_until_quiet());
  EXPECT_EQ(world.condition(res::smcps(), "istio-system", "basic", "Ready"),
            "False ComponentsNotReady");
  EXPECT_EQ(json::str(world.view_of(res::smcps(), "istio-system", "basic"),
                      {"status", "annotations", "readyComponentCount"}),
            "3/4");
  world.node.set_ready(key_of(res::pods(), "istio-system", "istio-ingressgateway-0"), true);
  ASSERT_TRUE(world.run_until_quiet());
  EXPECT_EQ(world.condition(res::smcps(), "istio-system", "basic", "Ready"),
            "True ComponentsReady");
}

TEST(ControlPlane, OnlyTheOldestOfANamespaceIsCarriedOut) {
  MeshWorld world;
  world.begin();
  world.backend.set_admit(nullptr);  // both were stored before anybody looked
  world.apply_ok(res::smcps(), seed_smcp());
  Json second = seed_smcp();
  json::set(second, {"metadata", "name"}, "another");
  world.run(2s);
  world.apply_ok(res::smcps(), second);
  ASSERT_TRUE(world.run_until_quiet());
  EXPECT_EQ(world.condition(res::smcps(), "istio-system", "basic", "Ready"),
            "True ComponentsReady");
  EXPECT_EQ(world.condition(res::smcps(), "istio-system", "another", "Ready"),
            "False ErrMultipleSMCPs");
  EXPECT_TRUE(world.view_of(res::deployments(), "istio-system", "istiod-another").is_null());
  ASSERT_TRUE(world.backend.remove(key_of(res::smcps(), "istio-system", "basic")));
  ASSERT_TRUE(world.run_until_quiet());
  EXPECT_EQ(world.condition(res::smcps(), "istio-system", "another", "Reconciled"),
            "True InstallSuccessful");
}

TEST(ControlPlane, EffectiveValueTable) {
  const struct {
    const char* name;
    const char* spec;
    std::function<bool(const ControlPlane&)> holds;
  } rows[] = {
      {"defaults", R"({})",
       [](const ControlPlane& p) {
         return !p.mtls && p.drain == 5s && p.ingress.enabled && p.egress.enabled &&
                p.trust_domain == "cluster.local" && !p.sniff_inbound && p.invalid.empty();
       }},
      {"unknown profile", R"({"profiles":["default","big"]})",
       [](const ControlPlane& p) { return p.invalid.find("\"big\"") != std::string::npos; }},
      {"bad drain",
       R"({"techPreview":{"meshConfig":{"defaultConfig":{"terminationDrainDuration":"soon"}}}})",
       [](const ControlPlane& p) { return p.invalid.find("\"soon\"") != std::string::npos; }},
      {"bad port",
       R"({"proxy":{"networking":{"trafficControl":{"inbound":{"excludedPorts":[70000]}}}}})",
       [](const ControlPlane& p) { return p.invalid.find("excludedPorts") != std::string::npos; }},
      {"no auto mTLS", R"({"security":{"dataPlane":{"automtls":false}}})",
       [](const ControlPlane& p) { return p.invalid.find("automtls") != std::string::npos; }},
      {"Routes per Gateway host", R"({"gateways":{"openshiftRoute":{"enabled":true}}})",
       [](const ControlPlane& p) { return p.invalid.find("openshiftRoute") != std::string::npos; }},
      {"cluster wide", R"({"mode":"ClusterWide"})",
       [](const ControlPlane& p) { return p.invalid.find("spec.mode") == 0; }},
      {"access log as JSON", R"({"proxy":{"accessLogging":{"file":{"encoding":"JSON"}}}})",
       [](const ControlPlane& p) {
         return p.access_log == proxy_config::AccessLogFormat::Json && p.invalid.empty();
       }},
      {"access log off", R"({"proxy":{"accessLogging":{"file":{"name":""}}}})",
       [](const ControlPlane& p) { return p.access_log == proxy_config::AccessLogFormat::Off; }},
      {"access log to a file", R"({"proxy":{"accessLogging":{"file":{"name":"/var/log/x"}}}})",
       [](const ControlPlane& p) { return p.invalid.find("/var/log/x") != std::string::npos; }},
      {"access log encoding", R"({"proxy":{"accessLogging":{"file":{"encoding":"XML"}}}})",
       [](const ControlPlane& p) { return p.invalid.find("XML") != std::string::npos; }},
      {"egress off", R"({"gateways":{"egress":{"enabled":false}}})",
       [](const ControlPlane& p) { return p.ingress.enabled && !p.egress.enabled; }},
      {"gateways off", R"({"gateways":{"enabled":false}})",
       [](const ControlPlane& p) { return !p.ingress.enabled && !p.egress.enabled; }},
      {"sniffing", R"({"proxy":{"networking":{"protocol":{"autoDetect":{"inbound":true}}}}})",
       [](const ControlPlane& p) { return p.sniff_inbound && !p.sniff_outbound; }},
      {"registry only",
       R"({"proxy":{"networking":{"trafficControl":{"outbound":{"policy":"REGISTRY_ONLY"}}}}})",
       [](const ControlPlane& p) { return p.registry_only; }},
  };
  for (const auto& row : rows) {
    EXPECT_TRUE(
        row.holds(decode_control_plane(JsonObject{{"spec", json::parse(row.spec).value()}})))
        << row.name;
  }
  const ControlPlane seed = decode_control_plane(seed_smcp());
  EXPECT_TRUE(seed.mtls);
  EXPECT_EQ(seed.drain, 35s);
  EXPECT_EQ(seed.excluded_inbound_ports, (std::vector<std::uint16_t>{8022, 8444}));
  EXPECT_EQ(seed.ingress.labels, (Labels{{"knative", "ingressgateway"}}));
}

TEST(ControlPlane, TheGatewaysServiceIsAsAskedFor) {
  MeshWorld world;
  world.begin();
  Json smcp = seed_smcp();
  json::set(smcp, {"spec", "gateways", "ingress", "service"},
            json::parse(R"({"type":"NodePort",
    "metadata":{"annotations":{"a":"b"},"labels":{"knative":"ingressgateway"}},
    "ports":[{"name":"https","port":443,"targetPort":8443}]})")
                .value());
  json::set(smcp, {"spec", "gateways", "ingress", "routeConfig", "enabled"}, false);
  world.apply_ok(res::smcps(), smcp);
  ASSERT_TRUE(world.run_until_quiet());
  const Json service = world.view_of(res::services(), "istio-system", "istio-ingressgateway");
  EXPECT_EQ(json::str(service, {"spec", "type"}), "NodePort");
  EXPECT_EQ(json::str(service, {"metadata", "annotations", "a"}), "b");
  EXPECT_EQ(json::array(service, {"spec", "ports"}).size(), 1u);
  EXPECT_TRUE(world.view_of(res::oroutes(), "istio-system", "istio-ingressgateway").is_null());
  ASSERT_TRUE(world.backend.merge(key_of(res::smcps(), "istio-system", "basic"),
                                  R"({"spec":{"gateways":{"ingress":{"routeConfig":null}}}})"));
  ASSERT_TRUE(world.run_until_quiet());
  EXPECT_EQ(json::str(world.view_of(res::oroutes(), "istio-system", "istio-ingressgateway"),
                      {"spec", "port", "targetPort"}),
            "http2");
}

TEST(ControlPlane, AGatewayThatIsSwitchedOffGoes) {
  MeshWorld world;
  world.begin();
  world.apply_ok(res::smcps(), seed_smcp());
  ASSERT_TRUE(world.run_until_quiet());
  ASSERT_TRUE(world.backend.merge(key_of(res::smcps(), "istio-system", "basic"),
                                  R"({"spec":{"gateways":{"egress":{"enabled":false}}}})"));
  ASSERT_TRUE(world.run_until_quiet());
  for (const auto& [resource, name] :
       {std::pair{res::deployments(), "istio-egressgateway"},
        std::pair{res::services(), "istio-egressgateway"},
        std::pair{res::serviceaccounts(), "istio-egressgateway-service-account"}}) {
    EXPECT_TRUE(world.view_of(resource, "istio-system", name).is_null()) << resource.name();
  }
  EXPECT_EQ(json::str(world.view_of(res::smcps(), "istio-system", "basic"),
                      {"status", "annotations", "readyComponentCount"}),
            "3/3");
}

}  // namespace
}  // namespace knit::mesh
