// The seed's mesh files, applied to a simulated world: what proxies get. (spec mesh.md 1.1-1.3)
#include "controllers/mesh/admission.h"
#include "controllers/mesh/gateway_status.h"
#include "controllers/mesh/identity.h"
#include "controllers/mesh/test_world.h"
#include "pki/secrets.h"
#include "pki/vault.h"

namespace knit::mesh {
namespace {
namespace res = kube::res;
namespace pc = proxy_config;
using namespace std::chrono_literals;

constexpr const char* kInjectedPod = R"({"apiVersion":"v1","kind":"Pod",
  "metadata":{"name":"hello-1","namespace":"default","uid":"",
    "labels":{"app":"hello-00001","serving.knative.dev/revision":"hello-00001",
              "service.istio.io/canonical-name":"hello"},
    "annotations":{"sidecar.istio.io/inject":"true"}},
  "spec":{"nodeName":"knit","containers":[
    {"name":"user-container","image":"knit.local/hello"},
    {"name":"queue-proxy","image":"knit.local/role/queue-proxy"},
    {"name":"istio-proxy","image":"knit.local/role/istio-proxy"}]}})";

class Seed : public ::testing::Test {
 protected:
  void SetUp() override {
    world.begin();
    world.apply_seed_mesh();
    ASSERT_TRUE(world.run_until_quiet());
    gateway_uid = world.uid(res::pods(), "istio-system", "istio-ingressgateway-0");
    ASSERT_FALSE(gateway_uid.empty());
  }
  void secret(Duration age = {}) {
    const WallTime now = world.loop.wall_now();
    const auto ca =
        pki::Authority::load(
            pki::Authority::create({"Apps", "apps.openshift.example.com"}, now - age).value())
            .value();
    const auto credential =
        pki::wildcard_certificate(*ca, "apps.openshift.example.com", now - age).value();
    Json object = pki::tls_secret("istio-system", "wildcard-certs", credential);
    world.apply_ok(res::secrets(), object);
    ASSERT_TRUE(world.run_until_quiet());
  }
  std::string gateway_condition(const char* name = "knative-ingress-gateway") {
    return world.condition(res::gateways(), "knative-serving", name, "Programmed");
  }
  MeshWorld world;
  std::string gateway_uid;
};

TEST_F(Seed, GatewaysListenOn8443And8081) {
  const auto public_port = world.config<pc::Gateway>(pc::Type::Gateway, gateway_uid + ":8443");
  ASSERT_TRUE(public_port);
  ASSERT_EQ(public_port->servers.size(), 1u);
  EXPECT_EQ(public_port->servers[0].gateway, "knative-serving/knative-ingress-gateway");
  EXPECT_EQ(public_port->servers[0].tls, pc::TlsMode::Simple);
  EXPECT_EQ(public_port->servers[0].certificate, "istio-system/wildcard-certs");
  EXPECT_EQ(public_port->servers[0].sni, std::vector<std::string>{"*"});
  const auto local_port = world.config<pc::Gateway>(pc::Type::Gateway, gateway_uid + ":8081");
  ASSERT_TRUE(local_port);
  EXPECT_EQ(local_port->servers[0].tls, pc::TlsMode::IstioMutual);
  EXPECT_EQ(local_port->mesh, "istio-system");
}

TEST_F(Seed, TheMeshIsWhatTheControlPlaneSays) {
  const auto mesh = world.config<pc::Mesh>(pc::Type::Mesh, "istio-system");
  ASSERT_TRUE(mesh);
  EXPECT_EQ(mesh->drain, 35s);
  EXPECT_TRUE(mesh->force_mtls_to_cluster);
  EXPECT_FALSE(mesh->sniff_inbound);
  const auto bundle = world.config<pc::TrustBundle>(pc::Type::TrustBundle, "istio-system");
  ASSERT_TRUE(bundle);
  EXPECT_EQ(bundle->roots_pem, "root of istio-system");
  const auto gateway = world.config<pc::Workload>(pc::Type::Workload, gateway_uid);
  ASSERT_TRUE(gateway);
  EXPECT_EQ(gateway->role, pc::Role::IngressGateway);
  const std::string id =
      "spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway-service-account";
  EXPECT_EQ(gateway->spiffe_id, id);
  EXPECT_TRUE(world.config<pc::Identity>(pc::Type::Identity, id));
  const auto settings = world.config<pc::Settings>(pc::Type::Settings, "node");
  ASSERT_TRUE(settings);
  EXPECT_EQ(settings->apps_domain, "apps.openshift.example.com");
}

