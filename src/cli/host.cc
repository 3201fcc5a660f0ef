#include "cli/host.h"
#include "base/files.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <grp.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <sstream>

namespace knit::cli {
namespace {
constexpr const char* kPath[] = {"/usr/sbin/", "/usr/bin/",        "/sbin/",
                                 "/bin/",      "/usr/local/sbin/", "/usr/local/bin/"};

std::string find_program(const std::string& name) {
  for (const char* dir : kPath) {
    if (access((dir + name).c_str(), X_OK) == 0) return dir + name;
  }
  return {};
}

std::int64_t clock_ns(clockid_t id) {
  timespec t{};
  clock_gettime(id, &t);
  return t.tv_sec * 1'000'000'000 + t.tv_nsec;
}

/// Binds an abstract address, which ends with its descriptor; none when somebody has it.
Result<Fd> claim(const std::string& name) {
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return errno_error("socket", errno);
  sockaddr_un at{.sun_family = AF_UNIX, .sun_path = {}};
  std::memcpy(at.sun_path + 1, name.data(), std::min(name.size(), sizeof at.sun_path - 1));
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&at), size) != 0) {
    if (errno == EADDRINUSE) return Fd();
    return errno_error("claim " + name, errno);
  }
  return fd;
}

std::vector<std::string> split(std::string_view text, char at) {
  std::vector<std::string> out;
  while (true) {
    const auto end = text.find(at);
    out.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return out;
    text.remove_prefix(end + 1);
  }
}
}  // namespace

Instant monotonic_now() { return {clock_ns(CLOCK_MONOTONIC)}; }
WallTime wall_clock() { return {clock_ns(CLOCK_REALTIME)}; }

bool program_exists(const std::string& name) { return !find_program(name).empty(); }

Result<std::string> run_program(const std::vector<std::string>& argv) {
  const std::string path = find_program(argv.at(0));
  if (path.empty()) return Error(Code::NotFound, argv[0] + " is not installed");
  int out[2];
  int err[2];
  if (pipe2(out, O_CLOEXEC) != 0) return errno_error("pipe", errno);
  const Fd out_read(out[0]);
  Fd out_write(out[1]);
  if (pipe2(err, O_CLOEXEC) != 0) return errno_error("pipe", errno);
  const Fd err_read(err[0]);
  Fd err_write(err[1]);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out_write.get(), 1);
  posix_spawn_file_actions_adddup2(&actions, err_write.get(), 2);
  std::vector<char*> args;
  for (const auto& a : argv) args.push_back(const_cast<char*>(a.c_str()));
  args.push_back(nullptr);
  const char* env[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", nullptr};
  pid_t pid = 0;
  const int r =
      posix_spawn(&pid, path.c_str(), &actions, nullptr, args.data(), const_cast<char**>(env));
  posix_spawn_file_actions_destroy(&actions);
  if (r != 0) return errno_error(path, r);
  out_write.reset();
  err_write.reset();
  std::string text = read_rest(out_read.get(), 1 << 20);
  std::string errors = read_rest(err_read.get(), 4'096);
  int status = 0;
  waitpid(pid, &status, 0);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    while (!errors.empty() && errors.back() == '\n') errors.pop_back();
    return Error(Code::Internal, argv[0] + " failed: " + errors);
  }
  return text;
}

Result<User> ensure_user(const std::string& name) {
  for (const bool first : {true, false}) {
    if (const passwd* p = getpwnam(name.c_str())) return User{p->pw_uid, p->pw_gid, !first};
    if (!first) break;
    auto made = run_program({"useradd", "--system", "--user-group", "--no-create-home",
                             "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", name});
    if (!made) return std::move(made).error().within("make the system user " + name);
  }
  return Error(Code::Internal, "the system user " + name + " was made but is not found");
}

Result<void> check_reach(const std::string& dir, const User& user) {
  const auto fails = [&user](const std::string& path, int how) {
    const pid_t pid = fork();
    if (pid == 0) {
      if (setgroups(0, nullptr) != 0 || setresgid(user.gid, user.gid, user.gid) != 0 ||
          setresuid(user.uid, user.uid, user.uid) != 0) {
        _exit(2);
      }
      _exit(access(path.c_str(), how) == 0 ? 0 : 1);
    }
    int status = 0;
    return pid < 0 || waitpid(pid, &status, 0) != pid || status != 0;
  };
  if (!fails(dir, R_OK | W_OK | X_OK)) return {};
  for (auto slash = dir.find('/', 1); slash != std::string::npos;
       slash = dir.find('/', slash + 1)) {
    const std::string above = dir.substr(0, slash);
    if (!fails(above, X_OK)) continue;
    return Error(Code::PermissionDenied, "directory " + dir + ": its user cannot enter " + above +
                                             ": `chmod o+x " + above +
                                             "`, or give a --data directory elsewhere");
  }
  return Error(Code::PermissionDenied,
               "directory " + dir + ": its user can neither read nor write it");
}

