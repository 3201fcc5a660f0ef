#include "node/net/netlink.h"

#include <linux/fib_rules.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace knit::node::net {

namespace {

template <class T>
std::string_view raw(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

/// A request: header, fixed part, attributes.
class Message {
 public:
  template <class T>
  Message(std::uint16_t type, unsigned flags, const T& fixed) {
    nlmsghdr header{};
    header.nlmsg_type = type;
    header.nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
    text_ += raw(header);
    text_ += raw(fixed);
    pad();
  }
  Message& add(std::uint16_t type, std::string_view value) {
    rtattr a{};
    a.rta_type = type;
    a.rta_len = static_cast<std::uint16_t>(sizeof a + value.size());
    text_ += raw(a);
    text_ += value;
    pad();
    return *this;
  }
  Message& add(std::uint16_t type, std::uint32_t value) { return add(type, raw(value)); }
  Message& add(std::uint16_t type, const Address& a) {
    return add(type, std::string_view(reinterpret_cast<const char*>(a.bytes.data()), a.size()));
  }
  std::string take() { return std::move(text_); }

 private:
  void pad() { text_.resize((text_.size() + 3) & ~std::size_t{3}, '\0'); }
  std::string text_;
};

rtmsg route_header(const Route& route) {
  rtmsg m{};
  m.rtm_family = route.to.base.v6 ? AF_INET6 : AF_INET;
  m.rtm_dst_len = route.to.length;
  m.rtm_protocol = RTPROT_STATIC;
  m.rtm_type = route.type;
  m.rtm_table = route.table < 256 ? static_cast<unsigned char>(route.table)
                                  : static_cast<unsigned char>(RT_TABLE_UNSPEC);
  m.rtm_scope = route.type == RTN_LOCAL ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE;
  return m;
}

void add_route_attributes(Message& m, const Route& route) {
  if (route.to.length > 0) m.add(RTA_DST, route.to.base);
  m.add(RTA_TABLE, route.table);
  if (route.metric != 0) m.add(RTA_PRIORITY, route.metric);
  if (route.source) m.add(RTA_PREFSRC, *route.source);
  if (route.interface != 0) m.add(RTA_OIF, route.interface);
}

Message rule_message(std::uint16_t type, unsigned flags, const Rule& rule) {
  fib_rule_hdr h{};
  h.family = rule.v6 ? AF_INET6 : AF_INET;
  h.action = FR_ACT_TO_TBL;
  h.table = rule.table < 256 ? static_cast<std::uint8_t>(rule.table) : std::uint8_t{0};
  Message m(type, flags, h);
  m.add(FRA_PRIORITY, rule.priority).add(FRA_TABLE, rule.table);
  m.add(FRA_IIFNAME, std::string_view(rule.in_interface.c_str(), rule.in_interface.size() + 1));
  return m;
}

void for_attributes(const char* at, std::size_t size,
                    const std::function<void(unsigned, std::string_view)>& each) {
  while (size >= sizeof(rtattr)) {
    rtattr a{};
    std::memcpy(&a, at, sizeof a);
    if (a.rta_len < sizeof a || a.rta_len > size) return;
    each(a.rta_type & NLA_TYPE_MASK, {at + sizeof a, a.rta_len - sizeof a});
    const std::size_t step = std::min<std::size_t>((a.rta_len + 3U) & ~3U, size);
    at += step;
    size -= step;
  }
}

std::uint32_t u32(std::string_view v) {
  std::uint32_t out = 0;
  if (v.size() == 4) std::memcpy(&out, v.data(), 4);
  return out;
}

void take_address(std::string_view v, Address& a) {
  if (v.size() == a.size()) std::memcpy(a.bytes.data(), v.data(), v.size());
}

Result<void> outcome(const Result<int>& error, std::string_view what, int fine) {
  if (!error) return error.error();
  if (*error != 0 && *error != fine) return errno_error(what, *error);
  return {};
}

}  // namespace

Result<Netlink> Netlink::open() {
  Fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!fd) return errno_error("open rtnetlink", errno);
  const int one = 1;
  ::setsockopt(fd.get(), SOL_NETLINK, NETLINK_GET_STRICT_CHK, &one, sizeof one);
  return Netlink(std::move(fd));
}

