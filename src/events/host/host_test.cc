// The data plane from objects and requests to deliveries, in simulated time.
#include "events/host/host.h"

#include "events/host/test_api.h"
#include "events/host/test_road.h"
#include "events/log/sim_disk.h"
#include "io/sim_loop.h"

namespace knit::events {
namespace {

using namespace std::chrono_literals;

const std::string kBroker = "/apis/eventing.knative.dev/v1/namespaces/ns/brokers/b";
const std::string kTrigger = "/apis/eventing.knative.dev/v1/namespaces/ns/triggers/t";
const std::string kTriggerChannel =
    "/apis/messaging.knative.dev/v1/namespaces/ns/inmemorychannels/b-kne-trigger";
const std::string kChannel = "/apis/messaging.knative.dev/v1/namespaces/ns/inmemorychannels/c";
const std::string kPing = "/apis/sources.knative.dev/v1/namespaces/ns/pingsources/p";

class HostTest : public testing::Test {
 protected:
  HostTest() {
    road.sites["sub:80"] = &sub.server();
    api.put(kBroker, R"({"metadata":{"uid":"bu","annotations":
        {"eventing.knative.dev/broker.class":"MTChannelBasedBroker"}},
        "status":{"annotations":{"knative.dev/channelName":"b-kne-trigger"}}})");
    api.put(kTrigger, R"({"metadata":{"uid":"tu"},"spec":{"broker":"b",
        "filter":{"attributes":{"type":"t"}}},"status":{"subscriberUri":"http://sub/x"}})");
    api.put(kTriggerChannel, R"({"metadata":{"uid":"cu",
        "ownerReferences":[{"kind":"Broker","uid":"bu","controller":true}]},
        "spec":{"subscribers":[{"uid":"su","generation":1,"subscriberUri":
        "http://broker-filter.knative-eventing.svc.cluster.local/triggers/ns/t/tu"}]}})");
    api.put(kChannel, R"({"metadata":{"uid":"c2"},"spec":{"subscribers":[
        {"uid":"s2","generation":3,"subscriberUri":"http://sub/c"}]}})");
  }
  ~HostTest() override { clients.clear(); }
  void start(HostSettings settings = {}) {
    host = std::make_unique<Host>(loop, road, api.client(), disk, *random, std::move(settings));
    host->start([this] { ++serving; });
    loop.advance(100ms);
  }
  void stop() {
    std::optional<Result<void>> stopped;
    const auto scope = loop.spawn_scoped(keep(host->stop(), &stopped));
    loop.settle();
    ASSERT_TRUE(stopped && *stopped);
    host.reset();
    clients.clear();
  }
  static io::Task<Result<std::unique_ptr<io::Stream>>> arrive(HostTest* t, std::string role,
                                                              std::vector<std::string> hops) {
    co_return t->road.arrive(role, std::move(hops));
  }
  static io::Task<Result<std::unique_ptr<io::Stream>>> dial(HostTest* t) {
    auto [a, b] = io::memory_streams(t->loop);
    t->host->administer(std::move(a));
    co_return std::move(b);
  }
  std::optional<http::Response> post(const std::string& role, http::Request request,
                                     std::vector<std::string> hops = {}) {
    clients.push_back(std::make_unique<http::Client>(
        loop, [this, role, hops] { return arrive(this, role, hops); }, http::ClientSettings{}));
    std::optional<Result<http::Response>> out;
    const auto scope = loop.spawn_scoped(keep(clients.back()->send(std::move(request)), &out));
    loop.settle();
    if (!out || !*out) return std::nullopt;
    return std::move(**out);
  }
  http::Request event(std::string path, std::string type = "t") {
    http::Request r;
    r.method = "POST";
    r.path = std::move(path);
    r.headers = {{"Host", "broker-ingress.knative-eventing.svc.cluster.local"},
                 {"ce-specversion", "1.0"},
                 {"ce-id", "1"},
                 {"ce-source", "/s"},
                 {"ce-type", std::move(type)}};
    r.body = "data";
    return r;
  }
  int status_of(const std::string& role, http::Request request) {
    const auto response = post(role, std::move(request));
    return response ? response->status : 0;
  }
  std::string subscribers(const std::string& path) {
    return json::canonical(Json(json::array(api.get(path), {"status", "subscribers"})));
  }

  std::unique_ptr<Random> random = seeded_random(4);
  std::shared_ptr<SimDisk> disk = std::make_shared<SimDisk>(*random);
  io::SimLoop loop;
  TestRoad road{loop};
  TestApi api{loop};
  TestSite sub{loop};
  std::unique_ptr<Host> host;
  std::vector<std::unique_ptr<http::Client>> clients;
  int serving = 0;
};

