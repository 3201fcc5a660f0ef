#include "io/real_loop.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <ctime>
#include <mutex>
#include <thread>

#include "base/fd.h"
#include "io/timers.h"

namespace knit::io {
namespace {

class Pool {
 public:
  explicit Pool(unsigned threads) : limit_(threads == 0 ? 1 : threads) {}
  ~Pool() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (auto& t : threads_) t.join();
  }
  void run(std::function<void()> job) {
    {
      const std::lock_guard lock(mutex_);
      jobs_.push_back(std::move(job));
      if (idle_ < jobs_.size() && threads_.size() < limit_) {
        threads_.emplace_back([this] { work(); });
      }
    }
    wake_.notify_one();
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    while (true) {
      ++idle_;
      wake_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
      --idle_;
      if (jobs_.empty()) return;  // stopping, and everything handed in has run
      auto job = std::move(jobs_.front());
      jobs_.pop_front();
      lock.unlock();
      job();
      job = nullptr;
      lock.lock();
    }
  }
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> jobs_;
  std::vector<std::thread> threads_;
  std::size_t idle_ = 0;
  const std::size_t limit_;
  bool stopping_ = false;
};

std::int64_t clock_ns(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return t.tv_sec * 1'000'000'000 + t.tv_nsec;
}

class EpollLoop final : public RealLoop {
 public:
  EpollLoop(Fd epoll, Fd wake, unsigned threads)
      : epoll_(std::move(epoll)), wake_(std::move(wake)), pool_threads_(threads) {
    refresh();
  }
  ~EpollLoop() override {
    pool_.reset();  // joins: jobs may still post
    cancel_spawned();
    posted_.clear();
  }

  void finish_offloads() override { pool_.reset(); }

  Instant now() const override { return now_; }
  WallTime wall_now() const override { return {clock_ns(CLOCK_REALTIME)}; }

  Timer at(Instant when, std::function<void()> callback) override {
    return timers_.at(when, std::move(callback));
  }

  Watch watch(int fd, Sharing sharing, std::function<void(Ready)> callback) override {
    auto node = std::make_shared<Node>();
    node->callback = std::move(callback);
    const std::uint64_t id = next_id_++;
    epoll_event event{};
    event.events = EPOLLIN | EPOLLET;
    if (sharing == Sharing::Exclusive) {
      event.events = EPOLLIN | EPOLLEXCLUSIVE;
    } else {
      event.events |= EPOLLOUT | EPOLLRDHUP;
    }
    event.data.u64 = id;
    KNIT_CHECK(epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0);
    watches_.emplace(id, node);
    return Watch(std::make_unique<WatchHandle>(this, id, fd));
  }

  void post(std::function<void()> work) override {
    bool first = false;
    {
      const std::lock_guard lock(mutex_);
      first = posted_.empty();
      posted_.push_back(std::move(work));
    }
    if (first) {
      const std::uint64_t one = 1;
      [[maybe_unused]] const auto n = ::write(wake_.get(), &one, sizeof one);
    }
  }

  void offload(std::function<void()> work, std::function<void()> done) override {
    if (!pool_) pool_ = std::make_unique<Pool>(pool_threads_);
    pool_->run([this, work = std::move(work), done = std::move(done)]() mutable {
      work();
      work = nullptr;
      post(std::move(done));
    });
  }

