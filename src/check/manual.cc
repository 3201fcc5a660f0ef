// `knit check explain`, the list of rules, and the manual (docs/checks.md).
#include <algorithm>

#include "check/output.h"
#include "check/output_parts.h"
#include "check/texts.h"

namespace knit::check {
std::string group_title(std::string_view code, bool japanese) {
  const struct {
    char digit;
    std::string_view en, ja;
  } groups[] = {
      {'1', "Mesh control plane and membership", "メッシュのコントロールプレーンとメンバー"},
      {'2', "Gateways", "ゲートウェイ"},
      {'3', "Certificates and names", "証明書と名前"},
      {'4', "Knative Serving", "Knative Serving"},
      {'5', "Knative Eventing", "Knative Eventing"},
      {'6', "Kafka", "Kafka"},
      {'7', "Services and routes", "サービスとルート"},
      {'8', "Authorization policies", "認可ポリシー"},
      {'9', "Admission and live walks", "アドミッションと実行時の確認"},
  };
  for (const auto& g : groups) {
    if (code.size() > 1 && code[1] == g.digit) return std::string(japanese ? g.ja : g.en);
  }
  return "Other";
}

std::string title_of(const Rule& rule, bool japanese) {
  return std::string(japanese && !rule.title_ja.empty() ? rule.title_ja : rule.title);
}

namespace {

std::string joined(const std::vector<std::string_view>& list) {
  std::string out;
  for (const auto s : list) out += (out.empty() ? "" : ", ") + std::string(s);
  return out;
}

/// Titles are sentences that follow a mark; alone they begin as sentences do, except with a name
/// such as config.istio or eventing-istio-controller.
std::string sentence(std::string_view title) {
  std::string out(title);
  const auto first = title.substr(0, title.find(' '));
  if (first.find_first_of(".-") == std::string_view::npos && !out.empty())
    out[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(out[0])));
  return out;
}

std::string profiles_of(const Rule& rule) {
  std::string out;
  for (const auto p : rule.profiles) out += (out.empty() ? "" : ", ") + std::string(to_string(p));
  return out;
}

std::string_view severity_of(const Rule& rule, bool japanese) {
  if (!japanese) return to_string(rule.severity);
  switch (rule.severity) {
    case Severity::Error:
      return "エラー";
    case Severity::Warning:
      return "警告";
    case Severity::Info:
      return "情報";
  }
  return "";
}

std::string_view decided(Offline offline, bool japanese) {
  switch (offline) {
    case Offline::Yes:
      return japanese ? "マニフェストだけで判定" : "decided from manifests alone";
    case Offline::Partly:
      return japanese
                 ? "マニフェストで判定 (参照先が入力になければ判定不能)"
                 : "decided from manifests, `unknown` while what it refers to is not in the input";
    case Offline::Live:
      return japanese ? "クラスターまたはそのダンプでのみ判定"
                      : "decided on a cluster or its dump only";
  }
  return "";
}

constexpr std::string_view kIntroduction =
    R"(# What `knit check` checks
`knit check` reads objects and says what will go wrong when Service Mesh and Serverless meet: before they are applied,
on a support dump, or on a running cluster. It starts nothing, needs no rights but to read, and writes nothing (only
`--fix` writes, and only your files). This manual is made from the rules themselves by `knit check manual`;
`knit check explain CODE` prints one entry, and takes the codes of other catalogues too (`GW-01`, `IST0145`, `KIA0301`).

## Use
```
knit check my-manifests/                         # files, folders; - is standard input
kustomize build . | knit check -                 # or: helm template my-chart | knit check -
knit check must-gather.local.1234.tar.gz         # a dump of `oc adm must-gather`, packed or not
knit check --context prod                        # a cluster of your kubeconfig, by GET and LIST only
knit check --context prod --overlay my-manifests/   # the same, as if these were applied
knit check my-manifests/ --fix                   # mends what it can; --fix=patch prints the patches
knit check my-manifests/ -o sarif                # text, short, table, json, yaml, sarif, junit, markdown
```

| exit status | means |
|---|---|
| 0 | nothing at or above `--fail-on` (error unless given; warning, info, never) |
| 1 | findings |
| 2 | the command line is wrong |
| 3 | something could not be read: a file, a part of an archive, the cluster |
| 4 | the cluster did not answer everything within `--timeout` (60 s) |

**What is read of a cluster.** The kinds that rules name, each by one paged LIST; where a token may not list everywhere,
namespace by namespace. Secrets are never listed: only those that Gateways name are read, one by one, and
`--secrets=skip` leaves even these out. What could not be read is said once, with the server's reason.

**Profiles.** `--profile ossm2` (Service Mesh 2), `ossm3` (Service Mesh 3) or `istio`; without it the control plane in
the input decides: a ServiceMeshControlPlane means ossm2, Sail's Istio ossm3, neither istio.

**Placeholders.** `<name>` and `your-…` are one finding each (K413), and the rules that would read the value stay silent.
`--set name=value` fills them in.

## Reading a finding
```
× the mesh enforces strict mTLS  K102                                   mark, what should hold, code
    smcp.yaml:14:7: ServiceMeshControlPlane istio-system/basic spec...  file:line:column, object, field
      mtls is false                                                     what is wrong here
      fix: set spec.security.dataPlane.mtls: true                       what to do
      --fix sets spec.security.dataPlane.mtls to true                   what --fix would do to the file
      symptom: calls in clear text are accepted; no caller identity     what users see
```
* **error** (×): it will not work. **warning** (‼): it works until something happens, or works differently from what one
  thinks. **info** (i): worth knowing.
* **unknown** (?): the rule could not decide, because an object that it needs is not in the input or may not be read. It is
  said once and never guessed, and does not change the exit status. `--complete` says that the input is everything: then
  what is absent is missing.
* A rule that looked at something and found nothing is listed with √ (`--quiet` leaves these out). A rule for which the
  input holds nothing has checked nothing: the last line counts these, and JSON lists them as `notApplicable`.

**Silencing** takes a reason. On the object: the annotation `check.knit.dev/ignore: "K702=until the move to Mesh 3"`
(several: separated by `;`). For many: `--ignore-file FILE` with lines `CODE KIND NAMESPACE/NAME REASON`, or
`CODE * REASON`. Silenced findings stay listed with their reason and do not count.

**Mending.** `--fix` edits the YAML in place and keeps comments, order and style. Every edit is verified by running the
rules again: one after which its finding stays, or a new error appears, is left out and said.

**In Knit itself** the same rules speak when an object is applied (`Warning: K702: …` below kubectl's line, where the object
and what is stored show it) and are counted by `knit status`.

**Languages.** With `LANG=ja_JP.UTF-8` titles, symptoms, fixes and entries are Japanese; codes, JSON and the messages that
name objects and fields stay English. `NO_COLOR` is honoured.

)";

}  // namespace

