// Pods' lives in simulated time, against models of the API and of the machine.
#include <filesystem>
#include <fstream>

#include "base/random.h"
#include "io/sim_loop.h"
#include "node/agent.h"
#include "node/fake_node.h"

namespace knit::node {
namespace {

using namespace std::chrono_literals;

/// The supervisor and the proxy, as the node sees them.
class FakeBootstrap final : public ipc::Bootstrap {
 public:
  explicit FakeBootstrap(io::SimLoop& loop, ipc::Bootstrap::Handler handler)
      : loop_(loop), handler_(std::move(handler)) {
    auto [node, other] = ipc::memory_channels(
        loop, {.on_message = [](ipc::Received) {}, .on_closed = [] {}},
        {.on_message = [this](ipc::Received m) { on_supervisor(std::move(m)); },
         .on_closed = [] {}});
    u_node_ = std::move(node);
    u_ = std::move(other);
  }
  void connect_proxy() {
    auto [node, other] = ipc::memory_channels(
        loop_,
        {.on_message =
             [this](ipc::Received m) { handler_.on_message(ipc::Process::Proxy, std::move(m)); },
         .on_closed = [] {}},
        {.on_message = [this](ipc::Received m) { on_proxy(std::move(m)); }, .on_closed = [] {}});
    p_node_ = std::move(node);
    p_ = std::move(other);
    handler_.on_peer(ipc::Process::Proxy, 1);
  }
  void connect_server() {
    auto [node, other] = ipc::memory_channels(
        loop_,
        {.on_message =
             [this](ipc::Received m) { handler_.on_message(ipc::Process::Server, std::move(m)); },
         .on_closed = [] {}},
        {.on_message =
             [this](ipc::Received m) {
               if (m.type == ipc::MessageType::Started) {
                 started.push_back(m.as<ipc::Started>()->uid);
               }
             },
         .on_closed = [] {}});
    s_node_ = std::move(node);
    s_ = std::move(other);
    handler_.on_peer(ipc::Process::Server, 1);
  }
  void start(const std::string& uid, const std::string& pod) { s_->send(ipc::Start{uid, pod}); }
  ipc::Channel& supervisor() override { return *u_node_; }
  ipc::Channel* peer(ipc::Process p) override {
    return p == ipc::Process::Proxy    ? p_node_.get()
           : p == ipc::Process::Server ? s_node_.get()
                                       : nullptr;
  }
  void ready(std::string) override {}
  void probed(const std::string& uid, const std::string& probe, bool ok) {
    p_->send(ipc::Probed{uid, probe, ok, "text"});
  }
  void want(const std::string& uid, std::uint32_t level) { p_->send(ipc::Want{uid, level}); }

  std::map<std::string, Fd> kept;
  std::vector<ipc::Pod> pods;
  void logged(const ipc::Logged& m) {
    p_->when_acked(p_->send(m), [this](const std::string&) { ++log_acks; });
  }
  void drained(const std::string& uid) { p_->send(ipc::Drained{uid}); }
  std::vector<std::string> gone, started, drains;
  std::size_t sockets = 0, log_acks = 0;
  bool ack_gone = true;

