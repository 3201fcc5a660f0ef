// SinkBindings (eventing.md 1.7): what is injected where, when it is taken back, and the rules
// of 3.4.
#include <gtest/gtest.h>

#include "controllers/eventing/test_world.h"

namespace knit::eventing {
namespace {

std::string env_of(const Json& object, std::string_view container, std::string_view name) {
  for (const auto list : {"initContainers", "containers"}) {
    for (const auto& c : json::array(object, {"spec", "template", "spec", list})) {
      if (json::str(c, {"name"}) != container) continue;
      for (const auto& e : json::array(c, {"env"})) {
        if (json::str(e, {"name"}) == name) return std::string(json::str(e, {"value"}));
      }
    }
  }
  return "none";
}

constexpr const char* kDeployment = R"({"metadata":{"labels":{"app":"a"}},"spec":{
  "selector":{"matchLabels":{"app":"a"}},"template":{"metadata":{"labels":{"app":"a"}},"spec":{
  "initContainers":[{"name":"init","image":"knit.local/hello"}],
  "containers":[{"name":"main","image":"knit.local/hello","env":[{"name":"OWN","value":"1"}]}]}}}})";

struct BindingWorld : EventingWorld {
  const Key binding{res::sinkbindings(), "default", "bind"};
  const Key target{res::deployments(), "default", "app"};
  void bind(std::string_view subject, std::string_view more = "{}") {
    make(res::sinkbindings(), "sources.knative.dev/v1", "SinkBinding", "bind",
         R"({"spec":{"sink":{"ref":{"apiVersion":"v1","kind":"Service","name":"sink"}},
             "ceOverrides":{"extensions":{"a":"b"}},"subject":)" +
             std::string(subject) + "}}");
    auto patch = json::parse(more);
    KNIT_CHECK(patch.has_value());
    ASSERT_TRUE(backend.merge(binding, json::print(*patch)));
    loop.settle();
  }
  void deploy() {
    make(res::deployments(), "apps/v1", "Deployment", "app", kDeployment);
    run(std::chrono::seconds(1));
  }
};
constexpr const char* kByName = R"({"apiVersion":"apps/v1","kind":"Deployment","name":"app"})";
constexpr const char* kByLabel = R"({"apiVersion":"apps/v1","kind":"Deployment",
  "selector":{"matchLabels":{"app":"a"}}})";

TEST(SinkBinding, InjectsAndTakesBack) {
  for (const auto subject : {kByName, kByLabel}) {
    SCOPED_TRACE(subject);
    BindingWorld w;
    w.bind(subject);
    w.deploy();  // the binding was there first
    EXPECT_EQ(w.condition(res::sinkbindings(), "bind", "Ready"), "True");
    EXPECT_EQ(w.text(res::sinkbindings(), "bind", {"status", "sinkUri"}),
              "http://sink.default.svc.cluster.local");
    for (const auto container : {"init", "main"}) {
      EXPECT_EQ(env_of(w.view(w.target), container, "K_SINK"),
                "http://sink.default.svc.cluster.local");
      EXPECT_EQ(env_of(w.view(w.target), container, "K_CE_OVERRIDES"),
                R"({"extensions":{"a":"b"}})");
    }
    EXPECT_EQ(env_of(w.view(w.target), "main", "OWN"), "1");
    EXPECT_EQ(w.pending(), std::vector<std::string>());

    w.deploy();  // a write that does not know the variables loses nothing
    EXPECT_EQ(env_of(w.view(w.target), "main", "K_SINK"), "http://sink.default.svc.cluster.local");

    ASSERT_TRUE(w.backend.remove(w.binding));
    w.loop.settle();
    EXPECT_TRUE(w.view(w.binding).is_null());
    EXPECT_EQ(env_of(w.view(w.target), "main", "K_SINK"), "none");
    EXPECT_EQ(env_of(w.view(w.target), "init", "K_CE_OVERRIDES"), "none");
    EXPECT_EQ(env_of(w.view(w.target), "main", "OWN"), "1");
  }
}

