#include "reconcile/fake_node.h"

#include <algorithm>
#include <map>
#include <set>

namespace knit::reconcile {
namespace {
namespace res = kube::res;

Json condition(std::string_view type, bool yes, std::string_view reason, WallTime since) {
  JsonObject c;
  c["type"] = type;
  c["status"] = yes ? "True" : "False";
  c["lastProbeTime"] = nullptr;
  c["lastTransitionTime"] = rfc3339(since);
  if (!reason.empty()) c["reason"] = reason;
  return c;
}

/// One pod's containers, as the machine has them.
struct Pod {
  enum class Stage { Starting, Running, Waiting, Ended };
  Key key;
  Stage stage = Stage::Starting;
  std::string ip;
  std::string reason;  // Waiting: why; Ended: the phase
  WallTime started{}, turned{};
  bool ready = false;
  bool stopping = false;
  int restarts = 0;
  Instant stop_by{};
  io::Loop::Timer timer;
};
}  // namespace

struct FakeNode::State : std::enable_shared_from_this<FakeNode::State> {
  State(io::Loop& l, Backend* b, FakeNodeSettings s)
      : loop(l), backend(b), settings(std::move(s)) {}
  io::Loop& loop;
  Backend* backend;  // null: away
  FakeNodeSettings settings;
  std::uint64_t connection = 0;
  std::vector<std::string> unready;
  std::map<std::string, Pod> pods;  // by uid
  io::Loop::Timer renew;
  std::vector<io::Loop::Timer> retries;
  std::optional<Json> registration;
  int next_ip = 2;
  bool alive = true;

  bool online() const { return alive && backend != nullptr; }
  template <class F>
  io::Loop::Timer after(Duration delay, F work) {
    return loop.after(delay, [weak = weak_from_this(), work] {
      if (const auto self = weak.lock(); self && self->alive) work(*self);
    });
  }

  // Stages and commits one write; again later when it is refused (a namespace is not there yet),
  // at once on a newer state when somebody else was first.
  void write(Write w, int attempts = 50) {
    if (!online() || attempts == 0) return;
    const auto seen = backend->snapshot();
    const auto before = seen->get(w.key);
    if (w.op == Write::Op::Create && before != nullptr) w.op = Write::Op::Merge;
    if (w.op != Write::Op::Create && before == nullptr) return;
    auto effect = backend->stage(*seen, w);
    const auto later = [w, attempts, at = connection](State& self) {
      if (self.connection == at) self.write(w, attempts - 1);
    };
    if (!effect) {
      retries.push_back(after(std::chrono::milliseconds(100), later));
      return;
    }
    if (effect->kind == Effect::Kind::None) return;
    std::vector<Change> changes;
    changes.push_back({before, effect->object});
    backend->commit(std::move(changes), [weak = weak_from_this(), later](Result<void> done) {
      const auto self = weak.lock();
      if (!self || done || !self->alive) return;
      if (done.error().code() == Code::Conflict) {
        later(*self);
      } else {
        self->retries.push_back(self->after(std::chrono::milliseconds(100), later));
      }
    });
  }
  void status(const Key& key, Json value, const std::string& uid = {}) {
    write({Write::Op::Status, key, JsonObject{{"status", std::move(value)}}, uid, -1});
  }

  std::string free_ip() {
    std::set<std::string> used;
    for (const auto& [uid, pod] : pods) used.insert(pod.ip);
    while (true) {
      std::string ip = settings.pod_prefix + std::to_string(next_ip);
      if (++next_ip > 250) next_ip = 2;
      if (!used.contains(ip)) return ip;
    }
  }

