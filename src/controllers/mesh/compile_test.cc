#include "controllers/mesh/compile/compile.h"

#include "controllers/mesh/test_world.h"

namespace knit::mesh {
namespace {
namespace res = kube::res;
namespace pc = proxy_config;
using namespace std::chrono_literals;

class Compile : public ::testing::Test {
 protected:
  void SetUp() override {
    world.begin();
    world.apply_seed_mesh();
    ASSERT_TRUE(world.run_until_quiet());
  }
  MeshWorld world;
};

TEST_F(Compile, ServicePortsProtocolsAndBackends) {
  world.apply_ok(res::services(), R"({"apiVersion":"v1","kind":"Service",
    "metadata":{"name":"hello-00001","namespace":"default","labels":{
      "networking.internal.knative.dev/serviceType":"Public",
      "networking.internal.knative.dev/serverlessservice":"hello-00001"}},
    "spec":{"clusterIP":"172.30.0.9","clusterIPs":["172.30.0.9"],"ports":[
      {"name":"http","port":80,"targetPort":8012},{"name":"https","port":443,"targetPort":8112},
      {"name":"web","port":81,"targetPort":1}]}})");
  world.apply_ok(res::endpoints(), R"({"apiVersion":"v1","kind":"Endpoints",
    "metadata":{"name":"hello-00001","namespace":"default"},"subsets":[{
      "addresses":[{"ip":"10.128.0.5","targetRef":{"kind":"Pod","uid":"u1"}},{"ip":"10.128.0.6"}],
      "notReadyAddresses":[{"ip":"10.128.0.7"}],
      "ports":[{"name":"http","port":8012},{"name":"https","port":8112}]}]})");
  const auto s = world.config<pc::Service>(pc::Type::Service, "default/hello-00001");
  ASSERT_TRUE(s);
  EXPECT_EQ(s->cluster_ips, std::vector<std::string>{"172.30.0.9"});
  EXPECT_EQ(s->revision, "default/hello-00001");
  ASSERT_EQ(s->ports.size(), 3u);
  EXPECT_EQ(s->ports[0].protocol, pc::Protocol::Http);
  EXPECT_EQ(s->ports[1].protocol, pc::Protocol::Tls);
  EXPECT_EQ(s->ports[2].protocol, pc::Protocol::Tcp);
  ASSERT_EQ(s->ports[0].backends.size(), 2u);
  EXPECT_EQ(s->ports[0].backends[0].pod_uid, "u1");
  EXPECT_EQ(s->ports[0].backends[0].port, 8012);
  EXPECT_EQ(s->ports[1].backends[1].ip, "10.128.0.6");
  EXPECT_TRUE(s->ports[2].backends.empty());
  EXPECT_EQ(s->client_tls, pc::ClientTls::Auto);
}

TEST_F(Compile, ServiceWithSlicesHeadlessAndExternalName) {
  world.apply_ok(res::services(), R"({"apiVersion":"v1","kind":"Service",
    "metadata":{"name":"db","namespace":"default"},
    "spec":{"clusterIP":"None","ports":[{"port":5432}]}})");
  world.apply_ok(res::endpointslices(),
                 R"({"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice",
    "metadata":{"name":"db-x","namespace":"default","labels":{"kubernetes.io/service-name":"db"}},
    "ports":[{"name":"","port":5432}],"endpoints":[
      {"addresses":["10.128.0.5"],"conditions":{"ready":true}},
      {"addresses":["10.128.0.6"],"conditions":{"ready":false}}]})");
  const auto db = world.config<pc::Service>(pc::Type::Service, "default/db");
  ASSERT_TRUE(db);
  EXPECT_TRUE(db->headless);
  EXPECT_TRUE(db->cluster_ips.empty());
  EXPECT_EQ(db->dns_ips, std::vector<std::string>{"10.128.0.5"});
  world.apply_ok(res::services(), R"({"apiVersion":"v1","kind":"Service",
    "metadata":{"name":"hello","namespace":"default"},"spec":{"type":"ExternalName",
    "externalName":"knative-local-gateway.istio-system.svc.cluster.local"}})");
  EXPECT_EQ(world.config<pc::Service>(pc::Type::Service, "default/hello")->external_name,
            "knative-local-gateway.istio-system.svc.cluster.local");
  world.apply_ok(res::services(), R"({"apiVersion":"v1","kind":"Service",
    "metadata":{"name":"kubernetes","namespace":"default"},
    "spec":{"clusterIP":"172.30.0.1","ports":[{"name":"https","port":443}]}})");
  EXPECT_EQ(world.config<pc::Service>(pc::Type::Service, "default/kubernetes")->client_tls,
            pc::ClientTls::Disable);
}

