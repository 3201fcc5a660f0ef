// A road of memory streams, with HTTP servers at its ends.
#pragma once

#include <deque>
#include <map>

#include "events/host/road.h"
#include "http/client.h"
#include "http/server.h"

namespace knit::events {

class TestRoad final : public RoleRoad {
 public:
  explicit TestRoad(io::Loop& loop) : loop_(loop) {}

  // As the host sees it.
  io::Task<Result<RoleConnection>> accept(std::string role) override {
    return next(this, std::move(role));
  }
  io::Task<Result<std::unique_ptr<io::Stream>>> connect(std::string role, RoleTarget to) override {
    return reach(this, std::move(role), std::move(to));
  }

  // As the test sees it.
  /// A connection to a role's door.
  std::unique_ptr<io::Stream> arrive(const std::string& role, std::vector<std::string> hops = {}) {
    auto [a, b] = io::memory_streams(loop_);
    Queue& q = queues_[role];
    RoleConnection connection;
    connection.stream = std::move(a);
    connection.hops = std::move(hops);
    q.waiting.push_back(std::move(connection));
    q.event.set();
    return std::move(b);
  }
  /// What a connection to "host:port" meets. Absent: the road refuses it.
  std::map<std::string, http::Server*> sites;
  std::vector<std::string> connected;  // "role host:port"

 private:
  struct Queue {
    std::deque<RoleConnection> waiting;
    io::Event event;
  };
  static io::Task<Result<RoleConnection>> next(TestRoad* road, std::string role) {
    Queue& q = road->queues_[role];
    while (q.waiting.empty()) {
      q.event.reset();
      co_await q.event;
    }
    RoleConnection out = std::move(q.waiting.front());
    q.waiting.pop_front();
    if (!out.stream) co_return Error(Code::InvalidArgument, "no hop list");
    co_return std::move(out);
  }
  static io::Task<Result<std::unique_ptr<io::Stream>>> reach(TestRoad* road, std::string role,
                                                             RoleTarget to) {
    const std::string at = to.host + ":" + std::to_string(to.port);
    road->connected.push_back(role + " " + at);
    const auto it = road->sites.find(at);
    if (it == road->sites.end()) {
      co_return Error(Code::Unavailable, "no ServiceEntry allows " + at);
    }
    auto [a, b] = io::memory_streams(road->loop_);
    it->second->serve(std::move(a));
    co_return std::move(b);
  }

  io::Loop& loop_;
  std::map<std::string, Queue> queues_;
};

/// Runs a task to its end on a simulated loop.
template <class T>
io::Task<void> keep(io::Task<T> task, std::optional<T>* out) {
  out->emplace(co_await std::move(task));
}

/// A subscriber or a sink: notes what comes, answers what it is told to.
class TestSite {
 public:
  explicit TestSite(io::Loop& loop)
      : server_(
            loop, {.max_body = 32 << 20},
            [this](http::Request request, http::Peer, http::Responder& responder) {
              return handle(this, std::move(request), &responder);
            },
            [](int status, std::string_view text) {
              return http::Response{status, {}, std::string(text)};
            }) {}
  http::Server& server() { return server_; }
  std::vector<http::Request> got;
  std::function<http::Response(const http::Request&)> answer;
  bool silent = false;

 private:
  static io::Task<void> handle(TestSite* site, http::Request request, http::Responder* responder) {
    http::Response response;
    if (site->answer) response = site->answer(request);
    site->got.push_back(std::move(request));
    if (site->silent) {
      io::Event never;
      co_await never;
    }
    (void)co_await responder->send(std::move(response));
  }
  http::Server server_;
};

}  // namespace knit::events
