#include "base/json.h"

namespace knit {
namespace {

TEST(Json, ParseNamesTheOffset) {
  const auto r = json::parse("{\"a\": 1,}");
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code(), Code::InvalidArgument);
  EXPECT_NE(r.error().message().find("at byte 8"), std::string::npos) << r.error().message();
  EXPECT_FALSE(json::parse("{} x"));
  EXPECT_FALSE(json::parse(""));
  EXPECT_FALSE(json::parse("[-4111e4114]"));  // found by fuzzing: printed as -inf
  EXPECT_FALSE(json::parse(std::string(100, '[') + std::string(100, ']')));
}

TEST(Json, CanonicalSortsAndKeepsNumbers) {
  const auto v = json::parse(R"({"b":1.5,"a":[9007199254740993,-1,1e100],"c":"\u00e9"})").value();
  EXPECT_EQ(json::canonical(v), "{\"a\":[9007199254740993,-1,1e+100],\"b\":1.5,\"c\":\"\xC3\xA9\"}");
}

TEST(Json, MergePatchAndDiffAgree) {
  const auto from = json::parse(R"({"a":{"x":1,"y":2},"b":[1],"c":"d"})").value();
  const auto to = json::parse(R"({"a":{"x":1,"z":3},"b":[2],"e":{}})").value();
  Json patched = from;
  json::merge_patch(patched, json::merge_diff(from, to));
  EXPECT_EQ(patched, to);
}

TEST(Json, DuplicateKeysAreNamedByPath) {
  EXPECT_EQ(json::duplicate_keys(R"({"a":{"b":1,"b":2},"c":[{"d":1},{"d":1,"d":2}]})"),
            (std::vector<std::string>{"a.b", "c[1].d"}));
}

TEST(Json, SetEraseFind) {
  Json v;
  json::set(v, {"spec", "replicas"}, 3);
  EXPECT_EQ(json::i64(v, {"spec", "replicas"}), 3);
  EXPECT_TRUE(json::erase(v, {"spec", "replicas"}));
  EXPECT_FALSE(json::erase(v, {"spec", "replicas"}));
  EXPECT_EQ(json::find(v, {"spec", "x", "y"}), nullptr);
}

}  // namespace
}  // namespace knit