TEST_F(Compile, Revision) {
  world.apply_ok(res::revisions(), R"({"apiVersion":"serving.knative.dev/v1","kind":"Revision",
    "metadata":{"name":"hello-00001","namespace":"default","labels":{
      "serving.knative.dev/service":"hello","serving.knative.dev/configuration":"hello"}},
    "spec":{"containerConcurrency":5,"timeoutSeconds":300,"responseStartTimeoutSeconds":10,
      "containers":[{"name":"side"},{"name":"user","ports":[{"name":"h2c","containerPort":9000}]}]}})");
  auto r = world.config<pc::Revision>(pc::Type::Revision, "default/hello-00001");
  ASSERT_TRUE(r);
  EXPECT_EQ(r->container_concurrency, 5u);
  EXPECT_EQ(r->timeout, 300s);
  EXPECT_EQ(r->response_start_timeout, 10s);
  EXPECT_EQ(r->user_port, 9000);
  EXPECT_TRUE(r->h2c);
  EXPECT_TRUE(r->proxy_mode);
  const std::string hash = r->sks_hash;
  world.apply_ok(res::sks(), R"({"apiVersion":"networking.internal.knative.dev/v1alpha1",
    "kind":"ServerlessService","metadata":{"name":"hello-00001","namespace":"default"},
    "spec":{"mode":"Serve"}})");
  world.apply_ok(res::pods(), R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"p",
    "namespace":"default","labels":{"serving.knative.dev/revision":"hello-00001"}},
    "spec":{"nodeName":"knit","containers":[{"name":"c","image":"x"}]}})");
  const std::string revision_uid = world.uid(res::revisions(), "default", "hello-00001");
  Json deployment =
      json::parse(R"({"apiVersion":"apps/v1","kind":"Deployment",
    "metadata":{"name":"hello-00001-deployment","namespace":"default"},"spec":{"replicas":0,
    "template":{"spec":{"containers":[{"name":"queue-proxy","image":"knit.local/role/queue-proxy",
    "env":[{"name":"SERVING_READINESS_PROBE","value":"{\"tcpSocket\":{}}"},
    {"name":"OBSERVABILITY_CONFIG","value":"{\"logging.enable-request-log\":\"true\",)"
                  R"(\"logging.request-log-template\":\"{{.Request.Method}}\"}"}]}]}}}})")
          .value();
  json::set(deployment, {"metadata", "ownerReferences"},
            JsonArray{JsonObject{{"apiVersion", "serving.knative.dev/v1"},
                                 {"kind", "Revision"},
                                 {"name", "hello-00001"},
                                 {"uid", revision_uid},
                                 {"controller", true}}});
  world.apply_ok(res::deployments(), deployment);
  r = world.config<pc::Revision>(pc::Type::Revision, "default/hello-00001");
  EXPECT_FALSE(r->proxy_mode) << json::print(world.view_of(res::sks(), "default", "hello-00001"));
  EXPECT_NE(r->sks_hash, hash);
  EXPECT_EQ(r->pods, std::vector<std::string>{world.uid(res::pods(), "default", "p")});
  EXPECT_EQ(r->readiness_probe_json, "{\"tcpSocket\":{}}");
  EXPECT_EQ(r->request_log_template, "{{.Request.Method}}");
}

