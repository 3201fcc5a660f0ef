// Pod.status, computed from what the node knows. Pure.
// Source: kubernetes pkg/kubelet/kubelet_pods.go (generateAPIPodStatus, getPhase),
// pkg/kubelet/status/generate.go
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "node/pod.h"

namespace knit::node {

struct Terminated {
  std::int32_t exit_code = 0, signal = 0;
  std::string reason, message;  // Completed, Error, OOMKilled, ContainerCannotRun, …
  WallTime started{}, finished{};
  std::string container_id;
};

/// One container of a pod, as far as its status goes.
struct ContainerStatus {
  std::string name;
  Kind kind = Kind::Main;
  bool role = false;
  enum class State { Waiting, Running, Terminated } state = State::Waiting;
  std::string reason = "ContainerCreating", message;  // while Waiting
  WallTime started_at{};
  std::optional<Terminated> ended, last;
  std::int32_t restarts = 0;
  std::string image, image_id, container_id;
  bool started = false;  // its startup probe has passed
  bool ready = false;
};

struct PodStatus {
  std::vector<ContainerStatus> containers;  // in the order of containers_of()
  bool network = false;                     // the sandbox is there
  bool terminating = false;                 // processes are gone for good: deadline or eviction
  std::string ip, ip6, host_ip;
  WallTime start_time{};
  std::string failed_reason, failed_message;  // DeadlineExceeded …: the phase is Failed
};

/// The whole `status` object. Conditions keep their lastTransitionTime from `pod`'s present status,
/// and conditions of others (readiness gates) stay.
Json compute_status(const Json& pod, const PodStatus& s, WallTime now);

/// How a process ended, from waitpid's status.
Terminated terminated(int wait_status, bool oom_killed);

/// 10 s doubling to 300 s; forgotten after 10 min of running.
/// Source: kubelet.go (backOffPeriod, MaxContainerBackOff)
class Backoff {
 public:
  /// The pause before the next attempt, after one that ran for `ran`.
  Duration next(Duration ran);
  void reset() { pause_ = Duration(0); }

 private:
  Duration pause_{};
};

}  // namespace knit::node
