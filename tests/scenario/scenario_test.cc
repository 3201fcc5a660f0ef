// Every *.yaml below this folder is one test.
#include "scenario.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/log.h"

namespace knit::scenario {
namespace {
namespace fs = std::filesystem;
constexpr const char* kRoot = "tests/scenario";

std::vector<std::string> files() {
  std::vector<std::string> out;
  for (const auto& entry : fs::recursive_directory_iterator(kRoot)) {
    if (entry.path().extension() == ".yaml") out.push_back(entry.path().string());
  }
  std::sort(out.begin(), out.end());
  return out;
}

class ScenarioTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (std::getenv("KNIT_LOG") == nullptr) log::set_sink([](log::Level, std::string_view) {});
  }
};
INSTANTIATE_TEST_SUITE_P(Files, ScenarioTest, ::testing::ValuesIn(files()), [](const auto& info) {
  std::string name = fs::relative(info.param, kRoot).replace_extension().string();
  for (char& c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  }
  return name;
});

TEST_P(ScenarioTest, GoesAsItSays) {
  for (const auto& problem : run(GetParam())) ADD_FAILURE() << GetParam() << ": " << problem;
}

TEST(Scenarios, WhatIsNotSoIsSaid) {
  log::set_sink([](log::Level, std::string_view) {});
  const struct {
    const char *text, *says;
  } rows[] = {
      {"- expect: {sa/default: absent}\n  within: 1s", "serviceaccounts default/default is there"},
      {"- expect: {cm/none: {data.a: b}}\n  within: 1s", "configmaps default/none is not there"},
      {"- expect: {ns/default: {status.phase: Gone}}\n  within: 1s", "status.phase is Active"},
      {"- apply: {apiVersion: v1, kind: ConfigMap, metadata: {name: c}}\n  refused: \"no\"",
       "was accepted"},
      {"- apply: {apiVersion: v1, kind: ConfigMap, metadata: {name: c}}\n  warned: \"no\"",
       "no such warning"},
      {"- apply: {apiVersion: v1, kind: ConfigMap, metadata: {name: c}, dta: {}}",
       "unknown field \"dta\""},
      {"- request: {host: nowhere.example.com, within: 1s}", "answered 503"},
      {"- expect: {thing/x: absent}", "there is no kind \"thing\""},
      {"- jump: high", "unknown step"},
      {"a: b", "not a list of steps"},
      {"- [", "line "},
  };
  char name[] = "/tmp/knit-scenario-XXXXXX";
  ASSERT_NE(::mkdtemp(name), nullptr);
  const std::string path = std::string(name) + "/x.yaml";
  for (const auto& row : rows) {
    SCOPED_TRACE(row.text);
    std::ofstream(path) << row.text;
    const auto problems = run(path);
    ASSERT_EQ(problems.size(), 1U);
    EXPECT_NE(problems[0].find(row.says), std::string::npos) << problems[0];
  }
  fs::remove_all(name);
}

}  // namespace
}  // namespace knit::scenario