// What requests to a revision at zero will meet.
TEST_F(Compile, TheNextPodOfARevision) {
  world.apply_ok(res::revisions(), R"({"apiVersion":"serving.knative.dev/v1","kind":"Revision",
    "metadata":{"name":"r","namespace":"default"},"spec":{"containers":[{"image":"x"}]}})");
  const auto next = [&] {
    return world.config<pc::Revision>(pc::Type::Revision, "default/r")->next_pod;
  };
  EXPECT_FALSE(next()) << "no Deployment";
  Json deployment = json::parse(R"({"apiVersion":"apps/v1","kind":"Deployment",
    "metadata":{"name":"r-deployment","namespace":"default"},"spec":{"replicas":0,"template":{
      "metadata":{"labels":{"app":"r"},"annotations":{"sidecar.istio.io/inject":"true"}},
      "spec":{"containers":[{"name":"c","image":"x"}]}}}})")
                        .value();
  json::set(deployment, {"metadata", "ownerReferences"},
            JsonArray{JsonObject{{"apiVersion", "serving.knative.dev/v1"},
                                 {"kind", "Revision"},
                                 {"name", "r"},
                                 {"uid", world.uid(res::revisions(), "default", "r")},
                                 {"controller", true}}});
  world.apply_ok(res::deployments(), deployment);
  ASSERT_TRUE(next());
  EXPECT_TRUE(next()->injected);
  EXPECT_EQ(next()->inbound, pc::MtlsMode::Strict);
  EXPECT_EQ(next()->labels.at("app"), "r");
  world.apply_ok(res::peerauthentications(), R"({"apiVersion":"security.istio.io/v1",
    "kind":"PeerAuthentication","metadata":{"name":"mine","namespace":"default"},
    "spec":{"mtls":{"mode":"PERMISSIVE"}}})");
  EXPECT_EQ(next()->inbound, pc::MtlsMode::Permissive) << "policies are followed without pods";
  json::set(deployment, {"spec", "template", "metadata", "annotations", "sidecar.istio.io/inject"},
            "false");
  world.apply_ok(res::deployments(), deployment);
  EXPECT_FALSE(next()->injected);
}

constexpr const char* kVirtualService = R"({"apiVersion":"networking.istio.io/v1",
  "kind":"VirtualService","metadata":{"name":"hello-ingress","namespace":"default",
    "labels":{"networking.internal.knative.dev/ingress":"hello"}},
  "spec":{"hosts":["Hello-default.apps.test","hello"],
    "gateways":["knative-serving/knative-ingress-gateway","own","mesh"],
    "http":[{"match":[{"gateways":["knative-serving/knative-ingress-gateway"],
       "authority":{"prefix":"hello-default.apps.test"},"uri":{"prefix":"/a"},
       "headers":{"K-Network-Hash":{"exact":"override"},"x":{}}}],
      "headers":{"request":{"set":{"K-Network-Hash":"h1"}}},"retries":{},
      "rewrite":{"authority":"other"},"timeout":"3s",
      "route":[{"destination":{"host":"hello-00001.default.svc.cluster.local","port":{"number":80}},
        "weight":90,"headers":{"request":{"set":{"Knative-Serving-Revision":"hello-00001"}}}},
       {"destination":{"host":"hello-00002","port":{"number":80}},"weight":10}]}]}})";

