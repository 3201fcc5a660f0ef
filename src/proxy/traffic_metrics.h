// Istio's and Knative's request metrics, under their names, as each sidecar, gateway, queue-proxy
// and activator would report them.
#pragma once

#include <array>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

#include "proxy/access_log.h"
#include "proxy/gate.h"
#include "proxy/tables.h"

namespace knit::proxy {

/// One side's report of a request or an L4 connection.
struct TrafficReport {
  const AccessRecord* record = nullptr;
  std::string_view uid;  // the pod whose sidecar reports
  bool at_destination = false;
  const pc::Workload* source = nullptr;  // nullptr: not known
  const pc::Workload* destination = nullptr;
};

/// Counters of one worker, merged by the reader. The mutex is uncontended but for a scrape. No
/// allocation for a series that is there.
class TrafficMetrics {
 public:
  static constexpr std::size_t kBuckets = 20;
  struct Histogram {
    std::uint64_t count = 0;
    double sum = 0;
    std::array<std::uint64_t, kBuckets> buckets{};
    void add(double value, const std::array<double, kBuckets>& bounds);
    void add(const Histogram& other);
  };
  struct Series {
    bool tcp = false;
    Histogram milliseconds, bytes_in, bytes_out;  // requests
    std::uint64_t opened = 0, closed = 0;         // connections
    double received = 0, sent = 0;
    void add(const Series& other);
  };
  struct Pages {
    std::map<std::string, Series> traffic;         // by labels
    std::map<std::string, Histogram> invocations;  // seconds, by labels
  };

  void count(const TrafficReport& report, std::string_view cluster_domain);
  void count_opened(const TrafficReport& report, std::string_view cluster_domain);
  /// queue-proxy's. `revision`: "namespace/name".
  void count_invocation(std::string_view uid, const pc::Workload& pod, std::string_view revision,
                        const pc::Revision& config, int status, Duration duration);
  void count_egress_refused(const std::string& what);
  void take_egress_refused(std::map<std::string, std::uint64_t>& out);

  /// `uid`: what this pod's sidecar and queue-proxy report; empty: all, also of pods that are gone.
  void merge_into(Pages& out, std::string_view uid = {}) const;
  /// The pod is gone: what its sidecar reported stays in the sum over all.
  void forget(std::string_view uid);

 private:
  static constexpr std::size_t kMaxSeries = 4000;  // past it: one series named overflow
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view s) const { return std::hash<std::string_view>{}(s); }
  };
  struct Entry {
    std::string uid, labels;
    Series series;
  };
  struct Invocations {
    std::string uid, labels;
    Histogram seconds;
  };
  Series& series(const TrafficReport& report, std::string_view cluster_domain);
  mutable std::mutex mutex_;
  std::string key_;  // scratch
  std::unordered_map<std::string, Entry, Hash, std::equal_to<>> series_;
  std::unordered_map<std::string, Invocations, Hash, std::equal_to<>> invocations_;
  std::map<std::string, Series> departed_;  // by labels
  std::map<std::string, std::uint64_t> egress_refused_;
};

/// Prometheus text: istio_requests_total, istio_request_duration_milliseconds,
/// istio_request_bytes, istio_response_bytes, istio_tcp_*_total.
std::string istio_text(const TrafficMetrics::Pages& pages);
/// kn_serving_invocation_duration_seconds.
std::string invocation_text(const TrafficMetrics::Pages& pages);
/// What one gate says under the names of queue-proxy (kn_serving_queue_depth) and the activator
/// (kn_revision_request_concurrency, _queued, _active).
std::string queue_depth_text(const RevisionGate& gate, std::string_view labels,
                             std::string_view uid);
std::string activator_text(const std::vector<std::shared_ptr<RevisionGate>>& gates,
                           const Tables& tables);
/// The attributes that Knative gives all metrics of a revision, as labels.
std::string revision_labels(std::string_view revision, const pc::Revision* config);

}  // namespace knit::proxy
