#include "events/delivery/hub.h"

#include <algorithm>

namespace knit::events {
namespace {

constexpr Duration kTick = std::chrono::seconds(1);

struct Waiter {
  io::Event event;
  std::optional<Result<Seq>> result;
};

const std::shared_ptr<const Filter>& everything() {
  static const std::shared_ptr<const Filter> filter = [] {
    auto compiled = Filter::compile(FilterSpec{});
    KNIT_CHECK(compiled.has_value());
    return std::make_shared<const Filter>(std::move(*compiled));
  }();
  return filter;
}

}  // namespace

Hub::Hub(io::Loop& loop, std::unique_ptr<Stream> stream, Sender& sender, Shared& shared)
    : loop_(loop), stream_(std::move(stream)), sender_(sender), shared_(shared) {
  matcher_ = std::make_unique<Matcher>(std::vector<std::shared_ptr<const Filter>>());
  stream_->on_appended([this] { appended(); });
  timer_ = loop_.after(kTick, [this] { tick(); });
}

Hub::~Hub() { stream_->on_appended({}); }

void Hub::tick() {
  timer_ = loop_.after(kTick, [this] { tick(); });
  for (Dispatcher* d : order_) d->settle(stream_->next());
  stream_->maintain();
}

void Hub::append(StoredEvent event, std::function<void(Result<Seq>)> done) {
  std::string payload = codec::encode(event);
  const std::size_t bytes = payload.size();
  auto shared = std::make_shared<const StoredEvent>(std::move(event));
  stream_->append(std::move(payload), [this, alive = std::weak_ptr<Alive>(alive_), shared, bytes,
                                       done = std::move(done)](Result<Seq> seq) {
    if (seq && !alive.expired()) recent_.push_back({*seq, shared, bytes});
    done(std::move(seq));
  });
}

io::Task<Result<Seq>> Hub::append(StoredEvent event) {
  auto waiter = std::make_shared<Waiter>();
  append(std::move(event), [waiter](Result<Seq> r) {
    waiter->result.emplace(std::move(r));
    waiter->event.set();
  });
  co_await waiter->event;
  co_return std::move(*waiter->result);
}

void Hub::appended() {
  std::vector<std::uint32_t> numbers;
  std::set<Dispatcher*> concerned;
  const std::weak_ptr<Alive> alive = alive_;
  while (!recent_.empty()) {
    const Recent recent = std::move(recent_.front());
    recent_.pop_front();
    matcher_->match(recent.event->event, numbers);
    for (const std::uint32_t n : numbers) {
      order_[n]->offer(recent.seq, recent.event, recent.bytes);
      concerned.insert(order_[n]);
    }
  }
  for (Dispatcher* d : concerned) d->pump();
}

void Hub::set_subscriptions(std::vector<Subscription> subscriptions) {
  std::map<std::string, Subscription> wanted;
  for (Subscription& s : subscriptions) {
    const std::string name = s.name;
    wanted.insert_or_assign(name, std::move(s));
  }
  // Cursors of subscribers that went while nobody ran go too.
  for (Cursor* cursor : stream_->cursors()) {
    if (wanted.contains(cursor->name())) continue;
    const std::string name = cursor->name();
    dispatchers_.erase(name);
    stream_->unsubscribe(name);
  }
  std::vector<Dispatcher*> fresh;
  std::vector<std::shared_ptr<const Filter>> filters;
  order_.clear();
  for (auto& [name, subscription] : wanted) {
    filters.push_back(subscription.filter ? subscription.filter : everything());
    auto& dispatcher = dispatchers_[name];
    if (dispatcher) {
      dispatcher->settle(stream_->next());  // by the filter that it had
      dispatcher->update(std::move(subscription));
    } else {
      Cursor* cursor = stream_->subscribe(name, subscription.from.value_or(stream_->next()));
      dispatcher = std::make_unique<Dispatcher>(loop_, *stream_, *cursor, sender_, shared_,
                                                std::move(subscription));
      fresh.push_back(dispatcher.get());
    }
    order_.push_back(dispatcher.get());
  }
  matcher_ = std::make_unique<Matcher>(std::move(filters));
  for (Dispatcher* d : fresh) d->start();
}

io::Task<Result<void>> Hub::stop() {
  matcher_ = std::make_unique<Matcher>(std::vector<std::shared_ptr<const Filter>>());
  for (Dispatcher* d : order_) d->settle(stream_->next());
  order_.clear();
  dispatchers_.clear();
  co_return co_await stream_->flush();
}

Dispatcher* Hub::find(const std::string& name) {
  const auto it = dispatchers_.find(name);
  return it == dispatchers_.end() ? nullptr : it->second.get();
}

std::vector<std::pair<std::string, DispatcherStats>> Hub::stats() {
  std::vector<std::pair<std::string, DispatcherStats>> out;
  for (auto& [name, dispatcher] : dispatchers_) {
    dispatcher->settle(stream_->next());
    out.emplace_back(name, dispatcher->stats());
  }
  return out;
}

}  // namespace knit::events
