// What planners write, as tables: Deployments, traffic, VirtualServices.
#include <gtest/gtest.h>

#include "base/hash.h"
#include "controllers/serving/revision/deployment.h"
#include "controllers/serving/revision/queue_proxy.h"
#include "controllers/serving/route/traffic.h"
#include "controllers/serving/test_world.h"

namespace knit::serving {
namespace {

Json revision(std::string_view container = R"({"name":"user-container","image":"r.test/i:1"})") {
  return *json::parse(R"({"apiVersion":"serving.knative.dev/v1","kind":"Revision","metadata":{
      "name":"hello-00001","namespace":"default","uid":"u1",
      "labels":{"serving.knative.dev/service":"hello","serving.knative.dev/configuration":"hello",
                "serving.knative.dev/routingState":"active"},
      "annotations":{"sidecar.istio.io/inject":"true","autoscaling.knative.dev/min-scale":"1",
                     "autoscaling.knative.dev/initial-scale":"3",
                     "serving.knative.dev/routes":"hello"}},
      "spec":{"timeoutSeconds":45,"containerConcurrency":7,"containers":[)" +
                      std::string(container) + "]}}");
}

// serving.md 2.3
TEST(Deployment, Shape) {
  const Json d = make_deployment(revision(), ServingConfig{});
  EXPECT_EQ(name_of(d), "hello-00001-deployment");
  EXPECT_EQ(json::i64(d, {"spec", "replicas"}), 3);
  EXPECT_EQ(json::i64(d, {"spec", "progressDeadlineSeconds"}), 600);
  EXPECT_EQ(json::i64(d, {"spec", "revisionHistoryLimit"}, -1), 0);
  EXPECT_EQ(json::canonical(*json::find(d, {"spec", "selector"})),
            R"({"matchLabels":{"serving.knative.dev/revisionUID":"u1"}})");
  EXPECT_EQ(json::str(d, {"metadata", "labels", "app"}), "hello-00001");
  EXPECT_EQ(json::find(d, {"spec", "template", "metadata", "labels", label::kRoutingState}),
            nullptr);
  const auto& annotations = json::object(d, {"spec", "template", "metadata", "annotations"});
  EXPECT_EQ(json::print(annotations),
            R"({"kubectl.kubernetes.io/default-container":"user-container",)"
            R"("sidecar.istio.io/inject":"true"})");
  EXPECT_EQ(json::i64(d, {"spec", "template", "spec", "terminationGracePeriodSeconds"}), 45);
  EXPECT_EQ(json::find(d, {"spec", "template", "spec", "containerConcurrency"}), nullptr);
  const auto& containers = json::array(d, {"spec", "template", "spec", "containers"});
  ASSERT_EQ(containers.size(), 2u);
  EXPECT_EQ(json::canonical(*json::find(containers[0], "lifecycle")),
            R"({"preStop":{"httpGet":{"path":"/wait-for-drain","port":8022}}})");
  EXPECT_EQ(json::print(*json::find(containers[0], "env")),
            R"([{"name":"PORT","value":"8080"},{"name":"K_REVISION","value":"hello-00001"},)"
            R"({"name":"K_CONFIGURATION","value":"hello"},{"name":"K_SERVICE","value":"hello"}])");
  EXPECT_EQ(json::str(containers[0], {"terminationMessagePolicy"}), "FallbackToLogsOnError");
  EXPECT_EQ(json::str(json::array(containers[0], {"ports"}).at(0), {"name"}), "user-port");
}

TEST(Deployment, QueueProxy) {
  const Json q = make_queue_proxy(revision(), ServingConfig{});
  EXPECT_EQ(json::str(q, {"image"}), "knit.local/role/queue-proxy");
  std::map<std::string, std::string> env;
  for (const auto& e : json::array(q, {"env"})) {
    env[std::string(json::str(e, {"name"}))] = json::str(e, {"value"});
  }
  EXPECT_EQ(env["CONTAINER_CONCURRENCY"], "7");
  EXPECT_EQ(env["REVISION_TIMEOUT_SECONDS"], "45");
  EXPECT_EQ(env["USER_PORT"], "8080");
  EXPECT_EQ(env["SERVING_REVISION"], "hello-00001");
  EXPECT_EQ(env["SERVING_READINESS_PROBE"],
            R"({"tcpSocket":{"port":8080,"host":"127.0.0.1"},"successThreshold":1})");
  EXPECT_EQ(json::i64(q, {"readinessProbe", "httpGet", "port"}), 8012);
  EXPECT_EQ(json::i64(q, {"readinessProbe", "periodSeconds"}), 1);  // aggressive probing
  EXPECT_EQ(json::str(q, {"resources", "requests", "cpu"}), "25m");
  EXPECT_EQ(json::find(q, {"resources", "limits"}), nullptr);
  std::string ports;
  for (const auto& p : json::array(q, {"ports"})) {
    ports += std::string(json::str(p, {"name"})) + ":" +
             std::to_string(json::i64(p, {"containerPort"})) + " ";
  }
  EXPECT_EQ(ports,
            "http-queueadm:8022 http-autometric:9090 http-usermetric:9091 "
            "queue-port:8012 https-port:8112 ");
}

TEST(Deployment, Probes) {
  const struct {
    const char* name;
    const char* container;
    const char* probe;
    bool kept;  // on the container itself
  } rows[] = {
      {"http on the user's port",
       R"({"name":"c","image":"i","ports":[{"containerPort":9000,"name":"h2c"}],
           "readinessProbe":{"httpGet":{"path":"/ok"},"periodSeconds":5,"failureThreshold":3}})",
       R"({"httpGet":{"path":"/ok","port":9000,"host":"127.0.0.1","scheme":"HTTP"},)"
       R"("timeoutSeconds":1,"periodSeconds":5,"successThreshold":1,"failureThreshold":3})",
       false},
      {"http on another port",
       R"({"name":"c","image":"i","readinessProbe":{"httpGet":{"path":"/","port":81}}})",
       R"({"httpGet":{"path":"/","port":81,"host":"127.0.0.1","scheme":"HTTP"},)"
       R"("successThreshold":1})",
       false},
      {"grpc", R"({"name":"c","image":"i","readinessProbe":{"grpc":{"service":"s"}}})",
       R"({"grpc":{"port":8080,"service":"s"},"successThreshold":1})", false},
      {"exec stays with the container and becomes a connect here",
       R"({"name":"c","image":"i","readinessProbe":{"exec":{"command":["x"]}}})",
       R"({"tcpSocket":{"port":8080,"host":"127.0.0.1"},"successThreshold":1})", true},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const Json r = revision(row.container);
    EXPECT_EQ(readiness_probe_json(r), row.probe);
    const Json d = make_deployment(r, ServingConfig{});
    const auto& containers = json::array(d, {"spec", "template", "spec", "containers"});
    EXPECT_EQ(json::find(containers.at(0), "readinessProbe") != nullptr, row.kept);
  }
  EXPECT_EQ(json::i64(make_queue_proxy(revision(rows[0].container), ServingConfig{}),
                      {"readinessProbe", "httpGet", "port"}),
            8013);  // h2c
}

