// The `knit-events` executable: brokers, channels and sources, started by the supervisor while
// Eventing is installed.
#include <cstdio>

#include "app/process.h"

int main() {
  auto context = knit::app::enter_process(knit::ipc::Process::Events);
  if (!context) {
    std::fprintf(stderr, "knit-events: %s\n", context.error().message().c_str());
    return 71;
  }
  return knit::app::run_events(std::move(*context));
}