 private:
  void on_supervisor(ipc::Received m) {
    if (m.type == ipc::MessageType::Put) {
      kept[m.as<ipc::Put>()->key] = std::move(m.fds.at(0));
      u_->ack(m);
    }
    if (m.type == ipc::MessageType::Drop) kept.erase(m.as<ipc::Drop>()->key);
  }
  void on_proxy(ipc::Received m) {
    if (m.type == ipc::MessageType::Pod) pods.push_back(*m.as<ipc::Pod>());
    if (m.type == ipc::MessageType::Sockets) sockets += m.fds.size();
    if (m.type == ipc::MessageType::Drain) drains.push_back(m.as<ipc::Drain>()->uid);
    if (m.type == ipc::MessageType::Gone) {
      gone.push_back(m.as<ipc::Gone>()->uid);
      if (ack_gone) p_->ack(m);
    }
  }
  io::SimLoop& loop_;
  ipc::Bootstrap::Handler handler_;
  std::unique_ptr<ipc::Channel> u_node_, u_, p_node_, p_, s_node_, s_;
};

class AgentTest : public testing::Test {
 protected:
  AgentTest() {
    dir_ = "/tmp/knit-agent-XXXXXX";
    KNIT_CHECK(::mkdtemp(dir_.data()) != nullptr);
    image::Config hello;
    hello.entrypoint = {"/hello"};
    make_agent(hello);
    bootstrap_->connect_proxy();
    agent_->start();
    loop_.settle();
  }
  /// The agent ends and comes back; pods run on, and the supervisor hands back what it kept.
  void restart_node() {
    const image::Config image = driver_->images["hello"];
    auto processes = std::move(driver_->processes);
    auto kept = std::move(bootstrap_->kept);
    agent_.reset();
    const auto old = std::move(bootstrap_);
    make_agent(image);
    driver_->processes = std::move(processes);
    for (auto& [key, fd] : kept) agent_->handler().on_kept(key, std::move(fd));
    bootstrap_->connect_proxy();
    agent_->start();
    turn();
  }
  void make_agent(const image::Config& hello) {
    driver_owner_ = std::make_unique<FakeDriver>();
    driver_ = driver_owner_.get();
    driver_->images["hello"] = hello;
    Settings settings;
    settings.data_dir = dir_ + "/data";
    settings.run_dir = dir_ + "/run";
    settings.host_network_path = false;
    Agent::Parts parts;
    parts.exits = std::make_unique<FakeExits>(loop_, *driver_);
    parts.driver = std::move(driver_owner_);
    parts.random = seeded_random(1);
    parts.machine.memory = std::int64_t{8} << 30;
    agent_ = Agent::create(loop_, settings, api_, std::move(parts)).value();
    bootstrap_ = std::make_unique<FakeBootstrap>(loop_, agent_->handler());
    agent_->attach(*bootstrap_);
  }
  ~AgentTest() override {
    agent_.reset();
    std::filesystem::remove_all(dir_);
  }
  static Json pod(std::string_view container, std::string_view rest = "{}") {
    Json out = json::parse(R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"p",
      "namespace":"default","uid":"u1"},"spec":{"nodeName":"knit"}})")
                   .value();
    json::merge_patch(out, json::parse(rest).value());
    Json c = json::parse(R"({"name":"c","image":"hello"})").value();
    json::merge_patch(c, json::parse(container).value());
    json::set(out, {"spec", "containers"}, JsonArray{std::move(c)});
    return out;
  }
  void run(Json p) {
    api_.put_pod(std::move(p));
    turn();
  }
  /// Lets everything happen that needs no time to pass, pipes included.
  void turn(Duration d = 0ns) {
    for (int i = 0; i < 20; ++i) {
      loop_.settle();
      loop_.poll_fds();
    }
    loop_.advance(d);
    for (int i = 0; i < 20; ++i) {
      loop_.settle();
      loop_.poll_fds();
    }
  }
  const Json& live() { return api_.objects.at({kube::Resource::of("pods"), "default", "p"}); }
  bool exists() { return api_.objects.contains({kube::Resource::of("pods"), "default", "p"}); }
  std::string phase() { return std::string(json::str(live(), {"status", "phase"})); }
  Json container(std::size_t i = 0) {
    return json::array(live(), {"status", "containerStatuses"}).at(i);
  }
  std::string ready() {
    for (const Json& c : json::array(live(), {"status", "conditions"})) {
      if (json::str(c, {"type"}) == "Ready") return std::string(json::str(c, {"status"}));
    }
    return "absent";
  }

  std::string dir_;
  io::SimLoop loop_;
  FakeApi api_;
  std::unique_ptr<FakeDriver> driver_owner_;
  FakeDriver* driver_ = nullptr;
  std::unique_ptr<Agent> agent_;
  std::unique_ptr<FakeBootstrap> bootstrap_;
};

