// The three small BPF programs, assembled by hand and loaded with bpf(2): no libbpf, no compiler.
// Works unchanged on kernels 6.1 and 6.18.
#pragma once

#include <optional>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "node/net/address.h"

namespace knit::node::net {

/// A SOCKMAP with room for one listening socket, holding `listener`.
Result<Fd> sockmap_with(int listener);
/// Sets the entry again (a hostile shutdown() of the listener took it out).
Result<void> sockmap_update(int map, int listener);

/// Every TCP connection to an address that is neither loopback nor `own` goes to the map's
/// listener.
Result<Fd> load_pod_capture(int map, const std::vector<Address>& own);
/// Every TCP connection made on this host (ingress interface 0 or lo) to one of `ranges` goes to
/// the map's listener. Prefix lengths are at most 32 for IPv4 and multiples of 32, or at most 32
/// more than one, for IPv6 (any length works).
Result<Fd> load_host_capture(int map, const std::vector<Prefix>& ranges);
/// Attaches an sk_lookup program to a network namespace. The link keeps program and map alive.
Result<Fd> attach_to_netns(int program, int netns);

struct ListenEvent {
  std::uint64_t cookie = 0;  // of the network namespace
  std::uint16_t port = 0;
  std::uint16_t v6 = 0;
  std::uint32_t reserved = 0;
};
/// A ring buffer map of `bytes` (a power of two, at least a page).
Result<Fd> ring_buffer(std::uint32_t bytes);
/// sock_ops: writes a ListenEvent into the ring when a TCP socket starts to listen.
Result<Fd> load_listen_events(int ring);
Result<Fd> attach_sock_ops(int program, int cgroup);

}  // namespace knit::node::net
