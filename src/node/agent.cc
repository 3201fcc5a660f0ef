#include "node/agent.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "base/files.h"
#include "base/log.h"
#include "base/random.h"
#include "image/import.h"
#include "kube/resources.h"
#include "node/container_spec.h"
#include "node/machine.h"

namespace knit::node {

using namespace std::chrono_literals;

namespace {

constexpr std::string_view kLogModule = "node";
constexpr std::size_t kMaxRememberedEvents = 2048;

/// The supervisor reaps and records; it says Exit.
class SupervisorExits final : public runtime::Exits {
 public:
  explicit SupervisorExits(std::function<ipc::Channel*()> channel) : channel_(std::move(channel)) {}
  void expect(const std::string& container, pid_t pid, std::uint64_t start_time) override {
    if (ipc::Channel* u = channel_()) u->send(ipc::Expect{container, pid, start_time});
  }
  void on_exit(Handler) override {}

 private:
  std::function<ipc::Channel*()> channel_;
};

}  // namespace

struct Agent::Real {
  std::unique_ptr<runtime::Engine> engine;
  std::unique_ptr<image::Store> store;
};

Result<net::HostNetSettings> host_net_settings(const Settings& settings) {
  net::HostNetSettings out;
  KNIT_TRY(out.host_ip, net::parse_address(settings.host_ip));
  KNIT_TRY(net::Prefix pods, net::parse_prefix(settings.pod_range));
  out.ranges.push_back(pods);
  for (const std::string& r : settings.service_ranges) {
    KNIT_TRY(net::Prefix p, net::parse_prefix(r));
    out.ranges.push_back(p);
  }
  return out;
}

Result<std::unique_ptr<Agent>> Agent::create(io::Loop& loop, Settings settings, Api& api) {
  rlimit files{};  // seven descriptors a pod, and the sockets in flight
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
  }
  for (const auto& dir : {settings.data_dir, settings.run_dir}) {
    KNIT_TRY_VOID(make_directories(dir));
  }
  auto real = std::make_unique<Real>();
  KNIT_TRY(image::Store store, image::Store::open(settings.data_dir + "/images"));
  real->store = std::make_unique<image::Store>(std::move(store));
  if (auto r = image::ensure_builtin(*real->store); !r) {
    return std::move(r).error().within("built-in image");
  }
  KNIT_TRY(real->engine, runtime::Engine::create({.run_dir = settings.run_dir}));
  Parts parts;
  parts.driver = real_driver(*real->engine, *real->store);
  parts.random = system_random();
  parts.machine = read_machine(settings.data_dir);
  KNIT_TRY(auto agent, create(loop, std::move(settings), api, std::move(parts)));
  auto events = net::ListenEvents::create(real->engine->cgroup().get());
  if (events) {
    agent->listen_ = std::move(*events);
  } else {
    KNIT_LOG(Warn, "no listen events: probes poll instead", KV("reason", events.error()));
  }
  agent->real_ = std::move(real);
  return agent;
}

Result<std::unique_ptr<Agent>> Agent::create(io::Loop& loop, Settings settings, Api& api,
                                             Parts parts) {
  KNIT_TRY(const net::Prefix range, net::parse_prefix(settings.pod_range));
  KNIT_TRY(const net::Address host, net::parse_address(settings.host_ip));
  KNIT_TRY(const net::Address dns, net::parse_address(settings.dns_ip));
  Ipam ipam(range, {host, dns});
  return std::unique_ptr<Agent>(
      new Agent(loop, std::move(settings), api, std::move(parts), std::move(ipam)));
}

Agent::Agent(io::Loop& loop, Settings settings, Api& api, Parts parts, Ipam ipam)
    : loop_(loop),
      settings_(std::move(settings)),
      api_(api),
      parts_(std::move(parts)),
      ipam_(std::move(ipam)) {
  if (!parts_.exits) {
    parts_.exits = std::make_unique<SupervisorExits>(
        [this] { return bootstrap_ == nullptr ? nullptr : &bootstrap_->supervisor(); });
  }
  parts_.exits->on_exit([this](const std::string& container, int status, WallTime when) {
    on_exit(container, status, when);
  });
}

Agent::~Agent() {
  node_task_.cancel();
  workers_.clear();
  listen_watch_.reset();
}

