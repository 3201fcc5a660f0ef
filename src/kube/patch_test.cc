#include "kube/patch.h"

#include <gtest/gtest.h>

namespace knit::kube {
namespace {

Json J(std::string_view text) { return *json::parse(text); }

// Source of most rows: RFC 6902 appendix A.
TEST(JsonPatch, Applies) {
  const struct {
    const char *name, *doc, *patch, *want;
  } rows[] = {
      {"add a member", R"({"foo":"bar"})", R"([{"op":"add","path":"/baz","value":"qux"}])",
       R"({"foo":"bar","baz":"qux"})"},
      {"add an element", R"({"foo":["bar","baz"]})",
       R"([{"op":"add","path":"/foo/1","value":"qux"}])", R"({"foo":["bar","qux","baz"]})"},
      {"append", R"({"foo":[1]})", R"([{"op":"add","path":"/foo/-","value":2}])",
       R"({"foo":[1,2]})"},
      {"remove", R"({"a":1,"b":2})", R"([{"op":"remove","path":"/a"}])", R"({"b":2})"},
      {"remove an element", R"({"a":[1,2,3]})", R"([{"op":"remove","path":"/a/1"}])",
       R"({"a":[1,3]})"},
      {"replace", R"({"a":1})", R"([{"op":"replace","path":"/a","value":{"x":null}}])",
       R"({"a":{"x":null}})"},
      {"move", R"({"a":{"b":1},"c":{}})", R"([{"op":"move","from":"/a/b","path":"/c/d"}])",
       R"({"a":{},"c":{"d":1}})"},
      {"copy", R"({"a":1})", R"([{"op":"copy","from":"/a","path":"/b"}])", R"({"a":1,"b":1})"},
      {"test", R"({"a":{"x":[1,"y"]}})", R"([{"op":"test","path":"/a","value":{"x":[1,"y"]}}])",
       R"({"a":{"x":[1,"y"]}})"},
      {"escapes", R"({"metadata":{"annotations":{"a/b":"1","c~d":"2"}}})",
       R"([{"op":"remove","path":"/metadata/annotations/a~1b"},
           {"op":"replace","path":"/metadata/annotations/c~0d","value":"3"}])",
       R"({"metadata":{"annotations":{"c~d":"3"}}})"},
      {"whole document", R"({"a":1})", R"([{"op":"replace","path":"","value":{"b":2}}])",
       R"({"b":2})"},
      {"empty key", R"({"":{"":1}})", R"([{"op":"replace","path":"//","value":2}])",
       R"({"":{"":2}})"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const auto got = json_patch(J(row.doc), J(row.patch));
    ASSERT_TRUE(got) << got.error().message();
    EXPECT_EQ(json::canonical(*got), json::canonical(J(row.want)));
  }
}

TEST(JsonPatch, Refuses) {
  const struct {
    const char *name, *patch;
    Code code;
  } rows[] = {
      {"not a list", R"({"op":"add"})", Code::InvalidArgument},
      {"unknown operation", R"([{"op":"merge","path":"/a","value":1}])", Code::InvalidArgument},
      {"no path", R"([{"op":"add","value":1}])", Code::InvalidArgument},
      {"a path without a slash", R"([{"op":"add","path":"a","value":1}])", Code::InvalidArgument},
      {"missing parent", R"([{"op":"add","path":"/x/y","value":1}])", Code::Conflict},
      {"missing target", R"([{"op":"replace","path":"/x","value":1}])", Code::Conflict},
      {"remove missing", R"([{"op":"remove","path":"/x"}])", Code::Conflict},
      {"failed test", R"([{"op":"test","path":"/a","value":2}])", Code::Conflict},
      {"index past the end", R"([{"op":"add","path":"/l/3","value":2}])", Code::Conflict},
      {"index with a leading zero", R"([{"op":"remove","path":"/l/01"}])", Code::Conflict},
      {"remove the end", R"([{"op":"remove","path":"/l/-"}])", Code::Conflict},
      {"into itself", R"([{"op":"move","from":"/a","path":"/a/b"}])", Code::InvalidArgument},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const auto got = json_patch(J(R"({"a":1,"l":[0,1]})"), J(row.patch));
    ASSERT_FALSE(got);
    EXPECT_EQ(got.error().code(), row.code);
  }
}

TEST(JsonPatch, BoundsWhatCopiesAdd) {
  JsonArray patch;
  for (int i = 0; i < 40; ++i) {
    patch.push_back(J(R"({"op":"copy","from":"","path":"/x)" + std::to_string(i) + "\"}"));
  }
  const auto got = json_patch(J(R"({"a":"b"})"), Json(patch));
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code(), Code::ResourceExhausted);
}

TEST(MergePatch, OneThatChangesNothingIsKnownWithoutPatching) {
  const Json target = J(R"({"a":{"x":1,"y":null},"b":[1,{"c":2}],"d":{}})");
  for (const char* patch :
       {R"({})", R"({"a":{}})", R"({"a":{"x":1}})", R"({"b":[1,{"c":2}]})", R"({"d":{}})",
        R"({"z":null})", R"({"a":{"z":null}})", R"({"a":{"x":2}})", R"({"a":{"y":null}})",
        R"({"b":[1]})", R"({"d":{"e":null}})", R"({"e":{}})", R"({"d":1})", R"({"b":{"c":null}})",
        R"([])", R"(null)"}) {
    Json patched = target;
    json::merge_patch(patched, J(patch));
    EXPECT_EQ(merges_nothing(target, J(patch)), patched == target) << patch;
  }
}

}  // namespace
}  // namespace knit::kube
