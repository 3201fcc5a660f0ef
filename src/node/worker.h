// The life of one pod: network, volumes, init containers, containers, probes, restarts, the end.
// Coroutines on the agent's loop; blocking work goes to the pool.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ipc/messages.h"
#include "node/host.h"
#include "node/status.h"

namespace knit::node {

class PodWorker {
 public:
  /// `known`: the API has the pod (else it was started ahead of its commit).
  PodWorker(Host& host, Json pod, bool known);
  ~PodWorker();
  PodWorker(const PodWorker&) = delete;
  PodWorker& operator=(const PodWorker&) = delete;

  void start();
  /// Takes over what a former node process left: its state file and the descriptors kept for it.
  /// Call before start(). Errors: InvalidArgument; then the pod is started anew.
  Result<void> adopt(const Json& state, std::map<std::string, Fd> kept);

  /// The API's newest version of the pod.
  void update(Json pod);
  /// The API does not have it (any more): end it at once, delete nothing there.
  void abandon();
  void on_exit(const std::string& container, int status, WallTime when);
  void on_probed(const ipc::Probed& probed);

  const std::string& uid() const { return uid_; }
  const Json& pod() const { return pod_; }
  bool known() const { return known_; }
  bool has_network() const { return net_.has_value(); }
  const net::PodNet* network() const { return net_ ? &*net_ : nullptr; }
  /// What the proxy is to know now.
  ipc::Pod message() const;
  /// Whole lines of a container that the proxy plays. What is not such a container is ignored.
  void log_of_role(const std::string& container, std::string_view lines, std::uint64_t lost);
  /// Errors: NotFound.
  Result<std::string> log_path(std::string_view container, bool previous) const;

 private:
  struct LogPump;
  struct Container {
    ContainerView view;
    ContainerStatus st;
    std::string id;  // of the present or last process
    pid_t pid = 0;
    std::uint64_t start_time = 0;
    bool running = false, resumed = false, failed_probe = false;
    io::Event exited, wake, stopped, settled;
    int exit_status = 0;
    WallTime exit_time{};
    Instant begun{};
    std::string message_file;
    Backoff restart, image;
    std::vector<std::unique_ptr<LogPump>> logs;
    std::unique_ptr<runtime::LogFile> role_log;
    std::vector<io::Loop::Scope> tasks;  // exec probes, the liveness killer
    io::Loop::Scope loop;
  };

  // worker.cc
  io::Task<void> run();
  io::Task<bool> set_up();
  io::Task<Result<void>> make_network();
  io::Task<Result<void>> fetch_objects();
  io::Task<Result<void>> make_volumes();
  /// Writes what volumes show until it succeeds; containers start then.
  io::Task<void> make_contents();
  io::Task<Result<void>> write_contents();
  void failed_mount(const Error& error);
  io::Task<Result<void>> fetch_tokens();
  void adopt_memory(Fd tree);
  io::Task<void> refresh_volumes();
  io::Task<void> stop_containers(std::int64_t grace);
  io::Task<void> stop_one(Container* c, std::int64_t grace);
  io::Task<void> tear_down();
  io::Task<void> wait_change();
  io::Task<void> publish();
  void changed();
  void nudge() { control_.set(); }
  void begin_stop();
  void fail(std::string reason, std::string message);
  bool all_ended() const;
  void save_state() const;
  PodFacts facts() const;
  kube::Key key() const;
  std::string run_path() const;
  std::string volume_path(const Json& volume) const;

  // worker_container.cc
  io::Task<void> run_container(Container* c);
  /// One run from image to exit; gives how long it ran, or nullopt when it never did.
  io::Task<std::optional<Duration>> run_once(Container* c);
  io::Task<Result<runtime::Created>> create(Container* c);
  io::Task<void> pause(Container* c, Duration d);
  io::Task<void> exec_probe(Container* c, std::string which);
  io::Task<void> drain(Container* c);
  io::Task<Result<void>> run_hook(Container* c, std::string which);
  io::Task<void> kill_for_probe(Container* c, std::string message);
  void waiting(Container* c, std::string reason, std::string message);
  void started(Container* c);
  void startup_passed(Container* c);
  void exec_probes(Container* c);
  void finish_run(Container* c);
  void play_role(Container* c);
  bool was_ready(std::string_view container) const;
  bool restarts(const Container& c) const;
  bool has_probe(const Container& c, std::string_view which) const;
  void probe_result(Container* c, std::string_view which, bool ok, const std::string& text);
  Result<void> open_logs(Container* c, Fd& out, Fd& err);
  runtime::LogFile* role_log(Container* c);
  void pump(Container* c, Fd read_end, std::string stream);
  void drain_log(LogPump* p);
  void append_log(LogPump* p, const std::string& records);
  void end_log(LogPump* p);
  /// Writes what is left and forgets the pipes.
  void close_logs(Container* c);
  Container* by_id(const std::string& id);
  Container* by_name(std::string_view name);
  std::string log_dir(std::string_view container) const;

  Host& host_;
  Json pod_;
  std::string uid_;
  bool known_, abandoned_ = false, stopping_ = false, set_up_ = false, contents_made_ = false,
               publishing_ = false, dirty_ = false, over_ = false;
  std::vector<std::unique_ptr<Container>> containers_;
  PodStatus status_;
  std::optional<net::PodNet> net_;
  Objects objects_;
  std::map<std::string, std::string> tokens_;  // by "volume/path"
  WallTime tokens_renew_{};
  std::map<std::string, std::map<std::string, std::pair<std::string, std::uint32_t>>> written_;
  std::vector<std::string> memory_volumes_;
  bool kept_mounts_ = false;
  std::uint64_t stamp_ = 0;
  std::string last_published_;
  io::Event control_;
  io::Loop::Timer deadline_;
  io::Loop::Scope run_, publish_, refresh_, contents_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace knit::node
