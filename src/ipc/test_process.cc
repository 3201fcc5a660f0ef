// A process for supervisor_test: does what the test says over a socket and tells what it sees.
//   ipc_test_process PROCESS MODE SOCKET      MODE: normal, mute (no Hello), stubborn (no
//   stop)
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sstream>

#include "io/real_loop.h"
#include "ipc/channel.h"
#include "ipc/frame.h"
#include "ipc/launch.h"

using namespace knit;
using ipc::MessageType;
using ipc::Process;

namespace {

struct Child {
  std::unique_ptr<io::RealLoop> loop;
  std::unique_ptr<ipc::Bootstrap> boot;
  std::map<std::string, Fd> kept;
  Fd test, raw_channel, release;
  io::Loop::Watch watch;
  bool stubborn = false;

  void tell(const std::string& text) { ::send(test.get(), text.data(), text.size(), MSG_NOSIGNAL); }

  void on_message(Process from, ipc::Received r) {
    if (r.type == MessageType::Exit) {
      const auto m = r.as<ipc::Exit>();
      tell("exit " + m->container + " " + std::to_string(m->status) + (m->lost ? " lost" : ""));
      boot->supervisor().ack(r);
    } else if (r.type == MessageType::Listener) {
      const auto m = r.as<ipc::Listener>();
      tell("listener " + m->key + " " + m->purpose + " " + std::to_string(r.fds.size()));
      if (!r.fds.empty()) kept[m->key] = std::move(r.fds[0]);
      boot->supervisor().ack(r);
    } else if (r.type == MessageType::Bound) {
      const auto m = r.as<ipc::Bound>();
      tell("bound " + m->purpose + " " + std::to_string(m->port) + " " + m->error);
    } else {
      tell("message " + std::string(to_string(from)) + " " + std::string(to_string(r.type)));
    }
  }

  void orphan(int status) {
    int gate[2];
    int pids[2];
    if (pipe2(gate, O_CLOEXEC) != 0 || pipe2(pids, O_CLOEXEC) != 0) std::abort();
    const pid_t middle = fork();
    if (middle == 0) {
      const pid_t inner = fork();
      if (inner != 0) {
        if (::write(pids[1], &inner, sizeof inner) != sizeof inner) std::abort();
        _exit(0);
      }
      close(gate[1]);
      raw_channel.reset();
      char c;
      _exit(::read(gate[0], &c, 1) >= 0 ? status : 99);  // until the writer is gone
    }
    waitpid(middle, nullptr, 0);
    pid_t inner = 0;
    if (::read(pids[0], &inner, sizeof inner) != sizeof inner) std::abort();
    close(pids[0]);
    close(pids[1]);
    close(gate[0]);
    release = Fd(gate[1]);
    tell("orphan " + std::to_string(inner));
  }

