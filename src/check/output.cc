#include "check/output.h"

#include <algorithm>

#include "base/yaml.h"
#include "check/output_parts.h"
#include "check/plain.h"
#include "check/texts.h"

namespace knit::check {
namespace {

std::string where(const Finding& f) {
  std::string out;
  if (!f.place.file.empty()) {
    out = f.place.file;
    if (f.place.line > 0) {
      out += ":" + std::to_string(f.place.line) + ":" + std::to_string(f.place.column);
    }
  }
  return out;
}

std::string subject(const Finding& f) {
  std::string out = f.object ? f.object->ref() : std::string("(the set)");
  std::replace(out.begin(), out.end(), '\n', ' ');
  return out;
}

/// As GitHub and most renderers name the heading of a code.
std::string anchor_of(std::string_view code) {
  std::string out(code);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

Json object_json(const Finding& f) {
  if (!f.object) return nullptr;
  JsonObject o;
  o["apiVersion"] = f.object->api_version;
  o["kind"] = f.object->kind;
  if (!f.object->ns.empty()) o["namespace"] = f.object->ns;
  o["name"] = f.object->name;
  return o;
}

Json fix_json(const Fix& fix) {
  JsonObject o;
  switch (fix.type) {
    case Fix::Type::None:
      return nullptr;
    case Fix::Type::Command:
      o["type"] = "command";
      break;
    case Fix::Type::Manual:
      o["type"] = "manual";
      break;
    case Fix::Type::Patch: {
      o["type"] = "patch";
      JsonArray patches;
      for (const auto& edit : fix.edits) {
        JsonObject p;
        p["object"] = edit.object->ref();
        p["op"] = edit.op == Edit::Op::Set ? "add" : "remove";
        p["path"] = yaml::json_pointer(edit.path);
        if (edit.op == Edit::Op::Set) p["value"] = edit.value;
        patches.push_back(std::move(p));
      }
      o["content"] = std::move(patches);
      if (!fix.text.empty()) o["text"] = fix.text;
      return o;
    }
  }
  o["content"] = fix.text;
  return o;
}

std::string_view mark(const Finding& f, bool ascii) {
  if (f.unknown()) return "?";
  switch (f.severity) {
    case Severity::Error:
      return ascii ? "x" : "×";
    case Severity::Warning:
      return ascii ? "!" : "‼";
    case Severity::Info:
      return "i";
  }
  return "?";
}
std::string_view colour(const Finding& f) {
  if (f.unknown()) return "35";
  switch (f.severity) {
    case Severity::Error:
      return "31";
    case Severity::Warning:
      return "33";
    case Severity::Info:
      return "36";
  }
  return "0";
}

std::string verdict(const Report& report, bool japanese) {
  const auto errors = report.count(Severity::Error);
  const auto warnings = report.count(Severity::Warning);
  const auto infos = report.count(Severity::Info);
  const auto unknown = report.unknown();
  std::string out;
  const auto part = [&](std::size_t n, std::string_view one, std::string_view many,
                        std::string_view ja) {
    if (n == 0) return;
    if (!out.empty()) out += japanese ? "、" : ", ";
    out += japanese ? std::string(ja) + " " + std::to_string(n)
                    : std::to_string(n) + " " + std::string(n == 1 ? one : many);
  };
  part(errors, "error", "errors", "エラー");
  part(warnings, "warning", "warnings", "警告");
  part(infos, "note", "notes", "情報");
  part(unknown, "undecided", "undecided", "判定不能");
  part(report.errors.size(), "unreadable place", "unreadable places", "読み取れない箇所");
  if (out.empty()) out = japanese ? "問題は見つかりませんでした" : "no findings";
  const std::string rules = std::to_string(report.passed.size());
  const std::string idle = std::to_string(report.idle.size());
  const std::string objects = std::to_string(report.objects);
  const std::string profile(to_string(report.profile));
  if (japanese) {
    return out + "(合格 " + rules + " 件、対象なし " + idle + " 件、オブジェクト " + objects +
           " 個、プロファイル " + profile + ")";
  }
  return out + " (" + rules + (report.passed.size() == 1 ? " check" : " checks") + " passed, " +
         idle + " had nothing to look at, " + objects +
         (report.objects == 1 ? " object" : " objects") + ", profile " + profile + ")";
}

/// What --fix does to the file.
std::string shown(const Edit& edit) {
  if (edit.op == Edit::Op::Remove) return "--fix removes " + yaml::to_string(edit.path);
  std::string value = json::print(edit.value);
  if (value.size() > 100) {
    std::size_t end = 100;  // not inside a character
    while ((static_cast<unsigned char>(value[end]) & 0xc0) == 0x80) --end;
    value = value.substr(0, end) + "...";
  }
  return "--fix sets " + yaml::to_string(edit.path) + " to " + value;
}

std::string text(const Report& report, const Style& style) {
  const Colours c(style.colour);
  std::string out;
  for (const auto& e : report.errors) {
    out += c("31", style.ascii ? "x" : "×") + " " + e.place.file;
    if (e.place.line > 0) {
      out += ":" + std::to_string(e.place.line) + ":" + std::to_string(e.place.column);
    }
    out += ": " + e.text + "\n";
  }
  for (const auto& [kind, why] : report.not_read) {
    out += c("33", style.ascii ? "!" : "‼") + " " +
           (style.japanese ? kind + " を読み取れませんでした: " : "could not read " + kind + ": ") +
           why + "\n";
  }
  if (!report.errors.empty() || !report.not_read.empty()) out += "\n";
  std::map<std::string_view, std::vector<const Finding*>> by_code;
  for (const auto& f : report.findings) {
    if (!f.suppressed) by_code[f.code].push_back(&f);
  }
  std::map<std::string_view, const Rule*> lines;
  if (!style.quiet) {
    for (const auto* rule : report.passed) lines[rule->code] = rule;
  }
  for (const auto& [code, findings] : by_code) lines[code] = find_rule(code);
  std::string group;
  for (const auto& [code, rule] : lines) {
    const std::string g = group_title(code, style.japanese);
    if (g != group) {
      if (!group.empty()) out += "\n";
      group = g;
      out += c("1", g) + "\n" + std::string(style.japanese ? 8 : g.size(), '-') + "\n";
    }
    const auto it = by_code.find(code);
    const std::string title = rule != nullptr ? title_of(*rule, style.japanese) : std::string(code);
    if (it == by_code.end()) {
      out += c("32", style.ascii ? "ok" : "√") + " " + title + "\n";
      continue;
    }
    const Finding& worst = *it->second.front();
    out += c(colour(worst), mark(worst, style.ascii)) + " " + title + "  " +
           c("2", std::string(code)) + "\n";
    for (const auto* f : it->second) {
      const std::string at = where(*f);
      out += "    " + (at.empty() ? subject(*f) : at + ": " + subject(*f));
      if (!f->path.empty()) out += " " + yaml::to_string(f->path);
      out += "\n      " + f->message + "\n";
      for (const auto& e : f->evidence) out += "      - " + e.object + ": " + e.fact + "\n";
      if (!f->fix.text.empty() && !f->unknown()) {
        // A command is a command; what a patch or a person does is told in the reader's language.
        const bool told = style.japanese && rule != nullptr && f->fix.type != Fix::Type::Command;
        out += "      " + std::string(style.japanese ? "対処: " : "fix: ") +
               (told ? std::string(texts_of(*rule).fix_ja) : f->fix.text) + "\n";
        for (const auto& edit : f->fix.edits) out += "      " + shown(edit) + "\n";
      }
    }
    if (rule != nullptr && !rule->symptom.empty() && !worst.unknown()) {
      out += "      " + std::string(style.japanese ? "症状: " : "symptom: ") +
             std::string(style.japanese ? texts_of(*rule).symptom_ja : rule->symptom) + "\n";
    }
    out += c("2", "      knit check explain " + std::string(code)) + "\n";
  }
  const auto suppressed = std::count_if(report.findings.begin(), report.findings.end(),
                                        [](const auto& f) { return f.suppressed; });
  if (suppressed > 0) {
    out += "\n" + std::to_string(suppressed) +
           (style.japanese ? " 件は抑制されています:\n" : " suppressed:\n");
    for (const auto& f : report.findings) {
      if (f.suppressed) out += "    " + f.code + " " + subject(f) + ": " + f.reason + "\n";
    }
  }
  if (!report.unknown_kinds.empty()) {
    out += "\n" + std::string(style.japanese ? "未知の種類: " : "not looked at: ");
    std::size_t shown = 0;
    constexpr std::size_t kMost = 10;
    for (const auto& [kind, count] : report.unknown_kinds) {
      if (shown++ == kMost) break;
      out += (shown == 1 ? "" : ", ") + std::to_string(count) + " " + kind;
    }
    if (report.unknown_kinds.size() > kMost) {
      const std::string more = std::to_string(report.unknown_kinds.size() - kMost);
      out += style.japanese ? "、ほか " + more + " 種類" : " and " + more + " kinds more";
    }
    out += "\n";
  }
  const bool bad = report.count(Severity::Error) > 0 || !report.errors.empty();
  out += (out.empty() ? "" : "\n") + c(bad ? "31" : "32", verdict(report, style.japanese)) + "\n";
  return out;
}

/// One line each, as compilers print: editors and people find the place.
std::string lines(const Report& report, const Style& style) {
  std::string out;
  for (const auto& e : report.errors) {
    out += e.place.file + ":" + std::to_string(e.place.line) + ":" +
           std::to_string(e.place.column) + ": error: " + e.text + "\n";
  }
  for (const auto& f : report.findings) {
    if (f.suppressed) continue;
    const std::string at = where(f);
    out += (at.empty() ? std::string() : at + ": ") +
           (f.unknown() ? "unknown" : std::string(to_string(f.severity))) + " " + f.code + ": " +
           subject(f) + ": " + f.message + "\n";
  }
  return out + verdict(report, style.japanese) + "\n";
}

std::string table(const Report& report) {
  std::vector<std::array<std::string, 5>> rows{{"SEVERITY", "CODE", "PLACE", "OBJECT", "MESSAGE"}};
  for (const auto& f : report.findings) {
    if (f.suppressed) continue;
    const std::string at = where(f);
    rows.push_back({f.unknown() ? "unknown" : std::string(to_string(f.severity)), f.code,
                    at.empty() ? "<none>" : at, subject(f), f.message});
  }
  std::array<std::size_t, 4> widths{};
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < 4; ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string out;
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < 4; ++i)
      out += row[i] + std::string(widths[i] - row[i].size() + 2, ' ');
    out += row[4] + "\n";
  }
  return out;
}

/// A relative or absolute path as a URI reference: what RFC 3986 does not allow is encoded.
std::string uri_of(std::string_view path) {
  std::string out = path.starts_with('/') ? "file://" : "";
  for (const char c : path) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0 ||
                       std::string_view("-._~/").find(c) != std::string_view::npos;
    if (plain) {
      out += c;
    } else {
      constexpr std::string_view kHex = "0123456789ABCDEF";
      const auto byte = static_cast<unsigned char>(c);
      out += '%';
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    }
  }
  return out;
}

