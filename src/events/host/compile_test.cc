// spec/eventing.md 1.3-1.5: which streams, which subscriptions, what the channels are told.
#include "events/host/compile.h"

namespace knit::events {
namespace {

Json parse(std::string_view text) {
  auto dom = json::parse(text);
  KNIT_CHECK(dom.has_value());
  return std::move(*dom);
}

std::shared_ptr<const BrokerView> broker(std::string_view more = R"({})") {
  Json dom = parse(R"({"metadata":{"namespace":"ns","name":"b","uid":"bu","annotations":
      {"eventing.knative.dev/broker.class":"MTChannelBasedBroker"}},
      "spec":{"delivery":{"retry":10,"backoffPolicy":"exponential","backoffDelay":"PT0.2S"}},
      "status":{"annotations":{"knative.dev/channelName":"b-kne-trigger"},
                "deadLetterSinkUri":"http://broker-dls"}})");
  json::merge_patch(dom, parse(more));
  return std::make_shared<const BrokerView>(read_broker(dom));
}
std::shared_ptr<const TriggerView> trigger(std::string_view more = R"({})") {
  Json dom = parse(R"({"metadata":{"namespace":"ns","name":"t","uid":"tu"},
      "spec":{"broker":"b","filter":{"attributes":{"type":"x"}}},
      "status":{"subscriberUri":"http://sub","subscriberCACerts":"pem",
                "deadLetterSinkUri":"http://broker-dls"}})");
  json::merge_patch(dom, parse(more));
  return std::make_shared<const TriggerView>(read_trigger(dom));
}
std::shared_ptr<const ChannelView> trigger_channel(std::string_view more = R"({})") {
  Json dom = parse(R"({"metadata":{"namespace":"ns","name":"b-kne-trigger","uid":"cu",
      "ownerReferences":[{"kind":"Broker","uid":"bu","controller":true}]},
      "spec":{"subscribers":[{"uid":"su","generation":2,"subscriberUri":
        "http://broker-filter.knative-eventing.svc.cluster.local/triggers/ns/t/tu"}]}})");
  json::merge_patch(dom, parse(more));
  return std::make_shared<const ChannelView>(read_channel(dom));
}

TEST(TriggerOf, Table) {
  const struct {
    const char* url;
    const char* want;
  } rows[] = {
      {"http://broker-filter.knative-eventing.svc.cluster.local/triggers/ns/t/uid", "uid"},
      {"http://broker-filter.e.svc/triggers/ns/t/uid", "uid"},
      {"http://broker-filter.e.svc/triggers/ns/t/uid/reply", ""},
      {"http://broker-filter.e.svc/triggers/ns/t", ""},
      {"http://broker-filter.e.svc/", ""},
      {"http://other.e.svc/triggers/ns/t/uid", ""},
      {"", ""},
  };
  for (const auto& row : rows) EXPECT_EQ(trigger_of(row.url), row.want) << row.url;
}

TEST(Compile, ABrokerWithItsTriggersIsOneStream) {
  const auto c = compile({{broker()}, {trigger()}, {trigger_channel()}});
  ASSERT_EQ(c.streams.size(), 1u);
  const StreamSpec& s = c.streams[0];
  EXPECT_TRUE(s.key == (StreamKey{StreamKind::Broker, "ns", "b", "bu"}));
  ASSERT_EQ(s.subscriptions.size(), 1u);
  const Subscription& t = s.subscriptions[0];
  EXPECT_EQ(t.name, "tu");
  EXPECT_EQ(t.subscriber, (Endpoint{"http://sub", "pem", "", "mt-broker-filter"}));
  EXPECT_EQ(t.reply_broker, "ns/b");
  EXPECT_TRUE(t.strict_replies);
  EXPECT_EQ(t.ns, "ns");
  EXPECT_EQ(t.policy.retry, 10u) << "the broker's delivery";
  EXPECT_EQ(t.dead_letter, (Endpoint{"http://broker-dls", "", "", "imc-dispatcher"}));
  Event e;
  e.type = "x";
  EXPECT_TRUE(t.filter->matches(e));
  e.type = "y";
  EXPECT_FALSE(t.filter->matches(e));
  EXPECT_TRUE(c.without_channel.empty());
  ASSERT_EQ(c.statuses.size(), 1u);
  EXPECT_EQ(json::canonical(c.statuses[0].subscribers),
            R"([{"observedGeneration":2,"ready":"True","uid":"su"}])");
}

TEST(Compile, DeliveryIsTheTriggersOrTheBrokersNeverFieldByField) {
  const auto own = trigger(R"({"metadata":{"annotations":{"knit.dev/backoff-cap":"PT5S",
      "kafka.eventing.knative.dev/delivery.order":"ordered"}},
      "spec":{"delivery":{"retry":1}},"status":{"deadLetterSinkUri":null}})");
  const auto c = compile({{broker()}, {own}, {}});
  const Subscription& t = c.streams.at(0).subscriptions.at(0);
  EXPECT_EQ(t.policy.retry, 1u);
  EXPECT_EQ(t.policy.backoff, Backoff::None);
  EXPECT_EQ(t.policy.cap, Duration(std::chrono::seconds(5)));
  EXPECT_EQ(t.policy.order, Order::Ordered);
  EXPECT_FALSE(t.dead_letter) << "a delivery of its own without a sink has none";
}

