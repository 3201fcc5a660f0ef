// `knit check`: reads manifests, runs the rules, prints. Writes nothing but what --fix mends.
#include "app/check_command.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "base/fd.h"
#include "check/fixes.h"
#include "check/output.h"
#include "cli/host.h"

namespace knit::app {
namespace {

namespace fs = std::filesystem;

constexpr int kClean = 0;
constexpr int kFindings = 1;
constexpr int kUsage = 2;
constexpr int kUnreadable = 3;
constexpr std::size_t kMaxFile = 64 << 20;
constexpr std::size_t kMaxTotal = 512 << 20;
constexpr std::size_t kMaxFiles = 20'000;

struct Input {
  check::Files files;
  std::vector<std::string> unreadable;
  std::size_t bytes = 0;
};

Result<std::string> read_all(int fd, std::size_t limit) {
  std::string out;
  std::vector<char> buffer(64 << 10);
  while (true) {
    const ssize_t n = ::read(fd, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error("read", errno);
    if (n == 0) return out;
    if (out.size() + static_cast<std::size_t>(n) > limit) {
      return Error(Code::InvalidArgument, "is larger than " + std::to_string(limit >> 20) + " MiB");
    }
    out.append(buffer.data(), static_cast<std::size_t>(n));
  }
}

void add_file(Input& in, const std::string& path) {
  if (in.files.size() >= kMaxFiles || in.bytes >= kMaxTotal) {
    in.unreadable.push_back(path + ": too many files or bytes; it was not read");
    return;
  }
  // Without blocking: a pipe or device under this name must not stop the walk.
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat st{};
  if (!fd || ::fstat(fd.get(), &st) != 0) {
    in.unreadable.push_back(path + ": " + errno_error("open", errno).message());
    return;
  }
  if (!S_ISREG(st.st_mode)) {
    in.unreadable.push_back(path + ": is no regular file");
    return;
  }
  auto text = read_all(fd.get(), std::min(kMaxFile, kMaxTotal - in.bytes));
  if (!text) {
    in.unreadable.push_back(path + ": " + text.error().message());
    return;
  }
  in.bytes += text->size();
  in.files[path] = std::move(*text);
}

bool is_manifest(const fs::path& path) {
  const auto e = path.extension();
  return e == ".yaml" || e == ".yml" || e == ".json";
}

void add_path(Input& in, const std::string& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) {
    add_file(in, path);
    return;
  }
  std::vector<std::string> found;
  // Links are not followed: what is outside the folder stays outside.
  auto it =
      fs::recursive_directory_iterator(path, fs::directory_options::skip_permission_denied, error);
  const auto end = fs::recursive_directory_iterator();
  while (!error && it != end) {
    const auto status = it->symlink_status(error);
    if (!error && fs::is_regular_file(status) && is_manifest(it->path())) {
      found.push_back(it->path().string());
      if (found.size() > kMaxFiles) break;
    }
    it.increment(error);
  }
  if (error) in.unreadable.push_back(path + ": " + error.message());
  std::sort(found.begin(), found.end());
  for (const auto& f : found) add_file(in, f);
}

std::string environment(const cli::Invocation& in, const std::string& name) {
  const auto it = in.sources.environment.find(name);
  if (it != in.sources.environment.end()) return it->second;
  const char* value = std::getenv(name.c_str());  // NOLINT(concurrency-mt-unsafe): one thread
  return value == nullptr ? "" : value;
}

check::Style style_of(const cli::Invocation& in) {
  check::Style style;
  std::string locale;
  for (const char* name : {"LC_ALL", "LC_MESSAGES", "LANG"}) {
    if (locale.empty()) locale = environment(in, name);
  }
  std::string upper = locale;
  for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  const bool utf8 =
      upper.find("UTF-8") != std::string::npos || upper.find("UTF8") != std::string::npos;
  style.ascii = !utf8;
  style.japanese = locale.starts_with("ja");
  style.colour = ::isatty(STDOUT_FILENO) == 1 && environment(in, "NO_COLOR").empty() &&
                 environment(in, "TERM") != "dumb";
  style.quiet = in.has("quiet");
  return style;
}

/// Replaces "<KEY>" and "your-…" words in the text of the files.
void replace_placeholders(check::Files& files,
                          const std::vector<std::pair<std::string, std::string>>& values) {
  const auto word = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' || c == '.';
  };
  for (auto& [name, text] : files) {
    for (const auto& [key, value] : values) {
      std::vector<std::string> forms{"<" + key + ">"};
      if (key.starts_with("your-") || key.starts_with("your_")) forms.push_back(key);
      for (const auto& wanted : forms) {
        const bool bare = wanted == key;
        for (std::size_t at = 0; (at = text.find(wanted, at)) != std::string::npos;) {
          const auto end = at + wanted.size();
          if (bare && ((at > 0 && word(text[at - 1])) || (end < text.size() && word(text[end])))) {
            at = end;
            continue;
          }
          text.replace(at, wanted.size(), value);
          at += value.size();
        }
      }
    }
  }
}

Result<void> write_file(const std::string& name, const std::string& text) {
  std::error_code unresolved;  // a link that was named keeps pointing at the file that is mended
  const std::string path = fs::canonical(name, unresolved).string();
  if (unresolved) return Error(Code::NotFound, name + ": " + unresolved.message());
  struct stat st{};
  if (::stat(path.c_str(), &st) != 0) return errno_error("stat " + path, errno);
  const std::string fresh = path + ".knit-check-" + std::to_string(::getpid());
  Fd file(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
                 st.st_mode & 0777));
  if (!file) return errno_error("write " + path, errno);
  std::string_view rest = text;
  while (!rest.empty()) {
    const ssize_t n = ::write(file.get(), rest.data(), rest.size());
    if (n <= 0) {
      const int why = errno;
      ::unlink(fresh.c_str());
      return errno_error("write " + path, why);
    }
    rest.remove_prefix(static_cast<std::size_t>(n));
  }
  if (::fsync(file.get()) != 0 || ::rename(fresh.c_str(), path.c_str()) != 0) {
    const int why = errno;
    ::unlink(fresh.c_str());
    return errno_error("write " + path, why);
  }
  return {};
}

