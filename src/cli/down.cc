#include <fcntl.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <sstream>

#include "base/files.h"
#include "cli/host.h"
#include "cli/up.h"

namespace knit::cli {
namespace {
using namespace std::chrono_literals;

/// Asks the supervisor to stop and shows what ends. False when none was running.
Result<bool> stop_running(const Settings& s) {
  auto control = connect_control(s.run);
  if (!control) {
    if (control.error().code() == Code::NotFound) return false;
    return std::move(control).error();
  }
  const Instant begun = monotonic_now();
  KNIT_TRY_VOID(send_packet(control->get(), "stop"));
  while (const auto line = read_packet(control->get(), begun + 120s)) {
    std::istringstream in(*line);
    std::string ms, what, name, how;
    std::getline(in, ms, '\t');
    std::getline(in, what, '\t');
    std::getline(in, name, '\t');
    std::getline(in, how, '\t');
    if (what == "exited" || what == "killed") {
      std::printf("  %9s  %s %s (%s)\n", seconds_since(begun).c_str(), name.c_str(), what.c_str(),
                  how.c_str());
    }
    std::fflush(stdout);
  }
  const Fd lock(::open((s.run + "/lock").c_str(), O_RDWR | O_CLOEXEC));
  if (lock && flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    return Error(Code::DeadlineExceeded, "the supervisor has not stopped after 120 s");
  }
  return true;
}

/// Runs `knit node --cleanup`, which takes links, rules, mounts and cgroups away.
Result<void> clean_node(const Invocation& in, const std::string& settings) {
  const pid_t pid = fork();
  if (pid == 0) {
    execl(in.executable.c_str(), "knit", "node", "--cleanup", "--settings", settings.c_str(),
          nullptr);
    _exit(127);
  }
  int status = 0;
  if (pid < 0 || waitpid(pid, &status, 0) != pid) return errno_error("knit node --cleanup", errno);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    return Error(Code::Internal,
                 "knit node --cleanup failed: links, mounts or cgroups may be left");
  }
  return {};
}

Result<void> purge(const Settings& s) {
  std::error_code error;
  if (!std::filesystem::exists(s.data + kMarkerFile, error)) {
    return Error(Code::NotFound, s.data + " holds no data of Knit: nothing was removed");
  }
  std::istringstream users(read_file(s.data + kUsersFile, kMaxText).value_or(""));
  for (std::string name; std::getline(users, name);) {
    if (name.compare(0, 5, "knit-") != 0) continue;
    auto r = run_program({"userdel", name});
    if (!r && r.error().message().find("currently used by process") != std::string::npos) {
      std::printf("  kept the system user %s: another process runs as it\n", name.c_str());
      continue;
    }
    if (!r) {
      return std::move(r).error().within("remove the user " + name);
    }
    std::printf("  removed the system user %s\n", name.c_str());
  }
  for (const std::string& dir : {s.run, s.data}) {
    std::filesystem::remove_all(dir, error);
    if (error) return errno_error("remove " + dir, error.value());
    std::printf("  removed %s\n", dir.c_str());
  }
  return {};
}

Result<int> down(const Invocation& in) {
  if (geteuid() != 0) return Error(Code::PermissionDenied, "knit down needs root");
  KNIT_TRY(Settings s, settings_of(in));
  // The running Knit knows its data directory; the flag is for one that is not running.
  if (const auto owner = read_file(s.run + "/owner", kMaxText);
      owner && in.sources.flags.count("data") == 0) {
    s.data = *owner;
  }
  const std::string file = s.data + kSettingsFile;
  if (auto saved = load_settings(file)) {
    saved->run = s.run;
    s = std::move(*saved);
  }
  KNIT_TRY(const bool was_running, stop_running(s));
  const auto left = kill_leftovers(s.run);
  for (const auto& name : left) std::printf("  killed %s\n", name.c_str());
  if (!was_running && left.empty() && !in.has("purge")) {
    std::printf("Knit is not running.\n");
    return 0;
  }
  std::error_code error;
  if (std::filesystem::exists(file, error)) KNIT_TRY_VOID(clean_node(in, file));
  if (in.has("purge")) KNIT_TRY_VOID(purge(s));
  std::printf(in.has("purge") ? "Knit is gone.\n" : "Knit is down; its data is in %s.\n",
              s.data.c_str());
  return 0;
}

}  // namespace

int run_down(const Invocation& in) {
  auto r = down(in);
  return r ? *r : fail(r.error().message());
}

}  // namespace knit::cli