  /// Tells the API what is; nothing when it knows.
  void tell(const std::string& uid) {
    const auto it = pods.find(uid);
    if (it == pods.end() || !online()) return;
    const Pod& mine = it->second;
    const auto object = backend->snapshot()->get(mine.key);
    if (object == nullptr || object->uid() != uid) return;
    const Json pod = object->parse();
    JsonObject value;
    if (mine.stage == Pod::Stage::Starting) return;
    const bool ended = mine.stage == Pod::Stage::Ended;
    const bool waiting = mine.stage == Pod::Stage::Waiting;
    const std::string_view why = mine.ready ? "" : ended ? "PodCompleted" : "ContainersNotReady";
    JsonArray conditions;
    for (const auto& c : json::array(pod, {"status", "conditions"})) {
      if (json::str(c, {"type"}) == "PodScheduled") conditions.push_back(c);
    }
    conditions.push_back(condition("Initialized", true, "", mine.started));
    conditions.push_back(condition("ContainersReady", mine.ready, why, mine.turned));
    conditions.push_back(condition("Ready", mine.ready, why, mine.turned));
    JsonArray statuses;
    bool first = true;
    for (const auto& c : json::array(pod, {"spec", "containers"})) {
      const auto image = json::str(c, {"image"});
      const bool role = image.starts_with("knit.local/role/");
      JsonObject s;
      s["name"] = json::str(c, {"name"});
      s["image"] = image;
      s["imageID"] = "";
      s["ready"] = mine.ready;
      s["started"] = !(waiting && first);
      s["restartCount"] = role ? 0 : mine.restarts;
      if (waiting && !role) {
        s["state"] = JsonObject{{"waiting", JsonObject{{"reason", mine.reason}}}};
        if (mine.restarts > 0) {
          s["lastState"] =
              JsonObject{{"terminated", JsonObject{{"exitCode", 1}, {"reason", "Error"}}}};
        }
      } else if (ended) {
        s["state"] =
            JsonObject{{"terminated",
                        JsonObject{{"exitCode", mine.reason == "Failed" ? 1 : 0},
                                   {"reason", mine.reason == "Failed" ? "Error" : "Completed"}}}};
      } else {
        s["state"] = JsonObject{{"running", JsonObject{{"startedAt", rfc3339(mine.started)}}}};
      }
      first = false;
      statuses.push_back(std::move(s));
    }
    const bool pulled = !waiting || mine.restarts > 0;
    value["phase"] = ended ? mine.reason : pulled ? "Running" : "Pending";
    value["podIP"] = mine.ip;
    value["podIPs"] = JsonArray{JsonObject{{"ip", mine.ip}}};
    value["hostIP"] = settings.host_ip;
    value["startTime"] = rfc3339(mine.started);
    value["conditions"] = std::move(conditions);
    value["containerStatuses"] = std::move(statuses);
    status(mine.key, std::move(value), uid);
  }

  void turn(const std::string& uid, Pod::Stage stage, bool ready, std::string reason = {}) {
    Pod& pod = pods.at(uid);
    if (pod.stage == Pod::Stage::Starting) pod.started = pod.turned = loop.wall_now();
    if (pod.ready != ready) pod.turned = loop.wall_now();
    pod.stage = stage;
    pod.ready = ready;
    pod.reason = std::move(reason);
    tell(uid);
  }

