// Ticks of PingSources: pingsource-mt-adapter.
// Source: knative/eventing pkg/adapter/mtping/runner.go; spec/eventing.md 1.7, 3.1
#pragma once

#include <list>
#include <map>
#include <memory>
#include <string>

#include "base/random.h"
#include "cron/schedule.h"
#include "events/delivery/dispatcher.h"
#include "events/host/views.h"

namespace knit::events {

struct PingStats {
  std::uint64_t ticks = 0, sent = 0, lost = 0;
};

/// On one loop. A tick is sent within 500 ms (so that not all of them come at once), with five
/// retries whose waits double from 50 ms; what then failed is lost and counted, as upstream.
class PingRunner {
 public:
  /// All references outlive it. `zones`: the directory of time zone files.
  PingRunner(io::Loop& loop, Sender& sender, Random& random,
             std::string zones = "/usr/share/zoneinfo");
  ~PingRunner();
  PingRunner(const PingRunner&) = delete;
  PingRunner& operator=(const PingRunner&) = delete;

  /// What ticks from now on; those that stay as they are go on undisturbed.
  void set(const std::vector<std::shared_ptr<const PingView>>& pings);
  void stop();
  std::size_t sending() const { return sending_.size(); }
  const PingStats& stats() const { return stats_; }

 private:
  struct Job {
    std::shared_ptr<const PingView> ping;
    io::Loop::Scope task;
  };
  static io::Task<void> tick(PingRunner* runner, std::shared_ptr<const PingView> ping,
                             cron::Schedule schedule, cron::TimeZone zone);
  static io::Task<void> send(PingRunner* runner, std::shared_ptr<const PingView> ping,
                             Duration spread, std::string id, std::uint64_t number);
  void fire(const std::shared_ptr<const PingView>& ping);

  io::Loop& loop_;
  Sender& sender_;
  Random& random_;
  std::string zones_;
  std::map<std::string, Job> jobs_;  // by uid
  std::map<std::uint64_t, io::Loop::Scope> sending_;
  std::uint64_t numbers_ = 0;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);  // posted work looks at it
  PingStats stats_;
};

/// The event of one tick. Errors: InvalidArgument (an extension's name).
Result<Event> ping_event(const PingView& ping, std::string id, WallTime now);

}  // namespace knit::events
