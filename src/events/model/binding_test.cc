#include "base/json.h"
#include "events/model/http_binding.h"
#include "events/model/json_format.h"

namespace knit::events {
namespace {

const Limits kLimits;

http::Headers ce(std::initializer_list<std::pair<std::string, std::string>> more = {}) {
  http::Headers h{{"ce-specversion", "1.0"}, {"ce-id", "1"}, {"ce-source", "/s"}, {"ce-type", "t"}};
  for (const auto& [n, v] : more) h.set(n, v);
  return h;
}
Result<Event> binary(const http::Headers& h, std::string body = {}) {
  auto all = from_http(h, std::move(body), kLimits);
  if (!all) return std::move(all).error();
  return all->front();
}
Result<Event> structured(std::string body) {
  auto all = from_http({{"Content-Type", "application/cloudevents+json; charset=UTF-8"}},
                       std::move(body), kLimits);
  if (!all) return std::move(all).error();
  return all->front();
}
std::string with(std::string_view members) {
  return R"({"specversion":"1.0","id":"1","source":"/s","type":"t")" + std::string(members) + "}";
}

// 2.4: "Mode by content-type, case-insensitive prefix".
TEST(HttpBinding, ModeByContentType) {
  const struct {
    const char* type;
    Mode want;
  } rows[] = {{"application/json", Mode::Binary},
              {"", Mode::Binary},
              {"application/cloudevents+json", Mode::Structured},
              {"Application/CloudEvents", Mode::Structured},
              {"application/cloudevents+xml", Mode::Structured},
              {"application/cloudevents-batch+json; charset=utf-8", Mode::Batch},
              {"text/application/cloudevents", Mode::Binary}};
  for (const auto& row : rows) {
    SCOPED_TRACE(row.type);
    EXPECT_EQ(mode_of({{"content-type", row.type}}), row.want);
  }
}

// 2.4: "percent-encode space, \", %, and all outside U+0021–U+007E".
TEST(HttpBinding, EncodesHeaderValues) {
  const struct {
    const char *plain, *coded;
  } rows[] = {{"Euro € 😀", "Euro%20%E2%82%AC%20%F0%9F%98%80"},
              {"a\"b%c", "a%22b%25c"},
              {"!~plain/?&", "!~plain/?&"},
              {"", ""}};
  for (const auto& row : rows) {
    SCOPED_TRACE(row.plain);
    EXPECT_EQ(encode_header_value(row.plain), row.coded);
    EXPECT_EQ(decode_header_value(row.coded).value_or("?"), row.plain);
  }
}

// 2.4: "undo one level of quoted-string first (accept unescaped quotes), then percent-decode,
// reject invalid UTF-8; never decode twice".
TEST(HttpBinding, DecodesHeaderValues) {
  const struct {
    const char *coded, *want;
  } rows[] = {{"\"a b\"", "a b"},  {"\"a\\\"b\"", "a\"b"}, {"\"a\"b\"", "a\"b"},
              {"\"%20\"", " "},    {"%2520", "%20"},       {"%zz%4", "%zz%4"},
              {"\"", "\""},        {"%e2%82%ac", "€"},     {"Euro € 😀", "Euro € 😀"},
              {"%22x%22", "\"x\""}};
  for (const auto& row : rows) {
    SCOPED_TRACE(row.coded);
    EXPECT_EQ(decode_header_value(row.coded).value_or("?"), row.want);
  }
  for (const char* coded : {"%C3", "%FF", "\xff", "%ED%A0%80", "%C0%80", "%F4%90%80%80"}) {
    SCOPED_TRACE(coded);
    EXPECT_FALSE(decode_header_value(coded));
  }
}

TEST(HttpBinding, ReadsABinaryEvent) {
  const auto e = binary({{"Ce-Specversion", "1.0"},
                         {"CE-ID", "a-1"},
                         {"ce-source", "/mycontext/%E2%82%AC"},
                         {"ce-type", "com.example"},
                         {"ce-time", "2018-04-05T03:56:24Z"},
                         {"ce-dataschema", "https://x/y"},
                         {"ce-subject", "s"},
                         {"ce-Extra", "%41b"},
                         {"Content-Type", "application/json; charset=utf-8"},
                         {"User-Agent", "x"}},
                        R"({"n": 1.0})");
  ASSERT_TRUE(e) << e.error().message();
  EXPECT_EQ(e->id, "a-1");
  EXPECT_EQ(e->source, "/mycontext/€");
  EXPECT_EQ(e->datacontenttype, "application/json; charset=utf-8");
  EXPECT_EQ(e->data, R"({"n": 1.0})");
  ASSERT_EQ(e->extensions.size(), 1u);
  EXPECT_EQ(e->attribute("extra"), "Ab");
  EXPECT_EQ(e->attribute("datamediatype"), "application/json");
  EXPECT_EQ(e->attribute("missing"), std::nullopt);
  const HttpMessage m = to_binary(*e);
  EXPECT_EQ(m.headers.get("ce-source"), "/mycontext/%E2%82%AC");
  EXPECT_EQ(m.body, *e->data);
  EXPECT_EQ(binary(m.headers, m.body).value_or(Event{}), *e);
}

TEST(HttpBinding, RefusesWhatIsNoEvent) {
  const struct {
    const char* name;
    http::Headers headers;
    const char* want;
  } rows[] = {
      {"no headers at all", {}, "not a CloudEvent"},
      {"no id", {{"ce-specversion", "1.0"}, {"ce-source", "s"}, {"ce-type", "t"}}, "id: REQUIRED"},
      {"an unknown version", ce({{"ce-specversion", "2.0"}}), "unknown version \"2.0\""},
      {"an empty source", ce({{"ce-source", ""}}), "source: REQUIRED"},
      {"ce-datacontenttype", ce({{"ce-datacontenttype", "text/plain"}}), "content-type header"},
      {"a dash in a name", ce({{"ce-my-ext", "x"}}), "lower-case letters and digits"},
      {"invalid UTF-8", ce({{"ce-subject", "%FF"}}), "not UTF-8"},
      {"a line break by percent", ce({{"ce-subject", "a%0D%0AX:b"}}), "control characters"},
      {"a wrong time", ce({{"ce-time", "yesterday"}}), "RFC 3339"},
      {"a wrong content type", ce({{"content-type", "a b/c"}}), "media type"},
      {"a broken source", ce({{"ce-source", "/%25zz"}}), "URI-reference"},
      {"data as an extension", ce({{"ce-data", "x"}}), "context attribute"}};
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const auto e = binary(row.headers);
    ASSERT_FALSE(e);
    EXPECT_EQ(e.error().code(), Code::InvalidArgument);
    EXPECT_THAT(e.error().message(), testing::HasSubstr(row.want));
  }
  http::Headers twice = ce();
  twice.add("Ce-Id", "2");
  EXPECT_THAT(binary(twice).error().message(), testing::HasSubstr("occurs twice"));
}

TEST(HttpBinding, Limits) {
  // "an intermediary must forward events <= 64 KiB".
  EXPECT_TRUE(binary(ce({{"ce-big", std::string(65'000, 'x')}})));
  EXPECT_TRUE(binary(ce({{"ce-big", encode_header_value(std::string(60'000, ' '))}})));
  const auto large = binary(ce({{"ce-big", std::string(66'000, 'x')}}));
  ASSERT_FALSE(large);
  EXPECT_EQ(large.error().code(), Code::ResourceExhausted);
  EXPECT_THAT(large.error().message(), testing::HasSubstr("65536"));
  http::Headers many = ce();
  for (int i = 0; i < 200; ++i) many.add("ce-x" + std::to_string(i), "v");
  EXPECT_EQ(binary(many).error().code(), Code::ResourceExhausted);
  EXPECT_EQ(binary(ce(), std::string(10 << 20, 'x')).error().code(), Code::ResourceExhausted);
  EXPECT_FALSE(structured(std::string(100'000, '[')));
  EXPECT_EQ(structured("\"" + std::string(12 << 20, 'x') + "\"").error().code(),
            Code::ResourceExhausted);
}

TEST(JsonFormat, ReadsData) {
  const struct {
    const char *members, *type;
    std::optional<std::string> data;
  } rows[] = {
      {"", "", std::nullopt},
      {R"(,"data":{"a": [1.0, 2e3]})", "application/json", R"({"a": [1.0, 2e3]})"},
      {R"(,"data":null)", "application/json", "null"},  // "absent data differs from null"
      {R"(,"data":"x","datacontenttype":"text/plain")", "text/plain", "x"},
      {R"(,"data":"x","datacontenttype":"application/json")", "application/json", "\"x\""},
      {R"(,"data":"a\u00e9\n","datacontenttype":"text/xml")", "text/xml", "a\xc3\xa9\n"},
      {R"(,"data_base64":"AAEC")", "", std::string("\0\1\2", 3)},
      {R"(,"data_base64":"","datacontenttype":"x/y")", "x/y", ""},
      {R"(,"data": 5 ,"datacontenttype":"application/vnd.a+json")", "application/vnd.a+json", "5"}};
  for (const auto& row : rows) {
    SCOPED_TRACE(row.members);
    const auto e = structured(with(row.members));
    ASSERT_TRUE(e) << e.error().message();
    EXPECT_EQ(e->data, row.data);
    EXPECT_EQ(e->datacontenttype, row.type);
    EXPECT_EQ(from_json(to_json(*e), kLimits).value_or(Event{}), *e) << to_json(*e);
  }
}

TEST(JsonFormat, KeepsTheTypesOfExtensions) {
  const auto e = structured(with(R"(,"n":-5,"b":true,"s":"5","nothing":null,"upPer":"x")"));
  ASSERT_TRUE(e) << e.error().message();
  ASSERT_EQ(e->extensions.size(), 4u);
  EXPECT_EQ(*e->extension("n"), (Extension{"n", ValueType::Integer, "-5"}));
  EXPECT_EQ(*e->extension("b"), (Extension{"b", ValueType::Boolean, "true"}));
  EXPECT_EQ(*e->extension("s"), (Extension{"s", ValueType::String, "5"}));
  EXPECT_EQ(e->attribute("upper"), "x");
  EXPECT_EQ(json::parse(to_json(*e))->at("n"), Json(-5));
  EXPECT_EQ(to_binary(*e).headers.get("ce-b"), "true");
}

TEST(JsonFormat, Refuses) {
  const struct {
    const char *text, *want;
  } rows[] = {
      {"", "invalid JSON"},
      {"[]", "not a JSON object"},
      {"{\"specversion\":\"1.0\"", "invalid JSON"},
      {R"({"specversion":"1.0","id":"1","source":"/s"})", "type: REQUIRED"},
      {R"({"specversion":"1.0","id":1,"source":"/s","type":"t"})", "id: the attribute is not"},
      {R"({"specversion":1.0,"id":"1","source":"/s","type":"t"})", "specversion: the attribute"},
      {R"({"specversion":"1.0","id":"1","id":"2","source":"/s","type":"t"})", "occurs twice"},
      {R"({"specversion":"1.0","id":"1","source":"/s","type":"t","data":1,"data_base64":"AA=="})",
       "both data and data_base64"},
      {R"({"specversion":"1.0","id":"1","source":"/s","type":"t","data_base64":"!"})", "base64"},
      {R"({"specversion":"1.0","id":"1","source":"/s","type":"t","data_base64":5})", "string"},
      {R"({"specversion":"1.0","id":"1","source":"/s","type":"t","x":{}})", "32-bit integer"},
      {R"({"specversion":"1.0","id":"1","source":"/s","type":"t","x":1.5})", "32-bit integer"},
      {R"({"specversion":"1.0","id":"1","source":"/s","type":"t","x":2147483648})", "32-bit"},
      {R"({"specversion":"1.0","id":"1","source":"/s","type":"t","a_b":"x"})", "lower-case"},
      {R"({"specversion":"1.0","id":"1","source":"/s","type":"t","aB":"x","ab":"y"})", "twice"},
      {R"({"specversion":"1.0","id":"1","source":"/s","type":"t","schemaurl":5,"Data":"x"})",
       "context attribute"},
      {"{\"specversion\":\"1.0\",\"id\":\"\xff\",\"source\":\"/s\",\"type\":\"t\"}", "not UTF-8"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.text);
    const auto e = structured(row.text);
    ASSERT_FALSE(e);
    EXPECT_THAT(e.error().message(), testing::HasSubstr(row.want));
  }
  EXPECT_EQ(
      from_http({{"content-type", "application/cloudevents+xml"}}, "<x/>", kLimits).error().code(),
      Code::Unsupported);
}

// 2.4: "specversion 0.3 still accepted by Knative (schemaurl, datacontentencoding)".
TEST(JsonFormat, OldVersion) {
  const auto e =
      structured(R"({"specversion":"0.3","id":"1","source":"/s","type":"t","schemaurl":"http://s",)"
                 R"("datacontentencoding":"base64","datacontenttype":"x/y","data":"AAEC"})");
  ASSERT_TRUE(e) << e.error().message();
  EXPECT_EQ(e->data, std::string("\0\1\2", 3));
  EXPECT_EQ(e->attribute("schemaurl"), "http://s");
  EXPECT_EQ(e->attribute("dataschema"), std::nullopt);
  const HttpMessage m = to_binary(*e);
  EXPECT_EQ(m.body, "AAEC");
  EXPECT_EQ(m.headers.get("ce-schemaurl"), "http://s");
  EXPECT_EQ(binary(m.headers, m.body).value_or(Event{}), *e);
  EXPECT_EQ(from_json(to_json(*e), kLimits).value_or(Event{}), *e);
}

TEST(JsonFormat, Batches) {
  const std::string one = with(R"(,"data":[1, "]}"])"), two = with(R"(,"x":"y")");
  const http::Headers h{{"content-type", "application/cloudevents-batch+json"}};
  const auto all = from_http(h, "[" + one + " , " + two + "]", kLimits);
  ASSERT_TRUE(all) << all.error().message();
  ASSERT_EQ(all->size(), 2u);
  EXPECT_EQ((*all)[0].data, R"([1, "]}"])");
  EXPECT_EQ((*all)[1].attribute("x"), "y");
  const HttpMessage m = to_batch(*all);
  EXPECT_EQ(from_http(m.headers, m.body, kLimits).value_or(std::vector<Event>{}), *all);
  EXPECT_TRUE(from_http(h, "[]", kLimits).value().empty());
  const auto bad = from_http(h, "[" + one + ",{}]", kLimits);
  EXPECT_THAT(bad.error().message(), testing::StartsWith("event 1 of the batch: specversion"));
  EXPECT_FALSE(from_http(h, one, kLimits));
  std::string many = "[" + one;
  for (int i = 0; i < 1000; ++i) many += "," + two;
  EXPECT_EQ(from_http(h, many + "]", kLimits).error().code(), Code::ResourceExhausted);
}

TEST(HttpBinding, AnEventInsideAnEventStaysStructured) {
  Event e;
  e.id = "1", e.source = "/s", e.type = "t", e.datacontenttype = "application/cloudevents+json";
  e.data = with("");
  const HttpMessage m = to_binary(e);
  EXPECT_EQ(from_http(m.headers, m.body, kLimits).value().front(), e);
}

TEST(Event, TravelsThroughTheCodec) {
  auto e = binary(ce({{"ce-x", "y"}}), std::string("\0\xff", 2)).value();
  EXPECT_EQ(codec::decode<Event>(codec::encode(e)).value_or(Event{}), e);
  e.data = "";
  EXPECT_EQ(codec::decode<Event>(codec::encode(e)).value_or(Event{}), e);
  e.data.reset();
  e.erase_extension("x");
  EXPECT_EQ(codec::decode<Event>(codec::encode(e)).value_or(Event{}), e);
}

}  // namespace
}  // namespace knit::events
