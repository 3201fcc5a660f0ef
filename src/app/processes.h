// The processes behind the hidden subcommands. Each builds every object it needs, connects them and
// returns when it has stopped; server.cc, node.cc, proxy.cc and events.cc define them.
#pragma once

#include "base/fd.h"
#include "cli/settings.h"
#include "io/real_loop.h"

namespace knit::app {

/// What a process gets. It is already confined (process.h) when it gets it.
struct ProcessContext {
  cli::Settings settings;
  Fd channel;  // for ipc::Bootstrap::create
  std::unique_ptr<io::RealLoop> loop;
};

int run_server(ProcessContext context);
int run_node(ProcessContext context);
int run_proxy(ProcessContext context);
int run_events(ProcessContext context);  // an executable of its own: events_main.cc
/// `knit node --cleanup`: after a stop, takes away links, rules, mounts and cgroups.
int clean_node(const cli::Settings& settings);

}  // namespace knit::app