  void run() override {
    stopping_ = false;
    std::array<epoll_event, 256> events;
    while (!stopping_) {
      refresh();
      timers_.run_due(now_);
      if (stopping_) break;
      int timeout = -1;
      if (const auto next = timers_.next()) {
        const auto wait = *next - now_;
        timeout = wait.count() <= 0 ? 0
                                    : static_cast<int>(std::min<std::int64_t>(
                                          (wait.count() + 999'999) / 1'000'000, 3'600'000));
      }
      {
        const std::lock_guard lock(mutex_);
        if (!posted_.empty()) timeout = 0;
      }
      const int n = epoll_wait(epoll_.get(), events.data(), events.size(), timeout);
      refresh();
      for (int i = 0; i < n; ++i) {
        const auto& event = events[static_cast<std::size_t>(i)];
        const std::uint64_t id = event.data.u64;  // epoll_event is packed: no references into it
        if (id == 0) {
          std::uint64_t count = 0;
          [[maybe_unused]] const auto got = ::read(wake_.get(), &count, sizeof count);
          continue;
        }
        const auto it = watches_.find(id);
        if (it == watches_.end()) continue;
        const auto node = it->second;  // keeps the callback alive while it runs
        node->callback(Ready{(event.events & (EPOLLIN | EPOLLRDHUP)) != 0,
                             (event.events & EPOLLOUT) != 0,
                             (event.events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP)) != 0});
      }
      run_posted();
    }
  }

  void stop() override {
    stopping_ = true;
    post([] {});
  }

 private:
  struct Node {
    std::function<void(Ready)> callback;
  };
  struct WatchHandle final : Watch::Handle {
    WatchHandle(EpollLoop* l, std::uint64_t i, int f) : loop(l), id(i), fd(f) {}
    ~WatchHandle() override {
      epoll_ctl(loop->epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
      loop->watches_.erase(id);
    }
    EpollLoop* loop;
    std::uint64_t id;
    int fd;
  };

  void refresh() { now_ = {clock_ns(CLOCK_MONOTONIC)}; }
  void run_posted() {
    std::vector<std::function<void()>> batch;
    {
      const std::lock_guard lock(mutex_);
      batch.swap(posted_);
    }
    for (auto& work : batch) {
      work();
      work = nullptr;
    }
  }

  Fd epoll_;
  Fd wake_;
  Instant now_;
  Timers timers_;
  std::unordered_map<std::uint64_t, std::shared_ptr<Node>> watches_;
  std::uint64_t next_id_ = 1;
  std::mutex mutex_;
  std::vector<std::function<void()>> posted_;
  std::atomic<bool> stopping_{false};
  unsigned pool_threads_;
  std::unique_ptr<Pool> pool_;
};

class SignalFd final : public SignalWatch {
 public:
  SignalFd(Fd fd, std::function<void(int)> callback)
      : fd_(std::move(fd)), callback_(std::move(callback)) {}
  void start(Loop& loop) {
    watch_ = loop.watch(fd_.get(), Loop::Sharing::Sole, [this](Ready) {
      signalfd_siginfo info{};
      while (::read(fd_.get(), &info, sizeof info) == sizeof info) {
        callback_(static_cast<int>(info.ssi_signo));
      }
    });
  }

 private:
  Fd fd_;
  std::function<void(int)> callback_;
  Loop::Watch watch_;
};

}  // namespace

Result<std::unique_ptr<RealLoop>> RealLoop::create(unsigned pool_threads) {
  Fd epoll(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return errno_error("epoll_create1", errno);
  Fd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return errno_error("eventfd", errno);
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;
  event.data.u64 = 0;
  if (epoll_ctl(epoll.get(), EPOLL_CTL_ADD, wake.get(), &event) != 0) {
    return errno_error("epoll_ctl", errno);
  }
  return std::unique_ptr<RealLoop>(
      std::make_unique<EpollLoop>(std::move(epoll), std::move(wake), pool_threads));
}

Result<std::unique_ptr<SignalWatch>> SignalWatch::create(Loop& loop,
                                                         std::initializer_list<int> signals,
                                                         std::function<void(int)> callback) {
  sigset_t set;
  sigemptyset(&set);
  for (const int s : signals) sigaddset(&set, s);
  if (sigprocmask(SIG_BLOCK, &set, nullptr) != 0) return errno_error("sigprocmask", errno);
  Fd fd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd) return errno_error("signalfd", errno);
  auto watch = std::make_unique<SignalFd>(std::move(fd), std::move(callback));
  watch->start(loop);
  return std::unique_ptr<SignalWatch>(std::move(watch));
}

}  // namespace knit::io
