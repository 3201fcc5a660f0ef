#include "proxy/worker.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>

#include "base/log.h"
#include "proxy/dns_server.h"

namespace knit::proxy {
namespace {
constexpr std::string_view kLogModule = "proxy";
using namespace std::chrono_literals;

/// v4-mapped addresses print as v4.
std::pair<std::string, std::uint16_t> address_of(const sockaddr_storage& a) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (a.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(a);
    inet_ntop(AF_INET, &v4.sin_addr, text.data(), text.size());
    return {text.data(), ntohs(v4.sin_port)};
  }
  if (a.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(a);
    if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
      inet_ntop(AF_INET, &v6.sin6_addr.s6_addr[12], text.data(), text.size());
    } else {
      inet_ntop(AF_INET6, &v6.sin6_addr, text.data(), text.size());
    }
    return {text.data(), ntohs(v6.sin6_port)};
  }
  return {"", 0};
}

bool has_sidecar(const pc::Workload& w) { return w.injected || w.role == pc::Role::IngressGateway; }

/// Each sidecar reports its own side; the other end is the next one that is there, or whoever is.
template <class F>
void for_each_hop(std::initializer_list<Worker::Hop> hops, const Tables& tables, F report) {
  using Role = Worker::Hop::Role;
  const pc::Workload* before = nullptr;
  for (const auto* hop = hops.begin(); hop != hops.end(); ++hop) {
    if (hop->uid.empty()) continue;
    const pc::Workload* w = tables.workloads.find(hop->uid);
    if (!w) continue;
    const pc::Workload* next = nullptr;
    for (const auto* n = hop + 1; n != hops.end() && !next; ++n) {
      if (!n->uid.empty() && n->uid != hop->uid) next = tables.workloads.find(n->uid);
    }
    if (has_sidecar(*w)) {
      if (hop->role != Role::Sender) report({nullptr, hop->uid, true, before, w});
      if (hop->role != Role::Receiver) report({nullptr, hop->uid, false, w, next});
    }
    before = w;
  }
}
}  // namespace

Worker::Worker(io::Loop& loop, Shared& shared, unsigned index)
    : loop_(loop),
      shared_(shared),
      index_(index),
      tables_(std::make_shared<Tables>()),
      sockets_(loop,
               [this](const std::string& uid, std::uint32_t level) {
                 if (shared_.want) shared_.want(uid, level, index_);
               }),
      roles_(loop),
      access_log_(loop,
                  [this](AccessLog::Batch batch) {
                    if (shared_.access_log) shared_.access_log(std::move(batch));
                  }),
      random_state_(shared.random->next() | 1) {}

Worker::~Worker() {
  dns_.clear();
  listeners_.clear();
  sessions_.clear();
  retired_.clear();
}

std::uint64_t Worker::random() {
  random_state_ ^= random_state_ << 13;
  random_state_ ^= random_state_ >> 7;
  random_state_ ^= random_state_ << 17;
  return random_state_;
}

void Worker::adopt(std::unique_ptr<Session> session) {
  Session* key = session.get();
  sessions_.emplace(key, std::move(session));
}

void Worker::retire(Session* session) {
  const auto it = sessions_.find(session);
  if (it == sessions_.end()) return;
  if (retired_.empty()) {
    loop_.post([this, alive = std::weak_ptr(alive_)] {
      if (alive.expired()) return;
      const auto gone = std::move(retired_);
      retired_.clear();
    });
  }
  retired_.push_back(std::move(it->second));
  sessions_.erase(it);
}

void Worker::add_listener(const std::string& key, std::shared_ptr<Fd> listener, ListenerInfo info) {
  // Several workers accept: one that comes too late must not block.
  ::fcntl(listener->get(), F_SETFL, ::fcntl(listener->get(), F_GETFL) | O_NONBLOCK);
  auto l = std::make_shared<Listening>();
  l->fd = std::move(listener);
  l->info = std::move(info);
  listeners_.erase(key);
  watch(key, *l);
  listeners_[key] = l;
}

