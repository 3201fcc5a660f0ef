#include <gtest/gtest.h>

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "check/fixes.h"
#include "check/output.h"
#include "check/texts.h"
#include "pki/cert_command.h"

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
    if (entry.path().extension() == ".yaml")
      out[entry.path().filename().string()] = text_of(entry.path());
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

// Rules that the good set does not reach: a set of their own each, failing and passing.
TEST(Fixtures, FailAndPass) {
  std::istringstream lines(text_of("tests/check/fixtures.txt"));
  std::map<std::string, int> seen;
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line[0] == '#') continue;
    const auto one = line.find(" | ");
    const auto two = line.find(" | ", one + 3);
    ASSERT_NE(two, std::string::npos) << line;
    const std::string flags = line.substr(0, one);
    std::string code = line.substr(one + 3, two - one - 3);
    const bool passes = code.starts_with('!');
    if (passes) code.erase(0, 1);
    ASSERT_NE(find_rule(code), nullptr) << line;
    ObjectSet set;
    set.add_text("a.yaml", unescape(line.substr(two + 3)));
    EXPECT_TRUE(set.errors().empty()) << line;
    set.live = flags.find("live") != std::string::npos;
    set.complete = flags.find("complete") != std::string::npos;
    Options options;
    options.only = {code};
    options.settings.profile_given = true;
    if (flags.find("ossm3") != std::string::npos) options.settings.profile = Profile::Ossm3;
    if (flags.find("istio") != std::string::npos) options.settings.profile = Profile::Istio;
    const auto report = run(set, options);
    const bool found = std::any_of(report.findings.begin(), report.findings.end(),
                                   [](const Finding& f) { return !f.unknown(); });
    EXPECT_NE(found, passes) << line;
    seen[code] |= passes ? 2 : 1;
  }
  for (const auto& [code, both] : seen)
    EXPECT_EQ(both, 3) << code << " wants a failing and a passing line";
}

TEST(Fixtures, CoverEveryRule) {
  const std::string all = text_of("tests/check/fixtures.txt") + text_of("tests/check/mutants.txt") +
                          text_of("src/check/check_test.cc");
  for (const auto& rule : rules()) EXPECT_NE(all.find(rule.code), std::string::npos) << rule.code;
}

// Certificates are really parsed: K301, K302, K303, K306.
TEST(Certificates, AreParsed) {
  const auto dir =
      std::filesystem::temp_directory_path() / ("knit-check-" + std::to_string(::getpid()));
  std::filesystem::create_directories(dir);
  pki::CertEnvironment environment;
  environment.data_dir = dir.string();
  environment.apps_domain = "apps.example.com";
  environment.now = WallTime{1'790'000'000LL * 1'000'000'000};
  const auto secret = pki::cert_command({"wildcard"}, environment);
  const auto root = pki::cert_command({"root"}, environment);
  environment.data_dir = (dir / "other").string();
  std::filesystem::create_directories(dir / "other");
  const auto other = pki::cert_command({"root"}, environment);
  ASSERT_TRUE(secret && root && other);
  auto files = folder("tests/seed");
  files["secret.yaml"] = secret->text;
  const auto codes = [&](std::int64_t now, const std::string& domain, const std::string& ca) {
    ObjectSet set;
    for (const auto& [name, text] : files) set.add_text(name, text);
    Options options;
    options.only = {"K301", "K302", "K303", "K306"};
    options.settings.now_unix = now;
    options.settings.apps_domain = domain;
    options.settings.root_ca_pem = ca;
    std::set<std::string> out;
    for (const auto& f : run(set, options).findings) out.insert((f.unknown() ? "?" : "") + f.code);
    return out;
  };
  using Codes = std::set<std::string>;
  constexpr std::int64_t kNow = 1'790'000'100;
  EXPECT_EQ(codes(kNow, "apps.example.com", root->text), Codes());
  EXPECT_EQ(codes(kNow, "example.com", root->text), Codes{"K303"});
  EXPECT_EQ(codes(kNow, "apps.example.com", other->text), Codes{"K306"});
  EXPECT_EQ(codes(kNow, "", ""), (Codes{"?K303", "?K306"}));
  EXPECT_TRUE(codes(kNow + 50LL * 365 * 86400, "apps.example.com", root->text).contains("K302"));
  std::filesystem::remove_all(dir);
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

// Each line of the good set taken out in turn: some rule or the reader says so, but for lines that
// a listed file names (defaults, and what the file means without them).
TEST(Mutants, EveryLineCanGo) {
  const auto good = folder("tests/seed");
  const auto before = told(check(good));
  const auto unknown = check(good).unknown();
  std::string silent;
  for (const auto& [name, text] : good) {
    for (std::size_t at = 0, line = 1; at < text.size(); ++line) {
      const auto end = text.find('\n', at);
      const std::string gone = text.substr(at, end - at);
      auto files = good;
      files[name].erase(at, end - at + 1);
      at = end + 1;
      const auto report = check(files);
      EXPECT_FALSE(print(report, Format::Text, {}).empty());
      bool heard = !report.errors.empty();
      for (const auto& f : told(report)) heard |= !before.contains(f);
      heard |= report.unknown() > unknown;
      if (!heard) silent += name + ":" + std::to_string(line) + ":" + gone + "\n";
    }
  }
  EXPECT_EQ(silent, text_of("tests/check/silent_lines.txt"));
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

// Every id of both catalogues (users.md 2.3, mesh.md 1.9) is a rule, an alias, or explained.
TEST(Rules, AnswerForEveryIdOfBothCatalogues) {
  std::istringstream ids(text_of("tests/check/catalogue_ids.txt"));
  std::size_t count = 0;
  for (std::string id; ids >> id; ++count) {
    const auto list = not_checked();
    const bool left =
        std::any_of(list.begin(), list.end(), [&](const auto& n) { return n.code == id; });
    EXPECT_NE(find_rule(id) != nullptr, left) << id;
  }
  EXPECT_EQ(count, 81U + 49U);
  for (const auto& n : not_checked()) EXPECT_NE(explain(n, {}).find(n.instead), std::string::npos);
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