Result<Fd> claim_pod_range(const std::string& cidr) {
  KNIT_TRY(Fd fd, claim("knit-pods-" + cidr));
  if (fd) return fd;
  return Error(Code::AlreadyExists,
               "pod range " + cidr +
                   " is in use by another running Knit "
                   "on this host: stop it (knit down), or give another --pod-cidr");
}

Result<Fd> claim_network() {
  KNIT_TRY(Fd fd, claim("knit-network"));
  if (fd) return fd;
  std::string who;
  constexpr std::string_view kControl = "/control.sock";
  for (const std::string& line : split(read_file("/proc/net/unix", kMaxText).value_or(""), '\n')) {
    const auto slash = line.find(" /");
    if (slash == std::string::npos || !line.ends_with(kControl)) continue;
    const std::string run = line.substr(slash + 1, line.size() - slash - 1 - kControl.size());
    const auto data = read_file(run + "/owner", kMaxText);
    if (data) who = " (data directory " + *data + ", run directory " + run + ")";
    if (data) break;
  }
  return Error(
      Code::AlreadyExists,
      "another Knit runs on this host" + who +
          ": stop it with `knit down`, or start this one in a network namespace of its own "
          "(`unshare --net --mount`)");
}

Result<std::optional<std::string>> foreign_route(const std::vector<std::string>& ranges) {
  std::vector<Cidr> wanted;
  for (const auto& r : ranges) {
    KNIT_TRY(const Cidr c, parse_cidr(r));
    wanted.push_back(c);
  }
  for (const char* family : {"-4", "-6"}) {
    auto listing = run_program({"ip", family, "-o", "route", "show", "table", "all"});
    if (!listing) return std::move(listing).error();
    for (const std::string& line : split(*listing, '\n')) {
      std::istringstream words(line);
      std::string first;
      std::string target;
      words >> first;
      const bool typed = !first.empty() && first[0] >= 'a' && first[0] <= 'z' && first != "default";
      if (typed) {
        words >> target;
      } else {
        target = first;
      }
      if (line.find(" table 200 ") != std::string::npos || first == "multicast" ||
          first == "default" || target == "default") {
        continue;  // our own, left by a Knit that was killed: the node replaces them
      }
      const auto route = parse_cidr(target);
      if (!route) continue;
      for (std::size_t i = 0; i < wanted.size(); ++i) {
        if (overlap(*route, wanted[i]) && route->prefix >= wanted[i].prefix) {
          return std::optional<std::string>(ranges[i] + ": the host has the route \"" + line +
                                            "\"");
        }
      }
    }
  }
  return std::optional<std::string>();
}

std::string first_address() {
  ifaddrs* all = nullptr;
  std::string out = "127.0.0.1";
  if (getifaddrs(&all) != 0) return out;
  for (const ifaddrs* a = all; a != nullptr; a = a->ifa_next) {
    if (a->ifa_addr == nullptr || a->ifa_addr->sa_family != AF_INET) continue;
    if ((a->ifa_flags & IFF_LOOPBACK) != 0 || (a->ifa_flags & IFF_UP) == 0) continue;
    char text[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &reinterpret_cast<sockaddr_in*>(a->ifa_addr)->sin_addr, text, sizeof text);
    out = text;
    break;
  }
  freeifaddrs(all);
  return out;
}

