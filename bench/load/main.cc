// knit-load: an HTTP/1.1 load generator. SIGINT and SIGTERM end the schedule; the report follows.
#include <signal.h>
#include <sys/prctl.h>

#include <cstdio>

#include "load/run.h"

namespace {
std::atomic<bool> g_stop{false};
}

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  const auto options = knit::load::parse(arguments);
  if (!options) {
    std::fprintf(stderr, "knit-load: %s\n%s", options.error().message().c_str(),
                 knit::load::usage().c_str());
    return 2;
  }
  prctl(PR_SET_PDEATHSIG, SIGTERM);  // ends with the test that started it
  struct sigaction stop{};
  stop.sa_handler = [](int) { g_stop = true; };
  sigaction(SIGINT, &stop, nullptr);
  sigaction(SIGTERM, &stop, nullptr);
  signal(SIGPIPE, SIG_IGN);
  const auto report = knit::load::run(*options, g_stop);
  if (!report) {
    std::fprintf(stderr, "knit-load: %s\n", report.error().message().c_str());
    return 2;
  }
  std::printf("%s\n", boost::json::serialize(*report).c_str());
  return 0;
}