TEST_F(Compile, VirtualService) {  // spec mesh.md 3.2
  world.apply_ok(res::virtualservices(), kVirtualService);
  const auto r = world.config<pc::Routes>(pc::Type::Routes, "default/hello-ingress");
  ASSERT_TRUE(r);
  EXPECT_EQ(r->hosts, (std::vector<std::string>{"hello-default.apps.test",
                                                "hello.default.svc.cluster.local"}));
  EXPECT_EQ(r->gateways, (std::vector<std::string>{"knative-serving/knative-ingress-gateway",
                                                   "default/own", "mesh"}));
  EXPECT_EQ(r->mesh, "istio-system");
  ASSERT_EQ(r->routes.size(), 1u);
  const auto& route = r->routes[0];
  ASSERT_EQ(route.matches.size(), 1u);
  EXPECT_EQ(route.matches[0].authority_prefix, "hello-default.apps.test");
  EXPECT_EQ(route.matches[0].path_prefix, "/a");
  ASSERT_EQ(route.matches[0].headers.size(), 2u);
  EXPECT_EQ(route.matches[0].headers[0].name, "k-network-hash");
  EXPECT_EQ(route.matches[0].headers[0].kind, pc::HeaderMatch::Kind::Exact);
  EXPECT_EQ(route.matches[0].headers[1].kind, pc::HeaderMatch::Kind::Present);
  EXPECT_EQ(route.set_headers.at("K-Network-Hash"), "h1");
  EXPECT_EQ(route.rewrite_authority, "other");
  EXPECT_EQ(route.timeout, 3s);
  ASSERT_EQ(route.destinations.size(), 2u);
  EXPECT_EQ(route.destinations[0].service, "default/hello-00001");
  EXPECT_EQ(route.destinations[0].weight, 90u);
  EXPECT_EQ(route.destinations[0].set_headers.at("Knative-Serving-Revision"), "hello-00001");
  EXPECT_EQ(route.destinations[1].service, "default/hello-00002");
  // In a namespace without a mesh nobody reads it.
  world.make_namespace("outside");
  Json other = json::parse(kVirtualService).value();
  json::set(other, {"metadata", "namespace"}, "outside");
  world.apply_ok(res::virtualservices(), other);
  EXPECT_FALSE(world.config<pc::Routes>(pc::Type::Routes, "outside/hello-ingress"));
}

TEST_F(Compile, ProbeAsksForWhatIsRouted) {
  world.apply_ok(res::kingresses(),
                 R"({"apiVersion":"networking.internal.knative.dev/v1alpha1",
    "kind":"Ingress","metadata":{"name":"hello","namespace":"default"},"spec":{"rules":[
      {"hosts":["Hello-default.apps.test"],"visibility":"ExternalIP"},
      {"hosts":["hello.default","hello.default.svc.cluster.local"],"visibility":"ClusterLocal"},
      {"hosts":["lost.test"]}]}})");
  EXPECT_FALSE(world.config<pc::Probe>(pc::Type::Probe, "default/hello"));
  world.apply_ok(res::virtualservices(), R"({"apiVersion":"networking.istio.io/v1",
    "kind":"VirtualService","metadata":{"name":"hello-ingress","namespace":"default",
      "labels":{"networking.internal.knative.dev/ingress":"hello"}},
    "spec":{"gateways":["knative-serving/public","knative-serving/local"],"http":[
      {"match":[{"authority":{"prefix":"hello-default.apps.test"},
                 "gateways":["knative-serving/public"]}],
       "headers":{"request":{"set":{"K-Network-Hash":"h1"}}}},
      {"match":[{"authority":{"prefix":"hello.default"},"gateways":["knative-serving/local"]}],
       "headers":{"request":{"set":{"K-Network-Hash":"h1"}}}}]}})");
  world.apply_ok(res::virtualservices(), R"({"apiVersion":"networking.istio.io/v1",
    "kind":"VirtualService","metadata":{"name":"hello-mesh","namespace":"default",
      "labels":{"networking.internal.knative.dev/ingress":"hello"}},
    "spec":{"gateways":["mesh"],"http":[{"match":[{"authority":{"prefix":"hello.default"}}],
       "headers":{"request":{"set":{"K-Network-Hash":"h1"}}}}]}})");
  const auto probe = world.config<pc::Probe>(pc::Type::Probe, "default/hello");
  ASSERT_TRUE(probe);
  EXPECT_EQ(probe->hash, "h1");
  std::string got;
  for (const auto& t : probe->targets) {
    got += t.host + (t.external ? " via router " : " ") + t.gateway + "; ";
  }
  EXPECT_EQ(got,
            "hello-default.apps.test via router knative-serving/public; "
            "hello.default knative-serving/local; hello.default mesh; "
            "hello.default.svc.cluster.local knative-serving/local; "
            "hello.default.svc.cluster.local mesh; lost.test via router ; ");
}

