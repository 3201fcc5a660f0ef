#include "reconcile/fake_node.h"

#include <algorithm>

namespace knit::reconcile {
namespace {
namespace res = kube::res;

Json condition(std::string_view type, bool yes, std::string_view reason, WallTime now) {
  JsonObject c;
  c["type"] = type;
  c["status"] = yes ? "True" : "False";
  c["lastProbeTime"] = nullptr;
  c["lastTransitionTime"] = rfc3339(now);
  if (!reason.empty()) c["reason"] = reason;
  return c;
}
}  // namespace

struct FakeNode::State : std::enable_shared_from_this<FakeNode::State> {
  State(io::Loop& l, FakeBackend& b, FakeNodeSettings s)
      : loop(l), backend(b), settings(std::move(s)) {}
  io::Loop& loop;
  FakeBackend& backend;
  FakeNodeSettings settings;
  std::vector<std::string> unready;
  std::map<std::string, io::Loop::Timer> starting, stopping;  // by uid
  std::map<std::string, std::string> ips;                     // by uid
  io::Loop::Timer renew;
  int next_ip = 2;
  bool crashed = false;

  void write_status(const Key& key, bool ready) {
    const auto object = backend.get(key);
    if (object == nullptr || crashed) return;
    const Json pod = object->parse();
    std::string& ip = ips[object->uid()];
    if (ip.empty()) ip = settings.pod_prefix + std::to_string(next_ip++);
    const WallTime now = loop.wall_now();
    const std::string_view why = ready ? "" : "ContainersNotReady";
    JsonArray conditions;
    for (const auto& c : json::array(pod, {"status", "conditions"})) {
      if (json::str(c, {"type"}) == "PodScheduled") conditions.push_back(c);
    }
    conditions.push_back(condition("Initialized", true, "", now));
    conditions.push_back(condition("ContainersReady", ready, why, now));
    conditions.push_back(condition("Ready", ready, why, now));
    JsonArray statuses;
    for (const auto& c : json::array(pod, {"spec", "containers"})) {
      JsonObject s;
      s["name"] = json::str(c, {"name"});
      s["image"] = json::str(c, {"image"});
      s["imageID"] = "";
      s["ready"] = ready;
      s["started"] = true;
      s["restartCount"] = 0;
      s["state"] = JsonObject{{"running", JsonObject{{"startedAt", rfc3339(now)}}}};
      statuses.push_back(std::move(s));
    }
    JsonObject status;
    status["phase"] = "Running";
    status["podIP"] = ip;
    status["podIPs"] = JsonArray{JsonObject{{"ip", ip}}};
    status["hostIP"] = settings.host_ip;
    status["startTime"] = rfc3339(now);
    status["conditions"] = std::move(conditions);
    status["containerStatuses"] = std::move(statuses);
    static_cast<void>(backend.status(key, std::move(status)));
  }

  void on_change(const Change& change) {
    if (crashed || change.key().resource != res::pods()) return;
    if (change.after == nullptr) {
      const auto uid = change.before->uid();
      starting.erase(uid);
      stopping.erase(uid);
      ips.erase(uid);
      return;
    }
    consider(change.after);
  }
  void consider(const ObjectPtr& object) {
    const Json pod = object->parse();
    if (json::str(pod, {"spec", "nodeName"}) != settings.name) return;
    const Key key = object->key();
    const std::string uid = object->uid();
    const std::weak_ptr<State> weak = weak_from_this();
    if (object->deleting()) {
      if (stopping.contains(uid)) return;
      starting.erase(uid);
      stopping[uid] = loop.after(settings.stop, [weak, key] {
        if (const auto self = weak.lock(); self && !self->crashed) {
          static_cast<void>(self->backend.remove(key, 0));
        }
      });
      return;
    }
    if (starting.contains(uid) || ips.contains(uid)) return;
    starting[uid] = loop.after(settings.start, [weak, key] {
      const auto self = weak.lock();
      if (self == nullptr) return;
      const bool held =
          std::any_of(self->unready.begin(), self->unready.end(),
                      [&](const std::string& prefix) { return key.name.starts_with(prefix); });
      self->write_status(key, !held);
    });
  }

  void renew_lease() {
    if (crashed) return;
    JsonObject lease;
    lease["apiVersion"] = "coordination.k8s.io/v1";
    lease["kind"] = "Lease";
    lease["metadata"] = JsonObject{{"name", settings.name}, {"namespace", "kube-node-lease"}};
    lease["spec"] = JsonObject{{"holderIdentity", settings.name},
                               {"leaseDurationSeconds", 40},
                               {"renewTime", rfc3339_fraction(loop.wall_now(), 6)}};
    static_cast<void>(backend.apply(res::leases(), Json(std::move(lease))));
    renew = loop.after(settings.lease_every, [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->renew_lease();
    });
  }
};

FakeNode::FakeNode(io::Loop& loop, FakeBackend& backend, FakeNodeSettings settings)
    : state_(std::make_shared<State>(loop, backend, std::move(settings))) {}
FakeNode::~FakeNode() = default;

void FakeNode::start() {
  auto& s = *state_;
  JsonObject resources{{"cpu", "2"}, {"memory", "4Gi"}, {"pods", "110"}};
  JsonObject node;
  node["apiVersion"] = "v1";
  node["kind"] = "Node";
  node["metadata"] = JsonObject{{"name", s.settings.name},
                                {"labels", JsonObject{{"kubernetes.io/hostname", s.settings.name},
                                                      {"kubernetes.io/os", "linux"},
                                                      {"kubernetes.io/arch", "amd64"}}}};
  node["spec"] = JsonObject();
  JsonArray conditions;
  conditions.push_back(condition("Ready", true, "KubeletReady", s.loop.wall_now()));
  node["status"] = JsonObject{
      {"capacity", resources}, {"allocatable", resources}, {"conditions", std::move(conditions)}};
  static_cast<void>(s.backend.apply(res::nodes(), Json(std::move(node))));
  s.renew_lease();
  s.backend.subscribe([weak = std::weak_ptr<State>(state_)](const Change& change) {
    if (const auto self = weak.lock()) self->on_change(change);
  });
  for (const auto& pod : s.backend.list(res::pods())) s.consider(pod);
}

void FakeNode::never_ready(std::string prefix) { state_->unready.push_back(std::move(prefix)); }
void FakeNode::set_ready(const Key& pod, bool ready) { state_->write_status(pod, ready); }
void FakeNode::finish(const Key& pod, std::string_view phase) {
  JsonObject status;
  status["phase"] = phase;
  JsonArray conditions;
  conditions.push_back(condition("Ready", false, "PodCompleted", state_->loop.wall_now()));
  status["conditions"] = std::move(conditions);
  static_cast<void>(state_->backend.status(pod, std::move(status)));
}
void FakeNode::crash() {
  state_->crashed = true;
  state_->renew.cancel();
}

}  // namespace knit::reconcile
