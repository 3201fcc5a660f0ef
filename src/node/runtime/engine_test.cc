// Real containers: crun, namespaces and cgroups. Skipped with the reason where that is not allowed.
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "image/import.h"
#include "node/net/listen_events.h"
#include "node/net/pod_net.h"
#include "node/runtime/engine.h"
#include "node/runtime/spawn.h"

namespace knit::node::runtime {
namespace {

class EngineTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "containers need root";
    dir_ = "/tmp/knit-engine-XXXXXX";
    ASSERT_NE(::mkdtemp(dir_.data()), nullptr);
    ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    auto engine = Engine::create({.run_dir = dir_ + "/run"});
    if (!engine && engine.error().code() != Code::Internal) {
      GTEST_SKIP() << engine.error().message();
    }
    engine_ = std::move(engine).value();
    store_.emplace(image::Store::open(dir_ + "/images").value());
    ASSERT_TRUE(image::ensure_builtin(*store_));
    image_ = store_->find("knit.local/hello").value();
    for (const auto& layer : image_.layers) layers_.push_back(store_->layer_path(layer));
    ASSERT_EQ(::pipe2(out_, O_CLOEXEC), 0);
  }
  void TearDown() override {
    if (engine_) {
      for (const auto& id : engine_->list()) EXPECT_TRUE(engine_->remove(id));
      remove_cgroup(engine_->cgroups(), "/knit/test-" + std::to_string(::getpid()));
      engine_->remove_cgroups();
      ::close(out_[0]);
      if (out_[1] >= 0) ::close(out_[1]);
    }
    while (::waitpid(-1, nullptr, WNOHANG) > 0) {
    }
    if (!dir_.empty()) std::filesystem::remove_all(dir_);
  }
  ContainerSpec spec(std::string id, std::vector<std::string> args) const {
    ContainerSpec s{.id = std::move(id),
                    .hostname = "test",
                    .args = std::move(args),
                    .env = image_.config.env,
                    .user = image_.config.user};
    s.capabilities = default_capabilities();
    s.no_new_privileges = true;
    s.cgroup = "/knit/test-" + std::to_string(::getpid()) + "/" + s.id;
    s.resources = {.memory_limit = 64 << 20, .pids_limit = 64};
    return s;
  }
  /// Everything that the container wrote, once its end is closed.
  std::string output() {
    ::close(std::exchange(out_[1], -1));
    std::string text;
    char buffer[4096];
    ssize_t n = 0;
    while ((n = ::read(out_[0], buffer, sizeof buffer)) > 0) {
      text.append(buffer, static_cast<std::size_t>(n));
    }
    return text;
  }
  static int wait_for(pid_t pid) {
    int status = -1;
    ::waitpid(pid, &status, 0);
    return status;
  }

  std::string dir_;
  std::unique_ptr<Engine> engine_;
  std::optional<image::Store> store_;
  image::Image image_;
  std::vector<std::string> layers_;
  int out_[2] = {-1, -1};
};