TEST_F(Compile, EdgeRouteTable) {  // spec mesh.md 4
  const struct {
    const char* name;
    const char* spec;
    std::uint16_t port;
    pc::EdgeRoute::Termination termination;
    pc::EdgeRoute::Insecure insecure;
  } rows[] = {
      {"passthrough to https", R"("port":{"targetPort":"https"},"tls":{"termination":"passthrough",
        "insecureEdgeTerminationPolicy":"Redirect"})",
       443, pc::EdgeRoute::Termination::Passthrough, pc::EdgeRoute::Insecure::Redirect},
      {"edge to http2", R"("port":{"targetPort":"http2"},"tls":{"termination":"edge",
        "insecureEdgeTerminationPolicy":"Allow"})",
       80, pc::EdgeRoute::Termination::Edge, pc::EdgeRoute::Insecure::Allow},
      {"by endpoint port number",
       R"("port":{"targetPort":8443},"tls":{"termination":"passthrough"})", 443,
       pc::EdgeRoute::Termination::Passthrough, pc::EdgeRoute::Insecure::None},
      {"a port that is not there", R"("port":{"targetPort":"grpc"})", 0,
       pc::EdgeRoute::Termination::None, pc::EdgeRoute::Insecure::Allow},
      {"no port: the first", R"("wildcardPolicy":"None")", 15021, pc::EdgeRoute::Termination::None,
       pc::EdgeRoute::Insecure::Allow},
  };
  int n = 0;
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const std::string name = "r" + std::to_string(n++);
    const std::string text = R"({"apiVersion":"route.openshift.io/v1","kind":"Route","metadata":{
      "name":")" + name + R"(","namespace":"istio-system",
      "annotations":{"haproxy.router.openshift.io/timeout":"600s"}},
      "spec":{"host":"Hello.apps.test","to":{"kind":"Service","name":"istio-ingressgateway"},)" +
                             row.spec + "}}";
    world.apply_ok(res::oroutes(), text.c_str());
    EXPECT_FALSE(world.config<pc::EdgeRoute>(pc::Type::EdgeRoute, "istio-system/" + name));
    ASSERT_TRUE(world.backend.status(
        key_of(res::oroutes(), "istio-system", name),
        json::parse(R"({"ingress":[{"conditions":[{"type":"Admitted","status":"True"}]}]})")
            .value()));
    world.run(1s);
    const auto r = world.config<pc::EdgeRoute>(pc::Type::EdgeRoute, "istio-system/" + name);
    ASSERT_TRUE(r);
    EXPECT_EQ(r->host, "hello.apps.test");
    EXPECT_EQ(r->port, row.port);
    EXPECT_EQ(r->termination, row.termination);
    EXPECT_EQ(r->insecure, row.insecure);
    EXPECT_EQ(r->service, "istio-system/istio-ingressgateway");
    EXPECT_EQ(r->timeout, 600s);
  }
}