  /// The containers are started, the first time or again.
  void launch(const std::string& uid) {
    const auto it = pods.find(uid);
    if (it == pods.end() || it->second.stopping || it->second.stage == Pod::Stage::Ended) return;
    Pod& pod = it->second;
    if (pod.ip.empty()) pod.ip = free_ip();
    const auto object = online() ? backend->snapshot()->get(pod.key) : nullptr;
    PodFate fate;
    if (object != nullptr && settings.fate) fate = settings.fate(object->parse());
    if (std::any_of(unready.begin(), unready.end(),
                    [&](const std::string& prefix) { return pod.key.name.starts_with(prefix); })) {
      fate.kind = PodFate::Kind::NeverReady;
    }
    if (fate.kind != PodFate::Kind::NoImage && settings.started) settings.started(uid);
    switch (fate.kind) {
      case PodFate::Kind::Runs:
        if (fate.ready == Duration{}) {
          turn(uid, Pod::Stage::Running, true);
        } else {
          turn(uid, Pod::Stage::Running, false);
          pods.at(uid).timer =
              after(fate.ready, [uid](State& self) { self.turn(uid, Pod::Stage::Running, true); });
        }
        return;
      case PodFate::Kind::NeverReady:
        turn(uid, Pod::Stage::Running, false);
        return;
      case PodFate::Kind::Crashes:
        turn(uid, Pod::Stage::Running, false);
        pods.at(uid).timer = after(std::chrono::seconds(1), [uid](State& self) { self.exit(uid); });
        return;
      case PodFate::Kind::NoImage:
        turn(uid, Pod::Stage::Waiting, false, "ImagePullBackOff");
        again_later(uid);
        return;
    }
  }
  void exit(const std::string& uid) {
    Pod& pod = pods.at(uid);
    ++pod.restarts;
    if (settings.ended) settings.ended(uid);
    turn(uid, Pod::Stage::Waiting, false, "CrashLoopBackOff");
    again_later(uid);
  }
  void again_later(const std::string& uid) {
    Pod& pod = pods.at(uid);
    const int doublings = std::min(pod.restarts, 5);
    pod.timer = after(std::min<Duration>(std::chrono::seconds(300),
                                         settings.back_off * (std::int64_t{1} << doublings)),
                      [uid](State& self) { self.launch(uid); });
  }

  void on_change(const Change& change) {
    if (!alive) return;
    if (change.key() == Key{res::nodes(), "", settings.name} && change.before == nullptr) {
      status(change.key(), *registration);  // the node's status follows its object
    }
    if (change.key().resource != res::pods()) return;
    if (change.after == nullptr || (change.before && change.before->uid() != change.after->uid())) {
      forget(change.before->uid());
    }
    if (change.after != nullptr) consider(change.after);
  }
  void forget(const std::string& uid) {
    if (pods.erase(uid) > 0 && settings.ended) settings.ended(uid);
  }
  void consider(const ObjectPtr& object) {
    const Json json = object->parse();
    if (json::str(json, {"spec", "nodeName"}) != settings.name) return;
    const std::string uid = object->uid();
    Pod& pod = pods[uid];
    pod.key = object->key();
    if (object->deleting()) {
      if (pod.stopping) return;
      pod.stopping = true;
      pod.stop_by = loop.now() + std::chrono::seconds(json::i64(
                                     json, {"metadata", "deletionGracePeriodSeconds"}, 30));
      stop(uid);
      return;
    }
    if (pod.stage != Pod::Stage::Starting || pod.timer) return;
    pod.timer = after(settings.start, [uid](State& self) { self.launch(uid); });
  }
  void stop(const std::string& uid) {
    pods.at(uid).timer = after(settings.stop, [uid](State& self) {
      Pod& pod = self.pods.at(uid);
      if (self.settings.busy && self.settings.busy(uid) && self.loop.now() < pod.stop_by) {
        pod.timer.cancel();
        self.retries.push_back(self.after(std::chrono::milliseconds(100), [uid](State& again) {
          if (again.pods.contains(uid)) again.stop(uid);
        }));
        return;
      }
      if (self.settings.ended) self.settings.ended(uid);
      if (self.backend == nullptr) return;  // told when it is back
      const auto object = self.backend->snapshot()->get(pod.key);
      if (object && object->uid() == uid) {
        self.write({Write::Op::Delete, pod.key, nullptr, uid, 0});
      }
    });
  }

  void renew_lease() {
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
    renew = after(settings.lease_every, [](State& self) {
      if (self.online()) self.enroll();
      self.renew_lease();
    });
  }

