// `knit cert …` and `knit image …`: commands that work on the data directory, also while nothing
// runs. They block: a command has no loop.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

#include "app/commands.h"
#include "base/files.h"
#include "cli/host.h"
#include "cli/up.h"
#include "image/import.h"
#include "pki/cert_command.h"

namespace knit::app {
namespace {

/// The apps domain of the installation: what `knit up` was given, unless the command says another.
std::string installed_domain(const cli::Invocation& in, const cli::Settings& settings) {
  if (in.sources.flags.count("apps-domain") != 0) return settings.apps_domain;
  const auto installed = cli::load_settings(settings.data + "/settings");
  return installed ? installed->apps_domain : settings.apps_domain;
}

int run_cert(const cli::Invocation& in, std::vector<std::string> arguments) {
  const auto settings = cli::settings_of(in);
  if (!settings) return cli::fail(settings.error().message(), 64);
  for (const char* flag : {"namespace", "name", "out", "sa", "mesh"}) {
    if (in.has(flag) && !in.text(flag).empty()) {
      arguments.push_back(std::string("--") + flag);
      arguments.push_back(in.text(flag));
    }
  }
  pki::CertEnvironment environment;
  environment.data_dir = settings->data;
  environment.apps_domain = installed_domain(in, *settings);
  environment.now = cli::wall_clock();
  const auto out = pki::cert_command(arguments, environment);
  if (!out) return cli::fail(out.error().message());
  for (const auto& [path, text] : out->files) {
    if (const auto written = replace_file(path, text, {}); !written) {
      return cli::fail(written.error().message());
    }
  }
  std::fwrite(out->text.data(), 1, out->text.size(), stdout);
  return 0;
}

int run_image_import(const cli::Invocation& in) {
  const auto settings = cli::settings_of(in);
  if (!settings) return cli::fail(settings.error().message(), 64);
  const auto names =
      image::import_archive(settings->data + "/images", in.text("path"), in.text("name"));
  if (!names) return cli::fail(names.error().message());
  for (const auto& name : *names) std::printf("imported %s\n", name.c_str());
  return 0;
}

int run_image_list(const cli::Invocation& in) {
  const auto settings = cli::settings_of(in);
  if (!settings) return cli::fail(settings.error().message(), 64);
  const auto images = image::list(settings->data + "/images");
  if (!images) return cli::fail(images.error().message());
  std::size_t width = 4;
  for (const auto& i : *images) width = std::max(width, i.reference.size());
  std::printf("%-*s  %-19s  %s\n", static_cast<int>(width), "NAME", "DIGEST", "SIZE");
  for (const auto& i : *images) {
    std::printf("%-*s  %-19s  %.1f MiB\n", static_cast<int>(width), i.reference.c_str(),
                i.digest.substr(0, 19).c_str(), static_cast<double>(i.size) / (1 << 20));
  }
  return 0;
}

}  // namespace

std::vector<cli::Command> data_commands() {
  using Kind = cli::Flag::Kind;
  std::vector<cli::Command> out;
  out.push_back({.name = "cert root",
                 .help = "print the root certificate of the apps domain (curl --cacert)",
                 .settings = {"data", "apps-domain"},
                 .run = [](const cli::Invocation& in) { return run_cert(in, {"root"}); }});
  out.push_back({.name = "cert wildcard",
                 .help = "a certificate for *.APPS-DOMAIN, as a Secret for kubectl apply -f -",
                 .flags = {{"namespace", "of the Secret (default istio-system)", Kind::Value},
                           {"name", "of the Secret (default wildcard-certs)", Kind::Value},
                           {"out", "write PEM files into this directory instead", Kind::Value}},
                 .settings = {"data", "apps-domain"},
                 .run = [](const cli::Invocation& in) { return run_cert(in, {"wildcard"}); }});
  out.push_back(
      {.name = "cert issue",
       .help = "a workload certificate of the mesh, for tests and tools outside it",
       .flags = {{"sa", "service account, NAMESPACE/NAME", Kind::Value, {}, true},
                 {"mesh", "namespace of the control plane (default istio-system)", Kind::Value},
                 {"out", "write PEM files into this directory", Kind::Value}},
       .settings = {"data"},
       .run = [](const cli::Invocation& in) { return run_cert(in, {"issue"}); }});
  out.push_back({.name = "image import",
                 .help = "import an OCI layout or a docker archive",
                 .arguments = {{"path", "directory or tar file"}},
                 .flags = {{"name", "name it, instead of the archive's names", Kind::Value}},
                 .settings = {"data"},
                 .run = run_image_import});
  out.push_back({.name = "image list",
                 .help = "list the images that pods can use",
                 .settings = {"data"},
                 .run = run_image_list});
  return out;
}

}  // namespace knit::app
