#include "check/engine.h"

#include <algorithm>

namespace knit::check {
namespace {

bool iequals(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
    return std::tolower(static_cast<unsigned char>(x)) ==
           std::tolower(static_cast<unsigned char>(y));
  });
}

bool names(const Rule& rule, std::string_view code) {
  if (iequals(rule.code, code)) return true;
  return std::any_of(rule.aliases.begin(), rule.aliases.end(),
                     [&](std::string_view a) { return iequals(a, code); });
}

/// "check.knit.dev/ignore: K702=why; K407=why" on the object itself.
constexpr std::string_view kIgnoreAnnotation = "check.knit.dev/ignore";

std::vector<Suppression> annotated(const Item& item) {
  std::vector<Suppression> out;
  std::string_view rest = json::str(item.json, {"metadata", "annotations", kIgnoreAnnotation});
  while (!rest.empty()) {
    const auto end = rest.find(';');
    std::string_view entry = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    const auto equals = entry.find('=');
    if (equals == std::string_view::npos) continue;  // without a reason it does not count
    const auto trim = [](std::string_view s) {
      const auto from = s.find_first_not_of(' ');
      if (from == std::string_view::npos) return std::string();
      return std::string(s.substr(from, s.find_last_not_of(' ') - from + 1));
    };
    out.push_back({trim(entry.substr(0, equals)), item.ref(), trim(entry.substr(equals + 1))});
  }
  return out;
}

void suppress(Finding& finding, const Rule& rule, const std::vector<Suppression>& suppressions) {
  const auto apply = [&](const Suppression& s) {
    if (s.reason.empty() || !names(rule, s.code)) return;
    if (s.object != "*" && (!finding.object || s.object != finding.object->ref())) return;
    finding.suppressed = true;
    finding.reason = s.reason;
  };
  for (const auto& s : suppressions) apply(s);
  if (finding.object) {
    for (const auto& s : annotated(*finding.object)) apply(s);
  }
}

}  // namespace

std::string_view to_string(Severity s) {
  switch (s) {
    case Severity::Info:
      return "info";
    case Severity::Warning:
      return "warning";
    case Severity::Error:
      return "error";
  }
  return "error";
}
std::string_view to_string(Confidence c) {
  switch (c) {
    case Confidence::Proven:
      return "proven";
    case Confidence::Likely:
      return "likely";
    case Confidence::Unknown:
      return "unknown";
  }
  return "unknown";
}
std::string_view to_string(Profile p) {
  switch (p) {
    case Profile::Ossm2:
      return "ossm2";
    case Profile::Ossm3:
      return "ossm3";
    case Profile::Istio:
      return "istio";
  }
  return "istio";
}

bool Context::is_placeholder(std::string_view text) {
  if (text.starts_with("your-") || text.starts_with("your_")) return true;
  const auto open = text.find('<');
  if (open == std::string_view::npos) return false;
  const auto close = text.find('>', open);
  if (close == std::string_view::npos || close == open + 1) return false;
  for (std::size_t i = open + 1; i < close; ++i) {
    const char c = text[i];
    const bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '_' || c == '-' || c == ' ' || c == '.';
    if (!word) return false;
  }
  return true;
}

Finding& Context::report(ItemPtr object, yaml::Path path, std::string message) {
  Finding f;
  f.code = rule_.code;
  f.severity = rule_.severity;
  f.title = rule_.title;
  f.message = std::move(message);
  // One line each, whatever an object holds.
  std::replace(f.message.begin(), f.message.end(), '\n', ' ');
  if (object) f.place = object->place(path);
  f.object = std::move(object);
  f.path = std::move(path);
  f.fix = {Fix::Type::Manual, {}, std::string(rule_.fix)};
  out_.push_back(std::move(f));
  return out_.back();
}

Finding& Context::unknown(ItemPtr object, yaml::Path path, std::string why) {
  Finding& f = report(std::move(object), std::move(path), std::move(why));
  f.confidence = Confidence::Unknown;
  return f;
}

std::span<const Rule> rules() {
  static const std::vector<Rule> all = [] {
    std::vector<Rule> out;
    add_mesh_rules(out);
    add_member_rules(out);
    add_gateway_rules(out);
    add_gateway_service_rules(out);
    add_certificate_rules(out);
    add_serving_rules(out);
    add_eventing_rules(out);
    add_kafka_rules(out);
    add_service_rules(out);
    add_policy_rules(out);
    add_admission_rules(out);
    add_walk_rules(out);
    std::sort(out.begin(), out.end(), [](const Rule& a, const Rule& b) { return a.code < b.code; });
    return out;
  }();
  return all;
}

const Rule* find_rule(std::string_view code) {
  for (const auto& rule : rules()) {
    if (names(rule, code)) return &rule;
  }
  return nullptr;
}

