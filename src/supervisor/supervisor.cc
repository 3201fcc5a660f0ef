#include "supervisor/supervisor.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>

namespace knit::supervisor {
using ipc::Frame;
using ipc::MessageType;
using ipc::Process;
using namespace std::chrono_literals;
namespace {
constexpr Duration kFirstBackoff = 10ms, kMaxBackoff = 5s, kHealthy = 2s, kRepairPause = 100ms;
constexpr int kFramesPerTurn = 64;
constexpr unsigned kMaxNoise = 100;  // lines of the log that one process can cause

std::int64_t clock_ns(clockid_t id) {
  timespec t{};
  clock_gettime(id, &t);
  return t.tv_sec * 1'000'000'000 + t.tv_nsec;
}
}  // namespace

Instant now() { return {clock_ns(CLOCK_MONOTONIC)}; }
std::string name(Process p) { return std::string(to_string(p)); }
void log(const std::string& text) { dprintf(STDERR_FILENO, "supervisor: %s\n", text.c_str()); }
std::string clean(std::string text) {
  if (text.size() > 200) text.resize(200);
  for (char& c : text) {
    if (c < ' ' || c > '~') c = ' ';
  }
  return text;
}
WallTime wall_now() { return {clock_ns(CLOCK_REALTIME)}; }

Result<void> Supervisor::open() {
  begun_ = now();
  since_ = wall_now();
  lock_ = Fd(::open((plan_.run_dir + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock_) return errno_error(plan_.run_dir + "/lock", errno);
  if (flock(lock_.get(), LOCK_EX | LOCK_NB) != 0) {
    return Error(Code::AlreadyExists, plan_.run_dir + " is in use by a running Knit");
  }
  KNIT_TRY_VOID(exits_.open(plan_.run_dir + "/exits"));
  KNIT_TRY(settings_, ipc::sealed_memfd("knit-settings", plan_.settings));

  sigset_t set;
  sigemptyset(&set);
  for (const int s : {SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGPIPE}) sigaddset(&set, s);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  signal_ = Fd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signal_) return errno_error("signalfd", errno);
  if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) return errno_error("subreaper", errno);

  control_ = Fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un at{.sun_family = AF_UNIX, .sun_path = {}};
  const std::string path = plan_.run_dir + "/control.sock";
  if (path.size() >= sizeof at.sun_path) {
    return Error(Code::InvalidArgument, "run directory: its path is too long for a socket");
  }
  std::memcpy(at.sun_path, path.c_str(), path.size() + 1);
  unlink(path.c_str());
  const mode_t old = umask(0177);
  const int r = ::bind(control_.get(), reinterpret_cast<sockaddr*>(&at), sizeof at);
  umask(old);
  if (r != 0 || listen(control_.get(), 16) != 0) return errno_error(path, errno);
  if (fcntl(ipc::kProgressFd, F_GETFD) >= 0) {
    fcntl(ipc::kProgressFd, F_SETFD, FD_CLOEXEC);
    controls_.push_back(std::make_unique<Control>(Control{Fd(ipc::kProgressFd), true}));
  }
  for (const auto& spec : plan_.processes) children_.emplace_back().spec = &spec;
  const auto pair = [&](Process a, Process b) { pairs_.push_back({a, b}); };
  pair(Process::Server, Process::Node);
  pair(Process::Server, Process::Proxy);
  pair(Process::Node, Process::Proxy);
  pair(Process::Server, Process::Events);
  pair(Process::Proxy, Process::Events);
  return make_role_dirs();
}

Supervisor::Child* Supervisor::child(Process p) {
  for (Child& c : children_) {
    if (c.spec->process == p) return &c;
  }
  return nullptr;
}
bool Supervisor::wanted(const Child& c) const {
  return !stopping_ && (!c.spec->on_demand || !roles_.empty());
}

// ---- processes

void Supervisor::become(const ipc::ProcessSpec& spec, int channel, int settings) {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  setpgid(0, 0);  // a terminal's Ctrl-C is for us alone
  const auto fail = [&spec] {
    dprintf(STDERR_FILENO, "supervisor: %s: %s\n", spec.path.c_str(), std::strerror(errno));
    _exit(127);
  };
  // Opened while still root: the executable may lie below a directory that the process's own user
  // cannot enter, as /root.
  const int opened = ::open(spec.path.c_str(), O_PATH | O_CLOEXEC);
  if (opened < 0) fail();
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  const int high_program = fcntl(opened, F_DUPFD_CLOEXEC, 10);
  const int high_channel = fcntl(channel, F_DUPFD_CLOEXEC, 10);
  const int high_settings = fcntl(settings, F_DUPFD_CLOEXEC, 10);
  constexpr int kProgramFd = ipc::kSettingsFd + 1;
  if (null < 0 || dup2(null, 0) < 0 || dup2(high_channel, ipc::kChannelFd) < 0 ||
      dup2(high_settings, ipc::kSettingsFd) < 0 || dup3(high_program, kProgramFd, O_CLOEXEC) < 0 ||
      close_range(kProgramFd + 1, ~0U, 0) != 0) {
    _exit(126);
  }
  if (spec.uid != 0) {
    const gid_t gid = spec.gid;
    for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap) >= 0; ++cap) {
      prctl(PR_CAPBSET_DROP, cap);
    }
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (setgroups(0, nullptr) != 0 || setresgid(gid, gid, gid) != 0 ||
        setresuid(spec.uid, spec.uid, spec.uid) != 0) {
      _exit(126);
    }
  }
  std::vector<char*> argv;
  for (const auto& a : spec.args) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  execveat(kProgramFd, "", argv.data(), environ, AT_EMPTY_PATH);
  fail();
  _exit(127);
}

