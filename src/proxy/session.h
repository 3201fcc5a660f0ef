// Everything that lives on a worker for one connection derives from Session; the worker owns it.
#pragma once

#include <string>

#include "proxy/tls.h"

namespace knit::proxy {

class Worker;

class Session {
 public:
  explicit Session(Worker& worker) : worker_(worker) {}
  virtual ~Session() = default;
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  /// Drain: finish what runs, then close.
  virtual void drain() = 0;

 protected:
  Worker& worker_;
};

/// Who opened a connection, as its listener tells (nobody's word is taken for it).
struct Caller {
  std::string uid;  // the pod, or empty: the host or the outside
  std::string remote_ip;
  std::uint16_t remote_port = 0;  // 0: not known
  bool built_in = false;          // a role of Knit's own: its Kn-Namespace is true
};

/// Which logical listener a connection arrived at.
struct HttpContext {
  enum class Listener {
    RouterPlain,  // the router's port 80
    RouterEdge,   // the router's port 443 after its TLS
    Gateway,      // an ingress gateway's port
    Outbound,     // the sidecar of `caller`, towards `ip`:`port`
    Inbound,      // in front of workload `target` at `port`
  } listener = Listener::RouterPlain;
  Caller caller;
  Peer peer;         // verified by TLS, or handed over inside the process
  bool tls = false;  // the bytes came over TLS
  std::string sni;
  std::string target;  // Inbound: uid; Gateway: the gateway pod's uid
  std::string ip;      // original destination
  std::uint16_t port = 0;
  std::string gateway_server;  // Gateway over TLS: "ns/name" that the filter chain belongs to
  std::vector<std::string> server_hosts;  // … and its hosts
};

}  // namespace knit::proxy
