// The road of the events process: the shared listeners at which the proxy connects, and the sockets
// of the roles at which the proxy accepts (ipc/roles.h). On one loop.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>

#include "events/host/road.h"
#include "io/loop.h"
#include "ipc/roles.h"

namespace knit::app {

class UnixRoad final : public events::RoleRoad {
 public:
  UnixRoad(io::Loop& loop, std::string run_dir);
  ~UnixRoad() override;

  /// The supervisor's Listener messages of purpose role-ingress. Errors: of the system.
  Result<void> add(const std::string& role, const std::string& uid, Fd listener);
  void remove(const std::string& uid);
  /// Probes are answered from now on: the proxy sends requests, the pods become Ready.
  void serve();
  /// The proxy learns at once that nobody is here; connections that are open go on.
  void stop();
  std::size_t roles() const { return pods_.size(); }

  io::Task<Result<events::RoleConnection>> accept(std::string role) override;
  io::Task<Result<std::unique_ptr<io::Stream>>> connect(std::string role,
                                                        events::RoleTarget to) override;

 private:
  struct Queue {
    std::deque<Result<events::RoleConnection>> waiting;
    io::Event event;
    bool accepted = false;  // somebody takes them
  };
  struct Pod;
  static io::Task<void> greet(UnixRoad* road, std::string uid, std::uint64_t number,
                              std::unique_ptr<io::Stream> stream);
  static io::Task<Result<events::RoleConnection>> next(UnixRoad* road, std::string role);
  static io::Task<Result<std::unique_ptr<io::Stream>>> dial(UnixRoad* road, std::string role,
                                                            events::RoleTarget to);
  void forget(const std::string& uid, std::uint64_t number);
  void arrived(const std::string& role, Result<events::RoleConnection> connection);

  io::Loop& loop_;
  const std::string run_dir_;
  std::map<std::string, std::unique_ptr<Pod>> pods_;  // by uid
  std::map<std::string, Queue> queues_;               // by role
  std::uint64_t numbers_ = 0;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
  bool served_ = false;
};

}  // namespace knit::app
