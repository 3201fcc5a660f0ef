// What the mains of all processes share: entering (settings, log, loop) and confinement.
#pragma once

#include "app/processes.h"
#include "io/stream.h"
#include "ipc/channel.h"
#include "ipc/messages.h"

namespace knit::app {

/// Reads the settings from descriptor 4, sets up the log, confines the process and makes its loop.
/// Errors: InvalidArgument when it was not started by the supervisor.
Result<ProcessContext> enter_process(ipc::Process self);

/// No new privileges, no core or ptrace access, no capabilities, a seccomp filter. The node is root
/// and the ancestor of every container, which inherits what cannot be undone: it keeps its
/// capabilities and privileges, and its filter denies only what no container may do anyway.
/// Errors: of the system.
Result<void> confine(ipc::Process self);

/// One connection to the API server as the user of this process: a stream pair whose other end the
/// server gets (ApiOpen). `server` is null while there is none: Unavailable.
io::Task<Result<std::unique_ptr<io::Stream>>> open_api(io::Loop* loop, ipc::Channel* server,
                                                       ipc::Process self);

/// Limits and usage, logged once at the start.
void log_start(const ProcessContext& context, ipc::Process self);

}  // namespace knit::app