TEST_F(AgentTest, RegistersTheNodeAndRenewsItsLease) {
  const Json& node = api_.objects.at({kube::Resource::of("nodes"), "", "knit"});
  EXPECT_EQ(json::str(node, {"metadata", "labels", "kubernetes.io/os"}), "linux");
  EXPECT_EQ(json::str(node, {"spec", "podCIDR"}), "10.128.0.0/20");
  const kube::Key lease{kube::Resource::of("leases.coordination.k8s.io"), "kube-node-lease",
                        "knit"};
  const std::string first(json::str(api_.objects.at(lease), {"spec", "renewTime"}));
  turn(10s);
  EXPECT_GT(json::str(api_.objects.at(lease), {"spec", "renewTime"}), first);
}

TEST_F(AgentTest, RunsAPodToReadyAndTellsTheProxy) {
  run(pod("{}"));
  EXPECT_EQ(phase(), "Running");
  EXPECT_EQ(ready(), "True");
  EXPECT_EQ(json::str(live(), {"status", "podIP"}), "10.128.0.2");
  EXPECT_TRUE(json::str(container(), {"containerID"}).starts_with("crun://"));
  EXPECT_EQ(json::str(container(), {"imageID"}), "hello@sha256:0");
  ASSERT_FALSE(bootstrap_->pods.empty());
  EXPECT_EQ(bootstrap_->pods.front().ip, "10.128.0.2");
  EXPECT_TRUE(bootstrap_->pods.front().has_fds);
  EXPECT_FALSE(bootstrap_->pods.back().has_fds);
  EXPECT_EQ(bootstrap_->sockets, 4U);
  EXPECT_TRUE(bootstrap_->kept.contains("pod/u1/netns"));
  EXPECT_TRUE(bootstrap_->kept.contains("pod/u1/log-c-stdout"));
  bootstrap_->want("u1", 9);
  turn();
  EXPECT_EQ(bootstrap_->sockets, 13U);
  for (const char* reason : {"Pulled", "Created", "Started"})
    EXPECT_EQ(api_.count(reason), 1U) << reason;
}

TEST_F(AgentTest, ANewProxyGetsEveryPodAgain) {
  run(pod("{}"));
  bootstrap_->pods.clear();
  bootstrap_->connect_proxy();
  turn();
  ASSERT_EQ(bootstrap_->pods.size(), 1U);
  EXPECT_TRUE(bootstrap_->pods[0].has_fds);
}

TEST_F(AgentTest, DeletionSignalsWaitsAndDeletes) {
  driver_->ignore_term = true;
  run(pod("{}"));
  api_.start_deletion(FakeApi::pod_key(live()), 5);
  turn();
  EXPECT_EQ(driver_->by_name("c")->signals, std::vector<int>{15});
  turn(4999ms);
  EXPECT_TRUE(exists());
  turn(1ms);
  turn();
  EXPECT_FALSE(exists());
  EXPECT_EQ(bootstrap_->gone, std::vector<std::string>{"u1"});
  EXPECT_TRUE(bootstrap_->kept.empty());
  EXPECT_EQ(agent_->pods(), 0U);
  EXPECT_EQ(api_.count("Killing"), 1U);
  EXPECT_FALSE(std::filesystem::exists(dir_ + "/run/pods/u1"));
}

TEST_F(AgentTest, TheNamespaceOutlivesTheProxysLastUse) {
  bootstrap_->ack_gone = false;
  run(pod("{}"));
  api_.start_deletion(FakeApi::pod_key(live()), 5);
  turn(60s);
  EXPECT_TRUE(exists());
  EXPECT_TRUE(bootstrap_->kept.contains("pod/u1/netns"));
}