Profile detect_profile(const ObjectSet& objects) {
  if (!objects.list("maistra.io/ServiceMeshControlPlane").empty()) return Profile::Ossm2;
  if (!objects.list("sailoperator.io/Istio").empty()) return Profile::Ossm3;
  return Profile::Istio;
}

std::size_t Report::count(Severity s) const {
  return static_cast<std::size_t>(std::count_if(
      findings.begin(), findings.end(),
      [&](const auto& f) { return f.severity == s && !f.suppressed && !f.unknown(); }));
}
std::size_t Report::unknown() const {
  return static_cast<std::size_t>(
      std::count_if(findings.begin(), findings.end(),
                    [](const auto& f) { return f.unknown() && !f.suppressed; }));
}

Report run(const ObjectSet& objects, const Options& options) {
  Report report;
  Settings settings = options.settings;
  if (!settings.profile_given) settings.profile = detect_profile(objects);
  report.profile = settings.profile;
  report.errors = objects.errors();
  report.objects = objects.size();
  report.unknown_kinds = objects.unknown_kinds();
  for (const auto& [kind, why] : objects.unreadable) report.not_read[to_string(kind)] = why;
  SharedFacts facts(objects);
  for (const auto& rule : rules()) {
    if (!rule.profiles.empty() && std::find(rule.profiles.begin(), rule.profiles.end(),
                                            settings.profile) == rule.profiles.end()) {
      continue;
    }
    if (!options.only.empty() &&
        std::none_of(options.only.begin(), options.only.end(),
                     [&](const std::string& code) { return names(rule, code); })) {
      continue;
    }
    if (rule.offline == Offline::Live && !objects.live) continue;
    std::vector<Finding> found;
    Context context(objects, settings, rule, facts, found);
    std::set<KindName> blind;
    objects.take_seen();
    for (const auto kind : rule.reads) {
      if (objects.unreadable.contains(kind_name(kind))) blind.insert(kind_name(kind));
    }
    if (blind.empty()) {
      objects.take_missed();
      rule.check(context);
      blind = objects.take_missed();
      // A dump may lack what a rule of manifests can do without; one of clusters cannot judge then.
      if (rule.offline != Offline::Live) {
        std::erase_if(blind, [&](const auto& k) { return !objects.unreadable.contains(k); });
      }
    }
    if (!blind.empty()) {  // whatever it said was a guess
      found.clear();
      std::string why;
      for (const auto& kind : blind) {
        const auto reason = objects.unreadable.find(kind);
        why += (why.empty() ? "" : "; ") + to_string(kind) +
               (reason == objects.unreadable.end() ? std::string(" is not in the dump")
                                                   : " could not be read: " + reason->second);
      }
      context.unknown(nullptr, {}, why);
    }
    if (found.empty()) (objects.take_seen() ? report.passed : report.idle).push_back(&rule);
    for (auto& finding : found) {
      suppress(finding, rule, options.suppressions);
      report.findings.push_back(std::move(finding));
    }
  }
  std::sort(report.findings.begin(), report.findings.end(), [](const Finding& a, const Finding& b) {
    const auto rank = [](const Finding& f) {
      return std::tuple(f.suppressed, f.unknown(), -static_cast<int>(f.severity));
    };
    const auto x = rank(a);
    const auto y = rank(b);
    if (x != y) return x < y;
    return std::tie(a.code, a.place, a.path, a.message) <
           std::tie(b.code, b.place, b.path, b.message);
  });
  return report;
}

Result<std::vector<Suppression>> parse_suppressions(std::string_view text) {
  std::vector<Suppression> out;
  std::size_t number = 0;
  while (!text.empty()) {
    const auto end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    ++number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    const auto from = line.find_first_not_of(" \t");
    if (from == std::string_view::npos || line[from] == '#') continue;
    std::vector<std::string> words;
    std::size_t at = from;
    while (at < line.size() && words.size() < 4) {
      const auto stop = words.size() == 3 ? line.size() : std::min(line.find(' ', at), line.size());
      if (stop > at) words.emplace_back(line.substr(at, stop - at));
      at = stop + 1;
    }
    const bool any = words.size() >= 2 && words[1] == "*";
    if (words.empty() || find_rule(words[0]) == nullptr) {
      return Error(Code::InvalidArgument, "line " + std::to_string(number) + ": \"" +
                                              (words.empty() ? "" : words[0]) +
                                              "\" is no rule (knit check explain lists them)");
    }
    if ((any && words.size() < 3) || (!any && words.size() < 4)) {
      return Error(Code::InvalidArgument,
                   "line " + std::to_string(number) +
                       ": want CODE KIND NAMESPACE/NAME REASON…, or CODE * REASON…");
    }
    if (any) {
      out.push_back({words[0], "*", words[2] + (words.size() > 3 ? " " + words[3] : "")});
    } else {
      out.push_back({words[0], words[1] + " " + words[2], words[3]});
    }
  }
  return out;
}

}  // namespace knit::check
