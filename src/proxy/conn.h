// One non-blocking socket with buffers and, on top, optional server-side TLS. Bytes of a connection
// stay on one loop. Watermarks push back: input stops being read at kHigh, and whoever writes
// stops when pending() reaches kHigh until it falls below kLow.
#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "io/loop.h"
#include "proxy/tls.h"

namespace knit::proxy {

class Conn {
 public:
  static constexpr std::size_t kHigh = 64 * 1024;
  static constexpr std::size_t kLow = kHigh / 2;

  /// Told about every change: bytes in, room out, end, failure. Must not destroy the Conn inside.
  class Owner {
   public:
    virtual ~Owner() = default;
    virtual void on_conn(Conn& conn) = 0;
  };

  enum class Phase { Connecting, Peeking, Handshaking, Open };

  Conn(io::Loop& loop, Fd fd) : loop_(loop), fd_(std::move(fd)) {}
  ~Conn();
  Conn(const Conn&) = delete;
  Conn& operator=(const Conn&) = delete;

  /// The next owner is told about what happens from now on.
  void set_owner(Owner* owner) { owner_ = owner; }
  /// Starts watching; `phase` says how it begins. In Peeking nothing is read.
  void start(Phase phase);
  Phase phase() const { return phase_; }
  /// Up to 16 KiB of what waits in the socket, left there. Only in Peeking.
  std::string_view peek();
  /// Peeking → Handshaking: what was peeked is the ClientHello. When Open, tls_peer() is set.
  void start_tls(std::shared_ptr<TlsContext> context);
  /// Instead of start(): the connect failed at once; the owner is told on the next turn.
  void fail_connect(int error);
  /// Peeking → Open.
  void open();
  bool tls() const { return ssl_ != nullptr; }
  const Peer& tls_peer() const { return peer_; }

  std::string_view input() const { return std::string_view(in_).substr(in_begin_); }
  /// Takes bytes off; reading resumes below kLow.
  void consume(std::size_t n);
  /// The peer sent its end and all input was delivered up to it (input() may still hold bytes).
  bool eof() const { return eof_; }
  /// Reset, TLS error or write error: nothing more can be sent or received.
  bool failed() const { return failed_; }
  int error() const { return error_; }  // errno of a failed connect, or 0
  std::uint64_t received() const { return received_; }
  std::uint64_t sent() const { return sent_; }

  /// Appends; call flush() when the piece is complete, so that head and body leave together.
  void write(std::string_view data) { out_.append(data); }
  std::string& out() { return out_; }
  std::size_t pending() const { return out_.size() - out_begin_; }
  /// Sends what the socket takes. False when the connection failed.
  bool flush();
  /// After the pending bytes: close_notify and FIN.
  void finish_writing();
  bool writing_finished() const { return fin_sent_; }
  /// Closes with RST instead of FIN.
  void reset_on_close();
  /// Stops watching and gives the descriptor back (no TLS, nothing pending).
  Fd release();
  int fd() const { return fd_.get(); }
  io::Loop& loop() { return loop_; }

 private:
  void on_event(io::Ready ready);
  void fill();
  void handshake();
  void fail(int error);
  ssize_t raw_read(char* to, std::size_t n);

  io::Loop& loop_;
  Fd fd_;
  io::Loop::Watch watch_;
  Owner* owner_ = nullptr;
  Phase phase_ = Phase::Open;
  struct FreeSsl {
    void operator()(SSL* s) const { SSL_free(s); }
  };
  std::unique_ptr<SSL, FreeSsl> ssl_;
  std::shared_ptr<TlsContext> context_;
  Peer peer_;
  std::string in_, out_;
  std::size_t in_begin_ = 0, out_begin_ = 0;
  bool eof_ = false, failed_ = false, paused_ = false, fin_wanted_ = false, fin_sent_ = false;
  int error_ = 0;
  std::uint64_t received_ = 0, sent_ = 0;
  std::shared_ptr<int> alive_;  // for fail_connect
};

}  // namespace knit::proxy