int say(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  return kClean;
}

/// Codes of the catalogues that are no rules, and why.
struct LeftOut {
  std::string_view code, why;
};
constexpr LeftOut kLeftOut[] = {
    {"K127",
     "that Serverless was moved between meshes is history, which no object holds; reinstall it"},
    {"K614", "it needs to connect to Kafka; `knit check` reads manifests"},
    {"K903", "it needs to follow a request through a running platform; use curl --cacert"},
    {"K905", "it needs to send an event through a running platform"},
};

int run_explain(const std::vector<std::string>& codes, const check::Style& style) {
  if (codes.empty()) return say(check::list_rules(style));
  for (const auto& code : codes) {
    const auto* rule = check::find_rule(code);
    const auto left = std::find_if(std::begin(kLeftOut), std::end(kLeftOut),
                                   [&](const auto& l) { return l.code == code; });
    if (left != std::end(kLeftOut)) {
      say(std::string(left->code) + "  is not checked: " + std::string(left->why) + "\n");
      continue;
    }
    if (rule == nullptr)
      return cli::fail("\"" + code + "\" is no rule; `knit check explain` lists them", kUsage);
    say(check::explain(*rule, style));
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
  for (const char* flag : {"ignore-file", "cacert"}) {
    const auto path = in.text(flag);
    if (path.empty()) continue;
    Input file;
    add_file(file, path);
    if (!file.unreadable.empty()) return Error(Code::InvalidArgument, file.unreadable.front());
    if (std::string_view(flag) == "cacert") {
      options.settings.root_ca_pem = file.files.begin()->second;
      continue;
    }
    auto parsed = check::parse_suppressions(file.files.begin()->second);
    if (!parsed) return Error(Code::InvalidArgument, path + ": " + parsed.error().message());
    options.suppressions = std::move(*parsed);
  }
  return options;
}

check::Report report_of(const check::Files& files, const check::Options& options, bool complete) {
  check::ObjectSet objects;
  objects.complete = complete;
  for (const auto& [name, text] : files) objects.add_text(name, text);
  return check::run(objects, options);
}

int run_check(const cli::Invocation& in) {
  const auto style = style_of(in);
  std::vector<std::string> paths;
  if (const auto it = in.values.find("path"); it != in.values.end()) paths = it->second;
  // Words, not files: `./explain` is the file of that name.
  if (!paths.empty() && paths[0] == "explain")
    return run_explain({paths.begin() + 1, paths.end()}, style);
  if (paths.size() == 1 && paths[0] == "manual") return say(check::manual());

  const auto format = check::parse_format(in.has("output") ? in.text("output") : "text");
  if (!format) return cli::fail(format.error().message(), kUsage);
  const auto options = options_of(in);
  if (!options) return cli::fail(options.error().message(), kUsage);
  const std::string fail_on = in.has("fail-on") ? in.text("fail-on") : "error";
  if (fail_on != "error" && fail_on != "warning" && fail_on != "info") {
    return cli::fail("--fail-on is error, warning or info", kUsage);
  }
  std::vector<std::pair<std::string, std::string>> values;
  if (const auto it = in.values.find("set"); it != in.values.end()) {
    for (const auto& text : it->second) {
      const auto equals = text.find('=');
      if (equals == std::string::npos || equals == 0) {
        return cli::fail("--set takes KEY=VALUE, not \"" + text + "\"", kUsage);
      }
      values.emplace_back(text.substr(0, equals), text.substr(equals + 1));
    }
  }
  if (paths.empty()) return cli::fail("name files or folders, or - for standard input", kUsage);

  Input input;
  for (const auto& path : paths) {
    if (path != "-") {
      add_path(input, path);
      continue;
    }
    auto text = read_all(STDIN_FILENO, kMaxFile);
    if (!text) {
      input.unreadable.push_back("standard input: " + text.error().message());
    } else {
      input.files["-"] = std::move(*text);
    }
  }
  if (input.files.empty() && input.unreadable.empty()) {
    return cli::fail("no *.yaml, *.yml or *.json file is there", kUnreadable);
  }
  if (input.files.empty()) {
    for (const auto& u : input.unreadable) std::fprintf(stderr, "error: %s\n", u.c_str());
    return kUnreadable;
  }
  const check::Files original = input.files;
  replace_placeholders(input.files, values);
  const bool complete = in.has("complete");
  if (in.has("fix") || in.has("print-fix")) {
    const auto fixed = check::fix_files(input.files, *options, complete);
    for (const auto& step : fixed.steps) {
      std::fprintf(stderr, "%s %s %s: %s%s\n", step.applied ? "fixed" : "not fixed",
                   step.code.c_str(), step.object.c_str(), step.text.c_str(),
                   step.why.empty() ? "" : (" (" + step.why + ")").c_str());
    }
    for (const auto& [name, text] : fixed.files) input.files[name] = text;
    // What --set put in is written too: the files are what was checked.
    for (const auto& [name, text] : input.files) {
      if (text == original.at(name) && name != "-") continue;
      if (in.has("print-fix") || name == "-") {
        say(name == "-" ? text : "# " + name + "\n" + text);
      } else if (const auto written = write_file(name, text); !written) {
        return cli::fail(written.error().message(), kUnreadable);
      }
    }
    if (in.has("print-fix")) return kClean;
  }
  const auto report = report_of(input.files, *options, complete);
  if (!(in.has("fix") && input.files.count("-") != 0)) {  // else standard output holds the YAML
    std::string out = check::print(report, *format, style);
    if (!out.ends_with('\n')) out += '\n';
    say(out);
  }
  for (const auto& u : input.unreadable) std::fprintf(stderr, "error: %s\n", u.c_str());
  using check::Severity;
  const bool bad = report.count(Severity::Error) > 0 ||
                   (fail_on != "error" && report.count(Severity::Warning) > 0) ||
                   (fail_on == "info" && report.count(Severity::Info) > 0);
  if (!input.unreadable.empty() || !report.errors.empty()) return kUnreadable;
  return bad ? kFindings : kClean;
}

}  // namespace