TEST_F(Compile, RoleTable) {
  const struct {
    const char* images;
    pc::Role want;
  } rows[] = {
      {R"([{"image":"docker.io/x"}])", pc::Role::App},
      {R"([{"image":"knit.local/hello"},{"image":"knit.local/role/queue-proxy"}])", pc::Role::App},
      {R"([{"image":"knit.local/role/activator"},{"image":"knit.local/role/istio-proxy"}])",
       pc::Role::Activator},
      {R"([{"image":"knit.local/role/istio-proxy"},{"image":"knit.local/role/autoscaler:v1"}])",
       pc::Role::Autoscaler},
      {R"([{"image":"knit.local/role/net-istio-controller"}])", pc::Role::Controller},
      {R"([{"image":"knit.local/role/net-istio-webhook"}])", pc::Role::Webhook},
      {R"([{"image":"knit.local/role/istio-ingressgateway"}])", pc::Role::IngressGateway},
      {R"([{"image":"knit.local/role/router"}])", pc::Role::Router},
      {R"([{"image":"knit.local/role/imc-dispatcher"},{"image":"knit.local/role/istio-proxy"}])",
       pc::Role::Events},
      {R"([{"image":"knit.local/role/imc-controller"}])", pc::Role::Controller},
      {R"([{"image":"knit.local/role/domain-mapping"}])", pc::Role::Other},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(
        role_of(JsonObject{{"spec", JsonObject{{"containers", json::parse(row.images).value()}}}}),
        row.want)
        << row.images;
  }
}

