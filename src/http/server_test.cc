#include "http/server.h"

#include "http/client.h"
#include "io/sim_loop.h"

namespace knit::http {
namespace {

using namespace std::chrono_literals;

Response plain(int status, std::string_view text) {
  return {status, {{"Content-Type", "text/plain"}}, std::string(text)};
}

io::Task<void> answer(Request request, Peer peer, Responder& responder) {
  if (request.path == "/stream") {
    Headers headers{{"Content-Type", "text/plain"}};
    (void)co_await responder.begin(200, std::move(headers));
    for (int i = 0; i < 3; ++i) (void)co_await responder.write("part" + std::to_string(i) + " ");
    (void)co_await responder.end();
    co_return;
  }
  if (request.path == "/nothing") co_return;
  std::string text = request.method + " " + request.path +
                     " a=" + std::string(request.query.get("a")) + " " + request.body + " " +
                     peer.tag;
  Response response = plain(200, text);
  (void)co_await responder.send(std::move(response));
}

class ServerTest : public ::testing::Test {
 protected:
  Connector connector() {
    return [this]() -> io::Task<Result<std::unique_ptr<io::Stream>>> { return connect(this); };
  }
  static io::Task<Result<std::unique_ptr<io::Stream>>> connect(ServerTest* t) {
    auto [a, b] = io::memory_streams(t->loop);
    t->server.serve(std::move(a), "tag");
    ++t->made;
    co_return std::move(b);
  }
  template <class T>
  static io::Task<void> keep(io::Task<T> task, std::optional<T>* out) {
    out->emplace(co_await task);
  }
  Result<Response> fetch(Request request) {
    std::optional<Result<Response>> out;
    const auto scope = loop.spawn_scoped(keep(client.send(std::move(request)), &out));
    loop.settle();
    if (!out) loop.advance(200s);
    return std::move(*out);
  }
  /// Sends bytes as they are and reads what comes until the server closes or waits.
  std::string raw(std::string bytes) {
    auto [a, b] = io::memory_streams(loop);
    server.serve(std::move(a));
    std::string got;
    const auto scope = loop.spawn_scoped(talk(b.get(), std::move(bytes), &got));
    loop.settle();
    return got;
  }
  static io::Task<void> talk(io::Stream* stream, std::string bytes, std::string* got) {
    (void)co_await stream->write(std::move(bytes));
    while (true) {
      auto piece = co_await stream->read(4096);
      if (!piece || piece->empty()) {
        *got += "[closed]";
        co_return;
      }
      *got += *piece;
    }
  }

