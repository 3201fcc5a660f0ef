// Starts, watches, restarts and stops Knit's processes; one thread, one poll().
#pragma once

#include <poll.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ipc/frame.h"
#include "ipc/launch.h"
#include "supervisor/exits.h"
#include "supervisor/store.h"

namespace knit::supervisor {

Instant now();
WallTime wall_now();
std::string name(ipc::Process p);
void log(const std::string& text);
/// One line, one word per field: what a process says is shown, never interpreted.
std::string clean(std::string text);

class Supervisor {
 public:
  Supervisor(ipc::LaunchPlan plan, std::size_t max_descriptors)
      : plan_(std::move(plan)), store_(max_descriptors) {}
  /// Errors: of the system; AlreadyExists when another supervisor holds the run directory.
  Result<void> open();
  /// Returns the exit status when everything has stopped.
  int run();

 private:
  struct Child {
    const ipc::ProcessSpec* spec = nullptr;
    pid_t pid = 0;
    std::optional<ipc::Link> link;
    bool hello = false, kept = false, ready = false, stop_sent = false;
    std::string kept_after;  // the last key that was handed back
    Instant started, next_start, kill_at = Instant::max();
    Duration backoff{};
    unsigned restarts = 0;
    unsigned noise = 0;  // lines it caused in the log
    WallTime since;
    std::string detail;
  };
  struct Pair {
    ipc::Process a, b;
    std::uint64_t generation = 0;
    Instant due = Instant::max();  // when a new channel is to be made
  };
  struct Bound {
    std::string address;
    std::uint16_t port = 0;
    Fd fd;
  };
  struct RoleSockets {  // of a role that runs inside E
    std::string name;
    Fd ingress, egress;
  };
  struct Control {
    Fd fd;
    bool watching = false;
  };
  using Poll = std::vector<std::pair<pollfd, std::function<void(short)>>>;

  void start(Child& c);
  [[noreturn]] void become(const ipc::ProcessSpec& spec, int channel, int settings);
  void reap();
  void ended(Child& c, int status);
  void kill_child(Child& c, const char* why);
  void serve(Child& c);
  void on_frame(Child& c, ipc::Frame f);
  void on_hello(Child& c, const ipc::Frame& f);
  void pump(Child& c);
  void connect(Pair& p);
  std::string bind(const ipc::Bind& b, std::uint16_t& port);
  void hand_listener(ipc::Process to, const std::string& key, const std::string& purpose,
                     std::uint16_t port, int fd);
  void hand_all_listeners();
  Result<void> make_role_dirs();
  void set_roles(const ipc::Roles& m);
  void hand_role(const std::string& uid, const RoleSockets& r);
  void ack(Child& c, const ipc::Frame& f, std::string error);
  void signals();
  void begin_stop(const char* why);
  bool step_stop();
  void run_timers();
  int timeout_ms() const;
  bool wanted(const Child& c) const;
  Child* child(ipc::Process p);
  void accept_control();
  void serve_control(Control& c);
  void event(std::string text);
  std::string status() const;
  void write_state();

  ipc::LaunchPlan plan_;
  Store store_;
  Exits exits_;
  std::vector<Child> children_;
  std::vector<Pair> pairs_;
  std::map<std::string, Bound> bound_;  // by purpose
  std::vector<std::unique_ptr<Control>> controls_;
  std::vector<std::string> history_;          // events, for a watcher that comes later
  std::map<std::string, RoleSockets> roles_;  // by pod uid
  Fd lock_, signal_, control_, settings_;
  Instant begun_, foreign_due_ = Instant::max();
  WallTime since_;
  bool stopping_ = false, all_ready_ = false, state_changed_ = true;
};

}  // namespace knit::supervisor
