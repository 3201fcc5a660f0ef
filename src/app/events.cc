// `knit-events`: the built-in roles of Eventing, built and connected.
#include "app/processes.h"
#include "base/log.h"
#include "ipc/channel.h"

namespace knit::app {
namespace {

constexpr std::string_view kLogModule = "events";

class Events {
 public:
  explicit Events(io::RealLoop& loop) : loop_(loop) {}

  Result<void> open(Fd channel) {
    ipc::Bootstrap::Handler handler;
    handler.on_message = [this](ipc::Process peer, ipc::Received m) {
      on_message(peer, std::move(m));
    };
    handler.on_stop = [this](Duration) { loop_.stop(); };
    KNIT_TRY(bootstrap_, ipc::Bootstrap::create(loop_, std::move(channel), ipc::Process::Events,
                                                std::move(handler)));
    bootstrap_->ready("no role yet");
    return {};
  }

 private:
  void on_message(ipc::Process peer, ipc::Received message) {
    if (peer != ipc::Process::Supervisor || message.type != ipc::MessageType::Listener) return;
    bootstrap_->supervisor().ack(message, "no role is carried out yet");
  }

  io::RealLoop& loop_;
  std::unique_ptr<ipc::Bootstrap> bootstrap_;
};

}  // namespace

int run_events(ProcessContext context) {
  Events events(*context.loop);
  if (const auto opened = events.open(std::move(context.channel)); !opened) {
    KNIT_LOG(Error, "cannot start", KV("error", opened.error()));
    return 1;
  }
  context.loop->run();
  return 0;
}

}  // namespace knit::app
