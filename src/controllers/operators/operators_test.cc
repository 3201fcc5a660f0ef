// The operators with the core controllers and a node, in simulated time.
#include <gtest/gtest.h>

#include "controllers/core/register.h"
#include "controllers/operators/register.h"
#include "controllers/operators/serving_operator.h"
#include "reconcile/sim_world.h"

namespace knit::controllers::operators {
namespace {
using controllers::core::condition;
using controllers::core::condition_status;
using controllers::core::literal;

// shared seed: knative-serving-config.yaml, its placeholder filled.
constexpr const char* kSeed =
    R"({"apiVersion":"operator.knative.dev/v1beta1","kind":"KnativeServing",
 "metadata":{"name":"knative-serving","namespace":"knative-serving"},
 "spec":{"ingress":{"istio":{"enabled":true}},
  "deployments":[
   {"name":"activator","labels":{"sidecar.istio.io/inject":"true"},"annotations":{"sidecar.istio.io/rewriteAppHTTPProbers":"true"}},
   {"name":"autoscaler","labels":{"sidecar.istio.io/inject":"true"},"annotations":{"sidecar.istio.io/rewriteAppHTTPProbers":"true"}}],
  "config":{"istio":{
   "gateway.knative-serving.knative-ingress-gateway":"istio-ingressgateway.istio-system.svc.cluster.local",
   "local-gateway.knative-serving.knative-local-gateway":"knative-local-gateway.istio-system.svc.cluster.local"}}}})";

class OperatorsTest : public testing::Test {
 protected:
  reconcile::SimWorld world;
  core::CoreSettings core_settings;
  const Key serving{res::knativeservings(), "knative-serving", "knative-serving"};
  void SetUp() override {
    core_settings.api_root_pem = "-----ROOT-----";
    world.backend.set_admit(
        [this](const World& seen, const Key& key, Json& object, const Json* before) {
          return core::admit_core(seen, key, object, before, core_settings);
        });
    core::register_core(world.driver, core_settings);
    register_operators(world.driver, {});
    world.start();
  }
  void expect_quiet() {
    EXPECT_TRUE(world.run_until_quiet());
    EXPECT_EQ(world.pending(), std::vector<std::string>());
  }
  Json role(const char* name) { return world.view({res::deployments(), "knative-serving", name}); }
  std::string message(std::string_view type) {
    return std::string(json::str(condition(world.view(serving), type), {"message"}));
  }
};

TEST_F(OperatorsTest, AFreshInstallHasItsObjects) {
  expect_quiet();
  for (const auto ns : {"default", "kube-system", "kube-public", "kube-node-lease", "istio-system",
                        "knative-serving", "knative-eventing"}) {
    EXPECT_TRUE(world.backend.get({res::namespaces(), "", ns})) << ns;
    EXPECT_TRUE(world.backend.get({res::serviceaccounts(), ns, "default"})) << ns;
  }
  EXPECT_EQ(json::str(world.view({res::oingresses(), "", "cluster"}), {"spec", "domain"}),
            "apps.knit.localhost");
  EXPECT_EQ(json::str(world.view({res::services(), "openshift-ingress", "router-default"}),
                      {"spec", "clusterIP"}),
            "172.30.0.2");
  EXPECT_TRUE(world.backend.list(res::deployments()).empty()) << "nothing is installed by itself";
}

