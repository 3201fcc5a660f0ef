// KnativeEventing with the core controllers and a node, in simulated time
// (eventing.md 1.11, 3.1, 3.4).
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>

#include "base/yaml.h"
#include "controllers/core/register.h"
#include "controllers/operators/eventing_manifest.h"
#include "controllers/operators/eventing_operator.h"
#include "controllers/operators/register.h"
#include "reconcile/sim_world.h"

namespace knit::controllers::operators {
namespace {
using controllers::core::condition;
using controllers::core::condition_status;
using controllers::core::literal;

Json seed() {
  std::ifstream file("tests/seed/knative-eventing-config.yaml");
  std::stringstream text;
  text << file.rdbuf();
  auto parsed = yaml::parse_one(text.str());
  KNIT_CHECK(parsed.has_value());
  return std::move(*parsed);
}

class EventingOperatorTest : public testing::Test {
 protected:
  reconcile::SimWorld world;
  core::CoreSettings core_settings;
  const Key eventing{res::knativeeventings(), "knative-eventing", "knative-eventing"};
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
  void apply(const Json& resource) {
    const auto made = world.apply(res::knativeeventings(), resource);
    ASSERT_TRUE(made.has_value()) << made.error().message();
    expect_quiet();
  }
  Json deployment(const std::string& name) {
    return world.view({res::deployments(), "knative-eventing", name});
  }
  std::string data(const std::string& map, std::string_view key) {
    return std::string(
        json::str(world.view({res::configmaps(), "knative-eventing", map}), {"data", key}));
  }
  Json cond(std::string_view type) { return condition(world.view(eventing), type); }
};

TEST_F(EventingOperatorTest, TheSeedMakesItsObjects) {
  // Events does not serve them yet.
  for (const auto role : {"mt-broker-ingress", "mt-broker-filter", "imc-dispatcher"}) {
    world.node.never_ready(role);
  }
  ASSERT_TRUE(
      world.backend.merge({res::namespaces(), "", "knative-eventing"},
                          R"({"metadata":{"labels":{"maistra.io/member-of":"istio-system"}}})"));
  apply(seed());
  std::set<std::string> names;
  for (const auto& d : world.backend.list(res::deployments(), "knative-eventing")) {
    names.insert(d->key().name);
  }
  EXPECT_EQ(names, (std::set<std::string>{"eventing-controller", "eventing-istio-controller",
                                          "eventing-webhook", "imc-controller", "imc-dispatcher",
                                          "mt-broker-controller", "mt-broker-filter",
                                          "mt-broker-ingress", "pingsource-mt-adapter"}));
  for (const auto role :
       {"mt-broker-ingress", "mt-broker-filter", "imc-dispatcher", "pingsource-mt-adapter"}) {
    SCOPED_TRACE(role);
    const Json d = deployment(role);
    EXPECT_EQ(json::str(d, {"spec", "template", "metadata", "labels", "sidecar.istio.io/inject"}),
              "true");
    EXPECT_EQ(json::str(d, {"metadata", "annotations", "sidecar.istio.io/rewriteAppHTTPProbers"}),
              "true");
    EXPECT_EQ(json::str(d, {"spec", "template", "spec", "serviceAccountName"}), role)
        << "an identity of its own";
    EXPECT_NE(world.backend.get({res::serviceaccounts(), "knative-eventing", role}), nullptr);
  }
  EXPECT_EQ(json::i64(deployment("pingsource-mt-adapter"), {"spec", "replicas"}, -1), 0);
  EXPECT_EQ(json::i64(deployment("eventing-istio-controller"), {"spec", "replicas"}, -1), 1);
  EXPECT_EQ(data("config-features", "istio"), "enabled");
  const Json ingress = world.view({res::services(), "knative-eventing", "broker-ingress"});
  EXPECT_EQ(json::str(ingress, {"spec", "selector", "eventing.knative.dev/brokerRole"}), "ingress");
  for (const auto& pod : world.backend.list(res::pods(), "knative-eventing")) {
    const std::string& name = pod->key().name;
    const bool role = name.starts_with("mt-broker-ingress") ||
                      name.starts_with("mt-broker-filter") || name.starts_with("imc-dispatcher");
    EXPECT_EQ(json::array(pod->parse(), {"spec", "containers"}).size(), role ? 2U : 1U) << name;
  }

  EXPECT_EQ(condition_status(world.view(eventing), "InstallSucceeded"), "True");
  EXPECT_EQ(json::str(world.view(eventing), {"status", "version"}), kEventingVersion);
  EXPECT_EQ(json::str(cond("Ready"), {"status"}), "False");
  EXPECT_EQ(json::str(cond("Ready"), {"reason"}), "NotReady");
  EXPECT_EQ(json::str(cond("DeploymentsAvailable"), {"message"}),
            "Waiting on deployments: imc-dispatcher, mt-broker-filter, mt-broker-ingress");
}

TEST_F(EventingOperatorTest, ReadyFollowsTheRoles) {
  apply(seed());  // this world's node makes every role ready, as one that plays them would
  EXPECT_EQ(json::str(cond("Ready"), {"status"}), "True");
}

TEST_F(EventingOperatorTest, ConfigurationAndOverridesComeAndGo) {
  Json resource = seed();
  json::set(resource, {"spec", "config"}, literal(R"({"features":{"istio":"disabled"},
    "config-sugar":{"namespace-selector":"{}"},
    "default-ch-webhook":{"default-ch-config":"clusterDefault: {}"}})"));
  json::set(resource, {"spec", "defaultBrokerClass"}, Json("Kafka"));
  json::set(resource, {"spec", "high-availability", "replicas"}, Json(2));
  json::set(resource, {"spec", "deployments"},
            literal(R"([{"name":"imc-dispatcher","replicas":3}])"));
  apply(resource);
  EXPECT_EQ(data("config-sugar", "namespace-selector"), "{}");
  EXPECT_EQ(data("default-ch-webhook", "default-ch-config"), "clusterDefault: {}");
  EXPECT_NE(data("config-br-defaults", "default-br-config").find("brokerClass: \"Kafka\""),
            std::string::npos);
  EXPECT_EQ(json::i64(deployment("mt-broker-filter"), {"spec", "replicas"}), 2);
  EXPECT_EQ(json::i64(deployment("imc-dispatcher"), {"spec", "replicas"}), 3);
  EXPECT_EQ(json::i64(deployment("pingsource-mt-adapter"), {"spec", "replicas"}, -1), 0)
      << "the first PingSource starts it";
  EXPECT_EQ(json::i64(deployment("eventing-istio-controller"), {"spec", "replicas"}, -1), 0);

  ASSERT_TRUE(world.backend.merge(eventing, R"({"spec":{"config":{"config-sugar":null,
      "features":{"istio":"enabled"}},"high-availability":null,"deployments":null}})"));
  expect_quiet();
  EXPECT_EQ(data("config-sugar", "namespace-selector"), "");
  EXPECT_EQ(json::i64(deployment("eventing-istio-controller"), {"spec", "replicas"}, -1), 1);
  ASSERT_TRUE(world.backend.merge({res::deployments(), "knative-eventing", "pingsource-mt-adapter"},
                                  R"({"spec":{"replicas":1}})"));
  expect_quiet();
  EXPECT_EQ(json::i64(deployment("pingsource-mt-adapter"), {"spec", "replicas"}, -1), 1) << "kept";
}

