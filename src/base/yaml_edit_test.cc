#include "base/yaml_edit.h"

#include "base/yaml.h"

namespace knit {
namespace {
using yaml::Path;

constexpr std::string_view kText = R"(# head
apiVersion: v1
metadata:
  name: a   # the name
  labels: {x: "1", w: '2'}
spec:
  ports:
  - number: 80
    name: http  # first
  # about the second
  - name: https
    number: 443

  empty:
---
b: 1
)";

TEST(YamlEdit, ChangesOnlyTheBytesOfWhatChanges) {
  const struct { const char* name; Path path; std::size_t doc; Json value; const char* from; const char* to; } rows[] = {
      {"scalar keeps its comment", Path{"metadata", "name"}, 0, "b", "name: a   #", "name: b   #"},
      {"quotes stay", Path{"metadata", "labels", "w"}, 0, "3", "w: '2'", "w: '3'"},
      {"flow mapping grows", Path{"metadata", "labels", "z"}, 0, true, "w: '2'}", "w: '2', z: true}"},
      {"text that looks like a bool is quoted", Path{"metadata", "labels", "z"}, 0, "true", "w: '2'}",
       "w: '2', z: \"true\"}"},
      {"item member", Path{"spec", "ports"} / 1 / "name", 0, "tls", "name: https", "name: tls"},
      {"new member behind the last line", Path{"spec", "ports"} / 1 / "tls", 0,
       json::parse(R"({"mode":"SIMPLE"})").value(), "    number: 443\n",
       "    number: 443\n    tls:\n      mode: SIMPLE\n"},
      {"new item", Path{"spec", "ports"} / 2, 0, json::parse(R"({"number":1,"name":"m"})").value(),
       "    number: 443\n", "    number: 443\n  - number: 1\n    name: m\n"},
      {"nothing becomes something", Path{"spec", "empty", "a"}, 0, 1, "  empty:\n", "  empty:\n    a: 1\n"},
      {"second document", Path{"c", "d"}, 1, "x", "b: 1\n", "b: 1\nc:\n  d: x\n"},
      {"new mapping", Path{"metadata", "annotations", "a.b/c"}, 0, "true", "  labels: {x: \"1\", w: '2'}\n",
       "  labels: {x: \"1\", w: '2'}\n  annotations:\n    a.b/c: \"true\"\n"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const auto got = yaml::set(kText, row.doc, row.path, row.value);
    ASSERT_TRUE(got) << got.error().message();
    std::string want(kText);
    want.replace(want.find(row.from), std::strlen(row.from), row.to);
    EXPECT_EQ(*got, want);
    const auto parsed = yaml::parse(*got);
    ASSERT_TRUE(parsed.errors.empty());
    const Json value = yaml::to_json(*parsed.documents[row.doc].root).value();
    ASSERT_NE(yaml::find(value, row.path), nullptr);
    EXPECT_EQ(*yaml::find(value, row.path), row.value);
  }
}

TEST(YamlEdit, Erase) {
  const struct { const char* name; Path path; const char* from; const char* to; } rows[] = {
      {"line", Path{"metadata", "name"}, "  name: a   # the name\n", ""},
      {"first flow member", Path{"metadata", "labels", "x"}, "x: \"1\", ", ""},
      {"last flow member", Path{"metadata", "labels", "w"}, ", w: '2'", ""},
      {"behind the dash", Path{"spec", "ports"} / 1 / "name", "- name: https\n    number", "- number"},
      {"item", Path{"spec", "ports"} / 0, "  - number: 80\n    name: http  # first\n", ""},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const auto got = yaml::erase(kText, 0, row.path);
    ASSERT_TRUE(got) << got.error().message();
    std::string want(kText);
    want.replace(want.find(row.from), std::strlen(row.from), row.to);
    EXPECT_EQ(*got, want);
  }
  EXPECT_FALSE(yaml::erase(kText, 0, Path{"nope"}));
  EXPECT_FALSE(yaml::set(kText, 5, Path{"nope"}, 1));
  EXPECT_FALSE(yaml::set(kText, 0, Path{"metadata", "name", "x"}, 1));
}

TEST(YamlEdit, PathsPrint) {
  EXPECT_EQ(yaml::to_string(Path{"metadata", "labels", "a.b/c"} / 2), "metadata.labels[\"a.b/c\"][2]");
  EXPECT_EQ(yaml::json_pointer(Path{"a/b", "c~d"} / 0), "/a~1b/c~0d/0");
}

}  // namespace
}  // namespace knit
