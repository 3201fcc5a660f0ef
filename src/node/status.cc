#include "node/status.h"

#include <sys/wait.h>

#include <algorithm>

namespace knit::node {

namespace {

using State = ContainerStatus::State;

JsonObject terminated_json(const Terminated& t) {
  JsonObject out{{"exitCode", t.exit_code}, {"reason", t.reason}};
  if (t.signal != 0) out["signal"] = t.signal;
  if (!t.message.empty()) out["message"] = t.message;
  if (t.started.ns != 0) out["startedAt"] = rfc3339(t.started);
  if (t.finished.ns != 0) out["finishedAt"] = rfc3339(t.finished);
  if (!t.container_id.empty()) out["containerID"] = t.container_id;
  return out;
}

JsonObject container_json(const ContainerStatus& c, bool initialized) {
  JsonObject state;
  switch (c.state) {
    case State::Waiting: {
      std::string reason = c.reason;
      if (reason == "ContainerCreating" && !initialized && c.kind == Kind::Main) {
        reason = "PodInitializing";
      }
      JsonObject waiting{{"reason", reason}};
      if (!c.message.empty()) waiting["message"] = c.message;
      state["waiting"] = std::move(waiting);
      break;
    }
    case State::Running:
      state["running"] = JsonObject{{"startedAt", rfc3339(c.started_at)}};
      break;
    case State::Terminated:
      state["terminated"] = terminated_json(*c.ended);
      break;
  }
  JsonObject last;
  if (c.last) last["terminated"] = terminated_json(*c.last);
  JsonObject out{
      {"name", c.name},       {"state", std::move(state)},  {"lastState", std::move(last)},
      {"ready", c.ready},     {"restartCount", c.restarts}, {"image", c.image},
      {"imageID", c.image_id}};
  if (!c.container_id.empty()) out["containerID"] = c.container_id;
  out["started"] = c.state == State::Running && c.started;
  return out;
}

std::string names(const std::vector<std::string>& list) {
  std::string out = "[";
  for (std::size_t i = 0; i < list.size(); ++i) out += (i == 0 ? "" : " ") + list[i];
  return out + "]";
}

struct Condition {
  std::string type;
  bool status = false;
  std::string reason, message;
};

/// Source: kubelet_pods.go getPhase
std::string_view phase_of(const Json& pod, const PodStatus& s, bool initialized) {
  if (!s.failed_reason.empty()) return "Failed";
  const std::string_view policy = json::str(pod, {"spec", "restartPolicy"}, "Always");
  std::size_t waiting = 0, running = 0, stopped = 0, succeeded = 0;
  for (const ContainerStatus& c : s.containers) {
    if (c.kind == Kind::Init && c.ended && c.ended->exit_code != 0 && policy == "Never" &&
        c.state == State::Terminated) {
      return "Failed";
    }
    if (c.kind != Kind::Main) continue;
    if (c.state == State::Running) {
      ++running;
    } else if (c.state == State::Terminated) {
      ++stopped;
      succeeded += c.ended->exit_code == 0 ? 1 : 0;
    } else if (c.last) {
      ++stopped;  // waiting to be started again
    } else {
      ++waiting;
    }
  }
  if (!initialized || waiting > 0) return "Pending";
  if (running > 0) return "Running";
  if (stopped > 0) {
    if (policy == "Always" && !s.terminating) return "Running";
    if (stopped == succeeded) return "Succeeded";
    if (policy == "Never" || s.terminating) return "Failed";
    return "Running";
  }
  return "Pending";
}

}  // namespace

Terminated terminated(int wait_status, bool oom_killed) {
  Terminated out;
  if (WIFSIGNALED(wait_status)) {
    out.signal = WTERMSIG(wait_status);
    out.exit_code = 128 + out.signal;
  } else {
    out.exit_code = WEXITSTATUS(wait_status);
  }
  out.reason = oom_killed && out.exit_code != 0 ? "OOMKilled"
               : out.exit_code == 0             ? "Completed"
                                                : "Error";
  return out;
}

Duration Backoff::next(Duration ran) {
  using namespace std::chrono_literals;
  if (ran >= 10min) pause_ = Duration(0);
  pause_ = pause_ == Duration(0) ? Duration(10s) : std::min<Duration>(pause_ * 2, 300s);
  return pause_;
}

Json compute_status(const Json& pod, const PodStatus& s, WallTime now) {
  std::vector<std::string> unready, uninitialized;
  bool initialized = true;
  for (const ContainerStatus& c : s.containers) {
    const bool done = c.kind == Kind::Init ? c.state == State::Terminated && c.ended->exit_code == 0
                                           : c.kind == Kind::Main || c.started ||
                                                 (c.state == State::Terminated && s.terminating);
    if (!done) {
      initialized = false;
      uninitialized.push_back(c.name);
    }
    if (c.kind != Kind::Init && !c.ready) unready.push_back(c.name);
  }
  const std::string_view phase = phase_of(pod, s, initialized);
  const bool over = phase == "Succeeded" || phase == "Failed";

  std::vector<Condition> conditions;
  conditions.push_back({"PodReadyToStartContainers", s.network && !over, "", ""});
  if (phase == "Succeeded") {
    conditions.push_back({"Initialized", true, "PodCompleted", ""});
  } else if (initialized) {
    conditions.push_back({"Initialized", true, "", ""});
  } else {
    conditions.push_back({"Initialized", false, "ContainersNotInitialized",
                          "containers with incomplete status: " + names(uninitialized)});
  }
  Condition containers{"ContainersReady", unready.empty() && !over, "", ""};
  if (phase == "Succeeded") {
    containers.reason = "PodCompleted";
  } else if (phase == "Failed") {
    containers.reason = "PodFailed";
  } else if (!unready.empty()) {
    containers.reason = "ContainersNotReady";
    containers.message = "containers with unready status: " + names(unready);
  }
  Condition ready = containers;
  ready.type = "Ready";
  const JsonArray& old = json::array(pod, {"status", "conditions"});
  const auto old_of = [&](std::string_view type) -> const Json* {
    for (const Json& c : old) {
      if (json::str(c, {"type"}) == type) return &c;
    }
    return nullptr;
  };
  if (ready.status) {
    for (const Json& gate : json::array(pod, {"spec", "readinessGates"})) {
      const std::string type(json::str(gate, {"conditionType"}));
      const Json* c = old_of(type);
      if (c == nullptr || json::str(*c, {"status"}) != "True") {
        ready.status = false;
        ready.reason = "ReadinessGatesNotReady";
        ready.message =
            c == nullptr
                ? "corresponding condition of pod readiness gate \"" + type + "\" does not exist."
                : "the status of pod readiness gate \"" + type + "\" is not \"True\", but " +
                      std::string(json::str(*c, {"status"}));
      }
    }
  }
  conditions.push_back(std::move(ready));
  conditions.push_back(std::move(containers));
  conditions.push_back({"PodScheduled", true, "", ""});

  JsonArray list;
  for (const Condition& c : conditions) {
    const char* status = c.status ? "True" : "False";
    const Json* before = old_of(c.type);
    const bool same = before != nullptr && json::str(*before, {"status"}) == status;
    const std::string_view since =
        same ? json::str(*before, {"lastTransitionTime"}) : std::string_view();
    JsonObject one{{"type", c.type},
                   {"status", status},
                   {"lastProbeTime", nullptr},
                   {"lastTransitionTime", since.empty() ? rfc3339(now) : std::string(since)}};
    if (!c.reason.empty()) one["reason"] = c.reason;
    if (!c.message.empty()) one["message"] = c.message;
    list.push_back(std::move(one));
  }
  for (const Json& c : old) {
    const std::string_view type = json::str(c, {"type"});
    const bool ours = std::any_of(conditions.begin(), conditions.end(),
                                  [&](const Condition& x) { return x.type == type; });
    if (!ours) list.push_back(c);
  }

  JsonArray init, main;
  for (const ContainerStatus& c : s.containers) {
    (c.kind == Kind::Main ? main : init).push_back(container_json(c, initialized));
  }
  JsonObject out{{"phase", phase},
                 {"conditions", std::move(list)},
                 {"hostIP", s.host_ip},
                 {"hostIPs", JsonArray{JsonObject{{"ip", s.host_ip}}}},
                 {"qosClass", qos_class(pod)},
                 {"startTime", rfc3339(s.start_time)},
                 {"containerStatuses", std::move(main)}};
  if (!init.empty()) out["initContainerStatuses"] = std::move(init);
  if (!s.ip.empty()) {
    out["podIP"] = s.ip;
    JsonArray ips{JsonObject{{"ip", s.ip}}};
    if (!s.ip6.empty()) ips.push_back(JsonObject{{"ip", s.ip6}});
    out["podIPs"] = std::move(ips);
  }
  if (!s.failed_reason.empty()) {
    out["reason"] = s.failed_reason;
    out["message"] = s.failed_message;
  }
  return out;
}

}  // namespace knit::node