TEST_F(Seed, AnInjectedPodIsStrictWithExcludedPorts) {
  world.apply_ok(res::pods(), kInjectedPod);
  const std::string uid = world.uid(res::pods(), "default", "hello-1");
  auto pod = world.config<pc::Workload>(pc::Type::Workload, uid);
  ASSERT_TRUE(pod);
  EXPECT_TRUE(pod->injected);
  EXPECT_EQ(pod->inbound, pc::MtlsMode::Strict);
  EXPECT_EQ(pod->excluded_inbound_ports, (std::vector<std::uint16_t>{8022, 8444}));
  EXPECT_EQ(pod->spiffe_id, "spiffe://cluster.local/ns/default/sa/default");
  EXPECT_EQ(pod->revision, "default/hello-00001");
  EXPECT_EQ(pod->role, pc::Role::App);
  EXPECT_TRUE(pod->ready);
  EXPECT_FALSE(pod->ip.empty());
  // Without mtls: true plaintext works: the switch is real.
  ASSERT_TRUE(world.backend.merge(key_of(res::smcps(), "istio-system", "basic"),
                                  R"({"spec":{"security":{"dataPlane":{"mtls":null}}}})"));
  ASSERT_TRUE(world.run_until_quiet());
  EXPECT_EQ(world.config<pc::Workload>(pc::Type::Workload, uid)->inbound, pc::MtlsMode::Permissive);
  EXPECT_FALSE(world.config<pc::Mesh>(pc::Type::Mesh, "istio-system")->force_mtls_to_cluster);
  // Out of the roll: no identity, no policy.
  ASSERT_TRUE(world.backend.merge(key_of(res::smmrs(), "istio-system", "default"),
                                  R"({"spec":{"members":["knative-serving"]}})"));
  ASSERT_TRUE(world.run_until_quiet());
  pod = world.config<pc::Workload>(pc::Type::Workload, uid);
  EXPECT_FALSE(pod->injected);
  EXPECT_EQ(pod->mesh, "");
  EXPECT_FALSE(world.config<pc::Identity>(pc::Type::Identity,
                                          "spiffe://cluster.local/ns/default/sa/default"));
}

TEST_F(Seed, UsersPeerAuthenticationsCount) {
  world.apply_ok(res::pods(), kInjectedPod);
  const std::string uid = world.uid(res::pods(), "default", "hello-1");
  world.apply_ok(res::peerauthentications(), R"({"apiVersion":"security.istio.io/v1",
    "kind":"PeerAuthentication","metadata":{"name":"default","namespace":"default"},
    "spec":{"mtls":{"mode":"PERMISSIVE"}}})");
  EXPECT_EQ(world.config<pc::Workload>(pc::Type::Workload, uid)->inbound, pc::MtlsMode::Permissive);
  ASSERT_TRUE(world.backend.remove(key_of(res::peerauthentications(), "default", "default")));
  world.run(1s);
  EXPECT_EQ(world.config<pc::Workload>(pc::Type::Workload, uid)->inbound, pc::MtlsMode::Strict);
}

TEST_F(Seed, TheWildcardSecretIsLoadedAndReloaded) {  // rule GW-06
  EXPECT_EQ(gateway_condition(), "False SecretMissing");
  EXPECT_FALSE(world.config<pc::Certificate>(pc::Type::Certificate, "istio-system/wildcard-certs"));
  secret();
  EXPECT_EQ(gateway_condition(), "True Programmed");
  const auto first =
      world.config<pc::Certificate>(pc::Type::Certificate, "istio-system/wildcard-certs");
  ASSERT_TRUE(first);
  secret();
  const auto second =
      world.config<pc::Certificate>(pc::Type::Certificate, "istio-system/wildcard-certs");
  ASSERT_TRUE(second);
  EXPECT_NE(first->chain_pem, second->chain_pem);
  // Another Secret of the namespace is nobody's business.
  world.apply_ok(res::secrets(),
                 pki::tls_secret("istio-system", "other", {first->chain_pem, first->key_pem}));
  EXPECT_FALSE(world.config<pc::Certificate>(pc::Type::Certificate, "istio-system/other"));
  ASSERT_TRUE(world.backend.merge(key_of(res::secrets(), "istio-system", "wildcard-certs"),
                                  R"({"data":{"tls.key":"eA=="}})"));
  ASSERT_TRUE(world.run_until_quiet());
  EXPECT_EQ(gateway_condition(), "False SecretInvalid");
}

