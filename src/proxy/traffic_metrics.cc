#include "proxy/traffic_metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

namespace knit::proxy {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
// Source: envoy source/common/stats/histogram_impl.cc, Istio changes nothing.
constexpr std::array<double, TrafficMetrics::kBuckets> kEnvoyBounds = {
    0.5,  1,    5,     10,    25,    50,     100,    250,     500,     1000,
    2500, 5000, 10000, 30000, 60000, 300000, 600000, 1800000, 3600000, kInfinity};
// Source: knative serving pkg/queue/sharedmain; OpenTelemetry's default bounds, in seconds.
constexpr std::array<double, TrafficMetrics::kBuckets> kSecondBounds = {
    0.005, 0.01, 0.025,     0.05,      0.075,     0.1,       0.25,      0.5,       0.75,     1, 2.5,
    5,     7.5,  kInfinity, kInfinity, kInfinity, kInfinity, kInfinity, kInfinity, kInfinity};

std::string escaped(std::string_view s) {
  std::string out;
  for (const char c : s.substr(0, 200)) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) >= 0x20) out += c;
  }
  return out;
}
void label(std::string& out, std::string_view name, std::string_view value) {
  if (!out.empty()) out += ',';
  out += name;
  out += "=\"";
  out += value.empty() ? std::string("unknown") : escaped(value);
  out += '"';
}
std::string_view label_of(const pc::Workload& w, std::string_view name) {
  const auto it = w.labels.find(std::string(name));
  return it == w.labels.end() ? std::string_view() : std::string_view(it->second);
}

/// The Deployment's name, or the pod's own. Source: istio pilot/pkg/bootstrap, WORKLOAD_NAME.
std::string_view workload_of(const pc::Workload& w) {
  const std::string_view name = w.name, hash = label_of(w, "pod-template-hash");
  const auto at = hash.empty() ? std::string_view::npos : name.rfind(hash);
  if (at == std::string_view::npos || at < 2) return name;
  return name.substr(0, at - 1);
}

/// Source: istio source/extensions/common/metadata_object; spec/mesh.md 2.10.
void end_labels(std::string& out, const std::string& side, const pc::Workload* w,
                std::string_view principal) {
  const auto one = [&](std::string_view what, std::string_view value) {
    label(out, side + std::string(what), value);
  };
  std::string_view app, version, revision;
  if (w) {
    app = label_of(*w, "app");
    version = label_of(*w, "version");
    revision = label_of(*w, "service.istio.io/canonical-revision");
    if (revision.empty()) revision = label_of(*w, "app.kubernetes.io/version");
    if (revision.empty()) revision = version;
    if (revision.empty()) revision = "latest";
  }
  one("_workload", w ? workload_of(*w) : std::string_view());
  one("_workload_namespace", w ? w->ns : std::string_view());
  one("_principal", principal);
  one("_app", app);
  one("_version", version);
  one("_cluster", w ? "Kubernetes" : "");
  one("_canonical_service", w ? w->workload_name : std::string_view());
  one("_canonical_revision", revision);
}

std::string labels_of(const TrafficReport& in, std::string_view domain) {
  const AccessRecord& r = *in.record;
  std::string out;
  label(out, "reporter", in.at_destination ? "destination" : "source");
  const bool mtls = r.mtls && in.source && in.destination;
  end_labels(out, "source", in.source, mtls ? in.source->spiffe_id : std::string_view());
  end_labels(out, "destination", in.destination,
             mtls ? in.destination->spiffe_id : std::string_view());
  const std::string_view service = r.destination_service;
  const auto slash = service.find('/');
  if (slash == std::string_view::npos) {
    label(out, "destination_service", service);
    label(out, "destination_service_name", service);
    label(out, "destination_service_namespace", in.destination ? in.destination->ns : "");
  } else {
    const std::string_view ns = service.substr(0, slash), name = service.substr(slash + 1);
    label(out, "destination_service", fmt::format("{}.{}.svc.{}", name, ns, domain));
    label(out, "destination_service_name", name);
    label(out, "destination_service_namespace", ns);
  }
  label(out, "request_protocol", r.tcp ? "tcp" : "http");
  if (!r.tcp) {
    label(out, "response_code", std::to_string(r.status));
    out += ",grpc_response_status=\"\"";
  }
  label(out, "response_flags", r.flags);
  label(out, "connection_security_policy",
        !in.at_destination ? "unknown"
        : r.mtls           ? "mutual_tls"
                           : "none");
  return out;
}

void head(std::string& out, std::string_view name, std::string_view help, std::string_view type) {
  out += fmt::format("# HELP {0} {1}\n# TYPE {0} {2}\n", name, help, type);
}
void histogram(std::string& out, std::string_view name, std::string_view labels,
               const TrafficMetrics::Histogram& h,
               const std::array<double, TrafficMetrics::kBuckets>& bounds) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < bounds.size(); ++i) {
    sum += h.buckets[i];
    const bool last = bounds[i] == kInfinity;
    out += fmt::format("{}_bucket{{{},le=\"{}\"}} {}\n", name, labels,
                       last ? std::string("+Inf") : fmt::format("{}", bounds[i]), sum);
    if (last) break;
  }
  out += fmt::format("{0}_sum{{{1}}} {2}\n{0}_count{{{1}}} {3}\n", name, labels, h.sum, h.count);
}

}  // namespace

