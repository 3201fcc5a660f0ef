#include "load/run.h"

#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <deque>
#include <memory>

#include "load/response.h"
#include "load/socket.h"

namespace knit::load {
namespace {

constexpr Seconds kSweep = 0.05;  // how often timeouts are looked for

struct Due {
  std::uint64_t n;
  Seconds at;
};

struct Connection {
  enum class State { Idle, Connecting, Sending, Receiving };
  State state = State::Idle;
  Socket socket;
  Sample sample;
  std::string request;
  std::size_t written = 0;
  bool unanswered = true;  // nothing of the answer has arrived
  bool ended = false;      // an event has said that the peer closed
  ResponseParser parser;
};

class Run {
 public:
  Run(const Options& options, Target target, const std::atomic<bool>& stop, Fd poll, FILE* trace)
      : options_(options),
        target_(std::move(target)),
        stop_(stop),
        poll_(std::move(poll)),
        trace_(trace),
        began_(monotonic_now()),
        report_(began_),
        fixed_(options.path.find("{n}") == std::string::npos &&
               options.body.find("{n}") == std::string::npos),
        request_(request_bytes(options, 0)),
        buffer_(std::make_unique<char[]>(kBuffer)) {
    for (std::uint32_t i = 0; i < options.connections; ++i)
      idle_.push_back(connections_.emplace_back(std::make_unique<Connection>()).get());
  }

  Json loop() {
    std::array<epoll_event, 256> events;
    for (;;) {
      const Seconds now = monotonic_now();
      schedule(now);
      if (now >= swept_ + kSweep) sweep(now);
      if (over(now) && busy_ == 0 && waiting_.empty()) break;
      const Seconds pause = std::clamp(next_due() - monotonic_now(), 0.0, kSweep);
      timespec wait{0, static_cast<long>(pause * 1e9)};
      const int n = epoll_pwait2(poll_.get(), events.data(), events.size(), &wait, nullptr);
      for (std::size_t i = 0; i < static_cast<std::size_t>(std::max(n, 0)); ++i) {
        auto* c = static_cast<Connection*>(events[i].data.ptr);
        if (events[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) c->ended = true;
        on_event(c);
      }
    }
    const Seconds ended = monotonic_now();
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](const timeval& t) {
      return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
    };
    return report_.json(ended, seconds(usage.ru_utime) + seconds(usage.ru_stime));
  }

 private:
  static constexpr std::size_t kBuffer = 256 << 10;

  /// No more requests will become due.
  bool over(Seconds now) const {
    return stop_.load(std::memory_order_relaxed) || now >= began_ + options_.duration ||
           (options_.requests != 0 && made_ >= options_.requests);
  }
  Seconds due_of(std::uint64_t n) const { return began_ + static_cast<double>(n) / options_.rate; }
  Seconds next_due() const {
    const bool open = options_.rate > 0 && (options_.requests == 0 || made_ < options_.requests);
    return open ? due_of(made_) : began_ + 1e9;
  }

  void schedule(Seconds now) {
    if (options_.rate > 0) {
      while (!over(now) && due_of(made_) <= now) {
        waiting_.push_back({made_, due_of(made_)});
        ++made_;
      }
    }
    // At most one turn each: where connecting fails at once, a closed loop must not spin.
    for (std::size_t turns = idle_.size(); turns > 0; --turns) {
      if (waiting_.empty()) {
        if (options_.rate > 0 || over(now)) return;
        waiting_.push_back({made_++, now});
      }
      const Due due = waiting_.front();
      waiting_.pop_front();
      Connection* c = idle_.front();
      idle_.pop_front();
      begin(c, due, now);
    }
  }

  void begin(Connection* c, Due due, Seconds now) {
    ++busy_;
    c->sample = {};
    c->sample.n = due.n;
    c->sample.due = due.at;
    c->sample.begun = now;
    c->request = fixed_ ? request_ : request_bytes(options_, due.n);
    c->written = 0;
    c->unanswered = true;
    c->parser.start(options_.method == "HEAD", !options_.expect.empty());
    if (options_.rate > 0 && c->socket && c->socket.stale()) {  // closed since the last event
      c->socket.close();
      report_.idle_closed();
    }
    if (c->socket) {
      c->state = Connection::State::Sending;
      return send(c);
    }
    c->sample.fresh = true;
    c->ended = false;
    c->state = Connection::State::Connecting;
    const Outcome outcome = c->socket.connect(target_);
    if (outcome.kind == Outcome::Kind::Failed) return finish(c, "connect: " + outcome.error);
    epoll_event event{.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data = {.ptr = c}};
    epoll_ctl(poll_.get(), EPOLL_CTL_ADD, c->socket.fd(), &event);
  }

