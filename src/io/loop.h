// The event loop: time, timers, readiness and posted work of one thread.
//
// Components get a Loop& and never name a thread. RealLoop runs on epoll; SimLoop on simulated
// time, for tests. Everything but post() is called on the loop's own thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "base/time.h"
#include "io/task.h"

namespace knit::io {

/// Readiness of a descriptor, edge-triggered: after an event, read or write until EAGAIN.
struct Ready {
  bool readable = false;
  bool writable = false;
  bool hangup = false;  // EPOLLHUP, EPOLLERR or EPOLLRDHUP
};

class Loop {
 public:
  virtual ~Loop() = default;

  virtual Instant now() const = 0;
  virtual WallTime wall_now() const = 0;

  /// A timer that runs once. Destroying the handle cancels it. Callbacks run in the order of their
  /// times, equal times in the order of creation.
  class Timer {
   public:
    Timer() = default;
    Timer(Timer&&) noexcept = default;
    Timer& operator=(Timer&&) noexcept = default;
    explicit operator bool() const { return handle_ != nullptr; }
    void cancel() { handle_.reset(); }
    struct Handle {
      virtual ~Handle() = default;
    };
    explicit Timer(std::unique_ptr<Handle> handle) : handle_(std::move(handle)) {}

   private:
    std::unique_ptr<Handle> handle_;
  };
  virtual Timer at(Instant when, std::function<void()> callback) = 0;
  Timer after(Duration delay, std::function<void()> callback) {
    return at(now() + delay, std::move(callback));
  }

  /// Watches a descriptor until the handle is destroyed; destroy it before closing the descriptor.
  /// `exclusive` adds EPOLLEXCLUSIVE (listeners that several loops share; read only).
  class Watch {
   public:
    Watch() = default;
    Watch(Watch&&) noexcept = default;
    Watch& operator=(Watch&&) noexcept = default;
    explicit operator bool() const { return handle_ != nullptr; }
    void reset() { handle_.reset(); }
    struct Handle {
      virtual ~Handle() = default;
    };
    explicit Watch(std::unique_ptr<Handle> handle) : handle_(std::move(handle)) {}

   private:
    std::unique_ptr<Handle> handle_;
  };
  enum class Sharing { Sole, Exclusive };
  virtual Watch watch(int fd, Sharing sharing, std::function<void(Ready)> callback) = 0;

  /// Runs `work` on this loop soon. From any thread; ordered per caller.
  virtual void post(std::function<void()> work) = 0;

  /// Runs blocking `work` (fsync, crun, getaddrinfo) on the pool, then `done` on this loop. The
  /// work owns its state; `done` runs even when its owner is gone, so capture weak references.
  virtual void offload(std::function<void()> work, std::function<void()> done) = 0;

  /// Starts a task that nobody awaits. Tasks still running when the loop is destroyed are
  /// cancelled. The handle of spawn_scoped() cancels on destruction instead.
  void spawn(Task<void> task);
  class Scope {
   public:
    Scope() = default;
    Scope(Scope&&) noexcept;
    Scope& operator=(Scope&&) noexcept;
    ~Scope();
    bool running() const;
    void cancel();

   private:
    friend class Loop;
    struct State;
    std::shared_ptr<State> state_;
  };
  [[nodiscard]] Scope spawn_scoped(Task<void> task);

 protected:
  struct Spawned;
  /// Derived destructors call it first: cancels what spawn() started.
  void cancel_spawned();

 private:
  std::shared_ptr<Spawned> spawned_;
};

/// co_await sleep(loop, 5s). Destroying the awaiting task unregisters it.
class Sleep {
 public:
  Sleep(Loop& loop, Instant until) : loop_(&loop), until_(until) {}
  bool await_ready() const { return loop_->now() >= until_; }
  void await_suspend(std::coroutine_handle<> h) {
    timer_ = loop_->at(until_, [h] { h.resume(); });
  }
  void await_resume() {}

 private:
  Loop* loop_;
  Instant until_;
  Loop::Timer timer_;
};
inline Sleep sleep_for(Loop& loop, Duration d) { return {loop, loop.now() + d}; }
inline Sleep sleep_until(Loop& loop, Instant t) { return {loop, t}; }

/// Awaitable that runs `fn` on the pool and resumes with its value on the loop:
///   auto r = co_await blocking<Result<int>>(loop, [] { return do_work(); });
template <class T>
class Blocking {
 public:
  Blocking(Loop& loop, std::function<T()> fn)
      : loop_(&loop), shared_(std::make_shared<Shared>(Shared{std::move(fn), std::nullopt, {}})) {}
  Blocking(Blocking&&) noexcept = default;
  Blocking(const Blocking&) = delete;
  Blocking& operator=(Blocking&&) = delete;
  Blocking& operator=(const Blocking&) = delete;
  ~Blocking() {
    if (shared_) shared_->waiter = nullptr;
  }
  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<> h) {
    shared_->waiter = h;
    loop_->offload([s = shared_] { s->value.emplace(s->fn()); },
                   [s = shared_] {
                     if (s->waiter) s->waiter.resume();
                   });
  }
  T await_resume() { return std::move(*shared_->value); }

 private:
  struct Shared {
    std::function<T()> fn;
    std::optional<T> value;
    std::coroutine_handle<> waiter;
  };
  Loop* loop_;
  std::shared_ptr<Shared> shared_;
};
template <class T, class F>
Blocking<T> blocking(Loop& loop, F fn) {
  return Blocking<T>(loop, std::function<T()>(std::move(fn)));
}

/// A one-shot, single-waiter signal: set() resumes whoever waits, now or later. Loop-bound.
class Event {
 public:
  Event() = default;
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  bool is_set() const { return set_; }
  void set() {
    set_ = true;
    if (auto h = std::exchange(waiter_, nullptr)) h.resume();
  }
  void reset() { set_ = false; }
  struct Awaiter {
    Event* event;
    bool registered = false;
    Awaiter(Event* e) : event(e) {}
    Awaiter(const Awaiter&) = delete;
    Awaiter& operator=(const Awaiter&) = delete;
    ~Awaiter() {
      if (registered) event->waiter_ = nullptr;
    }
    bool await_ready() const { return event->set_; }
    void await_suspend(std::coroutine_handle<> h) {
      KNIT_CHECK(!event->waiter_);
      event->waiter_ = h;
      registered = true;
    }
    void await_resume() { registered = false; }
  };
  Awaiter operator co_await() { return Awaiter{this}; }

 private:
  bool set_ = false;
  std::coroutine_handle<> waiter_;
};

}  // namespace knit::io
