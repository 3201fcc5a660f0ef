// A proxy without sockets: the real config client, journal, tables, road, reachability and
// admission gates; workers, probes of pods and bytes are simulated.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "app/config_journal.h"
#include "config_stream/client.h"
#include "io/loop.h"
#include "ipc/channel.h"
#include "proxy/gate.h"
#include "proxy/reach.h"

namespace knit::world {

/// What became of one request.
struct Answer {
  std::string host;
  int status = 0;  // 200, or what the proxy said
  std::string why;
  std::string revision;
};

class SimProxy {
 public:
  struct Hooks {
    /// Since when a pod's containers are gone; nullopt: they are there.
    std::function<std::optional<Duration>(const std::string& uid)> gone_for;
    std::function<void(std::string)> violation;
    /// How long a worker takes to run new tables.
    std::function<Duration()> worker_lag;
    /// Does this revision exist, and is it to stay?
    std::function<bool(const std::string& revision)> revision_stays;
  };
  SimProxy(io::Loop& loop, Hooks hooks);
  ~SimProxy();

  /// The process begins, with what a former one left.
  void start();
  void kill();
  bool running() const { return process_ != nullptr; }
  /// `channel` outlives disconnect().
  void connect(ipc::Channel& channel);
  void disconnect();
  void on_message(const ipc::Received& message);
  /// A pod's containers ended: what was in flight there is cut off.
  void pod_ended(const std::string& uid);
  bool busy(const std::string& uid) const;

  /// One HTTPS request from outside the cluster; its app works for `work`.
  void request(const std::string& host, Duration work, std::function<void(Answer)> done);
  std::size_t in_flight() const;

  /// What runs, for invariants; empty without a process.
  proxy::TablesRef tables() const;
  std::vector<proxy_config::Resource> config() const;
  /// Resources that the last deltas refused, with the hash refused.
  const std::map<proxy_config::Ref, std::string>& refused() const { return refused_; }

 private:
  struct Process;
  io::Loop& loop_;
  Hooks hooks_;
  Fd kept_;  // what the supervisor holds for it: the config journal
  std::map<proxy_config::Ref, std::string> refused_;
  std::shared_ptr<Process> process_;
};

}  // namespace knit::world
