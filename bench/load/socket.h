// One non-blocking connection, plain or TLS.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <memory>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"
#include "load/options.h"

struct ssl_ctx_st;
struct ssl_st;

namespace knit::load {

/// Where connections go, and the TLS context that they share.
struct Target {
  sockaddr_storage address{};
  socklen_t length = 0;
  std::shared_ptr<ssl_ctx_st> tls;  // null: plain
  std::string sni;
};

/// Resolves the address and loads the certificates.
Result<Target> target_of(const Options& options);

/// What an operation came to.
struct Outcome {
  enum class Kind { Done, Wait, Closed, Failed };
  Kind kind = Kind::Done;
  std::size_t bytes = 0;
  std::string error;  // of Failed: "reset", "refused", "tls: …"
};

class Socket {
 public:
  Socket();
  ~Socket();
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  /// Begins to connect; `fd()` is then to be watched, edge-triggered, for both directions.
  Outcome connect(const Target& target);
  /// Goes on after an event, until Done: ready for a request.
  Outcome establish();
  Outcome write(std::string_view bytes);
  Outcome read(char* into, std::size_t room);
  /// The peer has ended an idle connection (or sent what nobody asked for).
  bool stale();
  void close();
  int fd() const { return fd_.get(); }
  explicit operator bool() const { return static_cast<bool>(fd_); }

 private:
  Outcome tls_outcome(int result);
  struct Free {
    void operator()(ssl_st* ssl) const;
  };

  Fd fd_;
  std::unique_ptr<ssl_st, Free> ssl_;
  bool connected_ = false;
};

}  // namespace knit::load