TEST_F(AgentTest, CrashesBackOff) {
  run(pod("{}"));
  driver_->end("c", 3 << 8);
  turn();
  EXPECT_EQ(json::i64(container(), {"restartCount"}), 1);  // the first restart is immediate
  EXPECT_EQ(json::i64(container(), {"lastState", "terminated", "exitCode"}), 3);
  EXPECT_EQ(ready(), "True");
  driver_->end("c", 3 << 8);
  turn();
  EXPECT_EQ(json::str(container(), {"state", "waiting", "reason"}), "CrashLoopBackOff");
  EXPECT_NE(json::str(container(), {"state", "waiting", "message"}).find("back-off 10s"),
            std::string_view::npos);
  EXPECT_EQ(ready(), "False");
  turn(9999ms);
  EXPECT_EQ(driver_->processes.size(), 0U);
  turn(1ms);
  EXPECT_EQ(driver_->processes.size(), 1U);
  EXPECT_EQ(json::i64(container(), {"restartCount"}), 2);
  driver_->oom = true;
  driver_->end("c", 9);
  turn();
  EXPECT_EQ(json::str(container(), {"lastState", "terminated", "reason"}), "OOMKilled");
}

TEST_F(AgentTest, ADeletedPodStopsWaitingForItsRestart) {
  run(pod("{}"));
  driver_->end("c", 3 << 8);
  turn();
  driver_->end("c", 3 << 8);
  turn();
  api_.start_deletion(FakeApi::pod_key(live()), 30);
  turn();
  EXPECT_FALSE(exists());
}

TEST_F(AgentTest, RestartPolicyNeverEndsThePod) {
  run(pod("{}", R"({"spec":{"restartPolicy":"Never"}})"));
  driver_->end("c", 0);
  turn();
  EXPECT_EQ(phase(), "Succeeded");
  EXPECT_EQ(json::str(container(), {"state", "terminated", "reason"}), "Completed");
  EXPECT_EQ(bootstrap_->gone.size(), 1U);
  api_.start_deletion(FakeApi::pod_key(live()), 30);
  turn();
  EXPECT_FALSE(exists());
}

TEST_F(AgentTest, ProbesGateReadinessAndRestart) {
  run(pod(R"({"startupProbe":{"tcpSocket":{"port":1}},"readinessProbe":{"httpGet":{"port":2}},
              "livenessProbe":{"tcpSocket":{"port":3}}})"));
  EXPECT_EQ(ready(), "False");
  ASSERT_EQ(bootstrap_->pods.back().probes.size(), 1U);
  EXPECT_EQ(bootstrap_->pods.back().probes[0].id, "c/startup");
  bootstrap_->probed("u1", "c/startup", true);
  turn();
  ASSERT_EQ(bootstrap_->pods.back().probes.size(), 2U);
  EXPECT_EQ(ready(), "False");
  EXPECT_TRUE(json::boolean(container(), {"started"}));
  bootstrap_->probed("u1", "c/readiness", true);
  turn();
  EXPECT_EQ(ready(), "True");
  bootstrap_->probed("u1", "c/readiness", false);
  turn();
  EXPECT_EQ(ready(), "False");
  EXPECT_EQ(api_.count("Unhealthy"), 1U);
  bootstrap_->probed("u1", "c/liveness", false);
  turn();
  EXPECT_EQ(json::i64(container(), {"restartCount"}), 1);
  EXPECT_EQ(json::boolean(container(), {"started"}), false);  // gated again
}

TEST_F(AgentTest, ExecProbesRunHere) {
  driver_->exec_code = 1;
  run(pod(
      R"({"readinessProbe":{"exec":{"command":["x"]},"periodSeconds":2,"failureThreshold":1}})"));
  EXPECT_EQ(ready(), "False");
  EXPECT_EQ(api_.count("Unhealthy"), 1U);
  driver_->exec_code = 0;
  turn(2s);
  EXPECT_EQ(ready(), "True");
}

