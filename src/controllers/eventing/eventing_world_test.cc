// The object side of Eventing in one world (eventing.md 1.3 to 1.7, 4.2, 4.3).
#include <gtest/gtest.h>

#include "controllers/eventing/test_world.h"

namespace knit::eventing {
namespace {
TEST(EventingWorld, BrokerAndTrigger) {  // eventing.md 1.3, 1.4, 4.2 control plane 1 and 2
  EventingWorld w;
  w.trigger();  // may exist before its broker
  EXPECT_EQ(w.condition(res::triggers(), "t", "Ready"), "False:BrokerDoesNotExist");
  w.broker("b", R"({"deadLetterSink":{"uri":"http://dead.example/letters"},"retry":3})");
  EXPECT_EQ(w.condition(res::brokers(), "b", "Ready"), "True");
  EXPECT_EQ(w.text(res::brokers(), "b", {"status", "address", "url"}),
            "http://broker-ingress.knative-eventing.svc.cluster.local/default/b");
  EXPECT_EQ(w.text(res::brokers(), "b", {"status", "deadLetterSinkUri"}),
            "http://dead.example/letters");
  EXPECT_EQ(w.text(res::brokers(), "b", {"status", "annotations", "knative.dev/channelName"}),
            "b-kne-trigger");
  EXPECT_EQ(w.text(res::imcs(), "b-kne-trigger",
                   {"metadata", "labels", "eventing.knative.dev/brokerEverything"}),
            "true");
  EXPECT_EQ(w.condition(res::triggers(), "t", "Ready"),
            "Unknown:SubscriptionNotMarkedReadyByChannel");
  w.serve();
  EXPECT_EQ(w.condition(res::triggers(), "t", "Ready"), "True");
  EXPECT_EQ(w.text(res::triggers(), "t", {"status", "subscriberUri"}),
            "http://sink.default.svc.cluster.local");
  EXPECT_EQ(w.text(res::triggers(), "t", {"status", "deadLetterSinkUri"}),
            "http://dead.example/letters");
  const Json imc = w.view({res::imcs(), "default", "b-kne-trigger"});
  const auto& subscribers = json::array(imc, {"spec", "subscribers"});
  ASSERT_EQ(subscribers.size(), 1U);
  const std::string uid(uid_of(w.view({res::triggers(), "default", "t"})));
  EXPECT_EQ(json::str(subscribers[0], {"subscriberUri"}),
            "http://broker-filter.knative-eventing.svc.cluster.local/triggers/default/t/" + uid);
  EXPECT_EQ(json::i64(subscribers[0], {"delivery", "retry"}), 3);
  EXPECT_EQ(json::str(subscribers[0], {"delivery", "deadLetterSink", "uri"}),
            "http://dead.example/letters");
  EXPECT_EQ(w.pending(), std::vector<std::string>());
  w.serve(false);
  EXPECT_EQ(w.condition(res::triggers(), "t", "SubscriptionReady"),
            "False:SubscriptionNotMarkedReadyByChannel");
}

TEST(EventingWorld, EachMissingPartIsNamed) {  // eventing.md 1.3, 1.4, 1.5
  EventingWorld w;
  w.broker();
  w.trigger(R"({"spec":{"subscriber":{"ref":{"apiVersion":"serving.knative.dev/v1",
      "kind":"Service","name":"none"}}}})");
  EXPECT_EQ(w.condition(res::triggers(), "t", "SubscriberResolved"),
            "False:Unable to get the Subscriber's URI");
  w.trigger(R"({"metadata":{"annotations":{"knative.dev/dependency":
      "{\"kind\":\"PingSource\",\"name\":\"none\",\"apiVersion\":\"sources.knative.dev/v1\"}"}}})");
  EXPECT_EQ(w.condition(res::triggers(), "t", "DependencyReady"), "False:DependencyDoesNotExist");
  w.endpoint("broker-filter", false);
  EXPECT_EQ(w.condition(res::brokers(), "b", "FilterReady"), "False:EndpointsUnavailable");
  EXPECT_EQ(w.condition(res::triggers(), "t", "BrokerReady"), "False:EndpointsUnavailable");
  w.endpoint("imc-dispatcher", false);
  EXPECT_EQ(w.condition(res::imcs(), "b-kne-trigger", "EndpointsReady"),
            "False:DispatcherEndpointsNotReady");
  EXPECT_EQ(w.condition(res::brokers(), "b", "TriggerChannelReady"),
            "False:DispatcherEndpointsNotReady");
  w.make(res::configmaps(), "v1", "ConfigMap", "config-br-default-channel",
         R"({"data":{"channel-template-spec":"{}"}})", "knative-eventing");
  EXPECT_EQ(w.condition(res::brokers(), "b", "TriggerChannelReady"), "False:ChannelTemplateFailed");
}

