// Roles that run inside the events process: their pods have no namespace and no container, only two
// Unix sockets each (ipc/roles.h). What arrives at such a pod goes into its ingress; what the role
// opens at its egress is the pod's own connection, judged as any pod's.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "ipc/roles.h"
#include "proxy/conn.h"
#include "proxy/session.h"
#include "proxy/worker.h"

namespace knit::proxy {

/// What becomes of a role's dial. Pure.
struct RoleVerdict {
  ipc::RoleAnswer answer;  // with a reason: refused
  std::string ip;          // resolved
  std::uint16_t port = 0;
};
RoleVerdict judge_dial(const Tables& t, const std::string& uid, const ipc::RoleDial& dial);

/// Reads the first frame of an egress connection, answers it, and lets the pod's connection begin.
class RoleDoorway final : public Session, public Conn::Owner {
 public:
  RoleDoorway(Worker& worker, std::unique_ptr<Conn> conn, std::string uid);
  ~RoleDoorway() override;
  void begin();
  void on_conn(Conn& conn) override;
  void drain() override { close(); }

 private:
  void dialled(const ipc::RoleDial& dial);
  void close();
  std::unique_ptr<Conn> conn_;
  const std::string uid_;
  io::Loop::Timer timer_;
  bool gone_ = false;
};

/// A connection to a role's ingress, not started; nullptr when nobody listens there.
std::unique_ptr<Conn> connect_role(io::Loop& loop, const std::string& path);

/// Knows which roles are served: holds one probe connection to each, which events answers and keeps
/// open. Its end is the end of the process or of the role. On the main loop.
class RoleProber {
 public:
  struct Hooks {
    /// A role is served, or not: at once.
    std::function<void(const std::string& uid, bool up)> up;
    /// For the node, which owns Ready: an end is told only when it lasts.
    std::function<void(const ipc::Probed&)> probed;
  };
  RoleProber(io::Loop& loop, std::string run_dir, Hooks hooks);
  ~RoleProber();
  void add(const std::string& uid);
  void remove(const std::string& uid);
  /// A new node is told everything; it may not know the pods yet, so tick() repeats it.
  void resend();
  void tick();  // each second

 private:
  class Attempt;
  struct Pod {
    std::unique_ptr<Attempt> attempt;
    bool up = false, told = false, told_up = false;
    Instant since{};  // of the last change of `up`
    io::Loop::Timer again, lasting;
  };
  void start(const std::string& uid);
  void answered(const std::string& uid, std::string reason);
  void ended(const std::string& uid);
  void tell(const std::string& uid, Pod& pod);

  io::Loop& loop_;
  const std::string run_dir_;
  Hooks hooks_;
  std::map<std::string, Pod> pods_;
  unsigned ticks_ = 0;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace knit::proxy
