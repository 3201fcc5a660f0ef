// Runs the real knit-supervisor with ipc/test_process.cc in a temporary run directory.
#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "ipc/frame.h"
#include "ipc/launch.h"
#include "supervisor/exits.h"

namespace knit::supervisor {
namespace {
using namespace std::chrono_literals;
using ipc::Process;

Fd seqpacket() { return Fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)); }

std::uint16_t free_port() {
  const Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  EXPECT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&at), size), 0);
  getsockname(fd.get(), reinterpret_cast<sockaddr*>(&at), &size);
  return ntohs(at.sin_port);
}

class SupervisorTest : public testing::Test {
 protected:
  struct Talk {
    Fd fd;
    std::string name;
    pid_t pid = 0;
    std::vector<std::string> heard;
  };

  void SetUp() override {
    char dir[] = "/tmp/knit-supervisor-XXXXXX";
    ASSERT_NE(mkdtemp(dir), nullptr);
    run_dir = dir;
    plan.run_dir = run_dir;
    plan.settings = "the-settings";
    plan.ports = {{1'024, 65'535}};
    plan.foreground = true;  // it ends with the test, whatever happens
    listener = seqpacket();
    sockaddr_un at{.sun_family = AF_UNIX, .sun_path = {}};
    socket_path = run_dir + "/test.sock";
    std::memcpy(at.sun_path, socket_path.c_str(), socket_path.size() + 1);
    ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
    ASSERT_EQ(listen(listener.get(), 16), 0);
  }
  void TearDown() override {
    if (supervisor > 0) {
      kill(supervisor, SIGTERM);
      EXPECT_EQ(wait_exit(), 0);
    }
    std::filesystem::remove_all(run_dir);
  }
  void add(Process p, std::string mode = "normal", std::uint32_t order = 0) {
    ipc::ProcessSpec spec;
    spec.process = p;
    spec.path = TEST_CHILD;
    spec.args = {"child", std::string(to_string(p)), std::move(mode), socket_path};
    spec.stop_order = order;
    spec.stop_deadline = 2s;
    plan.processes.push_back(std::move(spec));
  }
  void start() {
    const auto memfd = ipc::sealed_memfd("plan", codec::encode(plan));
    ASSERT_TRUE(memfd);
    int ends[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    progress = Fd(ends[0]);
    const Fd theirs(fcntl(ends[1], F_DUPFD_CLOEXEC, 20));
    close(ends[1]);
    const Fd high(fcntl(memfd->get(), F_DUPFD_CLOEXEC, 20));
    supervisor = fork();
    if (supervisor == 0) {
      dup2(high.get(), ipc::kPlanFd);
      dup2(theirs.get(), ipc::kProgressFd);
      execl(TEST_SUPERVISOR, "knit-supervisor", nullptr);
      _exit(127);
    }
  }
  int wait_exit() {
    int status = 0;
    if (eventually([&] { return waitpid(supervisor, &status, WNOHANG) == supervisor; })) {
      supervisor = 0;
      turn(0);  // its last words
      return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    }
    kill(supervisor, SIGKILL);
    waitpid(supervisor, &status, 0);
    supervisor = 0;
    return -1000;
  }
  /// Reads what everybody has to say, waiting at most `ms` for the first word.
  void turn(int ms) {
    std::vector<pollfd> fds{{listener.get(), POLLIN, 0}, {progress.get(), POLLIN, 0}};
    for (const auto& t : talks) fds.push_back({t->fd.get(), POLLIN, 0});
    if (poll(fds.data(), fds.size(), ms) <= 0) return;
    char text[512];
    const auto read = [&](Fd& fd) -> std::optional<std::string> {
      const ssize_t n = recv(fd.get(), text, sizeof text, MSG_DONTWAIT);
      if (n == 0 || (n < 0 && errno != EAGAIN)) fd.reset();
      if (n <= 0) return std::nullopt;
      return std::string(text, static_cast<std::size_t>(n));
    };
    while (auto line = read(progress)) events.push_back(line->substr(line->find('\t') + 1));
    for (const auto& t : talks) {
      while (auto line = read(t->fd)) t->heard.push_back(std::move(*line));
    }
    if (fds[0].revents == 0) return;
    Fd fresh(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (fresh) {
      pollfd p{fresh.get(), POLLIN, 0};
      poll(&p, 1, 5'000);
      auto t = std::make_unique<Talk>();
      auto hello = read(fresh);
      t->heard.push_back(hello.value_or(""));
      t->name = t->heard[0].substr(0, t->heard[0].find(' '));
      t->pid = std::atoi(t->heard[0].c_str() + t->name.size());
      t->fd = std::move(fresh);
      talks.push_back(std::move(t));
    }
  }
  template <class F>
  bool eventually(F done) {
    timespec until{};
    clock_gettime(CLOCK_MONOTONIC, &until);
    for (timespec t = until; t.tv_sec <= until.tv_sec + 20; clock_gettime(CLOCK_MONOTONIC, &t)) {
      if (done()) return true;
      turn(10);
    }
    return false;
  }
  /// The `nth` process of that name that came up (0 is the first).
  Talk* proc(std::string_view name, int nth = 0) {
    Talk* found = nullptr;
    EXPECT_TRUE(eventually([&] {
      int i = 0;
      for (const auto& t : talks) {
        if (t->name == name && i++ == nth) found = t.get();
      }
      return found != nullptr;
    })) << name
        << " " << nth;
    return found;
  }
  void say(Talk* t, const std::string& text) {
    ASSERT_EQ(::send(t->fd.get(), text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
  }
  static std::string find(const std::vector<std::string>& all, const std::string& prefix) {
    for (const auto& h : all) {
      if (h.compare(0, prefix.size(), prefix) == 0) return h;
    }
    return {};
  }
  std::string hear(Talk* t, const std::string& prefix) {
    EXPECT_TRUE(eventually([&] { return !find(t->heard, prefix).empty(); }))
        << t->name << " never said '" << prefix << "'; it said "
        << testing::PrintToString(t->heard);
    return find(t->heard, prefix);
  }
  std::string event(const std::string& prefix) {
    EXPECT_TRUE(eventually([&] { return !find(events, prefix).empty(); }))
        << prefix << " is not among " << testing::PrintToString(events);
    return find(events, prefix);
  }
  static std::string start_of(const std::string& pid) {
    return std::to_string(start_time(std::atoi(pid.c_str())));
  }

  ipc::LaunchPlan plan;
  std::string run_dir, socket_path;
  Fd listener, progress;
  pid_t supervisor = 0;
  std::vector<std::unique_ptr<Talk>> talks;
  std::vector<std::string> events;
};

TEST(SupervisorExecutable, IsSmall) {
  EXPECT_LE(std::filesystem::file_size(TEST_SUPERVISOR), 1u << 20);
}

TEST_F(SupervisorTest, StartsConnectsAndStopsInOrder) {
  add(Process::Server, "normal", 1);
  add(Process::Node, "normal", 3);
  add(Process::Proxy, "normal", 2);
  start();
  Talk* server = proc("server");
  Talk* node = proc("node");
  Talk* proxy = proc("proxy");
  EXPECT_NE(server->heard[0].find("the-settings"), std::string::npos);
  hear(server, "kept-end");
  EXPECT_EQ(hear(server, "peer node"), "peer node 1");
  EXPECT_EQ(hear(node, "peer server"), "peer server 1");
  hear(node, "peer proxy");
  hear(proxy, "peer server");
  say(server, "start abc");
  EXPECT_EQ(hear(node, "message"), "message server Start");
  for (Talk* t : {server, node, proxy}) say(t, "ready fine");
  event("up");
  EXPECT_EQ(event("ready\tproxy"), "ready\tproxy\tfine");
  kill(supervisor, SIGTERM);
  EXPECT_EQ(wait_exit(), 0);
  std::vector<std::string> order;
  for (const auto& e : events) {
    if (e.compare(0, 6, "exited") == 0) order.push_back(e);
  }
  EXPECT_EQ(order, (std::vector<std::string>{"exited\tserver\tstatus 0", "exited\tproxy\tstatus 0",
                                             "exited\tnode\tstatus 0"}));
  EXPECT_FALSE(std::filesystem::exists(run_dir + "/state"));
}

TEST_F(SupervisorTest, RestartsAndHandsBackWhatWasKept) {
  add(Process::Server);
  add(Process::Node);
  start();
  Talk* node = proc("node");
  hear(node, "kept-end");
  say(node, "put node/x");
  EXPECT_EQ(hear(node, "acked node/x"), "acked node/x ");
  say(node, "put pod/uid-1/netns");
  hear(node, "acked pod/uid-1/netns");
  say(node, "put proxy/secret");
  EXPECT_EQ(hear(node, "acked proxy"), "acked proxy/secret key is not under your prefix");
  Talk* server = proc("server");
  hear(server, "peer node 1");
  kill(node->pid, SIGKILL);
  Talk* again = proc("node", 1);
  hear(again, "kept-end");
  hear(again, "kept node/x");
  hear(again, "kept pod/uid-1/netns");
  say(again, "read pod/uid-1/netns");
  EXPECT_EQ(hear(again, "content"), "content pod/uid-1/netns");
  hear(server, "peer node 2");
  hear(again, "peer server 2");
  EXPECT_EQ(find(server->heard, "kept "), "");
  EXPECT_EQ(event("exited\tnode"), "exited\tnode\tsignal 9");
}

TEST_F(SupervisorTest, TellsExitsAcrossTheNodesDeath) {
  add(Process::Node);
  start();
  Talk* node = proc("node");
  hear(node, "kept-end");
  say(node, "orphan 42");
  const std::string pid = hear(node, "orphan").substr(7);
  say(node, "expect c-42 " + pid + " " + start_of(pid));
  hear(node, "acked c-42");
  kill(node->pid, SIGKILL);  // closes the gate: the orphan ends while there is no node
  Talk* again = proc("node", 1);
  EXPECT_EQ(hear(again, "exit c-42"), "exit c-42 " + std::to_string(42 << 8));
  // Acknowledged: the next node does not hear of it again.
  say(again, "exit 0");
  Talk* third = proc("node", 2);
  hear(third, "kept-end");
  say(third, "put node/fence");
  hear(third, "acked node/fence");
  EXPECT_EQ(find(third->heard, "exit"), "");
}

TEST_F(SupervisorTest, RemembersExitsThatNobodyExpectedYet) {
  add(Process::Node);
  start();
  Talk* node = proc("node");
  hear(node, "kept-end");
  say(node, "orphan 7");
  const std::string pid = hear(node, "orphan").substr(7);
  const std::string started = start_of(pid);
  say(node, "release");
  ASSERT_TRUE(eventually([&] { return start_of(pid) == "0"; }));
  say(node, "expect early " + pid + " " + started);
  EXPECT_EQ(hear(node, "exit early"), "exit early " + std::to_string(7 << 8));
  say(node, "expect never " + pid + " " + started);
  EXPECT_EQ(hear(node, "exit never"), "exit never " + std::to_string(137 << 8) + " lost");
}

TEST_F(SupervisorTest, KillsWhatSaysNoHello) {
  plan.hello_deadline = 50ms;
  add(Process::Proxy, "mute");
  start();
  EXPECT_EQ(event("killed\tproxy"), "killed\tproxy\tit said no Hello in time");
  EXPECT_TRUE(eventually([&] {
    return std::count_if(events.begin(), events.end(), [](const std::string& e) {
             return e.compare(0, 13, "started\tproxy") == 0;
           }) >= 2;
  })) << "it was started again";
}

TEST_F(SupervisorTest, EndsAProcessThatSendsGarbage) {
  add(Process::Proxy);
  start();
  Talk* proxy = proc("proxy");
  hear(proxy, "kept-end");
  say(proxy, "garbage");
  Talk* again = proc("proxy", 1);
  hear(again, "kept-end");
}

TEST_F(SupervisorTest, MakesANewChannelWhenOneBroke) {
  add(Process::Server);
  add(Process::Node);
  start();
  Talk* server = proc("server");
  Talk* node = proc("node");
  hear(node, "peer server 1");
  hear(server, "peer node 1");
  kill(node->pid, SIGSTOP);  // so that the queue fills
  say(server, "break");
  hear(server, "peer node 2");
  kill(node->pid, SIGCONT);
  hear(node, "peer server 2");
  EXPECT_EQ(talks.size(), 2u) << "nobody was restarted";
}

TEST_F(SupervisorTest, BindsAllowedPortsAndHandsThemToTheProxy) {
  add(Process::Server);
  add(Process::Proxy);
  start();
  Talk* server = proc("server");
  Talk* proxy = proc("proxy");
  hear(proxy, "kept-end");
  hear(server, "kept-end");
  const std::uint16_t port = free_port();
  say(server, "bind 127.0.0.1 " + std::to_string(port) + " router-https");
  EXPECT_EQ(hear(server, "bound"), "bound router-https " + std::to_string(port) + " ");
  hear(proxy, "listener listener/router-https router-https 1");
  say(server, "bind 127.0.0.1 22 forbidden");
  EXPECT_EQ(hear(server, "bound forbidden"),
            "bound forbidden 0 port 22 is not among the allowed ports");
  say(server, "bind localhost 1024 name");
  EXPECT_EQ(hear(server, "bound name"), "bound name 0 address is no IP literal");
  const auto dial = [&] {
    const Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(port);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return connect(fd.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) == 0;
  };
  EXPECT_TRUE(dial());
  say(proxy, "shutdown listener/router-https");
  hear(proxy, "shut");
  EXPECT_TRUE(eventually(dial)) << "a hostile shutdown() is undone";
  kill(proxy->pid, SIGKILL);
  hear(proc("proxy", 1), "listener listener/router-https router-https 1");
}

TEST_F(SupervisorTest, HandsTheHostListenerToTheProxy) {
  add(Process::Node);
  add(Process::Proxy);
  start();
  Talk* node = proc("node");
  hear(proc("proxy"), "kept-end");
  hear(node, "kept-end");
  say(node, "host listener");
  EXPECT_EQ(hear(node, "acked"), "acked listener ");
  hear(proc("proxy"), "listener host/listener host-capture 1");
  kill(proc("proxy")->pid, SIGKILL);
  hear(proc("proxy", 1), "listener host/listener host-capture 1");
}

TEST_F(SupervisorTest, RunsEventsWhileThereAreRoles) {
  add(Process::Server);
  add(Process::Proxy);
  add(Process::Events);
  plan.processes.back().on_demand = true;
  start();
  Talk* server = proc("server");
  Talk* proxy = proc("proxy");
  hear(server, "kept-end");
  hear(proxy, "kept-end");
  say(server, "ready s");
  say(proxy, "ready p");
  event("up");  // without events
  say(server, "roles u-1:mt-broker-ingress u-2:imc-dispatcher");
  Talk* events = proc("events");
  hear(events, "listener role/u-1 role-ingress:u-1:mt-broker-ingress 1");
  hear(events, "listener role/u-2 role-ingress:u-2:imc-dispatcher 1");
  hear(proxy, "listener role/u-1 role-egress:u-1:mt-broker-ingress 1");
  hear(events, "peer server");
  hear(events, "peer proxy");
  hear(proxy, "peer events");

  // Who connects waits while the process that accepts is replaced.
  say(proxy, "connect " + run_dir + "/roles/in/u-1 x");
  EXPECT_EQ(hear(proxy, "connected"), "connected ");
  kill(events->pid, SIGKILL);
  Talk* next = proc("events", 1);
  hear(next, "listener role/u-1");
  say(next, "accept role/u-1");
  EXPECT_EQ(hear(next, "accepted"), "accepted x");
  say(next, "connect " + run_dir + "/roles/out/u-2 y");
  EXPECT_EQ(hear(next, "connected"), "connected ");
  say(proxy, "accept role/u-2");
  EXPECT_EQ(hear(proxy, "accepted"), "accepted y");
  kill(proxy->pid, SIGKILL);
  hear(proc("proxy", 1), "listener role/u-2 role-egress:u-2:imc-dispatcher 1");

  say(server, "roles u-2:imc-dispatcher");
  hear(next, "listener role/u-1 role-ingress:u-1:mt-broker-ingress 0");
  EXPECT_TRUE(eventually([&] { return !std::filesystem::exists(run_dir + "/roles/in/u-1"); }));
  say(server, "roles");
  hear(next, "stop");
  event("exited\tevents\tstatus 0");
  EXPECT_TRUE(std::filesystem::is_empty(run_dir + "/roles/in"));
  EXPECT_TRUE(std::filesystem::is_empty(run_dir + "/roles/out"));
  say(server, "roles u-3:imc-dispatcher");
  hear(proc("events", 2), "listener role/u-3");
}

TEST_F(SupervisorTest, ARoleIsNoPath) {
  add(Process::Server);
  add(Process::Events);
  plan.processes.back().on_demand = true;
  start();
  hear(proc("server"), "kept-end");
  say(proc("server"), "roles ../../u:n u-1:good");
  hear(proc("events"), "listener role/u-1");
  EXPECT_TRUE(find(proc("events")->heard, "listener role/..").empty());
}

TEST_F(SupervisorTest, OnlyWhoConnectsEntersTheDirectory) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to become somebody else";
  add(Process::Server);
  add(Process::Proxy);
  add(Process::Events);
  std::filesystem::permissions(run_dir, std::filesystem::perms(0711));
  std::filesystem::permissions(socket_path, std::filesystem::perms(0777));
  plan.processes[1].uid = plan.processes[1].gid = 65'533;
  plan.processes[2].uid = plan.processes[2].gid = 65'532;
  plan.processes[2].on_demand = true;
  start();
  hear(proc("server"), "kept-end");
  say(proc("server"), "roles u-1:n");
  const std::string in = "connect " + run_dir + "/roles/in/u-1 x";
  const std::string out = "connect " + run_dir + "/roles/out/u-1 x";
  hear(proc("proxy"), "listener role/u-1");
  say(proc("proxy"), out);
  EXPECT_EQ(hear(proc("proxy"), "connected"), "connected Permission denied");
  say(proc("events"), in);
  EXPECT_EQ(hear(proc("events"), "connected"), "connected Permission denied");
  proc("events")->heard.clear();
  say(proc("events"), out);
  EXPECT_EQ(hear(proc("events"), "connected"), "connected ");
  proc("proxy")->heard.clear();
  say(proc("proxy"), in);
  EXPECT_EQ(hear(proc("proxy"), "connected"), "connected ");
}

TEST_F(SupervisorTest, KillsWhatDoesNotStop) {
  add(Process::Server, "stubborn");
  plan.processes[0].stop_deadline = 50ms;
  start();
  Talk* server = proc("server");
  hear(server, "kept-end");
  kill(supervisor, SIGTERM);
  EXPECT_EQ(wait_exit(), 0);
  EXPECT_EQ(find(events, "exited\tserver"), "exited\tserver\tsignal 9");
}

TEST_F(SupervisorTest, ASecondOneIsRefusedAndControlAnswers) {
  add(Process::Server);
  start();
  hear(proc("server"), "kept-end");
  const pid_t first = supervisor;
  const Fd first_progress = std::move(progress);
  start();
  EXPECT_EQ(wait_exit(), 75);
  supervisor = first;
  const Fd control = seqpacket();
  sockaddr_un at{.sun_family = AF_UNIX, .sun_path = {}};
  std::snprintf(at.sun_path, sizeof at.sun_path, "%s/control.sock", run_dir.c_str());
  ASSERT_EQ(connect(control.get(), reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
  ASSERT_EQ(::send(control.get(), "status", 6, 0), 6);
  char text[2'048] = {};
  ASSERT_GT(recv(control.get(), text, sizeof text - 1, 0), 0);
  EXPECT_NE(std::strstr(text, "supervisor\t"), nullptr);
  EXPECT_NE(std::strstr(text, "\tstarting\t"), nullptr) << text;
}

TEST_F(SupervisorTest, RunsAsTheUserItIsTold) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to become somebody else";
  add(Process::Proxy);
  plan.processes[0].uid = plan.processes[0].gid = 65'534;
  chmod(run_dir.c_str(), 0755);
  chmod(socket_path.c_str(), 0777);
  start();
  EXPECT_NE(proc("proxy")->heard[0].find(" 65534"), std::string::npos);
}

TEST_F(SupervisorTest, StartsWhatItsUserCouldNotReach) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to become somebody else";
  add(Process::Proxy);
  plan.processes[0].uid = plan.processes[0].gid = 65'534;
  chmod(run_dir.c_str(), 0755);
  chmod(socket_path.c_str(), 0777);
  std::filesystem::create_directory(run_dir + "/closed");
  plan.processes[0].path = run_dir + "/closed/child";
  std::filesystem::copy_file(TEST_CHILD, plan.processes[0].path);
  chmod((run_dir + "/closed").c_str(), 0700);  // as a checkout below /root
  start();
  EXPECT_NE(proc("proxy")->heard[0].find(" 65534"), std::string::npos);
}

}  // namespace
}  // namespace knit::supervisor