  void on_event(Connection* c) {
    switch (c->state) {
      case Connection::State::Idle:
        if (c->socket && c->socket.stale()) {
          c->socket.close();
          report_.idle_closed();
        }
        return;
      case Connection::State::Connecting: {
        if (!c->socket) return;
        const Outcome outcome = c->socket.establish();
        if (outcome.kind == Outcome::Kind::Wait) return;
        if (outcome.kind == Outcome::Kind::Closed) return finish(c, "connect: closed");
        if (outcome.kind == Outcome::Kind::Failed) return finish(c, "connect: " + outcome.error);
        c->state = Connection::State::Sending;
        return send(c);
      }
      case Connection::State::Sending:
        return send(c);
      case Connection::State::Receiving:
        return receive(c);
    }
  }

  void send(Connection* c) {
    while (c->written < c->request.size()) {
      const Outcome outcome = c->socket.write(std::string_view(c->request).substr(c->written));
      if (outcome.kind == Outcome::Kind::Wait) return;
      if (outcome.kind != Outcome::Kind::Done)
        return finish(c, outcome.error.empty() ? "closed" : outcome.error);
      c->written += outcome.bytes;
    }
    c->sample.sent = monotonic_now();
    c->state = Connection::State::Receiving;
    // What the server had to say before (tickets) may lie there, and its edge is gone.
    if (target_.tls) receive(c);
  }

  void receive(Connection* c) {
    for (;;) {
      const Outcome outcome = c->socket.read(buffer_.get(), kBuffer);
      if (outcome.kind == Outcome::Kind::Wait) return;
      if (outcome.kind == Outcome::Kind::Failed) return finish(c, outcome.error);
      if (outcome.kind == Outcome::Kind::Closed) {
        if (c->parser.closed()) return finish(c, {});
        return finish(c, c->unanswered ? "closed" : "cut short");
      }
      c->unanswered = false;
      const std::string_view bytes(buffer_.get(), outcome.bytes);
      const std::size_t used = c->parser.feed(bytes);
      if (c->parser.state() == ResponseParser::State::Failed) return finish(c, "malformed answer");
      if (c->parser.state() == ResponseParser::State::Done)
        return finish(c, used == bytes.size() ? "" : "bytes after the answer");
      if (!target_.tls && !c->ended && outcome.bytes < kBuffer)
        return;  // drained: the next edge tells
    }
  }

  void finish(Connection* c, std::string error) {
    c->sample.done = monotonic_now();
    c->sample.status = c->parser.status();
    if (error.empty() && (c->sample.status < 200 || c->sample.status > 299))
      error = "status " + std::to_string(c->sample.status);
    else if (error.empty() && !options_.expect.empty() && c->parser.body() != options_.expect)
      error = "wrong body";
    const bool complete = c->parser.state() == ResponseParser::State::Done;
    if (!complete || options_.fresh || !c->parser.keep_alive()) c->socket.close();
    c->sample.error = std::move(error);
    if (c->sample.error.empty() && report_.good() == 0)
      std::fprintf(stderr, "first answer after %.3f s\n", c->sample.done - began_);
    report_.add(c->sample);
    if (trace_) std::fputs(trace_line(c->sample).c_str(), trace_);
    --busy_;
    c->state = Connection::State::Idle;
    idle_.push_back(c);
  }

  void sweep(Seconds now) {
    swept_ = now;
    for (const auto& c : connections_)
      if (c->state != Connection::State::Idle && now > c->sample.due + options_.timeout)
        finish(c.get(), "timeout");
    while (!waiting_.empty() && now > waiting_.front().at + options_.timeout) {
      Sample sample;
      sample.n = waiting_.front().n;
      sample.due = waiting_.front().at;
      sample.done = now;
      sample.error = "timeout";  // never got a connection
      report_.add(sample);
      waiting_.pop_front();
    }
  }

  const Options& options_;
  const Target target_;
  const std::atomic<bool>& stop_;
  const Fd poll_;
  FILE* const trace_;
  const Seconds began_;
  Report report_;
  const bool fixed_;
  const std::string request_;
  std::unique_ptr<char[]> buffer_;
  std::vector<std::unique_ptr<Connection>> connections_;
  std::deque<Connection*> idle_;  // the one longest idle is next, so that all are used
  std::deque<Due> waiting_;
  std::uint64_t made_ = 0, busy_ = 0;
  Seconds swept_ = 0;
};

}  // namespace

Seconds monotonic_now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

Result<Json> run(const Options& options, const std::atomic<bool>& stop) {
  KNIT_TRY(Target target, target_of(options));
  Fd poll(epoll_create1(EPOLL_CLOEXEC));
  if (!poll) return errno_error("epoll_create1", errno);
  std::unique_ptr<FILE, int (*)(FILE*)> trace(nullptr, &std::fclose);
  if (!options.trace.empty()) {
    trace.reset(std::fopen(options.trace.c_str(), "we"));
    if (!trace) return errno_error(options.trace, errno);
  }
  Run run(options, std::move(target), stop, std::move(poll), trace.get());
  return run.loop();
}

}  // namespace knit::load