  void command(const std::string& line) {
    std::istringstream in(line);
    std::string what, a, b, c;
    in >> what >> a >> b >> c;
    if (what == "put") {
      const Fd memfd(memfd_create("kept", MFD_CLOEXEC));
      if (::write(memfd.get(), a.data(), a.size()) < 0) std::abort();
      std::vector<Fd> fds;
      fds.emplace_back(fcntl(memfd.get(), F_DUPFD_CLOEXEC, 10));
      boot->supervisor().when_acked(boot->supervisor().send(ipc::Put{a}, std::move(fds)),
                                    [this, a](std::string e) { tell("acked " + a + " " + e); });
    } else if (what == "host") {
      std::vector<Fd> fds;
      fds.emplace_back(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      boot->supervisor().when_acked(boot->supervisor().send(ipc::HostData{a}, std::move(fds)),
                                    [this, a](std::string e) { tell("acked " + a + " " + e); });
    } else if (what == "read") {
      char text[64] = {};
      const auto n = pread(kept[a].get(), text, sizeof text - 1, 0);
      tell("content " + std::string(text, n < 0 ? 0 : static_cast<std::size_t>(n)));
    } else if (what == "orphan") {
      orphan(std::atoi(a.c_str()));
    } else if (what == "release") {
      release.reset();
    } else if (what == "expect") {
      ipc::Expect e{a, std::atoi(b.c_str()), std::strtoull(c.c_str(), nullptr, 10)};
      boot->supervisor().when_acked(boot->supervisor().send(e),
                                    [this, a](std::string err) { tell("acked " + a + " " + err); });
    } else if (what == "bind") {
      boot->supervisor().send(ipc::Bind{a, static_cast<std::uint16_t>(std::atoi(b.c_str())), c});
    } else if (what == "roles") {  // UID:NAME UID:NAME, or nothing
      ipc::Roles m;
      for (const std::string& role : {a, b}) {
        const auto colon = role.find(':');
        if (colon != std::string::npos) {
          m.roles.push_back({role.substr(0, colon), role.substr(colon + 1), true});
        }
      }
      boot->supervisor().send_state("", m);
    } else if (what == "accept") {  // one byte from who waits at a kept listener
      const Fd conn(::accept4(kept[a].get(), nullptr, nullptr, SOCK_CLOEXEC));
      char byte = '?';
      tell("accepted " + std::string(::read(conn.get(), &byte, 1) == 1 ? 1 : 0, byte));
    } else if (what == "connect") {
      const Fd conn(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
      sockaddr_un at{.sun_family = AF_UNIX, .sun_path = {}};
      std::strncpy(at.sun_path, a.c_str(), sizeof at.sun_path - 1);
      const bool done = ::connect(conn.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) == 0 &&
                        ::send(conn.get(), b.data(), b.size(), MSG_NOSIGNAL) > 0;
      tell(std::string("connected ") + (done ? "" : std::strerror(errno)));
    } else if (what == "shutdown") {
      ::shutdown(kept[a].get(), SHUT_RDWR);
      tell("shut " + a);
    } else if (what == "ready") {
      boot->ready(a);
    } else if (what == "start") {  // over the peer channel
      if (auto* node = boot->peer(Process::Node)) node->send(ipc::Start{a, "{}"});
    } else if (what == "break") {  // end a peer channel alone, as a full queue does
      auto* node = boot->peer(Process::Node);
      for (int i = 0; i < 40 && node != nullptr; ++i) {
        node->send(ipc::Start{"u", std::string(60'000, 'x')});
      }
    } else if (what == "garbage") {
      ::send(raw_channel.get(), "garbage", 7, MSG_NOSIGNAL);
    } else if (what == "exit") {
      std::_Exit(std::atoi(a.c_str()));
    }
  }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 64;
  const std::string name = argv[1];
  const std::string mode = argv[2];
  Process self = Process::None;
  for (const auto p : {Process::Server, Process::Node, Process::Proxy, Process::Events}) {
    if (name == to_string(p)) self = p;
  }
  Child child;
  child.stubborn = mode == "stubborn";
  child.test = Fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  sockaddr_un at{.sun_family = AF_UNIX, .sun_path = {}};
  std::strncpy(at.sun_path, argv[3], sizeof at.sun_path - 1);
  if (connect(child.test.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) != 0) return 65;
  const auto settings = ipc::read_sealed(ipc::kSettingsFd, 1'000);
  child.tell(name + " " + std::to_string(getpid()) + " " + (settings ? *settings : "none") + " " +
             std::to_string(getuid()));
  child.loop = std::move(*io::RealLoop::create(1));
  if (mode != "mute") {
    child.raw_channel = Fd(fcntl(ipc::kChannelFd, F_DUPFD_CLOEXEC, 10));
    auto boot = ipc::Bootstrap::create(
        *child.loop, Fd(ipc::kChannelFd), self,
        {.on_kept =
             [&](std::string key, Fd fd) {
               child.kept[key] = std::move(fd);
               child.tell("kept " + key);
             },
         .on_kept_end = [&] { child.tell("kept-end"); },
         .on_peer =
             [&](Process p, std::uint64_t g) {
               child.tell("peer " + std::string(to_string(p)) + " " + std::to_string(g));
             },
         .on_message = [&](Process p, ipc::Received r) { child.on_message(p, std::move(r)); },
         .on_stop =
             [&](Duration) {
               child.tell("stop");
               if (!child.stubborn) std::_Exit(0);
             },
         .on_orphaned = [] { std::_Exit(0); },
         .exit_process = {}});
    if (!boot) return 66;
    child.boot = std::move(*boot);
  }
  child.watch = child.loop->watch(child.test.get(), io::Loop::Sharing::Sole, [&](io::Ready) {
    char text[256];
    while (true) {
      const ssize_t n = recv(child.test.get(), text, sizeof text, MSG_DONTWAIT);
      if (n == 0) std::_Exit(0);  // the test is over
      if (n < 0) return;
      child.command(std::string(text, static_cast<std::size_t>(n)));
    }
  });
  child.loop->run();
  return 0;
}
