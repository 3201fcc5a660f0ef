// dataplane.md 7.1 and 7.5 through the whole road: what the parser's own table (http/h1_test.cc)
// cannot see. Raw bytes in, the app's view or the client's out.
#include "proxy/road_fixture.h"

namespace knit::proxy::test {
namespace {

class TrapsTest : public RoadTest {
 protected:
  /// Bytes as they are; `Host:` of the service and an end of head are added by `request`.
  Answer raw(const std::string& bytes) {
    return rig.one([=, this] { return ask("127.0.0.1", https, bytes, tls()); });
  }
  static std::string request(const std::string& line, const std::string& fields = "") {
    return line + "\r\nHost: " + kHost + "\r\n" + fields + "\r\n";
  }
};

// Each alone and behind a valid request: 4xx or 5xx, Connection: close, nothing reaches the app.
TEST_F(TrapsTest, HostileHeadsNeverReachTheApp) {
  App& app = start_app();
  const std::string te = "Transfer-Encoding: chunked\r\n";
  const struct {
    const char* name;
    std::string bytes;
    int status;
  } rows[] = {
      {"CL and TE", request("POST / HTTP/1.1", te + "Content-Length: 5\r\n") + "0\r\n\r\n", 400},
      {"TE in 1.0", request("POST / HTTP/1.0", te) + "0\r\n\r\n", 400},
      {"two CL", request("POST / HTTP/1.1", "Content-Length: 1\r\nContent-Length: 2\r\n"), 400},
      {"obs-fold", request("GET / HTTP/1.1", "X: a\r\n b\r\n"), 400},
      {"space before the colon", request("GET / HTTP/1.1", "X : a\r\n"), 400},
      {"bare LF", "GET / HTTP/1.1\nHost: " + std::string(kHost) + "\n\n", 400},
      {"two Hosts", request("GET / HTTP/1.1", "Host: a\r\n"), 400},
      {"HTTP/0.9", "GET /\r\n\r\n", 400},
      {"HTTP/1.2", request("GET / HTTP/1.2"), 505},
      {"h2 by prior knowledge", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
      {"CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 405},
      {"long URI", request("GET /" + std::string(17'000, 'a') + " HTTP/1.1"), 414},
      {"big head", request("GET / HTTP/1.1", "X: " + std::string(66'000, 'a') + "\r\n"), 431},
      {"unknown expectation", request("POST / HTTP/1.1", "Expect: x\r\n"), 400},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const int before = app.requests;
    const Answer alone = raw(row.bytes);
    EXPECT_EQ(alone.status(), row.status) << alone.bytes.substr(0, 300);
    EXPECT_EQ(app.requests, before);
    const Answer second = raw(request("GET /good HTTP/1.1") + row.bytes);
    EXPECT_EQ(second.status(), 200);
    EXPECT_NE(second.bytes.find("HTTP/1.1 " + std::to_string(row.status)), std::string::npos)
        << second.bytes;
    EXPECT_EQ(app.requests, before + 1);
    EXPECT_EQ(rig.engine->in_flight(), 0U);
  }
}

// A body that is refused half way: the app's connection is cut, and never used again.
TEST_F(TrapsTest, HostileChunksEndBothConnections) {
  App& app = start_app();
  const std::string head = request("POST / HTTP/1.1", "Transfer-Encoding: chunked\r\n");
  for (const char* body :
       {"0x5\r\nhello\r\n0\r\n\r\n", "5\r\nhelloXX0\r\n\r\n", "5\nhello\n0\n\n",
        "5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n", "0\r\nContent-Length: 1\r\n\r\n"}) {
    SCOPED_TRACE(body);
    const int before = app.requests;
    const Answer a = raw(head + body + request("GET /smuggled HTTP/1.1"));
    EXPECT_EQ(a.status(), 400) << a.bytes;
    EXPECT_EQ(a.bytes.find("smuggled"), std::string::npos);
    EXPECT_EQ(app.requests, before);
    EXPECT_EQ(rig.engine->in_flight(), 0U);
  }
  EXPECT_EQ(get().status(), 200);
}

TEST_F(TrapsTest, WhatTheAppSees) {
  start_app();
  const struct {
    const char* name;
    std::string bytes;
    std::vector<std::string> seen, unseen;
  } rows[] = {
      {"the authority of an absolute form wins over Host, and is the app's Host",
       "GET http://" + std::string(kHost) + "/x?y HTTP/1.1\r\nHost: other\r\n\r\n",
       {"GET /x?y HTTP/1.1\r\n", "Host: " + std::string(kHost) + "\r\n"},
       {"other", "http://"}},
      {"leading zeros of Content-Length go, other methods stay",
       request("brew / HTTP/1.1", "Content-Length: 003\r\n") + "abc",
       {"brew / HTTP/1.1\r\n", "Content-Length: 3\r\n", "abc"},
       {"Content-Length: 003"}},
      {"the body of a GET is not dropped",
       request("GET / HTTP/1.1", "Content-Length: 2\r\n") + "hi",
       {"Content-Length: 2\r\n", "\r\n\r\nhi"},
       {}},
      {"chunks are framed anew, extensions go, trailers are filtered",
       request("POST / HTTP/1.1", "Transfer-Encoding: Chunked\r\n") +
           "3;x=y\r\nabc\r\n00\r\nX-Sum: 1\r\nX-Forwarded-Client-Cert: forged\r\nK-Revision: "
           "forged\r\nX-Forwarded-For: forged\r\n\r\n",
       {"Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\nX-Sum: 1\r\n"},
       {"x=y", "forged"}},
      {"fields named by Connection go, what we set stays",
       request("GET / HTTP/1.1",
               "Connection: close, authorization, x-forwarded-client-cert, x-request-id, "
               "x-forwarded-for, x-forwarded-proto\r\nAuthorization: secret\r\n"),
       {"X-Forwarded-Client-Cert: By=", "X-Request-Id: ", "X-Forwarded-For: ",
        "X-Forwarded-Proto: https"},
       {"secret"}},
      {"hop-by-hop fields go",
       request("GET / HTTP/1.1",
               "Keep-Alive: hop\r\nProxy-Connection: hop\r\nTE: gzip\r\nTrailer: hop\r\n"
               "Upgrade: hop\r\n"),
       {"Host: "},
       {"hop", "gzip", "TE:"}},
      {"TE: trailers stays",
       request("GET / HTTP/1.1", "TE: gzip, trailers\r\n"),
       {"TE: trailers\r\n"},
       {"gzip"}},
      {"names that differ by an underscore are no second ones",
       request("GET / HTTP/1.1",
               "X_Forwarded_For: forged\r\nX-Forwarded_Client-Cert: forged\r\nK_Revision: "
               "forged\r\nKn_Namespace: forged\r\nX_Envoy_Peer: forged\r\nX_Request_Id: forged\r\n"
               "Knative_Serving_Revision: forged\r\nX_Own: kept\r\n"),
       {"X_Own: kept"},
       {"forged"}},
      {"several XFCC and K-*",
       request("GET / HTTP/1.1",
               "X-Forwarded-Client-Cert: forged\r\nX-Forwarded-Client-Cert: forged\r\nK-Revision: "
               "forged\r\nk-anything: forged\r\nX-Envoy-Original-Path: forged\r\n"),
       {"X-Forwarded-Client-Cert: By="},
       {"forged"}},
      {"bytes past ASCII pass untouched",
       request("GET / HTTP/1.1", "X: \xa0\x85 b\xa0\r\n"),
       {"X: \xa0\x85 b\xa0\r\n"},
       {}},
      {"offers other than websocket are ignored, h2c is not passed on",
       request("GET / HTTP/1.1",
               "Connection: upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n"),
       {"GET / HTTP/1.1"},
       {"h2c", "HTTP2-Settings"}},
      {"an offer of TLS too",
       request("GET / HTTP/1.1", "Connection: upgrade\r\nUpgrade: TLS/1.2\r\n"),
       {"GET / HTTP/1.1"},
       {"TLS/1.2"}},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    ClientOptions o = tls();
    o.until = row.seen.back();
    o.timeout_ms = 1000;
    const Answer a = rig.one([&] { return ask("127.0.0.1", https, row.bytes, o); });
    EXPECT_EQ(a.status(), 200) << a.bytes;
    for (const auto& s : row.seen) EXPECT_NE(a.body().find(s), std::string::npos) << s << a.bytes;
    for (const auto& s : row.unseen) EXPECT_EQ(a.body().find(s), std::string::npos) << s << a.bytes;
  }
}

TEST_F(TrapsTest, UpgradeToWebsocketIsRefusedByName) {
  App& app = start_app();
  const Answer a = get("Connection: upgrade\r\nUpgrade: websocket\r\n");
  EXPECT_EQ(a.status(), 501);
  EXPECT_NE(a.body().find("websocket"), std::string::npos);
  EXPECT_EQ(app.requests, 0);
}

// An early final answer while the body is still on its way: passed on, both connections end.
TEST_F(TrapsTest, AnEarlyAnswerEndsTheConnection) {
  App& app = start_app();
  app.early = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n";
  const Answer a = raw(request("POST / HTTP/1.1", "Content-Length: 100000\r\n") + "some");
  EXPECT_EQ(a.status(), 413) << a.bytes;
  app.early.clear();
  const int connections = app.connections;
  EXPECT_EQ(get().status(), 200);
  EXPECT_EQ(app.connections, connections + 1) << "half a request is on the old one";
  EXPECT_EQ(rig.engine->in_flight(), 0U);
}

// Response queue poisoning: bytes behind an answer must not answer the next request.
TEST_F(TrapsTest, BytesBehindAnAnswerAreDiscardedWithTheConnection) {
  App& app = start_app();
  app.early = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nX: poison\r\n\r\n";
  const Answer a = get();
  EXPECT_EQ(a.body(), "ok");
  app.early.clear();
  for (int i = 0; i < 3; ++i) {
    const Answer next = get();
    EXPECT_EQ(next.status(), 200);
    EXPECT_EQ(next.bytes.find("poison"), std::string::npos) << next.bytes;
  }
}

TEST_F(TrapsTest, AnswersThatEndTooSoonAreCutOffAtTheClientToo) {
  App& app = start_app();
  for (const char* bytes :
       {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n0\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\nzz\r\n"}) {
    SCOPED_TRACE(bytes);
    app.fixed = bytes;
    const Answer a = get();
    EXPECT_EQ(a.status(), 200);
    EXPECT_NE(a.bytes.find("short"), std::string::npos);
    EXPECT_EQ(a.bytes.find("0\r\n\r\n"), std::string::npos) << "no clean end: " << a.bytes;
    EXPECT_EQ(rig.engine->in_flight(), 0U);
  }
}

TEST_F(TrapsTest, AnswersAsTheyAre) {
  App& app = start_app();
  const struct {
    const char* name;
    const char* fields;
    std::string fixed, want;
  } rows[] = {
      {"several interim answers", "",
       "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: "
       "b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
       "Link: a\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: b\r\n\r\nHTTP/1.1 200 OK\r\n"},
      {"204 with a length", "", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
       "HTTP/1.1 204 No Content\r\n"},
      {"304 keeps the length it tells", "",
       "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "Content-Length: 5\r\n"},
      {"205", "", "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n",
       "HTTP/1.1 205 Reset Content\r\n"},
      {"until close is chunked for 1.1", "", "HTTP/1.0 200 OK\r\n\r\nbye",
       "\r\n\r\n3\r\nbye\r\n0\r\n\r\n"},
      {"trailers that the client asked for, without ours", "TE: trailers\r\n",
       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: "
       "1\r\nX-Envoy-Peer: forged\r\n\r\n",
       "2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n"},
      {"trailers that nobody asked for", "",
       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n",
       "2\r\nhi\r\n0\r\n\r\n"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    app.fixed = row.fixed;
    const Answer a = get(row.fields);
    EXPECT_NE(a.bytes.find(row.want), std::string::npos) << a.bytes;
    EXPECT_EQ(a.bytes.find("forged"), std::string::npos) << a.bytes;
    EXPECT_EQ(rig.engine->in_flight(), 0U);
  }
  app.fixed = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
  const Answer head = raw(request("HEAD / HTTP/1.1", "Connection: close\r\n"));
  EXPECT_NE(head.bytes.find("Content-Length: 5\r\n"), std::string::npos) << head.bytes;
  EXPECT_EQ(head.body(), "");
}

// The app closes a kept connection just when it is used again: once more for what cannot have
// happened twice.
TEST_F(TrapsTest, AKeptConnectionThatTheAppClosedIsReplacedOnce) {
  App& app = start_app();
  EXPECT_EQ(get().status(), 200);
  app.close_after_head = 1;
  const int before = app.requests;
  EXPECT_EQ(get().status(), 200);
  EXPECT_EQ(app.requests, before + 1);
  app.close_after_head = 1;
  const Answer post =
      raw(request("POST / HTTP/1.1", "Connection: close\r\nContent-Length: 3\r\n") + "abc");
  EXPECT_EQ(post.status(), 502) << "it may have happened";
  EXPECT_EQ(rig.engine->in_flight(), 0U);
}

}  // namespace
}  // namespace knit::proxy::test
