// Models of the API and of the machine for tests of the node in simulated time.
#pragma once

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "node/api.h"
#include "node/driver.h"
#include "node/runtime/exits.h"

namespace knit::node {

class FakeApi final : public Api {
 public:
  std::map<kube::Key, Json> objects;
  std::vector<Json> events;
  std::set<std::string> missing_namespaces;
  std::vector<std::string> deleted;  // "ns/name"
  PodHandlers handlers;
  int tokens = 0;
  std::int64_t fail_patches = 0;

  void put_pod(Json pod) {
    const kube::Key key = pod_key(pod);
    objects[key] = pod;
    if (handlers.changed) handlers.changed(std::move(pod));
  }
  static kube::Key pod_key(const Json& pod) {
    return {kube::Resource::of("pods"), std::string(json::str(pod, {"metadata", "namespace"})),
            std::string(json::str(pod, {"metadata", "name"}))};
  }
  /// What an API server does on DELETE with a grace period.
  void start_deletion(const kube::Key& key, std::int64_t grace) {
    Json& pod = objects.at(key);
    json::set(pod, {"metadata", "deletionTimestamp"}, "2026-01-01T00:00:00Z");
    json::set(pod, {"metadata", "deletionGracePeriodSeconds"}, grace);
    handlers.changed(pod);
  }
  std::size_t count(std::string_view reason) const {
    std::size_t n = 0;
    for (const Json& e : events) n += json::str(e, {"reason"}) == reason ? 1 : 0;
    return n;
  }

  void watch_pods(const std::string&, PodHandlers h) override {
    handlers = std::move(h);
    for (const auto& [key, object] : objects) {
      if (key.resource == kube::Resource::of("pods")) handlers.changed(object);
    }
    handlers.synced();
  }
  io::Task<Result<Json>> get(kube::Key key) override {
    const auto it = objects.find(key);
    if (it == objects.end()) co_return Error(Code::NotFound, key.name + " not found");
    co_return it->second;
  }
  io::Task<Result<Json>> create(kube::Resource resource, std::string ns, Json object) override {
    if (missing_namespaces.contains(ns)) {
      co_return Error(Code::NotFound, "namespaces \"" + ns + "\" not found");
    }
    if (resource == kube::Resource::of("events")) events.push_back(object);
    objects[{resource, std::move(ns), std::string(json::str(object, {"metadata", "name"}))}] =
        object;
    co_return object;
  }
  io::Task<Result<Json>> patch(kube::Key key, Json patch, std::string) override {
    const auto it = objects.find(key);
    if (it == objects.end()) co_return Error(Code::NotFound, key.name + " not found");
    if (fail_patches > 0 && fail_patches-- > 0) co_return Error(Code::Unavailable, "down");
    json::merge_patch(it->second, patch);
    co_return it->second;
  }
  io::Task<Result<void>> remove(kube::Key key, Json) override {
    const auto it = objects.find(key);
    if (it == objects.end()) co_return Error(Code::NotFound, key.name + " not found");
    const std::string uid(json::str(it->second, {"metadata", "uid"}));
    deleted.push_back(key.ns + "/" + key.name);
    objects.erase(it);
    handlers.deleted(uid);
    co_return Result<void>();
  }
  io::Task<Result<Json>> token(kube::Key, Json) override {
    co_return Json(
        JsonObject{{"status", JsonObject{{"token", "token-" + std::to_string(++tokens)}}}});
  }
};

/// A machine without processes: containers end when a test, or a signal, says so.
class FakeDriver final : public Driver {
 public:
  struct Process {
    runtime::ContainerSpec spec;
    bool started = false;
    std::vector<int> signals;
    Fd out;
  };
  std::map<std::string, image::Config> images;
  std::map<std::string, Process> processes;  // by container id
  std::vector<std::string> removed;
  std::function<void(const std::string& id, int status)> ends;  // set by FakeExits
  std::set<std::string> mounted;
  bool ignore_term = false, oom = false;
  pid_t next_pid = 1000;
  Result<void> prepare_result;
  int exec_code = 0;