TEST_F(AgentTest, RolesHaveNoProcessAndQueueProxyFollowsTheProxy) {
  Json p = pod("{}");
  p.at("spec")
      .at("containers")
      .as_array()
      .push_back(
          json::parse(
              R"({"name":"queue-proxy","image":"knit.local/role/queue-proxy","readinessProbe":{
          "httpGet":{"port":8012,"httpHeaders":[{"name":"K-Network-Probe","value":"queue"}]}}})")
              .value());
  p.at("spec")
      .at("containers")
      .as_array()
      .push_back(
          json::parse(R"({"name":"istio-proxy","image":"knit.local/role/istio-proxy"})").value());
  run(std::move(p));
  EXPECT_EQ(driver_->processes.size(), 1U);
  EXPECT_EQ(phase(), "Running");
  EXPECT_EQ(ready(), "False");
  EXPECT_TRUE(json::boolean(container(0), {"ready"}));
  EXPECT_FALSE(json::boolean(container(1), {"ready"}));
  EXPECT_TRUE(json::boolean(container(2), {"ready"}));
  bootstrap_->probed("u1", "queue-proxy/readiness", true);
  turn();
  EXPECT_EQ(ready(), "True");
}

TEST_F(AgentTest, PodsOfRolesOnlyNeedNoNetwork) {
  run(pod(R"({"image":"knit.local/role/activator"})"));
  EXPECT_EQ(phase(), "Running");
  EXPECT_EQ(ready(), "True");
  EXPECT_TRUE(bootstrap_->pods.empty());
  api_.start_deletion(FakeApi::pod_key(live()), 30);
  turn();
  EXPECT_FALSE(exists());
}

TEST_F(AgentTest, RolesOfEventsFollowTheProxy) {
  run(pod(R"({"image":"knit.local/role/mt-broker-ingress"})"));
  EXPECT_EQ(phase(), "Running");
  EXPECT_EQ(ready(), "False");
  bootstrap_->probed("u1", "/role", true);
  turn();
  EXPECT_EQ(ready(), "True");
  bootstrap_->probed("u1", "/role", false);
  turn();
  EXPECT_EQ(ready(), "False");
}

TEST_F(AgentTest, InitContainersRunInOrder) {
  Json p = pod("{}", R"({"spec":{"initContainers":[{"name":"i1","image":"hello"},
      {"name":"side","image":"hello","restartPolicy":"Always"},{"name":"i2","image":"hello"}]}})");
  run(std::move(p));
  EXPECT_EQ(phase(), "Pending");
  EXPECT_NE(driver_->by_name("i1"), nullptr);
  EXPECT_EQ(driver_->by_name("side"), nullptr);
  driver_->end("i1", 0);
  turn();
  EXPECT_NE(driver_->by_name("side"), nullptr);
  EXPECT_NE(driver_->by_name("i2"), nullptr);
  EXPECT_EQ(driver_->by_name("c"), nullptr);
  driver_->end("i2", 0);
  turn();
  EXPECT_NE(driver_->by_name("c"), nullptr);
  EXPECT_EQ(phase(), "Running");
  EXPECT_EQ(ready(), "True");
}

TEST_F(AgentTest, MissingImagesBackOffAndComeWhenImported) {
  run(pod(R"({"image":"quay.io/x:1"})"));
  EXPECT_EQ(json::str(container(), {"state", "waiting", "reason"}), "ErrImagePull");
  turn(1s);
  EXPECT_EQ(json::str(container(), {"state", "waiting", "reason"}), "ImagePullBackOff");
  EXPECT_EQ(phase(), "Pending");
  driver_->images["quay.io/x:1"] = driver_->images["hello"];
  turn(10s);
  EXPECT_EQ(phase(), "Running");
}

