// The data plane of one process: the main loop's side. It owns config, identities, probes and
// reports; the workers own traffic. All methods run on the main loop.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "ipc/channel.h"
#include "proxy/prober.h"
#include "proxy/reach.h"
#include "proxy/roles.h"
#include "proxy/worker.h"

namespace knit::proxy {

class Engine {
 public:
  struct Hooks {
    /// The channel to that peer, or nullptr while there is none.
    std::function<ipc::Channel*()> server, node;
    std::string run_dir;  // below which the sockets of roles are
    /// Leaves with their keys (type Certificate, named by identity) that the next process is to
    /// have, and those that it is not. May be empty.
    std::function<void(const std::vector<pc::Resource>& set, const std::vector<pc::Ref>& removed)>
        keep_leaves;
  };
  using Nack = pc::Refusal;
  using Applied = std::function<void(std::vector<Nack> nacks)>;

  /// `workers` run on their own threads and outlive the engine's last callback: stop and join them
  /// before the Engine is destroyed. With one loop, `workers` may hold just `main`.
  static Result<std::unique_ptr<Engine>> create(io::Loop& main, std::vector<io::Loop*> workers,
                                                std::unique_ptr<Random> random, Hooks hooks);
  ~Engine();

  /// Applies a delta. `applied` runs when every worker runs it; a nacked resource is left out.
  void apply(const std::vector<pc::Resource>& set, const std::vector<pc::Ref>& removed,
             Applied applied);

  /// What keep_leaves gave: the valid ones of identities that the config names are used again.
  /// Before the first server's channel.
  void restore_leaves(const std::vector<pc::Resource>& leaves);
  std::vector<pc::Resource> leaves() const;

  /// From the supervisor: purposes "host-capture", "router-https", "router-http", "node-port:…".
  /// "role-egress:UID:NAME" too; without a descriptor it is closed.
  Result<void> on_listener(const ipc::Listener& listener, Fd fd);
  /// Pod, Gone, Sockets, Listening, Drain. Acked here where ipc.md says so.
  void on_node(ipc::Received message);
  /// Cert, Metrics (Delta is config_stream's).
  void on_server(ipc::Received message);
  /// A new channel: state is told again.
  void on_node_connected();
  void on_server_connected();
  /// Stops accepting, lets requests finish; `done` when none is left or at the deadline.
  void drain(Duration deadline, std::function<void()> done);

  const Tables& tables() const { return *tables_; }
  std::uint32_t in_flight() const;
  std::string metrics_text() const;
  Shared& shared_for_test() { return shared_; }
  std::string pages_for_test(std::string_view uid) const { return istio_text(pages(uid)); }

 private:
  Engine(io::Loop& main, std::vector<io::Loop*> workers, std::unique_ptr<Random> random,
         Hooks hooks);
  struct OwnIdentity {
    std::string mesh, key_pem, chain_pem;
    std::string next_key_pem, next_csr_pem;  // a request that is under way
    Instant asked{};
    WallTime renew_at{};
    std::string problem;
  };
  struct PodState {
    ipc::Pod message;
    bool app_ready = false, draining = false;
    bool learned = false;  // every worker knows it: none may be granted a pod it does not know
    std::uint64_t learning = 0;
    std::vector<std::uint32_t> wanted;  // by worker; the last is the prober's
  };
  void publish(TablesRef next, std::function<void()> all_run);
  void each_worker(std::function<void(Worker&)> work);
  void reconcile_gates(const std::set<std::string>& revisions, const std::set<std::string>& pods);
  void reconcile_identities();
  void request_certificate(const std::string& id, OwnIdentity& identity);
  void hold(const std::string& id);
  static pc::Resource leaf(const std::string& id, const OwnIdentity& own);
  void keep(const std::string& id, const OwnIdentity& own);
  void drop_identity(const std::string& id);
  void on_pod(const ipc::Received& r, ipc::Pod pod, std::vector<Fd> fds);
  void on_dns_socket(const std::string& uid, Fd fd);
  void on_sockets(const ipc::Sockets& s, std::vector<Fd> fds);
  void on_cert(const ipc::Cert& cert);
  void want(const std::string& uid, std::uint32_t level, std::size_t who);
  void send_want(const std::string& uid);
  void attach_revision(const std::string& uid);
  void send_demand(const std::string& revision);
  void look_drained(const std::string& uid);
  struct Affected {
    bool all = false;
    std::set<std::string> names, namespaces, hosts;
  };
  static void affected_by(const Tables& t, const pc::Ref& ref, Affected& out);
  void evaluate_probes(const Affected& affected);
  TrafficMetrics::Pages pages(std::string_view uid) const;
  std::string admin_page(const std::string& uid, AdminPage page, const Tables& tables);
  void tick();
  void drained();

  struct WorkerSlot {
    io::Loop* loop;
    std::unique_ptr<Worker> worker;
  };
  io::Loop& main_;
  Hooks hooks_;
  Shared shared_;
  std::vector<WorkerSlot> workers_;
  TablesRef tables_;
  LogSender logs_;
  Sockets probe_sockets_;
  Prober prober_;
  RoleProber roles_;
  HandshakeCache handshakes_;
  std::map<std::string, OwnIdentity> identities_;
  std::map<std::string, pc::Certificate> former_leaves_;  // of the process before this one
  std::map<std::string, PodState> pods_;
  std::uint64_t learnings_ = 0;
  std::map<std::string, std::string> told_reach_;  // ingress → last state
  std::map<std::string, std::string> told_hash_;   // revision → sks hash reported
  std::set<std::string> demanded_;
  std::map<std::string, io::Loop::Timer> drains_;  // pods whose requests must end first
  io::Loop::Timer tick_, drain_timer_, probe_timer_;
  std::function<void()> drained_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace knit::proxy