TEST(EventingWorld, ChannelCopiesItsBackingChannel) {  // eventing.md 1.5, 4.3
  EventingWorld w;
  w.make(res::channels(), "messaging.knative.dev/v1", "Channel", "c",
         R"({"spec":{"channelTemplate":{"apiVersion":"messaging.knative.dev/v1",
             "kind":"InMemoryChannel"},"delivery":{"retry":2}}})");
  w.make(res::subscriptions(), "messaging.knative.dev/v1", "Subscription", "s",
         R"({"spec":{"channel":{"apiVersion":"messaging.knative.dev/v1","kind":"Channel",
             "name":"c"},"subscriber":{"ref":{"apiVersion":"v1","kind":"Service","name":"sink"},
             "uri":"/in"}}})");
  w.serve();
  EXPECT_EQ(w.condition(res::channels(), "c", "Ready"), "True");
  EXPECT_EQ(w.condition(res::subscriptions(), "s", "Ready"), "True");
  EXPECT_EQ(w.text(res::channels(), "c", {"status", "address", "url"}),
            "http://c-kn-channel.default.svc.cluster.local");
  EXPECT_EQ(w.text(res::services(), "c-kn-channel", {"spec", "externalName"}),
            "imc-dispatcher.knative-eventing.svc.cluster.local");
  const Json channel = w.view({res::channels(), "default", "c"});
  EXPECT_EQ(json::array(channel, {"status", "subscribers"}).size(), 1U);
  const Json imc = w.view({res::imcs(), "default", "c"});
  ASSERT_EQ(json::array(imc, {"spec", "subscribers"}).size(), 1U);
  const Json& entry = json::array(imc, {"spec", "subscribers"})[0];
  EXPECT_EQ(json::str(entry, {"subscriberUri"}), "http://sink.default.svc.cluster.local/in");
  EXPECT_EQ(json::i64(entry, {"delivery", "retry"}), 2);  // the channel's, as a whole
  ASSERT_TRUE(w.backend.remove({res::subscriptions(), "default", "s"}));
  w.loop.settle();
  EXPECT_TRUE(json::array(w.view({res::imcs(), "default", "c"}), {"spec", "subscribers"}).empty());
}

constexpr const char* kSink = R"({"ref":{"apiVersion":"v1","kind":"Service","name":"sink"}})";