TEST_F(AgentTest, ObjectsAndTokensBecomeFilesAndEnvironment) {
  run(pod(R"({"env":[{"name":"K","valueFrom":{"configMapKeyRef":{"name":"cm","key":"k"}}}],
              "volumeMounts":[{"name":"t","mountPath":"/t"}]})",
          R"({"spec":{"volumes":[{"name":"t","projected":{"sources":[
              {"serviceAccountToken":{"path":"token"}},{"configMap":{"name":"cm"}}]}}]}})"));
  turn(10s);
  EXPECT_EQ(phase(), "Pending");
  EXPECT_GE(api_.count("FailedMount"), 1U);
  api_.objects[{kube::Resource::of("configmaps"), "default", "cm"}] =
      json::parse(R"({"kind":"ConfigMap","data":{"k":"v"}})").value();
  turn(10s);
  EXPECT_EQ(phase(), "Running");
  const auto& env = driver_->by_name("c")->spec.env;
  EXPECT_NE(std::find(env.begin(), env.end(), "K=v"), env.end());
  std::ifstream token(dir_ + "/run/pods/u1/volumes/t/token");
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(token), {}), "token-1");
  // Changes arrive; the token is renewed at 80 % of its life.
  api_.objects[{kube::Resource::of("configmaps"), "default", "cm"}] =
      json::parse(R"({"kind":"ConfigMap","data":{"k":"w"}})").value();
  turn(60s);
  std::ifstream key(dir_ + "/run/pods/u1/volumes/t/k");
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(key), {}), "w");
  turn(3600s);
  EXPECT_EQ(api_.tokens, 2);
}

TEST_F(AgentTest, OutputBecomesALogFile) {
  run(pod("{}"));
  ASSERT_EQ(::write(driver_->by_name("c")->out.get(), "one\ntwo", 7), 7);
  turn();
  driver_->end("c", 0);
  turn();
  const auto path = agent_->worker("u1")->log_path("c", true);  // it was started again
  ASSERT_TRUE(path.has_value()) << path.error().message();
  std::ifstream in(*path);
  const std::string text(std::istreambuf_iterator<char>(in), {});
  EXPECT_NE(text.find(" stdout F one\n"), std::string::npos);
  EXPECT_NE(text.find(" stdout P two\n"), std::string::npos);
}

// A node that was killed and came back: the pod, its log and its end are not lost.
TEST_F(AgentTest, TakesOverRunningPods) {
  run(pod("{}"));
  ASSERT_EQ(phase(), "Running");
  restart_node();
  EXPECT_EQ(agent_->pods(), 1U);
  EXPECT_EQ(phase(), "Running");
  EXPECT_EQ(ready(), "True");
  EXPECT_EQ(json::i64(container(), {"restartCount"}), 0);
  EXPECT_EQ(driver_->processes.size(), 1U);
  EXPECT_TRUE(driver_->removed.empty());
  ASSERT_EQ(bootstrap_->pods.size(), 1U);
  EXPECT_EQ(bootstrap_->pods[0].ip, "10.128.0.2");
  ASSERT_EQ(::write(driver_->by_name("c")->out.get(), "later\n", 6), 6);
  turn();
  std::ifstream in(*agent_->worker("u1")->log_path("c", false));
  EXPECT_NE(std::string(std::istreambuf_iterator<char>(in), {}).find(" stdout F later\n"),
            std::string::npos);
  driver_->end("c", 5 << 8);
  turn();
  EXPECT_EQ(json::i64(container(), {"lastState", "terminated", "exitCode"}), 5);
  EXPECT_EQ(json::i64(container(), {"restartCount"}), 1);
}

TEST_F(AgentTest, AnEndThatIsToldBeforeTheTakeOverIsNotLost) {
  run(pod("{}", R"({"spec":{"restartPolicy":"Never"}})"));
  const std::string id = driver_->processes.begin()->first;
  const image::Config image = driver_->images["hello"];
  auto kept = std::move(bootstrap_->kept);
  agent_.reset();
  const auto old = std::move(bootstrap_);
  make_agent(image);
  for (auto& [key, fd] : kept) agent_->handler().on_kept(key, std::move(fd));
  driver_->ends(id, 6 << 8);
  turn();
  agent_->start();
  turn();
  EXPECT_EQ(phase(), "Failed");
  EXPECT_EQ(json::i64(container(), {"state", "terminated", "exitCode"}), 6);
}

