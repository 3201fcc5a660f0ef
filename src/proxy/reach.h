// Synthetic reachability: walks the road of a Probe's hosts with the functions that traffic uses,
// up to the revision stage, without waking user code. Source: net-istio's prober
// (spec/mesh.md 3.3).
#pragma once

#include <map>
#include <string>

#include "ipc/messages.h"
#include "proxy/road.h"

namespace knit::proxy {

/// Remembers which contexts have completed a handshake with us, so that it is done once each.
class HandshakeCache {
 public:
  /// Empty: a client that offers `sni` completes the handshake; else why not.
  std::string check(const std::shared_ptr<TlsContext>& context, const std::string& sni);
  void forget_old(std::size_t keep = 256);

 private:
  std::map<std::shared_ptr<TlsContext>, std::string> seen_;
};

/// `ready` is true when every target led to a revision with the hash. `failure` names the first
/// host and stage that did not.
ipc::Reach reach(const Tables& t, const std::string& ingress, const pc::Probe& probe,
                 std::uint32_t workers, HandshakeCache& handshakes);

}  // namespace knit::proxy
