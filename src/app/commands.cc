#include "app/commands.h"

#include <cstdio>

#include "app/check_command.h"
#include "app/event_command.h"
#include "app/process.h"
#include "cli/up.h"

namespace knit::app {
namespace {

using Main = int (*)(ProcessContext);

/// nullptr when this build has no such process (its source is not there yet).
Main main_of([[maybe_unused]] ipc::Process p) {
#ifdef KNIT_HAVE_SERVER
  if (p == ipc::Process::Server) return run_server;
#endif
#ifdef KNIT_HAVE_NODE
  if (p == ipc::Process::Node) return run_node;
#endif
#ifdef KNIT_HAVE_PROXY
  if (p == ipc::Process::Proxy) return run_proxy;
#endif
  return nullptr;
}

int run_process(ipc::Process self) {
  const Main main = main_of(self);
  if (main == nullptr) {
    return cli::fail("this build has no " + std::string(to_string(self)) + " process", 70);
  }
  auto context = enter_process(self);
  if (!context) return cli::fail(context.error().message(), 71);
  return main(std::move(*context));
}

int cleanup([[maybe_unused]] const std::string& settings_path) {
#ifdef KNIT_HAVE_NODE
  auto settings = cli::load_settings(settings_path);
  if (!settings) return cli::fail(settings.error().message());
  return clean_node(*settings);
#else
  return 0;  // a build without a node has made nothing
#endif
}

cli::Command process_command(ipc::Process p) {
  return {.name = std::string(to_string(p)),
          .help = "started by the supervisor",
          .hidden = true,
          .run = [p](const cli::Invocation&) { return run_process(p); }};
}

}  // namespace

std::vector<cli::Command> all_commands() {
  std::vector<cli::Command> out = cli::base_commands();
  out.push_back(process_command(ipc::Process::Server));
  out.push_back(process_command(ipc::Process::Proxy));
  auto node = process_command(ipc::Process::Node);
  node.flags = {{"cleanup", "take away links, rules, mounts and cgroups after a stop"},
                {"settings", "settings that `knit up` left", cli::Flag::Kind::Value}};
  node.run = [](const cli::Invocation& in) {
    return in.has("cleanup") ? cleanup(in.text("settings")) : run_process(ipc::Process::Node);
  };
  out.push_back(std::move(node));
  for (auto& command : data_commands()) out.push_back(std::move(command));
  out.push_back(check_command());
  for (auto& command : event_commands()) out.push_back(std::move(command));
  return out;
}

}  // namespace knit::app