void Supervisor::start(Child& c) {
  auto pair = ipc::Link::pair();
  if (!pair) return log(pair.error().message());
  const pid_t pid = fork();
  if (pid == 0) become(*c.spec, pair->second.get(), settings_.get());
  c.started = now();
  c.next_start = c.started + kMaxBackoff;
  if (pid < 0) return log(std::string("fork: ") + std::strerror(errno));
  auto link = ipc::Link::adopt(std::move(pair->first));
  c.pid = pid;
  c.since = wall_now();
  c.link.emplace(std::move(*link));
  c.hello = c.kept = c.ready = c.stop_sent = false;
  c.kept_after.clear();
  c.noise = 0;
  c.kill_at = c.started + plan_.hello_deadline;
  event("started\t" + name(c.spec->process) + "\t" + std::to_string(pid));
}

void Supervisor::kill_child(Child& c, const char* why) {
  if (c.pid == 0) return;
  event("killed\t" + name(c.spec->process) + "\t" + why);
  kill(c.pid, SIGKILL);
  c.link.reset();
  c.kill_at = Instant::max();
}

void Supervisor::reap() {
  while (true) {
    siginfo_t info{};
    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) return;
    const pid_t pid = info.si_pid;
    const std::uint64_t start = start_time(pid);
    int status = 0;
    if (waitpid(pid, &status, 0) != pid) return;
    const auto it = std::find_if(children_.begin(), children_.end(),
                                 [&](const Child& c) { return c.pid == pid; });
    if (it != children_.end()) {
      ended(*it, status);
    } else {
      exits_.reaped(pid, start, status, wall_now());
    }
  }
}

void Supervisor::ended(Child& c, int status) {
  c.pid = 0;
  while (c.link) {  // what it said last
    auto frame = c.link->receive();
    if (!frame) break;
    on_frame(c, std::move(*frame));
  }
  c.link.reset();
  // A crash loop pauses longer each time; a process that served for a while does not pay for it.
  const bool healthy = c.ready && now() - c.started >= kHealthy;
  c.hello = c.kept = c.ready = false;
  c.kill_at = Instant::max();
  const std::string how = WIFSIGNALED(status) ? "signal " + std::to_string(WTERMSIG(status))
                                              : "status " + std::to_string(WEXITSTATUS(status));
  event("exited\t" + name(c.spec->process) + "\t" + how);
  c.detail = how;
  if (!wanted(c)) return;
  c.backoff = healthy || c.backoff == 0ns ? kFirstBackoff : std::min(c.backoff * 2, kMaxBackoff);
  c.next_start = now() + c.backoff;
  ++c.restarts;
}

// ---- channels

void Supervisor::ack(Child& c, const Frame& f, std::string error) {
  if (!error.empty() && ++c.noise <= kMaxNoise) log(name(c.spec->process) + ": refused: " + error);
  c.link->send(ipc::Acked{f.sequence, std::move(error)});
}

void Supervisor::serve(Child& c) {
  for (int i = 0; i < kFramesPerTurn && c.link; ++i) {
    auto frame = c.link->receive();
    if (!frame) break;
    on_frame(c, std::move(*frame));
  }
  if (!c.link) return;
  if (!c.link->broken()) c.link->flush();
  if (!c.link->broken()) return pump(c);
  // A process without its channel is of no use; one that is ending closes it first.
  log(name(c.spec->process) + ": channel: " + c.link->why());
  c.link.reset();
  c.kill_at = std::min(c.kill_at, now() + 1s);
}

void Supervisor::on_hello(Child& c, const Frame& f) {
  const auto hello = codec::decode<ipc::Hello>(f.body);
  if (f.type != MessageType::Hello || !hello || hello->process != c.spec->process) {
    return kill_child(c, "its first frame is no Hello");
  }
  if (hello->protocol != 1) return kill_child(c, "it speaks another protocol");
  c.hello = true;
  c.kill_at = Instant::max();
}