std::string explain(const Rule& rule, const Style& style) {
  const Colours c(style.colour);
  const RuleTexts& texts = texts_of(rule);
  const bool ja = style.japanese;
  std::string out = c("1", std::string(rule.code) + "  " + title_of(rule, ja)) + "\n";
  out += std::string(severity_of(rule, ja)) + (ja ? "、" : ", ") +
         std::string(decided(rule.offline, ja)) + "\n";
  const auto line = [&](std::string_view label, const std::string& text) {
    if (!text.empty()) out += std::string(label) + text + "\n";
  };
  line(ja ? "別名: " : "also known as ", joined(rule.aliases));
  line(ja ? "他のツール: " : "other tools: ", joined(rule.upstream));
  line(ja ? "プロファイル: " : "profile ", profiles_of(rule));
  line(ja ? "読み取る種類: " : "reads ", joined(rule.reads));
  out += "\n";
  line(ja ? "症状: " : "Symptom: ", std::string(ja ? texts.symptom_ja : rule.symptom));
  out += "\n" + std::string(ja ? texts.why_ja : rule.why) + "\n\n";
  line(ja ? "対処: " : "Fix: ", std::string(ja ? texts.fix_ja : rule.fix));
  line(ja ? "\n出典: " : "\nSource: ", std::string(texts.source));
  return out;
}

std::string list_rules(const Style& style) {
  std::string out;
  for (const auto& rule : rules()) {
    const std::string severity(to_string(rule.severity));
    out += std::string(rule.code) + "  " + severity + std::string(9 - severity.size(), ' ') +
           title_of(rule, style.japanese) + "\n";
  }
  return out;
}

std::string manual() {
  std::string out(kIntroduction);
  out += "## All rules\n| code | severity | what should hold |\n|---|---|---|\n";
  for (const auto& rule : rules()) {
    const std::string code(rule.code);
    out += "| [" + code + "](#k" + code.substr(1) + ") | " + std::string(to_string(rule.severity)) +
           " | " + sentence(rule.title) + " |\n";
  }
  std::string group;
  for (const auto& rule : rules()) {
    const std::string g = group_title(rule.code, false);
    if (g != group) {
      group = g;
      out += "\n## " + g + "\n";
    }
    out += "\n### " + std::string(rule.code) + "\n**" + sentence(rule.title) + "**\n\n" +
           std::string(to_string(rule.severity)) + ", " + std::string(decided(rule.offline, false));
    std::vector<std::string_view> also = rule.aliases;
    also.insert(also.end(), rule.upstream.begin(), rule.upstream.end());
    if (!rule.profiles.empty()) out += "; profile " + profiles_of(rule);
    if (!also.empty()) out += "; also " + joined(also);
    out += ".\n\n" + std::string(rule.why) + "\n\n* Symptom: " + std::string(rule.symptom) +
           "\n* Fix: " + std::string(rule.fix) + "\n";
    if (!rule.reads.empty()) out += "* Reads: " + joined(rule.reads) + "\n";
    out += "* Source: " + std::string(texts_of(rule).source) + "\n";
  }
  return out;
}

}  // namespace knit::check
