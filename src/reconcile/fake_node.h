// A node for tests: runs every pod that is bound to it, on the test's loop, against any backend.
// Containers outlive both the node's process (kill, restart) and its connection (disconnect).
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>

#include "io/loop.h"
#include "reconcile/backend.h"

namespace knit::reconcile {

/// What becomes of a pod's containers once they are started.
struct PodFate {
  enum class Kind { Runs, NeverReady, Crashes, NoImage } kind = Kind::Runs;
  Duration ready = {};  // Runs: Running → ready (a slow probe)
};

struct FakeNodeSettings {
  std::string name = "knit";
  std::string host_ip = "127.0.0.1";
  std::string pod_prefix = "10.128.0.";            // pod IPs count up from .2, then what is free
  Duration start = std::chrono::milliseconds(10);  // bound → Running
  Duration stop = std::chrono::milliseconds(10);   // deletionTimestamp → gone
  Duration lease_every = std::chrono::seconds(10);
  Duration back_off = std::chrono::seconds(10);  // after a crash or a failed pull; doubles to 300 s
  /// Asked at every start of a pod's containers; empty: they run and are ready at once.
  std::function<PodFate(const Json& pod)> fate;
  /// The pod still has work: it is stopped when that is done or its grace period is over.
  std::function<bool(const std::string& uid)> busy;
  /// A pod's containers run (again), or have ended, whatever the API knows of it.
  std::function<void(const std::string& uid)> started, ended;
};

class FakeNode {
 public:
  FakeNode(io::Loop& loop, FakeNodeSettings settings);
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
  /// A running pod's app exits and is started again.
  void crash_container(const Key& pod);
  /// Stops renewing the lease and acting, as a crashed node does.
  void crash() { kill(); }

  /// Uids of pods whose containers the machine has.
  std::set<std::string> containers() const;

  /// The API server is away; pods run on, their news are told when it is back.
  void disconnect();
  void connect(Backend& backend);
  /// The node's process ends; containers run on.
  void kill();
  /// … and is back: finds its containers, connects when told to.
  void restart();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace knit::reconcile
