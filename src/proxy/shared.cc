#include "proxy/shared.h"

#include <fmt/format.h>

#include <algorithm>

namespace knit::proxy {
namespace {

constexpr std::array<double, 20> kBucketsMs = {
    0.5,  1,    5,     10,    25,    50,     100,    250,     500,     1000,
    2500, 5000, 10000, 30000, 60000, 300000, 600000, 1800000, 3600000, 1e18};

std::string label(std::string_view s) {
  if (s.empty()) return "unknown";
  std::string out;
  for (const char c : s.substr(0, 200)) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) >= 0x20) out += c;
  }
  return out;
}
}  // namespace

void TrafficMetrics::count(const AccessRecord& r) {
  std::string key = fmt::format(
      "reporter=\"{}\",source_workload=\"{}\",source_workload_namespace=\"{}\",source_principal="
      "\"{}\",destination_workload=\"{}\",destination_workload_namespace=\"{}\",destination_"
      "principal=\"{}\",destination_service=\"{}\",request_protocol=\"{}\",response_code=\"{}\","
      "response_flags=\"{}\",connection_security_policy=\"{}\"",
      label(r.reporter), label(r.source_workload), label(r.source_namespace),
      label(r.source_principal), label(r.destination_workload), label(r.destination_namespace),
      label(r.destination_principal), label(r.destination_service), r.tcp ? "tcp" : "http",
      r.status, r.flags, r.mtls ? "mutual_tls" : "none");
  const double in_ms = static_cast<double>(r.duration.count()) / 1e6;
  const std::lock_guard lock(mutex_);
  if (series_.size() >= kMaxSeries && !series_.contains(key)) key = "reporter=\"overflow\"";
  Series& s = series_[key];
  ++s.count;
  s.seconds += in_ms / 1e3;
  s.bytes_in += static_cast<double>(r.bytes_received);
  s.bytes_out += static_cast<double>(r.bytes_sent);
  for (std::size_t i = 0; i < kBucketsMs.size(); ++i) {
    if (in_ms <= kBucketsMs[i]) {
      ++s.buckets[i];
      break;
    }
  }
}

void TrafficMetrics::count_egress_refused(const std::string& what) {
  const std::lock_guard lock(mutex_);
  if (egress_refused_.size() >= 1000 && !egress_refused_.contains(what)) {
    ++egress_refused_["other"];
    return;
  }
  ++egress_refused_[what];
}
void TrafficMetrics::take_egress_refused(std::map<std::string, std::uint64_t>& out) {
  const std::lock_guard lock(mutex_);
  for (const auto& [what, n] : egress_refused_) out[what] += n;
  egress_refused_.clear();
}

void TrafficMetrics::merge_into(std::map<std::string, Series>& out) const {
  const std::lock_guard lock(mutex_);
  for (const auto& [key, s] : series_) {
    Series& o = out[key];
    o.count += s.count;
    o.seconds += s.seconds;
    o.bytes_in += s.bytes_in;
    o.bytes_out += s.bytes_out;
    for (std::size_t i = 0; i < s.buckets.size(); ++i) o.buckets[i] += s.buckets[i];
  }
}

std::string prometheus_text(const std::map<std::string, TrafficMetrics::Series>& series) {
  std::string out =
      "# HELP istio_requests_total Requests handled by Knit's proxy, with Istio's labels.\n"
      "# TYPE istio_requests_total counter\n";
  for (const auto& [key, s] : series) {
    out += fmt::format("istio_requests_total{{{}}} {}\n", key, s.count);
  }
  out +=
      "# HELP istio_request_duration_milliseconds Duration of requests.\n"
      "# TYPE istio_request_duration_milliseconds histogram\n";
  for (const auto& [key, s] : series) {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < kBucketsMs.size(); ++i) {
      sum += s.buckets[i];
      const std::string le = i + 1 == kBucketsMs.size() ? "+Inf" : fmt::format("{}", kBucketsMs[i]);
      out += fmt::format("istio_request_duration_milliseconds_bucket{{{},le=\"{}\"}} {}\n", key, le,
                         sum);
    }
    out += fmt::format("istio_request_duration_milliseconds_sum{{{}}} {}\n", key, s.seconds * 1e3);
    out += fmt::format("istio_request_duration_milliseconds_count{{{}}} {}\n", key, s.count);
  }
  out +=
      "# HELP istio_request_bytes Bytes of request bodies and heads.\n"
      "# TYPE istio_request_bytes summary\n";
  for (const auto& [key, s] : series) {
    out += fmt::format("istio_request_bytes_sum{{{0}}} {1}\nistio_request_bytes_count{{{0}}} {2}\n",
                       key, s.bytes_in, s.count);
  }
  out +=
      "# HELP istio_response_bytes Bytes of response bodies and heads.\n"
      "# TYPE istio_response_bytes summary\n";
  for (const auto& [key, s] : series) {
    out +=
        fmt::format("istio_response_bytes_sum{{{0}}} {1}\nistio_response_bytes_count{{{0}}} {2}\n",
                    key, s.bytes_out, s.count);
  }
  return out;
}

std::shared_ptr<RevisionGate> Shared::gate(std::string_view revision) {
  const std::lock_guard lock(mutex_);
  const auto it = gates_.find(revision);
  if (it != gates_.end()) return it->second;
  auto gate = std::make_shared<RevisionGate>(std::string(revision));
  gate->set_on_demand([this, name = std::string(revision)] {
    if (demand) demand(name);
  });
  gates_.emplace(std::string(revision), gate);
  return gate;
}
std::vector<std::shared_ptr<RevisionGate>> Shared::gates() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<RevisionGate>> out;
  for (const auto& [name, gate] : gates_) out.push_back(gate);
  return out;
}
void Shared::drop_gate(std::string_view revision) {
  const std::lock_guard lock(mutex_);
  const auto it = gates_.find(revision);
  if (it != gates_.end()) gates_.erase(it);
}

}  // namespace knit::proxy
