// A pod's network: a namespace with `lo` only, in which every address is local and every outgoing
// TCP connection arrives at one listener, whose descriptor is the pod's identity.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "node/net/address.h"

namespace knit::node::net {

inline constexpr std::uint16_t kCapturePort = 15001;  // reserved in every pod, as in Istio

struct PodNetSettings {
  Address ip;
  std::optional<Address> ip6;
  Address dns;  // where pods look names up: 172.30.0.10
};

struct PodNet {
  Fd netns, listener, dns, link;
  std::uint64_t cookie = 0;  // of the namespace, as listen events name it
};

/// Makes it, in about a millisecond. Blocks; needs CAP_SYS_ADMIN, CAP_NET_ADMIN and CAP_BPF.
/// Errors: Unsupported when BPF is refused, Unavailable.
Result<PodNet> create_pod_net(const PodNetSettings& settings);
/// From descriptors that were kept. Errors: InvalidArgument.
Result<PodNet> adopt_pod_net(Fd netns, Fd listener, Fd dns, Fd link);
/// `count` unconnected TCP sockets made inside. Blocks for some microseconds each.
Result<std::vector<Fd>> stock_sockets(int netns, std::size_t count, bool v6);

/// Runs `work` on a fresh thread that has entered the namespace. Errors: those of setns.
Result<void> in_netns(int netns, const std::function<Result<void>()>& work);
/// A new, empty network namespace (lo down), after `work` ran inside it.
Result<Fd> new_netns(const std::function<Result<void>()>& work);

}  // namespace knit::node::net
