#include "apiserver/housekeeping.h"

#include "base/log.h"
#include "kube/resources.h"

namespace knit::apiserver {
namespace {

constexpr std::string_view kLogModule = "apiserver";

struct Done {
  std::optional<store::CommitResult> result;
  io::Event event;
};

}  // namespace

WallTime last_seen(const Json& event) {
  WallTime newest{0};
  for (const json::Path path :
       {json::Path{"lastTimestamp"}, json::Path{"series", "lastObservedTime"},
        json::Path{"eventTime"}, json::Path{"metadata", "creationTimestamp"}}) {
    const auto t = parse_rfc3339(json::str(event, path));
    if (t) newest = std::max(newest, *t);
  }
  return newest;
}

Housekeeping::Housekeeping(io::Loop& loop, store::Store& store, HousekeepingSettings settings)
    : loop_(loop), store_(store), settings_(settings) {}

void Housekeeping::start() {
  events_ = loop_.spawn_scoped(expire_events(this));
  compaction_ = loop_.spawn_scoped(compact(this));
}

io::Task<void> Housekeeping::expire_events(Housekeeping* h) {
  while (true) {
    co_await io::sleep_for(h->loop_, h->settings_.events_every);
    const WallTime limit = h->loop_.wall_now() - h->settings_.event_lifetime;
    std::vector<store::Mutation> gone;
    const auto events = h->store_.snapshot().list(kube::res::events());
    for (const auto& o : events) {
      const WallTime seen = last_seen(o->parse());
      if (seen.ns == 0 || seen > limit) continue;
      // Seen again meanwhile: it stays for the next round.
      gone.push_back({o->key(), o->version(), std::nullopt});
    }
    for (std::size_t at = 0; at < gone.size(); at += h->settings_.batch) {
      const auto end = std::min(gone.size(), at + h->settings_.batch);
      std::vector<store::Mutation> batch(gone.begin() + static_cast<std::ptrdiff_t>(at),
                                         gone.begin() + static_cast<std::ptrdiff_t>(end));
      const auto done = std::make_shared<Done>();
      h->store_.commit(
          std::move(batch),
          [loop = &h->loop_](std::function<void()> f) { loop->post(std::move(f)); },
          [done](store::CommitResult r) {
            done->result = std::move(r);
            done->event.set();
          });
      co_await done->event;
      if (!done->result->ok()) {
        KNIT_LOG(Debug, "events not expired", KV("error", done->result->failure->error));
      }
    }
  }
}

io::Task<void> Housekeeping::compact(Housekeeping* h) {
  std::uint64_t version = h->store_.snapshot().version();
  while (true) {
    co_await io::sleep_for(h->loop_, h->settings_.compact_every);
    store::Store* store = &h->store_;
    auto work =
        io::blocking<Result<void>>(h->loop_, [store, version] { return store->compact(version); });
    const auto done = co_await work;
    if (!done) KNIT_LOG(Warn, "history not compacted", KV("error", done.error()));
    version = h->store_.snapshot().version();
  }
}

}  // namespace knit::apiserver
