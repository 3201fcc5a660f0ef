#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "node/net/bpf.h"
#include "node/net/host_net.h"
#include "node/net/netlink.h"
#include "node/net/pod_net.h"

namespace knit::node::net {
namespace {

Address addr(std::string_view text) { return parse_address(text).value(); }
Prefix range(std::string_view text) { return parse_prefix(text).value(); }

sockaddr_in6 mapped(std::string_view text, std::uint16_t port) {
  const Address a = addr(text);
  sockaddr_in6 out{};
  out.sin6_family = AF_INET6;
  out.sin6_port = htons(port);
  if (a.v6) {
    std::memcpy(&out.sin6_addr, a.bytes.data(), 16);
  } else {
    out.sin6_addr.s6_addr[10] = out.sin6_addr.s6_addr[11] = 0xff;
    std::memcpy(out.sin6_addr.s6_addr + 12, a.bytes.data(), 4);
  }
  return out;
}
std::string text_of(const sockaddr_in6& a) {
  Address out;
  if (IN6_IS_ADDR_V4MAPPED(&a.sin6_addr)) {
    std::memcpy(out.bytes.data(), a.sin6_addr.s6_addr + 12, 4);
  } else {
    out.v6 = true;
    std::memcpy(out.bytes.data(), a.sin6_addr.s6_addr, 16);
  }
  return to_string(out) + " " + std::to_string(ntohs(a.sin6_port));
}

/// Connects in the calling thread's namespace, at most 2 s; 0 or an errno.
int try_connect(int fd, const sockaddr_in6& to) {
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0) return 0;
  if (errno != EINPROGRESS) return errno;
  pollfd p{fd, POLLOUT, 0};
  if (::poll(&p, 1, 2000) != 1) return ETIMEDOUT;
  int error = 0;
  socklen_t size = sizeof error;
  ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
  return error;
}
Fd tcp6() { return Fd(::socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)); }