TEST_F(HostTest, AnEventGoesThroughBrokerAndTrigger) {
  start();
  EXPECT_EQ(serving, 1);
  EXPECT_EQ(status_of("mt-broker-ingress", event("/ns/b")), 202);
  ASSERT_EQ(sub.got.size(), 1u);
  EXPECT_EQ(sub.got[0].path, "/x");
  EXPECT_EQ(sub.got[0].headers.get("Host"), "sub");
  EXPECT_EQ(sub.got[0].headers.get("Kn-Namespace"), "ns");
  EXPECT_EQ(sub.got[0].headers.get("Prefer"), "reply");
  EXPECT_EQ(sub.got[0].body, "data");
  EXPECT_EQ(road.connected, std::vector<std::string>{"mt-broker-filter sub:80"})
      << "the filter's identity delivers";
  EXPECT_EQ(status_of("mt-broker-ingress", event("/ns/b", "other")), 202);
  EXPECT_EQ(sub.got.size(), 1u) << "the filter";
}

TEST_F(HostTest, AChannelIsReachedByItsHost) {
  start();
  http::Request r = event("/");
  r.headers.set("Host", "c-kn-channel.ns.svc.cluster.local");
  EXPECT_EQ(status_of("imc-dispatcher", r), 202);
  ASSERT_EQ(sub.got.size(), 1u);
  EXPECT_EQ(sub.got[0].path, "/c");
  EXPECT_EQ(road.connected, std::vector<std::string>{"imc-dispatcher sub:80"});
  EXPECT_EQ(status_of("imc-dispatcher", event("/ns/b")), 400) << "a broker has another door";
  EXPECT_EQ(status_of("mt-broker-ingress", event("/ns/c")), 404);
}

TEST_F(HostTest, TellsTheChannelsWhatIsServed) {
  start();
  EXPECT_EQ(subscribers(kTriggerChannel),
            R"([{"observedGeneration":1,"ready":"True","uid":"su"}])");
  EXPECT_EQ(subscribers(kChannel), R"([{"observedGeneration":3,"ready":"True","uid":"s2"}])");
  EXPECT_EQ(api.patches, 2u);
  loop.advance(1min);
  EXPECT_EQ(api.patches, 2u) << "nothing to tell, nothing told";
  // A Subscription goes, then its channel's API is away for a while.
  api.refuse = 503;
  api.merge(kChannel, R"({"spec":{"subscribers":null}})");
  loop.advance(3s);
  api.refuse = 0;
  loop.advance(3s);
  EXPECT_EQ(subscribers(kChannel), "[]");
}

TEST_F(HostTest, ADiskThatFailsIsNotCalledReady) {
  disk->set_capacity(0);
  start();
  EXPECT_EQ(api.patches, 0u);
  EXPECT_EQ(status_of("mt-broker-ingress", event("/ns/b")), 404);
  disk->set_capacity(UINT64_MAX);
  loop.advance(3s);
  EXPECT_EQ(api.patches, 2u);
  EXPECT_EQ(status_of("mt-broker-ingress", event("/ns/b")), 202);
}

TEST_F(HostTest, FollowsChanges) {
  start();
  api.merge(kTrigger, R"({"spec":{"filter":{"attributes":{"type":"u"}}}})");
  loop.advance(100ms);
  EXPECT_EQ(status_of("mt-broker-ingress", event("/ns/b", "t")), 202);
  EXPECT_EQ(sub.got.size(), 0u);
  EXPECT_EQ(status_of("mt-broker-ingress", event("/ns/b", "u")), 202);
  EXPECT_EQ(sub.got.size(), 1u);
  api.merge(kBroker, R"({"status":{"annotations":null}})");
  loop.advance(100ms);
  EXPECT_EQ(status_of("mt-broker-ingress", event("/ns/b")), 500) << "2.2: no channel address";
  api.remove(kBroker);
  loop.advance(100ms);
  EXPECT_EQ(status_of("mt-broker-ingress", event("/ns/b")), 404);
}