TEST(Deployment, LivenessIsAimedAtTheUserPort) {
  const Json d = make_deployment(
      revision(R"({"name":"c","image":"i","livenessProbe":{"httpGet":{"path":"/","port":0}}})"),
      ServingConfig{});
  EXPECT_EQ(json::i64(json::array(d, {"spec", "template", "spec", "containers"}).at(0),
                      {"livenessProbe", "httpGet", "port"}),
            8080);
}

TEST(Deployment, ManyContainers) {
  Json r = revision(R"({"name":"side","image":"s"},{"name":"main","image":"m",
                        "ports":[{"containerPort":81}]})");
  EXPECT_EQ(serving_container(r), 1u);
  EXPECT_EQ(user_port(r), 81);
  json::set(r, {"status", "containerStatuses"},
            *json::parse(R"([{"name":"side","imageDigest":"s@sha256:1"}])"));
  const Json d = make_deployment(r, ServingConfig{});
  const auto& containers = json::array(d, {"spec", "template", "spec", "containers"});
  ASSERT_EQ(containers.size(), 3u);
  EXPECT_EQ(json::str(containers[0], {"image"}), "s@sha256:1");
  EXPECT_EQ(json::str(json::array(containers[0], {"env"}).at(0), {"name"}), "K_REVISION");
  EXPECT_EQ(json::str(json::array(containers[1], {"env"}).at(0), {"name"}), "PORT");
  EXPECT_EQ(make_images(r).size(), 2u);
}

