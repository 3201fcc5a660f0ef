#include "node/runtime/exits.h"

#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"

namespace knit::node::runtime {

namespace {

constexpr int kUnknown = 137 << 8;  // as kubelet for a status that nobody knows

class LocalExits final : public Exits {
 public:
  explicit LocalExits(io::Loop& loop) : loop_(loop) {}
  void expect(const std::string& container, pid_t pid, std::uint64_t) override {
    Fd fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    Waiting& w = waiting_[container];
    w.pid = pid;
    w.fd = std::move(fd);
    if (!w.fd) {
      loop_.post([this, container] { report(container); });
      return;
    }
    w.watch = loop_.watch(w.fd.get(), io::Loop::Sharing::Sole,
                          [this, container](io::Ready) { report(container); });
  }
  void on_exit(Handler handler) override { handler_ = std::move(handler); }

 private:
  struct Waiting {
    pid_t pid = 0;
    Fd fd;
    io::Loop::Watch watch;
  };
  void report(const std::string& container) {
    const auto it = waiting_.find(container);
    if (it == waiting_.end()) return;
    int status = kUnknown;
    const pid_t got = ::waitpid(it->second.pid, &status, WNOHANG);
    if (got == 0) return;
    if (got < 0) status = kUnknown;
    // Later: the watch must not be destroyed inside its own callback.
    loop_.post([this, container, status] {
      waiting_.erase(container);
      if (handler_) handler_(container, status, loop_.wall_now());
    });
  }
  io::Loop& loop_;
  Handler handler_;
  std::map<std::string, Waiting> waiting_;
};

}  // namespace

std::unique_ptr<Exits> local_exits(io::Loop& loop) { return std::make_unique<LocalExits>(loop); }

}  // namespace knit::node::runtime
