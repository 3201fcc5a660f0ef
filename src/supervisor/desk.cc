// What the supervisor does on request: listeners for the server, answers for the commands.
#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "supervisor/supervisor.h"

namespace knit::supervisor {
using ipc::Process;
namespace {
constexpr std::size_t kMaxBound = 256, kMaxControls = 16, kMaxHistory = 256;
}  // namespace

// ---- listeners

std::string Supervisor::bind(const ipc::Bind& b, std::uint16_t& port) {
  if (b.purpose.empty() || b.purpose != clean(b.purpose)) return "malformed purpose";
  const std::string key = "listener/" + b.purpose;
  const auto old = bound_.find(b.purpose);
  if (b.address.empty()) {
    if (old != bound_.end()) bound_.erase(old);
    hand_listener(Process::Proxy, key, b.purpose, 0, -1);
    return {};
  }
  if (old != bound_.end() && old->second.address == b.address &&
      (old->second.port == b.port || b.port == 0)) {
    port = old->second.port;
    return {};
  }
  const bool allowed = std::any_of(plan_.ports.begin(), plan_.ports.end(), [&](const auto& r) {
    return r.first <= b.port && b.port <= r.last;
  });
  if (!allowed) return "port " + std::to_string(b.port) + " is not among the allowed ports";
  if (bound_.size() >= kMaxBound) return "too many listeners";
  sockaddr_storage at{};
  auto* v4 = reinterpret_cast<sockaddr_in*>(&at);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&at);
  socklen_t size = sizeof *v4;
  if (inet_pton(AF_INET, b.address.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(b.port);
  } else if (inet_pton(AF_INET6, b.address.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(b.port);
    size = sizeof *v6;
  } else {
    return "address is no IP literal";
  }
  const Fd fd(socket(at.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;
  const int off = 0;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  if (!fd || ::bind(fd.get(), reinterpret_cast<sockaddr*>(&at), size) != 0 ||
      listen(fd.get(), 4'096) != 0) {
    return std::string("cannot listen: ") + std::strerror(errno);
  }
  getsockname(fd.get(), reinterpret_cast<sockaddr*>(&at), &size);
  port = ntohs(at.ss_family == AF_INET ? v4->sin_port : v6->sin6_port);
  bound_[b.purpose] = Bound{b.address, port, duplicate(fd.get())};
  hand_listener(Process::Proxy, key, b.purpose, port, fd.get());
  return {};
}

void Supervisor::hand_listener(Process to, const std::string& key, const std::string& purpose,
                               std::uint16_t port, int fd) {
  Child* c = child(to);
  if (c == nullptr || !c->link || !c->kept) return;  // gets all of them later
  std::vector<Fd> fds;
  if (fd >= 0) fds.push_back(duplicate(fd));
  c->link->send(ipc::Listener{key, purpose, port}, std::move(fds));
}

void Supervisor::hand_all_listeners() {
  for (const auto& [purpose, b] : bound_) {
    hand_listener(Process::Proxy, "listener/" + purpose, purpose, b.port, b.fd.get());
  }
  auto [keys, fds] = store_.next(Process::Node, "host/", 16);
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (keys[i].compare(0, 13, "host/listener") != 0) continue;
    hand_listener(Process::Proxy, keys[i], "host-capture", 0, fds[i].get());
  }
}

// ---- control and state

void Supervisor::event(std::string text) {
  const auto ms = (now() - begun_).count() / 1'000'000;
  text = std::to_string(ms) + "\t" + text;
  log(text);
  for (const auto& c : controls_) {
    if (c->watching) ::send(c->fd.get(), text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  }
  if (history_.size() < kMaxHistory) history_.push_back(std::move(text));
  state_changed_ = true;
}

std::string Supervisor::status() const {
  std::string out;
  const auto line = [&](const std::string& who, pid_t pid, WallTime since, unsigned restarts,
                        const char* state, const std::string& detail) {
    out += who + "\t" + std::to_string(pid) + "\t" +
           std::to_string(pid == 0 ? 0 : start_time(pid)) + "\t" + std::to_string(since.ns) + "\t" +
           std::to_string(restarts) + "\t" + state + "\t" + detail + "\n";
  };
  line("supervisor", getpid(), since_, 0, stopping_ ? "stopping" : "running", "");
  for (const Child& c : children_) {
    if (c.pid == 0 && c.spec->on_demand && roles_.empty()) continue;  // nobody needs it
    const char* state = c.ready ? "ready" : c.pid != 0 ? "starting" : "down";
    line(name(c.spec->process), c.pid, c.since, c.restarts, state, c.detail);
  }
  for (const auto& [purpose, b] : bound_) {
    out += "port\t" + purpose + "\t" + b.address + "\t" + std::to_string(b.port) + "\n";
  }
  return out;
}

void Supervisor::write_state() {
  state_changed_ = false;
  const std::string text = status();
  const std::string path = plan_.run_dir + "/state";
  const Fd fd(::open((path + ".new").c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size())) {
    rename((path + ".new").c_str(), path.c_str());
  }
}

void Supervisor::accept_control() {
  Fd fd(accept4(control_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (fd && controls_.size() < kMaxControls) {
    controls_.push_back(std::make_unique<Control>(Control{std::move(fd), false}));
  }
}

void Supervisor::serve_control(Control& c) {
  char text[64];
  const ssize_t n = recv(c.fd.get(), text, sizeof text, MSG_DONTWAIT);
  if (n < 0 && errno == EAGAIN) return;
  if (n <= 0) {
    c.fd.reset();
    return;
  }
  const std::string request(text, static_cast<std::size_t>(n));
  const auto say = [&](const std::string& answer) {
    ::send(c.fd.get(), answer.data(), answer.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  };
  if (request == "status") say(status());
  if (request == "watch") {
    for (const auto& line : history_) say(line);
  }
  if (request == "watch" || request == "stop") c.watching = true;
  if (request == "stop") begin_stop("asked by knit down");
}

}  // namespace knit::supervisor
