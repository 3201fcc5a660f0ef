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
  State(io::Loop& l, Backend& b, FakeNodeSettings s)
      : loop(l), backend(b), settings(std::move(s)) {}
  io::Loop& loop;
  Backend& backend;
  FakeNodeSettings settings;
  std::vector<std::string> unready;
  std::map<std::string, io::Loop::Timer> starting, stopping;  // by uid
  std::map<std::string, std::string> ips;                     // by uid
  io::Loop::Timer renew;
  std::vector<io::Loop::Timer> retries;
  std::optional<Json> registration;
  int next_ip = 2;
  bool crashed = false;

  // Stages and commits one write; again later when it is refused (a namespace is not there yet),
  // at once on a newer state when somebody else was first.
  void write(Write w, int attempts = 50) {
    if (crashed || attempts == 0) return;
    const auto seen = backend.snapshot();
    const auto before = seen->get(w.key);
    if (w.op == Write::Op::Create && before != nullptr) w.op = Write::Op::Merge;
    if (w.op != Write::Op::Create && before == nullptr) return;
    auto effect = backend.stage(*seen, w);
    const std::weak_ptr<State> weak = weak_from_this();
    if (!effect) {
      retries.push_back(loop.after(std::chrono::milliseconds(100), [weak, w, attempts] {
        if (const auto self = weak.lock()) self->write(w, attempts - 1);
      }));
      return;
    }
    if (effect->kind == Effect::Kind::None) return;
    std::vector<Change> changes;
    changes.push_back({before, effect->object});
    backend.commit(std::move(changes), [weak, w, attempts](Result<void> done) {
      const auto self = weak.lock();
      if (self && !done && done.error().code() == Code::Conflict) self->write(w, attempts - 1);
    });
  }
  void status(const Key& key, Json value) {
    write({Write::Op::Status, key, JsonObject{{"status", std::move(value)}}, {}, -1});
  }

  void write_status(const Key& key, bool ready) {
    const auto object = backend.snapshot()->get(key);
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
    JsonObject running;
    running["phase"] = "Running";
    running["podIP"] = ip;
    running["podIPs"] = JsonArray{JsonObject{{"ip", ip}}};
    running["hostIP"] = settings.host_ip;
    running["startTime"] = rfc3339(now);
    running["conditions"] = std::move(conditions);
    running["containerStatuses"] = std::move(statuses);
    status(key, std::move(running));
  }

  void on_change(const Change& change) {
    if (change.key() == Key{res::nodes(), "", settings.name} && change.before == nullptr) {
      status(change.key(), *registration);  // the node's status follows its object
    }
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
          self->write({Write::Op::Delete, key, nullptr, {}, 0});
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
    write({Write::Op::Create,
           {res::leases(), "kube-node-lease", settings.name},
           std::move(lease),
           {},
           -1});
    renew = loop.after(settings.lease_every, [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->renew_lease();
    });
  }
};

FakeNode::FakeNode(io::Loop& loop, Backend& backend, FakeNodeSettings settings)
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
  JsonObject status{
      {"capacity", resources}, {"allocatable", resources}, {"conditions", std::move(conditions)}};
  const Key key{res::nodes(), "", s.settings.name};
  s.backend.subscribe([weak = std::weak_ptr<State>(state_)](const Change& change) {
    if (const auto self = weak.lock()) self->on_change(change);
  });
  s.registration = std::move(status);
  if (s.backend.snapshot()->has(key)) {
    s.status(key, *s.registration);
  } else {
    s.write({Write::Op::Create, key, std::move(node), {}, -1});
  }
  s.renew_lease();
  for (const auto& pod : s.backend.snapshot()->list(res::pods())) s.consider(pod);
}

void FakeNode::never_ready(std::string prefix) { state_->unready.push_back(std::move(prefix)); }
void FakeNode::set_ready(const Key& pod, bool ready) { state_->write_status(pod, ready); }
void FakeNode::finish(const Key& pod, std::string_view phase) {
  JsonObject status;
  status["phase"] = phase;
  JsonArray conditions;
  conditions.push_back(condition("Ready", false, "PodCompleted", state_->loop.wall_now()));
  status["conditions"] = std::move(conditions);
  state_->status(pod, std::move(status));
}
void FakeNode::crash() {
  state_->crashed = true;
  state_->renew.cancel();
}

}  // namespace knit::reconcile
