// The node's messages: kept descriptors and exits with the supervisor, pods and sockets with the
// proxy, starts and logs with the server.
#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>

#include "base/log.h"
#include "node/agent.h"
#include "node/container_spec.h"

namespace knit::node {

using namespace std::chrono_literals;

namespace {

constexpr std::string_view kLogModule = "node";
constexpr std::uint32_t kFirstStock = 4, kMostStock = 64;
constexpr std::size_t kMaxEarlyExits = 1024;

Fd duplicate(int fd) { return Fd(::fcntl(fd, F_DUPFD_CLOEXEC, 3)); }

}  // namespace

// ---- supervisor

void Agent::expect(PodWorker& worker, const std::string& container, pid_t pid,
                   std::uint64_t start_time) {
  containers_[container] = worker.uid();
  if (const auto it = early_exits_.find(container); it != early_exits_.end()) {
    const auto end = it->second;
    early_exits_.erase(it);
    // Posted: the worker is about to wait for it.
    loop_.post([this, container, end, alive = std::weak_ptr(alive_)] {
      if (!alive.expired()) on_exit(container, end.first, end.second);
    });
    return;
  }
  parts_.exits->expect(container, pid, start_time);
}

void Agent::on_exit(const std::string& container, int status, WallTime when) {
  const auto it = containers_.find(container);
  if (it == containers_.end()) {
    if (early_exits_.size() < kMaxEarlyExits) early_exits_[container] = {status, when};
    return;
  }
  const std::string uid = it->second;
  containers_.erase(it);
  if (PodWorker* w = worker(uid)) w->on_exit(container, status, when);
}

void Agent::keep(const std::string& uid, const std::string& what, int fd) {
  if (bootstrap_ == nullptr) return;
  std::vector<Fd> fds;
  fds.push_back(duplicate(fd));
  if (!fds[0]) return;
  const std::uint64_t sequence =
      bootstrap_->supervisor().send(ipc::Put{"pod/" + uid + "/" + what}, std::move(fds));
  bootstrap_->supervisor().when_acked(sequence, [what](std::string error) {
    if (!error.empty() && error != "closed") {
      KNIT_LOG(Warn, "a descriptor is not kept beyond this process", KV("what", what),
               KV("reason", error));
    }
  });
}

void Agent::drop(const std::string& uid, const std::string& what) {
  if (bootstrap_ != nullptr) bootstrap_->supervisor().send(ipc::Drop{"pod/" + uid + "/" + what});
}

// ---- proxy

ipc::Channel* Agent::proxy() {
  return bootstrap_ == nullptr ? nullptr : bootstrap_->peer(ipc::Process::Proxy);
}

void Agent::announce(PodWorker& worker) {
  if (const net::PodNet* net = worker.network()) cookies_[net->cookie] = worker.uid();
  send_pod(worker, !announced_.contains(worker.uid()));
}

void Agent::send_pod(PodWorker& worker, bool with_fds) {
  const net::PodNet* net = worker.network();
  ipc::Channel* p = proxy();
  if (p == nullptr || net == nullptr) return;
  ipc::Pod message = worker.message();
  message.has_fds = with_fds;
  std::vector<Fd> fds;
  if (with_fds) {
    fds.push_back(duplicate(net->listener.get()));
    fds.push_back(duplicate(net->dns.get()));
    if (!fds[0] || !fds[1]) {
      KNIT_LOG(Error, "out of descriptors: a pod is not announced to the proxy",
               KV("pod", worker.uid()));
      return;
    }
    announced_.insert(worker.uid());
  }
  p->send(message, std::move(fds));
  if (with_fds) loop_.spawn(send_sockets(worker.uid(), kFirstStock));
}

io::Task<void> Agent::send_sockets(std::string uid, std::uint32_t count) {
  PodWorker* w = worker(uid);
  if (w == nullptr || w->network() == nullptr) co_return;
  // A descriptor of our own: the pod may go while the pool works.
  const auto netns = std::make_shared<Fd>(duplicate(w->network()->netns.get()));
  if (!*netns) co_return;
  Driver* driver = parts_.driver.get();
  auto made = co_await io::blocking<Result<std::vector<Fd>>>(
      loop_, [driver, netns, count] { return driver->sockets(netns->get(), count, false); });
  if (!made) {
    KNIT_LOG(Warn, "no sockets for a pod", KV("pod", uid), KV("error", made.error()));
    co_return;
  }
  if (ipc::Channel* p = proxy()) p->send(ipc::Sockets{uid, false}, std::move(*made));
}

std::shared_ptr<const bool> Agent::drain(const std::string& uid) {
  ipc::Channel* p = proxy();
  // Without a proxy nothing is in flight.
  if (p == nullptr || !announced_.contains(uid)) return std::make_shared<const bool>(true);
  auto& slot = drains_[uid];
  if (!slot) slot = std::make_shared<bool>(false);
  const auto done = slot;
  p->send(ipc::Drain{uid});
  return done;
}

io::Task<void> Agent::gone(std::string uid) {
  const bool told = announced_.erase(uid) > 0;
  std::erase_if(cookies_, [&](const auto& e) { return e.second == uid; });
  ipc::Channel* p = proxy();
  if (!told || p == nullptr) co_return;
  const auto done = std::make_shared<io::Event>();
  const std::uint64_t sequence = p->send(ipc::Gone{uid});
  if (sequence == 0) co_return;
  io::Loop* loop = &loop_;
  p->when_acked(sequence,
                [done, loop](const std::string&) { loop->post([done] { done->set(); }); });
  co_await *done;
}

// ---- messages

void Agent::on_peer(ipc::Process peer) {
  if (peer == ipc::Process::Server) start_api();
  if (peer == ipc::Process::Proxy) {
    announced_.clear();
    for (const auto& [uid, worker] : workers_) send_pod(*worker, true);
    // What was in flight died with the former proxy; this one lets go of the pod all the same.
    for (const auto& [uid, done] : drains_) proxy()->send(ipc::Drain{uid});
  }
}

void Agent::on_message(ipc::Process peer, ipc::Received m) {
  using ipc::MessageType;
  if (peer == ipc::Process::Supervisor) {
    if (m.type == MessageType::Exit) {
      const auto exit = m.as<ipc::Exit>();
      if (exit) on_exit(exit->container, exit->status, exit->when);
      bootstrap_->supervisor().ack(m);  // the state file has it now
    }
    return;
  }
  if (peer == ipc::Process::Proxy) {
    if (m.type == MessageType::Logged) {
      const auto logged = m.as<ipc::Logged>();
      PodWorker* w = logged ? worker(logged->uid) : nullptr;
      if (w != nullptr) w->log_of_role(logged->container, logged->lines, logged->lost);
      if (ipc::Channel* p = proxy()) p->ack(m);
    } else if (m.type == MessageType::Drained) {
      const auto drained = m.as<ipc::Drained>();
      const auto it = drained ? drains_.find(drained->uid) : drains_.end();
      if (it == drains_.end()) return;
      *it->second = true;
      drains_.erase(it);
    } else if (m.type == MessageType::Want) {
      const auto want = m.as<ipc::Want>();
      if (want) loop_.spawn(send_sockets(want->uid, std::clamp(want->level, 1U, kMostStock)));
    } else if (m.type == MessageType::Probed) {
      const auto probed = m.as<ipc::Probed>();
      PodWorker* w = probed ? worker(probed->uid) : nullptr;
      if (w != nullptr) w->on_probed(*probed);
    }
    return;
  }
  if (peer != ipc::Process::Server) return;
  if (m.type == MessageType::Start) {
    on_start(std::move(m));
  } else if (m.type == MessageType::LogOpen) {
    if (const auto call = m.as<ipc::LogOpen>()) on_log_open(*call);
  } else if (m.type == MessageType::Metrics) {
    const auto call = m.as<ipc::Metrics>();
    ipc::Channel* s = bootstrap_->peer(ipc::Process::Server);
    const Fd text(static_cast<int>(::memfd_create("metrics", MFD_CLOEXEC)));
    if (!call || s == nullptr || !text) return;
    const std::string body =
        "# HELP kubelet_running_pods Pods with a worker on this node.\n"
        "# TYPE kubelet_running_pods gauge\nkubelet_running_pods " +
        std::to_string(workers_.size()) +
        "\n# HELP kubelet_running_containers Containers with a process.\n"
        "# TYPE kubelet_running_containers gauge\nkubelet_running_containers " +
        std::to_string(containers_.size()) + "\n";
    if (::write(text.get(), body.data(), body.size()) != static_cast<ssize_t>(body.size())) return;
    std::vector<Fd> fds;
    fds.push_back(duplicate(text.get()));
    s->send(ipc::MetricsReply{call->call}, std::move(fds));
  }
}

void Agent::on_start(ipc::Received m) {
  ipc::Channel* s = bootstrap_->peer(ipc::Process::Server);
  const auto start = m.as<ipc::Start>();
  const auto refuse = [&](const std::string& uid, std::string reason) {
    if (s == nullptr) return;
    s->send(ipc::Failed{uid, reason});
    s->ack(m, std::move(reason));
  };
  if (!start) return refuse("", "malformed Start");
  auto pod = json::parse(start->pod_json);
  if (!pod || uid_of(*pod) != start->uid || start->uid.empty() ||
      start->uid.find('/') != std::string::npos) {
    return refuse(start->uid, "the pod of a Start is malformed");
  }
  if (worker(start->uid) == nullptr) {
    const std::string uid = start->uid;
    // It may run ahead of its commit, but not for long.
    unknown_[uid] = loop_.after(settings_.unknown_pod_limit, [this, uid] {
      if (PodWorker* w = worker(uid); w != nullptr && !w->known()) w->abandon();
    });
    add_worker(std::move(*pod), false);
  }
  if (s != nullptr) {
    s->ack(m);
    s->send(ipc::Started{start->uid});
  }
}

void Agent::on_log_open(const ipc::LogOpen& call) {
  ipc::Channel* s = bootstrap_->peer(ipc::Process::Server);
  if (s == nullptr) return;
  ipc::LogOpened answer{call.call, {}};
  std::vector<Fd> fds;
  const PodWorker* w = worker(call.uid);
  if (w == nullptr) {
    answer.error = "the pod does not run on this node";
  } else if (auto path = w->log_path(call.container, call.previous); !path) {
    answer.error = path.error().message();
  } else {
    Fd fd(::open(path->c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (fd) {
      fds.push_back(std::move(fd));
    } else {
      answer.error = errno_error("open the log", errno).message();
    }
  }
  s->send(answer, std::move(fds));
}

}  // namespace knit::node
