#include <unistd.h>

#include <cstdlib>

#include "base/log.h"
#include "ipc/channel.h"
#include "ipc/frame.h"

namespace knit::ipc {
namespace {
constexpr std::string_view kLogModule = "ipc";
constexpr Duration kOrphanTime = std::chrono::seconds(10);
constexpr Duration kRepairPause = std::chrono::milliseconds(10);

class BootstrapImpl final : public Bootstrap {
 public:
  BootstrapImpl(io::Loop& loop, Process self, Handler handler)
      : loop_(loop), self_(self), handler_(std::move(handler)) {}

  void start(Fd fd) {
    supervisor_ =
        Channel::create(loop_, std::move(fd),
                        {.on_message = [this](Received r) { on_supervisor(std::move(r)); },
                         .on_closed = [this] { orphaned(); }});
    supervisor_->send(Hello{.process = self_, .build = KNIT_BUILD, .pid = ::getpid()});
  }
  Channel& supervisor() override { return *supervisor_; }
  Channel* peer(Process p) override {
    const auto it = peers_.find(p);
    return it == peers_.end() || it->second.channel->closed() ? nullptr : it->second.channel.get();
  }
  void ready(std::string detail) override { supervisor_->send(Ready{std::move(detail)}); }

 private:
  struct PeerState {
    std::unique_ptr<Channel> channel;
    std::uint64_t generation = 0;
  };

  void on_supervisor(Received r) {
    switch (r.type) {
      case MessageType::Kept:
        return on_kept(std::move(r));
      case MessageType::KeptEnd:
        if (handler_.on_kept_end) handler_.on_kept_end();
        return;
      case MessageType::Peer:
        return on_peer(std::move(r));
      case MessageType::Stop:
        if (const auto stop = r.as<Stop>(); stop && handler_.on_stop) {
          handler_.on_stop(stop->deadline);
        }
        return;
      default:
        if (handler_.on_message) handler_.on_message(Process::Supervisor, std::move(r));
    }
  }
  void on_kept(Received r) {
    auto kept = r.as<Kept>();
    if (!kept || kept->keys.size() != r.fds.size()) {
      KNIT_LOG(Error, "kept descriptors do not match their keys");
      return;
    }
    for (std::size_t i = 0; i < r.fds.size(); ++i) {
      if (handler_.on_kept) handler_.on_kept(std::move(kept->keys[i]), std::move(r.fds[i]));
    }
  }
  void on_peer(Received r) {
    const auto message = r.as<Peer>();
    if (!message || r.fds.size() != 1) return;
    const Process p = message->process;
    const auto generation = message->generation;
    PeerState fresh{
        Channel::create(loop_, std::move(r.fds.front()),
                        {.on_message =
                             [this, p](Received m) {
                               if (handler_.on_message) handler_.on_message(p, std::move(m));
                             },
                         .on_closed = [this, p, generation] { peer_closed(p, generation); }}),
        generation};
    // The old end goes only now, so that peer() never names one that is dead.
    std::swap(peers_[p], fresh);
    if (handler_.on_peer) handler_.on_peer(p, generation);
  }
  void peer_closed(Process p, std::uint64_t generation) {
    const auto it = peers_.find(p);
    if (it == peers_.end() || it->second.generation != generation) return;
    // If the peer died, U starts it and sends Peer; if only the channel broke, U has to be told.
    repairs_[p] = loop_.after(kRepairPause,
                              [this, p, generation] { supervisor_->send(Peer{p, generation}); });
  }
  void orphaned() {
    KNIT_LOG(Warn, "the supervisor is gone, leaving in 10 s");
    if (handler_.on_orphaned) handler_.on_orphaned();
    orphan_timer_ = loop_.after(kOrphanTime, [this] {
      if (handler_.exit_process) return handler_.exit_process(75);
      std::_Exit(75);  // EX_TEMPFAIL
    });
  }

  io::Loop& loop_;
  const Process self_;
  Handler handler_;
  std::unique_ptr<Channel> supervisor_;
  std::map<Process, PeerState> peers_;
  std::map<Process, io::Loop::Timer> repairs_;
  io::Loop::Timer orphan_timer_;
};

}  // namespace

Result<std::unique_ptr<Bootstrap>> Bootstrap::create(io::Loop& loop, Fd fd, Process self,
                                                     Handler handler) {
  auto link = Link::adopt(std::move(fd));
  if (!link) return std::move(link).error().within("channel to the supervisor");
  auto out = std::make_unique<BootstrapImpl>(loop, self, std::move(handler));
  out->start(std::move(*link).take_socket());
  return std::unique_ptr<Bootstrap>(std::move(out));
}

}  // namespace knit::ipc
