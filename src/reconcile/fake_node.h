// A node for tests: runs every pod that is bound to it, on the test's loop, against any backend.
#pragma once

#include <map>
#include <set>

#include "io/loop.h"
#include "reconcile/backend.h"

namespace knit::reconcile {

struct FakeNodeSettings {
  std::string name = "knit";
  std::string host_ip = "127.0.0.1";
  std::string pod_prefix = "10.128.0.";            // pod IPs count up from .2
  Duration start = std::chrono::milliseconds(10);  // bound → Running and ready
  Duration stop = std::chrono::milliseconds(10);   // deletionTimestamp → gone
  Duration lease_every = std::chrono::seconds(10);
};

class FakeNode {
 public:
  FakeNode(io::Loop& loop, Backend& backend, FakeNodeSettings settings = {});
  ~FakeNode();
  /// Makes Node and Lease objects, then runs pods.
  void start();
  /// Pods whose name begins with `prefix` start but do not become ready.
  void never_ready(std::string prefix);
  /// Turns a running pod ready or not.
  void set_ready(const Key& pod, bool ready);
  /// Ends a running pod with phase Succeeded or Failed.
  void finish(const Key& pod, std::string_view phase);
  /// Stops renewing the lease and acting, as a crashed node does.
  void crash();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace knit::reconcile