TEST(EventingWorld, Flows) {  // eventing.md 1.6: names, order of steps, branches without filters
  EventingWorld w;
  const std::string sink = kSink;
  w.make(
      res::sequences(), "flows.knative.dev/v1", "Sequence", "q",
      R"({"spec":{"steps":[)" + sink + "," + sink + R"(],"reply":{"uri":"http://end.example/"}}})");
  w.make(res::parallels(), "flows.knative.dev/v1", "Parallel", "p",
         R"({"spec":{"branches":[{"filter":)" + sink + R"(,"subscriber":)" + sink +
             R"(},{"subscriber":)" + sink + R"(}],"reply":{"uri":"http://end.example/"}}})");
  EXPECT_EQ(w.condition(res::sequences(), "q", "SubscriptionsReady"),
            "False:SubscriptionsNotReady");
  w.serve();
  EXPECT_EQ(w.condition(res::sequences(), "q", "Ready"), "True");
  EXPECT_EQ(w.condition(res::parallels(), "p", "Ready"), "True");
  EXPECT_EQ(w.text(res::subscriptions(), "q-kn-sequence-0", {"spec", "reply", "ref", "name"}),
            "q-kn-sequence-1");
  EXPECT_EQ(w.text(res::subscriptions(), "q-kn-sequence-1", {"spec", "reply", "uri"}),
            "http://end.example/");
  EXPECT_EQ(w.text(res::sequences(), "q", {"status", "address", "url"}),
            "http://q-kn-sequence-0-kn-channel.default.svc.cluster.local");
  EXPECT_EQ(
      w.text(res::subscriptions(), "p-kn-parallel-filter-0", {"spec", "reply", "ref", "name"}),
      "p-kn-parallel-0");
  EXPECT_EQ(
      w.text(res::subscriptions(), "p-kn-parallel-filter-1", {"spec", "subscriber", "ref", "name"}),
      "p-kn-parallel-1");
  EXPECT_EQ(w.pending(), std::vector<std::string>());
  // A step less: its channel and Subscription go.
  ASSERT_TRUE(
      w.backend.merge({res::sequences(), "default", "q"}, R"({"spec":{"steps":[)" + sink + "]}}"));
  w.loop.settle();
  EXPECT_TRUE(w.view({res::subscriptions(), "default", "q-kn-sequence-1"}).is_null());
  EXPECT_EQ(w.text(res::subscriptions(), "q-kn-sequence-0", {"spec", "reply", "uri"}),
            "http://end.example/");
}

TEST(EventingWorld, Sources) {  // eventing.md 1.7
  EventingWorld w;
  const std::string sink = kSink;
  w.make(res::pingsources(), "sources.knative.dev/v1", "PingSource", "ping",
         R"({"spec":{"schedule":"*/2 * * * *","timezone":"Europe/Berlin","sink":)" + sink + "}}");
  EXPECT_EQ(w.text(res::pingsources(), "ping", {"status", "sinkUri"}),
            "http://sink.default.svc.cluster.local");
  EXPECT_EQ(w.condition(res::pingsources(), "ping", "Deployed"), "Unknown:DeploymentUnavailable");
  ASSERT_TRUE(w.backend.merge({res::pingsources(), "default", "ping"},
                              R"({"spec":{"schedule":"@every 1s"}})"));
  w.loop.settle();
  EXPECT_EQ(w.condition(res::pingsources(), "ping", "Deployed"), "False:InvalidSchedule");
  w.make(res::containersources(), "sources.knative.dev/v1", "ContainerSource", "src",
         R"({"spec":{"ceOverrides":{"extensions":{"a":"b"}},"template":{"spec":{"containers":[
             {"name":"c","image":"knit.local/hello"}]}},"sink":)" +
             sink + "}}");
  const Json deployment = w.view({res::deployments(), "default", "src-deployment"});
  const auto& containers = json::array(deployment, {"spec", "template", "spec", "containers"});
  ASSERT_EQ(containers.size(), 1U);
  const auto& env = json::array(containers[0], {"env"});
  ASSERT_EQ(env.size(), 2U);
  EXPECT_EQ(json::str(env[0], {"value"}), "http://sink.default.svc.cluster.local");
  EXPECT_EQ(json::str(env[1], {"value"}), R"({"extensions":{"a":"b"}})");
  EXPECT_EQ(w.condition(res::containersources(), "src", "SinkBindingReady"), "True");
}

TEST(Destination, References) {  // RFC 3986 5.2, eventing.md 1.2
  const struct {
    const char *base, *reference, *want;
  } rows[] = {
      {"http://h/a/b", "", "http://h/a/b"},         {"http://h/a/b", "/c", "http://h/c"},
      {"http://h/a/b", "c", "http://h/a/c"},        {"http://h", "c", "http://h/c"},
      {"http://h/a/b", "../c", "http://h/c"},       {"http://h/a/b", "?q=1", "http://h/a/b?q=1"},
      {"http://h/a/b/", "./c/", "http://h/a/b/c/"}, {"http://h", "https://o/x", "https://o/x"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.reference);
    EXPECT_EQ(resolve_reference(row.base, row.reference), row.want);
  }
}

}  // namespace
}  // namespace knit::eventing
