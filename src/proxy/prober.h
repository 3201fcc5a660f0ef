// Probes that the proxy makes inside pods: those that the node asks for, and the readiness of a
// revision's app, which decides when the activation stage may use the pod. Runs on the main loop
// with a few stock sockets of its own.
// Source: knative pkg/queue/readiness/probe.go (spec/serving.md 5.3), kubelet prober.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "ipc/messages.h"
#include "proxy/sockets.h"
#include "proxy_config/types.h"

namespace knit::proxy {

class Prober {
 public:
  struct Hooks {
    /// State per probe, told on each change and on request of the node (resend()).
    std::function<void(const ipc::Probed&)> probed;
    /// The app of a revision's pod is ready or not.
    std::function<void(const std::string& uid, bool ready)> app_ready;
  };
  Prober(io::Loop& loop, Sockets& sockets, Hooks hooks);
  ~Prober();

  void set_pod(const ipc::Pod& pod);
  /// The pod belongs to a revision: its app is probed as queue-proxy would.
  void set_revision(const std::string& uid, const proxy_config::Revision& revision);
  void remove_pod(const std::string& uid);
  /// Something listens in the pod now: probe at once.
  void listening(const std::string& uid, std::uint16_t port);
  void resend();

 private:
  class Attempt;
  struct Probe {
    ipc::ProbeSpec spec;
    bool app = false;          // the revision's app readiness; others may follow it
    bool follows_app = false;  // a probe of queue-proxy: answered from `app`
    bool known = false, ok = false;
    std::uint32_t successes = 0, failures = 0;
    std::string text;
    Instant since{}, counted_until{};
    Duration pause{};
    io::Loop::Timer timer;
    std::unique_ptr<Attempt> attempt;
  };
  struct Pod {
    std::string ip;
    std::map<std::string, Probe> probes;  // by id
    bool is_revision = false;
  };
  void start(const std::string& uid, const std::string& id);
  void schedule(const std::string& uid, const std::string& id, Duration after);
  void finished(const std::string& uid, const std::string& id, bool ok, std::string text);
  void report(const std::string& uid, Probe& p);
  void settle_followers(const std::string& uid, Pod& pod);

  io::Loop& loop_;
  Sockets& sockets_;
  Hooks hooks_;
  std::map<std::string, Pod> pods_;
};

}  // namespace knit::proxy
