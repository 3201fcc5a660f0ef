// Every rule fails and passes without a cluster: mutants of the good set, fixtures of their own,
// certificates.
#include <gtest/gtest.h>
#include <unistd.h>

#include "check/output.h"
#include "check/test_files.h"
#include "pki/cert_command.h"

namespace knit::check {
namespace {

struct Seen {
  std::set<std::string> failing, passing;
  void add(const Report& report) {
    for (const auto& f : report.findings) {
      if (!f.unknown()) failing.insert(f.code);
    }
    for (const auto* rule : report.passed) passing.insert(std::string(rule->code));
  }
};

/// tests/check/mutants.txt: one edit of the good set each, and what it brings.
struct Mutant {
  std::string line;
  std::set<std::string> wanted;
  Files files;
};
std::vector<Mutant> mutants() {
  std::vector<Mutant> out;
  std::istringstream lines(text_of("tests/check/mutants.txt"));
  const auto good = folder("tests/check/good");
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::vector<std::string> parts;
    for (std::size_t at = 0; parts.size() < 4;) {
      const auto end = line.find(" | ", at);
      parts.push_back(unescape(line.substr(at, end == std::string::npos ? end : end - at)));
      if (end == std::string::npos) break;
      at = end + 3;
    }
    Mutant m{line, {}, good};
    if (parts.size() == 3 && parts[1] == "+") {
      m.files["extra.yaml"] = parts[2];
    } else if (parts.size() == 4 && good.contains(parts[1])) {
      auto& text = m.files.at(parts[1]);
      const auto at = text.find(parts[2]);
      EXPECT_NE(at, std::string::npos) << line;
      if (at != std::string::npos) text.replace(at, parts[2].size(), parts[3]);
    } else {
      ADD_FAILURE() << "malformed: " << line;
    }
    std::istringstream codes(parts[0]);
    for (std::string code; codes >> code;) {
      if (code != "-") m.wanted.insert(code);
    }
    out.push_back(std::move(m));
  }
  return out;
}

TEST(Mutants, BringTheirRuleAndNoOther) {
  EXPECT_TRUE(told(check(folder("tests/check/good"))).empty());
  const auto all = mutants();
  EXPECT_GT(all.size(), 80U);
  for (const auto& m : all) {
    const auto report = check(m.files);
    std::set<std::string> got;
    std::string said;
    for (const auto& f : told(report)) {
      got.insert(f[0]);
      said += "\n  " + f[0] + " " + f[1] + ": " + f[2];
    }
    for (const auto& e : report.errors) said += "\n  unreadable: " + e.text;
    EXPECT_EQ(got, m.wanted) << m.line << said;
  }
}

// Each line of the good set taken out in turn, and what is then said: "=" nothing (defaults, or the
// file means the same without it), "!" the file cannot be read, else the codes.
TEST(Mutants, EveryLineCanGo) {
  const auto good = folder("tests/check/good");
  const auto unknown = check(good).unknown();
  std::string all;
  for (const auto& [name, text] : good) {
    for (std::size_t at = 0, line = 1; at < text.size(); ++line) {
      const auto end = text.find('\n', at);
      const std::string gone = text.substr(at, end - at);
      auto files = good;
      files[name].erase(at, end - at + 1);
      at = end + 1;
      const auto report = check(files);
      EXPECT_FALSE(print(report, Format::Text, {}).empty());
      std::set<std::string> codes;
      for (const auto& f : told(report)) codes.insert(f[0]);
      if (!report.errors.empty()) codes.insert("!");
      if (codes.empty() && report.unknown() > unknown) codes.insert("?");
      if (codes.empty()) codes.insert("=");
      std::string what;
      for (const auto& code : codes) what += (what.empty() ? "" : " ") + code;
      all += name + ":" + std::to_string(line) + " | " + what + " | " + gone + "\n";
    }
  }
  if (std::getenv("KNIT_GOLDEN") != nullptr) std::ofstream("tests/check/lines.txt") << all;
  EXPECT_EQ(all, text_of("tests/check/lines.txt"));
}

/// tests/check/fixtures.txt: rules that the good set does not reach, a set of their own each.
struct Fixture {
  std::string line, code;
  bool passes = false;
  ObjectSet set;
  Options options;
};
std::vector<Fixture> fixtures() {
  std::vector<Fixture> out;
  std::istringstream lines(text_of("tests/check/fixtures.txt"));
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line[0] == '#') continue;
    const auto one = line.find(" | ");
    const auto two = line.find(" | ", one + 3);
    if (two == std::string::npos) {
      ADD_FAILURE() << "malformed: " << line;
      continue;
    }
    Fixture f;
    f.line = line;
    const std::string flags = line.substr(0, one);
    f.code = line.substr(one + 3, two - one - 3);
    f.passes = f.code.starts_with('!');
    if (f.passes) f.code.erase(0, 1);
    EXPECT_NE(find_rule(f.code), nullptr) << line;
    f.set.add_text("a.yaml", unescape(line.substr(two + 3)));
    EXPECT_TRUE(f.set.errors().empty()) << line;
    if (flags.find("live") != std::string::npos) {  // what a cluster has admitted
      ObjectSet live;
      for (const auto& item : f.set.all()) live.add_live(item->json);
      f.set = std::move(live);
      f.set.live = true;
    }
    f.set.complete = flags.find("complete") != std::string::npos;
    f.options.only = {f.code};
    f.options.settings.profile_given = true;
    if (flags.find("ossm3") != std::string::npos) f.options.settings.profile = Profile::Ossm3;
    if (flags.find("istio") != std::string::npos) f.options.settings.profile = Profile::Istio;
    out.push_back(std::move(f));
  }
  return out;
}

