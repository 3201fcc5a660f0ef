#include <gtest/gtest.h>

#include "check/output.h"
#include "check/test_files.h"
#include "check/texts.h"

namespace knit::check {
namespace {

// The procedure's own manifests, as they stand (users.md 2.2, and the corrections of 2.3).
TEST(Seed, GivesExactlyTheGoldenReport) {
  const auto report = check(folder("tests/check/seed"));
  std::map<std::string, int> errors, warnings, unknown;
  for (const auto& f : report.findings) {
    if (f.unknown()) {
      ++unknown[f.code];
    } else if (f.severity == Severity::Error) {
      ++errors[f.code];
    } else {
      ++warnings[f.code];
    }
  }
  EXPECT_EQ(errors, (std::map<std::string, int>{{"K413", 12}, {"K503", 1}, {"K607", 1}}));
  EXPECT_EQ(warnings, (std::map<std::string, int>{{"K407", 1}, {"K408", 1}, {"K702", 1}}));
  EXPECT_EQ(unknown,
            (std::map<std::string, int>{{"K301", 1}, {"K302", 1}, {"K303", 1}, {"K306", 1}}));
  EXPECT_TRUE(report.errors.empty());
  const std::string json = json::pretty(to_json(report));
  if (std::getenv("KNIT_GOLDEN") != nullptr)
    std::ofstream("tests/check/golden.json") << json << "\n";
  EXPECT_EQ(text_of("tests/check/golden.json"), json + "\n");
}

TEST(Seed, OlderEventingNeedsNoJobSink) {
  auto files = folder("tests/check/seed");
  auto& text = files.at("knative-eventing-config.yaml");
  text.replace(text.find("spec:\n"), 6, "spec:\n  version: \"1.14\"\n");
  for (const auto& f : check(files).findings) {
    if (f.code == "K503") EXPECT_EQ(f.severity, Severity::Warning) << f.message;
  }
}

TEST(Fix, MendsTheFilledSeed) {
  Options options;
  options.settings.profile_given = true;
  const auto files = folder("tests/seed");
  const auto fixed = fix_files(files, options);
  auto now = files;
  for (const auto& [name, text] : fixed.files) now[name] = text;
  for (const auto& step : fixed.steps) EXPECT_TRUE(step.applied) << step.code << ": " << step.why;
  EXPECT_GE(fixed.steps.size(), 5U);
  for (const auto& f : told(check(now))) ADD_FAILURE() << f[0] << " " << f[1] << ": " << f[2];
  EXPECT_NE(now.at("smcp.yaml").find("# serving: wait-for-drain"), std::string::npos);
}

// users.md A3: eleven planted mistakes, eleven findings, no false alarm; mended, nothing is left.
TEST(Eleven, MistakesAreElevenFindings) {
  const auto broken = folder("tests/check/broken");
  std::multiset<std::string> errors, warnings;
  for (const auto& f : check(broken).findings) {
    if (!f.unknown()) (f.severity == Severity::Error ? errors : warnings).insert(f.code);
  }
  EXPECT_EQ(errors, (std::multiset<std::string>{"K103", "K105", "K120", "K208", "K402", "K403",
                                                "K501", "K607", "K701"}));
  EXPECT_EQ(warnings, (std::multiset<std::string>{"K407", "K702"}));
  Options options;
  options.settings.profile_given = true;
  const auto fixed = fix_files(broken, options);
  auto now = broken;
  for (const auto& [name, text] : fixed.files) now[name] = text;
  EXPECT_TRUE(told(check(now)).empty());
  EXPECT_TRUE(told(check(folder("tests/check/good"))).empty());
}

TEST(Speed, AThousandObjects) {
  ObjectSet set;
  const auto service = text_of("tests/seed/knative-service.yaml");
  for (const auto& [name, text] : folder("tests/seed")) set.add_text(name, text);
  for (int i = 0; i < 1000; ++i) {
    auto text = service;
    text.replace(text.find("name: hello"), 11, "name: hello" + std::to_string(i));
    set.add_text("s" + std::to_string(i), text);
  }
  const auto report = run(set, {});
  EXPECT_EQ(std::count_if(report.findings.begin(), report.findings.end(),
                          [](const Finding& f) { return f.code == "K702"; }),
            1001);
}

// Many of what meets: what looks at pairs must not look at all pairs.
TEST(Speed, ManyThatMeet) {
  ObjectSet set;
  std::string text =
      "apiVersion: maistra.io/v2\nkind: ServiceMeshControlPlane\nmetadata: {name: basic, "
      "namespace: istio-system}\n";
  for (int i = 0; i < 20'000; ++i) {
    const auto n = std::to_string(i);
    text += "---\napiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: g" + n +
            ", namespace: a}\nspec: {selector: {istio: ingressgateway}, servers: [{port: {number: "
            "443, name: https, protocol: HTTPS}, hosts: [h" +
            n +
            ".a.com], tls: {mode: SIMPLE, "
            "credentialName: c" +
            n + "}}]}\n" +
            "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: e" + n +
            ", namespace: a}\nspec: {hosts: [h" + n +
            ".com], exportTo: ['.'], resolution: DNS, "
            "ports: [{number: 9092, name: tcp, protocol: TCP}]}\n" +
            "---\napiVersion: sources.knative.dev/v1\nkind: KafkaSource\nmetadata: {name: s" + n +
            ", namespace: a}\nspec: {bootstrapServers: ['h" + n + ".com:9092']}\n";
  }
  set.add_text("a.yaml", text);
  const auto began = std::chrono::steady_clock::now();
  const auto report = run(set, {.only = {"K201", "K202", "K203", "K606", "K612"}});
  EXPECT_EQ(report.count(Severity::Error), 0U);
  // All pairs took minutes; this takes a second or two in a slow build.
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(60));
}

TEST(Report, WhatHadNothingToLookAtHasNotPassed) {
  ObjectSet set;
  set.add_text("a.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n");
  const auto report = run(set, {});
  const auto has = [](const auto& list, std::string_view code) {
    return std::find(list.begin(), list.end(), find_rule(code)) != list.end();
  };
  EXPECT_TRUE(has(report.idle, "K102"));
  EXPECT_TRUE(has(report.idle, "K607"));
  EXPECT_FALSE(has(report.passed, "K102"));
  EXPECT_TRUE(has(report.passed, "K901"));
  EXPECT_TRUE(has(check(folder("tests/check/good")).passed, "K102"));
}

TEST(Objects, ListsOfListsAreFlattened) {
  ObjectSet set;
  const std::string entry =
      "{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: a, namespace: a}, "
      "spec: {hosts: [a.com], exportTo: ['.'], ports: [{number: 1, name: a, protocol: TCP}, "
      "{number: 2, name: a, protocol: TCP}]}}";
  const std::string text =
      "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: List\n"
      "  items:\n  - " +
      entry + "\n";
  set.add_text("a.yaml", text);
  EXPECT_TRUE(set.errors().empty());
  EXPECT_EQ(set.list("networking.istio.io/ServiceEntry").size(), 1U);
  const auto fixed = fix_files({{"a.yaml", text}}, {.only = {"K607"}});
  ASSERT_EQ(fixed.steps.size(), 1U);
  EXPECT_FALSE(fixed.steps[0].applied);
  EXPECT_TRUE(fixed.files.empty());
}

// STRICT brings K105 to light where ports are missing: both are mended, or neither.
TEST(Fix, MendsWhatItBringsToLight) {
  auto files = folder("tests/check/good");
  auto& smcp = files.at("smcp.yaml");
  const auto drop = [&](const std::string& from, const std::string& to) {
    const auto at = smcp.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    smcp.replace(at, from.size(), to);
  };
  drop("mtls: true", "mtls: false  # for now");
  drop("8022", "9999");
  Options options;
  options.settings.profile_given = true;
  const auto fixed = fix_files(files, options);
  ASSERT_EQ(fixed.steps.size(), 1U);
  EXPECT_TRUE(fixed.steps[0].applied) << fixed.steps[0].why;
  EXPECT_EQ(fixed.steps[0].code, "K102");
  EXPECT_NE(fixed.steps[0].text.find("K105"), std::string::npos);
  for (const auto& [name, text] : fixed.files) files[name] = text;
  EXPECT_TRUE(told(check(files)).empty());
  EXPECT_NE(files.at("smcp.yaml").find("mtls: true  # for now"), std::string::npos);
  EXPECT_NE(files.at("smcp.yaml").find("9999"), std::string::npos);
}

// Names in a file must not speak to the terminal.
TEST(Output, ControlCharactersAreShown) {
  ObjectSet set;
  set.add_text("a\033[2J.yaml",
               "apiVersion: v1\nkind: Namespace\nmetadata: {name: \"a\\e[31m\\x07\\u202E\\n"
               "√ all is well\"}\n");
  const auto report = run(set, {});
  ASSERT_GT(report.findings.size(), 0U);
  for (const auto format : {Format::Text, Format::Short, Format::Table, Format::Markdown}) {
    const auto out = print(report, format, {});
    EXPECT_EQ(out.find_first_of("\033\007"), std::string::npos) << out;
    EXPECT_EQ(out.find("\u202e"), std::string::npos);
    EXPECT_EQ(out.find("\n√ all is well"), std::string::npos);
  }
  // Colours are the report's own.
  const auto out = print(report, Format::Text, {.colour = true});
  EXPECT_NE(out.find("\033[1m"), std::string::npos);
  EXPECT_EQ(out.find("\033[2J"), std::string::npos);
}

TEST(Rules, AreWholeRecordsAndAnswerToEveryAlias) {
  std::set<std::string> names;
  for (const auto& rule : rules()) {
    EXPECT_TRUE(names.emplace(rule.code).second) << rule.code;
    for (const auto a : rule.aliases) {
      EXPECT_TRUE(names.emplace(a).second) << a;
      EXPECT_EQ(find_rule(a), &rule);
    }
    for (const auto text : {rule.title, rule.title_ja, rule.symptom, rule.why, rule.fix}) {
      EXPECT_FALSE(text.empty()) << rule.code;
    }
    EXPECT_TRUE(rule.check) << rule.code;
    const auto& texts = texts_of(rule);
    EXPECT_FALSE(texts.source.empty()) << rule.code;
    for (const auto text : {texts.why_ja, texts.fix_ja}) {
      EXPECT_TRUE(std::any_of(text.begin(), text.end(), [](char c) { return c < 0; }))
          << rule.code << " has no Japanese text";
    }
    EXPECT_FALSE(texts.symptom_ja.empty()) << rule.code;
    EXPECT_NE(explain(rule, {}).find(rule.why), std::string::npos);
    EXPECT_NE(explain(rule, {.japanese = true}).find(texts.why_ja), std::string::npos);
  }
}

// Every id of both catalogues (users.md 2.3, mesh.md 1.9) is a rule or an alias of one.
TEST(Rules, AnswerForEveryIdOfBothCatalogues) {
  std::istringstream ids(text_of("tests/check/catalogue_ids.txt"));
  std::size_t count = 0;
  for (std::string id; ids >> id; ++count) {
    EXPECT_NE(find_rule(id), nullptr) << id;
  }
  EXPECT_EQ(count, 81U + 49U);
}

TEST(Manual, IsTheCommittedFile) { EXPECT_EQ(text_of("docs/checks.md"), manual()); }

TEST(Output, EveryFormatPrintsTheSeed) {
  const auto report = check(folder("tests/check/seed"));
  for (const char* name :
       {"text", "short", "table", "json", "yaml", "sarif", "junit", "markdown"}) {
    const auto format = parse_format(name);
    ASSERT_TRUE(format);
    EXPECT_NE(print(report, *format, {}).find("K607"), std::string::npos) << name;
  }
  const auto sarif = json::parse(print(report, Format::Sarif, {}));
  ASSERT_TRUE(sarif);
  EXPECT_EQ(json::str(*sarif, {"version"}), "2.1.0");
  const Json& run_of = json::array(*sarif, {"runs"}).at(0);
  EXPECT_FALSE(json::str(run_of, {"tool", "driver", "version"}).empty());
  ObjectSet odd;
  odd.add_text("a b:ü.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: <x>}\n");
  EXPECT_NE(print(run(odd, {}), Format::Sarif, {}).find("\"a%20b%3A%C3%BC.yaml\""),
            std::string::npos);
}

TEST(Suppress, ByFileAndAnnotationWithAReason) {
  ObjectSet set;
  set.add_text("a.yaml",
               "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata:\n  name: <x>\n  "
               "namespace: default\n"
               "  annotations: {check.knit.dev/ignore: \"K413=a sample\"}\n");
  EXPECT_EQ(run(set, {}).count(Severity::Error),
            0U + run(set, {.only = {"K901"}}).count(Severity::Error));
  const auto parsed = parse_suppressions("K702 Service default/hello until the migration\n");
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->front().reason, "until the migration");
  EXPECT_FALSE(parse_suppressions("K702 Service default/hello\n"));
}

TEST(Objects, BrokenDocumentsLeaveTheRest) {
  ObjectSet set;
  set.add_text("a.yaml", "kind: [\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n");
  EXPECT_EQ(set.size(), 1U);
  ASSERT_FALSE(set.errors().empty());
  EXPECT_GT(set.errors().front().place.line, 0U);
}

}  // namespace
}  // namespace knit::check