ipc::Bootstrap::Handler Agent::handler() {
  ipc::Bootstrap::Handler h;
  h.on_kept = [this](std::string key, Fd fd) {
    if (key.starts_with("pod/")) {
      const auto slash = key.find('/', 4);
      if (slash != std::string::npos) {
        kept_[key.substr(4, slash - 4)][key.substr(slash + 1)] = std::move(fd);
      }
    } else if (key.starts_with("host/")) {
      kept_host_[key.substr(5)] = std::move(fd);
    }
  };
  h.on_kept_end = [this] { on_kept_end(); };
  h.on_peer = [this](ipc::Process peer, std::uint64_t) { on_peer(peer); };
  h.on_message = [this](ipc::Process peer, ipc::Received m) { on_message(peer, std::move(m)); };
  h.on_stop = [this](Duration) {
    // Pods run on: their descriptors are kept, the next node adopts them.
    if (bootstrap_ != nullptr) bootstrap_->supervisor().send(ipc::Stopped{});
    if (stop_) loop_.post([f = stop_] { f(); });
  };
  return h;
}

void Agent::start() {
  on_kept_end();
  start_api();
}

void Agent::on_kept_end() {
  if (std::exchange(started_, true)) return;
  if (listen_) {
    listen_watch_ = loop_.watch(listen_->fd(), io::Loop::Sharing::Sole, [this](io::Ready) {
      listen_->drain([this](const net::ListenEvent& e) {
        const auto it = cookies_.find(e.cookie);
        if (it == cookies_.end()) return;
        if (ipc::Channel* p = proxy()) p->send(ipc::Listening{it->second, e.port, e.v6 != 0});
      });
    });
  }
  adopt_pods();
  set_up_host_path();
  if (bootstrap_ != nullptr) {
    bootstrap_->ready("node " + settings_.node_name + ", " + std::to_string(workers_.size()) +
                      " pods adopted");
    if (bootstrap_->peer(ipc::Process::Server) != nullptr) start_api();
  }
}

void Agent::set_up_host_path() {
  if (!settings_.host_network_path || bootstrap_ == nullptr) return;
  auto wanted = host_net_settings(settings_);
  Result<void> done;
  if (!wanted) {
    done = std::move(wanted).error();
  } else if (kept_host_["listener"] && kept_host_["link"]) {
    done = net::ensure_host_routes(*wanted);
  } else {
    auto made = net::create_host_net(*wanted);
    if (made) {
      std::vector<Fd> link, listener;
      link.push_back(std::move(made->link));
      listener.push_back(std::move(made->listener));
      bootstrap_->supervisor().send(ipc::HostData{"link"}, std::move(link));
      bootstrap_->supervisor().send(ipc::HostData{"listener"}, std::move(listener));
    } else {
      done = std::move(made).error();
    }
  }
  kept_host_.clear();
  if (!done) {
    KNIT_LOG(Error, "processes of this host cannot reach pods and services by their addresses",
             KV("reason", done.error()));
  }
}

// ---- adoption

void Agent::adopt_pods() {
  std::error_code error;
  std::set<std::string> running;
  const std::string root = settings_.run_dir + "/pods";
  for (const auto& entry : std::filesystem::directory_iterator(root, error)) {
    const std::string uid = entry.path().filename().string();
    auto state = json::parse(read_file(entry.path().string() + "/state.json", 8 << 20).value_or(""),
                             {.max_bytes = 8 << 20});
    const Json* pod = state ? json::find(*state, "pod") : nullptr;
    if (pod == nullptr || uid_of(*pod) != uid) {
      std::filesystem::remove_all(entry.path(), error);
      continue;
    }
    auto worker = std::make_unique<PodWorker>(*this, *pod, json::boolean(*state, {"known"}));
    auto ip = net::parse_address(json::str(*state, {"ip"}));
    Result<void> adopted = ip ? ipam_.claim(uid, *ip) : Result<void>(ip.error());
    if (adopted) adopted = worker->adopt(*state, std::move(kept_[uid]));
    if (!adopted) {
      KNIT_LOG(Warn, "a pod could not be taken over; it is started anew", KV("pod", uid),
               KV("reason", adopted.error()));
      ipam_.release(uid);
      const std::string name(name_of(*pod));
      worker = std::make_unique<PodWorker>(*this, *pod, json::boolean(*state, {"known"}));
    } else {
      for (const Json& c : json::array(*state, {"containers"})) {
        if (json::i64(c, {"pid"}) > 0) running.emplace(json::str(c, {"id"}));
      }
    }
    workers_[uid] = std::move(worker);
    // Until the API's list confirms it; see start_api().
    unknown_[uid] = loop_.after(settings_.unknown_pod_limit * 6, [this, uid] {
      if (PodWorker* w = this->worker(uid)) w->abandon();
    });
  }
  for (const std::string& id : parts_.driver->containers()) {
    if (!running.contains(id)) static_cast<void>(parts_.driver->remove(id));
  }
  // What the supervisor keeps for pods that are no more.
  for (const auto& [uid, things] : kept_) {
    const bool live = workers_.contains(uid) && workers_[uid]->has_network();
    for (const auto& [what, fd] : things) {
      if (!live || (fd && !what.empty())) drop(uid, what);
    }
  }
  kept_.clear();
  for (const auto& [uid, worker] : workers_) worker->start();
}

