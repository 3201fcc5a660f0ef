// The whole node on a real machine: crun, namespaces, BPF, the built-in image. Skipped with the
// reason where that is not allowed.
#include <netinet/in.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/random.h"
#include "image/import.h"
#include "io/real_loop.h"
#include "node/agent.h"
#include "node/container_spec.h"
#include "node/fake_node.h"
#include "node/machine.h"

namespace knit::node {
namespace {

using namespace std::chrono_literals;

class SystemTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "containers need root";
    dir_ = "/tmp/knit-node-XXXXXX";
    ASSERT_NE(::mkdtemp(dir_.data()), nullptr);
    ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    loop_ = io::RealLoop::create(2).value();
    settings_.data_dir = dir_ + "/data";
    settings_.run_dir = dir_ + "/run";
    settings_.host_network_path = false;
    std::filesystem::create_directories(settings_.data_dir);
    store_.emplace(image::Store::open(settings_.data_dir + "/images").value());
    ASSERT_TRUE(image::ensure_builtin(*store_));
    auto engine = runtime::Engine::create({.run_dir = settings_.run_dir});
    if (!engine) GTEST_SKIP() << engine.error().message();
    engine_ = std::move(*engine);
    auto net = net::create_pod_net({.ip = net::parse_address("10.128.0.9").value(),
                                    .ip6 = {},
                                    .dns = net::parse_address("172.30.0.10").value()});
    if (!net) GTEST_SKIP() << net.error().message();
    start_agent();
  }
  void TearDown() override {
    if (loop_) loop_->finish_offloads();  // jobs in hand use what the agent owns
    agent_.reset();
    if (engine_) {
      for (const auto& id : engine_->list()) static_cast<void>(engine_->remove(id));
      runtime::remove_cgroup(engine_->cgroups(), pod_cgroup("sys-1"));
      engine_->remove_cgroups();
    }
    engine_.reset();
    loop_.reset();
    while (::waitpid(-1, nullptr, WNOHANG) > 0) {
    }
    if (!dir_.empty()) std::filesystem::remove_all(dir_);
  }
  void start_agent() {
    Agent::Parts parts;
    parts.driver = real_driver(*engine_, *store_);
    parts.exits = runtime::local_exits(*loop_);
    parts.random = seeded_random(static_cast<std::uint64_t>(::getpid()));
    parts.machine = read_machine(settings_.data_dir);
    agent_ = Agent::create(*loop_, settings_, api_, std::move(parts)).value();
    agent_->start();
  }
  /// Runs the loop until `done` holds, at most `limit`.
  template <class F>
  bool until(F done, Duration limit = 10s) {
    bool late = false;
    const auto timer = loop_->after(limit, [&] {
      late = true;
      loop_->stop();
    });
    std::function<void()> check = [&] {
      if (done()) return loop_->stop();
      poll_ = loop_->after(2ms, check);
    };
    poll_ = loop_->after(0ms, check);
    loop_->run();
    poll_.cancel();
    return !late;
  }
  Json pod(std::string_view container) {
    Json out = json::parse(R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"p",
      "namespace":"default","uid":"sys-1"},"spec":{"nodeName":"knit"}})")
                   .value();
    Json c = json::parse(R"({"name":"c","image":"knit.local/hello",
      "resources":{"limits":{"memory":"64Mi","cpu":"1"}}})")
                 .value();
    json::merge_patch(c, json::parse(container).value());
    json::set(out, {"spec", "containers"}, JsonArray{std::move(c)});
    return out;
  }
  const Json* live() {
    const auto it = api_.objects.find({kube::Resource::of("pods"), "default", "p"});
    return it == api_.objects.end() ? nullptr : &it->second;
  }
  std::string phase() {
    return live() == nullptr ? "gone" : std::string(json::str(*live(), {"status", "phase"}));
  }
  /// One request to the app through a socket made inside the pod.
  std::string get(std::uint16_t port) {
    auto sockets = net::stock_sockets(agent_->worker("sys-1")->network()->netns.get(), 1, false);
    if (!sockets) return sockets.error().message();
    const int fd = sockets->front().get();
    ::fcntl(fd, F_SETFL, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    const auto ip = net::parse_address(json::str(*live(), {"status", "podIP"})).value();
    std::memcpy(&to.sin_addr, ip.bytes.data(), 4);
    for (int i = 0; i < 300; ++i) {
      if (::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0) break;
      ::poll(nullptr, 0, 10);
    }
    constexpr std::string_view kRequest = "GET / HTTP/1.0\r\nHost: x\r\n\r\n";
    if (::send(fd, kRequest.data(), kRequest.size(), MSG_NOSIGNAL) < 0) return "no connection";
    std::string answer;
    char buffer[4096];
    ssize_t n = 0;
    while ((n = ::recv(fd, buffer, sizeof buffer, 0)) > 0) {
      answer.append(buffer, static_cast<std::size_t>(n));
    }
    const auto head = answer.find("\r\n\r\n");
    return head == std::string::npos ? answer : answer.substr(head + 4);
  }

  std::string dir_;
  Settings settings_;
  FakeApi api_;
  std::unique_ptr<io::RealLoop> loop_;
  std::optional<image::Store> store_;
  std::unique_ptr<runtime::Engine> engine_;
  std::unique_ptr<Agent> agent_;
  io::Loop::Timer poll_;
};

