// Byte streams for coroutines: TCP, Unix and in-memory, TLS on top. The proxy's byte path does not
// use these (proxy/ has its own connections); API server, node, clients and commands do.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"
#include "io/loop.h"

namespace knit::io {

/// One reader and one writer at a time. Closing is destruction.
class Stream {
 public:
  virtual ~Stream() = default;
  /// Up to `max` bytes; an empty string is the end of the stream. Errors: Unavailable.
  virtual Task<Result<std::string>> read(std::size_t max) = 0;
  /// All of `data`. Errors: Unavailable.
  virtual Task<Result<void>> write(std::string data) = 0;
  /// Half-closes the sending side.
  virtual void shutdown_write() = 0;
  /// "127.0.0.1:1234" or "unix"; empty for in-memory streams.
  virtual std::string peer() const { return {}; }
  /// PEM of the verified client certificate's leaf, or empty (TLS servers only).
  virtual std::string peer_certificate() const { return {}; }
};

/// Wraps a connected, non-blocking stream socket.
std::unique_ptr<Stream> socket_stream(Loop& loop, Fd fd);
/// Two connected in-memory streams (tests; bounded at 64 KiB each way).
std::pair<std::unique_ptr<Stream>, std::unique_ptr<Stream>> memory_streams(Loop& loop);

struct Endpoint {
  std::string host;  // an IP literal
  std::uint16_t port = 0;
  bool operator==(const Endpoint&) const = default;
};
std::string to_string(const Endpoint& e);  // "1.2.3.4:80", "[::1]:80"

/// Errors: Unavailable (refused, unreachable), DeadlineExceeded.
Task<Result<std::unique_ptr<Stream>>> connect_tcp(Loop& loop, Endpoint to, Duration timeout);

/// Accepts until destroyed.
class Listener {
 public:
  virtual ~Listener() = default;
  virtual Endpoint local() const = 0;
  /// `on_connection` runs on the loop for each accepted connection.
  static Result<std::unique_ptr<Listener>> tcp(Loop& loop, const Endpoint& at,
                                               std::function<void(std::unique_ptr<Stream>)> on_connection);
  /// Takes over a bound, listening socket.
  static Result<std::unique_ptr<Listener>> adopt(Loop& loop, Fd fd,
                                                 std::function<void(std::unique_ptr<Stream>)> on_connection);
};

// ---- TLS (io/tls.cc; OpenSSL 3 through the subset that BoringSSL and AWS-LC share)

struct TlsServerConfig {
  std::string certificate_chain_pem;
  std::string private_key_pem;
  std::string client_ca_pem;  // non-empty: ask for (not require) a client certificate
};
struct TlsClientConfig {
  std::string ca_pem;                 // empty: no verification is possible, connect fails
  std::string server_name;            // SNI and the name that is verified
  std::string certificate_chain_pem;  // optional client certificate
  std::string private_key_pem;
  bool insecure_skip_verify = false;  // `insecure-skip-tls-verify` of a kubeconfig
};
/// Shared by all connections of one server; replace it to rotate certificates.
class TlsServerContext;
Result<std::shared_ptr<TlsServerContext>> tls_server_context(const TlsServerConfig& config);
class TlsClientContext;
Result<std::shared_ptr<TlsClientContext>> tls_client_context(const TlsClientConfig& config);
/// Performs the handshake (10 s at most). Errors: Unauthenticated, DeadlineExceeded, Unavailable.
Task<Result<std::unique_ptr<Stream>>> tls_accept(Loop& loop, std::unique_ptr<Stream> raw,
                                                 std::shared_ptr<TlsServerContext> context);
Task<Result<std::unique_ptr<Stream>>> tls_connect(Loop& loop, std::unique_ptr<Stream> raw,
                                                  std::shared_ptr<TlsClientContext> context);

}  // namespace knit::io