  io::SimLoop loop;
  Server server{loop, ServerSettings{.max_connections = 3, .max_body = 1000}, answer, plain};
  int made = 0;
  Client client{loop, connector(), ClientSettings{.host = "test"}};
};

TEST_F(ServerTest, RequestsShareAConnection) {
  for (int i = 0; i < 3; ++i) {
    Request request{.method = "POST", .path = "/x y", .body = "hello"};
    request.query.add("a", "1&2");
    const auto got = fetch(std::move(request));
    ASSERT_TRUE(got);
    EXPECT_EQ(got->body, "POST /x y a=1&2 hello tag");
  }
  EXPECT_EQ(made, 1);
  EXPECT_EQ(fetch({.path = "/stream"})->body, "part0 part1 part2 ");
  EXPECT_EQ(fetch({.method = "HEAD", .path = "/y"})->body, "");
  EXPECT_EQ(made, 1);
  EXPECT_EQ(fetch({.path = "/nothing"})->status, 500);
}

TEST_F(ServerTest, AKeptConnectionThatHasGoneIsReplaced) {
  ASSERT_TRUE(fetch({.path = "/a"}));
  loop.advance(181s);
  EXPECT_EQ(server.connections(), 0u);
  ASSERT_TRUE(fetch({.path = "/a"}));
  EXPECT_EQ(made, 2);
}

TEST_F(ServerTest, WhatNeverReachesTheHandler) {
  EXPECT_EQ(fetch({.method = "POST", .body = std::string(1001, 'x')})->status, 413);
  EXPECT_EQ(raw("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" +
                std::string(1001, 'x') + "\r\n0\r\n\r\n")
                .substr(0, 12),
            "HTTP/1.1 413");
  EXPECT_EQ(raw("GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n").substr(0, 12), "HTTP/1.1 400");
  EXPECT_NE(raw("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
                .find("100 Continue"),
            std::string::npos);
}

// The answer must arrive although the peer is still writing: an early close would reset it.
TEST_F(ServerTest, ReadsAwayTheBodyThatWasTooLarge) {
  auto [a, b] = io::memory_streams(loop);
  server.serve(std::move(a));
  std::string got;
  const auto scope = loop.spawn_scoped(
      talk(b.get(), "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n", &got));
  loop.settle();
  EXPECT_TRUE(got.starts_with("HTTP/1.1 413")) << got;
  EXPECT_TRUE(got.ends_with("[closed]")) << got;  // its half: the peer may still write
  EXPECT_EQ(server.connections(), 1u);
  std::string rest(5000, 'x');
  bool written = false;
  const auto write = [](io::Stream* s, std::string text, bool* done) -> io::Task<void> {
    const auto r = co_await s->write(std::move(text));
    *done = r.has_value();
  };
  const auto more = loop.spawn_scoped(write(b.get(), std::move(rest), &written));
  loop.settle();
  EXPECT_TRUE(written);
  loop.advance(2s);
  EXPECT_EQ(server.connections(), 0u);
}

// Bodies that are not answered yet are bounded together, and room comes back.
TEST_F(ServerTest, BodiesTogetherAreBounded) {
  Server bounded(loop, ServerSettings{.max_body = 1000, .max_bodies = 1500}, answer, plain);
  std::string got[2];
  std::vector<std::unique_ptr<io::Stream>> mine;
  std::vector<io::Loop::Scope> scopes;
  const auto open = [&](std::string bytes, std::string* into) {
    auto [a, b] = io::memory_streams(loop);
    bounded.serve(std::move(a));
    mine.push_back(std::move(b));
    scopes.push_back(loop.spawn_scoped(talk(mine.back().get(), std::move(bytes), into)));
    loop.settle();
  };
  const std::string head = "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n";
  open(head + std::string(900, 'x'), &got[0]);
  open(head + std::string(900, 'x'), &got[1]);
  EXPECT_EQ(got[0], "");
  EXPECT_TRUE(got[1].starts_with("HTTP/1.1 503 ")) << got[1];
  scopes.erase(scopes.begin());
  mine.erase(mine.begin());  // the first goes away
  loop.advance(10s);
  std::string third;
  open(head + std::string(1000, 'x'), &third);
  EXPECT_TRUE(third.starts_with("HTTP/1.1 200 ")) << third;
}

TEST_F(ServerTest, PipelinedRequestsAreAnsweredInOrder) {
  const std::string got = raw(
      "GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_LT(got.find("GET /1"), got.find("GET /2"));
  EXPECT_TRUE(got.ends_with("[closed]")) << got;
}

TEST_F(ServerTest, SlowHeadsAndIdleConnectionsEnd) {
  auto [a, b] = io::memory_streams(loop);
  server.serve(std::move(a));
  std::string got;
  const auto scope = loop.spawn_scoped(talk(b.get(), "GET / HT", &got));
  loop.settle();
  loop.advance(9s);
  EXPECT_EQ(got, "");
  loop.advance(2s);
  EXPECT_EQ(got, "[closed]");
  EXPECT_EQ(server.connections(), 0u);
}

TEST_F(ServerTest, ConnectionsAreBounded) {
  std::vector<std::unique_ptr<io::Stream>> held;
  for (int i = 0; i < 5; ++i) {
    auto [a, b] = io::memory_streams(loop);
    server.serve(std::move(a));
    held.push_back(std::move(b));
  }
  EXPECT_EQ(server.connections(), 3u);
  server.drain();
  EXPECT_EQ(server.connections(), 0u);
}

}  // namespace
}  // namespace knit::http
