// The load itself: a schedule, connections, one epoll loop.
#pragma once

#include <atomic>

#include "load/options.h"
#include "load/report.h"

namespace knit::load {

/// Makes the requests and returns when all are answered or given up. `stop` ends the schedule early
/// (the requests under way are still waited for). Blocks.
Result<Json> run(const Options& options, const std::atomic<bool>& stop);

Seconds monotonic_now();

}  // namespace knit::load
