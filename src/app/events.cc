// `knit-events`: Eventing's data plane on its road, built and connected.
#include "app/process.h"
#include "app/unix_road.h"
#include "base/log.h"
#include "events/host/host.h"
#include "ipc/channel.h"
#include "kube/client.h"

namespace knit::app {
namespace {

constexpr std::string_view kLogModule = "events";

class Events {
 public:
  Events(io::RealLoop& loop, cli::Settings settings)
      : loop_(loop),
        settings_(std::move(settings)),
        random_(system_random()),
        road_(loop, settings_.run),
        api_(loop, [this] {
          return open_api(&loop_, bootstrap_ ? bootstrap_->peer(ipc::Process::Server) : nullptr,
                          ipc::Process::Events);
        }) {}

  Result<void> open(Fd channel) {
    KNIT_TRY(auto disk, events::open_posix_disk(settings_.data + "/events"));
    host_ = std::make_unique<events::Host>(loop_, road_, api_, std::move(disk), *random_);
    ipc::Bootstrap::Handler handler;
    handler.on_peer = [this](ipc::Process peer, std::uint64_t) { on_peer(peer); };
    handler.on_message = [this](ipc::Process peer, ipc::Received m) {
      on_message(peer, std::move(m));
    };
    handler.on_stop = [this](Duration) { loop_.spawn(stop(this)); };
    KNIT_TRY(bootstrap_, ipc::Bootstrap::create(loop_, std::move(channel), ipc::Process::Events,
                                                std::move(handler)));
    return {};
  }

 private:
  void on_peer(ipc::Process peer) {
    if (peer != ipc::Process::Server || std::exchange(started_, true)) return;
    host_->start([this] {
      road_.serve();
      bootstrap_->ready(std::to_string(road_.roles()) + (road_.roles() == 1 ? " role" : " roles"));
    });
  }

  void on_message(ipc::Process peer, ipc::Received message) {
    if (peer == ipc::Process::Server && message.type == ipc::MessageType::ApiOpen &&
        message.fds.size() == 1 && !stopping_) {
      return host_->administer(io::socket_stream(loop_, std::move(message.fds[0])));
    }
    if (peer != ipc::Process::Supervisor || message.type != ipc::MessageType::Listener) return;
    const auto listener = message.as<ipc::Listener>();
    const auto purpose = listener ? ipc::parse_role_purpose(listener->purpose) : std::nullopt;
    if (!purpose || !purpose->ingress || message.fds.size() > 1 || stopping_) return;
    Result<void> taken = {};
    if (message.fds.empty()) {
      road_.remove(purpose->uid);
    } else {
      taken = road_.add(purpose->name, purpose->uid, std::move(message.fds[0]));
    }
    if (!taken) KNIT_LOG(Error, "a role's listener is refused", KV("error", taken.error()));
    bootstrap_->supervisor().ack(message, taken ? std::string() : taken.error().message());
  }

  /// The proxy learns at once, what was accepted is on the disk, then the end.
  static io::Task<void> stop(Events* events) {
    if (std::exchange(events->stopping_, true)) co_return;
    events->road_.stop();
    const auto stopped = co_await events->host_->stop();
    if (!stopped) KNIT_LOG(Error, "not everything was written", KV("error", stopped.error()));
    events->loop_.stop();
  }

  io::RealLoop& loop_;
  cli::Settings settings_;
  std::unique_ptr<Random> random_;
  UnixRoad road_;
  kube::Client api_;
  std::unique_ptr<events::Host> host_;
  std::unique_ptr<ipc::Bootstrap> bootstrap_;
  bool started_ = false, stopping_ = false;
};

}  // namespace

int run_events(ProcessContext context) {
  Events events(*context.loop, context.settings);
  if (const auto opened = events.open(std::move(context.channel)); !opened) {
    KNIT_LOG(Error, "cannot start", KV("error", opened.error()));
    return 1;
  }
  context.loop->run();
  context.loop->finish_offloads();  // writes in hand use what the engine owns
  return 0;
}

}  // namespace knit::app
