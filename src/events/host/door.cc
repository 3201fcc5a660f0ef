#include "events/host/door.h"

#include "base/log.h"

namespace knit::events {
namespace {

constexpr std::string_view kLogModule = "events";
constexpr Duration kPause = std::chrono::milliseconds(50);

http::ServerSettings server_settings(const DoorSettings& s) {
  http::ServerSettings out;
  out.max_connections = s.max_connections;
  out.max_body = s.max_body;
  out.max_bodies = s.max_bodies;
  return out;
}

http::Response error_answer(int status, std::string_view text) {
  if (status == 413) return answer(Outcome::TooLarge, text);
  if (status == 503) return answer(Outcome::BackPressure, text);
  http::Response out = answer(Outcome::NotAnEvent, text);
  out.status = status;
  return out;
}

// Identities have neither spaces nor line ends in them.
std::string join(const std::vector<std::string>& hops) {
  std::string out;
  for (const auto& hop : hops) out += (out.empty() ? "" : " ") + hop;
  return out;
}
std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> out;
  while (!text.empty()) {
    const auto space = text.find(' ');
    out.emplace_back(text.substr(0, space));
    text = space == std::string_view::npos ? std::string_view() : text.substr(space + 1);
  }
  return out;
}

}  // namespace

RoleDoor::RoleDoor(io::Loop& loop, RoleRoad& road, Engine& engine, Door door, std::string role,
                   const std::set<std::pair<std::string, std::string>>& without_channel,
                   Gatekeeper gatekeeper, DoorSettings settings)
    : loop_(loop),
      road_(road),
      engine_(engine),
      door_(door),
      role_(std::move(role)),
      without_channel_(without_channel),
      gatekeeper_(std::move(gatekeeper)),
      settings_(settings),
      server_(
          loop, server_settings(settings),
          [this](http::Request request, http::Peer peer, http::Responder& responder) {
            return handle(this, std::move(request), std::move(peer.tag), &responder);
          },
          error_answer) {}
RoleDoor::~RoleDoor() = default;

void RoleDoor::open() { accepting_ = loop_.spawn_scoped(accept(this)); }
void RoleDoor::drain() {
  accepting_.cancel();
  server_.drain();
}

io::Task<void> RoleDoor::accept(RoleDoor* door) {
  while (true) {
    // Those that are too many wait in the listener's queue.
    while (door->server_.connections() >= door->settings_.max_connections) {
      co_await io::sleep_for(door->loop_, kPause);
    }
    auto connection = co_await door->road_.accept(door->role_);
    if (connection) {
      door->server_.serve(std::move(connection->stream), join(connection->hops));
      continue;
    }
    KNIT_LOG(Debug, "a connection failed", KV("role", door->role_),
             KV("error", connection.error()));
    co_await io::sleep_for(door->loop_, kPause);
  }
}

io::Task<void> RoleDoor::handle(RoleDoor* door, http::Request request, std::string hops,
                                http::Responder* responder) {
  const Address address =
      address_of(door->door_, request.method, request.path, request.headers.get("Host"));
  http::Response response;
  if (door->door_ == Door::Broker && address.outcome == Outcome::Accepted &&
      door->without_channel_.contains({address.target.ns, address.target.name})) {
    response = answer(Outcome::NoBackend);
  } else {
    Engine::Allow allow;
    if (door->gatekeeper_) {
      allow = [&gatekeeper = door->gatekeeper_, callers = split(hops)](const Target& target,
                                                                       const Event& event) {
        return gatekeeper(callers, target, event);
      };
    }
    response = co_await door->engine_.ingest(door->door_, std::move(request), std::move(allow));
  }
  const auto sent = co_await responder->send(std::move(response));
  if (!sent) KNIT_LOG(Debug, "an answer was not read", KV("role", door->role_));
}

}  // namespace knit::events
