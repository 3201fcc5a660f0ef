#include "ipc/frame.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstring>

namespace knit::ipc {
namespace {

template <class T>
void put(std::string& out, T v) {
  for (std::size_t i = 0; i < sizeof v; ++i) out += static_cast<char>((v >> (8 * i)) & 0xff);
}
template <class T>
T get(std::string_view in, std::size_t at) {
  std::uint64_t v = 0;
  for (std::size_t i = sizeof(T); i-- > 0;) {
    v = (v << 8) | static_cast<unsigned char>(in[at + i]);
  }
  return static_cast<T>(v);
}

constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

Error malformed(std::string text) { return {Code::InvalidArgument, std::move(text)}; }

}  // namespace

std::string encode_header(const Header& h) {
  std::string out;
  out.reserve(kHeaderSize);
  put(out, h.type);
  put(out, h.version);
  put(out, h.length);
  put(out, h.sequence);
  return out;
}

Result<Header> decode_header(std::string_view packet, std::size_t fds) {
  if (packet.size() < kHeaderSize) return malformed("frame is shorter than its header");
  Header h;
  h.type = get<std::uint16_t>(packet, 0);
  h.version = get<std::uint16_t>(packet, 2);
  h.length = get<std::uint32_t>(packet, 4);
  h.sequence = get<std::uint64_t>(packet, 8);
  const std::size_t inline_size = packet.size() - kHeaderSize;
  if (fds > kMaxFds + 1) return malformed("frame carries too many descriptors");
  if ((h.version & ~kMemfdBit) == 0) return malformed("frame has no version");
  if ((h.version & kMemfdBit) != 0) {
    if (fds == 0) return malformed("frame names a memfd but carries no descriptor");
    if (inline_size != 0) return malformed("frame has a memfd and an inline body");
    if (h.length > kMaxBody) return malformed("frame body is larger than 64 MiB");
  } else {
    if (fds > kMaxFds) return malformed("frame carries too many descriptors");
    if (h.length > kMaxInline || h.length != inline_size) {
      return malformed("frame length does not match its body");
    }
  }
  return h;
}

Result<Fd> sealed_memfd(const char* name, std::string_view bytes) {
  Fd fd(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return errno_error("memfd_create", errno);
  for (std::string_view rest = bytes; !rest.empty();) {
    const ssize_t n = ::write(fd.get(), rest.data(), rest.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return errno_error("write memfd", errno);
    rest.remove_prefix(static_cast<std::size_t>(n));
  }
  if (fcntl(fd.get(), F_ADD_SEALS, kSeals | F_SEAL_SEAL) != 0) {
    return errno_error("seal memfd", errno);
  }
  return fd;
}

Result<std::string> read_sealed(int fd, std::size_t max) {
  const int seals = fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & kSeals) != kSeals) return malformed("descriptor is no sealed memfd");
  struct stat st{};
  if (fstat(fd, &st) != 0) return errno_error("fstat memfd", errno);
  const auto size = static_cast<std::size_t>(st.st_size);
  if (st.st_size < 0 || size > max) return malformed("sealed memfd is too large");
  std::string out(size, '\0');
  for (std::size_t at = 0; at < size;) {
    const ssize_t n = pread(fd, out.data() + at, size - at, static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return malformed("sealed memfd cannot be read");
    at += static_cast<std::size_t>(n);
  }
  return out;
}

std::size_t Outbox::cost(const Item& item) {
  return kHeaderSize + item.body.size() + 16 * item.fds.size();
}

std::uint64_t Outbox::push(MessageType type, std::string body, std::vector<Fd> fds,
                           std::string_view state_key) {
  if (fds.size() > kMaxFds || body.size() > kMaxBody) return 0;
  Item item;
  item.header.type = static_cast<std::uint16_t>(type);
  item.header.length = static_cast<std::uint32_t>(body.size());
  item.fds = std::move(fds);
  item.state_key = std::string(state_key);
  if (body.size() > kMaxInline) {
    item.held = body.size();
    auto memfd = sealed_memfd("knit-frame", body);
    if (!memfd) return 0;
    item.header.version |= kMemfdBit;
    item.fds.push_back(std::move(memfd).value());
  } else {
    item.body = std::move(body);
  }
  if (!state_key.empty()) {
    for (auto it = items_.begin(); it != items_.end(); ++it) {
      if (it->header.type != item.header.type || it->state_key != state_key) continue;
      bytes_ -= cost(*it);
      held_ -= it->held;
      items_.erase(it);  // the new value takes the place at the end: later frames were sent earlier
      break;
    }
  }
  if (bytes_ + cost(item) > kMaxQueue || held_ + item.held > kMaxQueuedMemfd) return 0;
  item.header.sequence = next_++;
  bytes_ += cost(item);
  held_ += item.held;
  items_.push_back(std::move(item));
  return next_ - 1;
}

void Outbox::pop() {
  bytes_ -= cost(items_.front());
  held_ -= items_.front().held;
  items_.pop_front();
}

Outbox::Item Outbox::take() {
  bytes_ -= cost(items_.front());
  held_ -= items_.front().held;
  Item out = std::move(items_.front());
  items_.pop_front();
  return out;
}

Result<Link> Link::adopt(Fd socket) {
  int type = 0;
  int domain = 0;
  socklen_t size = sizeof type;
  if (getsockopt(socket.get(), SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_SEQPACKET) {
    return malformed("descriptor is no SEQPACKET socket");
  }
  size = sizeof domain;
  if (getsockopt(socket.get(), SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0 || domain != AF_UNIX) {
    return malformed("descriptor is no Unix socket");
  }
  const int flags = fcntl(socket.get(), F_GETFL);
  if (flags < 0 || fcntl(socket.get(), F_SETFL, flags | O_NONBLOCK) != 0 ||
      fcntl(socket.get(), F_SETFD, FD_CLOEXEC) != 0) {
    return errno_error("fcntl channel", errno);
  }
  return Link(std::move(socket));
}

Result<std::pair<Fd, Fd>> Link::pair() {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) != 0) {
    return errno_error("socketpair", errno);
  }
  return std::pair<Fd, Fd>(Fd(fds[0]), Fd(fds[1]));
}

void Link::fail(std::string why) {
  if (broken_) return;
  broken_ = true;
  why_ = std::move(why);
  ::shutdown(socket_.get(), SHUT_RDWR);
}

std::uint64_t Link::send(MessageType type, std::string body, std::vector<Fd> fds,
                         std::string_view state_key) {
  if (broken_) return 0;
  const std::uint64_t sequence = out_.push(type, std::move(body), std::move(fds), state_key);
  if (sequence == 0) {
    fail("the queue to the peer is full");
    return 0;
  }
  return flush() ? sequence : 0;
}

bool Link::flush() {
  while (!broken_ && !out_.empty()) {
    if (deaf_) {
      out_.pop();
      continue;
    }
    Outbox::Item& item = out_.front();
    std::string head = encode_header(item.header);
    iovec parts[2] = {{head.data(), head.size()}, {item.body.data(), item.body.size()}};
    msghdr message{};
    message.msg_iov = parts;
    message.msg_iovlen = item.body.empty() ? 1 : 2;
    alignas(cmsghdr) char control[CMSG_SPACE((kMaxFds + 1) * sizeof(int))];
    if (!item.fds.empty()) {
      const std::size_t size = item.fds.size() * sizeof(int);
      message.msg_control = control;
      message.msg_controllen = CMSG_SPACE(size);
      std::memset(control, 0, message.msg_controllen);
      cmsghdr* c = CMSG_FIRSTHDR(&message);
      c->cmsg_level = SOL_SOCKET;
      c->cmsg_type = SCM_RIGHTS;
      c->cmsg_len = CMSG_LEN(size);
      for (std::size_t i = 0; i < item.fds.size(); ++i) {
        const int fd = item.fds[i].get();
        std::memcpy(CMSG_DATA(c) + i * sizeof(int), &fd, sizeof fd);
      }
    }
    const ssize_t n = sendmsg(socket_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0) {
      if (errno == EINTR) continue;
      // ETOOMANYREFS: too many descriptors in flight; the peer's next read makes room.
      if (errno == EAGAIN || errno == ENOBUFS || errno == ETOOMANYREFS) return true;
      if (errno == EPIPE || errno == ECONNRESET) {  // what it sent before it ended is still read
        deaf_ = true;
        continue;
      }
      fail(std::string("send: ") + std::strerror(errno));
      return false;
    }
    out_.pop();
  }
  return !broken_;
}

std::optional<Frame> Link::receive() {
  while (!broken_) {
    static thread_local char buffer[kHeaderSize + kMaxInline];
    iovec part{buffer, sizeof buffer};
    alignas(cmsghdr) char control[CMSG_SPACE((kMaxFds + 3) * sizeof(int))];
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    const ssize_t n = recvmsg(socket_.get(), &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (n < 0) {
      if (errno == EINTR || errno == ECONNRESET) continue;  // a reset is told once, data follows
      if (errno != EAGAIN) fail(std::string("receive: ") + std::strerror(errno));
      return std::nullopt;
    }
    Frame frame;
    for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
      if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
      const std::size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (std::size_t i = 0; i < count; ++i) {
        int fd = -1;
        std::memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof fd);
        frame.fds.emplace_back(fd);
      }
    }
    if (n == 0) {
      fail("the peer closed the channel");
      return std::nullopt;
    }
    if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
      fail("a frame was truncated");
      return std::nullopt;
    }
    const std::string_view packet(buffer, static_cast<std::size_t>(n));
    auto header = decode_header(packet, frame.fds.size());
    if (!header) {
      fail(header.error().message());
      return std::nullopt;
    }
    frame.type = static_cast<MessageType>(header->type);
    frame.sequence = header->sequence;
    if (to_string(frame.type).empty()) {
      ++skipped_;
      continue;
    }
    if ((header->version & kMemfdBit) != 0) {
      auto body = read_sealed(frame.fds.back().get(), kMaxBody);
      if (!body || body->size() != header->length) {
        fail(body ? "a memfd's size is not the frame's length" : body.error().message());
        return std::nullopt;
      }
      frame.body = std::move(body).value();
      frame.fds.pop_back();
    } else {
      frame.body = packet.substr(kHeaderSize);
    }
    return frame;
  }
  return std::nullopt;
}

}  // namespace knit::ipc