std::string sarif(const Report& report) {
  JsonArray rule_list;
  std::map<std::string, std::size_t> index;
  for (const auto& f : report.findings) {
    if (index.contains(f.code)) continue;
    index[f.code] = rule_list.size();
    JsonObject r;
    r["id"] = f.code;
    if (const Rule* rule = find_rule(f.code)) {
      r["shortDescription"] = {{"text", rule->title}};
      r["fullDescription"] = {{"text", rule->why}};
      r["help"] = {{"text", rule->fix}};
    }
    rule_list.push_back(std::move(r));
  }
  JsonArray results;
  for (const auto& f : report.findings) {
    JsonObject r;
    r["ruleId"] = f.code;
    r["ruleIndex"] = index[f.code];
    r["level"] =
        f.unknown() || f.severity == Severity::Info ? "note" : std::string(to_string(f.severity));
    r["kind"] = f.unknown() ? "review" : "fail";
    if (f.unknown()) r["level"] = "none";
    r["message"] = {{"text", subject(f) + ": " + f.message}};
    if (!f.place.file.empty()) {
      JsonObject physical;
      physical["artifactLocation"] = {{"uri", uri_of(f.place.file)}};
      if (f.place.line > 0) {
        physical["region"] = {{"startLine", f.place.line}, {"startColumn", f.place.column}};
      }
      JsonObject location;
      location["physicalLocation"] = std::move(physical);
      r["locations"] = JsonArray{std::move(location)};
    }
    if (f.suppressed) {
      JsonObject suppression;
      suppression["kind"] = "inSource";
      suppression["justification"] = f.reason;
      r["suppressions"] = JsonArray{std::move(suppression)};
    }
    results.push_back(std::move(r));
  }
  JsonArray notifications;
  for (const auto& e : report.errors) {
    JsonObject n;
    n["level"] = "error";
    n["message"] = {{"text", e.place.file + ":" + std::to_string(e.place.line) + ": " + e.text}};
    notifications.push_back(std::move(n));
  }
  JsonObject invocation;
  invocation["executionSuccessful"] = report.errors.empty();
  invocation["toolExecutionNotifications"] = std::move(notifications);
  JsonObject run;
  run["tool"] = {
      {"driver",
       {{"name", "knit check"}, {"version", KNIT_BUILD}, {"rules", std::move(rule_list)}}}};
  run["invocations"] = JsonArray{std::move(invocation)};
  run["results"] = std::move(results);
  JsonObject out;
  out["$schema"] = "https://json.schemastore.org/sarif-2.1.0.json";
  out["version"] = "2.1.0";
  out["runs"] = JsonArray{std::move(run)};
  return json::pretty(out);
}