// mesh.md 1.4
TEST_F(OperatorsTest, TheSeedBecomesReady) {
  ASSERT_TRUE(
      world.backend.merge({res::namespaces(), "", "knative-serving"},
                          R"({"metadata":{"labels":{"maistra.io/member-of":"istio-system"}}})"));
  ASSERT_TRUE(world.apply(res::knativeservings(), kSeed));
  EXPECT_EQ(condition_status(world.view(serving), "Ready"), "False");
  EXPECT_EQ(message("DeploymentsAvailable"),
            "Waiting on deployments: activator, autoscaler, autoscaler-hpa, controller, "
            "net-istio-controller, net-istio-webhook, webhook");
  expect_quiet();
  const Json view = world.view(serving);
  for (const auto type : {"DependenciesInstalled", "DeploymentsAvailable", "InstallSucceeded",
                          "VersionMigrationEligible", "Ready"}) {
    EXPECT_EQ(condition_status(view, type), "True") << type;
  }
  EXPECT_EQ(json::str(view, {"status", "version"}), kServingVersion);

  const Json istio = world.view({res::configmaps(), "knative-serving", "config-istio"});
  EXPECT_EQ(json::str(istio, {"data", "gateway.knative-serving.knative-ingress-gateway"}),
            "istio-ingressgateway.istio-system.svc.cluster.local");
  const Json network = world.view({res::configmaps(), "knative-serving", "config-network"});
  EXPECT_EQ(json::str(network, {"data", "ingress-class"}), "istio.ingress.networking.knative.dev");
  EXPECT_EQ(json::str(network, {"data", "default-external-scheme"}), "https");
  const Json domain = world.view({res::configmaps(), "knative-serving", "config-domain"});
  EXPECT_NE(json::find(domain, {"data", "apps.knit.localhost"}), nullptr);

  // Overrides: labels and annotations on the workload and on its pod template, so pods show 2/2.
  EXPECT_EQ(json::str(role("activator"), {"metadata", "labels", "sidecar.istio.io/inject"}),
            "true");
  EXPECT_EQ(json::str(role("activator"), {"spec", "template", "metadata", "annotations",
                                          "sidecar.istio.io/rewriteAppHTTPProbers"}),
            "true");
  for (const auto& pod : world.backend.list(res::pods(), "knative-serving")) {
    const Json p = pod->parse();
    const bool injected = pod->label("app") == "activator" || pod->label("app") == "autoscaler";
    EXPECT_EQ(json::array(p, {"spec", "containers"}).size(), injected ? 2U : 1U) << pod->key().name;
    EXPECT_EQ(json::str(p, {"metadata", "annotations", "knit.dev/built-in"}), "true");
  }
  const Json policy = world.view({res::networkpolicies(), "knative-serving", "webhook"});
  EXPECT_EQ(json::str(policy, {"metadata", "annotations", "knit.dev/enforced"}), "false");
  EXPECT_EQ(
      json::str(world.view({res::peerauthentications(), "knative-serving", "net-istio-webhook"}),
                {"spec", "portLevelMtls", "8443", "mode"}),
      "PERMISSIVE");
}

TEST_F(OperatorsTest, OverridesComeAndGo) {
  Json resource = literal(kSeed);
  json::set(resource, {"spec", "workloads"}, literal(R"([{"name":"activator","replicas":2,
    "nodeSelector":{"kubernetes.io/os":"linux"},
    "resources":[{"container":"activator","limits":{"memory":"1Gi"}}],
    "env":[{"container":"activator","envVars":[{"name":"GOGC","value":"100"},{"name":"X","value":"y"}]}],
    "readinessProbes":[{"container":"activator","periodSeconds":9}]}])"));
  json::set(resource, {"spec", "config"},
            literal(R"({"config-defaults":{"max-revision-timeout-seconds":"900"},
    "autoscaler":{"stable-window":"30s"}})"));
  ASSERT_TRUE(world.apply(res::knativeservings(), resource));
  expect_quiet();
  Json d = role("activator");
  EXPECT_EQ(json::i64(d, {"spec", "replicas"}), 2);
  EXPECT_EQ(json::i64(d, {"spec", "template", "spec", "terminationGracePeriodSeconds"}), 900);
  EXPECT_EQ(json::str(d, {"spec", "template", "spec", "nodeSelector", "kubernetes.io/os"}),
            "linux");
  const Json c = json::array(d, {"spec", "template", "spec", "containers"})[0];
  EXPECT_EQ(json::str(c, {"resources", "limits", "memory"}), "1Gi");
  EXPECT_EQ(json::str(c, {"resources", "limits", "cpu"}), "1000m");
  EXPECT_EQ(json::i64(c, {"readinessProbe", "periodSeconds"}), 9);
  std::map<std::string, std::string> env;
  for (const auto& e : json::array(c, {"env"})) {
    env[std::string(json::str(e, {"name"}))] = json::str(e, {"value"});
  }
  EXPECT_EQ(env["GOGC"], "100");
  EXPECT_EQ(env["X"], "y");
  const Key autoscaler{res::configmaps(), "knative-serving", "config-autoscaler"};
  EXPECT_EQ(json::str(world.view(autoscaler), {"data", "stable-window"}), "30s");

  ASSERT_TRUE(world.backend.merge(serving, R"({"spec":{"workloads":null,"config":null}})"));
  expect_quiet();
  d = role("activator");
  EXPECT_EQ(json::find(d, {"spec", "template", "spec", "nodeSelector"}), nullptr);
  const Json back = json::array(d, {"spec", "template", "spec", "containers"})[0];
  EXPECT_EQ(json::str(back, {"resources", "limits", "memory"}), "600Mi");
  EXPECT_EQ(json::find(world.view(autoscaler), {"data", "stable-window"}), nullptr);
  EXPECT_EQ(condition_status(world.view(serving), "Ready"), "True");
}

