#include "http/server.h"

#include "base/log.h"
#include "http/h1.h"

namespace knit::http {
namespace {

constexpr std::string_view kLogModule = "http";
constexpr std::size_t kReadSize = 16 << 10;
// After an answer that came before the end of its request.
constexpr std::size_t kDrainBytes = 64 << 20;
constexpr Duration kDrainTime = std::chrono::seconds(2);

std::string print_head(int status, const Headers& headers) {
  std::string out;
  h1::write_status_line(out, status);
  for (const auto& [name, value] : headers.fields()) h1::write_field(out, name, value);
  return out;
}

bool has_no_body(int status) { return status == 204 || status == 304 || status < 200; }

}  // namespace

struct Server::Connection {
  std::uint64_t id = 0;
  Peer peer;
  std::unique_ptr<io::Stream> stream;
  h1::Parser parser{h1::Parser::Kind::Request};
  std::string input;    // read, not parsed
  bool closed = false;  // the peer sent its end
  bool idle = true;
  bool close_after = false;
  std::size_t held = 0;  // of the body of the current request
  io::Loop::Timer timer;
  io::Loop::Scope close_watch;
  io::Loop::Scope task;  // destroyed first
};

struct Server::State {
  io::Loop& loop;
  ServerSettings settings;
  Handler handler;
  ErrorAnswer error_answer;
  std::map<std::uint64_t, std::unique_ptr<Connection>> connections;
  std::uint64_t next_id = 1;
  bool draining = false;
  std::size_t held = 0;  // of all connections

  void hold(Connection* c, std::size_t bytes) {
    c->held += bytes;
    held += bytes;
  }
  void let_go(Connection* c) { held -= std::exchange(c->held, 0); }
  void remove(std::uint64_t id) {
    const auto it = connections.find(id);
    if (it == connections.end()) return;
    const auto gone = std::move(it->second);  // out of the map first: destructors may look
    connections.erase(it);
    let_go(gone.get());
    gone->task.cancel();
  }
  /// The connection ends when `after` passes without another arm().
  void arm(std::weak_ptr<State> weak, Connection* c, Duration after) {
    c->timer = loop.after(after, [weak, id = c->id] {
      if (const auto state = weak.lock()) state->remove(id);
    });
  }
};

class Server::ResponderImpl final : public Responder {
 public:
  ResponderImpl(std::weak_ptr<State> weak, State* state, Connection* c, bool head, bool http10)
      : weak_(std::move(weak)), state_(state), c_(c), head_(head), http10_(http10) {}

  io::Task<Result<void>> send(Response response) override {
    started_ = finished_ = true;
    std::string out = print_head(response.status, response.headers);
    if (c_->close_after) h1::write_field(out, "Connection", "close");
    if (!has_no_body(response.status)) {
      h1::write_field(out, "Content-Length", std::uint64_t{response.body.size()});
    }
    h1::write_end_of_head(out);
    if (!head_ && !has_no_body(response.status)) out += response.body;
    return put(std::move(out));
  }
  io::Task<Result<void>> begin(int status, Headers headers) override {
    started_ = true;
    std::string out = print_head(status, headers);
    if (http10_) {
      c_->close_after = true;
    } else {
      h1::write_field(out, "Transfer-Encoding", "chunked");
    }
    if (c_->close_after) h1::write_field(out, "Connection", "close");
    h1::write_end_of_head(out);
    return put(std::move(out));
  }
  io::Task<Result<void>> write(std::string data) override {
    if (head_) data.clear();
    if (http10_) return put(std::move(data));
    std::string out;
    h1::write_chunk(out, data);
    return put(std::move(out));
  }
  io::Task<Result<void>> end() override {
    finished_ = true;
    std::string out;
    if (!http10_ && !head_) h1::write_last_chunk(out);
    return put(std::move(out));
  }
  void on_close(std::function<void()> gone) override {
    c_->close_watch = state_->loop.spawn_scoped(watch_close(&state_->loop, c_, std::move(gone)));
  }

  bool started() const { return started_; }
  bool finished() const { return finished_; }