Result<int> Netlink::request(std::string message,
                             const std::function<void(const nlmsghdr*)>& each) {
  auto* header = reinterpret_cast<nlmsghdr*>(message.data());
  header->nlmsg_len = static_cast<std::uint32_t>(message.size());
  header->nlmsg_seq = ++sequence_;
  if ((header->nlmsg_flags & NLM_F_DUMP) != NLM_F_DUMP) header->nlmsg_flags |= NLM_F_ACK;
  if (::send(fd_.get(), message.data(), message.size(), 0) !=
      static_cast<ssize_t>(message.size())) {
    return errno_error("rtnetlink send", errno);
  }
  alignas(nlmsghdr) char buffer[32768];
  for (;;) {
    const ssize_t got = ::recv(fd_.get(), buffer, sizeof buffer, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_error("rtnetlink receive", errno);
    auto left = static_cast<std::size_t>(got);
    const char* at = buffer;
    while (left >= sizeof(nlmsghdr)) {
      const auto* m = reinterpret_cast<const nlmsghdr*>(at);
      if (m->nlmsg_len < sizeof(nlmsghdr) || m->nlmsg_len > left) {
        return Error(Code::Internal, "rtnetlink sent a malformed message");
      }
      if (m->nlmsg_seq == sequence_) {
        if (m->nlmsg_type == NLMSG_DONE) return 0;
        if (m->nlmsg_type == NLMSG_ERROR) {
          return -reinterpret_cast<const nlmsgerr*>(at + sizeof(nlmsghdr))->error;
        }
        if (each) each(m);
      }
      const std::size_t step = std::min<std::size_t>((m->nlmsg_len + 3U) & ~3U, left);
      at += step;
      left -= step;
    }
  }
}

Result<void> Netlink::link_up(unsigned index) {
  ifinfomsg m{};
  m.ifi_index = static_cast<int>(index);
  m.ifi_flags = IFF_UP;
  m.ifi_change = IFF_UP;
  return outcome(request(Message(RTM_NEWLINK, 0, m).take()), "set link up", 0);
}

Result<void> Netlink::add_address(unsigned index, const Address& address) {
  ifaddrmsg m{};
  m.ifa_family = address.v6 ? AF_INET6 : AF_INET;
  m.ifa_prefixlen = address.v6 ? 128 : 32;
  m.ifa_flags = address.v6 ? IFA_F_NODAD : 0;
  m.ifa_index = index;
  Message message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, m);
  message.add(IFA_LOCAL, address).add(IFA_ADDRESS, address);
  return outcome(request(message.take()), "add address " + to_string(address), EEXIST);
}

Result<void> Netlink::add_route(const Route& route) {
  Message m(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, route_header(route));
  add_route_attributes(m, route);
  return outcome(request(m.take()), "add route " + to_string(route.to), EEXIST);
}

Result<void> Netlink::delete_route(const Route& route) {
  Message m(RTM_DELROUTE, 0, route_header(route));
  add_route_attributes(m, route);
  return outcome(request(m.take()), "delete route " + to_string(route.to), ESRCH);
}

Result<void> Netlink::add_rule(const Rule& rule) {
  return outcome(request(rule_message(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, rule).take()),
                 "add rule", EEXIST);
}

Result<void> Netlink::delete_rule(const Rule& rule) {
  return outcome(request(rule_message(RTM_DELRULE, 0, rule).take()), "delete rule", ENOENT);
}

Result<std::vector<Route>> Netlink::routes(bool v6) {
  rtmsg ask{};
  ask.rtm_family = v6 ? AF_INET6 : AF_INET;
  std::vector<Route> out;
  const auto error = request(Message(RTM_GETROUTE, NLM_F_DUMP, ask).take(), [&](const nlmsghdr* h) {
    if (h->nlmsg_type != RTM_NEWROUTE || h->nlmsg_len < NLMSG_LENGTH(sizeof(rtmsg))) return;
    const auto* m = static_cast<const rtmsg*>(NLMSG_DATA(h));
    if ((m->rtm_flags & RTM_F_CLONED) != 0) return;
    Route r;
    r.to.base.v6 = v6;
    r.to.length = m->rtm_dst_len;
    r.type = m->rtm_type;
    r.table = m->rtm_table;
    for_attributes(reinterpret_cast<const char*>(m) + NLMSG_ALIGN(sizeof *m),
                   h->nlmsg_len - NLMSG_LENGTH(sizeof *m),
                   [&](unsigned type, std::string_view value) {
                     if (type == RTA_DST) take_address(value, r.to.base);
                     if (type == RTA_TABLE) r.table = u32(value);
                     if (type == RTA_PRIORITY) r.metric = u32(value);
                     if (type == RTA_OIF) r.interface = u32(value);
                   });
    out.push_back(std::move(r));
  });
  KNIT_TRY_VOID(outcome(error, "list routes", 0));
  return out;
}

Result<std::vector<Rule>> Netlink::rules(bool v6) {
  fib_rule_hdr ask{};
  ask.family = v6 ? AF_INET6 : AF_INET;
  std::vector<Rule> out;
  const auto error = request(Message(RTM_GETRULE, NLM_F_DUMP, ask).take(), [&](const nlmsghdr* h) {
    if (h->nlmsg_type != RTM_NEWRULE || h->nlmsg_len < NLMSG_LENGTH(sizeof(fib_rule_hdr))) {
      return;
    }
    const auto* m = static_cast<const fib_rule_hdr*>(NLMSG_DATA(h));
    Rule r;
    r.v6 = v6;
    r.table = m->table;
    for_attributes(reinterpret_cast<const char*>(m) + NLMSG_ALIGN(sizeof *m),
                   h->nlmsg_len - NLMSG_LENGTH(sizeof *m),
                   [&](unsigned type, std::string_view value) {
                     if (type == FRA_PRIORITY) r.priority = u32(value);
                     if (type == FRA_TABLE) r.table = u32(value);
                     if (type == FRA_IIFNAME) r.in_interface = value.data();
                   });
    out.push_back(std::move(r));
  });
  KNIT_TRY_VOID(outcome(error, "list rules", 0));
  return out;
}

}  // namespace knit::node::net
