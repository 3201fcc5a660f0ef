#include "kube/selector.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "kube/names.h"

namespace knit::kube {
namespace {

TEST(LabelSelector, Matches) {
  const Labels labels = {{"app", "web"}, {"tier", "front"}, {"n", "5"}, {"empty", ""}};
  const struct {
    const char* text;
    bool want;
    const char* printed;
  } rows[] = {
      {"", true, ""},
      {"app=web", true, "app=web"},
      {"app==web", true, "app=web"},
      {"app = web , tier = front", true, "app=web,tier=front"},
      {"tier=front,app=db", false, "app=db,tier=front"},
      {"app!=web", false, "app!=web"},
      {"missing!=x", true, "missing!=x"},
      {"app in (db,web)", true, "app in (db,web)"},
      {"app notin (db)", true, "app!=db"},
      {"missing notin (a, b)", true, "missing notin (a,b)"},
      {"app", true, "app"},
      {"!app", false, "!app"},
      {"! missing", true, "!missing"},
      {"n>4", true, "n>4"},
      {"n<5", false, "n<5"},
      {"empty=", true, "empty="},
      {"empty in ()", true, "empty="},
      {"example.com/x notin (a)", true, "example.com/x!=a"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.text);
    const auto s = LabelSelector::parse(row.text);
    ASSERT_TRUE(s) << s.error().message();
    EXPECT_EQ(s->matches(labels), row.want);
    EXPECT_EQ(s->print(), row.printed);
  }
}

TEST(LabelSelector, RefusesInUpstreamsWords) {
  const struct {
    const char *text, *part;
  } rows[] = {
      {"a=b=c", "found '=', expected: ',' or 'end of string'"},
      {"=b", "found '=', expected: identifier"},
      {"a in b", "found 'b', expected: '('"},
      {"a in (b", "found '', expected: ',' or ')'"},
      {"a,", "expected: identifier after ','"},
      {"a b", "found 'b', expected: in, notin, =, ==, !=, gt, lt"},
      {"a/b/c=d", "a qualified name must consist of"},
      {"a=b_", "a valid label must be an empty string"},
      {"a>b", "the value must be an integer"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.text);
    const auto s = LabelSelector::parse(row.text);
    ASSERT_FALSE(s);
    EXPECT_NE(s.error().message().find(row.part), std::string::npos) << s.error().message();
    EXPECT_EQ(s.error().message().rfind("unable to parse requirement: ", 0), 0u);
  }
}

TEST(LabelSelector, FromObjects) {
  const Json selector = *json::parse(
      R"({"matchLabels":{"app":"web"},"matchExpressions":[{"key":"x","operator":"DoesNotExist"}]})");
  const auto s = LabelSelector::from_object(&selector);
  ASSERT_TRUE(s);
  EXPECT_TRUE(s->matches({{"app", "web"}}));
  EXPECT_FALSE(s->matches({{"app", "web"}, {"x", "y"}}));
  EXPECT_FALSE(LabelSelector::from_object(nullptr)->matches({{"app", "web"}}));
  const Json all = JsonObject();
  EXPECT_TRUE(LabelSelector::from_object(&all)->matches({}));
  EXPECT_FALSE(LabelSelector::from_map(&all).matches({}));
  const Json bad = *json::parse(R"({"matchExpressions":[{"key":"x","operator":"Like"}]})");
  EXPECT_FALSE(LabelSelector::from_object(&bad));
}

TEST(FieldSelector, Parses) {
  const auto terms = parse_field_selector(R"(metadata.name=a\,b,status.phase!=Running,x==)");
  ASSERT_TRUE(terms);
  const std::vector<FieldTerm> want = {
      {"metadata.name", true, "a,b"}, {"status.phase", false, "Running"}, {"x", true, ""}};
  EXPECT_EQ(*terms, want);
  EXPECT_EQ(parse_field_selector("foo").error().message(),
            "invalid selector: 'foo'; can't understand 'foo'");
  EXPECT_FALSE(parse_field_selector("a=b=c"));
  EXPECT_FALSE(parse_field_selector("a=b\\"));
  EXPECT_TRUE(parse_field_selector("")->empty());
}

TEST(Names, Rules) {
  EXPECT_TRUE(check_dns1123_label("a-1").empty());
  EXPECT_EQ(check_dns1123_label("a.b"), std::vector<std::string>{"must not contain dots"});
  EXPECT_EQ(check_dns1123_label(std::string(64, 'a')),
            std::vector<std::string>{"must be no more than 63 characters"});
  EXPECT_FALSE(check_dns1123_label("A").empty());
  EXPECT_TRUE(check_dns1123_subdomain("a.b-c.d").empty());
  for (const char* bad : {"", ".", "a..b", "-a", "a-", "a_b", "a/b", "ä"}) {
    EXPECT_FALSE(check_dns1123_subdomain(bad).empty()) << bad;
  }
  EXPECT_FALSE(check_dns1035_label("1a").empty());
  EXPECT_TRUE(check_path_segment("system:node").empty());
  EXPECT_FALSE(check_path_segment("..").empty());
  EXPECT_FALSE(check_port_name("a--b").empty());
  EXPECT_FALSE(check_port_name("80").empty());
  EXPECT_FALSE(check_config_key("a/b").empty());
  EXPECT_TRUE(check_env_name("a.b-C").empty());
  EXPECT_FALSE(check_env_name("a=b").empty());
}

TEST(Names, GeneratedNamesFit) {
  const auto random = seeded_random(1);
  const std::string name = generated_name(std::string(80, 'x'), *random);
  EXPECT_EQ(name.size(), 63u);
  EXPECT_EQ(generated_name("a-", *random).size(), 7u);
}

}  // namespace
}  // namespace knit::kube
