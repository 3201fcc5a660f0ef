// Eventing's data plane: follows the objects, carries them out, tells how they are.
#pragma once

#include <functional>
#include <map>
#include <memory>

#include "base/random.h"
#include "events/engine/engine.h"
#include "events/host/compile.h"
#include "events/host/door.h"
#include "events/host/ping.h"
#include "events/host/road.h"
#include "events/host/sender.h"
#include "kube/informer.h"

namespace knit::events {

struct HostSettings {
  EngineOptions engine;
  SenderSettings sender;
  DoorSettings door;
  Gatekeeper gatekeeper;
  std::string zones = "/usr/share/zoneinfo";
};

/// Lives on one loop. Errors of the API and of the disk are logged and tried again.
class Host {
 public:
  /// All references outlive it. `api` speaks as the process's API user; `disk` holds the streams.
  Host(io::Loop& loop, RoleRoad& road, kube::Client& api, std::shared_ptr<LogDisk> disk,
       Random& random, HostSettings settings = {});
  ~Host();
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  /// Follows the API. The doors open once the streams are as the API says for the first time; that
  /// calls `serving`, once.
  void start(std::function<void()> serving);
  /// Accepts nothing more, writes everything down. Call it once, then destroy.
  io::Task<Result<void>> stop();
  bool serving() const { return serving_; }
  /// One connection of `knit event`: HTTP/1.1 as admin.h says, from somebody who may.
  void administer(std::unique_ptr<io::Stream> stream);
  Engine& engine() { return *engine_; }
  const PingStats& pings() const { return ping_->stats(); }

 private:
  template <class View>
  struct Kind;
  template <class View>
  void follow(Kind<View>& kind);
  void changed();
  static io::Task<void> carry(Host* host);
  static io::Task<bool> carry_once(Host* host);

  io::Loop& loop_;
  kube::Client& api_;
  HostSettings settings_;
  std::unique_ptr<RoadSender> sender_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<PingRunner> ping_;
  std::set<std::pair<std::string, std::string>> without_channel_;
  std::unique_ptr<RoleDoor> ingress_, dispatcher_;
  std::unique_ptr<http::Server> admin_;
  std::unique_ptr<Kind<BrokerView>> brokers_;
  std::unique_ptr<Kind<TriggerView>> triggers_;
  std::unique_ptr<Kind<ChannelView>> channels_;
  std::unique_ptr<Kind<PingView>> pings_;
  std::function<void()> on_serving_;
  bool serving_ = false;
  bool dirty_ = false;
  io::Event wake_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);  // posted work looks at it
  io::Loop::Scope carrying_;
};

}  // namespace knit::events