void TrafficMetrics::Histogram::add(double value, const std::array<double, kBuckets>& bounds) {
  ++count;
  sum += value;
  for (std::size_t i = 0; i < kBuckets; ++i) {
    if (value <= bounds[i]) {
      ++buckets[i];
      return;
    }
  }
}
void TrafficMetrics::Histogram::add(const Histogram& other) {
  count += other.count;
  sum += other.sum;
  for (std::size_t i = 0; i < kBuckets; ++i) buckets[i] += other.buckets[i];
}
void TrafficMetrics::Series::add(const Series& other) {
  tcp = other.tcp;
  milliseconds.add(other.milliseconds);
  bytes_in.add(other.bytes_in);
  bytes_out.add(other.bytes_out);
  opened += other.opened;
  closed += other.closed;
  received += other.received;
  sent += other.sent;
}

TrafficMetrics::Series& TrafficMetrics::series(const TrafficReport& in, std::string_view domain) {
  const AccessRecord& r = *in.record;
  key_.clear();
  const auto part = [this](std::string_view s) {
    key_ += s;
    key_ += '\0';
  };
  part(in.uid);
  for (const pc::Workload* w : {in.source, in.destination}) {
    part(w ? std::string_view(w->ns) : std::string_view());
    part(w ? std::string_view(w->workload_name) : std::string_view());
    part(w ? std::string_view(w->spiffe_id) : std::string_view());
    // Pods of one ReplicaSet are one.
    part(w ? std::string_view(w->name).substr(0, w->name.rfind('-')) : std::string_view());
  }
  part(r.destination_service);
  part(r.flags);
  key_ += static_cast<char>('0' + (in.at_destination ? 1 : 0) + (r.mtls ? 2 : 0) + (r.tcp ? 4 : 0));
  key_ += static_cast<char>(r.status & 0xff);
  key_ += static_cast<char>(r.status >> 8);
  auto it = series_.find(std::string_view(key_));
  if (it != series_.end()) return it->second.series;
  if (series_.size() >= kMaxSeries) {
    key_ = r.tcp ? "tcp" : "http";
    it = series_.find(std::string_view(key_));
    if (it != series_.end()) return it->second.series;
    Entry rest{"", "reporter=\"overflow\"", {}};
    rest.series.tcp = r.tcp;
    return series_.emplace(key_, std::move(rest)).first->second.series;
  }
  Entry made{std::string(in.uid), labels_of(in, domain), {}};
  made.series.tcp = r.tcp;
  return series_.emplace(key_, std::move(made)).first->second.series;
}

void TrafficMetrics::count(const TrafficReport& in, std::string_view domain) {
  const AccessRecord& r = *in.record;
  const std::lock_guard lock(mutex_);
  Series& s = series(in, domain);
  if (r.tcp) {
    ++s.closed;
    s.received += static_cast<double>(r.bytes_received);
    s.sent += static_cast<double>(r.bytes_sent);
    return;
  }
  s.milliseconds.add(static_cast<double>(r.duration.count()) / 1e6, kEnvoyBounds);
  s.bytes_in.add(static_cast<double>(r.bytes_received), kEnvoyBounds);
  s.bytes_out.add(static_cast<double>(r.bytes_sent), kEnvoyBounds);
}

void TrafficMetrics::count_opened(const TrafficReport& in, std::string_view domain) {
  const std::lock_guard lock(mutex_);
  ++series(in, domain).opened;
}