  /// Registers, lists, and hears from then on.
  void follow() {
    if (!online()) return;
    const auto at = ++connection;
    backend->subscribe([weak = weak_from_this(), at](const Change& change) {
      if (const auto self = weak.lock(); self && self->connection == at) self->on_change(change);
    });
    enroll();
    renew_lease();
    std::set<std::string> known;
    for (const auto& pod : backend->snapshot()->list(res::pods())) {
      known.insert(pod->uid());
      consider(pod);
    }
    std::vector<std::string> all;
    for (const auto& [uid, pod] : pods) all.push_back(uid);
    for (const auto& uid : all) {
      if (!known.contains(uid)) {
        forget(uid);
      } else if (pods.at(uid).stopping) {
        stop(uid);
      } else {
        tell(uid);
      }
    }
  }
  void enroll() {
    JsonObject resources{{"cpu", "2"}, {"memory", "4Gi"}, {"pods", "110"}};
    JsonObject node;
    node["apiVersion"] = "v1";
    node["kind"] = "Node";
    node["metadata"] = JsonObject{{"name", settings.name},
                                  {"labels", JsonObject{{"kubernetes.io/hostname", settings.name},
                                                        {"kubernetes.io/os", "linux"},
                                                        {"kubernetes.io/arch", "amd64"}}}};
    node["spec"] = JsonObject();
    if (!registration) {
      JsonArray conditions;
      conditions.push_back(condition("Ready", true, "KubeletReady", loop.wall_now()));
      registration = JsonObject{{"capacity", resources},
                                {"allocatable", resources},
                                {"conditions", std::move(conditions)}};
    }
    const Key key{res::nodes(), "", settings.name};
    if (backend->snapshot()->has(key)) {
      status(key, *registration);
    } else {
      write({Write::Op::Create, key, std::move(node), {}, -1});
    }
  }
};

FakeNode::FakeNode(io::Loop& loop, FakeNodeSettings settings)
    : state_(std::make_shared<State>(loop, nullptr, std::move(settings))) {}
FakeNode::FakeNode(io::Loop& loop, Backend& backend, FakeNodeSettings settings)
    : state_(std::make_shared<State>(loop, &backend, std::move(settings))) {}
FakeNode::~FakeNode() = default;

void FakeNode::start() { state_->follow(); }
void FakeNode::never_ready(std::string prefix) { state_->unready.push_back(std::move(prefix)); }

void FakeNode::set_ready(const Key& key, bool ready) {
  for (auto& [uid, pod] : state_->pods) {
    if (pod.key != key || pod.stage != Pod::Stage::Running) continue;
    state_->turn(uid, Pod::Stage::Running, ready);
    return;
  }
}
void FakeNode::finish(const Key& key, std::string_view phase) {
  for (auto& [uid, pod] : state_->pods) {
    if (pod.key != key || pod.stage == Pod::Stage::Ended) continue;
    if (!pod.stopping) pod.timer.cancel();
    state_->turn(uid, Pod::Stage::Ended, false, std::string(phase));
    return;
  }
}
void FakeNode::crash_container(const Key& key) {
  for (auto& [uid, pod] : state_->pods) {
    if (pod.key != key || pod.stage != Pod::Stage::Running || pod.stopping) continue;
    state_->exit(uid);
    return;
  }
}

std::set<std::string> FakeNode::containers() const {
  std::set<std::string> out;
  for (const auto& [uid, pod] : state_->pods) out.insert(uid);
  return out;
}

void FakeNode::disconnect() {
  state_->backend = nullptr;
  ++state_->connection;
  state_->retries.clear();
}
void FakeNode::connect(Backend& backend) {
  state_->backend = &backend;
  state_->follow();
}
void FakeNode::kill() {
  state_->alive = false;
  state_->renew.cancel();
  state_->retries.clear();
  for (auto& [uid, pod] : state_->pods) pod.timer.cancel();
}
void FakeNode::restart() {
  auto& s = *state_;
  s.alive = true;
  for (auto& [uid, pod] : s.pods) {
    pod.stopping = false;  // asked for again when it reads the API
    if (pod.stage == Pod::Stage::Waiting || (pod.stage == Pod::Stage::Running && !pod.ready)) {
      // The back-off is forgotten with the process, as kubelet's.
      pod.timer = s.after(s.settings.start, [id = uid](State& self) { self.launch(id); });
    }
  }
  if (s.backend != nullptr) s.follow();
}

}  // namespace knit::reconcile
