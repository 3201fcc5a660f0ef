// One frame on a SOCK_SEQPACKET socket, without an event loop: what the supervisor and Channel
// share. Whatever arrives is treated as hostile: sizes, seals, descriptor counts and truncation are
// checked before anything is handed on.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "ipc/messages.h"

namespace knit::ipc {

inline constexpr std::size_t kHeaderSize = 16;
inline constexpr std::size_t kMaxInline = 64 << 10;  // larger bodies travel in a memfd
inline constexpr std::size_t kMaxBody = 64 << 20;    // in a memfd
inline constexpr std::size_t kMaxQueue = 1 << 20;    // unsent bytes, past it the channel closes
inline constexpr std::size_t kMaxQueuedMemfd = 128 << 20;  // unsent bytes held in memfds
inline constexpr std::size_t kMaxFds = 250;
inline constexpr std::uint16_t kVersion = 1;
inline constexpr std::uint16_t kMemfdBit = 0x8000;

struct Header {
  std::uint16_t type = 0;
  std::uint16_t version = kVersion;  // with kMemfdBit when the last descriptor holds the body
  std::uint32_t length = 0;          // of the body, wherever it is
  std::uint64_t sequence = 0;
};
std::string encode_header(const Header& h);
/// Checks `packet` (header and inline body) against `fds`, the number of descriptors that came
/// with it. Errors: InvalidArgument.
Result<Header> decode_header(std::string_view packet, std::size_t fds);

struct Frame {
  MessageType type{};
  std::uint64_t sequence = 0;
  std::string body;
  std::vector<Fd> fds;
};

/// A sealed memfd with these bytes. Errors: of the system (ResourceExhausted).
Result<Fd> sealed_memfd(const char* name, std::string_view bytes);
/// Reads a memfd that carries the seals shrink, grow and write, at most `max` bytes.
Result<std::string> read_sealed(int fd, std::size_t max);

/// A bounded queue of frames to send; state frames replace their predecessor of the same key.
class Outbox {
 public:
  struct Item {
    Header header;
    std::string body;     // inline only
    std::vector<Fd> fds;  // with the memfd last, if there is one
    std::string state_key;
    std::size_t held = 0;  // bytes of its memfd
  };
  /// Returns the sequence number, or 0 when the frame is too big or a bound is passed.
  std::uint64_t push(MessageType type, std::string body, std::vector<Fd> fds,
                     std::string_view state_key = {});
  bool empty() const { return items_.empty(); }
  Item& front() { return items_.front(); }
  void pop();
  Item take();  // front() and pop(), counted before it is moved
  std::size_t bytes() const { return bytes_; }

 private:
  static std::size_t cost(const Item& item);
  std::deque<Item> items_;
  std::size_t bytes_ = 0;
  std::size_t held_ = 0;
  std::uint64_t next_ = 1;
};

/// A connected, non-blocking SEQPACKET socket with its outbox.
class Link {
 public:
  /// Errors: InvalidArgument when `socket` is not a connected Unix SEQPACKET socket.
  static Result<Link> adopt(Fd socket);
  static Result<std::pair<Fd, Fd>> pair();

  int fd() const { return socket_.get(); }
  Fd take_socket() && { return std::move(socket_); }
  /// Queues and tries to send. 0 when a bound is passed: the link is then broken.
  std::uint64_t send(MessageType type, std::string body, std::vector<Fd> fds,
                     std::string_view state_key = {});
  template <class M>
  std::uint64_t send(const M& m, std::vector<Fd> fds = {}) {
    return send(M::kType, codec::encode(m), std::move(fds));
  }
  /// Sends what the socket takes. False when the link is broken.
  bool flush();
  bool wants_write() const { return !out_.empty(); }
  bool broken() const { return broken_; }

  /// One frame; nullopt when there is none now, or when the link ended (broken() tells).
  std::optional<Frame> receive();
  /// Why it broke, for the log.
  const std::string& why() const { return why_; }
  std::uint64_t skipped() const { return skipped_; }

 private:
  explicit Link(Fd socket) : socket_(std::move(socket)) {}
  void fail(std::string why);
  Fd socket_;
  Outbox out_;
  bool broken_ = false;
  bool deaf_ = false;  // the peer reads no more
  std::string why_;
  std::uint64_t skipped_ = 0;
};

}  // namespace knit::ipc