void TrafficMetrics::count_invocation(std::string_view uid, const pc::Workload& pod,
                                      std::string_view revision, const pc::Revision& config,
                                      int status, Duration duration) {
  const std::lock_guard lock(mutex_);
  key_.clear();
  key_ += uid;
  key_ += static_cast<char>(status & 0xff);
  key_ += static_cast<char>(status >> 8);
  auto it = invocations_.find(std::string_view(key_));
  if (it == invocations_.end()) {
    if (invocations_.size() >= kMaxSeries) return;
    Invocations made{std::string(uid), revision_labels(revision, &config), {}};
    label(made.labels, "k8s_pod_name", pod.name);
    label(made.labels, "http_response_status_code", std::to_string(status));
    it = invocations_.emplace(key_, std::move(made)).first;
  }
  it->second.seconds.add(static_cast<double>(duration.count()) / 1e9, kSecondBounds);
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

void TrafficMetrics::merge_into(Pages& out, std::string_view uid) const {
  const std::lock_guard lock(mutex_);
  for (const auto& [key, entry] : series_) {
    if (uid.empty() || entry.uid == uid) out.traffic[entry.labels].add(entry.series);
  }
  for (const auto& [key, entry] : invocations_) {
    if (uid.empty() || entry.uid == uid) out.invocations[entry.labels].add(entry.seconds);
  }
  if (!uid.empty()) return;
  for (const auto& [labels, s] : departed_) out.traffic[labels].add(s);
}

void TrafficMetrics::forget(std::string_view uid) {
  const std::lock_guard lock(mutex_);
  std::erase_if(series_, [&](const auto& e) {
    if (e.second.uid != uid) return false;
    const bool room = departed_.size() < kMaxSeries;
    departed_[room ? e.second.labels : "reporter=\"overflow\""].add(e.second.series);
    return true;
  });
  // Named by pod: nothing could be added to them any more.
  std::erase_if(invocations_, [&](const auto& e) { return e.second.uid == uid; });
}

// ---- text

std::string istio_text(const TrafficMetrics::Pages& pages) {
  std::string out;
  const auto each = [&](bool tcp, auto write) {
    for (const auto& [labels, s] : pages.traffic) {
      if (s.tcp == tcp) write(labels, s);
    }
  };
  head(out, "istio_requests_total", "Requests.", "counter");
  each(false, [&](const std::string& labels, const TrafficMetrics::Series& s) {
    out += fmt::format("istio_requests_total{{{}}} {}\n", labels, s.milliseconds.count);
  });
  const struct {
    const char *name, *help;
    TrafficMetrics::Histogram TrafficMetrics::Series::* member;
  } histograms[] = {
      {"istio_request_duration_milliseconds", "Duration of requests.",
       &TrafficMetrics::Series::milliseconds},
      {"istio_request_bytes", "Bytes of request bodies.", &TrafficMetrics::Series::bytes_in},
      {"istio_response_bytes", "Bytes of response bodies.", &TrafficMetrics::Series::bytes_out},
  };
  for (const auto& h : histograms) {
    head(out, h.name, h.help, "histogram");
    each(false, [&](const std::string& labels, const TrafficMetrics::Series& s) {
      histogram(out, h.name, labels, s.*h.member, kEnvoyBounds);
    });
  }
  const auto counter = [&](const char* name, const char* help, auto value) {
    head(out, name, help, "counter");
    each(true, [&](const std::string& labels, const TrafficMetrics::Series& s) {
      out += fmt::format("{}{{{}}} {}\n", name, labels, value(s));
    });
  };
  using S = TrafficMetrics::Series;
  counter("istio_tcp_connections_opened_total", "Connections begun.",
          [](const S& s) { return s.opened; });
  counter("istio_tcp_connections_closed_total", "Connections ended.",
          [](const S& s) { return s.closed; });
  counter("istio_tcp_received_bytes_total", "Bytes received, of ended connections.",
          [](const S& s) { return s.received; });
  counter("istio_tcp_sent_bytes_total", "Bytes sent, of ended connections.",
          [](const S& s) { return s.sent; });
  return out;
}

std::string invocation_text(const TrafficMetrics::Pages& pages) {
  std::string out;
  head(out, "kn_serving_invocation_duration_seconds", "The duration of the task execution.",
       "histogram");
  for (const auto& [labels, h] : pages.invocations) {
    histogram(out, "kn_serving_invocation_duration_seconds", labels, h, kSecondBounds);
  }
  return out;
}

std::string revision_labels(std::string_view revision, const pc::Revision* config) {
  const auto slash = revision.find('/');
  std::string out;
  label(out, "k8s_namespace_name", revision.substr(0, slash));
  label(out, "kn_service_name", config ? config->service : std::string_view());
  label(out, "kn_configuration_name", config ? config->configuration : std::string_view());
  label(out, "kn_revision_name", revision.substr(slash + 1));
  return out;
}

std::string queue_depth_text(const RevisionGate& gate, std::string_view labels,
                             std::string_view uid) {
  std::string out;
  head(out, "kn_serving_queue_depth", "Number of current items in the queue proxy queue.", "gauge");
  out += fmt::format("kn_serving_queue_depth{{{}}} {}\n", labels, gate.pod_in_flight(uid));
  return out;
}

std::string activator_text(const std::vector<std::shared_ptr<RevisionGate>>& gates,
                           const Tables& tables) {
  std::string out;
  const auto gauge = [&](const char* name, const char* help, auto value) {
    head(out, name, help, "gauge");
    for (const auto& gate : gates) {
      const auto* config = tables.revisions.find(gate->name());
      if (!config) continue;
      out += fmt::format("{}{{{}}} {}\n", name, revision_labels(gate->name(), config),
                         value(*gate, *config));
    }
  };
  using C = const pc::Revision&;
  using G = const RevisionGate&;
  gauge("kn_revision_request_concurrency", "Concurrent requests that are routed to Activator.",
        [](G g, C c) { return c.proxy_mode ? g.in_flight() : 0U; });
  gauge("kn_revision_request_queued",
        "Number of requests currently queued in the activator waiting for capacity.",
        [](G g, C) { return g.waiting().count; });
  gauge("kn_revision_request_active",
        "Number of requests currently being proxied by the activator.", [](G g, C c) {
          const auto all = g.in_flight(), waiting = g.waiting().count;
          return c.proxy_mode && all > waiting ? all - waiting : 0U;
        });
  return out;
}

}  // namespace knit::proxy
