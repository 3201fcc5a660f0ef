#include <cstdio>

#include "base/files.h"
#include "check/engine.h"
#include "check/input/cluster.h"
#include "cli/host.h"
#include "cli/up.h"

namespace knit::cli {
namespace {
using namespace std::chrono_literals;

/// What `knit check` finds in the running set: "2 errors, 1 warning".
Result<std::string> count_findings(const std::string& kubeconfig) {
  KNIT_TRY(const auto access,
           check::input::load_kubeconfig({kubeconfig}, "", [](const std::string& path) {
             return read_file(path, kMaxText);
           }));
  check::ObjectSet set;
  KNIT_TRY_VOID(check::input::read_live(access, {.timeout = 3s}, set));
  check::Options options;
  options.settings.now_unix = wall_clock().ns / 1'000'000'000;
  const auto report = check::run(set, options);
  const auto part = [](std::size_t n, const char* one) {
    return std::to_string(n) + " " + one + (n == 1 ? "" : "s");
  };
  return part(report.count(check::Severity::Error), "error") + ", " +
         part(report.count(check::Severity::Warning), "warning") + ", " +
         part(report.count(check::Severity::Info), "note");
}

Result<int> status(const Invocation& in) {
  KNIT_TRY(const Settings s, settings_of(in));
  KNIT_TRY(const Fd control, connect_control(s.run));
  KNIT_TRY_VOID(send_packet(control.get(), "status"));
  const auto text = read_packet(control.get(), monotonic_now() + 5s);
  if (!text) return Error(Code::DeadlineExceeded, "the supervisor did not answer in 5 s");
  const SupervisorState state = parse_state(*text);
  std::printf("%-11s %-9s %7s %8s %10s %9s %9s  %s\n", "PROCESS", "STATE", "PID", "RESTARTS",
              "UPTIME", "PSS MiB", "RSS MiB", "DETAIL");
  bool ready = true;
  for (const auto& p : state.processes) {
    const Memory m = p.pid == 0 ? Memory{} : memory_of(p.pid);
    const Duration up = p.pid == 0 ? Duration{} : wall_clock() - p.since;
    std::printf("%-11s %-9s %7d %8u %10s %9.1f %9.1f  %s\n", p.name.c_str(), p.state.c_str(), p.pid,
                p.restarts, go_duration(std::chrono::floor<std::chrono::seconds>(up)).c_str(),
                static_cast<double>(m.pss_kib) / 1'024, static_cast<double>(m.rss_kib) / 1'024,
                p.detail.c_str());
    ready = ready && (p.state == "ready" || p.state == "running");
  }
  for (const auto& p : state.ports) {
    std::printf("port        %s:%u %s\n", p.address.c_str(), p.port, p.purpose.c_str());
  }
  std::printf("%s", memory_table(state).c_str());
  const auto data = read_file(s.run + "/owner", kMaxText);
  if (!ready || !data) {
    std::printf("  findings not counted: not everything is ready\n");
    return 2;
  }
  const std::string kubeconfig = *data + "/admin.kubeconfig";
  const auto counted = count_findings(kubeconfig);
  if (counted) {
    std::printf("  findings %s (knit check --kubeconfig %s)\n", counted->c_str(),
                kubeconfig.c_str());
  } else {
    std::printf("  findings not counted: %s\n", counted.error().message().c_str());
  }
  return ready ? 0 : 2;
}

int version(const Invocation&) {
  std::printf("knit %s\n", KNIT_BUILD);
  return 0;
}

}  // namespace

int run_status(const Invocation& in) {
  auto r = status(in);
  return r ? *r : fail(r.error().message());
}

std::vector<Command> base_commands() {
  const std::vector<std::string> where = {"data", "run"};
  return {
      {.name = "up",
       .help = "Start Knit on this machine",
       .flags = {{"foreground", "stay in the foreground; Ctrl-C stops everything in order"}},
       .settings = {"*"},
       .run = run_up},
      {.name = "down",
       .help = "Stop Knit in order",
       .flags = {{"purge", "remove its data, users and everything else it made"}},
       .settings = where,
       .run = run_down},
      {.name = "status",
       .help = "Processes, restarts, memory, ports, findings (exit status 2: not all ready)",
       .settings = {"run"},
       .run = run_status},
      {.name = "version", .help = "Print the version", .run = version},
  };
}

}  // namespace knit::cli