TEST_F(AgentTest, PodsThatTheApiForgotAreEnded) {
  run(pod("{}"));
  api_.objects.erase(FakeApi::pod_key(live()));
  api_.handlers.deleted("u1");
  turn();
  EXPECT_EQ(agent_->pods(), 0U);
  EXPECT_TRUE(api_.deleted.empty());
  EXPECT_TRUE(driver_->processes.empty());
}

TEST_F(AgentTest, AStartMayPrecedeItsCommitButNotForLong) {
  Json p = pod("{}");
  bootstrap_->connect_server();
  bootstrap_->start("u1", json::print(p));
  turn();
  EXPECT_EQ(bootstrap_->started, std::vector<std::string>{"u1"});
  EXPECT_EQ(driver_->processes.size(), 1U);
  api_.put_pod(p);
  turn(20s);
  EXPECT_EQ(phase(), "Running");
  json::set(p, {"metadata", "uid"}, "u2");
  bootstrap_->start("u2", json::print(p));
  turn();
  EXPECT_EQ(driver_->processes.size(), 2U);
  turn(10s);
  turn();
  EXPECT_EQ(driver_->processes.size(), 1U);
  EXPECT_EQ(agent_->worker("u2"), nullptr);
}

TEST_F(AgentTest, StatusIsPublishedAgainAfterAFailure) {
  api_.fail_patches = 2;
  run(pod("{}"));
  turn(2s);
  EXPECT_EQ(phase(), "Running");
}

TEST_F(AgentTest, DeadlinesFailThePod) {
  run(pod("{}", R"({"spec":{"activeDeadlineSeconds":20}})"));
  turn(19s);
  EXPECT_EQ(phase(), "Running");
  turn(1s);
  turn();
  EXPECT_EQ(phase(), "Failed");
  EXPECT_EQ(json::str(live(), {"status", "reason"}), "DeadlineExceeded");
  EXPECT_TRUE(driver_->processes.empty());
}

TEST_F(AgentTest, UnsupportedPodsSayWhy) {
  run(pod("{}", R"({"spec":{"hostNetwork":true}})"));
  EXPECT_EQ(phase(), "Pending");
  EXPECT_NE(json::str(container(), {"state", "waiting", "message"}).find("spec.hostNetwork"),
            std::string_view::npos);
  api_.start_deletion(FakeApi::pod_key(live()), 30);
  turn();
  EXPECT_FALSE(exists());
}

TEST_F(AgentTest, TheLeaseIsMadeAsSoonAsItsNamespaceIsThere) {
  const kube::Key lease{kube::Resource::of("leases.coordination.k8s.io"), "kube-node-lease",
                        "knit"};
  const image::Config image = driver_->images["hello"];
  agent_.reset();
  const auto old = std::move(bootstrap_);
  api_.objects.clear();
  api_.missing_namespaces.insert("kube-node-lease");
  make_agent(image);
  agent_->start();
  turn();
  EXPECT_FALSE(api_.objects.contains(lease));
  api_.missing_namespaces.clear();
  turn(500ms);
  EXPECT_TRUE(api_.objects.contains(lease)) << "not only after a whole interval";
}

// Source: design.md 4, "their logs are the proxy's access log for that pod".
TEST_F(AgentTest, TheProxyWritesTheLogsOfTheContainersItPlays) {
  Json p = pod("{}");
  p.at("spec")
      .at("containers")
      .as_array()
      .push_back(
          json::parse(R"({"name":"istio-proxy","image":"knit.local/role/istio-proxy"})").value());
  run(p);
  const auto text = [this] {
    const auto path = agent_->worker("u1")->log_path("istio-proxy", false);
    if (!path) return path.error().message();
    std::ifstream in(*path);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  EXPECT_EQ(text(), "") << "there is a log before the first request";
  bootstrap_->logged({"u1", "istio-proxy", "one\ntwo\n", 0});
  turn();
  EXPECT_NE(text().find(" stdout F one\n"), std::string::npos) << text();
  EXPECT_NE(text().find(" stdout F two\n"), std::string::npos);
  bootstrap_->logged({"u1", "istio-proxy", "", 7});
  bootstrap_->logged({"u1", "c", "not the proxy's\n", 0});
  bootstrap_->logged({"u2", "../../x", "nobody's\n", 0});
  turn();
  EXPECT_NE(text().find("knit: 7 lines of this log were lost"), std::string::npos) << text();
  EXPECT_EQ(bootstrap_->log_acks, 4U);
  std::ifstream app(*agent_->worker("u1")->log_path("c", false));
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(app), {}), "");
  // It goes on in the same file after a restart of the node.
  restart_node();
  bootstrap_->logged({"u1", "istio-proxy", "three\n", 0});
  turn();
  EXPECT_NE(text().find(" F one\n"), std::string::npos) << text();
  EXPECT_NE(text().find(" F three\n"), std::string::npos) << text();
}

