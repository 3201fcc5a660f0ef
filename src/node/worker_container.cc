// One container of a pod: image, creation, probes, exit, restart.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "base/files.h"
#include "base/hash.h"
#include "base/log.h"
#include "image/reference.h"
#include "ipc/roles.h"
#include "kube/roles.h"
#include "node/container_spec.h"
#include "node/volumes.h"
#include "node/worker.h"
#include "node/worker_log.h"

namespace knit::node {

using namespace std::chrono_literals;
using State = ContainerStatus::State;

namespace {

constexpr std::string_view kLogModule = "node";
constexpr std::size_t kMaxTerminationMessage = 4096;

std::string read_tail(const std::string& path, std::size_t max) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat st{};
  if (!fd || ::fstat(fd.get(), &st) != 0 || !S_ISREG(st.st_mode)) return {};
  const auto size = static_cast<std::size_t>(st.st_size);
  std::string out(std::min(size, max), '\0');
  const ssize_t n =
      ::pread(fd.get(), out.data(), out.size(), static_cast<off_t>(size - out.size()));
  out.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  return out;
}

}  // namespace

PodWorker::Container* PodWorker::by_id(const std::string& id) {
  for (const auto& c : containers_) {
    if (c->id == id) return c.get();
  }
  return nullptr;
}
PodWorker::Container* PodWorker::by_name(std::string_view name) {
  for (const auto& c : containers_) {
    if (c->view.name == name) return c.get();
  }
  return nullptr;
}

bool PodWorker::has_probe(const Container& c, std::string_view which) const {
  const Json* probe = json::find(*c.view.json, which);
  return probe != nullptr && probe->is_object();
}

bool PodWorker::restarts(const Container& c) const {
  if (stopping_ || over_ || !status_.failed_reason.empty()) return false;
  if (c.view.kind == Kind::Sidecar) return true;
  const std::string_view policy = json::str(pod_, {"spec", "restartPolicy"}, "Always");
  const bool failed = !c.st.ended || c.st.ended->exit_code != 0;
  if (c.view.kind == Kind::Init) return failed && policy != "Never";
  return policy == "Always" || (policy == "OnFailure" && failed);
}

void PodWorker::waiting(Container* c, std::string reason, std::string message) {
  c->st.state = State::Waiting;
  c->st.reason = std::move(reason);
  c->st.message = std::move(message);
  c->st.ready = c->st.started = false;
  changed();
}

io::Task<void> PodWorker::pause(Container* c, Duration d) {
  if (stopping_) co_return;
  const Instant until = host_.loop().now() + d;
  const io::Loop::Timer timer = host_.loop().at(until, [c] { c->wake.set(); });
  while (!stopping_ && status_.failed_reason.empty() && host_.loop().now() < until) {
    c->wake.reset();
    co_await c->wake;
  }
}

/// A container that Knit plays itself: running at once, without a process.
void PodWorker::play_role(Container* c) {
  if (!kube::plays_role(c->view.role)) {
    waiting(
        c, "RoleNotBuiltIn",
        "this version of Knit does not play the role \"" + std::string(c->view.role) + "\" yet");
    return;
  }
  c->st.state = State::Running;
  c->st.started_at = host_.loop().wall_now();
  c->id = hash::sha256_hex("role/" + uid_ + "/" + c->view.name);
  c->st.container_id = "knit://" + c->id;
  c->st.image_id = "knit.local/role/" + std::string(c->view.role);
  c->st.started = true;
  // queue-proxy is ready when the proxy says that the app is; the roles of events when the proxy
  // reaches them there; others are ready at once.
  static_cast<void>(role_log(c));
  const auto probe = proxy_probe(c->view, "readinessProbe");
  c->st.ready = !(c->view.role == "queue-proxy" && net_ && probe && *probe);
  if (kube::runs_in_events(c->view.role)) c->st.ready = was_ready(c->view.name);
  if (net_) host_.announce(*this);
  changed();
}

/// What the API says: a new node does not know better until the proxy tells.
bool PodWorker::was_ready(std::string_view container) const {
  for (const Json& status : json::array(pod_, {"status", "containerStatuses"})) {
    if (json::str(status, {"name"}) == container) return json::boolean(status, {"ready"});
  }
  return false;
}

