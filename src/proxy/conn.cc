#include "proxy/conn.h"

#include <openssl/err.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace knit::proxy {
namespace {
constexpr std::size_t kReadSize = 64 * 1024;
constexpr std::size_t kPeekSize = 16 * 1024;
/// One scratch per worker thread: connections own no read buffers.
char* scratch() {
  thread_local std::array<char, kReadSize> buffer;
  return buffer.data();
}
}  // namespace

Conn::~Conn() { watch_.reset(); }

void Conn::start(Phase phase) {
  phase_ = phase;
  watch_ = loop_.watch(fd_.get(), io::Loop::Sharing::Sole, [this](io::Ready r) { on_event(r); });
}

void Conn::on_event(io::Ready ready) {
  switch (phase_) {
    case Phase::Connecting: {
      if (!ready.writable && !ready.hangup) return;
      int error = 0;
      socklen_t size = sizeof error;
      if (getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
      if (error != 0) {
        fail(error);
      } else {
        phase_ = Phase::Open;
        flush();
      }
      break;
    }
    case Phase::Peeking:
      break;
    case Phase::Handshaking:
      handshake();
      break;
    case Phase::Open:
      fill();
      if (pending() > 0 || fin_wanted_) flush();
      break;
  }
  if (owner_) owner_->on_conn(*this);
}

std::string_view Conn::peek() {
  const ssize_t n = recv(fd_.get(), scratch(), kPeekSize, MSG_PEEK | MSG_DONTWAIT);
  if (n > 0) return {scratch(), static_cast<std::size_t>(n)};
  if (n == 0) {
    eof_ = true;
  } else if (errno != EAGAIN && errno != EINTR) {
    fail(errno);
  }
  return {};
}

void Conn::fail_connect(int error) {
  phase_ = Phase::Connecting;
  fail(error);
  alive_ = std::make_shared<int>(0);
  loop_.post([this, alive = std::weak_ptr(alive_)] {
    if (!alive.expired() && owner_) owner_->on_conn(*this);
  });
}

void Conn::open() {
  phase_ = Phase::Open;
  fill();
}

void Conn::start_tls(std::shared_ptr<TlsContext> context) {
  context_ = std::move(context);
  ssl_.reset(SSL_new(context_->get()));
  SSL_set_fd(ssl_.get(), fd_.get());
  SSL_set_accept_state(ssl_.get());
  phase_ = Phase::Handshaking;
  handshake();
}

void Conn::handshake() {
  if (failed_) return;
  ERR_clear_error();
  const int r = SSL_do_handshake(ssl_.get());
  if (r == 1) {
    phase_ = Phase::Open;
    peer_ = peer_of(ssl_.get());
    fill();
    return;
  }
  const int e = SSL_get_error(ssl_.get(), r);
  if (e != SSL_ERROR_WANT_READ && e != SSL_ERROR_WANT_WRITE) fail(EPROTO);
}

void Conn::fail(int error) {
  if (failed_) return;
  failed_ = true;
  error_ = error;
  eof_ = true;
  ERR_clear_error();
}

ssize_t Conn::raw_read(char* to, std::size_t n) {
  if (!ssl_) {
    while (true) {
      const ssize_t r = ::recv(fd_.get(), to, n, 0);
      if (r >= 0) return r;
      if (errno == EINTR) continue;
      return errno == EAGAIN ? -1 : -2;
    }
  }
  ERR_clear_error();
  errno = 0;
  const int r = SSL_read(ssl_.get(), to, static_cast<int>(n));
  if (r > 0) return r;
  switch (SSL_get_error(ssl_.get(), r)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
      return -1;
    case SSL_ERROR_ZERO_RETURN:
      return 0;
    default:
      return -2;  // also a FIN without close_notify: truncation
  }
}

void Conn::fill() {
  if (phase_ != Phase::Open) return;
  while (!eof_ && !failed_) {
    if (in_.size() - in_begin_ >= kHigh) {
      paused_ = true;
      return;
    }
    const ssize_t n = raw_read(scratch(), kReadSize);
    if (n == -1) return;
    if (n == -2) return fail(errno != 0 ? errno : EPROTO);
    if (n == 0) {
      eof_ = true;
      return;
    }
    in_.append(scratch(), static_cast<std::size_t>(n));
    received_ += static_cast<std::uint64_t>(n);
  }
}

void Conn::consume(std::size_t n) {
  in_begin_ += n;
  if (in_begin_ == in_.size()) {
    in_.clear();
    in_begin_ = 0;
    if (in_.capacity() > 4 * kHigh) in_.shrink_to_fit();
  } else if (in_begin_ > kHigh) {
    in_.erase(0, in_begin_);
    in_begin_ = 0;
  }
  if (paused_ && in_.size() - in_begin_ < kLow) {
    paused_ = false;
    fill();
  }
}

bool Conn::flush() {
  if (failed_) return false;
  if (phase_ != Phase::Open) return true;
  while (pending() > 0) {
    const char* from = out_.data() + out_begin_;
    ssize_t n = 0;
    if (ssl_) {
      ERR_clear_error();
      errno = 0;
      const int r =
          SSL_write(ssl_.get(), from, static_cast<int>(std::min<std::size_t>(pending(), 1 << 20)));
      if (r <= 0) {
        const int e = SSL_get_error(ssl_.get(), r);
        if (e == SSL_ERROR_WANT_WRITE || e == SSL_ERROR_WANT_READ) return true;
        fail(errno != 0 ? errno : EPROTO);
        return false;
      }
      n = r;
    } else {
      n = ::send(fd_.get(), from, pending(), MSG_NOSIGNAL);
      if (n < 0) {
        if (errno == EINTR) continue;
        if (errno == EAGAIN) return true;
        const int error = errno;
        fill();  // an early answer may wait behind the reset
        fail(error);
        return false;
      }
    }
    out_begin_ += static_cast<std::size_t>(n);
    sent_ += static_cast<std::uint64_t>(n);
  }
  out_.clear();
  out_begin_ = 0;
  if (out_.capacity() > 4 * kHigh) out_.shrink_to_fit();
  if (fin_wanted_ && !fin_sent_) {
    fin_sent_ = true;
    if (ssl_) {
      ERR_clear_error();
      SSL_shutdown(ssl_.get());
      ERR_clear_error();
    }
    ::shutdown(fd_.get(), SHUT_WR);
  }
  return true;
}

void Conn::finish_writing() {
  fin_wanted_ = true;
  flush();
}

void Conn::reset_on_close() {
  const linger l{1, 0};
  setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &l, sizeof l);
}

Fd Conn::release() {
  watch_.reset();
  owner_ = nullptr;
  return std::move(fd_);
}

}  // namespace knit::proxy
