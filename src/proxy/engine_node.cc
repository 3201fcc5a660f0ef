// What the supervisor and the node hand to the engine: listeners, pods, their sockets, their end.
#include "proxy/engine.h"

namespace knit::proxy {

using namespace std::chrono_literals;
constexpr std::uint32_t kProbeStock = 2;

Result<void> Engine::on_listener(const ipc::Listener& l, Fd fd) {
  ListenerInfo info;
  const std::string key = l.key.empty() ? l.purpose : l.key;
  const auto role = ipc::parse_role_purpose(l.purpose);
  if (role && !role->ingress) {
    info.kind = ListenerInfo::Kind::RoleEgress;
    info.uid = role->uid;
    if (fd) {
      roles_.add(role->uid);
    } else {
      roles_.remove(role->uid);
    }
  } else if (l.purpose == "host-capture") {
    info.kind = ListenerInfo::Kind::HostCapture;
  } else if (l.purpose == "router-https") {
    info.kind = ListenerInfo::Kind::RouterHttps;
  } else if (l.purpose == "router-http") {
    info.kind = ListenerInfo::Kind::RouterHttp;
  } else if (l.purpose.starts_with("node-port:")) {
    info.kind = ListenerInfo::Kind::NodePort;
    const auto colon = l.purpose.rfind(':');
    info.service = l.purpose.substr(10, colon - 10);
    int port = 0;
    for (const char c : std::string_view(l.purpose).substr(colon + 1)) {
      if (c < '0' || c > '9' || port > 65'535) port = 1 << 20;
      if (port <= 65'535) port = port * 10 + (c - '0');
    }
    if (colon < 10 || port <= 0 || port > 65'535) {
      return Error(Code::InvalidArgument,
                   "listener purpose " + l.purpose + " is not node-port:NAMESPACE/NAME:PORT");
    }
    info.port = static_cast<std::uint16_t>(port);
  } else {
    return Error(Code::Unsupported, "listener purpose " + l.purpose + " is not supported yet");
  }
  if (!fd) {
    each_worker([key](Worker& w) { w.remove_listener(key); });
    return {};
  }
  auto shared_fd = std::make_shared<Fd>(std::move(fd));
  each_worker([key, shared_fd, info](Worker& w) { w.add_listener(key, shared_fd, info); });
  return {};
}

void Engine::on_node(ipc::Received m) {
  auto* node = hooks_.node();
  switch (m.type) {
    case ipc::MessageType::Pod: {
      auto pod = m.as<ipc::Pod>();
      if (!pod) return;
      auto fds = std::move(m.fds);
      on_pod(m, std::move(*pod), std::move(fds));
      if (node) node->ack(m);
      return;
    }
    case ipc::MessageType::Gone: {
      const auto gone = m.as<ipc::Gone>();
      if (!gone) return;
      const std::string uid = gone->uid;
      pods_.erase(uid);
      drains_.erase(uid);
      prober_.remove_pod(uid);
      probe_sockets_.forget(uid);
      reconcile_gates({}, {uid});
      // Acked when no worker holds a socket of the namespace any more.
      auto left = std::make_shared<std::size_t>(workers_.size());
      const std::uint64_t sequence = m.sequence;
      for (auto& slot : workers_) {
        slot.loop->post(
            [this, w = slot.worker.get(), uid, left, sequence, alive = std::weak_ptr(alive_)] {
              if (alive.expired()) return;
              w->remove_listener("pod/" + uid);
              w->sockets().forget(uid);
              w->metrics().forget(uid);
              w->remove_dns(uid);
              main_.post([this, left, sequence, alive] {
                if (alive.expired() || --*left != 0) return;
                if (auto* n = hooks_.node()) n->send(ipc::Acked{sequence, ""});
              });
            });
      }
      return;
    }
    case ipc::MessageType::Sockets: {
      const auto s = m.as<ipc::Sockets>();
      if (s) on_sockets(*s, std::move(m.fds));
      return;
    }
    case ipc::MessageType::Drain: {
      const auto d = m.as<ipc::Drain>();
      if (!d) return;
      const auto it = pods_.find(d->uid);
      if (it != pods_.end() && !it->second.draining) {
        it->second.draining = true;
        reconcile_gates({}, {d->uid});
      }
      look_drained(d->uid);
      return;
    }
    case ipc::MessageType::Listening: {
      const auto l = m.as<ipc::Listening>();
      if (l) prober_.listening(l->uid, l->port);
      return;
    }
    default:
      return;
  }
}

/// queue-proxy's drain: upstream answers its preStop hook when no request runs. The quiet period of
/// 30 s before is not needed: no worker gives the pod a request once the gate has let go of it.
void Engine::look_drained(const std::string& uid) {
  const auto* w = tables_->workloads.find(uid);
  const bool busy = pods_.contains(uid) && w && !w->revision.empty() &&
                    shared_.gate(w->revision)->pod_in_flight(uid) > 0;
  if (!busy) {
    if (auto* node = hooks_.node()) node->send(ipc::Drained{uid});
    return;
  }
  drains_[uid] = main_.after(20ms, [this, uid] {
    const auto timer = drains_.extract(uid);  // runs this
    look_drained(uid);
  });
}

void Engine::on_pod(const ipc::Received&, ipc::Pod pod, std::vector<Fd> fds) {
  const std::string uid = pod.uid;
  const bool is_new = !pods_.contains(uid);
  PodState& state = pods_[uid];
  state.message = pod;
  state.wanted.resize(workers_.size() + 1);
  if (is_new) state.learning = ++learnings_;
  auto left = std::make_shared<std::size_t>(workers_.size());
  for (auto& slot : workers_) {
    slot.loop->post([this, w = slot.worker.get(), uid, ip = pod.ip, id = state.learning, left,
                     alive = std::weak_ptr(alive_)] {
      if (alive.expired()) return;
      w->sockets().learn(uid, ip);
      main_.post([this, uid, id, left, alive] {
        if (alive.expired() || --*left != 0) return;
        const auto it = pods_.find(uid);
        if (it == pods_.end() || it->second.learning != id || it->second.learned) return;
        it->second.learned = true;
        reconcile_gates({}, {uid});
      });
    });
  }
  if (pod.has_fds && !fds.empty()) {
    auto listener = std::make_shared<Fd>(std::move(fds[0]));
    ListenerInfo info;
    info.kind = ListenerInfo::Kind::PodCapture;
    info.uid = uid;
    each_worker([uid, listener, info](Worker& w) { w.add_listener("pod/" + uid, listener, info); });
    if (fds.size() > 1) on_dns_socket(uid, std::move(fds[1]));
  }
  probe_sockets_.add(uid, {});
  prober_.set_pod(pod);
  if (is_new) {
    for (std::size_t i = 0; i < workers_.size(); ++i) state.wanted[i] = 2;
    state.wanted.back() = kProbeStock;
    send_want(uid);
  }
  attach_revision(uid);
  reconcile_gates({}, {uid});
}

void Engine::on_dns_socket(const std::string& uid, Fd fd) {
  // One worker per pod: queries of one pod stay in order, pods spread over workers.
  const std::size_t at = std::hash<std::string>{}(uid) % workers_.size();
  auto shared_fd = std::make_shared<Fd>(std::move(fd));
  workers_[at].loop->post(
      [w = workers_[at].worker.get(), uid, shared_fd, alive = std::weak_ptr(alive_)] {
        if (!alive.expired()) w->add_dns(uid, std::move(*shared_fd));
      });
}

void Engine::want(const std::string& uid, std::uint32_t level, std::size_t who) {
  const auto it = pods_.find(uid);
  if (it == pods_.end() || who >= it->second.wanted.size()) return;
  it->second.wanted[who] = level;
  send_want(uid);
}

void Engine::send_want(const std::string& uid) {
  const auto it = pods_.find(uid);
  if (it == pods_.end()) return;
  std::uint32_t sum = 0;
  for (const auto n : it->second.wanted) sum += n;
  if (sum == 0) return;
  if (auto* node = hooks_.node()) node->send_state(uid, ipc::Want{uid, std::min(sum, 64U)});
}

void Engine::on_sockets(const ipc::Sockets& s, std::vector<Fd> fds) {
  const auto it = pods_.find(s.uid);
  if (it == pods_.end() || s.v6) return;
  auto& wanted = it->second.wanted;
  std::vector<std::vector<Fd>> shares(wanted.size());
  std::size_t at = wanted.size() - 1;  // the prober first: without it nothing becomes ready
  for (Fd& fd : fds) {
    std::size_t tries = 0;
    while (wanted[at] == 0 && tries++ < wanted.size()) at = (at + 1) % wanted.size();
    if (wanted[at] > 0) --wanted[at];
    shares[at].push_back(std::move(fd));
    at = (at + 1) % wanted.size();
  }
  if (!shares.back().empty()) probe_sockets_.add(s.uid, std::move(shares.back()));
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    if (shares[i].empty()) continue;
    auto share = std::make_shared<std::vector<Fd>>(std::move(shares[i]));
    workers_[i].loop->post(
        [w = workers_[i].worker.get(), uid = s.uid, share, alive = std::weak_ptr(alive_)] {
          if (!alive.expired()) w->sockets().add(uid, std::move(*share));
        });
  }
}

void Engine::on_node_connected() {
  for (auto& [uid, pod] : pods_) send_want(uid);
  prober_.resend();
  roles_.resend();
  logs_.connected();
}

}  // namespace knit::proxy