io::Task<void> PodWorker::run_container(Container* c) {
  for (;;) {
    const std::optional<Duration> ran = co_await run_once(c);
    if (!restarts(*c)) break;
    if (ran) {
      // Never ran before: the wait was in run_once(), by the reason of the failure.
      c->st.last = c->st.ended;
      ++c->st.restarts;
      // As kubelet: the first restart is immediate, later ones back off.
      const Duration wait = c->st.restarts > 1 ? c->restart.next(*ran) : Duration(0);
      const std::string text = "back-off " + go_duration(wait) +
                               " restarting failed container=" + c->view.name +
                               " pod=" + std::string(name_of(pod_)) + "_" +
                               std::string(namespace_of(pod_)) + "(" + uid_ + ")";
      if (wait > Duration(0)) {
        waiting(c, "CrashLoopBackOff", text);
        host_.event(pod_, "Warning", "BackOff",
                    "Back-off restarting failed container " + c->view.name + " in pod " +
                        std::string(name_of(pod_)) + "_" + std::string(namespace_of(pod_)) + "(" +
                        uid_ + ")",
                    c->view.name);
        co_await pause(c, wait);
      }
    }
    if (!restarts(*c)) break;
  }
  if (c->st.state == State::Waiting && c->st.last) {  // stopped while waiting for a restart
    c->st.state = State::Terminated;
    c->st.ended = c->st.last;
    c->st.last.reset();
    c->st.restarts = std::max(c->st.restarts - 1, 0);
  }
  changed();
  // Posted: whoever waits may destroy this coroutine when it goes on.
  host_.loop().post([this, c, alive = std::weak_ptr(alive_)] {
    if (alive.expired()) return;
    c->settled.set();
    nudge();
  });
}

