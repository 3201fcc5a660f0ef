// An HTTP/1.1 client over io::Stream: whole answers, or an answer read as it comes.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "http/message.h"
#include "io/loop.h"
#include "io/stream.h"

namespace knit::http {

/// Makes a connection to the one peer of a client.
using Connector = std::function<io::Task<Result<std::unique_ptr<io::Stream>>>()>;

struct ClientSettings {
  std::string host;                 // of the Host field
  std::size_t max_body = 64 << 20;  // of a whole answer
  std::size_t max_idle = 4;         // connections kept
  Duration connect_timeout = std::chrono::seconds(10);
  Duration timeout = std::chrono::seconds(60);  // of a whole exchange, and of a streamed head
};

/// An answer whose body is read piece by piece. Destroying it closes the connection.
class ResponseStream {
 public:
  virtual ~ResponseStream() = default;
  virtual int status() const = 0;
  virtual const Headers& headers() const = 0;
  /// The next bytes; empty at the end. Errors: Unavailable.
  virtual io::Task<Result<std::string>> read() = 0;
};

/// On one loop. Destroy it after the tasks that it gave.
class Client {
 public:
  Client(io::Loop& loop, Connector connector, ClientSettings settings);
  ~Client();

  /// A request that met a kept connection which had gone is sent once more on a new one.
  io::Task<Result<Response>> send(Request request);
  io::Task<Result<std::unique_ptr<ResponseStream>>> open(Request request);

 private:
  struct Connection;
  class StreamImpl;
  io::Task<Result<std::unique_ptr<Connection>>> exchange(Request request);
  static io::Task<Result<bool>> exchange_on(Connection* c, std::string head_and_body,
                                            std::string method);
  io::Task<Result<Response>> send_now(Request request);

  io::Loop& loop_;
  Connector connector_;
  ClientSettings settings_;
  std::vector<std::unique_ptr<Connection>> idle_;
};

}  // namespace knit::http