/// Accepts at most 2 s later.
Fd accept_one(int listener) {
  pollfd p{listener, POLLIN, 0};
  if (::poll(&p, 1, 2000) != 1) return Fd();
  return Fd(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
}

#define NEEDS_NET(expr)                                                             \
  auto made = (expr);                                                               \
  if (!made && (::geteuid() != 0 || made.error().code() == Code::PermissionDenied)) \
    GTEST_SKIP() << "not permitted here: " << made.error().message();               \
  ASSERT_TRUE(made.has_value()) << made.error().message()

TEST(Address, PrefixTable) {
  const struct {
    const char* prefix;
    const char* address;
    bool inside;
  } rows[] = {{"10.128.0.0/20", "10.128.15.255", true},
              {"10.128.0.0/20", "10.128.16.0", false},
              {"172.30.0.0/16", "172.30.0.10", true},
              {"fd00::/64", "fd00::1", true},
              {"fd00::/64", "fd00:0:0:1::1", false},
              {"0.0.0.0/0", "1.2.3.4", true},
              {"0.0.0.0/0", "::1", false},
              {"10.0.0.1/32", "10.0.0.1", true}};
  for (const auto& row : rows) {
    SCOPED_TRACE(std::string(row.prefix) + " " + row.address);
    EXPECT_EQ(range(row.prefix).contains(addr(row.address)), row.inside);
    EXPECT_EQ(to_string(range(row.prefix)), row.prefix);
  }
  for (const char* bad :
       {"10.0.0.1/8", "10.0.0.0", "10.0.0.0/33", "x/8", "10.0.0.0/", "10.0.0.0/8x"}) {
    EXPECT_FALSE(parse_prefix(bad).has_value()) << bad;
  }
}

// spec/runtime.md 13.2.1
TEST(PodNet, CapturesEveryConnectionWithItsDestination) {
  NEEDS_NET(create_pod_net(
      {.ip = addr("10.128.0.7"), .ip6 = addr("fd00:10:128::7"), .dns = addr("172.30.0.10")}));
  const PodNet& net = *made;
  const struct {
    const char* to;
    std::uint16_t port;
  } rows[] = {{"172.30.1.2", 443},   {"8.8.8.8", 80}, {"10.9.8.7", 1},
              {"192.0.2.55", 65535}, {"fd00::1", 80}, {"2001:db8::5", 8443}};
  for (const auto& row : rows) {
    SCOPED_TRACE(row.to);
    const auto to = mapped(row.to, row.port);
    Fd client;
    int error = -1;
    ASSERT_TRUE(in_netns(net.netns.get(), [&]() -> Result<void> {
      client = tcp6();
      error = try_connect(client.get(), to);
      return {};
    }));
    ASSERT_EQ(error, 0) << std::strerror(error);
    const Fd accepted = accept_one(net.listener.get());
    ASSERT_TRUE(accepted);
    sockaddr_in6 local{}, peer{};
    socklen_t size = sizeof local;
    ::getsockname(accepted.get(), reinterpret_cast<sockaddr*>(&local), &size);
    EXPECT_EQ(text_of(local), text_of(to));  // the original destination
    size = sizeof peer;
    ::getpeername(accepted.get(), reinterpret_cast<sockaddr*>(&peer), &size);
    peer.sin6_port = 0;
    EXPECT_EQ(text_of(peer), addr(row.to).v6 ? "fd00:10:128::7 0" : "10.128.0.7 0");
  }
}

TEST(PodNet, LeavesLoopbackAndItsOwnAddressAlone) {
  NEEDS_NET(create_pod_net(
      {.ip = addr("10.128.0.7"), .ip6 = addr("fd00:10:128::7"), .dns = addr("172.30.0.10")}));
  for (const char* to : {"127.0.0.1", "127.9.9.9", "10.128.0.7", "fd00:10:128::7", "::1"}) {
    SCOPED_TRACE(to);
    int error = 0;
    const auto target = mapped(to, 81);
    ASSERT_TRUE(in_netns(made->netns.get(), [&]() -> Result<void> {
      const Fd client = tcp6();
      error = try_connect(client.get(), target);
      return {};
    }));
    EXPECT_EQ(error, ECONNREFUSED);
  }
}

TEST(PodNet, StockSocketsReachAnAppFromOutside) {
  NEEDS_NET(create_pod_net({.ip = addr("10.128.0.7"), .ip6 = {}, .dns = addr("172.30.0.10")}));
  Fd app;
  ASSERT_TRUE(in_netns(made->netns.get(), [&]() -> Result<void> {
    app = tcp6();
    const auto at = mapped("10.128.0.7", 8080);
    if (::bind(app.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0 ||
        ::listen(app.get(), 16) != 0) {
      return errno_error("listen", errno);
    }
    return {};
  }));
  auto sockets = stock_sockets(made->netns.get(), 4, false);
  ASSERT_TRUE(sockets.has_value());
  ASSERT_EQ(sockets->size(), 4U);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(8080);
  std::memcpy(&to.sin_addr, addr("10.128.0.7").bytes.data(), 4);
  for (int round = 0; round < 3; ++round) {  // one descriptor, used again and again
    const int fd = (*sockets)[0].get();
    const int r = ::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to);
    ASSERT_TRUE(r == 0 || errno == EINPROGRESS);
    ASSERT_TRUE(accept_one(app.get()));
    sockaddr nowhere{};
    nowhere.sa_family = AF_UNSPEC;
    EXPECT_EQ(::connect(fd, &nowhere, sizeof nowhere), 0);
  }
}

TEST(PodNet, DnsAnswersFromTheClusterAddress) {
  NEEDS_NET(create_pod_net({.ip = addr("10.128.0.7"), .ip6 = {}, .dns = addr("172.30.0.10")}));
  Fd client;
  ASSERT_TRUE(in_netns(made->netns.get(), [&]() -> Result<void> {
    client = Fd(::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const auto to = mapped("172.30.0.10", 53);
    if (::connect(client.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0 ||
        ::send(client.get(), "ask", 3, 0) != 3) {
      return errno_error("send", errno);
    }
    return {};
  }));
  pollfd p{made->dns.get(), POLLIN, 0};
  ASSERT_EQ(::poll(&p, 1, 2000), 1);
  char text[16];
  sockaddr_in from{};
  socklen_t size = sizeof from;
  ASSERT_EQ(
      ::recvfrom(made->dns.get(), text, sizeof text, 0, reinterpret_cast<sockaddr*>(&from), &size),
      3);
  ASSERT_EQ(::sendto(made->dns.get(), "say", 3, 0, reinterpret_cast<sockaddr*>(&from), size), 3);
  p = {client.get(), POLLIN, 0};
  ASSERT_EQ(::poll(&p, 1, 2000), 1);
  EXPECT_EQ(::recv(client.get(), text, sizeof text, 0), 3);
}

TEST(PodNet, AdoptsKeptDescriptors) {
  NEEDS_NET(create_pod_net({.ip = addr("10.128.0.7"), .ip6 = {}, .dns = addr("172.30.0.10")}));
  const std::uint64_t cookie = made->cookie;
  auto again = adopt_pod_net(std::move(made->netns), std::move(made->listener),
                             std::move(made->dns), std::move(made->link));
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(again->cookie, cookie);
  EXPECT_FALSE(adopt_pod_net(Fd(), Fd(), Fd(), Fd()).has_value());
}

// spec/runtime.md 12.4 and 13.2.3, in a namespace of our own.
TEST(HostNet, HostReachesRangesAndCleansUp) {
  Result<HostNet> host = HostNet();
  HostNetSettings settings{
      .ranges = {range("10.128.0.0/20"), range("172.30.0.0/16"), range("fd00:10:30::/112")},
      .host_ip = addr("192.0.2.1")};
  NEEDS_NET(new_netns([&]() -> Result<void> {
    KNIT_TRY(Netlink netlink, Netlink::open());
    KNIT_TRY_VOID(netlink.link_up(kLoopback));
    KNIT_TRY_VOID(netlink.add_address(kLoopback, settings.host_ip));
    host = create_host_net(settings);
    return host ? Result<void>() : Result<void>(host.error());
  }));
  const int netns = made->get();
  for (const char* to : {"172.30.1.2", "10.128.15.1", "fd00:10:30::5"}) {
    SCOPED_TRACE(to);
    const auto target = mapped(to, 443);
    Fd client;
    int error = -1;
    ASSERT_TRUE(in_netns(netns, [&]() -> Result<void> {
      client = tcp6();
      error = try_connect(client.get(), target);
      return {};
    }));
    ASSERT_EQ(error, 0) << std::strerror(error);
    const Fd accepted = accept_one(host->listener.get());
    ASSERT_TRUE(accepted);
    sockaddr_in6 local{}, peer{};
    socklen_t size = sizeof local;
    ::getsockname(accepted.get(), reinterpret_cast<sockaddr*>(&local), &size);
    EXPECT_EQ(text_of(local), text_of(target));
    size = sizeof peer;
    ::getpeername(accepted.get(), reinterpret_cast<sockaddr*>(&peer), &size);
    peer.sin6_port = 0;
    if (!addr(to).v6) {
      EXPECT_EQ(text_of(peer), "192.0.2.1 0");
    }
  }
  // Routes given up: unreachable at once, nothing leaves the machine.
  int error = 0;
  ASSERT_TRUE(in_netns(netns, [&]() -> Result<void> {
    KNIT_TRY_VOID(drop_host_routes(settings));
    const Fd client = tcp6();
    error = try_connect(client.get(), mapped("172.30.1.2", 443));
    return {};
  }));
  EXPECT_EQ(error, EHOSTUNREACH);
  std::size_t left = 99;
  ASSERT_TRUE(in_netns(netns, [&]() -> Result<void> {
    KNIT_TRY_VOID(cleanup_host_net(settings));
    KNIT_TRY_VOID(cleanup_host_net(settings));  // twice is fine
    KNIT_TRY(Netlink netlink, Netlink::open());
    left = 0;
    for (const bool v6 : {false, true}) {
      KNIT_TRY(const auto routes, netlink.routes(v6));
      for (const Route& r : routes) left += r.table == kHostTable ? 1 : 0;
      KNIT_TRY(const auto rules, netlink.rules(v6));
      for (const Rule& r : rules) left += r.priority == kHostRulePriority ? 1 : 0;
    }
    return {};
  }));
  EXPECT_EQ(left, 0U);
}

TEST(HostNet, RefusesRangesThatAreInUse) {
  const HostNetSettings settings{.ranges = {range("172.30.0.0/16")}, .host_ip = addr("192.0.2.1")};
  Result<void> got;
  NEEDS_NET(new_netns([&]() -> Result<void> {
    KNIT_TRY(Netlink netlink, Netlink::open());
    KNIT_TRY_VOID(netlink.link_up(kLoopback));
    KNIT_TRY_VOID(netlink.add_address(kLoopback, addr("172.30.5.5")));
    auto r = create_host_net(settings);
    got = r ? Result<void>() : Result<void>(r.error());
    return {};
  }));
  ASSERT_FALSE(got.has_value());
  EXPECT_EQ(got.error().code(), Code::AlreadyExists);
  EXPECT_NE(got.error().message().find("172.30.5.5/32"), std::string::npos);
}

}  // namespace
}  // namespace knit::node::net