  Process* by_name(std::string_view name) {
    Process* out = nullptr;
    for (auto& [id, p] : processes) {
      if (p.spec.annotations.at("io.kubernetes.container.name") == name) out = &p;
    }
    return out;
  }
  void end(std::string_view name, int status) {
    for (auto& [id, p] : processes) {
      if (p.started && p.spec.annotations.at("io.kubernetes.container.name") == name) {
        p.out.reset();
        ends(id, status);
        return;
      }
    }
  }

  Result<LocalImage> find_image(const std::string& reference) override {
    const auto it = images.find(reference);
    if (it == images.end()) return Error(Code::NotFound, "image " + reference + " is not here");
    image::Image image;
    image.config = it->second;
    image.repo_digest = reference + "@sha256:0";
    return LocalImage{std::move(image), {"/layer"}};
  }
  Result<net::PodNet> make_net(const net::PodNetSettings&) override {
    net::PodNet out;
    out.listener = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    for (Fd* fd : {&out.netns, &out.dns, &out.link}) {
      *fd = Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    }
    out.cookie = 7;
    return out;
  }
  Result<std::vector<Fd>> sockets(int, std::size_t count, bool) override {
    std::vector<Fd> out;
    while (out.size() < count) out.emplace_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    return out;
  }
  Result<runtime::Created> prepare(const runtime::ContainerSpec& spec,
                                   const std::vector<std::string>&, int out, int) override {
    if (!prepare_result) return prepare_result.error();
    Process p;
    p.spec = spec;
    p.out = Fd(::fcntl(out, F_DUPFD_CLOEXEC, 3));
    processes[spec.id] = std::move(p);
    return runtime::Created{next_pid++, 1, false};
  }
  Result<void> start(const std::string& id) override {
    processes.at(id).started = true;
    return {};
  }
  Result<void> signal(pid_t, std::uint64_t, int signo) override {
    for (auto& [id, p] : processes) {
      if (!p.started) continue;
      p.signals.push_back(signo);
      if (signo == 9 || !ignore_term) ends(id, signo == 9 ? 9 : 0);
    }
    return {};
  }
  Result<void> remove(const std::string& id) override {
    removed.push_back(id);
    processes.erase(id);
    return {};
  }
  Result<runtime::ExecResult> exec(const std::string&, const std::vector<std::string>&,
                                   Duration) override {
    return runtime::ExecResult{exec_code, "exec output"};
  }
  bool oom_killed(const std::string&) override { return oom; }
  void remove_pod(const std::string&) override {}
  Result<void> mount_memory(const std::string& path, std::int64_t) override {
    mounted.insert(path);
    return {};
  }
  void unmount(const std::string& path) override {
    std::erase_if(mounted, [&](const auto& m) { return m.starts_with(path); });
  }
  Result<Fd> keep_mounts(const std::string&) override {
    return Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  }
  Result<void> restore_mounts(const std::string& dir, int) override {
    mounted.insert(dir);
    return {};
  }
  std::string uri(const std::string& id) override { return "crun://" + id; }
  std::vector<std::string> containers() override {
    std::vector<std::string> out;
    for (const auto& [id, p] : processes) out.push_back(id);
    return out;
  }
  std::uint64_t start_time(pid_t) override { return 1; }
};

class FakeExits final : public runtime::Exits {
 public:
  FakeExits(io::Loop& loop, FakeDriver& driver) {
    driver.ends = [this, &loop](const std::string& id, int status) {
      loop.post([this, &loop, id, status] {
        if (handler_) handler_(id, status, loop.wall_now());
      });
    };
  }
  void expect(const std::string&, pid_t, std::uint64_t) override {}
  void on_exit(Handler handler) override { handler_ = std::move(handler); }

 private:
  Handler handler_;
};

}  // namespace knit::node