TEST(SinkBinding, AdmissionInjectsBeforeThePodIsMade) {
  BindingWorld w;
  w.bind(kByName);
  Json object = make_object("apps/v1", "Deployment", w.target);
  auto rest = json::parse(kDeployment);
  ASSERT_TRUE(rest);
  json::merge_patch(object, *rest);
  const auto world = w.backend.snapshot();
  EXPECT_TRUE(admit_sink_bindings(*world, w.target, object));
  EXPECT_EQ(env_of(object, "main", "K_SINK"), "http://sink.default.svc.cluster.local");
  EXPECT_FALSE(admit_sink_bindings(*world, w.target, object)) << "idempotent";
  EXPECT_FALSE(admit_sink_bindings(*world, {res::deployments(), "default", "other"}, object));
}

TEST(SinkBinding, SelectionMode) {
  const struct {
    const char *name, *mode, *ns_label, *object_label;
    bool injected;
  } rows[] = {
      {"exclusion by default", "", "", "", true},
      {"excluded object", "exclusion", "", "exclude", false},
      {"excluded namespace", "", "exclude", "", false},
      {"inclusion without labels", "inclusion", "", "", false},
      {"inclusion", "inclusion", "include", "include", true},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    BindingWorld w;
    const auto label = [&](const Key& key, std::string_view which) {
      if (which.empty()) return;
      ASSERT_TRUE(w.backend.merge(key, R"({"metadata":{"labels":{"bindings.knative.dev/)" +
                                           std::string(which) + R"(":"true"}}})"));
    };
    ASSERT_TRUE(w.backend.merge(
        {res::knativeeventings(), "knative-eventing", "knative-eventing"},
        R"({"spec":{"sinkBindingSelectionMode":")" + std::string(row.mode) + "\"}}"));
    w.deploy();
    label({res::namespaces(), "", "default"}, row.ns_label);
    label(w.target, row.object_label);
    w.bind(kByName);
    EXPECT_EQ(env_of(w.view(w.target), "main", "K_SINK") != "none", row.injected);
  }
}

TEST(SinkBinding, SaysWhatIsMissing) {
  BindingWorld w;
  w.bind(kByName);
  EXPECT_EQ(w.condition(res::sinkbindings(), "bind", "SinkBindingAvailable"),
            "False:SubjectMissing");
  w.bind(kByName, R"({"spec":{"sink":{"ref":{"name":"none"}}}})");
  EXPECT_EQ(w.condition(res::sinkbindings(), "bind", "SinkProvided"), "False:NotFound");
  EXPECT_EQ(w.condition(res::sinkbindings(), "bind", "Ready"), "False:SinkMissing");
}

TEST(ChannelRules, FollowTheFeature) {  // eventing.md 3.4
  EventingWorld w;
  w.make(res::channels(), "messaging.knative.dev/v1", "Channel", "c",
         R"({"spec":{"channelTemplate":{"apiVersion":"messaging.knative.dev/v1",
             "kind":"InMemoryChannel"}}})");
  const Key rule{res::destinationrules(), "default", "c-kn-channel"};
  const auto features = [&](std::string_view istio) {
    w.make(res::configmaps(), "v1", "ConfigMap", "config-features",
           R"({"data":{"istio":")" + std::string(istio) + "\"}}", "knative-eventing");
  };
  EXPECT_TRUE(w.view(rule).is_null());
  features("enabled");
  EXPECT_EQ(
      json::canonical(*json::find(w.view(rule), "spec")),
      R"({"host":"c-kn-channel.default.svc.cluster.local","trafficPolicy":{"tls":{"mode":"ISTIO_MUTUAL"}}})");
  EXPECT_EQ(json::str(w.view(rule), {"metadata", "labels", "app.kubernetes.io/managed-by"}),
            "knative-eventing-istio-controller");
  EXPECT_TRUE(w.view({res::destinationrules(), "default", "sink"}).is_null()) << "no channel";
  ASSERT_TRUE(w.backend.merge(rule, R"({"spec":{"host":"other"}})"));
  w.loop.settle();
  EXPECT_EQ(json::str(w.view(rule), {"spec", "host"}), "c-kn-channel.default.svc.cluster.local");
  EXPECT_EQ(w.pending(), std::vector<std::string>());
  features("disabled");
  EXPECT_TRUE(w.view(rule).is_null());
  features("enabled");
  EXPECT_FALSE(w.view(rule).is_null());
  w.operator_says("False");
  EXPECT_TRUE(w.view(rule).is_null()) << "Eventing is not installed any more";
}

}  // namespace
}  // namespace knit::eventing