 private:
  io::Task<Result<void>> put(std::string data) {
    if (data.empty()) co_return Result<void>();
    state_->arm(weak_, c_, state_->settings.write_timeout);
    auto written = co_await c_->stream->write(std::move(data));
    c_->timer.cancel();
    co_return written;
  }
  static io::Task<void> watch_close(io::Loop* loop, Connection* c, std::function<void()> gone) {
    // What the peer sends meanwhile is the next request: kept, and no more read until this answer
    // is complete.
    if (!c->input.empty()) co_return;
    auto data = co_await c->stream->read(kReadSize);
    if (data && !data->empty()) {
      c->input += *data;
      co_return;
    }
    c->closed = true;
    loop->post(std::move(gone));
  }

  std::weak_ptr<State> weak_;
  State* state_;
  Connection* c_;
  bool head_, http10_;
  bool started_ = false, finished_ = false;
};

Server::Server(io::Loop& loop, ServerSettings settings, Handler handler, ErrorAnswer error_answer)
    : state_(std::make_shared<State>(
          State{loop, settings, std::move(handler), std::move(error_answer), {}, 1, false, 0})) {}

Server::~Server() {
  while (!state_->connections.empty()) state_->remove(state_->connections.begin()->first);
}

std::size_t Server::connections() const { return state_->connections.size(); }

void Server::drain() {
  state_->draining = true;
  std::vector<std::uint64_t> idle;
  for (const auto& [id, c] : state_->connections) {
    c->close_after = true;
    if (c->idle) idle.push_back(id);
  }
  for (const std::uint64_t id : idle) state_->remove(id);
}

void Server::serve(std::unique_ptr<io::Stream> stream, std::string tag) {
  add(std::move(stream), {}, std::move(tag));
}
void Server::serve(io::Task<Result<std::unique_ptr<io::Stream>>> connecting, std::string tag) {
  add(nullptr, std::move(connecting), std::move(tag));
}

void Server::add(std::unique_ptr<io::Stream> stream,
                 io::Task<Result<std::unique_ptr<io::Stream>>> connecting, std::string tag) {
  if (state_->connections.size() >= state_->settings.max_connections || state_->draining) {
    KNIT_LOG(Warn, "connection refused: too many", KV("connections", connections()));
    return;  // closes the stream
  }
  auto owned = std::make_unique<Connection>();
  Connection* c = owned.get();
  c->id = state_->next_id++;
  c->peer.tag = std::move(tag);
  c->stream = std::move(stream);
  state_->connections.emplace(c->id, std::move(owned));
  c->task = state_->loop.spawn_scoped(run(state_, c, std::move(connecting)));
}

io::Task<void> Server::run(std::shared_ptr<State> state, Connection* c,
                           io::Task<Result<std::unique_ptr<io::Stream>>> connecting) {
  const std::uint64_t id = c->id;
  bool ok = true;
  if (connecting) {
    auto stream = co_await connecting;
    if (stream) {
      c->stream = std::move(stream).value();
    } else {
      ok = false;
      KNIT_LOG(Debug, "handshake failed", KV("error", stream.error()));
    }
  }
  if (ok) {
    c->peer.address = c->stream->peer();
    c->peer.certificate = c->stream->peer_certificate();
    std::weak_ptr<State> weak = state;
    const auto done = co_await requests(std::move(weak), state.get(), c);
    if (!done) KNIT_LOG(Debug, "connection ended", KV("error", done.error()));
  }
  // Removing destroys this coroutine, so later.
  std::weak_ptr<State> weak = state;
  state->loop.post([weak, id] {
    if (const auto s = weak.lock()) s->remove(id);
  });
}

/// Closing with unread bytes resets the connection, and the peer, still writing, would never see
/// the answer: so what it sends is read and dropped for a moment. Source: Go net/http
/// closeWriteAndWait
io::Task<Result<void>> Server::drain_body(std::weak_ptr<State> weak, State* state, Connection* c) {
  c->stream->shutdown_write();
  state->arm(std::move(weak), c, kDrainTime);
  for (std::size_t dropped = c->input.size(); dropped < kDrainBytes;) {
    auto more = co_await c->stream->read(kReadSize);
    if (!more || more->empty()) break;
    dropped += more->size();
  }
  co_return Result<void>();
}

io::Task<Result<void>> Server::requests(std::weak_ptr<State> weak, State* state, Connection* c) {
  state->arm(weak, c, state->settings.idle_timeout);
  Request request;
  bool have_head = false, http10 = false;
  while (true) {
    const h1::Parser::Step step = c->parser.next(c->input);
    const std::string data(step.data);
    const std::size_t used = step.used;
    switch (step.event) {
      case h1::Parser::Event::NeedMore: {
        c->input.erase(0, used);
        if (c->closed) co_return Result<void>();
        if (!have_head && c->parser.in_head() && c->idle) {
          c->idle = false;
          state->arm(weak, c, state->settings.head_timeout);
        }
        auto more = co_await c->stream->read(kReadSize);
        if (!more) co_return std::move(more).error();
        if (more->empty()) co_return Result<void>();
        c->input = std::move(*more);
        break;
      }
      case h1::Parser::Event::Head: {
        const h1::Head& head = c->parser.head();
        request = {};
        request.method = head.method;
        const std::size_t q = head.path.find('?');
        request.path = url_decode(head.path.substr(0, q), false);
        if (q != std::string_view::npos) request.query = Query(head.path.substr(q + 1));
        for (const auto& f : head.fields) {
          request.headers.add(std::string(f.name), std::string(f.value));
        }
        http10 = head.minor == 0;
        have_head = true;
        c->idle = false;
        if (!head.keep_alive || state->draining) c->close_after = true;
        const bool too_large =
            head.framing == h1::Framing::Length && head.length > state->settings.max_body;
        const bool expects = head.expect_continue;
        c->input.erase(0, used);
        if (too_large) {
          c->close_after = true;
          ResponderImpl responder(weak, state, c, request.method == "HEAD", http10);
          Response answer = state->error_answer(413, "the request's body is too large");
          const auto sent = co_await responder.send(std::move(answer));
          if (!sent) co_return sent;
          co_return co_await drain_body(weak, state, c);
        }
        state->arm(weak, c, state->settings.body_timeout);
        if (expects && head.framing != h1::Framing::None) {
          std::string go_on = "HTTP/1.1 100 Continue\r\n\r\n";
          auto sent = co_await c->stream->write(std::move(go_on));
          if (!sent) co_return sent;
        }
        break;
      }
      case h1::Parser::Event::Data: {
        c->input.erase(0, used);
        if (request.body.size() + data.size() > state->settings.max_body) {
          c->close_after = true;
          ResponderImpl responder(weak, state, c, request.method == "HEAD", http10);
          Response answer = state->error_answer(413, "the request's body is too large");
          const auto sent = co_await responder.send(std::move(answer));
          if (!sent) co_return sent;
          co_return co_await drain_body(weak, state, c);
        }
        if (state->held + data.size() > state->settings.max_bodies) {
          c->close_after = true;
          ResponderImpl responder(weak, state, c, request.method == "HEAD", http10);
          Response answer = state->error_answer(503, "too many requests are under way");
          const auto sent = co_await responder.send(std::move(answer));
          if (!sent) co_return sent;
          co_return co_await drain_body(weak, state, c);
        }
        state->hold(c, data.size());
        request.body += data;
        break;
      }
      case h1::Parser::Event::End: {
        c->input.erase(0, used);
        c->timer.cancel();
        ResponderImpl responder(weak, state, c, request.method == "HEAD", http10);
        Peer peer = c->peer;
        Request current = std::move(request);
        co_await state->handler(std::move(current), std::move(peer), responder);
        state->let_go(c);
        c->close_watch.cancel();
        if (!responder.started()) {
          Response answer = state->error_answer(500, "no answer was made");
          auto sent = co_await responder.send(std::move(answer));
          if (!sent) co_return sent;
        }
        // A streamed answer that was cut short can only be told by closing.
        if (c->close_after || c->closed || !responder.finished()) co_return Result<void>();
        have_head = false;
        c->idle = true;
        state->arm(weak, c, state->settings.idle_timeout);
        break;
      }
      case h1::Parser::Event::Error: {
        c->close_after = true;
        ResponderImpl responder(weak, state, c, false, false);
        Response answer = state->error_answer(c->parser.error().status, c->parser.error().text);
        const auto sent = co_await responder.send(std::move(answer));
        co_return sent;
      }
    }
  }
}

}  // namespace knit::http