io::Task<Result<runtime::Created>> PodWorker::create(Container* c) {
  Driver* driver = &host_.driver();
  const std::string image = c->view.image;
  auto found = co_await io::blocking<Result<LocalImage>>(
      host_.loop(), [driver, image] { return driver->find_image(image); });
  if (!found) {
    if (found.error().code() == Code::InvalidArgument) {
      waiting(c, "InvalidImageName",
              "Failed to apply default image tag \"" + image + "\": " + found.error().message());
    } else {
      waiting(c, "ErrImagePull", found.error().message());
    }
    host_.event(pod_, "Warning", "Failed",
                "Failed to pull image \"" + image + "\": " + found.error().message(), c->view.name);
    host_.event(pod_, "Warning", "Failed", "Error: " + c->st.reason, c->view.name);
    const Duration wait = c->image.next(0s);
    co_await pause(c, wait / 10);
    if (!stopping_ && c->st.reason == "ErrImagePull") {
      waiting(c, "ImagePullBackOff",
              "Back-off pulling image \"" + image + "\": " + found.error().message());
      host_.event(pod_, "Normal", "BackOff", "Back-off pulling image \"" + image + "\"",
                  c->view.name);
    }
    co_await pause(c, wait);
    co_return std::move(found).error();
  }
  c->image.reset();
  if (json::str(*c->view.json, {"imagePullPolicy"}) == "Always") {
    const auto ref = image::parse_reference(image);
    if (ref && ref->registry != "knit.local") {
      KNIT_LOG(Debug, "imagePullPolicy Always: the image of the node's store is used",
               KV("image", image));
    }
  }
  host_.event(pod_, "Normal", "Pulled",
              "Container image \"" + image + "\" already present on machine", c->view.name);
  c->st.image_id = found->image.repo_digest;

  if (c->st.restarts > 0 || !c->st.message.empty()) {  // values may have changed since
    auto fetched = co_await fetch_objects();
    if (!fetched) KNIT_LOG(Warn, "objects of a pod were not fetched", KV("error", fetched.error()));
  }
  ContainerInput in;
  in.pod = &pod_;
  in.container = c->view;
  in.id = host_.new_id();
  in.image = &found->image.config;
  in.objects = &objects_;
  in.facts = facts();
  in.least_oom_score = host_.machine().least_oom_score;
  for (const Json& v : json::array(pod_, {"spec", "volumes"})) {
    in.volumes.emplace(json::str(v, {"name"}), volume_path(v));
  }
  in.files = run_path() + "/etc";
  if (net_) {
    in.netns_path =
        "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(net_->netns.get());
  }
  const std::string dir = run_path() + "/containers/" + c->view.name;
  static_cast<void>(make_directories(dir));  // what is opened below says it
  c->message_file = dir + "/" + std::to_string(c->st.restarts) + "-message";
  {
    const Fd fd(::open(c->message_file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
    if (fd) ::fchmod(fd.get(), 0666);
  }
  in.termination_log = c->message_file;
  auto spec = container_spec(in);
  Fd out, err;
  Result<void> logs = spec ? open_logs(c, out, err) : Result<void>();
  if (!spec || !logs) {
    Error e = !spec ? std::move(spec).error() : std::move(logs).error();
    waiting(c, "CreateContainerConfigError", e.message());
    host_.event(pod_, "Warning", "Failed", "Error: " + e.message(), c->view.name);
    co_await pause(c, 5s);
    co_return e;
  }
  c->id = spec->id;
  const auto shared_spec = std::make_shared<runtime::ContainerSpec>(std::move(*spec));
  const auto layers = found->layers;
  const auto ends = std::make_shared<std::pair<Fd, Fd>>(std::move(out), std::move(err));
  auto made = co_await io::blocking<Result<runtime::Created>>(
      host_.loop(), [driver, shared_spec, layers, ends] {
        auto r = driver->prepare(*shared_spec, layers, ends->first.get(), ends->second.get());
        *ends = {};
        return r;
      });
  if (!made) {
    close_logs(c);
    const bool config = made.error().code() == Code::InvalidArgument;
    const std::string reason = config ? "CreateContainerConfigError"
                               : made.error().code() == Code::NotFound ? "RunContainerError"
                                                                       : "CreateContainerError";
    waiting(c, reason, made.error().message());
    host_.event(pod_, "Warning", "Failed", "Error: " + made.error().message(), c->view.name);
    const Duration wait = c->restart.next(0s);
    co_await pause(c, wait);
    co_return std::move(made).error();
  }
  host_.event(pod_, "Normal", "Created", "Created container: " + c->view.name, c->view.name);
  co_return made;
}

io::Task<std::optional<Duration>> PodWorker::run_once(Container* c) {
  Driver* driver = &host_.driver();
  if (!c->resumed) {
    if (c->st.state == State::Terminated) waiting(c, "ContainerCreating", "");
    auto made = co_await create(c);
    if (!made) co_return std::optional<Duration>();
    c->pid = made->pid;
    c->start_time = made->start_time;
    c->exited.reset();
    c->failed_probe = false;
    const std::string id = c->id;
    host_.expect(*this, id, c->pid, c->start_time);
    while (!contents_made_ && !stopping_ && status_.failed_reason.empty()) {
      c->wake.reset();
      co_await c->wake;
    }
    if (stopping_ || !status_.failed_reason.empty()) {
      co_await io::blocking<bool>(host_.loop(), [driver, id] {
        static_cast<void>(driver->remove(id));
        return true;
      });
      co_return std::optional<Duration>();
    }
    c->running = true;
    auto begun = co_await io::blocking<Result<void>>(host_.loop(),
                                                     [driver, id] { return driver->start(id); });
    if (!begun) {
      c->running = false;
      waiting(c, "RunContainerError", begun.error().message());
      host_.event(pod_, "Warning", "Failed", "Error: " + begun.error().message(), c->view.name);
      co_await io::blocking<bool>(host_.loop(), [driver, id] {
        static_cast<void>(driver->remove(id));
        return true;
      });
      const Duration wait = c->restart.next(0s);
      co_await pause(c, wait);
      co_return std::optional<Duration>();
    }
    c->begun = host_.loop().now();
    started(c);
    auto hooked = co_await run_hook(c, "postStart");
    if (!hooked) {
      host_.event(pod_, "Warning", "FailedPostStartHook", hooked.error().message(), c->view.name);
      c->tasks.push_back(host_.loop().spawn_scoped(
          kill_for_probe(c, "FailedPostStartHook: " + hooked.error().message())));
    }
  } else {
    c->resumed = false;
    c->begun = host_.loop().now();
    host_.expect(*this, c->id, c->pid, c->start_time);
    exec_probes(c);
  }
  co_await c->exited;
  finish_run(c);
  const Duration ran = host_.loop().now() - c->begun;
  const std::string id = c->id;
  co_await io::blocking<bool>(host_.loop(), [driver, id] {
    static_cast<void>(driver->remove(id));
    return true;
  });
  close_logs(c);  // nothing that could write is left
  co_return std::optional<Duration>(ran);
}

void PodWorker::started(Container* c) {
  c->st.state = State::Running;
  c->st.message.clear();
  c->st.started_at = host_.loop().wall_now();
  c->st.container_id = host_.driver().uri(c->id);
  c->st.ready = c->st.started = false;
  host_.event(pod_, "Normal", "Started", "Started container " + c->view.name, c->view.name);
  if (has_probe(*c, "startupProbe")) {
    exec_probes(c);
  } else {
    startup_passed(c);
  }
  save_state();
  if (net_) host_.announce(*this);
  changed();
}

void PodWorker::startup_passed(Container* c) {
  c->st.started = true;
  c->st.ready = !has_probe(*c, "readinessProbe");
  exec_probes(c);
  nudge();
}

/// Those that run now: the startup probe alone, or the others.
void PodWorker::exec_probes(Container* c) {
  for (const char* which : {"startupProbe", "readinessProbe", "livenessProbe"}) {
    if ((std::string_view(which) == "startupProbe") == c->st.started) continue;
    if (json::find(*c->view.json, {which, "exec"}) != nullptr) {
      c->tasks.push_back(host_.loop().spawn_scoped(exec_probe(c, which)));
    }
  }
}

void PodWorker::finish_run(Container* c) {
  c->running = false;
  c->tasks.clear();
  const std::string cgroup = pod_cgroup(uid_) + "/" + c->id;
  Terminated t = terminated(c->exit_status, host_.driver().oom_killed(cgroup));
  t.started = c->st.started_at;
  t.finished = c->exit_time;
  t.container_id = c->st.container_id;
  t.message = read_tail(c->message_file, kMaxTerminationMessage);
  if (t.message.empty() && t.exit_code != 0 &&
      json::str(*c->view.json, {"terminationMessagePolicy"}) == "FallbackToLogsOnError") {
    t.message =
        read_tail(log_dir(c->view.name) + "/" + std::to_string(c->st.restarts) + ".log", 2048);
  }
  c->st.ended = std::move(t);
  c->st.state = State::Terminated;
  c->st.ready = c->st.started = false;
  c->stopped.set();
  save_state();
  if (net_) host_.announce(*this);
  changed();
}

void PodWorker::on_exit(const std::string& container, int status, WallTime when) {
  Container* c = by_id(container);
  if (c == nullptr) return;
  c->exit_status = status;
  c->exit_time = when;
  c->exited.set();
}

// ---- probes and hooks

void PodWorker::on_probed(const ipc::Probed& probed) {
  if (probed.probe == ipc::kRoleProbe) {
    for (const auto& c : containers_) {
      if (c->st.state != State::Running || !kube::runs_in_events(c->view.role)) continue;
      probe_result(c.get(), "readiness", probed.ok, probed.text);
    }
    return;
  }
  const auto slash = probed.probe.rfind('/');
  if (slash == std::string::npos) return;
  Container* c = by_name(std::string_view(probed.probe).substr(0, slash));
  if (c == nullptr || c->st.state != State::Running) return;
  probe_result(c, probed.probe.substr(slash + 1), probed.ok, probed.text);
}

void PodWorker::probe_result(Container* c, std::string_view which, bool ok,
                             const std::string& text) {
  std::string title(which);
  if (!title.empty()) title[0] = static_cast<char>(title[0] - 'a' + 'A');
  if (!ok) {
    host_.event(pod_, "Warning", "Unhealthy", title + " probe failed: " + text.substr(0, 1000),
                c->view.name);
  }
  if (which == "readiness") {
    if (c->st.ready == ok) return;
    c->st.ready = ok;
    changed();
  } else if (which == "startup" && ok) {
    if (c->st.started) return;
    startup_passed(c);
    if (net_) host_.announce(*this);
    changed();
  } else if (!ok && c->running && !c->failed_probe && !stopping_) {
    c->failed_probe = true;
    c->tasks.push_back(host_.loop().spawn_scoped(
        kill_for_probe(c, "Container " + c->view.name + " failed " + std::string(which) +
                              " probe, will be restarted")));
  }
}

io::Task<void> PodWorker::kill_for_probe(Container* c, std::string message) {
  host_.event(pod_, "Normal", "Killing", std::move(message), c->view.name);
  const auto probe_grace =
      json::opt_i64(*c->view.json, {"livenessProbe", "terminationGracePeriodSeconds"});
  const std::int64_t grace =
      probe_grace ? *probe_grace : json::i64(pod_, {"spec", "terminationGracePeriodSeconds"}, 30);
  Driver* driver = &host_.driver();
  const pid_t pid = c->pid;
  const std::uint64_t begun = c->start_time;
  for (const int signo : {15, 9}) {
    co_await io::blocking<bool>(host_.loop(), [driver, pid, begun, signo] {
      static_cast<void>(driver->signal(pid, begun, signo));
      return true;
    });
    co_await io::sleep_for(host_.loop(), std::chrono::seconds(std::max<std::int64_t>(grace, 1)));
  }
}

io::Task<void> PodWorker::exec_probe(Container* c, std::string which) {
  const Json probe = *json::find(*c->view.json, which);
  std::vector<std::string> argv;
  for (const Json& v : json::array(probe, {"exec", "command"})) {
    if (v.is_string()) argv.emplace_back(std::string_view(v.as_string()));
  }
  const auto seconds = [&](std::string_view field, std::int64_t otherwise) {
    return std::max<std::int64_t>(json::i64(probe, {field}, otherwise), 1);
  };
  const Duration period = std::chrono::seconds(seconds("periodSeconds", 10));
  const Duration timeout = std::chrono::seconds(seconds("timeoutSeconds", 1));
  const std::int64_t need_ok = seconds("successThreshold", 1),
                     need_bad = seconds("failureThreshold", 3);
  const std::string name = which.substr(0, which.find("Probe"));
  co_await io::sleep_for(host_.loop(),
                         std::chrono::seconds(json::i64(probe, {"initialDelaySeconds"})));
  Driver* driver = &host_.driver();
  const std::string id = c->id;
  for (std::int64_t good = 0, bad = 0;;) {
    const auto got = co_await io::blocking<Result<runtime::ExecResult>>(
        host_.loop(), [driver, id, argv, timeout] { return driver->exec(id, argv, timeout); });
    const bool ok = got && got->exit_code == 0;
    good = ok ? good + 1 : 0;
    bad = ok ? 0 : bad + 1;
    const std::string text = got ? got->output : got.error().message();
    if (good == need_ok || bad == need_bad) {
      probe_result(c, name, ok, text);
      if (name == "startup" && ok) co_return;
    }
    co_await io::sleep_for(host_.loop(), period);
  }
}

/// Knative's preStop hook, aimed at queue-proxy's port 8022, which the proxy plays: until no
/// request runs at the pod any more, its container ends, or the grace period is over.
io::Task<void> PodWorker::drain(Container* c) {
  const auto done = host_.drain(uid_);
  const Instant begun = host_.loop().now();
  // Looked up each time: a second deletion may shorten it.
  while (c->running && !*done &&
         host_.loop().now() - begun < std::chrono::seconds(grace_of(pod_))) {
    co_await io::sleep_for(host_.loop(), 10ms);
  }
}

io::Task<Result<void>> PodWorker::run_hook(Container* c, std::string which) {
  const Json* hook = json::find(*c->view.json, {"lifecycle", which});
  if (hook == nullptr || !hook->is_object() || !c->running) co_return Result<void>();
  if (const auto seconds = json::opt_i64(*hook, {"sleep", "seconds"})) {
    const Instant until = host_.loop().now() + std::chrono::seconds(*seconds);
    while (c->running && host_.loop().now() < until) {
      co_await io::sleep_until(host_.loop(), std::min(until, host_.loop().now() + 200ms));
    }
    co_return Result<void>();
  }
  std::vector<std::string> argv;
  for (const Json& v : json::array(*hook, {"exec", "command"})) {
    if (v.is_string()) argv.emplace_back(std::string_view(v.as_string()));
  }
  if (argv.empty()) {
    // httpGet: Knative's is aimed at queue-proxy, which is the proxy; see README.md.
    const std::int64_t port = json::i64(*hook, {"httpGet", "port"});
    if (port == 8022 && by_name("queue-proxy") != nullptr) {
      if (which == "preStop") co_await drain(c);
      co_return Result<void>();
    }
    co_return Error(Code::Unsupported,
                    "lifecycle." + which + ".httpGet is not supported by Knit's node: use exec");
  }
  const Duration limit =
      std::chrono::seconds(std::max<std::int64_t>(which == "preStop" ? grace_of(pod_) : 60, 1));
  Driver* driver = &host_.driver();
  const std::string id = c->id;
  auto got = co_await io::blocking<Result<runtime::ExecResult>>(
      host_.loop(), [driver, id, argv, limit] { return driver->exec(id, argv, limit); });
  if (!got) co_return std::move(got).error();
  if (got->exit_code != 0) {
    co_return Error(Code::Unavailable, which + " hook exited with " +
                                           std::to_string(got->exit_code) + ": " +
                                           got->output.substr(0, 500));
  }
  co_return Result<void>();
}

// ---- logs

std::string PodWorker::log_dir(std::string_view container) const {
  return host_.settings().data_dir + "/logs/" + std::string(namespace_of(pod_)) + "_" +
         std::string(name_of(pod_)) + "_" + uid_ +
         (container.empty() ? "" : "/" + std::string(container));
}

Result<std::string> PodWorker::log_path(std::string_view container, bool previous) const {
  for (const auto& c : containers_) {
    if (c->view.name != container) continue;
    const std::int32_t run = c->st.restarts - (previous ? 1 : 0);
    // Waiting for its next start: the newest log is the last run's.
    std::string path = log_dir(container) + "/" + std::to_string(run) + ".log";
    if (!previous && run > 0 && ::access(path.c_str(), F_OK) != 0) {
      path = log_dir(container) + "/" + std::to_string(run - 1) + ".log";
    }
    if (run < 0 || ::access(path.c_str(), F_OK) != 0) {
      return Error(Code::NotFound, previous ? "previous terminated container \"" + c->view.name +
                                                  "\" in pod \"" + std::string(name_of(pod_)) +
                                                  "\" not found"
                                            : "container \"" + c->view.name + "\" in pod \"" +
                                                  std::string(name_of(pod_)) +
                                                  "\" is waiting to start: " + c->st.reason);
    }
    return path;
  }
  return Error(Code::NotFound, "container \"" + std::string(container) + "\" is not in the pod");
}

/// The file of a container that Knit plays: made at its start, so that `kubectl logs` has one.
runtime::LogFile* PodWorker::role_log(Container* c) {
  if (c->role_log) return c->role_log.get();
  const std::string dir = log_dir(c->view.name);
  static_cast<void>(make_directories(dir));  // what is opened below says it
  auto opened = runtime::LogFile::open(dir + "/0.log", host_.settings().logs);
  if (!opened) {
    KNIT_LOG(Error, "a built-in container's log cannot be opened", KV("error", opened.error()));
    return nullptr;
  }
  c->role_log = std::move(*opened);
  const bool by_proxy = c->view.role == "istio-proxy" || c->view.role == "queue-proxy" ||
                        c->view.role == "istio-ingressgateway";
  if (!by_proxy && c->role_log->size() == 0) {
    runtime::LogFormatter formatter("stdout");
    const std::string line = "built in: Knit's own processes play " + std::string(c->view.role) +
                             "; what they log is in " + host_.settings().data_dir +
                             "/log/knit.log\n";
    static_cast<void>(c->role_log->append(formatter.feed(line, host_.loop().wall_now())));
  }
  return c->role_log.get();
}

void PodWorker::log_of_role(const std::string& container, std::string_view lines,
                            std::uint64_t lost) {
  Container* c = by_name(container);
  if (c == nullptr || !c->st.role || c->st.state != State::Running) return;
  runtime::LogFile* file = role_log(c);
  if (file == nullptr) return;
  runtime::LogFormatter formatter("stdout");
  const WallTime now = host_.loop().wall_now();
  std::string records;
  if (lost > 0) {
    records = formatter.feed("knit: " + std::to_string(lost) +
                                 " lines of this log were lost: the node did not take them\n",
                             now);
  }
  records += formatter.feed(lines, now);
  records += formatter.finish(now);
  if (auto r = file->append(records); !r) {
    KNIT_LOG(Warn, "a built-in container's log was lost", KV("error", r.error()));
  }
}

Result<void> PodWorker::open_logs(Container* c, Fd& out, Fd& err) {
  close_logs(c);
  const auto real = static_cast<std::size_t>(std::count_if(
      containers_.begin(), containers_.end(), [](const auto& x) { return !x->st.role; }));
  // The supervisor keeps eight descriptors of a pod, four of them the network's, one the memory
  // volumes'.
  const bool both = real > (memory_volumes_.empty() ? 2U : 1U);
  for (const char* stream : {"stdout", "stderr"}) {
    const bool is_out = std::string_view(stream) == "stdout";
    if (!is_out && both) break;
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return errno_error("pipe", errno);
    (is_out ? out : err) = Fd(ends[1]);
    ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
    pump(c, Fd(ends[0]), stream);
  }
  if (both) {
    err = Fd(::fcntl(out.get(), F_DUPFD_CLOEXEC, 3));
    if (!err) return errno_error("duplicate a pipe", errno);
  }
  return {};
}

void PodWorker::pump(Container* c, Fd read_end, std::string stream) {
  const std::string dir = log_dir(c->view.name);
  static_cast<void>(make_directories(dir));  // what is opened below says it
  std::shared_ptr<runtime::LogFile> file;
  if (!c->logs.empty()) {
    file = c->logs.front()->file;
  } else {
    auto opened = runtime::LogFile::open(dir + "/" + std::to_string(c->st.restarts) + ".log",
                                         host_.settings().logs);
    if (opened) {
      file = std::move(*opened);
    } else {
      KNIT_LOG(Error, "a container's log cannot be opened", KV("error", opened.error()));
    }
  }
  const std::string what = "log-" + c->view.name + "-" + stream;
  host_.keep(uid_, what, read_end.get());
  auto made = std::make_unique<LogPump>(std::move(stream), std::move(read_end), std::move(file));
  made->key = what;
  LogPump* p = made.get();
  c->logs.push_back(std::move(made));
  p->watch = host_.loop().watch(p->read_end.get(), io::Loop::Sharing::Sole,
                                [this, p](io::Ready) { drain_log(p); });
}

void PodWorker::drain_log(LogPump* p) {
  char buffer[16384];
  while (!p->done) {
    const ssize_t n = ::read(p->read_end.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return;  // EAGAIN
    if (n == 0) return end_log(p);
    append_log(p,
               p->formatter.feed({buffer, static_cast<std::size_t>(n)}, host_.loop().wall_now()));
  }
}

void PodWorker::append_log(LogPump* p, const std::string& records) {
  if (!p->file || records.empty()) return;
  if (auto r = p->file->append(records); !r) {
    KNIT_LOG(Warn, "a container's output was lost", KV("error", r.error()));
  }
}

void PodWorker::end_log(LogPump* p) {
  if (std::exchange(p->done, true)) return;
  append_log(p, p->formatter.finish(host_.loop().wall_now()));
  host_.drop(uid_, p->key);
}

void PodWorker::close_logs(Container* c) {
  for (const auto& p : c->logs) {
    drain_log(p.get());
    end_log(p.get());
  }
  c->logs.clear();
}

}  // namespace knit::node