std::string xml(std::string_view s) {
  std::string out;
  for (const char c : s) {
    switch (c) {
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '&':
        out += "&amp;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        if (static_cast<unsigned char>(c) >= 0x20 || c == '\n' || c == '\t') out += c;
    }
  }
  return out;
}

std::string junit(const Report& report) {
  std::map<std::string_view, std::vector<const Finding*>> by_code;
  std::size_t failures = 0;
  std::size_t skipped = 0;
  for (const auto& f : report.findings) by_code[f.code].push_back(&f);
  std::string cases;
  const auto add = [&](const Rule& rule) {
    cases += "    <testcase classname=\"knit.check\" name=\"" + std::string(rule.code) + " " +
             xml(rule.title) + "\"";
    const auto it = by_code.find(rule.code);
    if (it == by_code.end()) {
      cases += "/>\n";
      return;
    }
    cases += ">\n";
    std::string body;
    bool failed = false;
    for (const auto* f : it->second) {
      body += where(*f) + " " + subject(*f) + ": " + f->message + "\n";
      failed |= !f->suppressed && !f->unknown() && f->severity != Severity::Info;
    }
    if (failed) {
      ++failures;
      cases += "      <failure message=\"" + xml(it->second.front()->message) + "\">" + xml(body) +
               "</failure>\n";
    } else {
      ++skipped;
      cases += "      <skipped message=\"" + xml(it->second.front()->message) + "\"/>\n";
    }
    cases += "    </testcase>\n";
  };
  std::size_t total = 0;
  std::set<std::string_view> codes;
  for (const auto* rule : report.passed) codes.insert(rule->code);
  for (const auto& [code, findings] : by_code) codes.insert(code);
  for (const auto code : codes) {
    if (const Rule* rule = find_rule(code)) {
      ++total;
      add(*rule);
    }
  }
  for (const auto& e : report.errors) {
    ++total;
    ++failures;
    cases += "    <testcase classname=\"knit.check\" name=\"" +
             xml(e.place.file + ":" + std::to_string(e.place.line)) +
             "\">\n      <failure message=\"" + xml(e.text) + "\"/>\n    </testcase>\n";
  }
  return "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  <testsuite name=\"knit "
         "check\" "
         "tests=\"" +
         std::to_string(total) + "\" failures=\"" + std::to_string(failures) + "\" skipped=\"" +
         std::to_string(skipped) + "\">\n" + cases + "  </testsuite>\n</testsuites>\n";
}

