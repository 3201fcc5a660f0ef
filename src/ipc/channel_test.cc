#include "ipc/channel.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "io/sim_loop.h"
#include "ipc/frame.h"

namespace knit::ipc {
namespace {

/// The same behaviour over a socket and in memory: the twin is only useful if it is one.
class ChannelTest : public testing::TestWithParam<bool> {
 protected:
  struct End {
    std::unique_ptr<Channel> channel;
    std::vector<Received> got;
    int closed = 0;
  };
  Channel::Handler handler(End& e) {
    return {.on_message = [&e](Received r) { e.got.push_back(std::move(r)); },
            .on_closed = [&e] { ++e.closed; }};
  }
  void SetUp() override {
    if (GetParam()) {
      auto pair = Link::pair();
      ASSERT_TRUE(pair);
      a.channel = Channel::create(loop, std::move(pair->first), handler(a));
      b.channel = Channel::create(loop, std::move(pair->second), handler(b));
    } else {
      std::tie(a.channel, b.channel) = memory_channels(loop, handler(a), handler(b));
    }
  }
  void turn() {
    for (int i = 0; i < 20; ++i) {
      loop.settle();
      loop.poll_fds();
    }
  }
  io::SimLoop loop;
  End a, b;
};

TEST_P(ChannelTest, CarriesMessagesInOrderWithDescriptors) {
  Fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  struct stat want{};
  ASSERT_EQ(fstat(null.get(), &want), 0);
  std::vector<Fd> fds;
  fds.push_back(std::move(null));
  a.channel->send(Put{"node/x"}, std::move(fds));
  a.channel->send(Drop{"node/y"});
  turn();
  ASSERT_EQ(b.got.size(), 2u);
  EXPECT_EQ(b.got[0].as<Put>()->key, "node/x");
  ASSERT_EQ(b.got[0].fds.size(), 1u);
  struct stat have{};
  ASSERT_EQ(fstat(b.got[0].fds[0].get(), &have), 0);
  EXPECT_EQ(have.st_rdev, want.st_rdev);
  EXPECT_EQ(b.got[1].type, MessageType::Drop);
  EXPECT_LT(b.got[0].sequence, b.got[1].sequence);
}

TEST_P(ChannelTest, CarriesLargeBodies) {
  const std::string text(3 << 20, 'j');
  EXPECT_NE(a.channel->send(Start{"uid", text}), 0u);
  turn();
  ASSERT_EQ(b.got.size(), 1u);
  EXPECT_TRUE(b.got[0].fds.empty());
  EXPECT_EQ(b.got[0].as<Start>()->pod_json, text);
}

TEST_P(ChannelTest, AcknowledgesAndReportsErrors) {
  std::vector<std::string> answers;
  const auto note = [&answers](std::string e) { answers.push_back(std::move(e)); };
  a.channel->when_acked(a.channel->send(Put{"one"}), note);
  a.channel->when_acked(a.channel->send(Put{"two"}), note);
  a.channel->when_acked(a.channel->send(Put{"three"}), note);
  turn();
  ASSERT_EQ(b.got.size(), 3u);
  b.channel->ack(b.got[1], "no such prefix");
  b.channel->ack(b.got[0]);
  b.channel->ack(b.got[0]);  // twice does no harm
  turn();
  EXPECT_EQ(answers, (std::vector<std::string>{"no such prefix", ""}));
  EXPECT_TRUE(a.got.empty());
  b.channel.reset();
  turn();
  EXPECT_EQ(answers.size(), 3u);
  EXPECT_EQ(answers.back(), "closed");
  EXPECT_EQ(a.closed, 1);
  EXPECT_TRUE(a.channel->closed());
  EXPECT_EQ(a.channel->send(Ready{}), 0u);
}

TEST_P(ChannelTest, TheNewestStateWinsWhileQueued) {
  // Fill the socket first so that frames wait in the queue.
  for (int i = 0; i < 6; ++i) a.channel->send(Ready{std::string(60'000, 'x')});
  for (std::uint32_t i = 1; i <= 1'000; ++i) {
    a.channel->send_state("pod", Want{"pod", i});
    a.channel->send_state("other", Want{"other", i});
  }
  turn();
  EXPECT_FALSE(a.channel->closed());
  std::map<std::string, std::uint32_t> last;
  std::size_t count = 0;
  for (const auto& r : b.got) {
    if (r.type != MessageType::Want) continue;
    ++count;
    last[r.as<Want>()->uid] = r.as<Want>()->level;
  }
  EXPECT_EQ(last, (std::map<std::string, std::uint32_t>{{"pod", 1'000}, {"other", 1'000}}));
  EXPECT_LT(count, 100u);
}

TEST_P(ChannelTest, ClosesWhenAPeerReadsNothing) {
  std::string answer;
  a.channel->when_acked(a.channel->send(Put{"k"}), [&](std::string e) { answer = std::move(e); });
  for (int i = 0; i < 40; ++i) a.channel->send(Ready{std::string(60'000, 'x')});
  EXPECT_TRUE(a.channel->closed());
  EXPECT_EQ(a.closed, 0) << "on_closed never runs inside a call";
  turn();
  EXPECT_EQ(a.closed, 1);
  EXPECT_EQ(b.closed, 1);
  EXPECT_EQ(answer, "closed");
}

TEST_P(ChannelTest, AHandlerMayDestroyTheChannel) {
  End c;
  std::unique_ptr<Channel> other;
  Channel::Handler h{.on_message =
                         [&](Received r) {
                           c.got.push_back(std::move(r));
                           c.channel.reset();
                         },
                     .on_closed = [&] { ++c.closed; }};
  if (GetParam()) {
    auto pair = Link::pair();
    c.channel = Channel::create(loop, std::move(pair->first), std::move(h));
    other = Channel::create(loop, std::move(pair->second), {});
  } else {
    std::tie(c.channel, other) = memory_channels(loop, std::move(h), {});
  }
  other->send(Ready{"1"});
  other->send(Ready{"2"});
  turn();
  EXPECT_EQ(c.got.size(), 1u);
  EXPECT_EQ(c.closed, 0);
  EXPECT_TRUE(other->closed());
}

INSTANTIATE_TEST_SUITE_P(Both, ChannelTest, testing::Bool(),
                         [](const auto& p) { return p.param ? "Socket" : "Memory"; });

TEST(Channel, AnUnusableDescriptorEndsAtOnce) {
  io::SimLoop loop;
  int closed = 0;
  auto channel = Channel::create(loop, Fd(), {.on_message = {}, .on_closed = [&] { ++closed; }});
  EXPECT_TRUE(channel->closed());
  loop.settle();
  EXPECT_EQ(closed, 1);
}

}  // namespace
}  // namespace knit::ipc
