#include "cli/up.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "base/files.h"
#include "cli/host.h"
#include "ipc/frame.h"
#include "ipc/launch.h"

namespace knit::cli {
namespace {
using namespace std::chrono_literals;
using ipc::Process;
constexpr Duration kReadyDeadline = 60s;

/// Prints one line per step: the time since the command began, and what was done.
class Steps {
 public:
  void done(const std::string& what) {
    std::printf("  %9s  %s\n", seconds_since(begun_).c_str(), what.c_str());
    std::fflush(stdout);
  }
  std::string elapsed() const { return seconds_since(begun_); }

 private:
  Instant begun_ = monotonic_now();
};

Result<std::string> check_machine() {
  if (geteuid() != 0) {
    return Error(Code::PermissionDenied,
                 "knit up needs root (network namespaces, cgroups): run it with sudo");
  }
  if (!program_exists("crun") && !program_exists("runc")) {
    return Error(Code::NotFound, "neither crun nor runc is installed: apt-get install crun");
  }
  for (const char* name : {"ip", "useradd"}) {
    if (!program_exists(name)) {
      return Error(Code::NotFound, std::string(name) + " is not installed: apt-get install " +
                                       (*name == 'i' ? "iproute2" : "passwd"));
    }
  }
  KNIT_TRY(const std::string mounts, read_file("/proc/mounts", kMaxText));
  if (mounts.find(" cgroup2 ") == std::string::npos) {
    return Error(Code::Unsupported, "no cgroup2 file system is mounted: pods need one");
  }
  for (const char* ns : {"net", "mnt", "pid", "uts", "ipc"}) {
    if (access((std::string("/proc/self/ns/") + ns).c_str(), F_OK) != 0) {
      return Error(Code::Unsupported, std::string("the kernel has no ") + ns + " namespaces");
    }
  }
  return std::string(program_exists("crun") ? "crun" : "runc");
}

/// A lock is free a moment after its holder died: waits up to 1 s for it.
bool lock_soon(int fd) {
  for (int i = 0; flock(fd, LOCK_EX | LOCK_NB) != 0; ++i) {
    if (i == 50) return false;
    poll(nullptr, 0, 20);
  }
  return true;
}

/// Locks the data directory for as long as the supervisor lives.
Result<Fd> lock_data(const Settings& s) {
  Fd lock(::open((s.data + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock) return errno_error(s.data + "/lock", errno);
  if (!lock_soon(lock.get())) {
    return Error(Code::AlreadyExists, "data directory " + s.data + " is in use by a running Knit");
  }
  return lock;
}

struct Claims {
  Fd pods, network;
};
/// Refuses by name what another Knit (or a former one) holds.
Result<Claims> claim(const Settings& s) {
  const Fd lock(::open((s.run + "/lock").c_str(), O_RDWR | O_CLOEXEC));
  if (lock && !lock_soon(lock.get())) {
    const auto owner = read_file(s.run + "/owner", kMaxText);
    return Error(Code::AlreadyExists, "Knit is already running with data directory " +
                                          owner.value_or("(unknown)") + " (run directory " + s.run +
                                          "): see `knit status`, stop it with `knit down`");
  }
  Claims out;
  KNIT_TRY(out.pods, claim_pod_range(s.pod_cidr));
  KNIT_TRY(out.network, claim_network());
  KNIT_TRY(const auto route,
           foreign_route({s.pod_cidr, s.service_cidr, s.pod_cidr6, s.service_cidr6}));
  if (route) {
    return Error(Code::AlreadyExists,
                 "address range " + *route + ": choose another with --pod-cidr or --service-cidr");
  }
  return out;
}

Result<std::string> make_users(Settings& s) {
  std::string made = read_file(s.data + kUsersFile, kMaxText).value_or("");
  const struct {
    const char* name;
    std::uint32_t *uid, *gid;
  } users[] = {{"knit-server", &s.server_uid, &s.server_gid},
               {"knit-proxy", &s.proxy_uid, &s.proxy_gid},
               {"knit-events", &s.events_uid, &s.events_gid}};
  std::string fresh;
  for (const auto& u : users) {
    KNIT_TRY(const User user, ensure_user(u.name));
    *u.uid = user.uid;
    *u.gid = user.gid;
    if (!user.made) continue;
    made += std::string(u.name) + "\n";
    fresh += std::string(fresh.empty() ? "" : ", ") + u.name;
    KNIT_TRY_VOID(replace_file(s.data + kUsersFile, made, {.mode = 0644, .durable = true}));
  }
  return fresh;
}

Result<void> make_dirs(const Settings& s) {
  std::error_code error;
  const bool ours = std::filesystem::exists(s.data + kMarkerFile, error);
  if (!ours && std::filesystem::exists(s.data, error) &&
      !std::filesystem::is_empty(s.data, error)) {
    return Error(Code::InvalidArgument, "data directory " + s.data +
                                            " holds files that are not Knit's: give --data an "
                                            "empty or absent directory");
  }
  KNIT_TRY_VOID(make_dir(s.data, 0755));
  KNIT_TRY_VOID(replace_file(s.data + kMarkerFile, "Knit keeps its data here.\n",
                             {.mode = 0644, .durable = true}));
  KNIT_TRY_VOID(make_dir(s.run, 0711));
  KNIT_TRY_VOID(make_dir(s.data + "/log", 0750));
  return {};
}

/// Another of Knit's executables, which belongs beside `knit`.
Result<std::string> beside(const std::string& executable, const char* name) {
  std::string path = std::filesystem::path(executable).parent_path().string() + "/" + name;
  if (access(path.c_str(), X_OK) != 0) {
    return Error(Code::NotFound, path + " is missing: it belongs beside " + executable);
  }
  return path;
}

ipc::LaunchPlan launch_plan(const Settings& s, const std::string& executable,
                            const std::string& events, bool foreground) {
  ipc::LaunchPlan plan;
  plan.run_dir = s.run;
  plan.settings = codec::encode(s);
  plan.foreground = foreground;
  const auto port = [&](std::uint16_t p) { plan.ports.push_back({p, p}); };
  port(s.router_https_port);
  port(s.router_http_port);
  port(s.router_https_fallback);
  port(s.router_http_fallback);
  plan.ports.push_back({s.node_port_first, s.node_port_last});
  const auto add = [&](Process p, std::uint32_t uid, std::uint32_t gid, std::uint32_t order,
                       Duration deadline) {
    ipc::ProcessSpec spec;
    spec.process = p;
    spec.path = executable;
    spec.args = {"knit", std::string(to_string(p))};
    spec.uid = uid;
    spec.gid = gid;
    spec.stop_order = order;
    spec.stop_deadline = deadline;
    plan.processes.push_back(std::move(spec));
  };
  add(Process::Server, s.server_uid, s.server_gid, 2, 10s);
  add(Process::Node, 0, 0, 4, 40s);
  add(Process::Proxy, s.proxy_uid, s.proxy_gid, 3, 35s);
  add(Process::Events, s.events_uid, s.events_gid, 1, 20s);
  plan.processes.back().path = events;
  plan.processes.back().args = {"knit-events"};
  plan.processes.back().on_demand = true;  // while Eventing's roles have pods
  return plan;
}

/// The API's port: the one asked for, or the next free one (at most 100 further).
Result<void> choose_api_port(Settings& s) {
  for (int i = 0; i < 100 && s.api_port_asked + i <= 65'535; ++i) {
    const auto port = static_cast<std::uint16_t>(s.api_port_asked + i);
    const auto free = try_bind(s.api_address, port);
    if (free) {
      s.api_port = port;
      return {};
    }
    Result<void> copy = free;
    if (copy.error().message().find("in use") == std::string::npos) {
      return std::move(copy).error().within("api-address");
    }
  }
  return Error(Code::ResourceExhausted, "no free port for the API from " +
                                            std::to_string(s.api_port_asked) + " on: --api-port");
}

struct Supervisor {
  pid_t pid = 0;
  Fd progress;
};
Result<Supervisor> start_supervisor(const ipc::LaunchPlan& plan, const Settings& s,
                                    const std::string& path, Claims claims, Fd data_lock) {
  KNIT_TRY(const Fd memfd, ipc::sealed_memfd("knit-plan", codec::encode(plan)));
  KNIT_TRY(auto ends, ipc::Link::pair());
  const int flags = fcntl(ends.first.get(), F_GETFL);
  fcntl(ends.first.get(), F_SETFL, flags & ~O_NONBLOCK);
  const std::string log = s.data + "/log/knit.log";
  struct stat old{};
  if (stat(log.c_str(), &old) == 0 && old.st_size > (16 << 20)) {
    rename(log.c_str(), (log + ".1").c_str());
  }
  const Fd log_fd(::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640));
  if (!log_fd) return errno_error(log, errno);
  const pid_t pid = fork();
  if (pid < 0) return errno_error("fork", errno);
  if (pid == 0) {
    int high[6];
    const int from[] = {memfd.get(),     ends.second.get(), claims.pods.get(),
                        data_lock.get(), log_fd.get(),      claims.network.get()};
    for (int i = 0; i < 6; ++i) high[i] = fcntl(from[i], F_DUPFD_CLOEXEC, 20);
    dup2(high[0], ipc::kPlanFd);
    dup2(high[1], ipc::kProgressFd);
    dup2(high[2], ipc::kGuardFd);
    dup2(high[3], ipc::kDataLockFd);
    dup2(high[5], ipc::kNetworkFd);
    if (plan.foreground) {
      setpgid(0, 0);  // Ctrl-C is for the command, which then asks for an ordered stop
    } else {
      setsid();
      dup2(high[4], 1);
      dup2(high[4], 2);
      const int null = ::open("/dev/null", O_RDONLY);
      dup2(null, 0);
    }
    if (chdir("/") != 0) _exit(126);
    execl(path.c_str(), "knit-supervisor", nullptr);
    std::fprintf(stderr, "error: %s: %s\n", path.c_str(), std::strerror(errno));
    _exit(127);
  }
  return Supervisor{pid, std::move(ends.first)};
}

std::vector<std::string> fields(const std::string& line) {
  std::vector<std::string> out;
  std::size_t at = 0;
  for (std::size_t tab; (tab = line.find('\t', at)) != std::string::npos; at = tab + 1) {
    out.push_back(line.substr(at, tab - at));
  }
  out.push_back(line.substr(at));
  return out;
}

/// Shows the supervisor's events until all are ready. Errors: what kept them from it.
Result<void> watch_start(const Supervisor& u, Steps& steps) {
  const Instant deadline = monotonic_now() + kReadyDeadline;
  int exits = 0;
  while (const auto line = read_packet(u.progress.get(), deadline)) {
    const auto f = fields(*line);
    if (f.size() < 2) continue;
    if (f[1] == "up") return {};
    if (f[1] == "ready" && f.size() >= 4)
      steps.done(f[2] + " ready" + (f[3].empty() ? "" : ": " + f[3]));
    if (f[1] == "bound" && f.size() >= 6) {
      steps.done(f[5].empty() ? f[2] + " listens at " + f[3]
                              : f[2] + ": " + f[3] + " " + f[5] + ", trying the next port");
    }
    if ((f[1] == "exited" || f[1] == "killed") && f.size() >= 4) {
      steps.done(f[2] + " " + f[1] + " (" + f[3] + "), started again");
      if (++exits >= 8) return Error(Code::Unavailable, f[2] + " does not stay up");
    }
  }
  int status = 0;
  if (waitpid(u.pid, &status, WNOHANG) == u.pid) {
    return Error(Code::Internal, "the supervisor ended with status " +
                                     std::to_string(WIFEXITED(status) ? WEXITSTATUS(status) : 128));
  }
  return Error(Code::DeadlineExceeded, "not everything became ready in 60 s");
}

/// The server may write only below pki/: what people use is a copy that it cannot change later.
Result<void> copy_kubeconfig(const Settings& s, const std::map<std::string, std::string>& env) {
  const std::string from = s.data + "/pki/admin.kubeconfig";
  const Fd fd(::open(from.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat st{};
  if (!fd || fstat(fd.get(), &st) != 0) return errno_error(from, errno);
  if (!S_ISREG(st.st_mode) || st.st_size > (1 << 20) || st.st_uid != s.server_uid) {
    return Error(Code::Internal, from + " is no file of the server's");
  }
  std::string text(static_cast<std::size_t>(st.st_size), '\0');
  if (pread(fd.get(), text.data(), text.size(), 0) != st.st_size) return errno_error(from, errno);
  const std::string to = s.data + "/admin.kubeconfig";
  KNIT_TRY_VOID(replace_file(to, text, {.mode = 0600, .durable = true}));
  const auto sudo = env.find("SUDO_UID");  // whoever typed sudo is the one who types kubectl
  if (sudo != env.end() && !sudo->second.empty() && std::isdigit(sudo->second[0]) != 0) {
    const auto uid = static_cast<uid_t>(std::strtoul(sudo->second.c_str(), nullptr, 10));
    if (chown(to.c_str(), uid, static_cast<gid_t>(-1)) != 0) return errno_error(to, errno);
  }
  return {};
}

void print_tail(const std::string& path) {
  constexpr off_t kMost = 64 << 10;
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return;
  const off_t size = ::lseek(fd.get(), 0, SEEK_END);
  ::lseek(fd.get(), std::max<off_t>(0, size - kMost), SEEK_SET);
  const std::string text = read_rest(fd.get(), kMost);
  std::size_t at = text.size();
  for (int lines = 0; at > 0 && lines <= 15; --at) {
    if (text[at - 1] == '\n' && ++lines > 15) break;
  }
  std::fprintf(stderr, "The end of %s:\n%s", path.c_str(), text.c_str() + at);
}

void print_next(const Settings& s, const SupervisorState& state) {
  std::printf("\n");
  std::printf("  API      https://%s:%u%s\n", s.api_address.c_str(), s.api_port,
              s.api_port == s.api_port_asked
                  ? ""
                  : (" (" + std::to_string(s.api_port_asked) + " is in use)").c_str());
  for (const auto& p : state.ports) {
    std::string why;
    const auto differs = [&](const char* purpose, std::uint16_t asked) {
      if (p.purpose == purpose && p.port != asked) {
        why = " (" + std::to_string(asked) + " is in use)";
      }
    };
    differs("router-https", s.router_https_port);
    differs("router-http", s.router_http_port);
    std::printf("  port     %s:%u %s%s\n", p.address.c_str(), p.port, p.purpose.c_str(),
                why.c_str());
  }
  std::printf("%s", memory_table(state).c_str());
  std::printf("\nNext:\n  export KUBECONFIG=%s/admin.kubeconfig\n  kubectl get namespaces\n",
              s.data.c_str());
  std::printf(
      "  kubectl apply -f ...      # ServiceMeshControlPlane, KnativeServing, your Service\n");
  std::printf("  knit status%s             # processes, memory, ports\n",
              s.run == Settings().run ? "" : (" --run " + s.run).c_str());
  std::printf("  knit down%s               # stop; --purge removes the data too\n",
              s.run == Settings().run ? "" : (" --run " + s.run).c_str());
  std::fflush(stdout);
}

volatile sig_atomic_t g_interrupted = 0;

/// Stays until the supervisor ends or a signal asks for a stop.
int stay(const Supervisor& u, Steps& steps) {
  struct sigaction action{};
  action.sa_handler = [](int) { g_interrupted = 1; };
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  bool asked = false;
  while (true) {
    if (g_interrupted != 0 && !asked) {
      asked = true;
      kill(u.pid, SIGTERM);
    }
    const auto line = read_packet(u.progress.get(), monotonic_now() + 1h);
    if (line) {
      const auto f = fields(*line);
      if (f.size() >= 4 && (f[1] == "exited" || f[1] == "killed")) {
        steps.done(f[2] + " " + f[1] + " (" + f[3] + ")");
      }
      continue;
    }
    int status = 0;
    if (waitpid(u.pid, &status, WNOHANG) == u.pid) {
      return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
    }
    if (g_interrupted == 0 || asked) {
      if (waitpid(u.pid, &status, 0) == u.pid) return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
    }
  }
}

Result<int> up(const Invocation& in) {
  KNIT_TRY(Settings s, settings_of(in));
  const bool foreground = in.has("foreground");
  Steps steps;
  std::printf("Knit %s\n", KNIT_BUILD);
  KNIT_TRY(const std::string engine, check_machine());
  KNIT_TRY(Claims claims, claim(s));
  steps.done("checks: root, " + engine + ", cgroup2, namespaces, address ranges");
  KNIT_TRY_VOID(make_dirs(s));
  KNIT_TRY(Fd data_lock, lock_data(s));
  KNIT_TRY(const std::string made, make_users(s));
  if (!made.empty()) steps.done("system users made: " + made);
  for (const char* dir : {"/store", "/pki"}) {
    KNIT_TRY_VOID(make_dir(s.data + dir, 0700, s.server_uid, s.server_gid));
    KNIT_TRY_VOID(check_reach(s.data + dir, {s.server_uid, s.server_gid}));
  }
  KNIT_TRY_VOID(make_dir(s.data + "/events", 0700, s.events_uid, s.events_gid));
  KNIT_TRY_VOID(check_reach(s.data + "/events", {s.events_uid, s.events_gid}));
  for (const std::string& name : kill_leftovers(s.run)) {
    steps.done("killed what a former supervisor left: " + name);
  }
  if (s.host_ip.empty()) s.host_ip = first_address();
  KNIT_TRY_VOID(choose_api_port(s));
  KNIT_TRY_VOID(
      replace_file(s.data + kSettingsFile, codec::encode(s), {.mode = 0600, .durable = true}));
  KNIT_TRY_VOID(replace_file(s.run + "/owner", s.data, {.mode = 0644, .durable = true}));
  KNIT_TRY(const std::string path, beside(in.executable, "knit-supervisor"));
  KNIT_TRY(const std::string events, beside(in.executable, "knit-events"));
  KNIT_TRY(const Supervisor u, start_supervisor(launch_plan(s, in.executable, events, foreground),
                                                s, path, std::move(claims), std::move(data_lock)));
  steps.done("supervisor started (pid " + std::to_string(u.pid) + ")");
  if (auto ready = watch_start(u, steps); !ready) {
    kill(u.pid, SIGTERM);
    const Instant deadline = monotonic_now() + 90s;
    while (read_packet(u.progress.get(), deadline)) {
    }
    waitpid(u.pid, nullptr, 0);
    if (!foreground) print_tail(s.data + "/log/knit.log");
    return std::move(ready).error();
  }
  KNIT_TRY_VOID(copy_kubeconfig(s, in.sources.environment));
  steps.done("ready");
  SupervisorState state;
  if (auto control = connect_control(s.run)) {
    if (send_packet(control->get(), "status")) {
      state = parse_state(read_packet(control->get(), monotonic_now() + 5s).value_or(""));
    }
  }
  print_next(s, state);
  return foreground ? stay(u, steps) : 0;
}

}  // namespace

std::string seconds_since(Instant since) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3f s",
                static_cast<double>((monotonic_now() - since).count()) / 1e9);
  return text;
}

Result<Settings> load_settings(const std::string& path) {
  KNIT_TRY(const std::string bytes, read_file(path, kMaxText));
  return codec::decode<Settings>(bytes);
}

std::string memory_table(const SupervisorState& state) {
  std::string out;
  Memory sum;
  char line[160];
  for (const auto& p : state.processes) {
    if (p.pid == 0) continue;
    const Memory m = memory_of(p.pid);
    sum.pss_kib += m.pss_kib;
    sum.rss_kib += m.rss_kib;
    out += (out.empty() ? "" : ", ") + p.name + " " + std::to_string(m.pss_kib / 1'024) + "." +
           std::to_string(m.pss_kib % 1'024 * 10 / 1'024);
  }
  std::snprintf(line, sizeof line, "  memory   %.1f MiB (PSS; RSS %.1f MiB): ",
                static_cast<double>(sum.pss_kib) / 1'024, static_cast<double>(sum.rss_kib) / 1'024);
  return line + out + "\n";
}

int run_up(const Invocation& in) {
  auto r = up(in);
  return r ? *r : fail(r.error().message());
}

}  // namespace knit::cli
