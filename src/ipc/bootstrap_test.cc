#include <fcntl.h>
#include <gtest/gtest.h>

#include "io/sim_loop.h"
#include "ipc/channel.h"
#include "ipc/frame.h"

namespace knit::ipc {
namespace {
using namespace std::chrono_literals;

/// The test plays the supervisor on the other end of the socket.
struct BootstrapTest : testing::Test {
  void SetUp() override {
    auto pair = Link::pair();
    ASSERT_TRUE(pair);
    up = Channel::create(
        loop, std::move(pair->first),
        {.on_message = [this](Received r) { got.push_back(std::move(r)); }, .on_closed = {}});
    auto made = Bootstrap::create(
        loop, std::move(pair->second), Process::Node,
        {.on_kept = [this](std::string key, Fd fd) { kept[key] = std::move(fd); },
         .on_kept_end = [this] { ++kept_ends; },
         .on_peer = [this](Process p, std::uint64_t g) { peers.emplace_back(p, g); },
         .on_message = [this](Process p, Received r) { messages.emplace_back(p, r.type); },
         .on_stop = [this](Duration d) { stop = d; },
         .on_orphaned = [this] { ++orphaned; },
         .exit_process = [this](int status) { exited = status; }});
    ASSERT_TRUE(made);
    boot = std::move(*made);
    turn();
  }
  void turn() {
    for (int i = 0; i < 10; ++i) {
      loop.settle();
      loop.poll_fds();
    }
  }
  std::unique_ptr<Channel> give_peer(Process p, std::uint64_t generation) {
    auto pair = Link::pair();
    std::vector<Fd> fds;
    fds.push_back(std::move(pair->first));
    up->send(Peer{p, generation}, std::move(fds));
    return Channel::create(
        loop, std::move(pair->second),
        {.on_message = [this](Received r) { from_node.push_back(r.type); }, .on_closed = {}});
  }
  io::SimLoop loop;
  std::unique_ptr<Channel> up;
  std::vector<Received> got;
  std::unique_ptr<Bootstrap> boot;
  std::map<std::string, Fd> kept;
  std::vector<std::pair<Process, std::uint64_t>> peers;
  std::vector<std::pair<Process, MessageType>> messages;
  std::vector<MessageType> from_node;
  Duration stop{};
  int kept_ends = 0, orphaned = 0, exited = 0;
};

TEST_F(BootstrapTest, SaysHelloFirst) {
  ASSERT_EQ(got.size(), 1u);
  const auto hello = got[0].as<Hello>();
  ASSERT_TRUE(hello);
  EXPECT_EQ(hello->process, Process::Node);
  EXPECT_EQ(hello->pid, ::getpid());
}

TEST_F(BootstrapTest, HandsOutKeptDescriptorsPeersAndStop) {
  std::vector<Fd> fds;
  fds.emplace_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  fds.emplace_back(::open("/dev/zero", O_RDONLY | O_CLOEXEC));
  up->send(Kept{{"node/a", "pod/u/netns"}}, std::move(fds));
  up->send(KeptEnd{});
  auto server = give_peer(Process::Server, 1);
  turn();
  EXPECT_EQ(kept.size(), 2u);
  EXPECT_TRUE(kept["node/a"]);
  EXPECT_EQ(kept_ends, 1);
  ASSERT_EQ(peers.size(), 1u);
  ASSERT_NE(boot->peer(Process::Server), nullptr);
  EXPECT_EQ(boot->peer(Process::Proxy), nullptr);
  server->send(Start{"u", "{}"});
  up->send(Exit{"c", 0, {}});
  up->send(Stop{3s});
  boot->peer(Process::Server)->send(Started{"u"});
  turn();
  EXPECT_EQ(messages,
            (std::vector<std::pair<Process, MessageType>>{{Process::Supervisor, MessageType::Exit},
                                                          {Process::Server, MessageType::Start}}));
  EXPECT_EQ(from_node, std::vector<MessageType>{MessageType::Started});
  EXPECT_EQ(stop, 3s);
}

TEST_F(BootstrapTest, IgnoresKeptDescriptorsThatDoNotMatchTheirKeys) {
  up->send(Kept{{"node/a"}});
  turn();
  EXPECT_TRUE(kept.empty());
}

TEST_F(BootstrapTest, AsksForANewChannelWhenOnlyTheChannelBroke) {
  auto server = give_peer(Process::Server, 4);
  turn();
  server.reset();
  turn();
  EXPECT_EQ(boot->peer(Process::Server), nullptr);
  loop.advance(10ms);
  turn();
  ASSERT_EQ(got.size(), 2u);
  EXPECT_EQ(got[1].as<Peer>()->process, Process::Server);
  EXPECT_EQ(got[1].as<Peer>()->generation, 4u);
  auto again = give_peer(Process::Server, 5);
  turn();
  EXPECT_EQ(peers.back().second, 5u);
  EXPECT_NE(boot->peer(Process::Server), nullptr);
}

TEST_F(BootstrapTest, LeavesTenSecondsAfterTheSupervisor) {
  up.reset();
  turn();
  EXPECT_EQ(orphaned, 1);
  EXPECT_EQ(stop, 0s) << "no Stop: pods stay";
  loop.advance(10s - 1ns);
  EXPECT_EQ(exited, 0);
  loop.advance(1ns);
  EXPECT_EQ(exited, 75);
}

TEST(Bootstrap, RefusesWhatIsNoChannel) {
  io::SimLoop loop;
  EXPECT_FALSE(
      Bootstrap::create(loop, Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC)), Process::Proxy, {}));
}

}  // namespace
}  // namespace knit::ipc