TEST_F(Seed, AnExpiredCertificateIsSeenWhenItHappens) {
  secret(24h * 89);
  EXPECT_EQ(gateway_condition(), "True Programmed");
  world.run(25h);
  EXPECT_EQ(gateway_condition(), "False SecretExpired");
}

TEST_F(Seed, WhatIsTakenAwayIsNamedInTheCondition) {  // spec mesh.md 1.9
  secret();
  ASSERT_EQ(gateway_condition(), "True Programmed");
  // GW-03, CP-04: without the gateway's label nothing listens.
  ASSERT_TRUE(world.backend.merge(key_of(res::smcps(), "istio-system", "basic"),
                                  R"({"spec":{"gateways":null}})"));
  ASSERT_TRUE(world.run_until_quiet());
  EXPECT_EQ(gateway_condition(), "False NoMatchingPods");
  EXPECT_EQ(world.gateways_in_config(), 0);
  ASSERT_TRUE(world.backend.merge(
      key_of(res::smcps(), "istio-system", "basic"),
      R"({"spec":{"gateways":{"ingress":{"service":{"metadata":{"labels":{"knative":"ingressgateway"}}}}}}})"));
  ASSERT_TRUE(world.run_until_quiet());
  EXPECT_EQ(gateway_condition(), "True Programmed");
  EXPECT_EQ(world.gateways_in_config(), 2);
  // MR-02: knative-serving is no member, so no control plane reads its Gateways.
  ASSERT_TRUE(world.backend.merge(key_of(res::smmrs(), "istio-system", "default"),
                                  R"({"spec":{"members":["default"]}})"));
  ASSERT_TRUE(world.run_until_quiet());
  EXPECT_EQ(gateway_condition(), "False NotInMesh");
  EXPECT_EQ(world.gateways_in_config(), 0);
}

TEST_F(Seed, ALaterGatewayOn443IsDroppedWithItsReason) {  // rule GW-01
  secret();
  world.run(2s);
  world.apply_ok(res::gateways(), R"({"apiVersion":"networking.istio.io/v1","kind":"Gateway",
    "metadata":{"name":"mine","namespace":"default"},"spec":{"selector":{"istio":"ingressgateway"},
    "servers":[{"port":{"number":443,"name":"https","protocol":"HTTPS"},"hosts":["*"],
    "tls":{"mode":"SIMPLE","credentialName":"wildcard-certs"}}]}})");
  EXPECT_EQ(world.condition(res::gateways(), "default", "mine", "Programmed"),
            "False ServerDropped");
  EXPECT_EQ(gateway_condition(), "True Programmed");
  EXPECT_EQ(world.config<pc::Gateway>(pc::Type::Gateway, gateway_uid + ":8443")->servers.size(),
            1u);
  // Whoever applies one is told at once.
  const Json another = *json::parse(R"({"apiVersion":"networking.istio.io/v1","kind":"Gateway",
    "metadata":{"name":"another","namespace":"default"},"spec":{"selector":
    {"istio":"ingressgateway"},"servers":[{"port":{"number":443,"name":"https","protocol":"HTTPS"},
    "hosts":["*"],"tls":{"mode":"SIMPLE","credentialName":"wildcard-certs"}}]}})");
  const auto admitted = admit_mesh_object(
      *world.backend.snapshot(), key_of(res::gateways(), "default", "another"), another, nullptr);
  EXPECT_TRUE(admitted.errors.empty());
  ASSERT_EQ(admitted.warnings.size(), 1u);
  EXPECT_EQ(admitted.warnings[0],
            "server 0 of Gateway default/another on port 443 (8443 on the pod) is left out: host * "
            "is claimed by the older Gateway knative-serving/knative-ingress-gateway");
}

