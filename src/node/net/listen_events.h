// "This socket started to listen", from the kernel: a sock_ops program on Knit's own cgroup writes
// into a ring buffer. Wakes readiness probes at once instead of after a period.
#pragma once

#include <functional>
#include <memory>

#include "base/fd.h"
#include "base/result.h"
#include "node/net/bpf.h"

namespace knit::node::net {

class ListenEvents {
 public:
  virtual ~ListenEvents() = default;
  /// Readable when events wait; level-triggered in the kernel, drain until it returns.
  virtual int fd() const = 0;
  virtual void drain(const std::function<void(const ListenEvent&)>& each) = 0;
  /// `cgroup`: an open directory of the cgroup2 hierarchy, never its root. Errors: PermissionDenied
  /// where BPF is refused (the caller then relies on probes with growing pauses).
  static Result<std::unique_ptr<ListenEvents>> create(int cgroup);
};

}  // namespace knit::node::net
