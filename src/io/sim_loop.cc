#include "io/sim_loop.h"

#include <poll.h>

namespace knit::io {

struct SimLoop::Watched {
  std::function<void(Ready)> callback;
};
struct SimLoop::WatchHandle final : Loop::Watch::Handle {
  WatchHandle(SimLoop* l, int f) : loop(l), fd(f) {}
  ~WatchHandle() override { loop->watched_.erase(fd); }
  SimLoop* loop;
  int fd;
};

Loop::Watch SimLoop::watch(int fd, Sharing, std::function<void(Ready)> callback) {
  watched_[fd] = std::make_shared<Watched>(Watched{std::move(callback)});
  return Watch(std::make_unique<WatchHandle>(this, fd));
}

bool SimLoop::run_one() {
  if (posted_.empty()) return timers_.run_one(now_);
  auto work = std::move(posted_.front());
  posted_.pop_front();
  work();
  return true;
}

void SimLoop::settle() {
  while (run_one()) {
  }
}

void SimLoop::advance(Duration d) {
  const Instant end = now_ + d;
  settle();
  while (const auto next = timers_.next()) {
    if (*next > end) break;
    if (*next > now_) now_ = *next;
    settle();
  }
  now_ = end;
  settle();
}

void SimLoop::poll_fds(int timeout_ms) {
  std::vector<pollfd> fds;
  for (const auto& [fd, watched] : watched_) fds.push_back({fd, POLLIN | POLLOUT | POLLRDHUP, 0});
  if (::poll(fds.data(), fds.size(), timeout_ms) <= 0) return;
  for (const auto& p : fds) {
    const auto it = watched_.find(p.fd);
    if (p.revents == 0 || it == watched_.end()) continue;
    const auto watched = it->second;
    watched->callback(Ready{(p.revents & (POLLIN | POLLRDHUP)) != 0, (p.revents & POLLOUT) != 0,
                            (p.revents & (POLLHUP | POLLERR | POLLRDHUP)) != 0});
  }
  settle();
}

}  // namespace knit::io