class DrainTest : public AgentTest {
 protected:
  void run_drained(std::string_view rest = "{}") {
    Json p = pod(R"({"lifecycle":{"preStop":{"httpGet":{"port":8022,"path":"/wait-for-drain"}}}})",
                 rest);
    p.at("spec")
        .at("containers")
        .as_array()
        .push_back(
            json::parse(R"({"name":"queue-proxy","image":"knit.local/role/queue-proxy"})").value());
    run(p);
    driver_->ignore_term = true;
  }
  std::vector<int> signals() { return driver_->by_name("c")->signals; }
};

// Source: spec/serving.md 5.3: the hook answers when no request runs; only then SIGTERM.
TEST_F(DrainTest, TheAppHearsOfItsEndWhenItsRequestsHaveEnded) {
  run_drained();
  api_.start_deletion(FakeApi::pod_key(live()), 30);
  turn();
  EXPECT_EQ(bootstrap_->drains, std::vector<std::string>{"u1"});
  turn(10s);
  EXPECT_TRUE(signals().empty());
  bootstrap_->drained("u1");
  turn(20ms);
  EXPECT_EQ(signals(), std::vector<int>{15});
}

TEST_F(DrainTest, TheGracePeriodBoundsIt) {
  run_drained();
  api_.start_deletion(FakeApi::pod_key(live()), 5);
  turn(4990ms);
  EXPECT_TRUE(signals().empty());
  turn(20ms);
  EXPECT_EQ(signals(), std::vector<int>{15});
  turn(2s);  // at least two more. Source: kuberuntime_container.go
  turn();
  EXPECT_FALSE(exists());
}

TEST_F(DrainTest, AProxyThatDiesHasNothingInFlight) {
  run_drained();
  api_.start_deletion(FakeApi::pod_key(live()), 30);
  turn(1s);
  bootstrap_->connect_proxy();
  turn();
  EXPECT_EQ(bootstrap_->drains.size(), 2U) << "the new one is asked again";
  bootstrap_->drained("u1");
  turn(20ms);
  EXPECT_EQ(signals(), std::vector<int>{15});
}

TEST_F(AgentTest, MemoryVolumesOutliveTheNode) {
  run(pod("{}", R"({"spec":{"volumes":[{"name":"m","emptyDir":{"medium":"Memory"}}]}})"));
  const std::string volumes = dir_ + "/run/pods/u1/volumes";
  EXPECT_TRUE(driver_->mounted.contains(volumes + "/m"));
  ASSERT_TRUE(bootstrap_->kept.contains("pod/u1/memory"));
  restart_node();
  EXPECT_EQ(driver_->mounted, std::set<std::string>{volumes}) << "its mount space was new";
  EXPECT_TRUE(bootstrap_->kept.contains("pod/u1/memory")) << "for the next one";
  api_.start_deletion(FakeApi::pod_key(live()), 1);
  turn(3s);
  EXPECT_FALSE(exists());
  EXPECT_TRUE(driver_->mounted.empty());
  EXPECT_TRUE(bootstrap_->kept.empty());
}

}  // namespace
}  // namespace knit::node
