#include "io/stream.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace knit::io {
namespace {

/// Resumes one waiting coroutine when a condition becomes true; unregisters on destruction.
struct Waiter {
  std::coroutine_handle<> handle;
  void wake() {
    if (auto h = std::exchange(handle, nullptr)) h.resume();
  }
};
struct WaitFor {
  Waiter* waiter;
  const bool* ready;
  bool registered = false;
  WaitFor(Waiter* w, const bool* r) : waiter(w), ready(r) {}
  WaitFor(const WaitFor&) = delete;
  WaitFor& operator=(const WaitFor&) = delete;
  ~WaitFor() {
    if (registered) waiter->handle = nullptr;
  }
  bool await_ready() const { return *ready; }
  void await_suspend(std::coroutine_handle<> h) {
    KNIT_CHECK(!waiter->handle);
    waiter->handle = h;
    registered = true;
  }
  void await_resume() { registered = false; }
};

std::string describe_peer(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return {};
  char text[INET6_ADDRSTRLEN] = {};
  if (address.ss_family == AF_INET) {
    const auto* in = reinterpret_cast<const sockaddr_in*>(&address);
    inet_ntop(AF_INET, &in->sin_addr, text, sizeof text);
    return to_string(Endpoint{text, ntohs(in->sin_port)});
  }
  if (address.ss_family == AF_INET6) {
    const auto* in = reinterpret_cast<const sockaddr_in6*>(&address);
    inet_ntop(AF_INET6, &in->sin6_addr, text, sizeof text);
    return to_string(Endpoint{text, ntohs(in->sin6_port)});
  }
  return "unix";
}

class SocketStream final : public Stream {
 public:
  SocketStream(Loop& loop, Fd fd) : fd_(std::move(fd)) {
    watch_ = loop.watch(fd_.get(), Loop::Sharing::Sole, [this](Ready ready) {
      // Waking a coroutine may destroy this stream: decide first, touch nothing afterwards.
      const bool wake_reader = ready.readable || ready.hangup;
      const bool wake_writer = ready.writable || ready.hangup;
      if (wake_reader) readable_ = true;
      if (wake_writer) writable_ = true;
      const std::weak_ptr<int> alive = alive_;
      if (wake_reader) read_waiter_.wake();
      if (wake_writer && !alive.expired()) write_waiter_.wake();
    });
  }

  Task<Result<std::string>> read(std::size_t max) override {
    while (true) {
      // One buffer for all: who waits for a peer holds no memory for it.
      static thread_local std::array<char, 64 << 10> buffer;
      const ssize_t n = ::recv(fd_.get(), buffer.data(), std::min(max, buffer.size()), 0);
      if (n >= 0) co_return std::string(buffer.data(), static_cast<std::size_t>(n));
      if (errno == EINTR) continue;
      if (errno != EAGAIN) co_return errno_error("read", errno);
      readable_ = false;
      co_await WaitFor(&read_waiter_, &readable_);
    }
  }

  Task<Result<void>> write(std::string data) override {
    std::size_t done = 0;
    while (done < data.size()) {
      const ssize_t n = ::send(fd_.get(), data.data() + done, data.size() - done, MSG_NOSIGNAL);
      if (n >= 0) {
        done += static_cast<std::size_t>(n);
        continue;
      }
      if (errno == EINTR) continue;
      if (errno != EAGAIN) co_return errno_error("write", errno);
      writable_ = false;
      co_await WaitFor(&write_waiter_, &writable_);
    }
    co_return Result<void>();
  }

  void shutdown_write() override { ::shutdown(fd_.get(), SHUT_WR); }
  std::string peer() const override { return describe_peer(fd_.get()); }

 private:
  Fd fd_;
  bool readable_ = true;
  bool writable_ = true;
  Waiter read_waiter_;
  Waiter write_waiter_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
  Loop::Watch watch_;
};

struct Pipe {
  std::string data;
  bool closed = false;
  bool readable = false;
  bool writable = true;
  Waiter reader;
  Waiter writer;
  static constexpr std::size_t kCapacity = 64 << 10;
};

class MemoryStream final : public Stream {
 public:
  MemoryStream(Loop& loop, std::shared_ptr<Pipe> in, std::shared_ptr<Pipe> out)
      : loop_(loop), in_(std::move(in)), out_(std::move(out)) {}
  ~MemoryStream() override {
    close(out_);
    close(in_);
  }
  Task<Result<std::string>> read(std::size_t max) override {
    const auto pipe = in_;
    while (pipe->data.empty() && !pipe->closed) {
      pipe->readable = false;
      co_await WaitFor(&pipe->reader, &pipe->readable);
    }
    std::string out = pipe->data.substr(0, max);
    pipe->data.erase(0, out.size());
    pipe->writable = true;
    loop_.post([pipe] { pipe->writer.wake(); });
    co_return out;
  }
  Task<Result<void>> write(std::string data) override {
    const auto pipe = out_;
    std::size_t done = 0;
    while (done < data.size()) {
      if (pipe->closed) co_return Error(Code::Unavailable, "write: the peer closed the stream");
      if (pipe->data.size() >= Pipe::kCapacity) {
        pipe->writable = false;
        co_await WaitFor(&pipe->writer, &pipe->writable);
        continue;
      }
      const std::size_t n = std::min(data.size() - done, Pipe::kCapacity - pipe->data.size());
      pipe->data.append(data, done, n);
      done += n;
      pipe->readable = true;
      loop_.post([pipe] { pipe->reader.wake(); });
    }
    co_return Result<void>();
  }
  void shutdown_write() override { close(out_); }

