#include "load/report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace knit::load {
namespace {

constexpr std::size_t kFailuresKept = 1'000;
constexpr std::size_t kGaps = 5;

}  // namespace

void Report::add(const Sample& sample) {
  ++requests_;
  if (sample.fresh) ++connections_;
  if (sample.error.empty()) {
    good_.push_back({sample.due, sample.done});
    return;
  }
  ++errors_[sample.error];
  if (failures_.size() < kFailuresKept) failures_.push_back(sample);
}

double percentile(const std::vector<double>& sorted, double share) {
  if (sorted.empty()) return 0;
  const auto rank = std::ceil(share * static_cast<double>(sorted.size()));
  const auto index = static_cast<std::size_t>(std::max(rank, 1.0)) - 1;
  return sorted[std::min(index, sorted.size() - 1)];
}

Json Report::json(Seconds ended, Seconds cpu) const {
  boost::json::object out;
  out["began"] = began_;
  out["ended"] = ended;
  out["requests"] = requests_;
  out["good"] = good_.size();
  out["connections"] = connections_;
  out["idle_closed"] = idle_closed_;
  boost::json::object errors;
  for (const auto& [kind, n] : errors_) errors[kind] = n;
  out["errors"] = errors;
  boost::json::array failures;
  for (const Sample& f : failures_)
    failures.push_back({{"kind", f.error},
                        {"due", f.due},
                        {"begun", f.begun},
                        {"sent", f.sent},
                        {"done", f.done},
                        {"fresh", f.fresh},
                        {"status", f.status}});
  out["failures"] = failures;
  out["rps"] = ended > began_ ? static_cast<double>(good_.size()) / (ended - began_) : 0.0;
  std::vector<double> latency, done;
  latency.reserve(good_.size());
  done.reserve(good_.size() + 2);
  done.push_back(began_);
  for (const Good& g : good_) {
    latency.push_back((g.done - g.due) * 1000);
    done.push_back(g.done);
  }
  std::sort(latency.begin(), latency.end());
  double sum = 0;
  for (const double l : latency) sum += l;
  boost::json::object times;
  for (const auto& [name, share] : {std::pair<const char*, double>{"p50", 0.5},
                                    {"p90", 0.9},
                                    {"p95", 0.95},
                                    {"p99", 0.99},
                                    {"max", 1.0}})
    times[name] = percentile(latency, share);
  times["mean"] = latency.empty() ? 0.0 : sum / static_cast<double>(latency.size());
  out["latency_ms"] = times;
  // The longest times without a good answer.
  done.push_back(ended);
  std::sort(done.begin(), done.end());
  std::vector<std::pair<double, Seconds>> gaps;
  for (std::size_t i = 1; i < done.size(); ++i) gaps.emplace_back(done[i] - done[i - 1], done[i]);
  const std::size_t shown = std::min(gaps.size(), kGaps);
  std::partial_sort(gaps.begin(), gaps.begin() + static_cast<std::ptrdiff_t>(shown), gaps.end(),
                    std::greater<>());
  boost::json::array longest;
  for (std::size_t i = 0; i < shown; ++i)
    longest.push_back({{"from", gaps[i].second - gaps[i].first},
                       {"to", gaps[i].second},
                       {"seconds", gaps[i].first}});
  out["gaps"] = longest;
  out["client_cpu_seconds"] = cpu;
  return out;
}

std::string trace_line(const Sample& s) {
  char line[160];
  std::snprintf(line, sizeof(line), "%llu\t%.6f\t%.6f\t%.6f\t%.6f\t%d\t%d\t",
                static_cast<unsigned long long>(s.n), s.due, s.begun, s.sent, s.done, s.status,
                s.fresh ? 1 : 0);
  return line + (s.error.empty() ? "ok" : s.error) + "\n";
}

}  // namespace knit::load