Result<void> try_bind(const std::string& address, std::uint16_t port) {
  KNIT_TRY(const Cidr c, parse_cidr(address));
  sockaddr_storage at{};
  socklen_t size = sizeof(sockaddr_in);
  if (c.family == AF_INET) {
    auto* v4 = reinterpret_cast<sockaddr_in*>(&at);
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    std::memcpy(&v4->sin_addr, c.address, 4);
  } else {
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&at);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    std::memcpy(&v6->sin6_addr, c.address, 16);
    size = sizeof *v6;
  }
  const Fd fd(socket(c.family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (!fd || ::bind(fd.get(), reinterpret_cast<sockaddr*>(&at), size) != 0 ||
      listen(fd.get(), 1) != 0) {
    return errno_error(address + ":" + std::to_string(port), errno);
  }
  return {};
}

Memory memory_of(pid_t pid) {
  Memory out;
  const auto text = read_file("/proc/" + std::to_string(pid) + "/smaps_rollup", kMaxText);
  if (!text) return out;
  for (const std::string& line : split(*text, '\n')) {
    if (line.compare(0, 4, "Pss:") == 0) out.pss_kib = std::strtoull(line.c_str() + 4, nullptr, 10);
    if (line.compare(0, 4, "Rss:") == 0) out.rss_kib = std::strtoull(line.c_str() + 4, nullptr, 10);
  }
  return out;
}

std::uint64_t process_start(pid_t pid) {
  const auto text = read_file("/proc/" + std::to_string(pid) + "/stat", kMaxText);
  const auto close = text ? text->rfind(')') : std::string::npos;
  if (close == std::string::npos) return 0;
  const auto fields = split(std::string_view(*text).substr(close + 2), ' ');
  return fields.size() > 19 ? std::strtoull(fields[19].c_str(), nullptr, 10) : 0;
}

SupervisorState parse_state(std::string_view text) {
  SupervisorState out;
  for (const std::string& line : split(text, '\n')) {
    const auto f = split(line, '\t');
    if (f.size() == 4 && f[0] == "port") {
      out.ports.push_back({f[1], f[2], static_cast<std::uint16_t>(std::atoi(f[3].c_str()))});
    } else if (f.size() >= 7) {
      out.processes.push_back(
          {f[0], std::atoi(f[1].c_str()), std::strtoull(f[2].c_str(), nullptr, 10),
           WallTime{std::strtoll(f[3].c_str(), nullptr, 10)},
           static_cast<unsigned>(std::strtoul(f[4].c_str(), nullptr, 10)), f[5], f[6]});
    }
  }
  return out;
}

std::vector<std::string> kill_leftovers(const std::string& run_dir) {
  std::vector<std::string> found;
  const auto text = read_file(run_dir + "/state", kMaxText);
  if (!text) return found;
  for (const auto& p : parse_state(*text).processes) {
    if (p.pid <= 1 || p.start_time == 0) continue;
    const Fd pidfd(static_cast<int>(syscall(SYS_pidfd_open, p.pid, 0)));
    if (!pidfd || process_start(p.pid) != p.start_time) continue;  // that pid is another process
    syscall(SYS_pidfd_send_signal, pidfd.get(), SIGKILL, nullptr, 0);
    pollfd wait{pidfd.get(), POLLIN, 0};
    poll(&wait, 1, 5'000);
    found.push_back(p.name + " (pid " + std::to_string(p.pid) + ")");
  }
  unlink((run_dir + "/state").c_str());
  return found;
}

Result<Fd> connect_control(const std::string& run_dir) {
  Fd fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  sockaddr_un at{.sun_family = AF_UNIX, .sun_path = {}};
  const std::string path = run_dir + "/control.sock";
  std::memcpy(at.sun_path, path.c_str(), std::min(path.size(), sizeof at.sun_path - 1));
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) != 0) {
    if (errno == EACCES || errno == EPERM) return errno_error(path, errno);
    return Error(Code::NotFound, "Knit is not running (nothing answers at " + path + ")");
  }
  return fd;
}

std::optional<std::string> read_packet(int fd, Instant deadline) {
  const auto left = (deadline - monotonic_now()).count() / 1'000'000;
  pollfd p{fd, POLLIN, 0};
  if (left < 0 || poll(&p, 1, static_cast<int>(std::min<std::int64_t>(left, 3'600'000))) <= 0) {
    return std::nullopt;
  }
  std::string text(64 << 10, '\0');
  const ssize_t n = recv(fd, text.data(), text.size(), 0);
  if (n <= 0) return std::nullopt;
  text.resize(static_cast<std::size_t>(n));
  return text;
}

Result<void> send_packet(int fd, std::string_view text) {
  if (::send(fd, text.data(), text.size(), MSG_NOSIGNAL) < 0) return errno_error("send", errno);
  return {};
}

Result<void> make_dir(const std::string& path, unsigned mode, uid_t uid, gid_t gid) {
  KNIT_TRY_VOID(make_directories(path));
  if (chown(path.c_str(), uid, gid) != 0 || chmod(path.c_str(), mode) != 0) {
    return errno_error("directory " + path, errno);
  }
  return {};
}

}  // namespace knit::cli