 private:
  void close(const std::shared_ptr<Pipe>& pipe) {
    pipe->closed = true;
    pipe->readable = true;
    pipe->writable = true;
    loop_.post([pipe] {
      pipe->reader.wake();
      pipe->writer.wake();
    });
  }
  Loop& loop_;
  std::shared_ptr<Pipe> in_;
  std::shared_ptr<Pipe> out_;
};

Result<std::pair<sockaddr_storage, socklen_t>> socket_address(const Endpoint& e) {
  sockaddr_storage storage{};
  auto* v4 = reinterpret_cast<sockaddr_in*>(&storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
  if (inet_pton(AF_INET, e.host.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(e.port);
    return std::pair{storage, static_cast<socklen_t>(sizeof(sockaddr_in))};
  }
  if (inet_pton(AF_INET6, e.host.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(e.port);
    return std::pair{storage, static_cast<socklen_t>(sizeof(sockaddr_in6))};
  }
  return Error(Code::InvalidArgument, "\"" + e.host + "\" is not an IP address");
}

class SocketListener final : public Listener {
 public:
  SocketListener(Loop& loop, Fd fd, std::function<void(std::unique_ptr<Stream>)> on_connection)
      : loop_(loop), fd_(std::move(fd)), on_connection_(std::move(on_connection)) {
    watch_ = loop.watch(fd_.get(), Loop::Sharing::Exclusive, [this](Ready) { accept_all(); });
  }
  Endpoint local() const override {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&address), &size);
    char text[INET6_ADDRSTRLEN] = {};
    if (address.ss_family == AF_INET6) {
      const auto* in = reinterpret_cast<const sockaddr_in6*>(&address);
      inet_ntop(AF_INET6, &in->sin6_addr, text, sizeof text);
      return {text, ntohs(in->sin6_port)};
    }
    const auto* in = reinterpret_cast<const sockaddr_in*>(&address);
    inet_ntop(AF_INET, &in->sin_addr, text, sizeof text);
    return {text, ntohs(in->sin_port)};
  }

 private:
  void accept_all() {
    for (int i = 0; i < 64; ++i) {
      Fd connection(accept4(fd_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!connection) return;
      const int one = 1;
      setsockopt(connection.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
      on_connection_(socket_stream(loop_, std::move(connection)));
    }
  }
  Loop& loop_;
  Fd fd_;
  std::function<void(std::unique_ptr<Stream>)> on_connection_;
  Loop::Watch watch_;
};

}  // namespace

std::string to_string(const Endpoint& e) {
  const std::string port = std::to_string(e.port);
  return e.host.find(':') == std::string::npos ? e.host + ":" + port : "[" + e.host + "]:" + port;
}

std::unique_ptr<Stream> socket_stream(Loop& loop, Fd fd) {
  return std::make_unique<SocketStream>(loop, std::move(fd));
}

std::pair<std::unique_ptr<Stream>, std::unique_ptr<Stream>> memory_streams(Loop& loop) {
  auto a = std::make_shared<Pipe>();
  auto b = std::make_shared<Pipe>();
  return {std::make_unique<MemoryStream>(loop, a, b), std::make_unique<MemoryStream>(loop, b, a)};
}

Task<Result<std::unique_ptr<Stream>>> connect_tcp(Loop& loop, Endpoint to, Duration timeout) {
  KNIT_CO_TRY(const auto address, socket_address(to));
  Fd fd(socket(address.first.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) co_return errno_error("socket", errno);
  const int one = 1;
  setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  const std::string what = "connect to " + to_string(to);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address.first), address.second) != 0) {
    if (errno != EINPROGRESS) co_return errno_error(what, errno);
    Event done;
    bool timed_out = false;
    const auto watch = loop.watch(fd.get(), Loop::Sharing::Sole, [&done](Ready r) {
      if (r.writable || r.hangup) done.set();
    });
    const auto timer = loop.after(timeout, [&done, &timed_out] {
      timed_out = true;
      done.set();
    });
    co_await done;
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) co_return errno_error(what, error);
    if (timed_out) co_return Error(Code::DeadlineExceeded, what + ": timed out");
  }
  co_return socket_stream(loop, std::move(fd));
}

Result<std::unique_ptr<Listener>> Listener::adopt(
    Loop& loop, Fd fd, std::function<void(std::unique_ptr<Stream>)> on_connection) {
  const int flags = fcntl(fd.get(), F_GETFL);
  if (flags < 0 || fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK) != 0) {
    return errno_error("fcntl", errno);
  }
  return std::unique_ptr<Listener>(
      std::make_unique<SocketListener>(loop, std::move(fd), std::move(on_connection)));
}

Result<std::unique_ptr<Listener>> Listener::tcp(
    Loop& loop, const Endpoint& at, std::function<void(std::unique_ptr<Stream>)> on_connection) {
  KNIT_TRY(const auto address, socket_address(at));
  Fd fd(socket(address.first.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return errno_error("socket", errno);
  const int one = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address.first), address.second) != 0) {
    return errno_error("listen on " + to_string(at), errno);
  }
  if (listen(fd.get(), 1024) != 0) return errno_error("listen on " + to_string(at), errno);
  return adopt(loop, std::move(fd), std::move(on_connection));
}

}  // namespace knit::io