// ---- API

void Agent::start_api() {
  if (!started_ || std::exchange(api_started_, true)) return;
  Api::PodHandlers h;
  h.changed = [this](Json pod) { pod_changed(std::move(pod)); };
  h.deleted = [this](const std::string& uid) {
    if (PodWorker* w = worker(uid)) w->abandon();
  };
  h.synced = [this] {
    // Adopted pods that the complete list does not have are no more.
    for (auto& [uid, timer] : unknown_) {
      timer = loop_.after(settings_.unknown_pod_limit, [this, name = uid] {
        if (PodWorker* w = worker(name)) w->abandon();
      });
    }
  };
  api_.watch_pods(settings_.node_name, std::move(h));
  node_task_ = loop_.spawn_scoped(register_node());
}

void Agent::pod_changed(Json pod) {
  const std::string uid = uid_of(pod);
  unknown_.erase(uid);
  if (PodWorker* w = worker(uid)) {
    w->update(std::move(pod));
    return;
  }
  add_worker(std::move(pod), true);
}

void Agent::add_worker(Json pod, bool known) {
  const std::string uid = uid_of(pod);
  auto worker = std::make_unique<PodWorker>(*this, std::move(pod), known);
  PodWorker* w = worker.get();
  workers_[uid] = std::move(worker);
  w->start();
}

PodWorker* Agent::worker(const std::string& uid) {
  const auto it = workers_.find(uid);
  return it == workers_.end() ? nullptr : it->second.get();
}

void Agent::finished(const std::string& uid) {
  // Posted: this is called from the worker's own coroutine.
  loop_.post([this, uid, alive = std::weak_ptr(alive_)] {
    if (alive.expired()) return;
    workers_.erase(uid);
    drains_.erase(uid);
    unknown_.erase(uid);
    announced_.erase(uid);
    std::erase_if(containers_, [&](const auto& e) { return e.second == uid; });
    std::erase_if(cookies_, [&](const auto& e) { return e.second == uid; });
  });
}

io::Task<void> Agent::register_node() {
  const kube::Key key{kube::res::nodes(), "", settings_.node_name};
  const kube::Key lease{kube::res::leases(), "kube-node-lease", settings_.node_name};
  std::string ready_since;
  Instant last_renewed = loop_.now();
  for (Instant heartbeat{};;) {
    if (loop_.now() >= heartbeat) {
      auto have = co_await api_.get(key);
      Result<Json> done = Error(Code::NotFound, "");
      if (have) {
        for (const Json& c : json::array(*have, {"status", "conditions"})) {
          if (json::str(c, {"type"}) == "Ready" && json::str(c, {"status"}) == "True") {
            ready_since = json::str(c, {"lastTransitionTime"});
          }
        }
        Json patch = node_status(settings_, parts_.machine, loop_.wall_now(), ready_since);
        done = co_await api_.patch(key, std::move(patch), "status");
      } else if (have.error().code() == Code::NotFound) {
        Json object = node_object(settings_, parts_.machine, loop_.wall_now());
        done = co_await api_.create(kube::res::nodes(), "", std::move(object));
        if (done) {  // a create drops the status
          Json patch = node_status(settings_, parts_.machine, loop_.wall_now(), {});
          done = co_await api_.patch(key, std::move(patch), "status");
        }
      } else {
        done = std::move(have).error();
      }
      if (done) {
        heartbeat = loop_.now() + 60s;
      } else {
        KNIT_LOG(Warn, "the Node object was not updated", KV("error", done.error()));
        co_await io::sleep_for(loop_, 1s);
        continue;
      }
    }
    Json renew =
        JsonObject{{"spec", JsonObject{{"renewTime", rfc3339_fraction(loop_.wall_now(), 6)}}}};
    auto renewed = co_await api_.patch(lease, std::move(renew), "");
    if (!renewed && renewed.error().code() == Code::NotFound) {
      Json object = lease_object(settings_, loop_.wall_now());
      renewed = co_await api_.create(kube::res::leases(), "kube-node-lease", std::move(object));
    }
    if (renewed) {
      last_renewed = loop_.now();
      co_await io::sleep_for(loop_, settings_.lease_interval);
      continue;
    }
    // At the very start its namespace may not be there yet.
    if (loop_.now() - last_renewed > settings_.lease_interval) {
      KNIT_LOG(Warn, "the node's lease was not renewed", KV("error", renewed.error()));
    }
    co_await io::sleep_for(loop_, std::min<Duration>(500ms, settings_.lease_interval));
  }
}

