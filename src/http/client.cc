#include "http/client.h"

#include "http/h1.h"
#include "http/timeout.h"

namespace knit::http {
namespace {

constexpr std::size_t kReadSize = 64 << 10;

std::string print_request(const Request& request, const std::string& host) {
  std::string target = url_encode_path(request.path);
  if (const std::string query = request.query.print(); !query.empty()) target += "?" + query;
  std::string out;
  h1::write_request_line(out, request.method, target);
  if (!request.headers.has("Host")) h1::write_field(out, "Host", host);
  for (const auto& [name, value] : request.headers.fields()) h1::write_field(out, name, value);
  if (!request.body.empty() || request.method == "POST" || request.method == "PUT" ||
      request.method == "PATCH") {
    h1::write_field(out, "Content-Length", std::uint64_t{request.body.size()});
  }
  h1::write_end_of_head(out);
  return out + request.body;
}

}  // namespace

struct Client::Connection {
  std::unique_ptr<io::Stream> stream;
  h1::Parser parser{h1::Parser::Kind::Response};
  std::string input;
  bool used = false;      // has carried an exchange before
  bool any_byte = false;  // of the current answer
  bool keep_alive = false;
  bool complete = false;
  int status = 0;
  Headers headers;

  /// The next piece of the body; empty when the message is complete.
  static io::Task<Result<std::string>> next(Connection* c) {
    while (!c->complete) {
      const h1::Parser::Step step = c->parser.next(c->input);
      std::string data(step.data);
      c->input.erase(0, step.used);
      switch (step.event) {
        case h1::Parser::Event::Data:
          co_return data;
        case h1::Parser::Event::End:
          c->complete = true;
          break;
        case h1::Parser::Event::NeedMore: {
          auto more = co_await c->stream->read(kReadSize);
          if (!more) co_return std::move(more).error();
          if (more->empty()) {
            if (c->parser.finish().event != h1::Parser::Event::End) {
              co_return Error(Code::Unavailable, "the peer closed inside an answer");
            }
            c->complete = true;
            c->keep_alive = false;
          } else {
            c->input = std::move(*more);
          }
          break;
        }
        case h1::Parser::Event::Head:
        case h1::Parser::Event::Error:
          co_return Error(Code::Unavailable,
                          std::string("malformed answer: ") + c->parser.error().text);
      }
    }
    co_return std::string();
  }
};

Client::Client(io::Loop& loop, Connector connector, ClientSettings settings)
    : loop_(loop), connector_(std::move(connector)), settings_(std::move(settings)) {}
Client::~Client() = default;

/// False when the connection was closed before any byte of an answer.
io::Task<Result<bool>> Client::exchange_on(Connection* c, std::string head_and_body,
                                           std::string method) {
  c->any_byte = c->complete = false;
  c->parser.expect_response_to(method);
  auto written = co_await c->stream->write(std::move(head_and_body));
  // A peer may answer and close before it has read everything: still look for the answer.
  while (true) {
    const h1::Parser::Step step = c->parser.next(c->input);
    c->input.erase(0, step.used);
    if (step.event == h1::Parser::Event::Head) {
      const h1::Head& head = c->parser.head();
      if (head.status >= 100 && head.status < 200) continue;
      c->status = head.status;
      c->headers = {};
      for (const auto& f : head.fields) c->headers.add(std::string(f.name), std::string(f.value));
      c->keep_alive = head.keep_alive;
      co_return true;
    }
    if (step.event == h1::Parser::Event::Error) {
      co_return Error(Code::Unavailable,
                      std::string("malformed answer: ") + c->parser.error().text);
    }
    if (step.event != h1::Parser::Event::NeedMore) continue;
    auto more = co_await c->stream->read(kReadSize);
    if (!more || more->empty()) {
      if (!c->any_byte) co_return false;
      co_return Error(Code::Unavailable, "the peer closed inside an answer");
    }
    c->any_byte = true;
    c->input = std::move(*more);
  }
}

io::Task<Result<std::unique_ptr<Client::Connection>>> Client::exchange(Request request) {
  const std::string bytes = print_request(request, settings_.host);
  while (true) {
    std::unique_ptr<Connection> c;
    if (!idle_.empty()) {
      c = std::move(idle_.back());
      idle_.pop_back();
    } else {
      auto connecting = connector_();
      auto stream = co_await with_timeout<std::unique_ptr<io::Stream>>(
          loop_, settings_.connect_timeout, std::move(connecting));
      if (!stream) co_return std::move(stream).error();
      c = std::make_unique<Connection>();
      c->stream = std::move(stream).value();
    }
    const bool kept = std::exchange(c->used, true);
    auto answered = co_await exchange_on(c.get(), bytes, request.method);
    if (!answered) co_return std::move(answered).error();
    if (*answered) co_return std::move(c);
    if (!kept) co_return Error(Code::Unavailable, "the peer closed without an answer");
  }
}

io::Task<Result<Response>> Client::send_now(Request request) {
  auto exchanged = co_await exchange(std::move(request));
  if (!exchanged) co_return std::move(exchanged).error();
  auto c = std::move(exchanged).value();
  Response response;
  response.status = c->status;
  response.headers = c->headers;
  while (true) {
    auto piece = co_await Connection::next(c.get());
    if (!piece) co_return std::move(piece).error();
    if (piece->empty()) break;
    if (response.body.size() + piece->size() > settings_.max_body) {
      co_return Error(Code::ResourceExhausted,
                      "the answer is larger than " + std::to_string(settings_.max_body));
    }
    response.body += *piece;
  }
  if (c->keep_alive && c->input.empty() && idle_.size() < settings_.max_idle) {
    idle_.push_back(std::move(c));
  }
  co_return response;
}

io::Task<Result<Response>> Client::send(Request request) {
  auto task = send_now(std::move(request));
  return with_timeout<Response>(loop_, settings_.timeout, std::move(task));
}

class Client::StreamImpl final : public ResponseStream {
 public:
  explicit StreamImpl(std::unique_ptr<Connection> c) : c_(std::move(c)) {}
  int status() const override { return c_->status; }
  const Headers& headers() const override { return c_->headers; }
  io::Task<Result<std::string>> read() override { return Connection::next(c_.get()); }

 private:
  std::unique_ptr<Connection> c_;
};

io::Task<Result<std::unique_ptr<ResponseStream>>> Client::open(Request request) {
  auto task = exchange(std::move(request));
  auto exchanged =
      co_await with_timeout<std::unique_ptr<Connection>>(loop_, settings_.timeout, std::move(task));
  if (!exchanged) co_return std::move(exchanged).error();
  co_return std::unique_ptr<ResponseStream>(
      std::make_unique<StreamImpl>(std::move(exchanged).value()));
}

}  // namespace knit::http
