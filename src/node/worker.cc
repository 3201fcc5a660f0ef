#include "node/worker.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "base/files.h"
#include "base/log.h"
#include "kube/resources.h"
#include "node/container_spec.h"
#include "node/volumes.h"
#include "node/worker_log.h"

namespace knit::node {

using namespace std::chrono_literals;

namespace {

constexpr std::string_view kLogModule = "node";

/// Whether a container cannot even be made before the volumes show their content: its environment
/// takes values from ConfigMaps or Secrets, or it mounts a path inside a volume.
bool contents_first(const Json& pod) {
  for (const ContainerView& c : containers_of(pod)) {
    for (const Json& from : json::array(*c.json, {"envFrom"})) {
      if (from.is_object()) return true;
    }
    for (const Json& e : json::array(*c.json, {"env"})) {
      if (json::find(e, {"valueFrom", "configMapKeyRef"}) ||
          json::find(e, {"valueFrom", "secretKeyRef"})) {
        return true;
      }
    }
    for (const Json& m : json::array(*c.json, {"volumeMounts"})) {
      if (!json::str(m, {"subPath"}).empty() || !json::str(m, {"subPathExpr"}).empty()) return true;
    }
  }
  return false;
}

}  // namespace

PodWorker::PodWorker(Host& host, Json pod, bool known)
    : host_(host), pod_(std::move(pod)), uid_(uid_of(pod_)), known_(known) {
  status_.host_ip = host_.settings().host_ip;
  status_.start_time = host_.loop().wall_now();
  for (const ContainerView& view : containers_of(pod_)) {
    auto c = std::make_unique<Container>();
    c->view = view;
    c->st.name = view.name;
    c->st.kind = view.kind;
    c->st.role = !view.role.empty();
    c->st.image = view.image;
    containers_.push_back(std::move(c));
  }
}
PodWorker::~PodWorker() = default;

kube::Key PodWorker::key() const {
  return {kube::res::pods(), std::string(namespace_of(pod_)), std::string(name_of(pod_))};
}
std::string PodWorker::run_path() const { return host_.settings().run_dir + "/pods/" + uid_; }

std::string PodWorker::volume_path(const Json& volume) const {
  const bool disk = json::find(volume, "emptyDir") != nullptr &&
                    json::str(volume, {"emptyDir", "medium"}) != "Memory";
  // Names are DNS labels (validated by the API); nothing else becomes a path.
  std::string name(json::str(volume, {"name"}));
  std::replace(name.begin(), name.end(), '/', '_');
  return (disk ? host_.settings().data_dir + "/volumes/" + uid_ : run_path() + "/volumes") + "/" +
         name;
}

PodFacts PodWorker::facts() const {
  PodFacts out;
  out.ip = status_.ip;
  out.ip6 = status_.ip6;
  out.host_ip = host_.settings().host_ip;
  out.node_name = host_.settings().node_name;
  out.node_cpu_milli = host_.machine().cpu_milli;
  out.node_memory = host_.machine().memory;
  out.kubernetes_host = host_.settings().kubernetes_ip;
  return out;
}

void PodWorker::start() {
  if (const auto seconds = json::opt_i64(pod_, {"spec", "activeDeadlineSeconds"})) {
    const Duration left =
        status_.start_time + std::chrono::seconds(*seconds) - host_.loop().wall_now();
    deadline_ = host_.loop().after(std::max(left, Duration(0)), [this] {
      fail("DeadlineExceeded", "Pod was active on the node longer than the specified deadline");
    });
  }
  run_ = host_.loop().spawn_scoped(run());
}

void PodWorker::update(Json pod) {
  known_ = true;
  pod_ = std::move(pod);
  // The views point into the old value.
  for (const ContainerView& view : containers_of(pod_)) {
    if (Container* c = by_name(view.name)) c->view = view;
  }
  if (deleting(pod_)) begin_stop();
  changed();
}

void PodWorker::abandon() {
  abandoned_ = true;
  begin_stop();
}

void PodWorker::begin_stop() {
  stopping_ = true;
  for (const auto& c : containers_) c->wake.set();
  nudge();
}

void PodWorker::fail(std::string reason, std::string message) {
  if (over_ || stopping_) return;
  status_.failed_reason = std::move(reason);
  status_.failed_message = std::move(message);
  nudge();
}

bool PodWorker::all_ended() const {
  for (const auto& c : containers_) {
    if (c->view.kind == Kind::Main && !c->settled.is_set() && !c->st.role) return false;
  }
  // A pod of roles only never ends by itself.
  return std::any_of(containers_.begin(), containers_.end(),
                     [](const auto& c) { return c->view.kind == Kind::Main && !c->st.role; });
}

io::Task<void> PodWorker::wait_change() {
  co_await control_;
  control_.reset();
}

io::Task<void> PodWorker::run() {
  if (deleting(pod_)) stopping_ = true;
  const std::string_view phase = json::str(pod_, {"status", "phase"});
  if (!set_up_ && (phase == "Succeeded" || phase == "Failed")) {
    // It ended before this process: never again, only its deletion is left.
    over_ = true;
    while (!stopping_) co_await wait_change();
  } else if (!stopping_) {
    changed();
    const bool up = co_await set_up();
    bool go_on = up;
    for (const auto& c : containers_) {
      if (!go_on || stopping_ || !status_.failed_reason.empty()) break;
      if (c->view.kind == Kind::Main) continue;
      if (c->st.role) {
        play_role(c.get());
        continue;
      }
      if (c->st.state == ContainerStatus::State::Terminated && c->view.kind == Kind::Init &&
          c->st.ended && c->st.ended->exit_code == 0) {
        continue;  // done before this process took over
      }
      c->loop = host_.loop().spawn_scoped(run_container(c.get()));
      while (!stopping_ && status_.failed_reason.empty() && !c->settled.is_set() &&
             !(c->view.kind == Kind::Sidecar && c->st.started)) {
        co_await wait_change();
      }
      if (c->view.kind == Kind::Init && !(c->st.ended && c->st.ended->exit_code == 0)) {
        go_on = false;
      }
    }
    if (go_on && !stopping_ && status_.failed_reason.empty()) {
      for (const auto& c : containers_) {
        if (c->view.kind != Kind::Main) continue;
        if (c->st.role) {
          play_role(c.get());
        } else {
          c->loop = host_.loop().spawn_scoped(run_container(c.get()));
        }
      }
      changed();
      if (!refresh_.running()) refresh_ = host_.loop().spawn_scoped(refresh_volumes());
      while (!stopping_ && status_.failed_reason.empty() && !all_ended()) co_await wait_change();
    }
    if (!stopping_) {  // ended by itself: the object stays, nothing of it runs
      for (const auto& c : containers_) c->wake.set();
      over_ = true;
      const std::int64_t grace = grace_of(pod_);
      co_await stop_containers(grace);
      status_.terminating = true;
      status_.network = false;
      changed();
      co_await tear_down();
      while (!stopping_) co_await wait_change();
    }
  }
  refresh_.cancel();
  contents_.cancel();
  const std::int64_t grace = abandoned_ ? 0 : grace_of(pod_);
  co_await stop_containers(grace);
  status_.terminating = true;
  co_await tear_down();
  status_.network = false;
  if (!abandoned_) {
    if (!over_) changed();
    const Json options = JsonObject{{"apiVersion", "v1"},
                                    {"kind", "DeleteOptions"},
                                    {"gracePeriodSeconds", 0},
                                    {"preconditions", JsonObject{{"uid", uid_}}}};
    for (Duration wait = 100ms; !abandoned_; wait = std::min<Duration>(wait * 2, 5s)) {
      const Json copy = options;
      const auto removed = co_await host_.api().remove(key(), copy);
      if (removed || removed.error().code() == Code::NotFound ||
          removed.error().code() == Code::Conflict) {
        break;
      }
      KNIT_LOG(Warn, "delete of an ended pod failed", KV("pod", name_of(pod_)),
               KV("error", removed.error()));
      co_await io::sleep_for(host_.loop(), wait);
    }
  }
  host_.finished(uid_);
}

// ---- setting up

io::Task<bool> PodWorker::set_up() {
  if (set_up_ && contents_made_) co_return true;
  const std::string refused = unsupported(pod_);
  if (!refused.empty()) {
    for (const auto& c : containers_) {
      waiting(c.get(), "CreateContainerConfigError", refused);
    }
    host_.event(pod_, "Warning", "FailedCreatePodSandBox", refused, "");
    while (!stopping_) co_await wait_change();
    co_return false;
  }
  // What volumes show comes from the API: meanwhile network and containers are made. They start
  // when it is there.
  if (!contents_made_) contents_ = host_.loop().spawn_scoped(make_contents());
  for (Duration wait = 100ms; !stopping_ && !set_up_; wait = std::min<Duration>(wait * 2, 10s)) {
    Result<void> done = co_await make_network();
    if (done) break;
    host_.event(pod_, "Warning", "FailedCreatePodSandBox",
                "Failed to create pod sandbox: " + done.error().message(), "");
    const io::Loop::Timer timer = host_.loop().after(wait, [this] { nudge(); });
    co_await wait_change();
  }
  for (Duration wait = 100ms; !stopping_ && !set_up_; wait = std::min<Duration>(wait * 2, 5s)) {
    Result<void> done = co_await make_volumes();
    if (done) break;
    failed_mount(done.error());
    const io::Loop::Timer timer = host_.loop().after(wait, [this] { nudge(); });
    co_await wait_change();
  }
  if (contents_first(pod_)) {
    while (!stopping_ && !contents_made_ && status_.failed_reason.empty()) co_await wait_change();
  }
  set_up_ = set_up_ || !stopping_;
  co_return !stopping_;
}

io::Task<void> PodWorker::stop_containers(std::int64_t grace) {
  // Sidecars end after the main containers.
  for (const bool sidecars : {false, true}) {
    std::vector<io::Loop::Scope> scopes;
    for (const auto& c : containers_) {
      if ((c->view.kind == Kind::Sidecar) != sidecars) continue;
      if (c->running) scopes.push_back(host_.loop().spawn_scoped(stop_one(c.get(), grace)));
    }
    for (const auto& c : containers_) {
      if ((c->view.kind == Kind::Sidecar) != sidecars) continue;
      while (c->loop.running()) co_await wait_change();
      while (std::any_of(scopes.begin(), scopes.end(), [](const auto& s) { return s.running(); })) {
        co_await wait_change();
      }
    }
  }
  for (const auto& c : containers_) {
    if (c->st.role && c->st.state == ContainerStatus::State::Running) {
      c->st.ready = c->st.started = false;
      c->st.state = ContainerStatus::State::Terminated;
      Terminated t;
      t.reason = "Completed";
      t.started = c->st.started_at;
      t.finished = host_.loop().wall_now();
      t.container_id = c->st.container_id;
      c->st.ended = std::move(t);
    }
  }
}

io::Task<void> PodWorker::stop_one(Container* c, std::int64_t grace) {
  host_.event(pod_, "Normal", "Killing", "Stopping container " + c->view.name, c->view.name);
  const Instant end = host_.loop().now() + std::chrono::seconds(grace);
  if (grace > 0) {
    auto hooked = co_await run_hook(c, "preStop");
    if (!hooked) {
      host_.event(pod_, "Warning", "FailedPreStopHook", hooked.error().message(), c->view.name);
    }
  }
  // At least two seconds after a late hook. Source: kuberuntime_container.go
  const Instant limit = grace > 0 ? std::max(end, host_.loop().now() + 2s) : end;
  Driver* driver = &host_.driver();
  const auto send = [&](int signo) {
    const pid_t pid = c->pid;
    const std::uint64_t begun = c->start_time;
    return io::blocking<Result<void>>(
        host_.loop(), [driver, pid, begun, signo] { return driver->signal(pid, begun, signo); });
  };
  if (grace > 0 && c->running) {
    static_cast<void>(co_await send(SIGTERM));
    const io::Loop::Timer timer = host_.loop().after(
        std::max(limit - host_.loop().now(), Duration(0)), [c] { c->stopped.set(); });
    while (c->running && host_.loop().now() < limit) {
      c->stopped.reset();
      co_await c->stopped;
    }
  }
  while (c->running) {
    static_cast<void>(co_await send(SIGKILL));
    const io::Loop::Timer timer = host_.loop().after(2s, [c] { c->stopped.set(); });
    if (!c->running) break;
    c->stopped.reset();
    co_await c->stopped;
  }
  // Posted: whoever waits for this task looks at whether it still runs.
  host_.loop().post([this] { nudge(); });
}

io::Task<void> PodWorker::tear_down() {
  if (net_) {
    co_await host_.gone(uid_);
    net_.reset();  // the last reference: the kernel takes the namespace apart in the background
    for (const char* what : {"netns", "listener", "dns", "link"}) host_.drop(uid_, what);
  }
  if (!memory_volumes_.empty()) host_.drop(uid_, "memory");
  host_.release_ip(uid_);
  Driver* driver = &host_.driver();
  const std::string cgroup = pod_cgroup(uid_), run = run_path(), data = host_.settings().data_dir;
  const std::string volumes = data + "/volumes/" + uid_;
  const auto memory = std::exchange(memory_volumes_, {});
  std::vector<std::string> ids;
  for (const auto& c : containers_) {
    if (!c->id.empty() && !c->st.role) ids.push_back(c->id);
  }
  const std::string logs = stopping_ ? log_dir("") : std::string();
  co_await io::blocking<bool>(host_.loop(), [driver, cgroup, run, volumes, memory, ids, logs] {
    for (const auto& id : ids) static_cast<void>(driver->remove(id));
    for (const auto& path : memory) driver->unmount(path);
    driver->remove_pod(cgroup);
    std::error_code error;
    std::filesystem::remove_all(run, error);
    std::filesystem::remove_all(volumes, error);
    if (!logs.empty()) std::filesystem::remove_all(logs, error);
    return true;
  });
}

// ---- status and state

void PodWorker::changed() {
  dirty_ = true;
  if (publishing_ || abandoned_) return;
  publishing_ = true;
  // Posted: changes of one moment become one patch, and this may run inside publish() itself.
  host_.loop().post([this, alive = std::weak_ptr(alive_)] {
    if (!alive.expired()) publish_ = host_.loop().spawn_scoped(publish());
  });
}

io::Task<void> PodWorker::publish() {
  while (dirty_ && !abandoned_) {
    dirty_ = false;
    for (std::size_t i = 0; i < containers_.size(); ++i) {
      if (i < status_.containers.size()) {
        status_.containers[i] = containers_[i]->st;
      } else {
        status_.containers.push_back(containers_[i]->st);
      }
    }
    Json status = compute_status(pod_, status_, host_.loop().wall_now());
    std::string text = json::canonical(status);
    if (text == last_published_) continue;
    Json patch = JsonObject{{"metadata", JsonObject{{"uid", uid_}}}, {"status", std::move(status)}};
    auto done = co_await host_.api().patch(key(), std::move(patch), "status");
    if (done) {
      last_published_ = std::move(text);
      continue;
    }
    if (done.error().code() == Code::NotFound && known_) break;
    dirty_ = true;
    if (done.error().code() != Code::NotFound) {
      KNIT_LOG(Warn, "update of a pod's status failed", KV("pod", name_of(pod_)),
               KV("error", done.error()));
    }
    const Duration wait = done.error().code() == Code::NotFound ? Duration(5ms) : Duration(500ms);
    co_await io::sleep_for(host_.loop(), wait);
  }
  publishing_ = false;
}

// ---- for the proxy

ipc::Pod PodWorker::message() const {
  ipc::Pod out;
  out.uid = uid_;
  out.ns = namespace_of(pod_);
  out.name = name_of(pod_);
  out.service_account = json::str(pod_, {"spec", "serviceAccountName"}, "default");
  out.ip = status_.ip;
  out.ip6 = status_.ip6;
  out.ports = ports_of(pod_);
  for (const auto& c : containers_) {
    if (c->st.state != ContainerStatus::State::Running) continue;
    // The startup probe gates the others.
    const bool gated = has_probe(*c, "startupProbe") && !c->st.started;
    for (const char* which : {"startupProbe", "readinessProbe", "livenessProbe"}) {
      if ((std::string_view(which) == "startupProbe") != gated) continue;
      auto probe = proxy_probe(c->view, which);
      if (probe && *probe) out.probes.push_back(std::move(**probe));
    }
  }
  return out;
}

}  // namespace knit::node