TEST(Deployment, Registry) {
  EXPECT_EQ(registry_of("hello"), "index.docker.io");
  EXPECT_EQ(registry_of("library/hello:1"), "index.docker.io");
  EXPECT_EQ(registry_of("knit.local/hello"), "knit.local");
  EXPECT_EQ(registry_of("localhost/x"), "localhost");
  EXPECT_EQ(registry_of("r.test:5000/a/b@sha256:1"), "r.test:5000");
}

TEST(Traffic, Templates) {
  const TemplateValues v{"hello", "default", "x.test", "old", {{"a/b", "1"}}, {{"sub", "s"}}};
  EXPECT_EQ(*render("{{.Name}}-{{ .Namespace }}.{{.Domain}}", v), "hello-default.x.test");
  EXPECT_EQ(*render("{{.Tag}}-{{.Name}}", v), "old-hello");
  EXPECT_EQ(*render("{{.Labels.sub}}.{{index .Annotations \"a/b\"}}", v), "s.1");
  EXPECT_FALSE(render("{{if .Name}}x{{end}}", v).has_value());
  EXPECT_FALSE(render("{{.Name", v).has_value());
}

TEST(Traffic, ExpandHosts) {
  EXPECT_EQ(expand_hosts({"a.b.svc.cluster.local", "x.test"}, "cluster.local"),
            (std::vector<std::string>{"a.b", "a.b.svc", "a.b.svc.cluster.local", "x.test"}));
}

Json kingress() {
  return *json::parse(R"({"metadata":{"name":"hello","namespace":"default",
    "labels":{"serving.knative.dev/route":"hello","serving.knative.dev/routeNamespace":"default",
              "serving.knative.dev/service":"hello"},
    "annotations":{"networking.knative.dev/ingress.class":"c"}},
    "spec":{"httpOption":"Enabled","rules":[
     {"visibility":"ClusterLocal","hosts":["hello.default","hello.default.svc",
        "hello.default.svc.cluster.local"],"http":{"paths":[{"splits":[
          {"appendHeaders":{"Knative-Serving-Revision":"r1","Knative-Serving-Namespace":"default"},
           "percent":100,"serviceName":"r1","serviceNamespace":"default","servicePort":80}]}]}},
     {"visibility":"ExternalIP","hosts":["hello-default.x.test"],"http":{"paths":[{"splits":[
          {"percent":100,"serviceName":"r1","serviceNamespace":"default","servicePort":80}]}]}}]}})");
}

// serving.md 1.7, mesh.md 3.2: the bytes that Go's encoding/json makes of the spec.
TEST(VirtualService, Hash) {
  const std::string want =
      R"({"httpOption":"Enabled","rules":[{"hosts":["hello.default","hello.default.svc",)"
      R"("hello.default.svc.cluster.local"],"visibility":"ClusterLocal","http":{"paths":[)"
      R"({"splits":[{"serviceNamespace":"default","serviceName":"r1","servicePort":80,)"
      R"("percent":100,"appendHeaders":{"Knative-Serving-Namespace":"default",)"
      R"("Knative-Serving-Revision":"r1"}}]}]}},{"hosts":["hello-default.x.test"],)"
      R"("visibility":"ExternalIP","http":{"paths":[{"splits":[{"serviceNamespace":"default",)"
      R"("serviceName":"r1","servicePort":80,"percent":100}]}]}}]})";
  EXPECT_EQ(go_ingress_json(ingress_spec(kingress())), want);
  EXPECT_EQ(ingress_hash(kingress()), hash::sha256_hex(want + "defaulthello"));
  // Defaults are part of the hash: a lone split without percent is one of 100.
  Json bare = kingress();
  json::find(bare, {"spec", "rules"})->get_array()[1].get_object().erase("visibility");
  EXPECT_EQ(ingress_hash(bare), ingress_hash(kingress()));
  EXPECT_EQ(go_ingress_json(*json::parse(R"({"rules":[{"hosts":["<&>"],"http":{"paths":[]}}]})")),
            R"({"rules":[{"hosts":["\u003c\u0026\u003e"],"http":{"paths":[]}}]})");
}