TEST(Compile, WhoIsServed) {
  const struct {
    const char* name;
    World world;
    const char* want;  // streams with their subscriptions
    const char* status;
  } rows[] = {
      {"another class",
       {{broker(R"({"metadata":{"annotations":
          {"eventing.knative.dev/broker.class":"Kafka"}}})")},
        {trigger()},
        {}},
       "",
       ""},
      {"no broker", {{}, {trigger()}, {}}, "", ""},
      {"another broker's trigger",
       {{broker()}, {trigger(R"({"spec":{"broker":"c"}})")}, {}},
       "broker ns/b:",
       ""},
      {"by reference",
       {{broker()}, {trigger(R"({"spec":{"broker":null,"brokerRef":{"name":"b"}}})")}, {}},
       "broker ns/b: tu",
       ""},
      {"no address yet",
       {{broker()}, {trigger(R"({"status":{"subscriberUri":null}})")}, {}},
       "broker ns/b:",
       ""},
      {"no address any more: what it has not got stays",
       {{broker()}, {trigger(R"({"status":{"subscriberUri":null}})")}, {trigger_channel()}},
       "broker ns/b: tu",
       R"([{"observedGeneration":2,"ready":"True","uid":"su"}])"},
      {"a filter from before it was judged",
       {{broker()}, {trigger(R"({"spec":{"filters":[{"cesql":"("}]}})")}, {trigger_channel()}},
       "broker ns/b: tu",
       "message"},
      {"an unknown trigger", {{broker()}, {}, {trigger_channel()}}, "broker ns/b:", ""},
      {"a plain Subscription on the trigger channel",
       {{broker()}, {}, {trigger_channel(R"({"spec":{"subscribers":[
           {"uid":"s2","generation":1,"subscriberUri":"http://x"}]}})")}},
       "broker ns/b: s2",
       R"([{"observedGeneration":1,"ready":"True","uid":"s2"}])"},
      {"a channel of its own",
       {{}, {}, {trigger_channel(R"({"metadata":{"ownerReferences":null},
           "spec":{"subscribers":[{"uid":"s2","generation":1,"subscriberUri":"http://x",
                                   "replyUri":"http://y"}]}})")}},
       "channel ns/b-kne-trigger: s2",
       R"([{"observedGeneration":1,"ready":"True","uid":"s2"}])"},
      {"nothing to tell",
       {{}, {}, {trigger_channel(R"({"metadata":{"ownerReferences":null},
           "spec":{"subscribers":[{"uid":"s2","generation":1,"subscriberUri":"http://x"}]},
           "status":{"subscribers":[{"uid":"s2","observedGeneration":1,"ready":"True"}]}})")}},
       "channel ns/b-kne-trigger: s2",
       ""},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const auto c = compile(row.world);
    std::string got;
    for (const auto& s : c.streams) {
      got += (got.empty() ? "" : "; ");
      got += s.key.kind == StreamKind::Broker ? "broker " : "channel ";
      got += s.key.ns + "/" + s.key.name + ":";
      for (const auto& sub : s.subscriptions) got += " " + sub.name;
    }
    EXPECT_EQ(got, row.want);
    const std::string told = c.statuses.empty() ? "" : json::canonical(c.statuses[0].subscribers);
    if (std::string_view(row.status) == "message") {
      EXPECT_NE(told.find(R"("message":"spec.filters[0].cesql)"), std::string::npos) << told;
      EXPECT_NE(told.find(R"("ready":"False")"), std::string::npos) << told;
    } else {
      EXPECT_EQ(told, row.status);
    }
  }
}

TEST(Compile, ChannelSubscribers) {
  const auto c = compile({{}, {}, {trigger_channel(R"({"metadata":{"ownerReferences":null},
      "spec":{"subscribers":[{"uid":"s","generation":1,"subscriberUri":"http://x",
      "replyUri":"http://y","delivery":{"retry":3,"timeout":"PT2S",
      "deadLetterSink":{"uri":"http://d","CACerts":"p"}}}]}})")}});
  const Subscription& s = c.streams.at(0).subscriptions.at(0);
  EXPECT_EQ(s.subscriber, (Endpoint{"http://x", "", "", "imc-dispatcher"}));
  EXPECT_EQ(s.reply, (Endpoint{"http://y", "", "", "imc-dispatcher"}));
  EXPECT_EQ(s.dead_letter, (Endpoint{"http://d", "p", "", "imc-dispatcher"}));
  EXPECT_EQ(s.policy.retry, 3u);
  EXPECT_EQ(s.policy.timeout, Duration(std::chrono::seconds(2)));
  EXPECT_FALSE(s.strict_replies);
  EXPECT_TRUE(s.reply_broker.empty());
}

TEST(Compile, ABrokerWithoutItsChannelAnswers500) {
  const auto c = compile({{broker(R"({"status":{"annotations":null}})")}, {trigger()}, {}});
  EXPECT_TRUE(c.without_channel.contains({"ns", "b"}));
  EXPECT_EQ(c.streams.size(), 1u) << "what it has stays";
}

}  // namespace
}  // namespace knit::events
