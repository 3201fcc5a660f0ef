#include "base/yaml.h"

namespace knit {
namespace {

Json one(std::string_view text) {
  auto r = yaml::parse_one(text);
  EXPECT_TRUE(r) << (r ? "" : r.error().message());
  return r ? *r : Json();
}

TEST(Yaml, ScalarsAsKubectlReadsThem) {
  const struct {
    const char* yaml;
    const char* json;
  } rows[] = {
      {"a: yes", R"({"a":true})"},
      {"a: \"yes\"", R"({"a":"yes"})"},
      {"a: 0777", R"({"a":511})"},
      {"a: 0x1F", R"({"a":31})"},
      {"a: 1_000", R"({"a":1000})"},
      {"a: 1.5", R"({"a":1.5})"},
      {"a: 1e3", R"({"a":1000})"},
      {"a: 1.2.3", R"({"a":"1.2.3"})"},
      {"a: ~", R"({"a":null})"},
      {"a:", R"({"a":null})"},
      {"a: 2026-01-01", R"({"a":"2026-01-01"})"},
      {"1: b", R"({"1":"b"})"},
      {"true: b", R"({"true":"b"})"},
      {"a: !!str 5", R"({"a":"5"})"},
      {"a: |\n  x\n  y\n", R"({"a":"x\ny\n"})"},
      {"a: 08", R"({"a":8})"},
      {"a: 9223372036854775808", R"({"a":9223372036854775808})"},
      {"a: -9223372036854775808", R"({"a":-9223372036854775808})"},
      {"a: 100m", R"({"a":"100m"})"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.yaml);
    EXPECT_EQ(json::print(one(row.yaml)), row.json);
  }
}

TEST(Yaml, MarksAreLinesAndColumns) {
  const auto p = yaml::parse("# c\nspec:\n  \xC3\xA9: {a: b}\n  ports:\n  - number: 443\n");
  ASSERT_TRUE(p.errors.empty());
  const auto* number = p.documents[0].root->find("spec")->find("ports")->items[0]->find("number");
  EXPECT_EQ(number->start.line, 5U);
  EXPECT_EQ(number->start.column, 13U);
  EXPECT_EQ(number->start.offset, 44U);
}

TEST(Yaml, ABrokenDocumentDoesNotHideTheOthers) {
  const auto p = yaml::parse("a: 1\n---\nb: [1\nc: 2\n---\nd: 3\n");
  ASSERT_EQ(p.documents.size(), 2U);
  ASSERT_EQ(p.errors.size(), 1U);
  EXPECT_EQ(p.errors[0].mark.line, 4U);
  EXPECT_EQ(p.documents[1].root->find("d")->start.line, 6U);
}

TEST(Yaml, DuplicateKeysAliasesAndBombs) {
  const auto dup = yaml::parse("a: 1\nb: 2\na: 3\n");
  ASSERT_EQ(dup.documents[0].duplicate_keys.size(), 1U);
  EXPECT_EQ(dup.documents[0].duplicate_keys[0].mark.line, 3U);
  EXPECT_EQ(json::print(one("x: &x {a: 1, b: 2}\nz:\n  <<: *x\n  b: 3\n")),
            R"({"x":{"a":1,"b":2},"z":{"b":3,"a":1}})");
  std::string bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
  for (int i = 1; i < 12; ++i) {
    const std::string n = std::to_string(i), m = std::to_string(i - 1);
    bomb += "a" + n + ": &a" + n + " [";
    for (int j = 0; j < 10; ++j) bomb += (j != 0 ? ",*a" : "*a") + m;
    bomb += "]\n";
  }
  EXPECT_FALSE(yaml::parse_one(bomb));
  EXPECT_FALSE(yaml::parse_one(std::string(500, '[')));
  EXPECT_FALSE(yaml::parse_one("\xff\xfe\x01"));
}

TEST(Yaml, ByteOrderMarksAndOtherEncodings) {
  const auto marked = yaml::parse("\xef\xbb\xbfkind: a\nb: {c: 1}\n---\nd: 1\n");
  ASSERT_TRUE(marked.errors.empty()) << marked.errors.front().message;
  ASSERT_EQ(marked.documents.size(), 2U);
  EXPECT_EQ(marked.documents[0].root->find("b")->start.offset, 14U);
  for (const std::string_view text :
       {std::string_view("\xff\xfe"
                         "a\0:\0",
                         6),
        std::string_view("\xfe\xff\0a", 4), std::string_view("a\0:\0 \0b\0", 8),
        std::string_view("\0a\0:", 4)}) {
    const auto parsed = yaml::parse(text);
    ASSERT_EQ(parsed.errors.size(), 1U);
    EXPECT_NE(parsed.errors[0].message.find("UTF-16"), std::string::npos);
  }
  const auto latin = yaml::parse("a: 1\nb: ok\nc: caf\xe9\n");
  ASSERT_EQ(latin.errors.size(), 1U);
  EXPECT_EQ(latin.errors[0].mark.line, 3U);
  EXPECT_EQ(latin.errors[0].mark.column, 7U);
  const auto tab = yaml::parse("a:\n\tb: 1\n");
  ASSERT_EQ(tab.errors.size(), 1U);
  EXPECT_NE(tab.errors[0].message.find("a tab"), std::string::npos);
}

// What kubectl's decoder reads: JSON objects one after another.
TEST(Yaml, JsonObjectsOneAfterAnother) {
  const auto parsed = yaml::parse("{\"a\": \"é\"}\n{\"a\": 2,\n \"b\": 3} {\"a\": 4}\n");
  ASSERT_TRUE(parsed.errors.empty()) << parsed.errors.front().message;
  ASSERT_EQ(parsed.documents.size(), 3U);
  EXPECT_EQ(parsed.documents[1].root->start.line, 2U);
  EXPECT_EQ(parsed.documents[2].root->start.line, 3U);
  EXPECT_EQ(parsed.documents[2].root->find("a")->text, "4");
  EXPECT_FALSE(yaml::parse("a: 1\n{b: 2}\n").errors.empty());
  EXPECT_FALSE(yaml::parse("{a: 1}\nb: 2\n").errors.empty());
}

TEST(Yaml, PrintReadsBackAsTheSame) {
  const auto v =
      json::parse(R"({"a":{"b":[1,"yes",{"c":"x: y","d":[]}],"e":{}},"f":"","g":[[1],[2,3]],
                                 "h":"line\nbreak","i":"- x","j":true,"k":null,"l":"#"})")
          .value();
  EXPECT_EQ(json::canonical(one(yaml::print(v))), json::canonical(v)) << yaml::print(v);
}

TEST(Yaml, PrintQuotesWhatWouldReadBackAsSomethingElse) {
  for (const char* text :
       {".inf", "+.inf", "-.INF", ".NaN", "...", "---", "true", "~", "0x1F", "1e3",
        "a\xc2\x85"
        "b",
        "a\xe2\x80\xa8"
        "b",
        "\xef\xbb\xbf", "\x7f", "a\xc2\xa0", "!x", "? a", "<<", "x #y"}) {
    SCOPED_TRACE(text);
    const JsonObject object{{text, text}};
    for (const Json& v : {Json(text), Json(object), Json(JsonArray{text})}) {
      const auto again = yaml::parse_one(yaml::print(v));
      ASSERT_TRUE(again) << yaml::print(v);
      EXPECT_EQ(json::canonical(*again), json::canonical(v)) << yaml::print(v);
    }
  }
  EXPECT_FALSE(yaml::parse_one("a: .Inf"));  // JSON has no infinity: an error, not a string
}

}  // namespace
}  // namespace knit
