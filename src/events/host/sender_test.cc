#include "events/host/sender.h"

#include "events/host/test_road.h"
#include "io/sim_loop.h"

namespace knit::events {
namespace {

using namespace std::chrono_literals;

TEST(Url, Table) {
  const struct {
    const char* text;
    const char* want;  // host|port|authority|path|query, or the error's end
  } rows[] = {
      {"http://a", "a|80|a|/|"},
      {"http://a.b:8080/x/y?z=1&w#f", "a.b|8080|a.b:8080|/x/y|z=1&w"},
      {"http://a?q", "a|80|a|/|q"},
      {"https://a/", "a|443|a|/|"},
      {"http://[::1]:90/p", "::1|90|[::1]:90|/p|"},
      {"http://[::1]", "::1|80|[::1]|/|"},
      {"", "there is no address"},
      {"ftp://a", "not an http or https URL"},
      {"http://", "a URL without a host"},
      {"http://u:p@a/", "a URL with user information"},
      {"http://a:0/", "a malformed port"},
      {"http://a:70000/", "a malformed port"},
      {"http://a:8x/", "a malformed port"},
      {"http://[::1", "a '[' without ']'"},
      {"http://[::1]x", "a malformed authority"},
      {"http://a\r\nHost: b/", "a malformed authority"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.text);
    const auto url = parse_url(row.text);
    if (url) {
      EXPECT_EQ(url->host + "|" + std::to_string(url->port) + "|" + url->authority + "|" +
                    url->path + "|" + url->query,
                row.want);
    } else {
      EXPECT_TRUE(url.error().message().ends_with(row.want)) << url.error().message();
    }
  }
}

class SenderTest : public testing::Test {
 protected:
  SenderTest() { road.sites["site:80"] = &site.server(); }
  std::optional<Answer> send(std::string url, std::string role = "mt-broker-filter",
                             Endpoint more = {}) {
    OutMessage m;
    m.to = std::move(more);
    m.to.url = std::move(url);
    m.to.role = std::move(role);
    m.headers = {{"ce-id", "1"}};
    m.body = "data";
    std::optional<Answer> out;
    scopes.push_back(loop.spawn_scoped(keep(sender.send(std::move(m)), &out)));
    loop.settle();
    return out;
  }

  io::SimLoop loop;
  TestRoad road{loop};
  TestSite site{loop};
  RoadSender sender{loop, road, {.max_hosts = 2, .max_answer = 1000}};
  std::vector<io::Loop::Scope> scopes;
};

TEST_F(SenderTest, SendsOverKeptConnectionsOfTheRole) {
  site.answer = [](const http::Request&) { return http::Response{200, {{"ce-id", "r"}}, "reply"}; };
  for (int i = 0; i < 3; ++i) {
    const auto answer = send("http://site/a%20b?c=d");
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->status, 200);
    EXPECT_EQ(answer->body, "reply");
    EXPECT_EQ(answer->headers.get("ce-id"), "r");
  }
  EXPECT_EQ(road.connected, std::vector<std::string>{"mt-broker-filter site:80"});
  EXPECT_EQ(site.got[0].method, "POST");
  EXPECT_EQ(site.got[0].path, "/a b");
  EXPECT_EQ(site.got[0].query.get("c"), "d");
  EXPECT_EQ(site.got[0].headers.get("Host"), "site");
  EXPECT_EQ(site.got[0].body, "data");
  // Another role is another identity: never over the same connection.
  EXPECT_TRUE(send("http://site/", "imc-dispatcher"));
  EXPECT_EQ(road.connected.back(), "imc-dispatcher site:80");
}

TEST_F(SenderTest, WhatCannotBeSentSaysWhy) {
  const struct {
    const char* url;
    Endpoint more;
    const char* want;
  } rows[] = {
      {"http://other/", {}, "no ServiceEntry allows other:80"},
      {"", {}, "there is no address"},
      {"https://site/", {}, "no CACerts"},
      {"http://site/", {"", "", "aud", ""}, "authentication-oidc is not supported"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.want);
    const auto answer = send(row.url, "r", row.more);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->status, 0);
    EXPECT_NE(answer->error.find(row.want), std::string::npos) << answer->error;
  }
  EXPECT_TRUE(site.got.empty());
}

TEST_F(SenderTest, BoundsAnswersAndPools) {
  site.answer = [](const http::Request&) {
    return http::Response{200, {}, std::string(2000, 'x')};
  };
  const auto answer = send("http://site/");
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 0) << "a huge reply";
  EXPECT_NE(answer->error.find("larger than 1000"), std::string::npos) << answer->error;
  site.answer = {};
  for (const char* host : {"a", "b", "c"}) {
    road.sites[std::string(host) + ":80"] = &site.server();
    EXPECT_EQ(send("http://" + std::string(host))->status, 200);
  }
  EXPECT_EQ(sender.hosts(), 2u);
  scopes.clear();
  loop.advance(2min);
  EXPECT_EQ(sender.hosts(), 0u);
  EXPECT_EQ(site.server().connections(), 0u) << "kept connections end with their pool";
}

TEST_F(SenderTest, CancellingGivesTheConnectionUp) {
  site.silent = true;
  EXPECT_FALSE(send("http://site/"));
  EXPECT_EQ(site.server().connections(), 1u);
  scopes.clear();
  loop.advance(1s);
  EXPECT_EQ(site.got.size(), 1u);
  loop.advance(2min);
  EXPECT_EQ(sender.hosts(), 0u);
}

}  // namespace
}  // namespace knit::events