TEST_F(HostTest, WhatWasAcceptedIsDeliveredByTheNextProcess) {
  api.merge(kBroker, R"({"spec":{"delivery":{"retry":100,"backoffPolicy":"linear",
                                              "backoffDelay":"PT10S"}}})");
  road.sites.clear();
  start();
  EXPECT_EQ(status_of("mt-broker-ingress", event("/ns/b")), 202);
  stop();
  loop.advance(1min);
  road.sites["sub:80"] = &sub.server();
  start();
  loop.advance(1min);
  EXPECT_EQ(sub.got.size(), 1u);
  EXPECT_EQ(serving, 2);
}

// A trigger channel that is made again by its controller takes nothing with it.
TEST_F(HostTest, ANewTriggerChannelLosesNothing) {
  api.merge(kBroker, R"({"spec":{"delivery":{"retry":100,"backoffPolicy":"linear",
                                              "backoffDelay":"PT10S"}}})");
  road.sites.clear();
  start();
  EXPECT_EQ(status_of("mt-broker-ingress", event("/ns/b")), 202);
  api.remove(kTriggerChannel);
  loop.advance(1s);
  road.sites["sub:80"] = &sub.server();
  loop.advance(1min);
  EXPECT_EQ(sub.got.size(), 1u);
}

TEST_F(HostTest, TheGatekeeperSeesWhoCame) {
  std::vector<std::string> seen;
  HostSettings settings;
  settings.gatekeeper = [&seen](const std::vector<std::string>& hops, const Target& target,
                                const Event& e) {
    seen = hops;
    return target.name == "b" && e.type == "t" ? Outcome::Accepted : Outcome::Forbidden;
  };
  start(settings);
  EXPECT_EQ(
      post("mt-broker-ingress", event("/ns/b"), {"spiffe://a/ns/x/sa/y", "spiffe://b"})->status,
      202);
  EXPECT_EQ(seen, (std::vector<std::string>{"spiffe://a/ns/x/sa/y", "spiffe://b"}));
  EXPECT_EQ(status_of("mt-broker-ingress", event("/ns/b", "u")), 403);
  EXPECT_TRUE(seen.empty());
}

TEST_F(HostTest, BoundsBodiesAndConnections) {
  HostSettings settings;
  settings.door.max_connections = 2;
  start(settings);
  http::Request big = event("/ns/b");
  big.body = std::string(18 << 20, 'x');
  EXPECT_EQ(status_of("mt-broker-ingress", big), 413);
  loop.advance(5s);  // reads away what the sender still writes
  EXPECT_EQ(status_of("mt-broker-ingress", event("/ns/b")), 202);
  EXPECT_EQ(status_of("mt-broker-ingress", event("/ns/b")), 202);
  EXPECT_EQ(status_of("mt-broker-ingress", event("/ns/b")), 0) << "waits at the door";
  clients.clear();
  loop.advance(1s);
  EXPECT_EQ(status_of("mt-broker-ingress", event("/ns/b")), 202);
}

TEST_F(HostTest, PingSourcesTickIntoABroker) {
  road.sites["broker-ingress:80"] = &sub.server();
  start();
  api.put(kPing, R"({"metadata":{"uid":"pu"},"spec":{"schedule":"* * * * *","data":"x",
      "contentType":"text/plain"},"status":{"sinkUri":"http://broker-ingress/ns/b"}})");
  loop.advance(2min + 1s);
  EXPECT_EQ(sub.got.size(), 2u);
  EXPECT_EQ(road.connected.back(), "pingsource-mt-adapter broker-ingress:80");
  EXPECT_EQ(host->pings().sent, 2u);
  api.remove(kPing);
  loop.advance(2min);
  EXPECT_EQ(sub.got.size(), 2u);
}