TEST_F(Seed, WithoutTheLabelTheLocalGatewayMayTake80) {  // rule GW-09
  world.apply_ok(res::gateways(), R"({"apiVersion":"networking.istio.io/v1","kind":"Gateway",
    "metadata":{"name":"plain","namespace":"default"},"spec":{"selector":{"istio":"ingressgateway"},
    "servers":[{"port":{"number":80,"name":"http","protocol":"HTTP"},"hosts":["*"]}]}})");
  EXPECT_TRUE(world.config<pc::Gateway>(pc::Type::Gateway, gateway_uid + ":8080"));
  // The gateway's own Service is made again, so that the local one is the older.
  ASSERT_TRUE(world.backend.merge(
      key_of(res::services(), "istio-system", "knative-local-gateway"),
      R"({"metadata":{"labels":{"experimental.istio.io/disable-gateway-port-translation":null}}})"));
  world.run(2s);
  ASSERT_TRUE(
      world.backend.remove(key_of(res::services(), "istio-system", "istio-ingressgateway")));
  ASSERT_TRUE(world.run_until_quiet());
  EXPECT_FALSE(world.config<pc::Gateway>(pc::Type::Gateway, gateway_uid + ":8080"));
  // 8081 speaks TLS already: the plaintext server is left out, and says so.
  EXPECT_EQ(world.condition(res::gateways(), "default", "plain", "Programmed"),
            "False ServerDropped");
}

TEST_F(Seed, IdentityIsOnlyForPodsOfTheNode) {
  world.apply_ok(res::pods(), kInjectedPod);
  const auto snapshot = world.backend.snapshot();
  const std::string good = "spiffe://cluster.local/ns/default/sa/default";
  const struct {
    const char *node, *identity, *message;
  } rows[] = {
      {"knit", "spiffe://cluster.local/ns/default/sa/default", ""},
      {"other", "spiffe://cluster.local/ns/default/sa/default", "no injected pod of node other"},
      {"knit", "spiffe://cluster.local/ns/default/sa/admin", "no injected pod"},
      {"knit", "spiffe://evil/ns/default/sa/default", "trust domain"},
      {"knit", "spiffe://cluster.local/ns/kube-system/sa/default", "in no mesh"},
      {"knit", "https://x", "not a SPIFFE id"},
  };
  for (const auto& row : rows) {
    const auto r = allowed_identity(*snapshot, row.node, row.identity);
    EXPECT_EQ(r.has_value(), *row.message == '\0') << row.identity;
    if (!r) {
      EXPECT_EQ(r.error().code(), Code::PermissionDenied);
      EXPECT_NE(r.error().message().find(row.message), std::string::npos) << r.error().message();
    }
  }
  const WallTime now = world.loop.wall_now();
  const auto ca = pki::Authority::load(pki::Authority::create({"Mesh", ""}, now).value()).value();
  const auto authority =
      [&](const std::string& mesh) -> Result<std::shared_ptr<const pki::Authority>> {
    EXPECT_EQ(mesh, "istio-system");
    return ca;
  };
  const std::string csr = pki::make_csr(pki::new_key()).value();
  const auto chain = answer_csr(*snapshot, "knit", good, csr, authority, now);
  ASSERT_TRUE(chain);
  EXPECT_EQ(pki::to_string(pki::PeerVerifier::create(ca->root_pem(), {"cluster.local"})
                               .value()
                               ->verify(*chain, pki::PeerRole::Client, now)
                               .value()),
            good);
  EXPECT_FALSE(answer_csr(*snapshot, "other", good, csr, authority, now));
}

TEST(SeedOrder, DoesNotMatter) {
  // Orders of the five objects, every sixth of the 120, end in the same config.
  const auto gateways = MeshWorld::seed("istio-knative-gateways.yaml");
  const std::pair<kube::Resource, Json> objects[] = {
      {res::smcps(), MeshWorld::seed("smcp.yaml")[0]},
      {res::smmrs(), MeshWorld::seed("servicemesh-member-roll.yaml")[0]},
      {res::gateways(), gateways[0]},
      {res::gateways(), gateways[1]},
      {res::services(), gateways[2]},
  };
  std::vector<int> order{0, 1, 2, 3, 4};
  int number = 0;
  do {
    if (number++ % 6 != 0) continue;
    MeshWorld world;
    world.begin();
    for (const int i : order) {
      const auto r = world.apply(objects[i].first, objects[i].second);
      ASSERT_TRUE(r) << r.error().message();
    }
    ASSERT_TRUE(world.run_until_quiet());
    EXPECT_EQ(world.condition(res::smmrs(), "istio-system", "default", "Ready"), "True Configured");
    EXPECT_EQ(world.gateways_in_config(), 2);
    EXPECT_EQ(world.pending(), std::vector<std::string>());
  } while (std::next_permutation(order.begin(), order.end()));
}

}  // namespace
}  // namespace knit::mesh
