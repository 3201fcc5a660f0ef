// The loop on epoll. run() returns after stop(); both may be called again.
#pragma once

#include <memory>

#include "io/loop.h"

namespace knit::io {

class RealLoop : public Loop {
 public:
  virtual void run() = 0;
  /// From any thread or a signal watcher.
  virtual void stop() = 0;
  /// Returns when every job given to offload() has run; what it captured by reference may go then.
  virtual void finish_offloads() = 0;
  /// `pool_threads`: how many threads offload() may use; 0 uses one lazily made thread.
  static Result<std::unique_ptr<RealLoop>> create(unsigned pool_threads = 4);
};

/// Calls `callback(signo)` on the loop for each of `signals` (blocked in the calling thread, so
/// call it before other threads start). Lives as long as the returned handle.
class SignalWatch {
 public:
  virtual ~SignalWatch() = default;
  static Result<std::unique_ptr<SignalWatch>> create(Loop& loop, std::initializer_list<int> signals,
                                                     std::function<void(int)> callback);
};

}  // namespace knit::io
