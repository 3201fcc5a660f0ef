// The loop of tests: time moves only when the test says so; offload() runs inline at the next
// turn. watch() works on real descriptors only through poll_fds(), for component tests that need it.
#pragma once

#include <deque>

#include "io/loop.h"
#include "io/timers.h"

namespace knit::io {

class SimLoop final : public Loop {
 public:
  explicit SimLoop(WallTime start = {1'767'225'600'000'000'000}) : wall_(start) {}
  ~SimLoop() override { cancel_spawned(); }

  Instant now() const override { return now_; }
  WallTime wall_now() const override { return wall_ + Duration(now_.ns); }
  Timer at(Instant when, std::function<void()> callback) override {
    return timers_.at(when, std::move(callback));
  }
  Watch watch(int fd, Sharing sharing, std::function<void(Ready)> callback) override;
  void post(std::function<void()> work) override { posted_.push_back(std::move(work)); }
  void offload(std::function<void()> work, std::function<void()> done) override {
    post([work = std::move(work), done = std::move(done)] {
      work();
      done();
    });
  }

  /// Runs posted work and due timers until nothing is left at this instant.
  void settle();
  /// Runs one piece of posted work or one timer due at this instant; false when there is none.
  bool run_one();
  /// Steps the wall clock, as an administrator or NTP does; `now()` does not notice.
  void step_wall(Duration by) { wall_ = wall_ + by; }
  /// Moves time on, running everything due, in order.
  void advance(Duration d);
  /// Delivers readiness of watched real descriptors once (component tests over socketpairs).
  void poll_fds(int timeout_ms = 0);

 private:
  struct Watched;
  struct WatchHandle;
  Instant now_;
  WallTime wall_;
  Timers timers_;
  std::deque<std::function<void()>> posted_;
  std::map<int, std::shared_ptr<Watched>> watched_;
};

}  // namespace knit::io
