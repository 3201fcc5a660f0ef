#include "io/loop.h"

#include <list>

namespace knit::io {

struct Loop::Scope::State {
  Task<void> task;
  bool finished = false;
};

struct Loop::Spawned {
  std::list<std::shared_ptr<Scope::State>> running;
};

namespace {
template <class State>
Task<void> run_to_end(Task<void> inner, State* state, std::weak_ptr<void> owner,
                      std::function<void()> on_end) {
  co_await inner;
  state->finished = true;
  (void)owner;
  if (on_end) on_end();
}
}  // namespace

Loop::Scope::Scope(Scope&&) noexcept = default;
Loop::Scope& Loop::Scope::operator=(Scope&& other) noexcept {
  if (this != &other) {
    cancel();
    state_ = std::move(other.state_);
  }
  return *this;
}
Loop::Scope::~Scope() { cancel(); }
bool Loop::Scope::running() const { return state_ && !state_->finished; }
void Loop::Scope::cancel() {
  if (auto state = std::move(state_)) {
    state_ = nullptr;
    state->task = {};
  }
}

Loop::Scope Loop::spawn_scoped(Task<void> task) {
  Scope scope;
  scope.state_ = std::make_shared<Scope::State>();
  auto state = scope.state_;
  state->task = run_to_end(std::move(task), state.get(), std::weak_ptr<void>(), nullptr);
  state->task.start();
  return scope;
}

void Loop::spawn(Task<void> task) {
  if (!spawned_) spawned_ = std::make_shared<Spawned>();
  auto state = std::make_shared<Scope::State>();
  spawned_->running.push_back(state);
  const auto where = std::prev(spawned_->running.end());
  std::weak_ptr<Spawned> weak = spawned_;
  // A finished coroutine may not free itself from inside: its end posts the removal.
  state->task = run_to_end(std::move(task), state.get(), weak, [this, weak, where] {
    post([weak, where] {
      if (auto s = weak.lock()) s->running.erase(where);
    });
  });
  state->task.start();
}

void Loop::cancel_spawned() {
  if (auto spawned = std::move(spawned_)) {
    spawned_ = nullptr;
    spawned->running.clear();
  }
}

}  // namespace knit::io