// ---- events

void Agent::event(const Json& pod, std::string_view type, std::string_view reason,
                  std::string message, std::string_view container) {
  if (message.size() > 1024) message.resize(1024);
  const std::string now = rfc3339(loop_.wall_now());
  const std::string what =
      uid_of(pod) + "|" + std::string(container) + "|" + std::string(reason) + "|" + message;
  if (const auto it = events_.find(what); it != events_.end()) {
    ++it->second.second;
    Json patch = JsonObject{{"count", it->second.second}, {"lastTimestamp", now}};
    loop_.spawn(bump_event(it->second.first, std::move(patch)));
    return;
  }
  if (events_.size() >= kMaxRememberedEvents) events_.clear();
  const std::string ns(namespace_of(pod));
  const std::string name = std::string(name_of(pod)) + "." + parts_.random->hex(16);
  JsonObject about{{"apiVersion", "v1"},
                   {"kind", "Pod"},
                   {"namespace", ns},
                   {"name", name_of(pod)},
                   {"uid", uid_of(pod)}};
  if (!container.empty()) {
    about["fieldPath"] = "spec.containers{" + std::string(container) + "}";
    for (const Json& c : json::array(pod, {"spec", "initContainers"})) {
      if (json::str(c, {"name"}) == container) {
        about["fieldPath"] = "spec.initContainers{" + std::string(container) + "}";
      }
    }
  }
  Json object =
      JsonObject{{"apiVersion", "v1"},
                 {"kind", "Event"},
                 {"metadata", JsonObject{{"name", name}, {"namespace", ns}}},
                 {"involvedObject", std::move(about)},
                 {"type", type},
                 {"reason", reason},
                 {"message", message},
                 {"source", JsonObject{{"component", "kubelet"}, {"host", settings_.node_name}}},
                 {"reportingComponent", "kubelet"},
                 {"reportingInstance", settings_.node_name},
                 {"firstTimestamp", now},
                 {"lastTimestamp", now},
                 {"count", 1}};
  events_[what] = {kube::Key{kube::res::events(), ns, name}, 1};
  loop_.spawn(send_event(std::move(object)));
}

io::Task<void> Agent::send_event(Json event) {
  const std::string ns(json::str(event, {"metadata", "namespace"}));
  const auto done = co_await api_.create(kube::res::events(), ns, std::move(event));
  if (!done) KNIT_LOG(Debug, "an event was not recorded", KV("error", done.error()));
}

io::Task<void> Agent::bump_event(kube::Key key, Json patch) {
  const auto done = co_await api_.patch(std::move(key), std::move(patch), "");
  if (!done) KNIT_LOG(Debug, "an event was not counted", KV("error", done.error()));
}

// ---- supervisor

std::string Agent::new_id() { return parts_.random->hex(64); }

// ---- cleanup

Result<void> cleanup(const Settings& settings) {
  Result<void> first;
  const auto note = [&](Result<void> r) {
    if (!r && first) first = std::move(r);
  };
  auto engine = runtime::Engine::create({.run_dir = settings.run_dir});
  if (engine) {
    for (const std::string& id : (*engine)->list()) note((*engine)->remove(id));
    std::error_code none;
    for (const auto& pod : std::filesystem::directory_iterator(settings.run_dir + "/pods", none)) {
      runtime::remove_cgroup((*engine)->cgroups(), pod_cgroup(pod.path().filename().string()));
    }
    (*engine)->remove_cgroups();
  } else {
    note(std::move(engine).error());
  }
  if (auto host = host_net_settings(settings); host && settings.host_network_path) {
    note(net::cleanup_host_net(*host));
  }
  std::error_code error;
  for (const char* dir : {"/pods", "/bundles", "/crun", "/runc", "/hugetlb"}) {
    std::filesystem::remove_all(settings.run_dir + dir, error);
  }
  for (const char* dir : {"/logs", "/volumes"}) {
    std::filesystem::remove_all(settings.data_dir + dir, error);
  }
  return first;
}

}  // namespace knit::node