void Worker::watch(const std::string& key, Listening& l) {
  l.watch = loop_.watch(l.fd->get(), io::Loop::Sharing::Exclusive,
                        [this, key](io::Ready) { accept_some(key); });
}

void Worker::remove_listener(const std::string& key) { listeners_.erase(key); }

void Worker::accept_some(const std::string& key) {
  const auto it = listeners_.find(key);
  if (it == listeners_.end()) return;
  const auto l = it->second;  // an entrance may remove the listener
  for (int i = 0; i < 64; ++i) {
    sockaddr_storage peer{};
    socklen_t size = sizeof peer;
    Fd fd(::accept4(l->fd->get(), reinterpret_cast<sockaddr*>(&peer), &size,
                    SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        // The backlog keeps them; a level-triggered listener would spin.
        KNIT_LOG(Warn, "accepting pauses: out of descriptors or memory", KV("listener", key));
        l->watch.reset();
        l->pause = loop_.after(100ms, [this, key] {
          const auto again = listeners_.find(key);
          if (again != listeners_.end()) watch(key, *again->second);
        });
      }
      return;
    }
    const int one = 1;
    setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    sockaddr_storage local{};
    size = sizeof local;
    getsockname(fd.get(), reinterpret_cast<sockaddr*>(&local), &size);
    const auto [ip, port] = address_of(local);
    auto [from, from_port] = address_of(peer);
    Caller caller{l->info.uid, std::move(from), from_port};
    auto conn = std::make_unique<Conn>(loop_, std::move(fd));
    conn->start(Conn::Phase::Peeking);
    switch (l->info.kind) {
      case ListenerInfo::Kind::RouterHttps:
        enter_router_https(std::move(conn), std::move(caller));
        break;
      case ListenerInfo::Kind::RouterHttp:
        enter_router_http(std::move(conn), std::move(caller));
        break;
      case ListenerInfo::Kind::NodePort:
        enter_node_port(std::move(conn), std::move(caller), l->info.service, l->info.port);
        break;
      case ListenerInfo::Kind::RoleEgress:
        enter_role(std::move(conn), l->info.uid);
        break;
      case ListenerInfo::Kind::HostCapture:
      case ListenerInfo::Kind::PodCapture:
        enter_captured(std::move(conn), std::move(caller), ip, port);
        break;
    }
  }
}

void Worker::drain() {
  draining_ = true;
  listeners_.clear();
  std::vector<Session*> all;
  for (const auto& [key, session] : sessions_) all.push_back(key);
  for (Session* s : all) s->drain();
}

void Worker::tick() {
  sockets_.sweep(loop_.now() - 60s);
  roles_.sweep(loop_.now() - 60s);
}

void Worker::record(const AccessRecord& r, std::initializer_list<Hop> hops, const Tables& tables) {
  const std::string_view domain = tables.settings.cluster_domain;
  for_each_hop(hops, tables, [&](const TrafficReport& report) {
    TrafficReport full = report;
    full.record = &r;
    metrics_.count(full, domain);
  });
  std::string_view last;
  for (const Hop& hop : hops) {
    const auto* w = hop.uid.empty() || hop.uid == last ? nullptr : tables.workloads.find(hop.uid);
    if (!w || !has_sidecar(*w)) continue;
    last = hop.uid;
    const auto* mesh = tables.meshes.find(w->mesh);
    const auto format = mesh ? mesh->access_log : pc::AccessLogFormat::Off;
    if (format == pc::AccessLogFormat::Off) continue;
    access_log_.add(hop.uid, "istio-proxy", [&](std::string& out) {
      append_access_line(out, r, hop.role != Hop::Role::Sender, format, domain);
    });
  }
}

void Worker::record_opened(const AccessRecord& r, std::initializer_list<Hop> hops,
                           const Tables& tables) {
  for_each_hop(hops, tables, [&](const TrafficReport& report) {
    TrafficReport full = report;
    full.record = &r;
    metrics_.count_opened(full, tables.settings.cluster_domain);
  });
}

}  // namespace knit::proxy
