#include "reader.h"

namespace knit::world {

void Reader::connect(store::Store& store) {
  disconnect();
  if (at_ == 0) list(store.snapshot());
  // `wake` may come after disconnect(), and after this object's world has moved on.
  const auto turn = std::make_shared<std::weak_ptr<store::Subscription>>();
  auto watching = store.subscribe(
      at_, std::nullopt,
      [&loop = loop_](std::function<void()> work) { loop.post(std::move(work)); },
      [this, turn] {
        if (const auto mine = turn->lock(); mine && mine == watch_) drain();
      });
  if (!watching && watching.error().code() == Code::Expired) {
    at_ = 0;
    connect(store);
    return;
  }
  if (!watching) {
    violation_("a watch from " + std::to_string(at_) +
               " is refused: " + watching.error().message());
    return;
  }
  watch_ = std::move(*watching);
  *turn = watch_;
  drain();
}

void Reader::disconnect() { watch_.reset(); }

void Reader::list(const store::Snapshot& snapshot) {
  seen_.clear();
  for (const auto resource : snapshot.resources()) {
    for (const auto& object : snapshot.list(resource, {})) seen_[object->key()] = object->version();
  }
  at_ = snapshot.version();
}

void Reader::drain() {
  while (watch_) {
    const auto batch = watch_->poll();
    if (!batch) {
      violation_("a watch ended: " + batch.error().message());
      watch_.reset();
      return;
    }
    for (const auto& change : batch->changes) {
      if (change.version <= at_) {
        violation_("watch: " + std::to_string(change.version) + " came after " +
                   std::to_string(at_));
      }
      at_ = change.version;
      const auto it = seen_.find(change.key());
      const auto had = it == seen_.end() ? 0 : it->second;
      const auto before = change.before ? change.before->version() : 0;
      if (had != before) {
        violation_("watch: " + to_string(change.key()) + " was at " + std::to_string(had) +
                   ", the next change is from " + std::to_string(before));
      }
      if (change.after) {
        seen_[change.key()] = change.after->version();
      } else {
        seen_.erase(change.key());
      }
    }
    at_ = std::max(at_, batch->upto);
    if (!batch->more) return;
  }
}

void Reader::check(const reconcile::World& state, const std::string& when) const {
  if (!watch_) violation_(when + ": nothing is watched");
  auto rest = seen_;
  for (const auto resource : state.resources()) {
    for (const auto& object : state.list(resource)) {
      const auto it = rest.find(object->key());
      if (it == rest.end()) {
        violation_(when + ": who watched has never seen " + to_string(object->key()));
        continue;
      }
      if (it->second != object->version()) {
        violation_(when + ": who watched has an old " + to_string(object->key()));
      }
      rest.erase(it);
    }
  }
  for (const auto& [key, version] : rest) {
    violation_(when + ": who watched still has " + to_string(key));
  }
}

}  // namespace knit::world
