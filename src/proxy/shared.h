// What all workers and the main loop share: the gates, the counters, and the ways to the main loop.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/random.h"
#include "proxy/access_log.h"
#include "proxy/gate.h"
#include "proxy/shards.h"

namespace knit::proxy {

/// Counters of one worker, merged by the reader. The mutex is uncontended but for a scrape.
class TrafficMetrics {
 public:
  void count(const AccessRecord& r);
  void count_egress_refused(const std::string& what);
  struct Series {
    std::uint64_t count = 0;
    double seconds = 0;
    std::array<std::uint64_t, 20> buckets{};
    double bytes_in = 0, bytes_out = 0;
  };
  void merge_into(std::map<std::string, Series>& out) const;
  void take_egress_refused(std::map<std::string, std::uint64_t>& out);

 private:
  static constexpr std::size_t kMaxSeries = 2000;  // past it: one series with label "overflow"
  mutable std::mutex mutex_;
  std::map<std::string, Series, std::less<>> series_;
  std::map<std::string, std::uint64_t> egress_refused_;
};
/// istio_requests_total, istio_request_duration_milliseconds, istio_request_bytes,
/// istio_response_bytes.
std::string prometheus_text(const std::map<std::string, TrafficMetrics::Series>& series);

class Shared {
 public:
  explicit Shared(std::unique_ptr<Random> r) : random(std::move(r)) {}
  const std::unique_ptr<Random> random;  // thread-safe
  /// Any thread. Never nullptr; made on first use.
  std::shared_ptr<RevisionGate> gate(std::string_view revision);
  std::vector<std::shared_ptr<RevisionGate>> gates() const;
  void drop_gate(std::string_view revision);

  /// Set once before the workers run; called from worker threads, so they post.
  std::function<void(const std::string& uid, std::uint32_t level, unsigned worker)> want;
  std::function<void(const std::string& revision)> demand;
  std::function<void(AccessLog::Batch batch)> access_log;
  std::function<std::string(const std::string& uid, std::string_view path)> admin_page;

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<RevisionGate>, std::less<>> gates_;
};

}  // namespace knit::proxy
