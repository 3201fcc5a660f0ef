// Admission to one revision: which pod takes the next request, who waits, and what the autoscaler
// is told. Shared by all workers; everything is under one leaf mutex (short, never held over I/O).
// Activation queue, queue-proxy's breaker and the concurrency report in one exact place.
// Source: knative/serving pkg/activator/net/throttler.go, lb_policy.go, pkg/queue/breaker.go,
// pkg/http/stats (spec/serving.md 4.1, 5.4, 5.5).
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/time.h"
#include "proxy_config/types.h"

namespace knit::proxy {

class RevisionGate {
 public:
  explicit RevisionGate(std::string name) : name_(std::move(name)) {}

  struct Outcome {
    bool granted = false;
    std::string uid;
  };
  /// Called from any thread, outside the mutex: post to your own loop. A grant that nobody wants
  /// any more must be given back with release().
  using Resume = std::function<void(Outcome)>;
  enum class Admit { Now, Queued, Full };
  struct Admission {
    Admit admit = Admit::Full;
    std::string uid;           // Now
    std::uint64_t ticket = 0;  // Queued: for cancel()
  };

  /// `pin`: only this pod will do (a request that came to the pod's own address). `resume` is
  /// called once, unless the ticket is cancelled first.
  Admission acquire(Instant now, std::string_view pin, Resume resume);
  /// The waiter gave up. False: it was granted meanwhile, `resume` runs or ran.
  bool cancel(Instant now, std::uint64_t ticket);
  void release(Instant now, std::string_view uid);

  void configure(Instant now, const proxy_config::Revision& revision);
  void set_pod(Instant now, std::string_view uid, bool usable);
  void remove_pod(Instant now, std::string_view uid);
  /// The revision is gone: whoever waits is refused.
  void close(Instant now);

  struct Report {
    double average_concurrency = 0, requests_per_second = 0;
    std::uint32_t in_flight = 0;
    std::map<std::string, double> pods;
    bool traffic = false;  // anything since the last report
  };
  /// Averages since the last cut.
  Report cut(Instant now);
  struct Waiting {
    std::uint32_t count = 0;
    Instant oldest{};
  };
  Waiting waiting() const;
  std::uint32_t in_flight() const;
  bool has_pod() const;
  bool usable(std::string_view uid) const;
  std::uint32_t pod_in_flight(std::string_view uid) const;
  const std::string& name() const { return name_; }
  /// Runs on the calling thread when the queue goes from empty to not empty.
  void set_on_demand(std::function<void()> on_demand);

 private:
  struct Integral {
    std::uint32_t value = 0;
    double area = 0;  // value × seconds
    void move(Duration dt) {
      area += static_cast<double>(value) * static_cast<double>(dt.count()) / 1e9;
    }
  };
  struct Pod {
    Integral in_flight;
    bool usable = false;
    bool gone = false;
  };
  struct Waiter {
    std::uint64_t ticket;
    std::string pin;
    Instant since;
    Resume resume;
  };
  void advance(Instant now);
  std::string pick(std::string_view pin);
  void grant_waiting(std::vector<std::pair<Resume, Outcome>>& out);
  std::size_t queue_limit() const;

  const std::string name_;
  mutable std::mutex mutex_;
  std::map<std::string, Pod, std::less<>> pods_;
  std::list<Waiter> queue_;
  Integral total_;
  std::uint64_t arrivals_ = 0, next_ticket_ = 1, random_ = 0x9e3779b97f4a7c15;
  std::size_t round_robin_ = 0;
  Instant last_{}, cut_{};
  std::uint32_t concurrency_ = 0;
  bool proxy_mode_ = true;
  std::function<void()> on_demand_;
};

}  // namespace knit::proxy
