// An HTTP/1.1 server of whole requests over io::Stream, one coroutine per connection. For the API
// server and other control traffic; the data plane has its own engine.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "http/message.h"
#include "io/loop.h"
#include "io/stream.h"

namespace knit::http {

struct ServerSettings {
  std::size_t max_connections = 1'000;
  std::size_t max_body = 3 << 20;
  std::size_t max_bodies = SIZE_MAX;  // of all requests together that are not answered; beyond: 503
  Duration head_timeout = std::chrono::seconds(10);  // from the first byte of a head to its end
  Duration body_timeout = std::chrono::seconds(60);
  Duration idle_timeout = std::chrono::seconds(180);  // between requests
  Duration write_timeout = std::chrono::seconds(60);  // a peer that reads nothing
};

/// What is known of a connection.
struct Peer {
  std::string address;      // "127.0.0.1:1234"; empty in memory
  std::string certificate;  // PEM of the verified client certificate, or empty
  std::string tag;          // what serve() was given
};

/// The answer to one request: send() once, or begin(), write()…, end().
class Responder {
 public:
  virtual ~Responder() = default;
  /// Errors of all: Unavailable when the peer is gone; the handler just returns.
  virtual io::Task<Result<void>> send(Response response) = 0;
  virtual io::Task<Result<void>> begin(int status, Headers headers) = 0;
  virtual io::Task<Result<void>> write(std::string data) = 0;
  virtual io::Task<Result<void>> end() = 0;
  /// Calls `gone` (posted) when the peer closes while a streamed answer is under way. After
  /// begin() only.
  virtual void on_close(std::function<void()> gone) = 0;
};

using Handler = std::function<io::Task<void>(Request request, Peer peer, Responder& responder)>;
/// Makes the answer to what never reaches the handler: malformed heads (400), bodies that are too
/// large (413), too many connections (429).
using ErrorAnswer = std::function<Response(int status, std::string_view text)>;

class Server {
 public:
  Server(io::Loop& loop, ServerSettings settings, Handler handler, ErrorAnswer error_answer);
  /// Cancels every connection.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// Serves requests until the peer closes or misbehaves. `tag` comes back in Peer.
  void serve(std::unique_ptr<io::Stream> stream, std::string tag = {});
  /// The same once `connecting` (a TLS handshake) has succeeded.
  void serve(io::Task<Result<std::unique_ptr<io::Stream>>> connecting, std::string tag = {});
  std::size_t connections() const;
  /// Closes idle connections, and the others after their current answer.
  void drain();

 private:
  struct Connection;
  struct State;
  class ResponderImpl;
  static io::Task<void> run(std::shared_ptr<State> state, Connection* c,
                            io::Task<Result<std::unique_ptr<io::Stream>>> connecting);
  static io::Task<Result<void>> drain_body(std::weak_ptr<State> weak, State* state, Connection* c);
  static io::Task<Result<void>> requests(std::weak_ptr<State> weak, State* state, Connection* c);
  void add(std::unique_ptr<io::Stream> stream,
           io::Task<Result<std::unique_ptr<io::Stream>>> connecting, std::string tag);

  std::shared_ptr<State> state_;
};

}  // namespace knit::http