// mesh.md 3.1, 3.2
TEST(VirtualService, Shape) {
  const auto made = make_virtual_services(
      kingress(),
      {{"knative-serving/knative-ingress-gateway"}, {"knative-serving/knative-local-gateway"}},
      "cluster.local");
  ASSERT_EQ(made.size(), 2u);
  EXPECT_EQ(made[0].first, "hello-mesh");
  EXPECT_EQ(made[1].first, "hello-ingress");
  const Json& mesh = made[0].second;
  const Json& gateway = made[1].second;
  EXPECT_EQ(json::print(*json::find(mesh, {"spec", "hosts"})),
            R"(["hello.default","hello.default.svc","hello.default.svc.cluster.local"])");
  EXPECT_EQ(json::print(*json::find(mesh, {"spec", "gateways"})), R"(["mesh"])");
  EXPECT_EQ(json::print(*json::find(gateway, {"spec", "hosts"})),
            R"(["hello-default.x.test","hello.default","hello.default.svc",)"
            R"("hello.default.svc.cluster.local"])");
  EXPECT_EQ(json::print(*json::find(gateway, {"spec", "gateways"})),
            R"(["knative-serving/knative-ingress-gateway",)"
            R"("knative-serving/knative-local-gateway"])");
  EXPECT_EQ(
      json::canonical(*json::find(gateway, {"metadata", "labels"})),
      R"({"networking.internal.knative.dev/ingress":"hello",)"
      R"("serving.knative.dev/route":"hello","serving.knative.dev/routeNamespace":"default"})");
  const auto& http = json::array(gateway, {"spec", "http"});
  ASSERT_EQ(http.size(), 4u);  // probe and route of each rule
  EXPECT_EQ(json::canonical(http[0]),
            R"({"headers":{"request":{"set":{"K-Network-Hash":")" + ingress_hash(kingress()) +
                R"("}}},"match":[{"authority":{"prefix":"hello.default"},)"
                R"("gateways":["knative-serving/knative-local-gateway"],)"
                R"("headers":{"K-Network-Hash":{"exact":"override"}}}],"retries":{},)"
                R"("route":[{"destination":{"host":"r1.default.svc.cluster.local",)"
                R"("port":{"number":80}},"headers":{"request":{"set":{)"
                R"("Knative-Serving-Namespace":"default","Knative-Serving-Revision":"r1"}}},)"
                R"("weight":100}]})");
  EXPECT_EQ(json::canonical(*json::find(http[1], "match")),
            R"([{"authority":{"prefix":"hello.default"},)"
            R"("gateways":["knative-serving/knative-local-gateway"]}])");
  EXPECT_EQ(json::canonical(*json::find(http[3], "match")),
            R"([{"authority":{"prefix":"hello-default.x.test"},)"
            R"("gateways":["knative-serving/knative-ingress-gateway"]}])");
}

TEST(VirtualService, MeshOnly) {  // external-gateways: "[]", local-gateways: "[]"
  const auto made = make_virtual_services(kingress(), {}, "cluster.local");
  ASSERT_EQ(made.size(), 1u);
  EXPECT_EQ(made[0].first, "hello-mesh");
  EXPECT_EQ(json::print(*json::find(made[0].second, {"spec", "hosts"})),
            R"(["hello.default.svc.cluster.local"])");
}

}  // namespace
}  // namespace knit::serving
