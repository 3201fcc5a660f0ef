#include "ipc/frame.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <cstring>

namespace knit::ipc {
namespace {

std::string packet(std::uint16_t type, std::uint16_t version, std::uint32_t length,
                   std::string body) {
  return encode_header({type, version, length, 7}) + body;
}

TEST(Frame, HeaderTable) {
  const struct {
    const char* name;
    std::string packet;
    std::size_t fds;
    bool ok;
  } rows[] = {
      {"empty", "", 0, false},
      {"short", std::string(15, '\0'), 0, false},
      {"no body", packet(1, 1, 0, ""), 0, true},
      {"body", packet(1, 1, 3, "abc"), 250, true},
      {"251 descriptors", packet(1, 1, 3, "abc"), 251, false},
      {"length too long", packet(1, 1, 4, "abc"), 0, false},
      {"length too short", packet(1, 1, 2, "abc"), 0, false},
      {"version 0", packet(1, 0, 0, ""), 0, false},
      {"later version", packet(1, 2, 0, ""), 0, true},
      {"memfd", packet(1, 0x8001, 70'000, ""), 251, true},
      {"memfd without descriptor", packet(1, 0x8001, 70'000, ""), 0, false},
      {"memfd and inline", packet(1, 0x8001, 3, "abc"), 1, false},
      {"memfd too large", packet(1, 0x8001, (64u << 20) + 1, ""), 1, false},
      {"largest inline", packet(1, 1, 65'536, std::string(65'536, 'x')), 0, true},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    EXPECT_EQ(decode_header(row.packet, row.fds).has_value(), row.ok);
  }
  const auto h = decode_header(packet(0x1234, 1, 3, "abc"), 0);
  ASSERT_TRUE(h);
  EXPECT_EQ(h->type, 0x1234);
  EXPECT_EQ(h->length, 3u);
  EXPECT_EQ(h->sequence, 7u);
}

TEST(Frame, EveryMessageTypeHasAName) {
  for (std::uint16_t t = 1; t <= 42; ++t) {
    EXPECT_FALSE(to_string(static_cast<MessageType>(t)).empty()) << t;
  }
  EXPECT_TRUE(to_string(static_cast<MessageType>(999)).empty());
}

TEST(Outbox, StateReplacesItsPredecessorOnly) {
  Outbox out;
  EXPECT_NE(out.push(MessageType::Want, "a1", {}, "a"), 0u);
  EXPECT_NE(out.push(MessageType::Want, "b1", {}, "b"), 0u);
  EXPECT_NE(out.push(MessageType::Demand, "a1", {}, "a"), 0u);
  EXPECT_NE(out.push(MessageType::Want, "a2", {}, "a"), 0u);
  std::vector<std::string> got;
  for (; !out.empty(); out.pop()) got.push_back(out.front().body);
  EXPECT_EQ(got, (std::vector<std::string>{"b1", "a1", "a2"}));
  EXPECT_EQ(out.bytes(), 0u);
}

TEST(Outbox, RefusesPastOneMebibyte) {
  Outbox out;
  int accepted = 0;
  while (out.push(MessageType::Put, std::string(60'000, 'x'), {}) != 0) ++accepted;
  EXPECT_EQ(accepted, 17);  // 17 * 60,016 < 1 MiB < 18 * 60,016
  EXPECT_EQ(Outbox().push(MessageType::Put, {}, std::vector<Fd>(251)), 0u);
}

struct LinkTest : testing::Test {
  void SetUp() override {
    auto pair = Link::pair();
    ASSERT_TRUE(pair);
    raw = std::move(pair->first);
    link.emplace(std::move(*Link::adopt(std::move(pair->second))));
  }
  /// Sends bytes and descriptors as a hostile peer could.
  void send(std::string bytes, const std::vector<int>& fds = {}) {
    iovec part{bytes.data(), bytes.size()};
    msghdr m{};
    m.msg_iov = &part;
    m.msg_iovlen = 1;
    std::vector<char> control(CMSG_SPACE(fds.size() * sizeof(int)) + 8);
    if (!fds.empty()) {
      m.msg_control = control.data();
      m.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
      cmsghdr* c = CMSG_FIRSTHDR(&m);
      c->cmsg_level = SOL_SOCKET;
      c->cmsg_type = SCM_RIGHTS;
      c->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
      std::memcpy(CMSG_DATA(c), fds.data(), fds.size() * sizeof(int));
    }
    ASSERT_GE(sendmsg(raw.get(), &m, 0), 0) << std::strerror(errno);
  }
  Fd raw;
  std::optional<Link> link;
};

TEST_F(LinkTest, ClosesOnHostileFrames) {
  const Fd unsealed(memfd_create("x", MFD_ALLOW_SEALING));
  ASSERT_EQ(ftruncate(unsealed.get(), 70'000), 0);
  const auto sealed = sealed_memfd("y", std::string(70'000, 'y'));
  const struct {
    const char* name;
    std::string bytes;
    std::vector<int> fds;
    const char* why;
  } rows[] = {
      {"garbage", "hello", {}, "shorter than its header"},
      {"longer than a frame", std::string(70'000, 'x'), {}, "truncated"},
      {"unsealed memfd", packet(5, 0x8001, 70'000, ""), {unsealed.get()}, "no sealed memfd"},
      {"no memfd at all", packet(5, 0x8001, 1, ""), {raw.get()}, "no sealed memfd"},
      {"wrong length", packet(5, 0x8001, 69'999, ""), {sealed->get()}, "not the frame's length"},
      {"251 descriptors", packet(5, 1, 0, ""), std::vector<int>(251, raw.get()),
       "too many descriptors"},
      {"empty packet", "", {}, "closed"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    SetUp();
    std::vector<int> fds = row.fds;
    for (int& fd : fds) {
      if (fcntl(fd, F_GETFD) < 0) fd = raw.get();
    }
    send(row.bytes, fds);
    EXPECT_FALSE(link->receive());
    EXPECT_TRUE(link->broken());
    EXPECT_NE(link->why().find(row.why), std::string::npos) << link->why();
  }
}

TEST_F(LinkTest, SkipsAndCountsUnknownTypes) {
  send(packet(4'000, 1, 1, "x"), {raw.get()});
  send(packet(5, 1, 1, "y"));
  const auto frame = link->receive();
  ASSERT_TRUE(frame);
  EXPECT_EQ(frame->body, "y");
  EXPECT_EQ(link->skipped(), 1u);
}

TEST_F(LinkTest, ReadsWhatAPeerSentBeforeItEnded) {
  send(packet(5, 1, 1, "y"));
  EXPECT_NE(link->send(Ready{"unread"}), 0u);
  raw.reset();
  EXPECT_NE(link->send(Ready{"to nobody"}), 0u);
  const auto frame = link->receive();
  ASSERT_TRUE(frame);
  EXPECT_EQ(frame->body, "y");
  EXPECT_FALSE(link->receive());
  EXPECT_TRUE(link->broken());
}

TEST(Link, RefusesOtherDescriptors) {
  int fds[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
  EXPECT_FALSE(Link::adopt(Fd(fds[0])));
  EXPECT_FALSE(Link::adopt(Fd(fds[1])));
  EXPECT_FALSE(Link::adopt(Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC))));
  EXPECT_FALSE(Link::adopt(Fd()));
}

}  // namespace
}  // namespace knit::ipc
