#include "app/autoscaling.h"

namespace knit::app {
namespace {
/// Reports older than this are history, not load (ipc.md, Stats).
constexpr Duration kStale = std::chrono::seconds(3);
}  // namespace

Autoscaling::Autoscaling(io::Loop& loop, reconcile::Backend& backend, serving::ContextPtr context)
    : loop_(loop),
      backend_(backend),
      context_(std::move(context)),
      autoscaler_([this](const std::string& revision, const autoscaler::Decision& decision) {
        backend_.signals().set(reconcile::Signal::Decision, serving::pod_autoscaler_key(revision),
                               serving::decision_signal(decision));
      }) {
  timer_ = loop_.after(autoscaler::Autoscaler::kTick, [this] { tick(); });
}

void Autoscaling::sync() {
  serving::sync_autoscaler(autoscaler_, *backend_.snapshot(), *context_, loop_.now());
}

void Autoscaling::tick() {
  timer_ = loop_.after(autoscaler::Autoscaler::kTick, [this] { tick(); });
  sync();
  autoscaler_.tick(loop_.now());
}

void Autoscaling::on_stats(const ipc::Stats& stats) {
  if (loop_.wall_now() - stats.when > kStale) return;
  std::vector<autoscaler::Sample> samples;
  samples.reserve(stats.revisions.size());
  for (const auto& r : stats.revisions) {
    samples.push_back({r.revision, r.average_concurrency, r.requests_per_second});
    if (const auto it = modes_.find(r.revision); it != modes_.end()) {
      it->second.running = r.sks_hash;
      confirm(r.revision);
    }
  }
  autoscaler_.on_stats(samples, loop_.now());
}

void Autoscaling::on_demand(const ipc::Demand& demand) {
  if (demand.waiting == 0) return;
  if (autoscaler_.last(demand.revision) == nullptr) sync();
  autoscaler_.on_demand(demand.revision, loop_.now());
}

void Autoscaling::on_revision(const std::string& revision, std::string sks_hash, bool proxy_mode) {
  Mode& mode = modes_[revision];
  mode.wanted = std::move(sks_hash);
  mode.proxy_mode = proxy_mode;
  confirm(revision);
}

void Autoscaling::forget_revision(const std::string& revision) {
  modes_.erase(revision);
  backend_.signals().set(reconcile::Signal::Activator, serving::pod_autoscaler_key(revision), {});
}

void Autoscaling::confirm(const std::string& revision) {
  const Mode& mode = modes_[revision];
  JsonObject signal;
  signal["confirmed"] = mode.proxy_mode && !mode.wanted.empty() && mode.wanted == mode.running;
  backend_.signals().set(reconcile::Signal::Activator, serving::pod_autoscaler_key(revision),
                         std::move(signal));
}

}  // namespace knit::app
