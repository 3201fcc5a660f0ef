#include "controllers/serving/config.h"

#include <gtest/gtest.h>

#include "controllers/serving/test_world.h"

namespace knit::serving {
namespace {
using namespace std::chrono_literals;

// serving.md 2.1
TEST(Names, ChildName) {
  const std::string p40(40, 'p'), p63(63, 'p'), s40(40, 's');
  EXPECT_EQ(child_name("foo", "-deployment"), "foo-deployment");
  EXPECT_EQ(child_name(std::string(52, 'p'), "-deployment").size(), 63u);
  EXPECT_EQ(child_name(std::string(52, 'p'), "-deployment"), std::string(52, 'p') + "-deployment");
  const auto hashed = child_name(p63, "-deployment");
  EXPECT_EQ(hashed.size(), 63u);
  EXPECT_EQ(hashed.substr(0, 20), std::string(20, 'p'));
  EXPECT_EQ(hashed.substr(52), "-deployment");
  EXPECT_EQ(child_name(p40, s40).size(), 63u);
  EXPECT_EQ(child_name(p40, s40).substr(0, 31), std::string(31, 'p'));
  EXPECT_NE(child_name(p40, s40), child_name(p40, std::string(39, 's') + "t"));
  // Trailing characters that a name cannot end with are cut off when the suffix' head is cut.
  const auto cut = child_name("a", "-" + std::string(10, '-') + std::string(60, '.'));
  EXPECT_TRUE(cut.back() != '.' && cut.back() != '-');
}

TEST(Config, AutoscalerTable) {
  const auto ok = [](const StringMap& data) { return parse_autoscaler(data).has_value(); };
  EXPECT_TRUE(ok({}));
  EXPECT_DOUBLE_EQ(
      parse_autoscaler({{"container-concurrency-target-percentage", "0.5"}})->target_utilization,
      0.5);
  EXPECT_DOUBLE_EQ(
      parse_autoscaler({{"container-concurrency-target-percentage", "80"}})->target_utilization,
      0.8);
  const struct {
    const char *key, *value;
    bool good;
  } rows[] = {
      {"stable-window", "6s", true},
      {"stable-window", "5s", false},
      {"stable-window", "2h", false},
      {"stable-window", "soon", false},
      {"target-burst-capacity", "-1", true},
      {"target-burst-capacity", "-0.5", false},
      {"initial-scale", "0", false},
      {"initial-scale", "3", true},
      {"max-scale-up-rate", "1", false},
      {"panic-window-percentage", "0.5", false},
      {"activator-capacity", "0.9", false},
      {"scale-to-zero-grace-period", "5s", false},
      {"min-scale", "-1", false},
      {"unknown-key", "x", true},
      {"_example", "whatever", true},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(ok({{row.key, row.value}}), row.good) << row.key << ": " << row.value;
  }
  EXPECT_TRUE(ok({{"initial-scale", "0"}, {"allow-zero-initial-scale", "true"}}));
}

TEST(Config, DomainLookup) {  // serving.md 3: the most specific selector, then the name
  const auto c = parse_domain({{"default.test", ""},
                               {"b.test", "selector:\n  app: x"},
                               {"a.test", "selector:\n  app: x"},
                               {"ab.test", "selector:\n  app: x\n  tier: z"}},
                              "cluster.local");
  ASSERT_TRUE(c.has_value());
  EXPECT_EQ(c->lookup({}), "default.test");
  EXPECT_EQ(c->lookup({{"app", "x"}}), "a.test");
  EXPECT_EQ(c->lookup({{"app", "x"}, {"tier", "z"}}), "ab.test");
  EXPECT_EQ(parse_domain({}, "cluster.local")->lookup({}), "svc.cluster.local");
}

TEST(Config, WhatTheWebhookSaysNoTo) {
  const struct {
    const char *map, *key, *value, *error;  // error: nullptr: fine
  } rows[] = {
      {"config-istio", "gateway.knative-serving.g", "istio-ingressgateway.<ns>.svc.cluster.local",
       "gateway knative-serving/g: \"istio-ingressgateway.<ns>.svc.cluster.local\" is not a host "
       "name"},
      {"config-istio", "gateway.knative-serving.g", "a.b.svc.cluster.local", nullptr},
      {"config-autoscaler", "scale-to-zero-grace-period", "soon", "scale-to-zero-grace-period"},
      {"config-domain", "x.test", "selector: [", "x.test"},
      {"config-features", "anything", "goes", nullptr},
  };
  for (const auto& row : rows) {
    const auto checked = check_config(row.map, {{row.key, row.value}});
    EXPECT_EQ(checked.has_value(), row.error == nullptr) << row.map << " " << row.value;
    if (!checked && row.error != nullptr) {
      EXPECT_NE(checked.error().message().find(row.error), std::string::npos)
          << checked.error().message();
    }
  }
}

TEST(Config, IstioStyles) {  // mesh.md 1.4
  const auto defaults = parse_istio({});
  ASSERT_TRUE(defaults.has_value());
  EXPECT_EQ(defaults->external.at(0).qualified(), "knative-serving/knative-ingress-gateway");
  EXPECT_EQ(defaults->local.at(0).service, "knative-local-gateway.istio-system.svc.cluster.local");
  const auto old =
      parse_istio({{"gateway.ns.gw", "a.b.svc.cluster.local"}, {"local-gateway.mesh", "mesh"}});
  ASSERT_TRUE(old.has_value());
  EXPECT_EQ(old->external.at(0).qualified(), "ns/gw");
  EXPECT_TRUE(old->local.empty());
  EXPECT_EQ(parse_istio({{"gateway.gw", "a.b"}})->external.at(0).qualified(), "knative-serving/gw");
  const auto modern =
      parse_istio({{"external-gateways",
                    "- name: gw\n  namespace: ns\n  service: a.b.svc.cluster.local\n"
                    "- name: other\n  namespace: ns\n  service: c.d.svc.cluster.local\n"
                    "  labelSelector:\n    matchLabels:\n      tier: x\n"},
                   {"local-gateways", "[]"}});
  ASSERT_TRUE(modern.has_value());
  EXPECT_EQ(modern->external.size(), 2u);
  EXPECT_TRUE(modern->local.empty());
  EXPECT_EQ(choose_gateways(modern->external, {}).at(0).name, "gw");
  EXPECT_EQ(choose_gateways(modern->external, {{"tier", "x"}}).at(0).name, "other");
  EXPECT_FALSE(parse_istio({{"gateway.ns.gw", "a"}, {"local-gateways", "[]"}}));
  EXPECT_FALSE(parse_istio({{"external-gateways", "- name: a"}}));
  EXPECT_FALSE(parse_istio({{"gateway.ns.gw", "not a host"}}));
}

TEST(Config, GcAndNetwork) {
  EXPECT_FALSE(parse_gc({{"retain-since-create-time", "disabled"}})->retain_since_create);
  EXPECT_FALSE(parse_gc({{"max-non-active-revisions", "disabled"}})->max_non_active);
  EXPECT_FALSE(parse_gc({{"min-non-active-revisions", "5"}, {"max-non-active-revisions", "3"}}));
  EXPECT_EQ(parse_network({{"defaultExternalScheme", "HTTPS"}})->external_scheme, "https");
  EXPECT_EQ(parse_network({{"rollout-duration", "120"}})->rollout_duration, Duration(120s));
  EXPECT_FALSE(parse_network({{"http-protocol", "maybe"}}));
}

TEST(ConfigStore, KeepsTheLastGoodValueOfAMap) {
  ServingWorld world;
  world.begin_serving();
  auto& store = world.context->configs;
  world.config_map("config-autoscaler", R"({"stable-window":"30s"})");
  EXPECT_EQ(store.get(*world.backend.snapshot()).autoscaler.stable_window, Duration(30s));
  world.config_map("config-autoscaler", R"({"stable-window":"soon"})");
  EXPECT_EQ(store.get(*world.backend.snapshot()).autoscaler.stable_window, Duration(30s));
  EXPECT_EQ(store.errors().at("config-autoscaler"),
            "config-autoscaler: stable-window: \"soon\" is not a duration in range");
  world.config_map("config-autoscaler", R"({"stable-window":"40s"})");
  EXPECT_EQ(store.get(*world.backend.snapshot()).autoscaler.stable_window, Duration(40s));
  EXPECT_TRUE(store.errors().empty());
}

}  // namespace
}  // namespace knit::serving
