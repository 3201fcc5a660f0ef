// The node process: the kubelet of this machine. Owns the pods' workers, talks to the API, the
// supervisor and the proxy. Lives on one loop.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "ipc/channel.h"
#include "node/host.h"
#include "node/ipam.h"
#include "node/net/host_net.h"
#include "node/net/listen_events.h"
#include "node/runtime/exits.h"
#include "node/worker.h"

namespace knit {
class Random;
}

namespace knit::node {

class Agent final : public Host {
 public:
  /// The real node: makes directories, the built-in image, cgroups and the pods' mount namespace.
  /// Blocks some 50 ms. `api` and `loop` outlive it. Then: create the ipc::Bootstrap with
  /// handler(), attach() it, run the loop. Errors: InvalidArgument, PermissionDenied, Unsupported.
  static Result<std::unique_ptr<Agent>> create(io::Loop& loop, Settings settings, Api& api);

  struct Parts {  // everything from outside, for tests
    std::unique_ptr<Driver> driver;
    std::unique_ptr<runtime::Exits> exits;  // null: the supervisor's
    std::unique_ptr<Random> random;
    Machine machine;
  };
  static Result<std::unique_ptr<Agent>> create(io::Loop& loop, Settings settings, Api& api,
                                               Parts parts);
  ~Agent() override;

  /// For ipc::Bootstrap::create().
  ipc::Bootstrap::Handler handler();
  void attach(ipc::Bootstrap& bootstrap) { bootstrap_ = &bootstrap; }
  /// Without a supervisor (tests): as after the last kept descriptor, with the API reachable.
  void start();
  /// Runs once when the supervisor asked to stop. Pods run on.
  void on_stop(std::function<void()> stop) { stop_ = std::move(stop); }

  std::size_t pods() const { return workers_.size(); }
  PodWorker* worker(const std::string& uid);

  // Host
  io::Loop& loop() override { return loop_; }
  Api& api() override { return api_; }
  Driver& driver() override { return *parts_.driver; }
  const Settings& settings() const override { return settings_; }
  const Machine& machine() const override { return parts_.machine; }
  Result<net::Address> take_ip(const std::string& uid) override { return ipam_.take(uid); }
  void release_ip(const std::string& uid) override { ipam_.release(uid); }
  std::string new_id() override;
  void expect(PodWorker& worker, const std::string& container, pid_t pid,
              std::uint64_t start_time) override;
  void keep(const std::string& uid, const std::string& what, int fd) override;
  void drop(const std::string& uid, const std::string& what) override;
  void announce(PodWorker& worker) override;
  std::shared_ptr<const bool> drain(const std::string& uid) override;
  io::Task<void> gone(std::string uid) override;
  void event(const Json& pod, std::string_view type, std::string_view reason, std::string message,
             std::string_view container) override;
  void finished(const std::string& uid) override;

 private:
  struct Real;  // engine, store: what the real driver stands on
  Agent(io::Loop& loop, Settings settings, Api& api, Parts parts, Ipam ipam);
  void on_kept_end();
  void on_peer(ipc::Process peer);
  void on_message(ipc::Process peer, ipc::Received m);
  void on_exit(const std::string& container, int status, WallTime when);
  void on_start(ipc::Received m);
  void on_log_open(const ipc::LogOpen& call);
  void adopt_pods();
  void set_up_host_path();
  void start_api();
  void pod_changed(Json pod);
  void add_worker(Json pod, bool known);
  io::Task<void> register_node();
  io::Task<void> send_sockets(std::string uid, std::uint32_t count);
  io::Task<void> send_event(Json event);
  io::Task<void> bump_event(kube::Key key, Json patch);
  ipc::Channel* proxy();
  void send_pod(PodWorker& worker, bool with_fds);

  io::Loop& loop_;
  Settings settings_;
  Api& api_;
  Parts parts_;
  Ipam ipam_;
  std::unique_ptr<Real> real_;  // outlives parts_.driver's use; destroyed by ~Agent in order
  ipc::Bootstrap* bootstrap_ = nullptr;
  std::map<std::string, std::map<std::string, Fd>> kept_;  // uid → what → descriptor
  std::map<std::string, Fd> kept_host_;
  std::map<std::string, std::unique_ptr<PodWorker>> workers_;
  std::map<std::string, std::string> containers_;  // container → pod uid
  /// Ends that were told before anybody asked (a new node hears of them before it takes over).
  std::map<std::string, std::pair<int, WallTime>> early_exits_;
  std::map<std::uint64_t, std::string> cookies_;  // namespace → pod uid
  std::set<std::string> announced_;               // pods whose descriptors the proxy has
  std::map<std::string, std::pair<kube::Key, std::int64_t>> events_;  // what → object, count
  std::map<std::string, std::shared_ptr<bool>> drains_;  // pods whose requests must end
  std::map<std::string, io::Loop::Timer> unknown_;       // pods that the API must soon know
  std::unique_ptr<net::ListenEvents> listen_;
  io::Loop::Watch listen_watch_;
  bool started_ = false, api_started_ = false;
  std::string ready_since_;
  std::function<void()> stop_;
  io::Loop::Scope node_task_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

/// What host processes need to reach pods and services; for cleanup() too.
Result<net::HostNetSettings> host_net_settings(const Settings& settings);
/// Removes everything of the node from the machine but the data directory: containers, cgroups,
/// routes, rules, the run directory (`knit down --purge`). Blocks. Other processes are stopped.
Result<void> cleanup(const Settings& settings);

}  // namespace knit::node