/// Hands on what waits for room in the channel: kept descriptors, then peers, then exits.
void Supervisor::pump(Child& c) {
  const Process p = c.spec->process;
  while (c.hello && !c.kept && !c.link->wants_write() && !c.link->broken()) {
    auto [keys, fds] = store_.next(p, c.kept_after, ipc::kMaxFds);
    if (!keys.empty()) {
      c.kept_after = keys.back();
      c.link->send(ipc::Kept{std::move(keys)}, std::move(fds));
      continue;
    }
    c.link->send(ipc::KeptEnd{});
    c.kept = true;
    for (Pair& pair : pairs_) {
      if (pair.a == p || pair.b == p) connect(pair);
    }
    if (p == Process::Proxy) hand_all_listeners();
    if (p == Process::Proxy || p == Process::Events) {
      for (const auto& [uid, r] : roles_) hand_role(uid, r);
    }
    if (p == Process::Node) exits_.resend();
  }
  while (c.kept && p == Process::Node && !c.link->wants_write() && !c.link->broken()) {
    const ipc::Exit* exit = exits_.unsent();
    if (exit == nullptr) break;
    const auto sequence = c.link->send(*exit);
    if (sequence != 0) exits_.sent(sequence);
  }
}

void Supervisor::connect(Pair& p) {
  p.due = Instant::max();
  Child* a = child(p.a);
  Child* b = child(p.b);
  for (const Child* c : {a, b}) {
    if (c == nullptr || !c->link || !c->kept) return;
  }
  auto ends = ipc::Link::pair();
  if (!ends) return log(ends.error().message());
  ++p.generation;
  const auto give = [&](Child& to, Process peer, Fd end) {
    std::vector<Fd> fds;
    fds.push_back(std::move(end));
    to.link->send(ipc::Peer{peer, p.generation}, std::move(fds));
  };
  give(*a, p.b, std::move(ends->first));
  give(*b, p.a, std::move(ends->second));
}

void Supervisor::on_frame(Child& c, Frame f) {
  if (!c.hello) return on_hello(c, f);
  const Process from = c.spec->process;
  const auto one_fd = [&](auto keep) {
    ack(c, f, f.fds.size() == 1 ? keep(std::move(f.fds.front())) : "exactly one descriptor");
  };
  switch (f.type) {
    case MessageType::Ready:
      if (const auto m = codec::decode<ipc::Ready>(f.body); m && ++c.noise <= kMaxNoise) {
        c.ready = true;
        c.detail = clean(m->detail);
        event("ready\t" + name(from) + "\t" + c.detail);
      }
      return;
    case MessageType::Put:
      if (const auto m = codec::decode<ipc::Put>(f.body)) {
        one_fd([&](Fd fd) { return store_.put(from, m->key, std::move(fd)); });
      }
      return;
    case MessageType::Drop:
      if (const auto m = codec::decode<ipc::Drop>(f.body)) ack(c, f, store_.drop(from, m->key));
      return;
    case MessageType::HostData:
      if (const auto m = codec::decode<ipc::HostData>(f.body); m && from == Process::Node) {
        const std::string key = "host/" + m->what;
        one_fd([&](Fd fd) {
          const Fd copy = duplicate(fd.get());
          std::string error = store_.put(from, key, std::move(fd));
          if (error.empty() && m->what.compare(0, 8, "listener") == 0) {
            hand_listener(Process::Proxy, key, "host-capture", 0, copy.get());
          }
          return error;
        });
      }
      return;
    case MessageType::Expect:
      if (const auto m = codec::decode<ipc::Expect>(f.body); m && from == Process::Node) {
        ack(c, f, exits_.expect(*m, wall_now()));
      }
      return;
    case MessageType::Acked:
      if (const auto m = codec::decode<ipc::Acked>(f.body); m && from == Process::Node) {
        exits_.acked(m->sequence);
      }
      return;
    case MessageType::Bind:
      if (const auto m = codec::decode<ipc::Bind>(f.body); m && from == Process::Server) {
        ipc::Bound answer{m->purpose, m->port, {}};
        answer.error = bind(*m, answer.port);
        if (!answer.error.empty()) answer.port = 0;
        event("bound\t" + clean(m->purpose) + "\t" + m->address.substr(0, 40) + " " +
              std::to_string(m->port) + "\t" + std::to_string(answer.port) + "\t" + answer.error);
        c.link->send(answer);
      }
      return;
    case MessageType::Roles:
      if (const auto m = codec::decode<ipc::Roles>(f.body); m && from == Process::Server) {
        set_roles(*m);
      }
      return;
    case MessageType::Peer:
      if (const auto m = codec::decode<ipc::Peer>(f.body)) {
        for (Pair& p : pairs_) {
          const bool ours =
              (p.a == from && p.b == m->process) || (p.b == from && p.a == m->process);
          if (ours && p.generation == m->generation) p.due = now() + kRepairPause;
        }
      }
      return;
    default:
      return;  // Stopped needs no answer; the rest is not for us
  }
}

