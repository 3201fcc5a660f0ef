#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "check/fixes.h"
#include "check/output.h"

namespace knit::check {
namespace {

std::string text_of(const std::filesystem::path& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

Files folder(const std::string& path) {
  Files out;
  for (const auto& entry : std::filesystem::directory_iterator(path)) {
    if (entry.path().extension() == ".yaml") out[entry.path().filename().string()] = text_of(entry.path());
  }
  return out;
}

Report check(const Files& files, std::optional<Profile> profile = Profile::Ossm2) {
  ObjectSet set;
  for (const auto& [name, text] : files) set.add_text(name, text);
  Options options;
  options.settings.now_unix = 1'800'000'000;
  if (profile) {
    options.settings.profile_given = true;
    options.settings.profile = *profile;
  }
  return run(set, options);
}

/// Code, object and message of what is known and at least a warning.
std::set<std::array<std::string, 3>> told(const Report& report) {
  std::set<std::array<std::string, 3>> out;
  for (const auto& f : report.findings) {
    if (f.unknown() || f.suppressed || f.severity == Severity::Info) continue;
    out.insert({f.code, f.object ? f.object->ref() : "", f.message});
  }
  return out;
}

std::string unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text.substr(i, 2) == "\\n") {
      out += '\n';
      ++i;
    } else {
      out += text[i];
    }
  }
  return out;
}

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
  EXPECT_EQ(unknown, (std::map<std::string, int>{{"K301", 1}, {"K302", 1}, {"K303", 1}, {"K306", 1}}));
  EXPECT_TRUE(report.errors.empty());
  const std::string json = json::pretty(to_json(report));
  if (std::getenv("KNIT_GOLDEN") != nullptr) std::ofstream("tests/check/golden.json") << json << "\n";
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

TEST(Mutants, BringTheirRuleAndNoOther) {
  std::istringstream lines(text_of("tests/check/mutants.txt"));
  const auto good = folder("tests/seed");
  const auto before = told(check(good));
  std::size_t count = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line[0] == '#') continue;
    ++count;
    std::vector<std::string> parts;
    for (std::size_t at = 0; parts.size() < 4;) {
      const auto end = line.find(" | ", at);
      parts.push_back(unescape(line.substr(at, end == std::string::npos ? end : end - at)));
      if (end == std::string::npos) break;
      at = end + 3;
    }
    ASSERT_GE(parts.size(), 3U) << line;
    Files files = good;
    if (parts[1] == "+") {
      files["extra.yaml"] = parts[2];
    } else {
      ASSERT_EQ(parts.size(), 4U) << line;
      auto& text = files.at(parts[1]);
      const auto at = text.find(parts[2]);
      ASSERT_NE(at, std::string::npos) << line;
      text.replace(at, parts[2].size(), parts[3]);
    }
    std::set<std::string> wanted;
    std::istringstream codes(parts[0]);
    for (std::string code; codes >> code;) {
      if (code != "-") wanted.insert(code);
    }
    const auto report = check(files);
    std::set<std::string> got;
    std::string said;
    for (const auto& f : told(report)) {
      if (before.contains(f)) continue;
      got.insert(f[0]);
      said += "\n  " + f[0] + " " + f[1] + ": " + f[2];
    }
    for (const auto& e : report.errors) said += "\n  unreadable: " + e.text;
    EXPECT_EQ(got, wanted) << line << said;
  }
  EXPECT_GT(count, 70U);
}

// Each line of the good set taken out in turn: never a crash, and no error of a rule without cause.
TEST(Mutants, EveryLineCanGo) {
  const auto good = folder("tests/seed");
  for (const auto& [name, text] : good) {
    for (std::size_t at = 0; at < text.size();) {
      const auto end = text.find('\n', at);
      auto files = good;
      files[name].erase(at, end - at + 1);
      at = end + 1;
      const auto report = check(files);
      EXPECT_FALSE(print(report, Format::Text, {}).empty());
    }
  }
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
    EXPECT_FALSE(explain(rule, {}).empty());
  }
}

TEST(Manual, IsTheCommittedFile) { EXPECT_EQ(text_of("docs/checks.md"), manual()); }

TEST(Output, EveryFormatPrintsTheSeed) {
  const auto report = check(folder("tests/check/seed"));
  for (const char* name : {"text", "table", "json", "yaml", "sarif", "junit", "markdown"}) {
    const auto format = parse_format(name);
    ASSERT_TRUE(format);
    EXPECT_NE(print(report, *format, {}).find("K607"), std::string::npos) << name;
  }
  const auto sarif = json::parse(print(report, Format::Sarif, {}));
  ASSERT_TRUE(sarif);
  EXPECT_EQ(json::str(*sarif, {"version"}), "2.1.0");
}

TEST(Suppress, ByFileAndAnnotationWithAReason) {
  ObjectSet set;
  set.add_text("a.yaml",
               "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata:\n  name: <x>\n  namespace: default\n"
               "  annotations: {check.knit.dev/ignore: \"K413=a sample\"}\n");
  EXPECT_EQ(run(set, {}).count(Severity::Error), 0U + run(set, {.only = {"K901"}}).count(Severity::Error));
  const auto parsed = parse_suppressions("K702 Service default/hello until the migration\n");
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->front().reason, "until the migration");
  EXPECT_FALSE(parse_suppressions("K702 Service default/hello\n"));
}

TEST(Objects, BrokenDocumentsLeaveTheRest) {
  ObjectSet set;
  set.add_text("a.yaml", "a: b: c\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n");
  EXPECT_EQ(set.size(), 1U);
  ASSERT_FALSE(set.errors().empty());
  EXPECT_GT(set.errors().front().place.line, 0U);
}

}  // namespace
}  // namespace knit::check