TEST_F(SystemTest, AppAnswersLogsAndEnds) {
  api_.put_pod(pod(R"j({"env":[{"name":"RESPONSE","value":"hi $(WHO)"},
                              {"name":"WHO","value":"you"}]})j"));
  ASSERT_TRUE(until([&] { return phase() == "Running"; })) << json::pretty(*live());
  EXPECT_EQ(get(8080), "hi $(WHO)\n");  // WHO is defined after its use
  ASSERT_TRUE(until([&] {
    const auto path = agent_->worker("sys-1")->log_path("c", false);
    return path && std::filesystem::file_size(*path) > 0;
  }));
  std::ifstream log(*agent_->worker("sys-1")->log_path("c", false));
  const std::string text(std::istreambuf_iterator<char>(log), {});
  EXPECT_NE(text.find(" stdout F hello: ready\n"), std::string::npos) << text;
  api_.start_deletion({kube::Resource::of("pods"), "default", "p"}, 10);
  ASSERT_TRUE(until([&] { return live() == nullptr && agent_->pods() == 0; }));
  EXPECT_TRUE(engine_->list().empty());
  EXPECT_FALSE(std::filesystem::exists(dir_ + "/run/pods/sys-1"));
}

TEST_F(SystemTest, ExitCodesReachTheStatus) {
  Json p = pod(R"({"args":["--exit","42"]})");
  json::set(p, {"spec", "restartPolicy"}, "Never");
  api_.put_pod(std::move(p));
  ASSERT_TRUE(until([&] { return phase() == "Failed"; }));
  const Json& c = json::array(*live(), {"status", "containerStatuses"})[0];
  EXPECT_EQ(json::i64(c, {"state", "terminated", "exitCode"}), 42);
  EXPECT_EQ(json::str(c, {"state", "terminated", "reason"}), "Error");
}

TEST_F(SystemTest, ConfigMapsAndMemoryVolumesAreMounted) {
  api_.objects[{kube::Resource::of("configmaps"), "default", "cm"}] =
      json::parse(R"({"kind":"ConfigMap","data":{"hello":"x"}})").value();
  Json p = pod(R"({"args":["--never-listen"],"volumeMounts":[{"name":"cm","mountPath":"/cm"},
      {"name":"m","mountPath":"/m","subPath":"a/b"},{"name":"cm","mountPath":"/one","subPath":"hello"}]})");
  json::set(p, {"spec", "volumes"},
            json::parse(R"([{"name":"cm","configMap":{"name":"cm"}},
                            {"name":"m","emptyDir":{"medium":"Memory","sizeLimit":"1Mi"}}])")
                .value());
  api_.put_pod(std::move(p));
  ASSERT_TRUE(until([&] { return phase() == "Running"; })) << json::pretty(*live());
  const auto ids = engine_->list();
  ASSERT_EQ(ids.size(), 1U);
  std::ifstream pid_file(dir_ + "/run/bundles/" + ids[0] + "/pid");
  std::string pid;
  pid_file >> pid;
  std::ifstream mounts("/proc/" + pid + "/mounts");
  const std::string text(std::istreambuf_iterator<char>(mounts), {});
  for (const char* at :
       {" /cm ", " /m tmpfs", " /one ", " /etc/resolv.conf ", " /dev/termination-log "}) {
    EXPECT_NE(text.find(at), std::string::npos) << at << "\n" << text;
  }
  std::ifstream one("/proc/" + pid + "/root/one");
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(one), {}), "x");
}

}  // namespace
}  // namespace knit::node
