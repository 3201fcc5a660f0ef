#include "proxy/http_session.h"

#include <sys/socket.h>

#include <algorithm>
#include <deque>

#include "base/log.h"
#include "ipc/roles.h"

namespace knit::proxy {
namespace {

using namespace std::chrono_literals;
using http::h1::Framing;
using http::h1::Parser;

constexpr Duration kHeadLimit = 60s;    // Envoy's request_headers_timeout advice; slowloris
constexpr Duration kIdleLimit = 3600s;  // Istio: idle per connection
constexpr Duration kStallLimit = 300s;  // no byte moves although there are some
constexpr Duration kConnectLimit = 10s;
constexpr Duration kLinger = 1s;

/// The hop list of a request, for the role that it goes to.
std::string role_opening(const Decision& d) {
  ipc::RoleCall call;
  call.port = d.port;
  if (!d.source_principal.empty()) call.hops.push_back(d.source_principal);
  if (d.mtls && !d.sender.spiffe_id.empty() && d.sender.spiffe_id != d.source_principal) {
    call.hops.push_back(d.sender.spiffe_id);
  }
  return ipc::opening(call);
}

bool idempotent(std::string_view m) { return m == "GET" || m == "HEAD" || m == "OPTIONS"; }

}  // namespace

HttpSession::HttpSession(Worker& worker, std::unique_ptr<Conn> down, HttpContext context)
    : Session(worker), down_(std::move(down)), context_(std::move(context)) {}

HttpSession::~HttpSession() {
  if (x_.active) end_exchange();
  if (down_) down_->set_owner(nullptr);
  if (up_) up_->set_owner(nullptr);
}

void HttpSession::begin() {
  idle_since_ = head_since_ = worker_.loop().now();
  down_->set_owner(this);
  if (down_->phase() == Conn::Phase::Peeking) down_->open();
  pump();
}

void HttpSession::drain() {
  close_after_ = true;
  if (state_ == State::Idle && !request_.in_head()) close();
}

void HttpSession::on_conn(Conn&) { pump(); }

void HttpSession::pump() {
  if (pumping_) {
    again_ = true;
    return;
  }
  pumping_ = true;
  do {
    again_ = false;
    bool moved = true;
    while (moved && state_ != State::Closed) {
      moved = false;
      if (down_->failed() && state_ != State::Lingering) {
        if (x_.active) {
          x_.flags = "DC";
          x_.details = "downstream_remote_disconnect";
          x_.status = x_.response_started ? x_.status : 0;
        }
        close();
        break;
      }
      switch (state_) {
        case State::Idle:
          moved = pump_head();
          break;
        case State::Waiting:
          // The client may leave while it waits: its place in the queue is given up.
          if (down_->eof() && down_->input().empty() && x_.request_done) {
            x_.flags = "DC";
            x_.details = "downstream_remote_disconnect";
            close();
          }
          break;
        case State::Connecting:
          if (up_->failed()) {
            upstream_failed();
            moved = true;
          } else if (up_->phase() == Conn::Phase::Open) {
            state_ = State::Exchanging;
            moved = true;
          }
          break;
        case State::Exchanging:
          moved = pump_request();
          if (state_ == State::Exchanging) moved = pump_response() || moved;
          break;
        case State::Lingering:
          down_->consume(down_->input().size());
          down_->flush();
          if (down_->failed() || down_->eof()) close();
          break;
        case State::Closed:
          break;
      }
    }
  } while (again_ && state_ != State::Closed);
  pumping_ = false;
  if (state_ != State::Closed) arm();
}

bool HttpSession::pump_head() {
  if (down_->pending() >= Conn::kHigh) return false;  // answers that the client does not read
  const auto step = request_.next(down_->input());
  if (step.used > 0 && request_.idle()) head_since_ = worker_.loop().now();
  down_->consume(step.used);
  switch (step.event) {
    case Parser::Event::NeedMore:
      if (down_->eof() && down_->input().empty()) close();
      return false;
    case Parser::Event::Error: {
      const auto& e = request_.error();
      x_ = Exchange{};
      reply(e.status, e.text, "DPE", "http1.codec_error");
      return true;
    }
    case Parser::Event::Head:
      start_exchange();
      return true;
    default:
      return true;  // End of a message that was answered already
  }
}

/// Router, gateway, sidecar, activator, queue-proxy: route_request() walks the hops, then the
/// gate admits, then a socket of the pod carries the request.
void HttpSession::start_exchange() {
  const http::h1::Head& head = request_.head();
  ++requests_;
  x_ = Exchange{};
  x_.active = x_.parsed = true;
  x_.tables = worker_.tables();
  x_.started = x_.last_write = worker_.loop().now();
  x_.wall_started = worker_.loop().wall_now();
  x_.method = head.method;
  if (!head.keep_alive || head.minor == 0 || worker_.draining()) close_after_ = true;
  if (head.method == "CONNECT") {
    close_after_ = true;  // what follows may be the tunnel's
    return reply(405, "CONNECT is not served here\n", "-", "direct_response");
  }
  if (http::h1::has_token(head.upgrade, "websocket")) {
    return reply(501, "Upgrade to websocket is not supported yet\n", "-", "direct_response");
  }
  if (answer_in_place(head)) return;
  // Envoy matches all lines of a field as one value, joined by a comma.
  std::deque<std::pair<std::string, std::string_view>> joined;
  const auto lookup = [&head, &joined](std::string_view name) -> const std::string_view* {
    if (untrusted_header(name) && !http::h1::iequals(name, "knative-serving-tag")) return nullptr;
    const auto lines = std::count_if(head.fields.begin(), head.fields.end(), [&](const auto& f) {
      return http::h1::iequals(f.name, name);
    });
    if (lines < 2) return head.find(name);
    auto& [text, view] = joined.emplace_back(join_lines(head, name, ","), std::string_view());
    view = text;
    return &view;
  };
  const RequestView q{head.method, head.authority, head.path, lookup};
  x_.decision = route_request(*x_.tables, context_, q, worker_.random());
  x_.request_id = request_id_of(head, x_.decision, *worker_.shared().random);
  Decision& d = x_.decision;
  // The router's is for silence (HAProxy's `timeout server`), a route's for the whole request.
  const bool router = context_.listener == HttpContext::Listener::RouterPlain ||
                      context_.listener == HttpContext::Listener::RouterEdge;
  if (router) {
    x_.silence = d.timeout;
  } else if (d.timeout.count() > 0) {
    x_.deadline = x_.started + d.timeout;
  }
  switch (d.kind) {
    case Decision::Kind::Reply:
      if (d.page) {
        x_.status = d.status;
        x_.flags = d.flags;
        x_.details = d.details;
        x_.response_started = true;
        down_->write(unavailable_page());
        close_after_ = true;
        end_exchange();
        return linger();
      }
      return reply(d.status, d.body, d.flags, d.details, d.location);
    case Decision::Kind::Revision:
      return admit();
    case Decision::Kind::Pod:
    case Decision::Kind::Address:
    case Decision::Kind::Role:
      return connect();
  }
}

void HttpSession::connect() {
  Decision& d = x_.decision;
  response_.reset();
  response_.expect_response_to(x_.method);
  x_.reused = false;
  if (d.kind == Decision::Kind::Address) {
    const int family = d.ip.find(':') == std::string::npos ? AF_INET : AF_INET6;
    Fd fd(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd) return reply(503, kConnectFailure, "UF", "upstream_reset_before_response_started");
    up_ = connect_conn(worker_.loop(), std::move(fd), d.ip, d.port);
  } else if (d.kind == Decision::Kind::Role) {
    x_.opening = role_opening(d);
    const bool up = worker_.roles().up(d.uid);
    auto taken =
        up ? worker_.roles().take(d.uid, x_.opening,
                                  x_.retried ? RolePool::Reuse::Fresh : RolePool::Reuse::Allowed)
           : RolePool::Taken{};
    if (!taken.conn) {
      x_.retry_after = true;
      return reply(503, "the events process is not there: try again\n", "UH",
                   "no_healthy_upstream");
    }
    up_ = std::move(taken.conn);
    x_.reused = taken.reused;
  } else {
    auto taken = worker_.sockets().take(
        d.uid, d.ip, d.port, x_.retried ? Sockets::Reuse::Fresh : Sockets::Reuse::Allowed);
    if (taken.unknown) {
      return reply(503, "no healthy upstream", "UH", "no_healthy_upstream");
    }
    if (!taken.conn) {
      state_ = State::Waiting;
      x_.sent_at = worker_.loop().now();
      socket_wait_ = worker_.sockets().wait(d.uid, [this] {
        if (!x_.active) return;
        connect();
        pump();
      });
      return;
    }
    up_ = std::move(taken.conn);
    x_.reused = taken.reused;
  }
  up_->set_owner(this);
  x_.sent_at = worker_.loop().now();
  x_.request_done = x_.response_done = x_.body_forwarded = false;
  state_ = State::Connecting;
  HeadInputs in{&request_.head(), &context_, &d, x_.request_id};
  write_upstream_head(up_->out(), in);
}

bool HttpSession::pump_request() {
  bool moved = false;
  while (!x_.request_done && up_->pending() < Conn::kHigh) {
    const auto step = request_.next(down_->input());
    if (step.event == Parser::Event::Data) {
      x_.body_forwarded = true;
      x_.body_in += step.data.size();
      if (request_.head().framing == Framing::Chunked) {
        http::h1::write_chunk(up_->out(), step.data);
      } else {
        up_->write(step.data);
      }
    }
    down_->consume(step.used);
    if (step.event == Parser::Event::End) {
      if (request_.head().framing == Framing::Chunked) {
        http::h1::write_last_chunk(up_->out(), passing_trailers(request_.trailers()));
      }
      x_.request_done = true;
      moved = true;
    } else if (step.event == Parser::Event::Error) {
      if (x_.response_started) {
        abort("DPE", "http1.codec_error");
      } else {
        reply(400, request_.error().text, "DPE", "http1.codec_error");
      }
      return true;
    } else if (step.event == Parser::Event::NeedMore) {
      if (down_->eof() && down_->input().empty()) {  // half a body: never a complete one
        x_.flags = "DC";
        x_.details = "downstream_remote_disconnect";
        close();
        return true;
      }
      if (step.used == 0) break;
    }
    moved = moved || step.used > 0;
  }
  if (up_->pending() > 0) up_->flush();
  return moved;
}

bool HttpSession::pump_response() {
  bool moved = false;
  while (!x_.response_done && down_->pending() < Conn::kHigh && state_ == State::Exchanging) {
    const auto step = response_.next(up_->input());
    if (step.event == Parser::Event::Data) {
      x_.last_write = worker_.loop().now();
      x_.body_out += step.data.size();
      if (x_.chunked_down) {
        http::h1::write_chunk(down_->out(), step.data);
      } else {
        down_->write(step.data);
      }
    }
    up_->consume(step.used);
    moved = moved || step.used > 0;
    auto event = step.event;
    if (event == Parser::Event::NeedMore && up_->input().empty() && (up_->eof() || up_->failed())) {
      event = up_->failed() ? Parser::Event::Error : response_.finish().event;
      if (event == Parser::Event::NeedMore) event = Parser::Event::Error;
    }
    switch (event) {
      case Parser::Event::Head:
        response_head();
        break;
      case Parser::Event::End:
        if (response_.head().status < 200) break;  // an interim answer is complete
        if (x_.chunked_down) {
          http::h1::write_last_chunk(down_->out(), wants_trailers(request_.head())
                                                       ? passing_trailers(response_.trailers())
                                                       : std::vector<http::h1::Field>{});
        }
        x_.response_done = true;
        moved = true;
        break;
      case Parser::Event::Error:
        upstream_failed();
        return true;
      case Parser::Event::NeedMore:
        if (down_->pending() > 0) down_->flush();
        return moved;
      case Parser::Event::Data:
        break;
    }
  }
  if (down_->pending() > 0) down_->flush();
  if (x_.response_done && state_ == State::Exchanging) {
    finish_exchange();
    return true;
  }
  return moved;
}

void HttpSession::response_head() {
  const http::h1::Head& head = response_.head();
  const Instant now = worker_.loop().now();
  if (head.status < 200) {
    // 101 was never asked for: Upgrade is not forwarded.
    if (head.status == 101) {
      up_->reset_on_close();
      return reply(502, "unexpected 101 from the upstream\n", "UPE", "upstream_protocol_error");
    }
    if (request_.head().minor == 1) write_downstream_head(down_->out(), head, {});
    return;
  }
  x_.status = head.status;
  x_.last_write = now;
  x_.upstream_time = now - x_.sent_at;
  x_.response_started = true;
  const bool body = head.framing == Framing::Chunked || head.framing == Framing::UntilClose;
  x_.chunked_down = body && request_.head().minor == 1;
  x_.raw_until_close = body && !x_.chunked_down;
  if (x_.raw_until_close) close_after_ = true;
  // A request body that is still on its way when the answer is complete ends the connection.
  write_downstream_head(down_->out(), head,
                        {.close = close_after_ || worker_.draining(),
                         .chunked = x_.chunked_down,
                         .mesh = x_.decision.mesh_response,
                         .upstream_time = x_.upstream_time});
}

void HttpSession::upstream_failed() {
  const bool refused = state_ == State::Connecting;
  if (x_.response_started) return abort("UC", "upstream_reset_after_response_started");
  // A kept connection that the app closed just now: once more, if nothing can have happened twice.
  if (x_.reused && !x_.retried && !x_.body_forwarded &&
      (idempotent(x_.method) || up_->sent() == 0) && request_.head().framing == Framing::None) {
    x_.retried = true;
    release_upstream(false);
    return connect();
  }
  const int error = up_->error();
  if (refused && error == ECONNREFUSED && pick_again()) return;
  if (x_.decision.queue_proxy) {
    // queue-proxy's reverse proxy answers itself, in Go's words.
    return reply(
        502,
        refused ? "dial tcp 127.0.0.1:" + std::to_string(x_.decision.port) + ": connect: " +
                      (error == ECONNREFUSED ? "connection refused" : "connection failed") + "\n"
                : std::string("EOF\n"),
        refused ? "UF" : "UC", "via_upstream");
  }
  reply(503, refused ? kConnectFailure : kTermination, refused ? "UF" : "UC",
        "upstream_reset_before_response_started");
}

void HttpSession::release_upstream(bool reusable) {
  if (!up_) return;
  up_->set_owner(nullptr);
  auto conn = std::move(up_);
  if (x_.decision.kind == Decision::Kind::Address) {
    worker_.loop().post([c = std::shared_ptr<Conn>(std::move(conn))] {});
  } else if (x_.decision.kind == Decision::Kind::Role) {
    if (reusable) {
      worker_.roles().keep(x_.decision.uid, x_.opening, std::move(conn));
    } else {
      worker_.roles().drop(std::move(conn));
    }
  } else if (reusable) {
    worker_.sockets().keep(x_.decision.uid, x_.decision.port, std::move(conn));
  } else {
    worker_.sockets().recycle(x_.decision.uid, std::move(conn));
  }
}

void HttpSession::finish_exchange() {
  const bool clean =
      x_.request_done && up_ && response_.head().keep_alive && !up_->eof() && up_->input().empty();
  // Bytes behind the response were never asked for: such a connection is not used again.
  release_upstream(clean);
  const bool request_complete = x_.request_done;
  end_exchange();
  if (close_after_ || !request_complete) return linger();
  down_->flush();
  state_ = State::Idle;
  idle_since_ = head_since_ = worker_.loop().now();
}

void HttpSession::reply(int status, std::string_view body, const char* flags, const char* details,
                        std::string_view location) {
  if (x_.response_started) return abort(flags, details);
  x_.status = status;
  x_.flags = flags;
  x_.details = details;
  x_.response_started = true;
  // The next request can only be read behind a complete one.
  const bool complete = x_.parsed && (x_.request_done || request_.head().framing == Framing::None);
  const bool close_now = close_after_ || !complete;
  down_->write(local_reply(status, body, x_.method, location, close_now, x_.decision.mesh_response,
                           x_.retry_after));
  release_upstream(false);
  if (x_.active) {
    end_exchange();
  }
  if (close_now) return linger();
  down_->flush();
  state_ = State::Idle;
  idle_since_ = head_since_ = worker_.loop().now();
}

void HttpSession::abort(const char* flags, const char* details) {
  x_.flags = flags;
  x_.details = details;
  down_->flush();
  down_->reset_on_close();  // no clean end of the body
  close();
}

void HttpSession::timeout_now() {
  const bool waiting = x_.ticket != 0;
  if (x_.response_started) return abort("UT", "response_timeout");
  // Source: spec/serving.md 5.4, 5.5 (texts), 2.14 (Envoy's).
  if (x_.decision.kind == Decision::Kind::Revision) {
    return reply(
        504, waiting && x_.decision.via_activator ? "activator request timeout" : "request timeout",
        "UT", "response_timeout");
  }
  reply(504, "upstream request timeout", "UT", "response_timeout");
}

void HttpSession::linger() {
  state_ = State::Lingering;
  linger_until_ = worker_.loop().now() + kLinger;
  down_->finish_writing();
  again_ = true;
}

void HttpSession::close() {
  if (state_ == State::Closed) return;
  if (x_.active) end_exchange();
  release_upstream(false);
  state_ = State::Closed;
  timer_.cancel();
  socket_wait_.cancel();
  down_->set_owner(nullptr);
  worker_.retire(this);
}

Instant HttpSession::next_deadline() const {
  switch (state_) {
    case State::Idle:
      if (requests_ == 0 || request_.in_head()) return head_since_ + kHeadLimit;
      return idle_since_ + kIdleLimit;
    case State::Lingering:
      return linger_until_;
    case State::Closed:
      return Instant::max();
    default:
      break;
  }
  Instant t = x_.deadline;
  const bool for_socket = state_ == State::Waiting && socket_wait_;
  if (state_ == State::Connecting || for_socket) t = std::min(t, x_.sent_at + kConnectLimit);
  if (x_.revision && !x_.response_started && x_.revision->response_start_timeout.count() > 0) {
    t = std::min(t, x_.started + x_.revision->response_start_timeout);
  }
  if (x_.revision && x_.revision->idle_timeout.count() > 0) {
    t = std::min(t, x_.last_write + x_.revision->idle_timeout);
  }
  t = std::min(t, x_.pick_again_at);
  if (x_.silence.count() > 0) t = std::min(t, x_.last_write + x_.silence);
  if (state_ == State::Exchanging && x_.response_started && down_->pending() > 0) {
    t = std::min(t, x_.last_write + kStallLimit);
  }
  if (x_.active && std::string_view(x_.details) == "wait_for_drain") {
    t = std::min(t, x_.last_write + 50ms);
  }
  return t;
}

void HttpSession::arm() {
  const Instant t = next_deadline();
  if (t >= armed_) return;  // an earlier look re-arms
  armed_ = t;
  timer_ = worker_.loop().at(t, [this] { on_timer(); });
}

void HttpSession::on_timer() {
  armed_ = Instant::max();
  if (state_ == State::Closed) return;
  const Instant now = worker_.loop().now();
  if (next_deadline() > now) return arm();
  switch (state_) {
    case State::Idle:
      if (request_.in_head()) {
        reply(408, "request head timeout\n", "SI", "request_header_timeout");
      } else {
        close();
      }
      break;
    case State::Lingering:
      return close();
    case State::Connecting:
      if (now < x_.deadline && now >= x_.sent_at + kConnectLimit) {
        upstream_failed();
        break;
      }
      timeout_now();
      break;
    case State::Waiting:
      if (std::string_view(x_.details) == "wait_for_drain") {
        const auto* w = worker_.tables()->workloads.find(context_.target);
        if (!w || worker_.shared().gate(w->revision)->pod_in_flight(context_.target) == 0) {
          reply(200, "", "-", "direct_response");
        } else {
          x_.last_write = now;
        }
        break;
      }
      if (now < x_.deadline && now >= x_.pick_again_at) {
        picked_later();
        break;
      }
      if (socket_wait_ && now < x_.deadline && now >= x_.sent_at + kConnectLimit) {
        reply(503, kConnectFailure, "UF", "upstream_reset_before_response_started");
        break;
      }
      timeout_now();
      break;
    default:
      timeout_now();
      break;
  }
  pump();
}

}  // namespace knit::proxy
