// Just the rtnetlink that a pod and the host data path need, over one raw socket per use, in the
// network namespace of the calling thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "node/net/address.h"

struct nlmsghdr;

namespace knit::node::net {

inline constexpr unsigned kLoopback = 1;  // the index of `lo` in every network namespace

struct Route {
  Prefix to;
  std::uint8_t type = 1;  // RTN_UNICAST, RTN_LOCAL, RTN_UNREACHABLE
  std::uint32_t table = 0;
  std::uint32_t metric = 0;  // 0: the kernel's default
  std::optional<Address> source;
  unsigned interface = 0;  // 0: none
};
struct Rule {
  bool v6 = false;
  std::uint32_t priority = 0;
  std::string in_interface;
  std::uint32_t table = 0;
  bool operator==(const Rule&) const = default;
};

class Netlink {
 public:
  static Result<Netlink> open();
  Result<void> link_up(unsigned index);
  Result<void> add_address(unsigned index, const Address& address);
  /// An equal route that exists already is fine.
  Result<void> add_route(const Route& route);
  /// An absent one is fine.
  Result<void> delete_route(const Route& route);
  Result<void> add_rule(const Rule& rule);
  Result<void> delete_rule(const Rule& rule);
  Result<std::vector<Route>> routes(bool v6);
  Result<std::vector<Rule>> rules(bool v6);

 private:
  explicit Netlink(Fd fd) : fd_(std::move(fd)) {}
  /// Sends one request and reads until its end; 0 or an errno. `each` sees the messages of a dump.
  Result<int> request(std::string message, const std::function<void(const nlmsghdr*)>& each = {});
  Fd fd_;
  std::uint32_t sequence_ = 0;
};

}  // namespace knit::node::net
