// Eventing's planners with the core controllers in one world, below admission. What the data plane
// does is played by the test: endpoints and the channels' status.subscribers.
#pragma once

#include <gtest/gtest.h>

#include "controllers/core/test_world.h"
#include "controllers/eventing/destination.h"
#include "controllers/eventing/eventing.h"

namespace knit::eventing {

struct EventingWorld : controllers::core::CoreWorld {
  EventingWorld() {
    register_eventing(driver, {});
    begin();
    make_namespace("knative-eventing");
    make(res::knativeeventings(), "operator.knative.dev/v1beta1", "KnativeEventing",
         "knative-eventing", R"({"spec":{}})", "knative-eventing");
    operator_says("True");
    make(res::configmaps(), "v1", "ConfigMap", "config-br-default-channel",
         R"({"data":{"channel-template-spec":
            "apiVersion: messaging.knative.dev/v1\nkind: InMemoryChannel\n"}})",
         "knative-eventing");
    for (const auto role : {"broker-ingress", "broker-filter", "imc-dispatcher"}) endpoint(role);
    make(res::services(), "v1", "Service", "imc-dispatcher", R"({"spec":{"ports":[{"port":80}]}})",
         "knative-eventing");
    make(res::services(), "v1", "Service", "sink", R"({"spec":{"ports":[{"port":80}]}})");
  }
  /// What the operator has made of the KnativeEventing.
  void operator_says(const std::string& install_succeeded) {
    Json condition = JsonObject{{"type", "InstallSucceeded"}, {"status", install_succeeded}};
    Json status = JsonObject();
    json::set(status, {"conditions"}, JsonArray{std::move(condition)});
    ASSERT_TRUE(backend.status({res::knativeeventings(), "knative-eventing", "knative-eventing"},
                               std::move(status)));
    loop.settle();
  }
  void endpoint(const std::string& name, bool ready = true) {
    make(res::endpoints(), "v1", "Endpoints", name,
         ready ? R"({"subsets":[{"addresses":[{"ip":"10.128.1.1"}],"ports":[{"port":8080}]}]})"
               : R"({"subsets":[]})",
         "knative-eventing");
  }
  void make(Resource resource, std::string_view api, std::string_view kind, const std::string& name,
            std::string_view rest, const std::string& ns = "default") {
    Json object = make_object(api, kind, {resource, ns, name});
    auto parsed = json::parse(rest);
    KNIT_CHECK(parsed.has_value());
    json::merge_patch(object, *parsed);
    const auto made = apply(resource, object);
    ASSERT_TRUE(made.has_value()) << made.error().message();
  }
  void broker(const std::string& name = "b", std::string_view delivery = "{}") {
    make(res::brokers(), "eventing.knative.dev/v1", "Broker", name,
         R"({"metadata":{"annotations":{"eventing.knative.dev/broker.class":
             "MTChannelBasedBroker"}},"spec":{"config":{"apiVersion":"v1","kind":"ConfigMap",
             "name":"config-br-default-channel","namespace":"knative-eventing"},"delivery":)" +
             std::string(delivery) + "}}");
  }
  void trigger(std::string_view extra = "{}") {
    make(res::triggers(), "eventing.knative.dev/v1", "Trigger", "t",
         R"({"spec":{"broker":"b","subscriber":{"ref":{"apiVersion":"v1","kind":"Service",
             "name":"sink"}}}})");
    auto patch = json::parse(extra);
    KNIT_CHECK(patch.has_value());
    ASSERT_TRUE(backend.merge({res::triggers(), "default", "t"}, json::print(*patch)));
    loop.settle();
  }
  /// The data plane serves every subscriber that a channel lists.
  void serve(bool ready = true) {
    for (int round = 0; round < 3; ++round) {
      for (const auto& object : backend.list(res::imcs())) {
        const Json imc = object->parse();
        JsonArray entries;
        for (const auto& s : json::array(imc, {"spec", "subscribers"})) {
          Json entry = JsonObject();
          json::set(entry, {"uid"}, Json(json::str(s, {"uid"})));
          json::set(entry, {"observedGeneration"}, Json(json::i64(s, {"generation"})));
          json::set(entry, {"ready"}, Json(ready ? "True" : "False"));
          if (!ready) json::set(entry, {"message"}, Json("log is full"));
          entries.push_back(std::move(entry));
        }
        Json status = JsonObject();
        json::set(status, {"subscribers"}, std::move(entries));
        ASSERT_TRUE(backend.status(object->key(), std::move(status)));
      }
      loop.settle();
    }
  }
  /// "True", "False:Reason", "Unknown:Reason".
  std::string condition(Resource resource, const std::string& name, std::string_view type) {
    const auto c = find_condition(view({resource, "default", name}), type);
    if (!c) return "absent";
    return c->is_true() ? c->status : c->status + ":" + c->reason;
  }
  std::string text(Resource resource, const std::string& name, json::Path path) {
    return std::string(json::str(view({resource, "default", name}), path));
  }
};

}  // namespace knit::eventing