// knit event: what the data plane tells and does for people.
TEST_F(HostTest, Administers) {
  api.merge(kBroker, R"({"spec":{"delivery":{"retry":0}},
      "status":{"deadLetterSinkUri":"http://dls"}})");
  start();
  http::Client admin(loop, [this] { return dial(this); }, http::ClientSettings{.host = "admin"});
  const auto ask = [&](std::string method, std::string path, std::string query,
                       http::Request base = {}) {
    base.method = std::move(method);
    base.path = std::move(path);
    base.query = http::Query(query);
    std::optional<Result<http::Response>> out;
    const auto scope = loop.spawn_scoped(keep(admin.send(std::move(base)), &out));
    loop.settle();
    KNIT_CHECK(out && *out);
    return std::move(**out);
  };
  const auto json_of = [&](const http::Response& r) {
    auto dom = json::parse(r.body);
    KNIT_CHECK(dom.has_value());
    return std::move(*dom);
  };
  EXPECT_EQ(ask("POST", "/send", "namespace=ns&name=b", event("/")).status, 202);
  EXPECT_EQ(ask("POST", "/send", "kind=channel&namespace=ns&name=c", event("/")).status, 202);
  EXPECT_EQ(ask("POST", "/send", "namespace=ns&name=none", event("/")).status, 404);
  EXPECT_EQ(sub.got.size(), 2u);
  sub.answer = [](const http::Request&) { return http::Response{400, {}, {}}; };
  http::Request second = event("/");
  second.headers.set("ce-id", "2");
  EXPECT_EQ(ask("POST", "/send", "namespace=ns&name=b", second).status, 202);
  loop.advance(100ms);

  const Json one = json_of(ask("GET", "/trace", "id=1"));
  ASSERT_EQ(json::array(one, {"events"}).size(), 2u) << json::print(one);
  const Json& at = json::array(one, {"events"})[0];
  EXPECT_EQ(json::str(at, {"stream"}), "broker ns/b");
  EXPECT_EQ(json::str(at, {"event", "source"}), "/s");
  const Json& t = json::array(at, {"subscribers"}).at(0);
  EXPECT_EQ(json::str(t, {"label"}), "trigger t");
  EXPECT_TRUE(json::boolean(t, {"filter"}));
  EXPECT_EQ(json::str(t, {"state"}), "finished");
  EXPECT_EQ(json::str(json::array(t, {"steps"}).at(0), {"what"}), "attempt");
  EXPECT_EQ(json::i64(json::array(t, {"steps"}).at(0), {"status"}), 200);

  const Json two = json_of(ask("GET", "/trace", "id=2"));
  const Json& parked = json::array(json::array(two, {"events"}).at(0), {"subscribers"}).at(0);
  EXPECT_EQ(json::str(parked, {"state"}), "parked") << json::print(two);
  EXPECT_NE(json::print(parked).find("no ServiceEntry allows dls:80"), std::string::npos);
  const Json dlq = json_of(ask("GET", "/dlq", ""));
  EXPECT_EQ(json::str(json::array(dlq, {"events"}).at(0), {"event", "id"}), "2");
  EXPECT_EQ(json::str(json::array(dlq, {"events"}).at(0), {"deadLetterSink"}), "http://dls");

  TestSite dls(loop);
  road.sites["dls:80"] = &dls.server();
  EXPECT_EQ(json::i64(json_of(ask("POST", "/redrive", "subscriber=other")), {"redriven"}), 0);
  EXPECT_EQ(json::i64(json_of(ask("POST", "/redrive", "subscriber=trigger t")), {"redriven"}), 1);
  loop.advance(100ms);
  EXPECT_EQ(dls.got.size(), 1u);

  sub.answer = {};
  const Json again =
      json_of(ask("POST", "/replay", "namespace=ns&name=b&subscriber=trigger t&from=0"));
  EXPECT_EQ(json::i64(again, {"until"}), 2);
  loop.advance(100ms);
  EXPECT_EQ(sub.got.size(), 5u) << "both of the broker's once more";
  EXPECT_EQ(ask("POST", "/send", "namespace=ns&name=b", event("/")).status, 202);
  EXPECT_EQ(sub.got.size(), 6u) << "what comes after goes once";
  const Json recent = json_of(ask("GET", "/recent", "namespace=ns&name=b&limit=2"));
  EXPECT_EQ(json::array(recent, {"events"}).size(), 2u);
  EXPECT_EQ(json::i64(recent, {"next"}), 3);
  const Json stat = json_of(ask("GET", "/stat", ""));
  EXPECT_EQ(json::array(json::array(stat, {"streams"}).at(0), {"subscribers"}).size(), 1u)
      << "the replay is through: " << json::print(stat);
  for (const char* bad : {"/replay", "/trace", "/recent", "/nothing"}) {
    EXPECT_GE(ask(bad == std::string_view("/replay") ? "POST" : "GET", bad, "from=0").status, 400)
        << bad;
  }
  EXPECT_EQ(ask("GET", "/recent", "kind=x").status, 400);
  EXPECT_EQ(ask("GET", "/recent", "from=x").status, 400);
}

}  // namespace
}  // namespace knit::events
