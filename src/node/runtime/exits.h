// Who tells the node that a container ended: the supervisor in the product, this process itself in
// tests.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/time.h"
#include "io/loop.h"

namespace knit::node::runtime {

class Exits {
 public:
  using Handler = std::function<void(const std::string& container, int status, WallTime when)>;
  virtual ~Exits() = default;
  /// Asks for the exit of a process; it is reported once, later, also when it has ended already.
  virtual void expect(const std::string& container, pid_t pid, std::uint64_t start_time) = 0;
  virtual void on_exit(Handler handler) = 0;
};

/// For a process that is its containers' reaper (PR_SET_CHILD_SUBREAPER).
std::unique_ptr<Exits> local_exits(io::Loop& loop);

}  // namespace knit::node::runtime