// ---- stopping, timers, the loop

void Supervisor::begin_stop(const char* why) {
  if (stopping_) return;
  stopping_ = true;
  event(std::string("stopping\t") + why);
}

/// One process at a time, in stop order. True when all are gone.
bool Supervisor::step_stop() {
  Child* next = nullptr;
  for (Child& c : children_) {
    if (c.pid == 0) continue;
    if (next == nullptr || c.spec->stop_order < next->spec->stop_order) next = &c;
  }
  if (next == nullptr) return true;
  if (next->detail == "stopping") return false;
  next->detail = "stopping";
  if (next->link && next->hello) {
    next->link->send(ipc::Stop{next->spec->stop_deadline});
  } else {
    kill(next->pid, SIGTERM);
  }
  next->kill_at = now() + next->spec->stop_deadline;
  return false;
}

void Supervisor::run_timers() {
  const Instant t = now();
  bool ready = true;
  for (Child& c : children_) {
    if (c.pid != 0 && c.kill_at <= t) {
      kill_child(c, stopping_ ? "it did not stop in time"
                    : c.hello ? "it has no channel any more"
                              : "it said no Hello in time");
    }
    if (c.pid == 0 && wanted(c) && c.next_start <= t) start(c);
    ready = ready && (c.ready || c.spec->on_demand);
  }
  for (Pair& p : pairs_) {
    if (p.due <= t) connect(p);
  }
  if (foreign_due_ <= t)
    foreign_due_ = exits_.check_foreign(wall_now()) ? t + 100ms : Instant::max();
  if (Child* node = child(Process::Node); node != nullptr && node->link) pump(*node);
  if (ready && !all_ready_) event("up");
  all_ready_ = ready;
  if (state_changed_) write_state();
}

int Supervisor::timeout_ms() const {
  Instant next = foreign_due_;
  for (const Child& c : children_) {
    if (c.pid != 0) next = std::min(next, c.kill_at);
    if (c.pid == 0 && wanted(c)) next = std::min(next, c.next_start);
  }
  for (const Pair& p : pairs_) next = std::min(next, p.due);
  if (next == Instant::max()) return -1;
  const auto wait = (next - now()).count();
  return wait <= 0 ? 0
                   : static_cast<int>(std::min<std::int64_t>((wait + 999'999) / 1'000'000, 60'000));
}

void Supervisor::signals() {
  signalfd_siginfo info{};
  while (::read(signal_.get(), &info, sizeof info) == sizeof info) {
    if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT) begin_stop("signal");
  }
  reap();
}

int Supervisor::run() {
  while (true) {
    run_timers();
    if (stopping_ && step_stop()) break;
    Poll polled;
    const auto add = [&](int fd, short events, std::function<void(short)> then) {
      polled.push_back({{fd, events, 0}, std::move(then)});
    };
    add(signal_.get(), POLLIN, [this](short) { signals(); });
    add(control_.get(), POLLIN, [this](short) { accept_control(); });
    for (const auto& c : controls_) {
      add(c->fd.get(), POLLIN, [this, raw = c.get()](short) { serve_control(*raw); });
    }
    for (Child& c : children_) {
      if (!c.link) continue;
      const int events = POLLIN | (c.link->wants_write() ? POLLOUT : 0);
      add(c.link->fd(), static_cast<short>(events), [this, &c](short) {
        if (c.link) serve(c);
      });
    }
    for (const auto& [purpose, b] : bound_) {
      // A process that shares a listener can shut it down for everybody: open it again.
      add(b.fd.get(), 0, [this, key = purpose](short) {
        const auto it = bound_.find(key);
        if (it != bound_.end() && listen(it->second.fd.get(), 4'096) != 0) bound_.erase(it);
      });
    }
    for (const int fd : exits_.foreign()) {
      add(fd, POLLIN, [this](short) { foreign_due_ = now(); });
    }
    std::vector<pollfd> fds;
    for (const auto& [p, then] : polled) fds.push_back(p);
    const int wait = timeout_ms();
    if (::poll(fds.data(), fds.size(), wait) <= 0) continue;
    for (std::size_t i = 0; i < fds.size(); ++i) {
      if (fds[i].revents != 0) polled[i].second(fds[i].revents);
    }
    for (const auto& c : controls_) {
      if (!c->fd && c->watching && plan_.foreground) begin_stop("the foreground command ended");
    }
    std::erase_if(controls_, [](const auto& c) { return !c->fd; });
  }
  event("stopped");
  for (const char* file : {"/state", "/control.sock"}) unlink((plan_.run_dir + file).c_str());
  return 0;
}

}  // namespace knit::supervisor