std::string cell(std::string_view s) {
  std::string out;
  for (const char c : s) {
    if (c == '|') out += '\\';
    out += c == '\n' ? ' ' : c;
  }
  return out;
}

std::string markdown(const Report& report) {
  std::string out = "# knit check\n\n" + verdict(report, false) + "\n";
  if (!report.errors.empty()) out += "\n";
  for (const auto& e : report.errors) {
    out += "* `" + e.place.file + ":" + std::to_string(e.place.line) + "`: " + e.text + "\n";
  }
  if (report.findings.empty()) return out;
  out += "\n| severity | code | place | object | message | fix |\n|---|---|---|---|---|---|\n";
  for (const auto& f : report.findings) {
    if (f.suppressed) continue;
    out += "| " + (f.unknown() ? "unknown" : std::string(to_string(f.severity))) + " | " + f.code +
           " | " + cell(where(f)) + " | " + cell(subject(f)) + " | " + cell(f.message) + " | " +
           cell(f.unknown() ? "" : f.fix.text) + " |\n";
  }
  return out;
}

}  // namespace

Result<Format> parse_format(std::string_view name) {
  const struct {
    std::string_view name;
    Format format;
  } formats[] = {
      {"text", Format::Text},   {"short", Format::Short},       {"table", Format::Table},
      {"json", Format::Json},   {"yaml", Format::Yaml},         {"sarif", Format::Sarif},
      {"junit", Format::Junit}, {"markdown", Format::Markdown}, {"md", Format::Markdown}};
  for (const auto& f : formats) {
    if (f.name == name) return f.format;
  }
  return Error(Code::InvalidArgument,
               "output \"" + std::string(name) +
                   "\" is none of text, short, table, json, yaml, sarif, junit, markdown");
}

