// How processes of this host reach Pod and Service addresses: policy routes that only locally made
// packets see, and a capture program on the host's network namespace. The LAN never gets an answer.
#pragma once

#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "node/net/address.h"

namespace knit::node::net {

inline constexpr std::uint32_t kHostTable = 200;
inline constexpr std::uint32_t kHostRulePriority = 90;
/// Worse than any metric the kernel picks: `unreachable` counts once `local` is gone.
inline constexpr std::uint32_t kUnreachableMetric = 4'278'198'272;

struct HostNetSettings {
  std::vector<Prefix> ranges;  // of pods and services, both families
  Address host_ip;             // the source address that the proxy sees for the host's processes
};
struct HostNet {
  Fd listener;  // dual-stack, IP_TRANSPARENT; any port of any address of the ranges arrives here
  Fd link;
};

/// Works in the calling thread's network namespace (the host's). Idempotent.
/// Errors: AlreadyExists naming the route or rule that is in the way, Unavailable.
Result<HostNet> create_host_net(const HostNetSettings& settings);
/// Rules and routes alone, for descriptors that a former process left. Idempotent.
Result<void> ensure_host_routes(const HostNetSettings& settings);
/// Deletes the `local` routes only, leaving `unreachable`: the data path is given up, and packets
/// to the ranges must not leave the machine.
Result<void> drop_host_routes(const HostNetSettings& settings);
/// Deletes rules and routes. Link and listener end with their descriptors.
Result<void> cleanup_host_net(const HostNetSettings& settings);

}  // namespace knit::node::net