TEST_F(OperatorsTest, AManualScaleIsKeptAndAManualConfigEditIsNot) {
  ASSERT_TRUE(world.apply(res::knativeservings(), kSeed));
  expect_quiet();
  ASSERT_TRUE(world.backend.merge({res::deployments(), "knative-serving", "webhook"},
                                  R"({"spec":{"replicas":0}})"));
  ASSERT_TRUE(world.backend.merge({res::configmaps(), "knative-serving", "config-network"},
                                  R"({"data":{"ingress-class":"other"}})"));
  expect_quiet();
  EXPECT_EQ(json::i64(role("webhook"), {"spec", "replicas"}, -1), 0);
  EXPECT_EQ(json::str(world.view({res::configmaps(), "knative-serving", "config-network"}),
                      {"data", "ingress-class"}),
            "istio.ingress.networking.knative.dev");
}

TEST_F(OperatorsTest, Refusals) {
  const struct {
    const char* name;
    const char* resource;
    const char* message;
  } rows[] = {
      {"namespace",
       R"({"metadata":{"name":"x","namespace":"default"},"spec":{"ingress":{"istio":{"enabled":true}}}})",
       "Knative Serving must be installed into the namespace \"knative-serving\""},
      {"kourier by default", R"({"metadata":{"name":"x","namespace":"knative-serving"},"spec":{}})",
       "spec.ingress.istio.enabled is not true"},
      {"kourier",
       R"({"metadata":{"name":"x","namespace":"knative-serving"},"spec":{"ingress":{"istio":{"enabled":true},"kourier":{"enabled":true}}}})",
       "spec.ingress.kourier.enabled"},
      {"manifests",
       R"({"metadata":{"name":"x","namespace":"knative-serving"},"spec":{"ingress":{"istio":{"enabled":true}},"manifests":[{"URL":"u"}]}})",
       "spec.manifests"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    EXPECT_NE(refusal_of(literal(row.resource)).find(row.message), std::string::npos);
  }
  ASSERT_TRUE(world.apply(res::knativeservings(), rows[0].resource));
  expect_quiet();
  const Json view = world.view({res::knativeservings(), "default", "x"});
  EXPECT_EQ(condition_status(view, "Ready"), "False");
  EXPECT_EQ(condition_status(view, "InstallSucceeded"), "False");
  EXPECT_TRUE(world.backend.list(res::deployments()).empty());
}

TEST_F(OperatorsTest, ANameThatIsNoneIsTold) {
  Json resource = literal(kSeed);
  json::set(resource, {"spec", "deployments"},
            literal(R"([{"name":"activater","labels":{"a":"b"}}])"));
  json::set(resource, {"spec", "config"}, literal(R"({"autoscaller":{"a":"b"}})"));
  ASSERT_TRUE(world.apply(res::knativeservings(), resource));
  std::set<std::string> told;
  for (const auto& event : world.backend.list(res::events())) {
    const Json e = event->parse();
    if (json::str(e, {"reason"}) == "NoSuchName")
      told.insert(std::string(json::str(e, {"message"})));
  }
  EXPECT_EQ(told,
            (std::set<std::string>{
                "spec.config.autoscaller: there is no ConfigMap config-autoscaller",
                "spec.deployments[0].name: \"activater\" is no workload of this installation"}));
}

TEST_F(OperatorsTest, DeletingItRemovesEverything) {
  ASSERT_TRUE(world.apply(res::knativeservings(), kSeed));
  expect_quiet();
  EXPECT_FALSE(world.backend.list(res::clusterroles()).empty());
  ASSERT_TRUE(world.backend.remove(serving));
  expect_quiet();
  EXPECT_EQ(world.backend.get(serving), nullptr);
  EXPECT_TRUE(world.backend.list(res::deployments()).empty());
  EXPECT_TRUE(world.backend.list(res::clusterroles()).empty());
  EXPECT_TRUE(world.backend.list(res::pods(), "knative-serving").empty());
  EXPECT_EQ(world.backend.list(res::configmaps(), "knative-serving").size(), 1U) << "the root CA";
}

TEST_F(OperatorsTest, KafkaSaysThatItIsNotBuiltIn) {
  ASSERT_TRUE(world.apply(res::knativekafkas(), R"({"metadata":{"name":"knative-kafka",
    "namespace":"knative-eventing"},"spec":{}})"));
  expect_quiet();
  const Json ready =
      condition(world.view({res::knativekafkas(), "knative-eventing", "knative-kafka"}), "Ready");
  EXPECT_EQ(json::str(ready, {"status"}), "False");
  EXPECT_EQ(json::str(ready, {"reason"}), "NotSupportedYet");
}

}  // namespace
}  // namespace knit::controllers::operators