Json to_json(const Report& report) {
  JsonArray findings;
  for (const auto& f : report.findings) {
    JsonObject o;
    o["code"] = f.code;
    o["severity"] = to_string(f.severity);
    o["confidence"] = to_string(f.confidence);
    o["title"] = f.title;
    o["message"] = f.message;
    o["object"] = object_json(f);
    if (!f.place.file.empty()) {
      o["file"] = f.place.file;
      o["line"] = f.place.line;
      o["column"] = f.place.column;
    }
    if (!f.path.empty()) o["jsonPath"] = yaml::to_string(f.path);
    JsonArray evidence;
    for (const auto& e : f.evidence) evidence.push_back({{"object", e.object}, {"fact", e.fact}});
    if (!evidence.empty()) o["evidence"] = std::move(evidence);
    if (const Rule* rule = find_rule(f.code)) {
      o["why"] = rule->why;
      JsonArray upstream;
      for (const auto u : rule->upstream) upstream.emplace_back(u);
      if (!upstream.empty()) o["upstreamCodes"] = std::move(upstream);
    }
    o["docs"] = "docs/checks.md#" + anchor_of(f.code);
    if (Json fix = fix_json(f.fix); !fix.is_null() && !f.unknown()) o["fix"] = std::move(fix);
    if (f.suppressed) o["suppressed"] = f.reason;
    findings.push_back(std::move(o));
  }
  JsonArray errors;
  for (const auto& e : report.errors) {
    errors.push_back({{"file", e.place.file},
                      {"line", e.place.line},
                      {"column", e.place.column},
                      {"message", e.text}});
  }
  JsonArray passed;
  for (const auto* rule : report.passed) passed.emplace_back(rule->code);
  JsonArray idle;
  for (const auto* rule : report.idle) idle.emplace_back(rule->code);
  JsonObject unknown_kinds;
  for (const auto& [kind, count] : report.unknown_kinds) unknown_kinds[kind] = count;
  JsonObject out;
  out["apiVersion"] = "knit.dev/v1";
  out["kind"] = "CheckReport";
  out["profile"] = to_string(report.profile);
  out["objects"] = report.objects;
  out["summary"] = {{"errors", report.count(Severity::Error)},
                    {"warnings", report.count(Severity::Warning)},
                    {"infos", report.count(Severity::Info)},
                    {"unknown", report.unknown()},
                    {"unreadable", report.errors.size()}};
  out["findings"] = std::move(findings);
  out["passed"] = std::move(passed);
  out["notApplicable"] = std::move(idle);
  out["unreadable"] = std::move(errors);
  out["unknownKinds"] = std::move(unknown_kinds);
  if (!report.not_read.empty()) {
    JsonArray kinds;
    for (const auto& [kind, why] : report.not_read)
      kinds.push_back({{"kind", kind}, {"reason", why}});
    out["notRead"] = std::move(kinds);
  }
  return out;
}

std::string print(const Report& report, Format format, const Style& style) {
  switch (format) {
    case Format::Text:
      return plain(text(report, style), style.colour);
    case Format::Short:
      return plain(lines(report, style), style.colour);
    case Format::Table:
      return plain(table(report));
    case Format::Json:
      return json::pretty(to_json(report));
    case Format::Yaml:
      return yaml::print(to_json(report));
    case Format::Sarif:
      return sarif(report);
    case Format::Junit:
      return junit(report);
    case Format::Markdown:
      return plain(markdown(report));
  }
  return {};
}

}  // namespace knit::check
