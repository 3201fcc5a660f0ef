#include "proxy/gate.h"

#include <algorithm>

namespace knit::proxy {
namespace {
// Upstream's activator queue is bounded by client timeouts and memory only (spec/serving.md 5.4);
// DIFFERS: a bound that a machine can hold.
constexpr std::size_t kActivatorQueue = 100'000;
}  // namespace

void RevisionGate::advance(Instant now) {
  if (last_ == Instant{}) last_ = cut_ = now;
  if (now <= last_) return;
  const Duration dt = now - last_;
  total_.move(dt);
  for (auto& [uid, pod] : pods_) pod.in_flight.move(dt);
  last_ = now;
}

std::size_t RevisionGate::queue_limit() const {
  if (proxy_mode_ || concurrency_ == 0) return kActivatorQueue;
  return std::size_t{10} * concurrency_ * std::max<std::size_t>(pods_.size(), 1);
}

/// CC=0: two random choices, fewer in flight; CC<=3: the first with a free slot; else round robin.
std::string RevisionGate::pick(std::string_view pin) {
  std::vector<std::pair<const std::string*, const Pod*>> open;
  for (const auto& [uid, pod] : pods_) {
    if (!pod.usable || (!pin.empty() && uid != pin)) continue;
    if (concurrency_ != 0 && pod.in_flight.value >= concurrency_) continue;
    open.emplace_back(&uid, &pod);
  }
  if (open.empty()) return {};
  if (open.size() == 1) return *open.front().first;
  if (concurrency_ == 0) {
    const auto next = [&] {
      random_ ^= random_ << 13;
      random_ ^= random_ >> 7;
      random_ ^= random_ << 17;
      return random_;
    };
    const std::size_t a = next() % open.size();
    std::size_t b = next() % (open.size() - 1);
    if (b >= a) ++b;
    return *(open[a].second->in_flight.value <= open[b].second->in_flight.value ? open[a] : open[b])
                .first;
  }
  if (concurrency_ <= 3) return *open.front().first;
  return *open[round_robin_++ % open.size()].first;
}

RevisionGate::Admission RevisionGate::acquire(Instant now, std::string_view pin, Resume resume) {
  std::function<void()> demand;
  Admission out;
  {
    const std::lock_guard lock(mutex_);
    advance(now);
    ++arrivals_;
    std::string uid = queue_.empty() || !pin.empty() ? pick(pin) : std::string();
    if (!uid.empty()) {
      ++total_.value;
      ++pods_.find(uid)->second.in_flight.value;
      return {Admit::Now, std::move(uid), 0};
    }
    std::size_t same_pin = 0;
    if (!pin.empty()) {
      const auto pod = pods_.find(pin);
      if (pod == pods_.end() || pod->second.gone) {
        --arrivals_;
        return {Admit::Full, {}, 0};
      }
      same_pin = static_cast<std::size_t>(std::count_if(
          queue_.begin(), queue_.end(), [&](const Waiter& w) { return w.pin == pin; }));
    }
    const bool pinned_full =
        !pin.empty() && concurrency_ != 0 && same_pin >= std::size_t{10} * concurrency_;
    if (pinned_full || queue_.size() >= queue_limit()) return {Admit::Full, {}, 0};
    ++total_.value;
    out = {Admit::Queued, {}, next_ticket_++};
    queue_.push_back({out.ticket, std::string(pin), now, std::move(resume)});
    if (queue_.size() == 1) demand = on_demand_;
  }
  if (demand) demand();
  return out;
}

bool RevisionGate::cancel(Instant now, std::uint64_t ticket) {
  Resume dropped;  // destroyed outside the mutex
  const std::lock_guard lock(mutex_);
  advance(now);
  const auto it = std::find_if(queue_.begin(), queue_.end(),
                               [&](const Waiter& w) { return w.ticket == ticket; });
  if (it == queue_.end()) return false;
  dropped = std::move(it->resume);
  queue_.erase(it);
  --total_.value;
  return true;
}

void RevisionGate::grant_waiting(std::vector<std::pair<Resume, Outcome>>& out) {
  for (auto it = queue_.begin(); it != queue_.end();) {
    std::string uid = pick(it->pin);
    if (uid.empty()) {
      if (it->pin.empty()) break;  // nor has anyone behind it a chance, but for pinned ones
      ++it;
      continue;
    }
    ++pods_.find(uid)->second.in_flight.value;
    out.emplace_back(std::move(it->resume), Outcome{true, std::move(uid)});
    it = queue_.erase(it);
  }
}

void RevisionGate::release(Instant now, std::string_view uid) {
  std::vector<std::pair<Resume, Outcome>> granted;
  {
    const std::lock_guard lock(mutex_);
    advance(now);
    --total_.value;
    const auto it = pods_.find(uid);
    if (it != pods_.end()) {
      --it->second.in_flight.value;
      if (it->second.gone && it->second.in_flight.value == 0) pods_.erase(it);
    }
    grant_waiting(granted);
  }
  for (auto& [resume, outcome] : granted) resume(std::move(outcome));
}

void RevisionGate::configure(Instant now, const proxy_config::Revision& revision) {
  std::vector<std::pair<Resume, Outcome>> granted;
  {
    const std::lock_guard lock(mutex_);
    advance(now);
    concurrency_ = revision.container_concurrency;
    proxy_mode_ = revision.proxy_mode;
    grant_waiting(granted);
  }
  for (auto& [resume, outcome] : granted) resume(std::move(outcome));
}

void RevisionGate::set_pod(Instant now, std::string_view uid, bool usable) {
  std::vector<std::pair<Resume, Outcome>> granted;
  {
    const std::lock_guard lock(mutex_);
    advance(now);
    auto it = pods_.find(uid);
    if (it == pods_.end()) it = pods_.emplace(std::string(uid), Pod{}).first;
    it->second.usable = usable;
    it->second.gone = false;
    if (usable) grant_waiting(granted);
  }
  for (auto& [resume, outcome] : granted) resume(std::move(outcome));
}

void RevisionGate::remove_pod(Instant now, std::string_view uid) {
  std::vector<Resume> refused;
  {
    const std::lock_guard lock(mutex_);
    advance(now);
    const auto it = pods_.find(uid);
    if (it == pods_.end()) return;
    it->second.usable = false;
    it->second.gone = true;
    if (it->second.in_flight.value == 0) pods_.erase(it);
    for (auto w = queue_.begin(); w != queue_.end();) {
      if (w->pin != uid) {
        ++w;
        continue;
      }
      refused.push_back(std::move(w->resume));
      w = queue_.erase(w);
      --total_.value;
    }
  }
  for (auto& resume : refused) resume({});
}

void RevisionGate::close(Instant now) {
  std::list<Waiter> refused;
  {
    const std::lock_guard lock(mutex_);
    advance(now);
    refused.swap(queue_);
    total_.value -= static_cast<std::uint32_t>(refused.size());
  }
  for (auto& w : refused) w.resume({});
}

RevisionGate::Report RevisionGate::cut(Instant now) {
  const std::lock_guard lock(mutex_);
  advance(now);
  Report r;
  const double seconds = static_cast<double>((now - cut_).count()) / 1e9;
  r.in_flight = total_.value;
  r.traffic = arrivals_ != 0 || total_.area > 0 || total_.value != 0;
  if (seconds > 0) {
    r.average_concurrency = total_.area / seconds;
    r.requests_per_second = static_cast<double>(arrivals_) / seconds;
    for (auto& [uid, pod] : pods_) {
      if (!pod.gone) r.pods[uid] = pod.in_flight.area / seconds;
      pod.in_flight.area = 0;
    }
  }
  total_.area = 0;
  arrivals_ = 0;
  cut_ = now;
  return r;
}

RevisionGate::Waiting RevisionGate::waiting() const {
  const std::lock_guard lock(mutex_);
  if (queue_.empty()) return {};
  return {static_cast<std::uint32_t>(queue_.size()), queue_.front().since};
}
std::uint32_t RevisionGate::in_flight() const {
  const std::lock_guard lock(mutex_);
  return total_.value;
}
bool RevisionGate::has_pod() const {
  const std::lock_guard lock(mutex_);
  return std::any_of(pods_.begin(), pods_.end(), [](const auto& p) { return p.second.usable; });
}
bool RevisionGate::usable(std::string_view uid) const {
  const std::lock_guard lock(mutex_);
  const auto it = pods_.find(uid);
  return it != pods_.end() && it->second.usable;
}
std::uint32_t RevisionGate::pod_in_flight(std::string_view uid) const {
  const std::lock_guard lock(mutex_);
  const auto it = pods_.find(uid);
  return it == pods_.end() ? 0 : it->second.in_flight.value;
}
void RevisionGate::set_on_demand(std::function<void()> on_demand) {
  const std::lock_guard lock(mutex_);
  on_demand_ = std::move(on_demand);
}

}  // namespace knit::proxy
