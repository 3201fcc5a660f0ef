#include "kube/informer.h"

namespace knit::kube {

struct Informer::State {
  io::Loop& loop;
  Client& client;
  Resource resource;
  ListQuery query;
  InformerHandlers handlers;
  std::map<std::pair<std::string, std::string>, ObjectPtr> cache;
  bool synced = false;

  void put(const ObjectPtr& object) {
    ObjectPtr& slot = cache[{object->key().ns, object->key().name}];
    const ObjectPtr before = std::exchange(slot, object);
    if (!before) {
      if (handlers.added) handlers.added(object);
    } else if (before->version() != object->version()) {
      if (handlers.updated) handlers.updated(before, object);
    }
  }
  void drop(const ObjectPtr& last) {
    if (cache.erase({last->key().ns, last->key().name}) != 0 && handlers.deleted) {
      handlers.deleted(last);
    }
  }
  void replace(const std::vector<ObjectPtr>& objects) {
    std::map<std::pair<std::string, std::string>, ObjectPtr> now;
    for (const auto& o : objects) now[{o->key().ns, o->key().name}] = o;
    std::vector<ObjectPtr> gone;
    for (const auto& [where, object] : cache) {
      const auto it = now.find(where);
      // Another uid is another object: its deletion was missed.
      if (it == now.end() || it->second->uid() != object->uid()) gone.push_back(object);
    }
    for (const auto& o : gone) drop(o);
    for (const auto& o : objects) put(o);
  }

  /// One list and the watches after it. `good`: a watch delivered something or ended in peace.
  static io::Task<Result<void>> follow(State* s, bool* good) {
    auto listing = s->client.list(s->resource, s->query);
    auto listed = co_await listing;
    if (!listed) co_return std::move(listed).error();
    s->replace(listed->objects);
    std::uint64_t version = listed->version;
    if (!s->synced) {
      s->synced = true;
      if (s->handlers.synced) s->handlers.synced();
    }
    *good = true;
    while (true) {
      auto opening = s->client.watch(s->resource, s->query, version);
      auto opened = co_await opening;
      if (!opened) co_return std::move(opened).error();
      const auto stream = std::move(opened).value();
      const Instant began = s->loop.now();
      bool any = false;
      while (true) {
        auto event = co_await stream->next();
        if (!event) co_return std::move(event).error();
        if (!*event) break;  // the server's time is up: watch on
        any = true;
        version = std::max(version, (*event)->version);
        if ((*event)->type == WatchEvent::Type::Bookmark) continue;
        if ((*event)->type == WatchEvent::Type::Deleted) {
          s->drop((*event)->object);
        } else {
          s->put((*event)->object);
        }
      }
      if (!any && s->loop.now() - began < std::chrono::seconds(1)) {
        co_return Error(Code::Unavailable, "very short watch of " +
                                               std::string(s->resource.name()) +
                                               ": it ended within a second without an event");
      }
    }
  }

  static io::Task<void> run(std::shared_ptr<State> s) {
    constexpr Duration kFirst = std::chrono::milliseconds(800), kLast = std::chrono::seconds(30);
    Duration pause = kFirst;
    while (true) {
      bool good = false;
      const auto ended = co_await follow(s.get(), &good);
      if (good) pause = kFirst;
      if (ended || ended.error().code() == Code::Expired) continue;
      if (s->handlers.failed) s->handlers.failed(ended.error());
      co_await io::sleep_for(s->loop, pause);
      pause = std::min(pause * 2, kLast);
    }
  }
};

Informer::Informer(io::Loop& loop, Client& client, Resource resource, ListQuery query,
                   InformerHandlers handlers)
    : state_(std::make_shared<State>(
          State{loop, client, resource, std::move(query), std::move(handlers), {}, false})) {}
Informer::~Informer() { task_.cancel(); }

void Informer::start() { task_ = state_->loop.spawn_scoped(State::run(state_)); }
bool Informer::synced() const { return state_->synced; }

ObjectPtr Informer::get(std::string_view ns, std::string_view name) const {
  const auto it = state_->cache.find({std::string(ns), std::string(name)});
  return it == state_->cache.end() ? nullptr : it->second;
}
std::vector<ObjectPtr> Informer::list() const {
  std::vector<ObjectPtr> out;
  for (const auto& [where, object] : state_->cache) out.push_back(object);
  return out;
}

}  // namespace knit::kube
