#include "proxy/sockets.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace knit::proxy {
namespace {
constexpr std::uint32_t kMaxLevel = 64;
// A new process has the config before the node has told it of its pods: callers wait.
constexpr Duration kNewborn = std::chrono::seconds(2);
constexpr std::size_t kMaxIdlePerPort = 100;  // Source: knative activator MaxIdleConnsPerHost

int connect_to(int fd, const std::string& ip, std::uint16_t port) {
  sockaddr_in v4{};
  if (inet_pton(AF_INET, ip.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    return ::connect(fd, reinterpret_cast<const sockaddr*>(&v4), sizeof v4);
  }
  sockaddr_in6 v6{};
  if (inet_pton(AF_INET6, ip.c_str(), &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    return ::connect(fd, reinterpret_cast<const sockaddr*>(&v6), sizeof v6);
  }
  errno = EINVAL;
  return -1;
}
}  // namespace

std::unique_ptr<Conn> connect_conn(io::Loop& loop, Fd fd, const std::string& ip,
                                   std::uint16_t port) {
  ::fcntl(fd.get(), F_SETFL, ::fcntl(fd.get(), F_GETFL) | O_NONBLOCK);
  const int one = 1;
  setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  const int r = connect_to(fd.get(), ip, port);
  if (r != 0 && errno != EINPROGRESS) {
    // Told through the usual way: the watch reports the error of a socket that never connected.
    const int error = errno;
    auto conn = std::make_unique<Conn>(loop, std::move(fd));
    conn->fail_connect(error);
    return conn;
  }
  auto conn = std::make_unique<Conn>(loop, std::move(fd));
  conn->start(r == 0 ? Conn::Phase::Open : Conn::Phase::Connecting);
  return conn;
}

Sockets::Sockets(io::Loop& loop,
                 std::function<void(const std::string& uid, std::uint32_t level)> want)
    : loop_(loop), want_(std::move(want)), born_(loop.now()) {}
Sockets::~Sockets() = default;

void Sockets::add(const std::string& uid, std::vector<Fd> sockets) {
  Pod& pod = pods_[uid];
  for (Fd& fd : sockets) pod.stock.push_back(std::move(fd));
  pod.asked = false;
  wake(pod);
}

void Sockets::wake(Pod& pod) {
  std::size_t n = pod.stock.size();
  while (n > 0 && !pod.waiting.empty()) {
    const auto waiter = pod.waiting.front().lock();
    pod.waiting.pop_front();
    if (!waiter) continue;
    --n;
    loop_.post([weak = std::weak_ptr(waiter)] {
      if (const auto w = weak.lock()) (*w)();
    });
  }
}

void Sockets::forget(const std::string& uid) {
  told_ = true;
  const auto it = pods_.find(uid);
  if (it == pods_.end()) return;
  for (const auto& weak : it->second.waiting) {
    loop_.post([weak] {
      if (const auto w = weak.lock()) (*w)();
    });
  }
  // An idle connection may be the one that is just telling us about its end.
  auto pod = std::make_shared<Pod>(std::move(it->second));
  pods_.erase(it);
  loop_.post([pod] {});
}

void Sockets::ask(const std::string& uid, Pod& pod) {
  if (pod.asked || pod.stock.size() * 2 >= pod.level) return;
  pod.asked = true;
  if (pod.stock.empty() && pod.asked_at != 0) pod.level = std::min(pod.level * 2, kMaxLevel);
  pod.asked_at = pod.level;
  want_(uid, pod.level - static_cast<std::uint32_t>(pod.stock.size()));
}

Sockets::Taken Sockets::take(const std::string& uid, const std::string& ip, std::uint16_t port,
                             Reuse reuse) {
  Taken out;
  auto it = pods_.find(uid);
  if (it == pods_.end()) {
    if (told_ || ip.empty() || loop_.now() - born_ > kNewborn) {
      out.unknown = true;
      return out;
    }
    it = pods_.emplace(uid, Pod{}).first;
    it->second.ip = ip;
  }
  Pod& pod = it->second;
  if (ip.empty() && pod.ip.empty()) return out;
  if (reuse == Reuse::Allowed) {
    if (const auto found = pod.idle.find(port); found != pod.idle.end()) {
      while (!found->second.empty()) {
        auto conn = std::move(found->second.back().conn);
        found->second.pop_back();
        conn->set_owner(nullptr);
        if (conn->eof() || conn->failed() || !conn->input().empty()) {
          recycle(uid, std::move(conn));
          continue;
        }
        out.conn = std::move(conn);
        out.reused = true;
        return out;
      }
    }
  }
  if (!pod.stock.empty()) {
    Fd fd = std::move(pod.stock.back());
    pod.stock.pop_back();
    out.conn = connect_conn(loop_, std::move(fd), ip.empty() ? pod.ip : ip, port);
  } else {
    // Idle connections to other ports of the pod hold sockets that are needed here.
    for (auto& [other, list] : pod.idle) {
      if (list.empty() || other == port) continue;
      auto conn = std::move(list.front().conn);
      list.pop_front();
      recycle(uid, std::move(conn));
      return take(uid, ip, port, reuse);
    }
  }
  ask(uid, pod);
  return out;
}

Sockets::Wait Sockets::wait(const std::string& uid, std::function<void()> ready) {
  Wait w;
  w.alive_ = std::make_shared<std::function<void()>>(std::move(ready));
  const auto it = pods_.find(uid);
  if (it == pods_.end()) {
    loop_.post([weak = std::weak_ptr(w.alive_)] {
      if (const auto f = weak.lock()) (*f)();
    });
  } else {
    it->second.waiting.push_back(w.alive_);
    ask(uid, it->second);
  }
  return w;
}

void Sockets::keep(const std::string& uid, std::uint16_t port, std::unique_ptr<Conn> conn) {
  const auto it = pods_.find(uid);
  if (it == pods_.end() || conn->eof() || conn->failed() || !conn->input().empty() ||
      conn->pending() > 0) {
    return recycle(uid, std::move(conn));
  }
  auto& list = it->second.idle[port];
  if (list.size() >= kMaxIdlePerPort || !it->second.waiting.empty()) {
    return recycle(uid, std::move(conn));
  }
  conn->set_owner(this);
  list.push_back({std::move(conn), loop_.now()});
}

void Sockets::recycle(const std::string& uid, std::unique_ptr<Conn> conn) {
  conn->set_owner(nullptr);
  const auto it = pods_.find(uid);
  if (it != pods_.end()) {
    Fd fd = conn->release();
    sockaddr nowhere{};
    nowhere.sa_family = AF_UNSPEC;
    if (it->second.stock.size() < kMaxLevel && fd &&
        ::connect(fd.get(), &nowhere, sizeof nowhere) == 0) {
      it->second.stock.push_back(std::move(fd));
      wake(it->second);
    }
  }
  // The caller may be inside the connection's own callback.
  loop_.post([c = std::shared_ptr<Conn>(std::move(conn))] {});
}

void Sockets::on_conn(Conn& conn) {
  loop_.post([this, target = &conn, alive = std::weak_ptr(alive_)] {
    if (alive.expired()) return;
    for (auto& [uid, pod] : pods_) {
      for (auto& [port, list] : pod.idle) {
        const auto it = std::find_if(list.begin(), list.end(),
                                     [&](const Idle& i) { return i.conn.get() == target; });
        if (it == list.end()) continue;
        if (!target->eof() && !target->failed() && target->input().empty()) return;
        auto owned = std::move(it->conn);
        list.erase(it);
        const std::string name = uid;
        return recycle(name, std::move(owned));
      }
    }
  });
}

void Sockets::sweep(Instant before) {
  for (auto& [uid, pod] : pods_) {
    for (auto& [port, list] : pod.idle) {
      while (!list.empty() && list.front().since < before) {
        auto conn = std::move(list.front().conn);
        list.pop_front();
        recycle(uid, std::move(conn));
      }
    }
  }
}

std::size_t Sockets::idle() const {
  std::size_t n = 0;
  for (const auto& [uid, pod] : pods_) {
    for (const auto& [port, list] : pod.idle) n += list.size();
  }
  return n;
}
std::size_t Sockets::stock(const std::string& uid) const {
  const auto it = pods_.find(uid);
  return it == pods_.end() ? 0 : it->second.stock.size();
}

}  // namespace knit::proxy
