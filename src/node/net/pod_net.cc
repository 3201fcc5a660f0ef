#include "node/net/pod_net.h"

#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <thread>

#include "node/net/bpf.h"
#include "node/net/netlink.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

namespace knit::node::net {

namespace {

void write_sysctl(const char* path, std::string_view value) {
  const Fd fd(::open(path, O_WRONLY | O_CLOEXEC));
  if (!fd) return;
  const ssize_t ignored = ::write(fd.get(), value.data(), value.size());
  static_cast<void>(ignored);
}

Result<Fd> capture_listener() {
  Fd fd(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return errno_error("make the pod's capture socket (IPv6 is needed)", errno);
  const int zero = 0, one = 1;
  ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  sockaddr_in6 at{};
  at.sin6_family = AF_INET6;
  at.sin6_port = htons(kCapturePort);
  // ::ffff:127.0.0.1: takes captured connections of both families and nothing else.
  at.sin6_addr.s6_addr[10] = at.sin6_addr.s6_addr[11] = 0xff;
  at.sin6_addr.s6_addr[12] = 127;
  at.sin6_addr.s6_addr[15] = 1;
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0 ||
      ::listen(fd.get(), 4096) != 0) {
    return errno_error("listen for captured connections", errno);
  }
  return fd;
}

Result<Fd> dns_socket(const Address& address) {
  Fd fd(::socket(address.v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return errno_error("make the pod's DNS socket", errno);
  sockaddr_storage at{};
  socklen_t size = 0;
  if (address.v6) {
    auto* in6 = reinterpret_cast<sockaddr_in6*>(&at);
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(53);
    std::memcpy(&in6->sin6_addr, address.bytes.data(), 16);
    size = sizeof *in6;
  } else {
    auto* in = reinterpret_cast<sockaddr_in*>(&at);
    in->sin_family = AF_INET;
    in->sin_port = htons(53);
    std::memcpy(&in->sin_addr, address.bytes.data(), 4);
    size = sizeof *in;
  }
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&at), size) != 0) {
    return errno_error("bind the pod's DNS socket", errno);
  }
  return fd;
}

Result<std::uint64_t> cookie_of(int socket) {
  std::uint64_t cookie = 0;
  socklen_t size = sizeof cookie;
  if (::getsockopt(socket, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) != 0) {
    return errno_error("read the cookie of a network namespace", errno);
  }
  return cookie;
}

Result<void> configure(const PodNetSettings& s, PodNet& out) {
  KNIT_TRY(Netlink netlink, Netlink::open());
  KNIT_TRY_VOID(netlink.link_up(kLoopback));
  KNIT_TRY_VOID(netlink.add_address(kLoopback, s.ip));
  Route all4{
      .to = {}, .type = RTN_LOCAL, .table = RT_TABLE_LOCAL, .source = s.ip, .interface = kLoopback};
  KNIT_TRY_VOID(netlink.add_route(all4));
  Route all6{.to = {.base = {.v6 = true, .bytes = {}}, .length = 0},
             .type = RTN_LOCAL,
             .table = RT_TABLE_LOCAL,
             .interface = kLoopback};
  if (s.ip6) {
    KNIT_TRY_VOID(netlink.add_address(kLoopback, *s.ip6));
    all6.source = s.ip6;
  }
  KNIT_TRY_VOID(netlink.add_route(all6));
  // As containerd 2 and CRI-O: a container without privileges may bind low ports and ping.
  write_sysctl("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
  write_sysctl("/proc/sys/net/ipv4/ping_group_range", "0 2147483647");
  KNIT_TRY(out.listener, capture_listener());
  KNIT_TRY(out.dns, dns_socket(s.dns));
  return {};
}

}  // namespace

Result<void> in_netns(int netns, const std::function<Result<void>()>& work) {
  Result<void> result;
  std::thread thread([&] {
    if (::setns(netns, CLONE_NEWNET) != 0) {
      result = errno_error("enter a network namespace", errno);
      return;
    }
    result = work();
  });
  thread.join();
  return result;
}

Result<Fd> new_netns(const std::function<Result<void>()>& work) {
  Result<Fd> result = Fd();
  std::thread thread([&] {
    if (::unshare(CLONE_NEWNET) != 0) {
      result = errno_error("make a network namespace", errno);
      return;
    }
    Fd fd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    if (!fd) {
      result = errno_error("open a network namespace", errno);
      return;
    }
    if (auto r = work(); !r) {
      result = std::move(r).error();
      return;
    }
    result = std::move(fd);
  });
  thread.join();
  return result;
}

Result<PodNet> create_pod_net(const PodNetSettings& settings) {
  PodNet out;
  KNIT_TRY(out.netns, new_netns([&] { return configure(settings, out); }));
  KNIT_TRY(out.cookie, cookie_of(out.listener.get()));
  std::vector<Address> own{settings.ip};
  if (settings.ip6) own.push_back(*settings.ip6);
  KNIT_TRY(const Fd map, sockmap_with(out.listener.get()));
  KNIT_TRY(const Fd program, load_pod_capture(map.get(), own));
  KNIT_TRY(out.link, attach_to_netns(program.get(), out.netns.get()));
  return out;
}

Result<PodNet> adopt_pod_net(Fd netns, Fd listener, Fd dns, Fd link) {
  PodNet out{std::move(netns), std::move(listener), std::move(dns), std::move(link), 0};
  if (!out.netns || !out.listener || !out.dns || !out.link) {
    return Error(Code::InvalidArgument, "the kept descriptors of a pod's network are incomplete");
  }
  KNIT_TRY(out.cookie, cookie_of(out.listener.get()));
  return out;
}

Result<std::vector<Fd>> stock_sockets(int netns, std::size_t count, bool v6) {
  std::vector<Fd> out;
  KNIT_TRY_VOID(in_netns(netns, [&]() -> Result<void> {
    while (out.size() < count) {
      Fd fd(::socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      if (!fd) return errno_error("make a socket inside a pod", errno);
      out.push_back(std::move(fd));
    }
    return {};
  }));
  return out;
}

}  // namespace knit::node::net