TEST_F(EngineTest, AnswersThroughAStockSocketAfterItsListenEvent) {
  const auto ip = net::parse_address("10.128.0.9").value();
  auto pod =
      net::create_pod_net({.ip = ip, .ip6 = {}, .dns = net::parse_address("172.30.0.10").value()});
  if (!pod) GTEST_SKIP() << pod.error().message();
  auto events = net::ListenEvents::create(engine_->cgroup().get());
  auto s = spec("web", {"/hello"});
  s.netns_path = "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(pod->netns.get());
  const auto made = engine_->prepare(s, layers_, out_[1], out_[1]);
  ASSERT_TRUE(made.has_value()) << made.error().message();
  EXPECT_EQ(start_time(made->pid), made->start_time);
  ASSERT_TRUE(engine_->start("web"));
  if (events) {
    // Other Knits of this machine share the cgroup; their pods have other cookies.
    std::vector<net::ListenEvent> ours;
    for (int round = 0; round < 100 && ours.empty(); ++round) {
      pollfd p{(*events)->fd(), POLLIN, 0};
      ASSERT_EQ(::poll(&p, 1, 5000), 1);
      (*events)->drain([&](const net::ListenEvent& e) {
        if (e.cookie == pod->cookie) ours.push_back(e);
      });
    }
    ASSERT_EQ(ours.size(), 1U);
    EXPECT_EQ(ours[0].port, 8080);
  }
  auto sockets = net::stock_sockets(pod->netns.get(), 64, false);
  ASSERT_TRUE(sockets.has_value());
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(8080);
  std::memcpy(&to.sin_addr, ip.bytes.data(), 4);
  const Fd client = std::move(sockets->front());
  ::fcntl(client.get(), F_SETFL, 0);
  for (int attempt = 0; attempt < 200; ++attempt) {  // without events: until it listens
    if (::connect(client.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0) break;
    ::poll(nullptr, 0, 10);
  }
  constexpr std::string_view kRequest = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
  ASSERT_EQ(::send(client.get(), kRequest.data(), kRequest.size(), 0),
            static_cast<ssize_t>(kRequest.size()));
  std::string answer;
  char buffer[4096];
  ssize_t n = 0;
  while ((n = ::recv(client.get(), buffer, sizeof buffer, 0)) > 0) {
    answer.append(buffer, static_cast<std::size_t>(n));
  }
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK\r\n")) << answer;
  EXPECT_TRUE(answer.ends_with("\r\n\r\nHello Openshift!\n")) << answer;
  // SIGTERM ends it well.
  ASSERT_TRUE(Engine::signal(made->pid, made->start_time, SIGTERM));
  EXPECT_EQ(wait_for(made->pid), 0);
  EXPECT_EQ(Engine::signal(made->pid, made->start_time, SIGTERM).error().code(), Code::NotFound);
  ASSERT_TRUE(engine_->remove("web"));
  EXPECT_EQ(output(), "hello: ready\n");
  EXPECT_TRUE(engine_->list().empty());
}

TEST_F(EngineTest, ExitCodesArriveAtTheReaper) {
  const auto made =
      engine_->prepare(spec("c", {"/hello", "--exit", "42"}), layers_, out_[1], out_[1]);
  ASSERT_TRUE(made.has_value()) << made.error().message();
  ASSERT_TRUE(engine_->start("c"));
  const int status = wait_for(made->pid);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 42);
}

TEST_F(EngineTest, TheDefaultProfileFiltersAndUnconfinedDoesNot) {
  const struct {
    const char* id;
    Seccomp profile;
    unsigned filters;
  } rows[] = {{"default", Seccomp::RuntimeDefault, 1}, {"unconfined", Seccomp::Unconfined, 0}};
  const auto filters = [](const std::string& pid) {
    std::ifstream in("/proc/" + pid + "/status");
    for (std::string line; std::getline(in, line);) {
      if (line.starts_with("Seccomp_filters:")) return std::stoul(line.substr(16));
    }
    return 99UL;
  };
  const auto mine = filters("self");
  for (const auto& row : rows) {
    auto s = spec(row.id, {"/hello", "--never-listen"});
    s.seccomp = row.profile;
    const auto made = engine_->prepare(s, layers_, out_[1], out_[1]);
    ASSERT_TRUE(made.has_value()) << made.error().message();
    ASSERT_TRUE(engine_->start(row.id));
    const std::string exe = "/proc/" + std::to_string(made->pid) + "/exe";
    std::error_code error;
    for (int i = 0; i < 500 && std::filesystem::read_symlink(exe, error) != "/hello"; ++i) {
      ::poll(nullptr, 0, 10);  // until the runtime's init has become the program
    }
    EXPECT_EQ(filters(std::to_string(made->pid)), mine + row.filters) << row.id;
  }
}

TEST_F(EngineTest, ParkedContainersCanBeRemoved) {
  const auto made = engine_->prepare(spec("c", {"/hello"}), layers_, out_[1], out_[1]);
  ASSERT_TRUE(made.has_value()) << made.error().message();
  ASSERT_TRUE(engine_->remove("c"));
  ASSERT_TRUE(engine_->remove("c"));  // absent is fine
  const int status = wait_for(made->pid);
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_FALSE(std::filesystem::exists(dir_ + "/run/bundles/c"));
}

