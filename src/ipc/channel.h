// A SOCK_SEQPACKET channel between two processes. Frame: {u16 type, u16 version, u32 length,
// u64 sequence} + body ≤ 64 KiB from base/codec; a larger body travels in a sealed memfd (the last
// descriptor, flagged by version bit 15). ≤ 250 descriptors a frame.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/fd.h"
#include "io/loop.h"
#include "ipc/messages.h"

namespace knit::ipc {

struct Received {
  MessageType type{};
  std::uint64_t sequence = 0;
  std::string body;
  std::vector<Fd> fds;
  template <class M>
  Result<M> as() const {
    return codec::decode<M>(body);
  }
};

/// One per peer. Nobody blocks on a peer: frames queue up to 1 MiB, past it the channel closes.
class Channel {
 public:
  virtual ~Channel() = default;
  /// Returns the frame's sequence number (0 when closed).
  virtual std::uint64_t send_raw(MessageType type, std::string body, std::vector<Fd> fds) = 0;
  template <class M>
  std::uint64_t send(const M& m, std::vector<Fd> fds = {}) {
    return send_raw(M::kType, codec::encode(m), std::move(fds));
  }
  /// State message: replaces a queued, unsent one of the same type and state key.
  template <class M>
  void send_state(std::string_view state_key, const M& m) {
    send_state_raw(M::kType, state_key, codec::encode(m));
  }
  virtual void send_state_raw(MessageType type, std::string_view state_key, std::string body) = 0;
  /// Answers an acked message.
  void ack(const Received& r, std::string error = {}) { send(Acked{r.sequence, std::move(error)}); }
  /// Runs `on_ack(error)` when the peer acknowledges `sequence`; "closed" if the channel ends
  /// first.
  virtual void when_acked(std::uint64_t sequence,
                          std::function<void(std::string error)> on_ack) = 0;
  virtual bool closed() const = 0;
  /// Frames of unknown types that were skipped.
  virtual std::uint64_t skipped() const { return 0; }

  /// `on_message` for everything but Acked (handled inside); `on_closed` once, never from inside a
  /// call of this class. Both may destroy the channel.
  struct Handler {
    std::function<void(Received)> on_message;
    std::function<void()> on_closed;
  };
  static std::unique_ptr<Channel> create(io::Loop& loop, Fd socket, Handler handler);
};

/// A connected in-memory pair for simulated time (descriptors are passed as they are).
std::pair<std::unique_ptr<Channel>, std::unique_ptr<Channel>> memory_channels(io::Loop& loop,
                                                                              Channel::Handler a,
                                                                              Channel::Handler b);

/// What every process but U does first: takes its channel to U (descriptor 3), says Hello, receives
/// Kept … End, then Peer messages. Keeps one Channel per peer and re-creates it on Peer.
class Bootstrap {
 public:
  struct Handler {
    std::function<void(std::string key, Fd fd)> on_kept;
    std::function<void()> on_kept_end;
    /// A (new) channel to `peer` is usable: resync.
    std::function<void(Process peer, std::uint64_t generation)> on_peer;
    std::function<void(Process peer, Received)>
        on_message;  // also U's own (Bound, Exit, Listener…)
    std::function<void(Duration deadline)> on_stop;
    /// U is gone; this process exits in 10 s. Pods stay: this is no Stop. May be empty.
    std::function<void()> on_orphaned;
    /// Ends the process (tests replace it); empty: std::_Exit.
    std::function<void(int status)> exit_process;
  };
  virtual ~Bootstrap() = default;
  virtual Channel& supervisor() = 0;
  /// nullptr while there is none.
  virtual Channel* peer(Process p) = 0;
  virtual void ready(std::string detail) = 0;
  /// Errors: InvalidArgument when descriptor `fd` is no channel. The process exits when U is gone
  /// and no new U takes over within 10 s (proxy and node go on serving meanwhile).
  static Result<std::unique_ptr<Bootstrap>> create(io::Loop& loop, Fd fd, Process self,
                                                   Handler handler);
};

}  // namespace knit::ipc
