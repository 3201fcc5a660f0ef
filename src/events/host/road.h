// How the roles of Eventing (mt-broker-ingress, mt-broker-filter, imc-dispatcher,
// pingsource-mt-adapter) reach the world and are reached: the process brings it (shared listeners,
// the proxy behind them), tests bring memory streams.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "io/stream.h"

namespace knit::events {

/// A connection that arrived at a role's pod, as the proxy hands it over.
struct RoleConnection {
  std::unique_ptr<io::Stream> stream;  // plain HTTP/1.1, many requests
  /// Verified identities ("spiffe://…"), the original caller first; empty for plaintext.
  std::vector<std::string> hops;
};

/// Where a role wants to go. It is judged by the proxy like any pod's connection.
struct RoleTarget {
  std::string host;  // a name or an IP literal; the proxy resolves it
  std::uint16_t port = 80;
};

class RoleRoad {
 public:
  virtual ~RoleRoad() = default;
  /// The next connection at `role`. Waits while the role is not there. One call at a time for each
  /// role; destroying the task gives up waiting. Errors: that one connection failed (a first frame
  /// that is none), call again.
  virtual io::Task<Result<RoleConnection>> accept(std::string role) = 0;
  /// A connection with the identity of `role`. Errors: Unavailable and others, whose message says
  /// in one sentence why (what the proxy answered; the role is not there). Bounded in time by the
  /// caller, who destroys the task.
  virtual io::Task<Result<std::unique_ptr<io::Stream>>> connect(std::string role,
                                                                RoleTarget to) = 0;
};

}  // namespace knit::events