TEST_F(EngineTest, MissingProgramsAreNamed) {
  const auto made = engine_->prepare(spec("c", {"/no/such/program"}), layers_, out_[1], out_[1]);
  ASSERT_FALSE(made.has_value());
  EXPECT_NE(made.error().message().find("/no/such/program"), std::string::npos)
      << made.error().message();
  EXPECT_TRUE(engine_->list().empty());
}

TEST_F(EngineTest, RunsCommandsInside) {
  const auto made =
      engine_->prepare(spec("c", {"/hello", "--never-listen"}), layers_, out_[1], out_[1]);
  ASSERT_TRUE(made.has_value()) << made.error().message();
  ASSERT_TRUE(engine_->start("c"));
  const auto got = engine_->exec("c", {"/hello", "--exit", "7"}, std::chrono::seconds(10));
  ASSERT_TRUE(got.has_value()) << got.error().message();
  EXPECT_EQ(got->exit_code, 7);
}

/// Knit may itself live in a chroot, be it a mount point or a plain directory: what the pods' mount
/// namespace shows is what Knit sees, its root is a mount point, and the host gets no mount.
TEST(MountSpaceTest, StaysInsideAChroot) {
  if (::geteuid() != 0) GTEST_SKIP() << "mount namespaces need root";
  for (const bool mount_point : {false, true}) {
    SCOPED_TRACE(mount_point);
    char dir[] = "/tmp/knit-chroot-XXXXXX";
    ASSERT_NE(::mkdtemp(dir), nullptr);
    const std::string root = dir;
    std::filesystem::create_directories(root + "/proc");
    std::filesystem::create_directories(root + "/marker");
    const pid_t pid = ::fork();
    if (pid == 0) {
      const auto check = [](bool ok, int status) {
        if (!ok) ::_exit(status);
      };
      check(::unshare(CLONE_NEWNS) == 0, 1);
      check(::mount(nullptr, "/", nullptr, MS_REC | MS_SHARED, nullptr) == 0, 2);
      if (mount_point) check(::mount(dir, dir, nullptr, MS_BIND, nullptr) == 0, 3);
      check(::mount("proc", (root + "/proc").c_str(), "proc", 0, nullptr) == 0, 4);
      check(::chdir(dir) == 0 && ::chroot(".") == 0, 5);
      auto space = MountSpace::create("");
      check(space.has_value(), 6);
      const auto inside = (*space)->run([]() -> Result<void> {
        struct statx st{};
        if (::access("/marker", F_OK) != 0 || ::statx(AT_FDCWD, "/", 0, 0, &st) != 0 ||
            (st.stx_attributes & STATX_ATTR_MOUNT_ROOT) == 0 ||
            ::mount("tmpfs", "/marker", "tmpfs", 0, nullptr) != 0) {
          return errno_error("inside", errno);
        }
        return {};
      });
      check(inside.has_value(), 7);
      // As a runtime that enters a container: pivot_root, then setns from outside.
      const auto entered = (*space)->run([]() -> Result<void> {
        if (::unshare(CLONE_NEWNS) != 0 || ::mkdir("/marker/root", 0755) != 0 ||
            ::mount("tmpfs", "/marker/root", "tmpfs", 0, nullptr) != 0 ||
            ::mkdir("/marker/root/inner", 0755) != 0 || ::chdir("/marker/root") != 0) {
          return errno_error("a root of its own", errno);
        }
        const Fd container(::open("/proc/thread-self/ns/mnt", O_RDONLY | O_CLOEXEC));
        if (!container || ::syscall(SYS_pivot_root, ".", ".") != 0 ||
            ::umount2(".", MNT_DETACH) != 0 || ::setns(container.get(), CLONE_NEWNS) != 0 ||
            ::access("/inner", F_OK) != 0) {
          return errno_error("enter the container", errno);
        }
        return {};
      });
      check(entered.has_value(), 12);
      struct statx st{};
      check(::statx(AT_FDCWD, "/marker", 0, 0, &st) == 0, 8);
      check((st.stx_attributes & STATX_ATTR_MOUNT_ROOT) == 0, 9);
      struct statx top{};
      check(::statx(AT_FDCWD, "/", 0, 0, &top) == 0, 10);
      check(((top.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0) == mount_point, 11);
      ::_exit(0);
    }
    int status = -1;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 0);
    std::filesystem::remove_all(root);
  }
}

}  // namespace
}  // namespace knit::node::runtime