TEST(Fixtures, FailAndPass) {
  std::map<std::string, int> seen;
  for (const auto& f : fixtures()) {
    const auto report = run(f.set, f.options);
    const bool found = std::any_of(report.findings.begin(), report.findings.end(),
                                   [](const Finding& x) { return !x.unknown(); });
    EXPECT_NE(found, f.passes) << f.line;
    seen[f.code] |= f.passes ? 2 : 1;
  }
  for (const auto& [code, both] : seen)
    EXPECT_EQ(both, 3) << code << " wants a failing and a passing line";
}

/// The good set with certificates that are really made and parsed: K301, K302, K303, K306.
class Certificates : public testing::Test {
 protected:
  void SetUp() override {
    dir = std::filesystem::temp_directory_path() / ("knit-check-" + std::to_string(::getpid()));
    std::filesystem::create_directories(dir / "other");
    pki::CertEnvironment environment;
    environment.data_dir = dir.string();
    environment.apps_domain = "apps.example.com";
    environment.now = WallTime{1'790'000'000LL * 1'000'000'000};
    const auto secret = pki::cert_command({"wildcard"}, environment);
    const auto made = pki::cert_command({"root"}, environment);
    environment.data_dir = (dir / "other").string();
    const auto another = pki::cert_command({"root"}, environment);
    ASSERT_TRUE(secret && made && another);
    root = made->text;
    other_root = another->text;
    files = folder("tests/check/good");
    files["secret.yaml"] = secret->text;
  }
  void TearDown() override { std::filesystem::remove_all(dir); }
  Report report_of(std::int64_t now, const std::string& domain, const std::string& ca) const {
    ObjectSet set;
    for (const auto& [name, text] : files) set.add_text(name, text);
    Options options;
    options.only = {"K301", "K302", "K303", "K306"};
    options.settings.now_unix = now;
    options.settings.apps_domain = domain;
    options.settings.root_ca_pem = ca;
    return run(set, options);
  }
  std::set<std::string> codes(std::int64_t now, const std::string& domain,
                              const std::string& ca) const {
    std::set<std::string> out;
    for (const auto& f : report_of(now, domain, ca).findings)
      out.insert((f.unknown() ? "?" : "") + f.code);
    return out;
  }
  static constexpr std::int64_t kNow = 1'790'000'100;
  std::filesystem::path dir;
  std::string root, other_root;
  Files files;
};

TEST_F(Certificates, AreParsed) {
  using Codes = std::set<std::string>;
  EXPECT_EQ(codes(kNow, "apps.example.com", root), Codes());
  // The SAN is one label short, and one too many.
  EXPECT_EQ(codes(kNow, "example.com", root), Codes{"K303"});
  EXPECT_EQ(codes(kNow, "a.apps.example.com", root), Codes{"K303"});
  EXPECT_EQ(codes(kNow, "apps.example.com", other_root), Codes{"K306"});
  EXPECT_EQ(codes(kNow, "", ""), (Codes{"?K303", "?K306"}));
  EXPECT_TRUE(codes(kNow + 50LL * 365 * 86400, "apps.example.com", root).contains("K302"));
}

// Walks the table of rules: none without a set that it fails and one that it passes, offline.
TEST_F(Certificates, AndEveryRuleFailsAndPassesOffline) {
  Seen seen;
  seen.add(check(folder("tests/check/good")));
  for (const auto& m : mutants()) {
    const auto report = check(m.files);
    for (const auto& f : report.findings) {
      if (!f.unknown() && m.wanted.contains(f.code)) seen.failing.insert(f.code);
    }
    // What passes has looked at something of the mutant: Report::idle is the rest.
    for (const auto* rule : report.passed) seen.passing.insert(std::string(rule->code));
  }
  for (const auto& f : fixtures()) seen.add(run(f.set, f.options));
  seen.add(report_of(kNow, "apps.example.com", root));
  seen.add(report_of(kNow + 50LL * 365 * 86400, "example.com", other_root));
  ObjectSet no_secret;  // the input is everything, and the Secret is not there
  for (const auto& [name, text] : folder("tests/check/good")) no_secret.add_text(name, text);
  no_secret.complete = true;
  seen.add(run(no_secret, {.only = {"K301"}}));
  for (const auto& rule : rules()) {
    EXPECT_TRUE(seen.failing.contains(std::string(rule.code))) << rule.code << " never fails";
    EXPECT_TRUE(seen.passing.contains(std::string(rule.code))) << rule.code << " never passes";
  }
}

}  // namespace
}  // namespace knit::check