cli::Command check_command() {
  using Kind = cli::Flag::Kind;
  return {.name = "check",
          .help =
              "check manifests before they are applied; `check explain [CODE]` and `check manual` "
              "tell about rules",
          .arguments = {{"path", "files, folders, or - for standard input", false, true}},
          .flags = {{"output",
                     "text, table, json, yaml, sarif, junit or markdown",
                     Kind::Value,
                     {},
                     false,
                     'o'},
                    {"profile", "auto, ossm2, ossm3 or istio", Kind::Value},
                    {"complete", "the input is everything: what is absent is missing"},
                    {"fail-on", "error, warning or info: exit 1 from this severity", Kind::Value},
                    {"set", "KEY=VALUE for the placeholder <KEY> or your-…", Kind::List},
                    {"only", "codes, separated by commas", Kind::Value},
                    {"ignore-file", "lines CODE KIND NAMESPACE/NAME REASON", Kind::Value},
                    {"apps-domain", "the domain that the certificate must cover", Kind::Value},
                    {"cacert", "the root that must have issued it", Kind::Value},
                    {"fix", "mend the files in place, each edit verified"},
                    {"print-fix", "print the mended files, write nothing"},
                    {"quiet", "findings and verdict only"}},
          .usage_status = kUsage,
          .run = run_check};
}

}  // namespace knit::app