TEST_F(EventingOperatorTest, Refusals) {
  const struct {
    const char *name, *resource, *message;
  } rows[] = {
      {"namespace", R"({"metadata":{"name":"x","namespace":"default"},"spec":{}})",
       "Knative Eventing must be installed into the namespace \"knative-eventing\""},
      {"OIDC",
       R"({"metadata":{"namespace":"knative-eventing"},"spec":{"config":{"features":{"authentication-oidc":"Enabled"}}}})",
       "spec.config.features.authentication-oidc: Enabled is not built into Knit"},
      {"TLS",
       R"({"metadata":{"namespace":"knative-eventing"},"spec":{"config":{"config-features":{"transport-encryption":"strict"}}}})",
       "spec.config.features.transport-encryption: strict is not built into Knit"},
      {"source",
       R"({"metadata":{"namespace":"knative-eventing"},"spec":{"source":{"github":{"enabled":true}}}})",
       "spec.source.github.enabled: this source is not built into Knit; remove it"},
      {"manifests",
       R"({"metadata":{"namespace":"knative-eventing"},"spec":{"manifests":[{"URL":"u"}]}})",
       "spec.manifests"},
      {"mode",
       R"({"metadata":{"namespace":"knative-eventing"},"spec":{"sinkBindingSelectionMode":"all"}})",
       "spec.sinkBindingSelectionMode: \"all\" is neither"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    EXPECT_TRUE(eventing_refusal(literal(row.resource)).starts_with(row.message));
  }
  EXPECT_EQ(eventing_refusal(seed()), "");
  EXPECT_EQ(eventing_refusal(literal(R"({"metadata":{"namespace":"knative-eventing"},"spec":{
      "config":{"features":{"authentication-oidc":"disabled","istio":"enabled"}}}})")),
            "");
  Json resource = seed();
  json::set(resource, {"spec", "config", "features", "authentication-oidc"}, Json("enabled"));
  apply(resource);
  EXPECT_EQ(condition_status(world.view(eventing), "InstallSucceeded"), "False");
  EXPECT_TRUE(world.backend.list(res::deployments()).empty());
}

TEST_F(EventingOperatorTest, DeletingItRemovesEverything) {
  apply(seed());
  EXPECT_FALSE(world.backend.list(res::clusterroles()).empty());
  ASSERT_TRUE(world.backend.remove(eventing));
  expect_quiet();
  EXPECT_EQ(world.backend.get(eventing), nullptr);
  EXPECT_TRUE(world.backend.list(res::deployments()).empty());
  EXPECT_TRUE(world.backend.list(res::clusterroles()).empty());
  EXPECT_EQ(world.backend.list(res::configmaps(), "knative-eventing").size(), 1U) << "the root CA";
}

}  // namespace
}  // namespace knit::controllers::operators
