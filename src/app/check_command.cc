// `knit check`: reads manifests, dumps or a cluster, runs the rules, prints. Writes nothing but
// what
// --fix mends.
#include "app/check_command.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>

#include "check/fixes.h"
#include "check/input/cluster.h"
#include "check/input/files.h"
#include "check/output.h"
#include "check/plain.h"
#include "cli/host.h"

namespace knit::app {
namespace {

constexpr int kClean = 0;
constexpr int kFindings = 1;
constexpr int kUsage = 2;
constexpr int kUnreadable = 3;
constexpr int kLate = 4;

using check::input::Input;

std::string environment(const cli::Invocation& in, const std::string& name) {
  const auto it = in.sources.environment.find(name);
  if (it != in.sources.environment.end()) return it->second;
  const char* value = std::getenv(name.c_str());  // NOLINT(concurrency-mt-unsafe): one thread
  return value == nullptr ? "" : value;
}

std::string upper(std::string_view text) {
  std::string out;
  for (const char c : text) out += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return out;
}

check::Style style_of(const cli::Invocation& in) {
  check::Style style;
  std::string locale;
  for (const char* name : {"LC_ALL", "LC_MESSAGES", "LANG"}) {
    if (locale.empty()) locale = environment(in, name);
  }
  const std::string big = upper(locale);
  const bool utf8 = big.find("UTF-8") != std::string::npos || big.find("UTF8") != std::string::npos;
  style.ascii = !utf8;
  style.japanese = locale.starts_with("ja");
  style.colour = ::isatty(STDOUT_FILENO) == 1 && environment(in, "NO_COLOR").empty() &&
                 environment(in, "TERM") != "dumb";
  style.quiet = in.has("quiet");
  return style;
}

int say(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  return kClean;
}

int run_explain(const std::vector<std::string>& codes, const check::Style& style) {
  if (codes.empty()) return say(check::list_rules(style));
  for (const auto& code : codes) {
    const std::string wanted = upper(code);
    bool found = false;
    const auto tell = [&](const auto& entry) {
      say((found ? "\n" : "") + check::explain(entry, style));
      found = true;
    };
    if (const auto* rule = check::find_rule(code)) tell(*rule);
    if (!found) {  // istioctl's and Kiali's codes: every rule that finds the same
      for (const auto& rule : check::rules()) {
        for (const auto u : rule.upstream) {
          if (u == wanted) tell(rule);
        }
      }
    }
    if (!found) {
      return cli::fail("\"" + code + "\" is no rule; `knit check explain` lists them", kUsage);
    }
  }
  return kClean;
}

Result<check::Options> options_of(const cli::Invocation& in) {
  check::Options options;
  options.settings.now_unix = cli::wall_clock().ns / 1'000'000'000;
  options.settings.apps_domain = in.text("apps-domain");
  if (const auto profile = in.text("profile"); !profile.empty() && profile != "auto") {
    options.settings.profile_given = true;
    if (profile == "ossm2") {
      options.settings.profile = check::Profile::Ossm2;
    } else if (profile == "ossm3") {
      options.settings.profile = check::Profile::Ossm3;
    } else if (profile == "istio") {
      options.settings.profile = check::Profile::Istio;
    } else {
      return Error(Code::InvalidArgument,
                   "profile \"" + profile + "\" is none of auto, ossm2, ossm3, istio");
    }
  }
  std::string list = in.text("only");
  while (!list.empty()) {
    const auto comma = list.find(',');
    const std::string code = list.substr(0, comma);
    if (check::find_rule(code) == nullptr)
      return Error(Code::InvalidArgument, "\"" + code + "\" is no rule");
    options.only.push_back(code);
    list = comma == std::string::npos ? "" : list.substr(comma + 1);
  }
  if (const auto path = in.text("cacert"); !path.empty()) {
    KNIT_TRY(options.settings.root_ca_pem, check::input::read_text(path));
  }
  if (const auto path = in.text("ignore-file"); !path.empty()) {
    KNIT_TRY(const std::string text, check::input::read_text(path));
    auto parsed = check::parse_suppressions(text);
    if (!parsed) return Error(Code::InvalidArgument, path + ": " + parsed.error().message());
    options.suppressions = std::move(*parsed);
  }
  return options;
}

std::optional<int> parse_number(const std::string& text) {
  int n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (error != std::errc() || end != text.data() + text.size() || n < 1 || n > 3600)
    return std::nullopt;
  return n;
}

std::vector<std::string> list_of(const cli::Invocation& in, const std::string& name) {
  const auto it = in.values.find(name);
  return it == in.values.end() ? std::vector<std::string>() : it->second;
}

Input read_paths(const std::vector<std::string>& paths) {
  Input out;
  for (const auto& path : paths) {
    if (path == "-") {
      check::input::add_stdin(out, STDIN_FILENO);
    } else {
      check::input::add_path(out, path);
    }
  }
  return out;
}

/// Adds the cluster that the flags name. Nothing, or the exit status after a message.
std::optional<int> read_cluster(const cli::Invocation& in, check::ObjectSet& set) {
  const auto access = access_of(in);
  if (!access) {
    return cli::fail(access.error().message(),
                     access.error().code() == Code::InvalidArgument ? kUsage : kUnreadable);
  }
  check::input::ClusterOptions options;
  if (const auto text = in.text("timeout"); !text.empty()) {
    const auto seconds = parse_number(text);
    if (!seconds) return cli::fail("--timeout takes seconds, 1 to 3600", kUsage);
    options.timeout = std::chrono::seconds(*seconds);
  }
  options.secrets = in.text("secrets") != "skip";
  const auto read = check::input::read_live(*access, options, set);
  if (read) return std::nullopt;
  return cli::fail(read.error().message(),
                   read.error().code() == Code::DeadlineExceeded ? kLate : kUnreadable);
}

struct Call {
  check::Style style;
  check::Format format = check::Format::Text;
  check::Options options;
  std::string fail_on = "error";
  std::string fix;  // "", "true", "patch"
  bool live = false, complete = false;
  std::vector<std::string> paths, overlay;
  std::vector<std::pair<std::string, std::string>> values;  // --set
};

Result<Call> call_of(const cli::Invocation& in) {
  const auto bad = [](std::string text) { return Error(Code::InvalidArgument, std::move(text)); };
  Call call;
  call.style = style_of(in);
  KNIT_TRY(call.format, check::parse_format(in.has("output") ? in.text("output") : "text"));
  KNIT_TRY(call.options, options_of(in));
  if (in.has("fail-on")) call.fail_on = in.text("fail-on");
  if (call.fail_on != "error" && call.fail_on != "warning" && call.fail_on != "info" &&
      call.fail_on != "never") {
    return bad("--fail-on is error, warning, info or never");
  }
  call.fix = in.text("fix");
  if (!call.fix.empty() && call.fix != "true" && call.fix != "patch") {
    return bad("--fix mends the files, --fix=patch prints the patches; \"" + call.fix +
               "\" is neither");
  }
  if (const auto secrets = in.text("secrets");
      in.has("secrets") && secrets != "skip" && secrets != "read") {
    return bad("--secrets is read or skip");
  }
  for (const auto& text : list_of(in, "set")) {
    const auto equals = text.find('=');
    if (equals == std::string::npos || equals == 0) {
      return bad("--set takes KEY=VALUE, not \"" + text + "\"");
    }
    call.values.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
  call.complete = in.has("complete");
  call.live = in.has("live") || in.has("context") || in.has("kubeconfig");
  call.paths = list_of(in, "path");
  call.overlay = list_of(in, "overlay");
  if (call.live && !call.paths.empty()) {
    return bad("the cluster is what is checked; lay files over it by --overlay " + call.paths[0]);
  }
  if (!call.live && call.paths.empty()) {
    return bad(
        "name files, folders, archives, or - for standard input; or a cluster by --context, "
        "--kubeconfig or --live");
  }
  if (!call.fix.empty() && (call.live || !call.overlay.empty())) {
    return bad("--fix mends files; nothing is ever written to a cluster");
  }
  return call;
}

int status_of(const check::Report& report, const std::string& fail_on, bool unreadable) {
  using check::Severity;
  if (unreadable || !report.errors.empty()) return kUnreadable;
  if (fail_on == "never") return kClean;
  const bool bad = report.count(Severity::Error) > 0 ||
                   (fail_on != "error" && report.count(Severity::Warning) > 0) ||
                   (fail_on == "info" && report.count(Severity::Info) > 0);
  return bad ? kFindings : kClean;
}

/// --fix and --fix=patch: changes `input`, or prints. The exit status when that is all.
std::optional<int> mend(const Call& call, Input& input, const check::Files& original) {
  if (!input.packed.empty() || !input.dump.empty()) {
    return cli::fail("--fix mends files, not what is inside an archive or a dump", kUsage);
  }
  const auto fixed = check::fix_files(input.files, call.options, call.complete);
  for (const auto& step : fixed.steps) {
    const std::string line = std::string(step.applied ? "fixed " : "not fixed ") + step.code + " " +
                             step.object + ": " + step.text +
                             (step.why.empty() ? "" : " (" + step.why + ")");
    std::fprintf(stderr, "%s\n", check::plain(line).c_str());
  }
  for (const auto& [name, text] : fixed.files) input.files[name] = text;
  // What --set put in is written too: the files are what was checked.
  for (const auto& [name, text] : input.files) {
    const auto& before = original.at(name);
    if (call.fix == "patch") {
      say(check::input::unified_diff(name == "-" ? "stdin" : name, before, text));
    } else if (name == "-") {
      say(text);
    } else if (text != before) {
      const auto written = check::input::replace_file(name, text);
      if (!written) return cli::fail(written.error().message(), kUnreadable);
    }
  }
  return std::nullopt;
}

int run_check(const cli::Invocation& in) {
  std::vector<std::string> paths = list_of(in, "path");
  // Words, not files: `./explain` is the file of that name.
  if (!paths.empty() && paths[0] == "explain")
    return run_explain({paths.begin() + 1, paths.end()}, style_of(in));
  if (paths.size() == 1 && paths[0] == "manual") return say(check::manual());
  const auto parsed = call_of(in);
  if (!parsed) return cli::fail(parsed.error().message(), kUsage);
  const Call& call = *parsed;

  Input input = read_paths(call.paths);
  Input over = read_paths(call.overlay);
  const auto complain = [&] {
    for (const auto* i : {&input, &over}) {
      for (const auto& u : i->unreadable)
        std::fprintf(stderr, "error: %s\n", check::plain(u).c_str());
    }
  };
  if (!call.live && input.empty()) {
    if (input.unreadable.empty())
      return cli::fail("no *.yaml, *.yml or *.json file is there", kUnreadable);
    complain();
    return kUnreadable;
  }
  if (!over.dump.empty()) return cli::fail("a dump cannot be laid over anything", kUsage);
  const check::Files original = input.files;
  std::set<std::string> used;
  for (auto* files : {&input.files, &input.packed, &over.files, &over.packed})
    used.merge(check::input::replace_placeholders(*files, call.values));
  for (const auto& [key, value] : call.values) {
    if (used.contains(key)) continue;
    std::fprintf(stderr, "note: --set %s: the input has no placeholder <%s>\n",
                 check::plain(key).c_str(), check::plain(key).c_str());
  }
  if (!call.fix.empty()) {
    if (const auto status = mend(call, input, original)) return *status;
  }
  check::ObjectSet set;
  set.complete = call.complete;
  if (call.live) {
    if (const auto status = read_cluster(in, set)) return *status;
  } else {
    check::input::add_input(input, set);
  }
  if (!over.empty()) {
    check::ObjectSet files;
    check::input::add_input(over, files);
    set.overlay(files);
  }
  const auto report = check::run(set, call.options);
  // Else standard output holds the patches or the mended YAML.
  if (call.fix != "patch" && (call.fix.empty() || !input.files.contains("-"))) {
    std::string out = check::print(report, call.format, call.style);
    if (!out.ends_with('\n')) out += '\n';
    say(out);
  }
  complain();
  // A cluster that showed nothing has not been checked.
  const bool blind = call.live && report.objects == 0 && !report.not_read.empty();
  return status_of(report, call.fail_on,
                   blind || !input.unreadable.empty() || !over.unreadable.empty());
}

}  // namespace

Result<check::input::Access> access_of(const cli::Invocation& in, std::string otherwise) {
  std::vector<std::string> files;
  if (const auto path = in.text("kubeconfig"); !path.empty()) {
    files.push_back(path);
  } else {
    std::string list = environment(in, "KUBECONFIG");
    while (!list.empty()) {
      const auto colon = list.find(':');
      if (colon != 0) files.push_back(list.substr(0, colon));
      list = colon == std::string::npos ? "" : list.substr(colon + 1);
    }
    if (otherwise.empty()) otherwise = environment(in, "HOME") + "/.kube/config";
    if (files.empty()) files.push_back(std::move(otherwise));
  }
  return check::input::load_kubeconfig(files, in.text("context"), [](const std::string& path) {
    return check::input::read_text(path, 16 << 20);
  });
}

cli::Command check_command() {
  using Kind = cli::Flag::Kind;
  return {
      .name = "check",
      .help =
          "check manifests, a support dump or a cluster; `check explain [CODE]` and `check manual` "
          "tell about rules",
      .arguments = {{"path", "files, folders, archives, support dumps, or - for standard input",
                     false, true}},
      .flags =
          {{"output",
            "text, short, table, json, yaml, sarif, junit or markdown",
            Kind::Value,
            {},
            false,
            'o'},
           {"profile", "auto, ossm2, ossm3 or istio", Kind::Value},
           {"complete", "the input is everything: what is absent is missing"},
           {"fail-on", "error, warning, info or never: exit 1 from this severity", Kind::Value},
           {"set", "KEY=VALUE for the placeholder <KEY> or your-…", Kind::List},
           {"only", "codes, separated by commas", Kind::Value},
           {"ignore-file", "lines CODE KIND NAMESPACE/NAME REASON", Kind::Value},
           {"apps-domain", "the domain that the certificate must cover", Kind::Value},
           {"cacert", "the root that must have issued it", Kind::Value},
           {"fix", "mend the files in place, each edit verified; --fix=patch prints patches",
            Kind::Optional},
           {"overlay", "files laid over what is checked: what if they were applied", Kind::List},
           {"live", "check the current context's cluster, by GET and LIST only"},
           {"context", "check the cluster of this kubeconfig context", Kind::Value},
           {"kubeconfig", "check the cluster of this kubeconfig", Kind::Value},
           {"secrets", "read or skip: whether a cluster's certificates are looked at", Kind::Value},
           {"timeout", "seconds for reading a cluster (60)", Kind::Value},
           {"quiet", "findings and verdict only"}},
      .usage_status = kUsage,
      .run = run_check};
}

}  // namespace knit::app
