#include "events/delivery/message.h"

#include "base/hash.h"

namespace knit::events {
namespace {

StoredEvent stored() {
  StoredEvent s;
  s.event.id = "1";
  s.event.source = "/s";
  s.event.type = "t";
  s.event.datacontenttype = "text/plain";
  s.event.data = "hello";
  s.event.set_extension("color", "blue");
  s.event.set_extension("knativebrokerttl", "7", ValueType::Integer);
  s.headers = {{"traceparent", "00-1-2-01"}, {"knative-x", "y"}};
  return s;
}
http::Headers one(std::string name, std::string value) {
  http::Headers out;
  out.add(std::move(name), std::move(value));
  return out;
}
const Endpoint kTo{"http://sub.default/", {}, {}};

// spec/eventing.md 2.3.
TEST(Message, ToASubscriber) {
  const auto m = subscriber_message(stored(), kTo, Format::AsReceived, "ns1");
  EXPECT_EQ(m.to, kTo);
  EXPECT_EQ(m.headers.get("ce-id"), "1");
  EXPECT_EQ(m.headers.get("ce-color"), "blue");
  EXPECT_FALSE(m.headers.has("ce-knativebrokerttl")) << "the filter removes it";
  EXPECT_EQ(m.headers.get("Prefer"), "reply");
  EXPECT_EQ(m.headers.get("Kn-Namespace"), "ns1");
  EXPECT_EQ(m.headers.get("traceparent"), "00-1-2-01");
  EXPECT_EQ(m.headers.get("knative-x"), "y");
  EXPECT_EQ(m.headers.get("content-type"), "text/plain");
  EXPECT_EQ(m.body, "hello");
}

TEST(Message, Formats) {
  StoredEvent s = stored();
  const auto type = [&](Format f) {
    const auto m = subscriber_message(s, kTo, f, "");
    return std::string(m.headers.get("content-type").substr(0, 23));
  };
  EXPECT_EQ(type(Format::AsReceived), "text/plain");
  EXPECT_EQ(type(Format::Json), "application/cloudevents");
  s.structured = true;
  EXPECT_EQ(type(Format::AsReceived), "application/cloudevents");
  EXPECT_EQ(type(Format::Binary), "text/plain");
}

TEST(Message, DeadLetter) {
  Answer answer{500, {}, std::string(2000, 'x'), {}};
  Failure f = failure_of("http://sub/", answer);
  EXPECT_EQ(f.code, 500);
  EXPECT_EQ(f.data, hash::base64(answer.body).substr(0, 1024));
  auto m = dead_letter_message(stored(), f, {"http://dls/", {}, {}}, Format::AsReceived, "ns1");
  EXPECT_EQ(m.to.url, "http://dls/");
  EXPECT_EQ(m.headers.get("ce-knativeerrordest"), "http://sub/");
  EXPECT_EQ(m.headers.get("ce-knativeerrorcode"), "500");
  EXPECT_EQ(m.headers.get("ce-knativeerrordata"), f.data);
  EXPECT_FALSE(m.headers.has("Prefer")) << "no reply is taken from it";
  EXPECT_EQ(m.headers.get("Kn-Namespace"), "ns1");
  EXPECT_EQ(m.body, "hello");
  // Without an answer there is neither code nor data.
  f = failure_of("http://gone/", {0, {}, "left over", "no such host"});
  m = dead_letter_message(stored(), f, kTo, Format::AsReceived, "");
  EXPECT_EQ(m.headers.get("ce-knativeerrordest"), "http://gone/");
  EXPECT_FALSE(m.headers.has("ce-knativeerrorcode"));
  EXPECT_FALSE(m.headers.has("ce-knativeerrordata"));
  // An answer without a body leaves no data.
  m = dead_letter_message(stored(), failure_of("http://s/", {404, {}, "", {}}), kTo,
                          Format::AsReceived, "");
  EXPECT_EQ(m.headers.get("ce-knativeerrorcode"), "404");
  EXPECT_FALSE(m.headers.has("ce-knativeerrordata"));
}

// 2.2: what an answer means as a reply.
TEST(Message, Replies) {
  const http::Headers event = {{"ce-specversion", "1.0"},
                               {"ce-id", "2"},
                               {"ce-source", "/r"},
                               {"ce-type", "r"},
                               {"content-type", "text/plain"},
                               {"traceparent", "00-9"},
                               {"x-other", "z"},
                               {"ce-knativebrokerttl", "200"}};
  const auto reply = [&](const Answer& a, bool strict) {
    return reply_in(a, strict, stored(), Limits{});
  };
  auto r = reply({200, event, "ok", {}}, true);
  ASSERT_TRUE(r && *r);
  EXPECT_EQ((*r)->event.id, "2");
  EXPECT_EQ((*r)->event.data, "ok");
  EXPECT_EQ((*r)->event.extension("knativebrokerttl")->value, "7") << "the original's";
  ASSERT_EQ((*r)->headers.size(), 1u) << "only what passes through";
  EXPECT_EQ((*r)->headers[0].name, "traceparent");
  r = reply({202, event, "ok", {}}, true);
  EXPECT_TRUE(r && !*r) << "a 202 has no reply ever";
  r = reply({202, {}, "text", {}}, true);
  EXPECT_TRUE(r && !*r);
  r = reply({200, {}, "", {}}, true);
  EXPECT_TRUE(r && !*r);
  r = reply({200, one("content-type", "text/html"), "<p>", {}}, false);
  EXPECT_TRUE(r && !*r) << "channels ignore it";
  EXPECT_FALSE(reply({200, one("content-type", "text/html"), "<p>", {}}, true)) << "brokers do not";
  EXPECT_FALSE(reply({200, one("ce-specversion", "1.0"), "x", {}}, false)) << "malformed";
  EXPECT_FALSE(reply({200, one("content-type", "application/cloudevents+json"), "{", {}}, false));
  EXPECT_FALSE(
      reply({200, one("content-type", "application/cloudevents-batch+json"), "[]", {}}, false));
  r = reply({200,
             one("content-type", "application/cloudevents+json"),
             R"({"specversion":"1.0","id":"3","source":"/s","type":"t"})",
             {}},
            true);
  ASSERT_TRUE(r && *r);
  EXPECT_TRUE((*r)->structured);
  const auto out = reply_message(**r, {"http://reply/", {}, {}}, "ns1");
  EXPECT_EQ(out.headers.get("Kn-Namespace"), "ns1");
  EXPECT_FALSE(out.headers.has("Prefer"));
}

TEST(Message, Ttl) {
  Event e = stored().event;
  const WallTime now = parse_rfc3339("2026-01-02T03:04:05.5Z").value();
  e.erase_extension("knativebrokerttl");
  ASSERT_TRUE(arrive(e, now));
  EXPECT_EQ(e.extension("knativebrokerttl")->value, "255");
  EXPECT_EQ(e.extension("knativearrivaltime")->value, "2026-01-02T03:04:05.500000000Z");
  int passes = 1;
  while (arrive(e, now)) ++passes;
  EXPECT_EQ(passes, 255) << "a loop ends";
  EXPECT_EQ(e.extension("knativebrokerttl")->value, "1");
  e.set_extension("knativebrokerttl", "0");
  EXPECT_FALSE(arrive(e, now));
  e.set_extension("knativebrokerttl", "-3");
  EXPECT_FALSE(arrive(e, now));
  e.set_extension("knativebrokerttl", "2000000000");
  ASSERT_TRUE(arrive(e, now));
  EXPECT_EQ(e.extension("knativebrokerttl")->value, "254") << "nobody gets more than the maximum";
  e.set_extension("knativebrokerttl", "abc");
  ASSERT_TRUE(arrive(e, now));
  EXPECT_EQ(e.extension("knativebrokerttl")->value, "255");
}

TEST(Message, StoredFormSurvives) {
  const StoredEvent s = stored();
  const auto back = codec::decode<StoredEvent>(codec::encode(s));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->event, s.event);
  EXPECT_EQ(back->headers.size(), 2u);
}

}  // namespace
}  // namespace knit::events
