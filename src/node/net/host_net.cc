#include "node/net/host_net.h"

#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>

#include "node/net/bpf.h"
#include "node/net/netlink.h"

namespace knit::node::net {

namespace {

Rule rule_of(bool v6) {
  return {.v6 = v6, .priority = kHostRulePriority, .in_interface = "lo", .table = kHostTable};
}

Route local_route(const HostNetSettings& s, const Prefix& range) {
  Route r{.to = range, .type = RTN_LOCAL, .table = kHostTable, .interface = kLoopback};
  if (range.base.v6 == s.host_ip.v6) r.source = s.host_ip;
  return r;
}
Route unreachable_route(const Prefix& range) {
  return {.to = range, .type = RTN_UNREACHABLE, .table = kHostTable, .metric = kUnreachableMetric};
}

std::vector<bool> families(const HostNetSettings& s) {
  std::vector<bool> out;
  for (const bool v6 : {false, true}) {
    for (const Prefix& p : s.ranges) {
      if (p.base.v6 == v6) {
        out.push_back(v6);
        break;
      }
    }
  }
  return out;
}

/// Nobody else may use the ranges, the table or the rule's priority.
Result<void> check_free(Netlink& netlink, const HostNetSettings& s) {
  for (const bool v6 : families(s)) {
    KNIT_TRY(const auto routes, netlink.routes(v6));
    for (const Route& r : routes) {
      const bool ours = r.table == kHostTable;
      bool known = false;
      for (const Prefix& range : s.ranges) {
        known = known || r.to == range;
        if (!ours && r.to.length >= range.length && range.contains(r.to.base)) {
          return Error(Code::AlreadyExists,
                       "the route " + to_string(r.to) + " of table " + std::to_string(r.table) +
                           " lies in Knit's range " + to_string(range) +
                           "; another cluster, VPN or container network uses it: remove it or "
                           "choose other ranges");
        }
      }
      if (ours && !known) {
        return Error(Code::AlreadyExists, "routing table " + std::to_string(kHostTable) +
                                              " is in use: it has a route to " + to_string(r.to));
      }
    }
    KNIT_TRY(const auto rules, netlink.rules(v6));
    for (const Rule& r : rules) {
      if (r.priority == kHostRulePriority && r != rule_of(v6)) {
        return Error(Code::AlreadyExists, "a routing rule with priority " +
                                              std::to_string(kHostRulePriority) +
                                              " exists already (`ip rule`)");
      }
    }
  }
  return {};
}

Result<Fd> host_listener() {
  Fd fd(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return errno_error("make the host's capture socket", errno);
  const int zero = 0, one = 1;
  ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
  // Accepted sockets answer from addresses that are "not local" for the kernel.
  if (::setsockopt(fd.get(), IPPROTO_IP, IP_TRANSPARENT, &one, sizeof one) != 0 ||
      ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_TRANSPARENT, &one, sizeof one) != 0) {
    return errno_error("set IP_TRANSPARENT", errno);
  }
  sockaddr_in6 at{};  // a free port of ::ffff:127.0.0.1: reached through the program only
  at.sin6_family = AF_INET6;
  at.sin6_addr.s6_addr[10] = at.sin6_addr.s6_addr[11] = 0xff;
  at.sin6_addr.s6_addr[12] = 127;
  at.sin6_addr.s6_addr[15] = 1;
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0 ||
      ::listen(fd.get(), 4096) != 0) {
    return errno_error("listen for the host's connections", errno);
  }
  return fd;
}

}  // namespace

Result<HostNet> create_host_net(const HostNetSettings& settings) {
  KNIT_TRY(Netlink netlink, Netlink::open());
  KNIT_TRY_VOID(check_free(netlink, settings));
  HostNet out;
  KNIT_TRY(out.listener, host_listener());
  KNIT_TRY(const Fd map, sockmap_with(out.listener.get()));
  KNIT_TRY(const Fd program, load_host_capture(map.get(), settings.ranges));
  const Fd netns(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  if (!netns) return errno_error("open the network namespace", errno);
  KNIT_TRY(out.link, attach_to_netns(program.get(), netns.get()));
  // Routes last: packets come only once somebody answers.
  KNIT_TRY_VOID(ensure_host_routes(settings));
  return out;
}

Result<void> ensure_host_routes(const HostNetSettings& settings) {
  KNIT_TRY(Netlink netlink, Netlink::open());
  KNIT_TRY_VOID(check_free(netlink, settings));
  for (const Prefix& range : settings.ranges) {
    KNIT_TRY_VOID(netlink.add_route(unreachable_route(range)));
    KNIT_TRY_VOID(netlink.add_route(local_route(settings, range)));
  }
  for (const bool v6 : families(settings)) KNIT_TRY_VOID(netlink.add_rule(rule_of(v6)));
  return {};
}

Result<void> drop_host_routes(const HostNetSettings& settings) {
  KNIT_TRY(Netlink netlink, Netlink::open());
  for (const Prefix& range : settings.ranges) {
    KNIT_TRY_VOID(netlink.delete_route(local_route(settings, range)));
  }
  return {};
}

Result<void> cleanup_host_net(const HostNetSettings& settings) {
  KNIT_TRY(Netlink netlink, Netlink::open());
  for (const bool v6 : families(settings)) KNIT_TRY_VOID(netlink.delete_rule(rule_of(v6)));
  for (const Prefix& range : settings.ranges) {
    KNIT_TRY_VOID(netlink.delete_route(local_route(settings, range)));
    KNIT_TRY_VOID(netlink.delete_route(unreachable_route(range)));
  }
  return {};
}

}  // namespace knit::node::net
