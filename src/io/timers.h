// Ordered timers, shared by RealLoop and SimLoop.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>

#include "io/loop.h"

namespace knit::io {

class Timers {
 public:
  Loop::Timer at(Instant when, std::function<void()> callback) {
    const Id id{when, next_++};
    queue_->emplace(id, std::move(callback));
    return Loop::Timer(std::make_unique<Handle>(queue_, id));
  }
  std::optional<Instant> next() const {
    if (queue_->empty()) return std::nullopt;
    return queue_->begin()->first.when;
  }
  /// Runs what is due at `now`, in order; also what becomes due meanwhile.
  void run_due(Instant now) {
    while (run_one(now)) {
    }
  }
  bool run_one(Instant now) {
    if (queue_->empty() || queue_->begin()->first.when > now) return false;
    auto node = queue_->extract(queue_->begin());
    node.mapped()();
    return true;
  }

 private:
  struct Id {
    Instant when;
    std::uint64_t order;
    auto operator<=>(const Id&) const = default;
  };
  using Queue = std::map<Id, std::function<void()>>;
  struct Handle final : Loop::Timer::Handle {
    Handle(std::weak_ptr<Queue> q, Id i) : queue(std::move(q)), id(i) {}
    ~Handle() override {
      if (auto q = queue.lock()) q->erase(id);
    }
    std::weak_ptr<Queue> queue;
    Id id;
  };
  std::shared_ptr<Queue> queue_ = std::make_shared<Queue>();
  std::uint64_t next_ = 0;
};

}  // namespace knit::io