// Whatever happens, the config kept by deltas is the config of a fresh start; and a delta holds
// only what differs. 200 random edits of a world, from a fixed seed.
TEST_F(Compile, DeltasKeepUpWithAFreshStart) {
  const auto random = seeded_random(7);
  const std::vector<std::string> spaces{"default", "knative-serving", "istio-system", "other"};
  world.make_namespace("other");
  const auto pick = [&](std::size_t n) { return random->below(n); };
  const auto apply = [&](kube::Resource resource, const std::string& text) {
    static_cast<void>(world.backend.apply(resource, std::string_view(text)));
  };
  for (int step = 0; step < 200; ++step) {
    const std::string ns = spaces[pick(spaces.size())];
    const std::string n = std::to_string(pick(3));
    const std::string meta = R"("metadata":{"namespace":")" + ns + R"(","name":"n)" + n + "\"";
    switch (pick(14)) {
      case 0:
        apply(res::pods(),
              R"({"apiVersion":"v1","kind":"Pod",)" + meta +
                  R"(,"labels":{"serving.knative.dev/revision":"n0"}},"spec":{"nodeName":"knit",
              "serviceAccountName":"sa)" +
                  n + R"(","containers":[{"name":"istio-proxy",
              "image":"knit.local/role/istio-proxy"},{"name":"c","image":"x"}]}})");
        break;
      case 1:
        static_cast<void>(world.backend.remove(key_of(res::pods(), ns, "n" + n), 0));
        break;
      case 2:
        apply(
            res::gateways(),
            R"({"apiVersion":"networking.istio.io/v1","kind":"Gateway",)" + meta +
                R"(},"spec":{"selector":{"istio":"ingressgateway"},"servers":[{"port":{"number":)" +
                std::to_string(80 + pick(3)) + R"(,"name":"h","protocol":"HTTP"},"hosts":["h)" + n +
                R"("]}]}})");
        break;
      case 3:
        static_cast<void>(world.backend.remove(key_of(res::gateways(), ns, "n" + n)));
        break;
      case 4:
        apply(res::smmrs(),
              R"({"apiVersion":"maistra.io/v1","kind":"ServiceMeshMemberRoll",
              "metadata":{"name":"default","namespace":"istio-system"},"spec":{"members":[)" +
                  std::string(pick(2) == 0 ? R"("default")"
                                           : R"("default","knative-serving","other")") +
                  "]}}");
        break;
      case 5:
        apply(res::services(),
              R"({"apiVersion":"v1","kind":"Service",)" + meta +
                  R"(},"spec":{"clusterIP":"172.30.1.1","selector":{"istio":"ingressgateway"},
              "ports":[{"name":"http","port":)" +
                  std::to_string(80 + pick(3)) + R"(,"targetPort":)" +
                  std::to_string(9000 + pick(3)) + "}]}}");
        break;
      case 6:
        static_cast<void>(world.backend.remove(key_of(res::services(), ns, "n" + n)));
        break;
      case 7:
        apply(res::endpoints(), R"({"apiVersion":"v1","kind":"Endpoints",)" + meta +
                                    R"(},"subsets":[{"addresses":[{"ip":"10.0.0.)" +
                                    std::to_string(pick(9)) +
                                    R"("}],"ports":[{"name":"http","port":1}]}]})");
        break;
      case 8:
        apply(res::virtualservices(), R"({"apiVersion":"networking.istio.io/v1",
              "kind":"VirtualService",)" + meta +
                                          R"(,"labels":{
              "networking.internal.knative.dev/ingress":"n1"}},"spec":{"hosts":["a"],"http":[{
              "headers":{"request":{"set":{"K-Network-Hash":")" +
                                          n + R"("}}}}]}})");
        break;
      case 9:
        apply(res::kingresses(), R"({"apiVersion":"networking.internal.knative.dev/v1alpha1",
              "kind":"Ingress",)" + meta +
                                     R"(},"spec":{"rules":[{"hosts":["a"]}]}})");
        break;
      case 10:
        apply(res::smcps(), R"({"apiVersion":"maistra.io/v2","kind":"ServiceMeshControlPlane",
              "metadata":{"name":"basic","namespace":"istio-system"},"spec":{"security":{
              "trust":{"domain":"td)" +
                                std::to_string(pick(2)) + R"("},"dataPlane":{"mtls":)" +
                                (pick(2) == 0 ? "true" : "false") + "}}}}");
        break;
      case 11:
        apply(res::peerauthentications(), R"({"apiVersion":"security.istio.io/v1",
              "kind":"PeerAuthentication",)" + meta +
                                              R"(},"spec":{"mtls":{"mode":")" +
                                              (pick(2) == 0 ? "STRICT" : "PERMISSIVE") + R"("}}})");
        break;
      case 12:
        static_cast<void>(world.backend.remove(key_of(res::peerauthentications(), ns, "n" + n)));
        break;
      default:
        apply(res::revisions(), R"({"apiVersion":"serving.knative.dev/v1","kind":"Revision",)" +
                                    meta + R"(},"spec":{"containerConcurrency":)" + n + "}}");
    }
    if (pick(3) == 0) world.run(1s);
    if (step % 20 != 19) continue;
    ASSERT_TRUE(world.run_until_quiet());
    Compiler fresh(world.settings, nullptr);
    fresh.start(*world.backend.snapshot());
    std::vector<std::string> differing;
    for (const auto& [ref, resource] : fresh.current()) {
      const auto it = world.compiler->current().find(ref);
      if (it == world.compiler->current().end() || it->second != resource) {
        differing.push_back(std::string(pc::to_string(ref.type)) + " " + ref.name);
      }
    }
    for (const auto& [ref, resource] : world.compiler->current()) {
      if (!fresh.current().contains(ref)) {
        differing.push_back("stale " + std::string(pc::to_string(ref.type)) + " " + ref.name);
      }
    }
    ASSERT_EQ(differing, std::vector<std::string>()) << "step " << step;
    EXPECT_EQ(world.pending(), std::vector<std::string>()) << "step " << step;
  }
  // The deltas say the same as current().
  std::map<pc::Ref, pc::Resource> replayed;
  for (const auto& delta : world.deltas) {
    for (const auto& ref : delta.removed) EXPECT_EQ(replayed.erase(ref), 1u);
    for (const auto& r : delta.set) {
      auto& slot = replayed[{r.type, r.name}];
      EXPECT_NE(slot.hash, r.hash);
      slot = r;
    }
  }
  EXPECT_EQ(replayed, world.compiler->current());
}

TEST_F(Compile, AStatusChangeOfAControlPlaneCompilesNothing) {
  world.deltas.clear();
  ASSERT_TRUE(world.backend.status(key_of(res::smcps(), "istio-system", "basic"),
                                   json::parse(R"({"x":1})").value()));
  const auto snapshot = world.backend.snapshot();
  const auto object = snapshot->get(key_of(res::smcps(), "istio-system", "basic"));
  EXPECT_TRUE(affected(object, object, *snapshot, world.settings).empty());
}

}  // namespace
}  // namespace knit::mesh
