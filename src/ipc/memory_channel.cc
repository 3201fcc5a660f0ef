// The channel's twin for simulated time: the same queue, bounds, coalescing and acknowledgements,
// delivered by posted work instead of a socket.
#include "ipc/acks.h"
#include "ipc/channel.h"
#include "ipc/frame.h"

namespace knit::ipc {
namespace {

struct Side : std::enable_shared_from_this<Side> {
  Side(io::Loop& l, Channel::Handler h) : loop(l), handler(std::move(h)) {}

  std::uint64_t send(MessageType type, std::string body, std::vector<Fd> fds,
                     std::string_view key) {
    if (ended) return 0;
    const auto sequence = out.push(type, std::move(body), std::move(fds), key);
    if (sequence == 0) {
      end();
      return 0;
    }
    schedule();
    return sequence;
  }
  void schedule() {
    if (scheduled || out.empty()) return;
    scheduled = true;
    loop.post([self = shared_from_this()] {
      self->scheduled = false;
      self->pump();
    });
  }
  /// Hands one frame to the peer; the next one in a later turn, as a socket would.
  void pump() {
    if (out.empty()) return;
    Outbox::Item item = out.take();
    const auto to = peer.lock();
    if (to && !to->ended) {
      Received r{static_cast<MessageType>(item.header.type), item.header.sequence,
                 std::move(item.body), std::move(item.fds)};
      if ((item.header.version & kMemfdBit) != 0) {
        auto body = read_sealed(r.fds.back().get(), kMaxBody);
        r.fds.pop_back();
        if (!body) return to->end();
        r.body = std::move(body).value();
      }
      to->deliver(std::move(r));
    }
    schedule();
  }
  void deliver(Received r) {
    if (r.type == MessageType::Acked) {
      auto acked = codec::decode<Acked>(r.body);
      if (acked) acks.acked(*acked);
    } else if (to_string(r.type).empty()) {
      ++skipped;
    } else if (!gone && handler.on_message) {
      handler.on_message(std::move(r));
    }
  }
  /// Ends this side now and the other one after what is queued to it has arrived.
  void end() {
    if (ended) return;
    ended = true;
    loop.post([self = shared_from_this()] {
      self->acks.close();
      if (!self->gone && self->handler.on_closed) self->handler.on_closed();
    });
    hang_up();
  }
  void hang_up() {
    loop.post([self = shared_from_this()] {
      while (!self->out.empty()) self->pump();
      if (const auto to = self->peer.lock()) to->end();
    });
  }

  io::Loop& loop;
  Channel::Handler handler;
  std::weak_ptr<Side> peer;
  Outbox out;
  Acks acks;
  std::uint64_t skipped = 0;
  bool scheduled = false;
  bool ended = false;
  bool gone = false;
};

class MemoryChannel final : public Channel {
 public:
  explicit MemoryChannel(std::shared_ptr<Side> side) : side_(std::move(side)) {}
  ~MemoryChannel() override {
    side_->gone = true;
    if (side_->ended) return;
    side_->ended = true;
    side_->acks.close();
    side_->hang_up();
  }
  std::uint64_t send_raw(MessageType type, std::string body, std::vector<Fd> fds) override {
    return side_->send(type, std::move(body), std::move(fds), {});
  }
  void send_state_raw(MessageType type, std::string_view key, std::string body) override {
    side_->send(type, std::move(body), {}, key.empty() ? std::string_view("-") : key);
  }
  void when_acked(std::uint64_t sequence, std::function<void(std::string)> on_ack) override {
    if (side_->ended || sequence == 0) {
      side_->loop.post([on_ack = std::move(on_ack)] { on_ack("closed"); });
    } else if (!side_->acks.wait(sequence, std::move(on_ack))) {
      side_->end();
    }
  }
  bool closed() const override { return side_->ended; }
  std::uint64_t skipped() const override { return side_->skipped; }

 private:
  std::shared_ptr<Side> side_;
};

}  // namespace

std::pair<std::unique_ptr<Channel>, std::unique_ptr<Channel>> memory_channels(io::Loop& loop,
                                                                              Channel::Handler a,
                                                                              Channel::Handler b) {
  auto left = std::make_shared<Side>(loop, std::move(a));
  auto right = std::make_shared<Side>(loop, std::move(b));
  left->peer = right;
  right->peer = left;
  return {std::make_unique<MemoryChannel>(std::move(left)),
          std::make_unique<MemoryChannel>(std::move(right))};
}

}  // namespace knit::ipc
