#include "ipc/channel.h"

#include "base/log.h"
#include "ipc/acks.h"
#include "ipc/frame.h"

namespace knit::ipc {
namespace {
constexpr std::string_view kLogModule = "ipc";
constexpr int kFramesPerTurn = 64;  // then other descriptors of the loop get their turn

/// State outlives the Channel while one of its callbacks runs.
struct State : std::enable_shared_from_this<State> {
  State(io::Loop& l, Link link_, Channel::Handler h)
      : loop(l), link(std::move(link_)), handler(std::move(h)) {}

  void start() {
    watch = loop.watch(link.fd(), io::Loop::Sharing::Sole, [weak = weak_from_this()](io::Ready r) {
      if (const auto self = weak.lock()) self->on_ready(r);
    });
    schedule_read();  // what arrived before the watch
  }
  void on_ready(io::Ready r) {
    if (r.writable && !link.flush()) return end();
    if (r.readable || r.hangup) read_some();
  }
  void schedule_read() {
    loop.post([weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->read_some();
    });
  }
  void read_some() {
    for (int i = 0; i < kFramesPerTurn; ++i) {
      if (gone || ended) return;
      auto frame = link.receive();
      if (!frame) {
        if (link.broken()) end();
        return;
      }
      if (frame->type == MessageType::Acked) {
        auto acked = codec::decode<Acked>(frame->body);
        if (acked) acks.acked(*acked);
        continue;
      }
      if (handler.on_message) {
        handler.on_message(
            Received{frame->type, frame->sequence, std::move(frame->body), std::move(frame->fds)});
      }
    }
    schedule_read();
  }
  /// Closes now, tells the owner from the loop.
  void end() {
    if (ended) return;
    ended = true;
    KNIT_LOG(Debug, "channel closed", KV("reason", link.why()));
    watch.reset();
    loop.post([self = shared_from_this()] {
      self->acks.close();
      if (!self->gone && self->handler.on_closed) self->handler.on_closed();
    });
  }

  io::Loop& loop;
  Link link;
  Channel::Handler handler;
  io::Loop::Watch watch;  // after link: goes before the descriptor is closed
  Acks acks;
  bool ended = false;
  bool gone = false;  // the Channel was destroyed
};

class SocketChannel final : public Channel {
 public:
  explicit SocketChannel(std::shared_ptr<State> state) : state_(std::move(state)) {}
  ~SocketChannel() override {
    state_->gone = true;
    state_->watch.reset();
    if (state_->ended) return;
    state_->ended = true;
    state_->link.flush();
    state_->acks.close();
  }
  std::uint64_t send_raw(MessageType type, std::string body, std::vector<Fd> fds) override {
    return send(type, std::move(body), std::move(fds), {});
  }
  void send_state_raw(MessageType type, std::string_view key, std::string body) override {
    // A state message of a type without keys coalesces with itself.
    send(type, std::move(body), {}, key.empty() ? std::string_view("-") : key);
  }
  void when_acked(std::uint64_t sequence, std::function<void(std::string)> on_ack) override {
    if (state_->ended || sequence == 0) {
      state_->loop.post([on_ack = std::move(on_ack)] { on_ack("closed"); });
    } else if (!state_->acks.wait(sequence, std::move(on_ack))) {
      state_->end();
    }
  }
  bool closed() const override { return state_->ended; }
  std::uint64_t skipped() const override { return state_->link.skipped(); }

 private:
  std::uint64_t send(MessageType type, std::string body, std::vector<Fd> fds,
                     std::string_view key) {
    if (state_->ended) return 0;
    const auto sequence = state_->link.send(type, std::move(body), std::move(fds), key);
    if (sequence == 0) state_->end();
    return sequence;
  }
  std::shared_ptr<State> state_;
};

/// What an unusable descriptor gives: a channel that ends at once.
class DeadChannel final : public Channel {
 public:
  DeadChannel(io::Loop& loop, Handler handler) : loop_(loop) {
    loop.post([weak = std::weak_ptr<int>(alive_), on_closed = std::move(handler.on_closed)] {
      if (!weak.expired() && on_closed) on_closed();
    });
  }
  std::uint64_t send_raw(MessageType, std::string, std::vector<Fd>) override { return 0; }
  void send_state_raw(MessageType, std::string_view, std::string) override {}
  void when_acked(std::uint64_t, std::function<void(std::string)> on_ack) override {
    loop_.post([on_ack = std::move(on_ack)] { on_ack("closed"); });
  }
  bool closed() const override { return true; }

 private:
  io::Loop& loop_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace

std::unique_ptr<Channel> Channel::create(io::Loop& loop, Fd socket, Handler handler) {
  auto link = Link::adopt(std::move(socket));
  if (!link) {
    KNIT_LOG(Error, "unusable channel descriptor", KV("error", link.error()));
    return std::make_unique<DeadChannel>(loop, std::move(handler));
  }
  auto state = std::make_shared<State>(loop, std::move(link).value(), std::move(handler));
  state->start();
  return std::make_unique<SocketChannel>(std::move(state));
}

}  // namespace knit::ipc
