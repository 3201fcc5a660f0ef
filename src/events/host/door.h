// An HTTP server at a role's door: requests that arrive on the road become events.
#pragma once

#include <functional>
#include <set>

#include "events/engine/engine.h"
#include "events/host/road.h"
#include "http/server.h"

namespace knit::events {

struct DoorSettings {
  std::size_t max_connections = 512;
  std::size_t max_body = 17 << 20;    // above what Limits let through (a batch)
  std::size_t max_bodies = 64 << 20;  // of all requests that are under way; beyond: 503
};

/// Judges an event for the identities it came with (EventPolicies); empty allows all.
using Gatekeeper =
    std::function<Outcome(const std::vector<std::string>& hops, const Target&, const Event&)>;

class RoleDoor {
 public:
  /// All references outlive it. `without_channel`: brokers that answer 500 for now.
  RoleDoor(io::Loop& loop, RoleRoad& road, Engine& engine, Door door, std::string role,
           const std::set<std::pair<std::string, std::string>>& without_channel,
           Gatekeeper gatekeeper, DoorSettings settings = {});
  ~RoleDoor();
  RoleDoor(const RoleDoor&) = delete;
  RoleDoor& operator=(const RoleDoor&) = delete;

  /// Accepts connections from now on.
  void open();
  /// Accepts no more, and closes what is idle; the others after their current answer.
  void drain();
  std::size_t connections() const { return server_.connections(); }

 private:
  static io::Task<void> accept(RoleDoor* door);
  static io::Task<void> handle(RoleDoor* door, http::Request request, std::string hops,
                               http::Responder* responder);

  io::Loop& loop_;
  RoleRoad& road_;
  Engine& engine_;
  Door door_;
  std::string role_;
  const std::set<std::pair<std::string, std::string>>& without_channel_;
  Gatekeeper gatekeeper_;
  DoorSettings settings_;
  http::Server server_;
  io::Loop::Scope accepting_;
};

}  // namespace knit::events
