#include "app/check_warnings.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "base/yaml.h"

namespace knit::app {
namespace {

struct Stored final : apiserver::ObjectReader {
  std::vector<kube::ObjectPtr> objects;
  kube::ObjectPtr get(const kube::Key&) const override { return nullptr; }
  std::vector<kube::ObjectPtr> list(kube::Resource resource, std::string_view) const override {
    std::vector<kube::ObjectPtr> out;
    for (const auto& o : objects) {
      if (o->key().resource == resource) out.push_back(o);
    }
    return out;
  }
  void add(const std::string& resource, const std::string& text) {
    const Json dom = yaml::parse_one(text).value();
    objects.push_back(std::make_shared<kube::Object>(
        kube::Key{kube::Resource::of(resource),
                  std::string(json::str(dom, {"metadata", "namespace"})),
                  std::string(json::str(dom, {"metadata", "name"}))},
        1, dom));
  }
};

std::string joined(const Stored& state, const std::string& resource, const std::string& text) {
  const Json dom = yaml::parse_one(text).value();
  const kube::Key key{kube::Resource::of(resource),
                      std::string(json::str(dom, {"metadata", "namespace"})),
                      std::string(json::str(dom, {"metadata", "name"}))};
  const auto* kind = schema::Registry::get().by_resource(key.resource);
  EXPECT_NE(kind, nullptr);
  EXPECT_TRUE(is_checked(*kind));
  std::string out;
  for (const auto& w : check_warnings(state, *kind, key, dom, WallTime{})) out += w + "\n";
  return out;
}

std::string gateway(const std::string& name, const std::string& host) {
  return "apiVersion: networking.istio.io/v1beta1\nkind: Gateway\nmetadata: {name: " + name +
         ", namespace: default}\nspec:\n  selector: {istio: ingressgateway}\n  servers:\n  - port: "
         "{number: 443, name: https, protocol: HTTPS}\n    hosts: ['" +
         host + "']\n    tls: {mode: SIMPLE, credentialName: a}\n";
}
constexpr const char* kControlPlane =
    "apiVersion: maistra.io/v2\nkind: ServiceMeshControlPlane\nmetadata: {name: basic, namespace: "
    "istio-system}\nspec: {}\n";

// users.md A2: kubectl prints what object and store show.
TEST(CheckWarnings, SpeakOfTheObjectThatIsWritten) {
  Stored state;
  const std::string service =
      "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: hello, namespace: "
      "default}\nspec: {template: {metadata: {annotations: {sidecar.istio.io/inject: 'true'}}, "
      "spec: {containers: [{image: x}]}}}\n";
  EXPECT_NE(joined(state, "services.serving.knative.dev", service).find("K702: "),
            std::string::npos);
  state.add("servicemeshcontrolplanes.maistra.io", kControlPlane);
  state.add("gateways.networking.istio.io", gateway("first", "*"));
  const auto second = joined(state, "gateways.networking.istio.io", gateway("second", "*"));
  EXPECT_NE(second.find("K201: "), std::string::npos) << second;
  EXPECT_EQ(joined(state, "gateways.networking.istio.io", gateway("second", "a.test")).find("K201"),
            std::string::npos);
  // Written again, an object does not meet itself.
  EXPECT_EQ(joined(state, "gateways.networking.istio.io", gateway("first", "*")).find("K201"),
            std::string::npos);
}

TEST(CheckWarnings, WhatIsTooMuchToLookAtIsNotGuessed) {
  Stored state;
  state.add("servicemeshcontrolplanes.maistra.io", kControlPlane);
  for (int i = 0; i < 101; ++i)
    state.add("gateways.networking.istio.io", gateway("g" + std::to_string(i), "*"));
  EXPECT_EQ(joined(state, "gateways.networking.istio.io", gateway("last", "*")).find("K201"),
            std::string::npos);
}

TEST(CheckWarnings, KindsOfTheMachineAreNotChecked) {
  for (const char* name : {"pods", "configmaps", "events", "deployments.apps", "nodes"}) {
    EXPECT_FALSE(is_checked(*schema::Registry::get().by_resource(kube::Resource::of(name))))
        << name;
  }
}

}  // namespace
}  // namespace knit::app
