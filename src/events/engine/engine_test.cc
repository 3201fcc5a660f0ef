// An ingress from end to end in simulated time: spec/eventing.md 2.2, 2.3, 4.2, 4.3.
#include "events/engine/engine.h"

#include "events/log/sim_disk.h"
#include "io/sim_loop.h"

namespace knit::events {
namespace {

using namespace std::chrono_literals;

class FakeSender final : public Sender {
 public:
  io::Task<Answer> send(OutMessage message) override {
    got.push_back(message.to.url + " " + std::string(message.headers.get("ce-id")));
    last = message;
    const auto it = answers.find(message.to.url);
    return deliver(it == answers.end() ? Answer{200, {}, {}, {}} : it->second(message));
  }
  std::size_t count(const std::string& url) const {
    return static_cast<std::size_t>(std::count_if(
        got.begin(), got.end(), [&](const auto& g) { return g.starts_with(url + " "); }));
  }
  std::vector<std::string> got;
  OutMessage last;
  std::map<std::string, std::function<Answer(const OutMessage&)>> answers;

 private:
  static io::Task<Answer> deliver(Answer answer) { co_return answer; }
};

class EngineTest : public testing::Test {
 protected:
  void SetUp() override { start(); }
  void start(EngineOptions options = {}) {
    engine.reset();
    engine = std::make_unique<Engine>(loop, disk, sender, options);
  }
  template <class T>
  static io::Task<void> store(io::Task<T> task, std::optional<T>* out) {
    out->emplace(co_await std::move(task));
  }
  template <class T>
  T run(io::Task<T> task) {
    std::optional<T> out;
    const auto scope = loop.spawn_scoped(store(std::move(task), &out));
    loop.settle();
    KNIT_CHECK(out.has_value());
    return std::move(*out);
  }
  StreamSpec broker(const std::string& name, const std::string& uid = "u1") {
    StreamSpec s;
    s.key = {StreamKind::Broker, "ns", name, uid};
    Subscription t;
    t.name = "t-" + name;
    t.subscriber.url = "http://sub-" + name;
    t.reply_broker = "ns/" + name;
    t.strict_replies = true;
    t.ns = "ns";
    s.subscriptions = {t};
    return s;
  }
  StreamSpec channel(const std::string& name) {
    StreamSpec s;
    s.key = {StreamKind::Channel, "ns", name, "u"};
    Subscription t;
    t.name = "s-" + name;
    t.subscriber.url = "http://sub-" + name;
    s.subscriptions = {t};
    return s;
  }
  void apply(std::vector<StreamSpec> specs) {
    const auto r = run(engine->apply(std::move(specs)));
    ASSERT_TRUE(r) << r.error().message();
  }
  http::Request event(std::string path, const std::string& id = "1") {
    http::Request r;
    r.method = "POST";
    r.path = std::move(path);
    r.headers = {{"Host", "broker-ingress.knative-eventing.svc.cluster.local"},
                 {"ce-specversion", "1.0"},
                 {"ce-id", id},
                 {"ce-source", "/s"},
                 {"ce-type", "t"},
                 {"content-type", "text/plain"}};
    r.body = "data";
    return r;
  }
  http::Response post(http::Request r, Door door = Door::Broker, Engine::Allow allow = {}) {
    return run(engine->ingest(door, std::move(r), std::move(allow)));
  }

  std::unique_ptr<Random> random = seeded_random(9);
  std::shared_ptr<SimDisk> disk = std::make_shared<SimDisk>(*random);
  io::SimLoop loop;
  FakeSender sender;
  std::unique_ptr<Engine> engine;
};

// 2.2, columns MT broker and IMC, changed as 7.1 says.
TEST_F(EngineTest, StatusTable) {
  apply({broker("b"), channel("c")});
  const auto with = [&](auto change) {
    http::Request r = event("/ns/b");
    change(r);
    return r;
  };
  const struct {
    const char* name;
    Door door;
    http::Request request;
    int status;
  } rows[] = {
      {"accepted", Door::Broker, event("/ns/b"), 202},
      {"method not POST", Door::Broker, with([](auto& r) { r.method = "PUT"; }), 405},
      {"OPTIONS", Door::Broker, with([](auto& r) { r.method = "OPTIONS"; }), 200},
      {"path /", Door::Broker, event("/"), 404},
      {"wrong path", Door::Broker, event("/ns/b/c"), 400},
      {"not a CloudEvent", Door::Broker, with([](auto& r) { r.headers = {}; }), 400},
      {"wrong specversion", Door::Broker,
       with([](auto& r) { r.headers.set("ce-specversion", "2.0"); }), 400},
      {"version 0.3", Door::Broker, with([](auto& r) { r.headers.set("ce-specversion", "0.3"); }),
       202},
      {"unknown broker", Door::Broker, event("/ns/none"), 404},
      {"unknown namespace", Door::Broker, event("/other/b"), 404},
      {"a channel is no broker", Door::Broker, event("/ns/c"), 404},
      {"TTL used up", Door::Broker,
       with([](auto& r) { r.headers.add("ce-knativebrokerttl", "1"); }), 400},
      {"too large", Door::Broker, with([](auto& r) { r.body = std::string(9 << 20, 'x'); }), 413},
      {"probe", Door::Broker, with([](auto& r) {
         r.method = "GET";
         r.path = "/healthz";
       }),
       200},
      {"channel by path", Door::ChannelByPath, event("/ns/c"), 202},
      {"channel by host", Door::ChannelByHost, with([](auto& r) {
         r.path = "/";
         r.headers.set("Host", "c-kn-channel.ns.svc.cluster.local");
       }),
       202},
      {"unknown channel", Door::ChannelByHost, with([](auto& r) {
         r.path = "/";
         r.headers.set("Host", "x-kn-channel.ns.svc.cluster.local");
       }),
       404},
      {"channel, wrong path", Door::ChannelByHost, with([](auto& r) {
         r.path = "/x";
         r.headers.set("Host", "c-kn-channel.ns.svc.cluster.local");
       }),
       400},
      {"a TTL means nothing to a channel", Door::ChannelByPath, with([](auto& r) {
         r.path = "/ns/c";
         r.headers.add("ce-knativebrokerttl", "1");
       }),
       202},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const auto response = post(row.request, row.door);
    EXPECT_EQ(response.status, row.status) << response.body;
  }
  EXPECT_EQ(engine->stats().accepted, 5u);
  EXPECT_EQ(post(with([](auto& r) { r.method = "OPTIONS"; })).headers.get("Allow"),
            "POST, OPTIONS");
  EXPECT_NE(post(with([](auto& r) { r.body = std::string(9 << 20, 'x'); })).body.find("8388608"),
            std::string::npos)
      << "the limit is named";
  for (const Outcome o : {Outcome::Unauthenticated, Outcome::Forbidden}) {
    const auto allow = [&](const Target& target, const Event& e) {
      EXPECT_EQ(target.name, "b");
      EXPECT_EQ(e.id, "1");
      return o;
    };
    EXPECT_EQ(post(event("/ns/b"), Door::Broker, allow).status,
              o == Outcome::Forbidden ? 403 : 401);
  }
}

TEST_F(EngineTest, DeliversWithTtlAndArrivalTime) {
  apply({broker("b")});
  http::Request r = event("/ns/b");
  r.headers.add("traceparent", "00-1-2-01");
  r.headers.add("Cookie", "secret");
  EXPECT_EQ(post(r).status, 202);
  ASSERT_EQ(sender.got, std::vector<std::string>{"http://sub-b 1"});
  EXPECT_TRUE(sender.last.headers.has("ce-knativearrivaltime"));
  EXPECT_FALSE(sender.last.headers.has("ce-knativebrokerttl"));
  EXPECT_EQ(sender.last.headers.get("traceparent"), "00-1-2-01");
  EXPECT_FALSE(sender.last.headers.has("cookie"));
  EXPECT_EQ(sender.last.body, "data");
}

TEST_F(EngineTest, StructuredAndBatched) {
  apply({channel("c")});
  http::Request r = event("/ns/c");
  r.headers = {{"content-type", "application/cloudevents+json"}, {"Host", "h"}};
  r.body = R"({"specversion":"1.0","id":"s","source":"/s","type":"t","data":{"a":1}})";
  EXPECT_EQ(post(r, Door::ChannelByPath).status, 202);
  EXPECT_TRUE(sender.last.headers.get("content-type").starts_with("application/cloudevents+json"));
  r.headers.set("content-type", "application/cloudevents-batch+json");
  r.body =
      R"([{"specversion":"1.0","id":"b1","source":"/s","type":"t"},{"specversion":"1.0","id":"b2","source":"/s","type":"t"}])";
  EXPECT_EQ(post(r, Door::ChannelByPath).status, 202);
  EXPECT_EQ(sender.count("http://sub-c"), 3u);
  r.body = "[{}]";
  EXPECT_EQ(post(r, Door::ChannelByPath).status, 400);
}

TEST_F(EngineTest, BackPressureIs503WithRetryAfter) {
  StreamSpec s = broker("b");
  s.options.max_bytes = 12'000;
  sender.answers["http://sub-b"] = [](const OutMessage&) { return Answer{500, {}, {}, {}}; };
  s.subscriptions[0].policy.retry = 100;
  s.subscriptions[0].policy.backoff = Backoff::Exponential;
  s.subscriptions[0].policy.delay = 1h;
  apply({s});
  http::Response last;
  for (int i = 0; i < 50 && last.status != 503; ++i) last = post(event("/ns/b"));
  EXPECT_EQ(last.status, 503);
  EXPECT_EQ(last.headers.get("Retry-After"), "1");
  EXPECT_NE(last.body.find("is full"), std::string::npos);
}

TEST_F(EngineTest, ADiskThatFailsIs503AndNothingIsTaken) {
  apply({broker("b")});
  disk->set_capacity(disk->used());
  EXPECT_EQ(post(event("/ns/b")).status, 503);
  EXPECT_TRUE(sender.got.empty());
  disk->set_capacity(UINT64_MAX);
  EXPECT_EQ(post(event("/ns/b")).status, 202);
  EXPECT_EQ(sender.count("http://sub-b"), 1u);
}

// Replies come back in; two brokers that answer each other for ever are stopped by the TTL.
TEST_F(EngineTest, RepliesAndLoops) {
  int n = 0;
  const auto reply = [&](const OutMessage&) {
    return Answer{200,
                  {{"ce-specversion", "1.0"},
                   {"ce-id", "r" + std::to_string(++n)},
                   {"ce-source", "/r"},
                   {"ce-type", "t"}},
                  {},
                  {}};
  };
  StreamSpec a = broker("a"), b = broker("b");
  a.subscriptions[0].reply_broker = "ns/b";
  b.subscriptions[0].reply_broker = "ns/a";
  b.subscriptions[0].dead_letter = a.subscriptions[0].dead_letter = Endpoint{"http://dls", {}, {}};
  sender.answers["http://sub-a"] = sender.answers["http://sub-b"] = reply;
  apply({a, b});
  EXPECT_EQ(post(event("/ns/a")).status, 202);
  EXPECT_EQ(sender.count("http://sub-a") + sender.count("http://sub-b"), 255u);
  EXPECT_EQ(sender.count("http://dls"), 1u) << "the last one is not lost";
  EXPECT_EQ(sender.last.headers.get("ce-knativeerrorcode"), "400");
}

TEST_F(EngineTest, ARestartLosesNothing) {
  sender.answers["http://sub-b"] = [](const OutMessage&) { return Answer{503, {}, {}, {}}; };
  StreamSpec s = broker("b");
  s.subscriptions[0].policy.retry = 5;
  s.subscriptions[0].policy.backoff = Backoff::Linear;
  s.subscriptions[0].policy.delay = 1min;
  apply({s});
  for (const char* id : {"1", "2", "3"}) EXPECT_EQ(post(event("/ns/b", id)).status, 202);
  disk->crash_after(1);
  engine.reset();
  loop.settle();
  disk->restart();
  sender.answers.clear();
  sender.got.clear();
  start();
  EXPECT_EQ(post(event("/ns/b")).status, 404) << "not yet told that it exists";
  apply({s});
  loop.advance(10min);
  std::sort(sender.got.begin(), sender.got.end());
  EXPECT_EQ(sender.got,
            (std::vector<std::string>{"http://sub-b 1", "http://sub-b 2", "http://sub-b 3"}));
  ASSERT_TRUE(run(engine->stop()));
  EXPECT_EQ(post(event("/ns/b")).status, 404);
}

TEST_F(EngineTest, RemovesWhatIsNotWanted) {
  apply({broker("a"), broker("b")});
  sender.answers["http://sub-a"] = [](const OutMessage&) { return Answer{0, {}, {}, "refused"}; };
  EXPECT_EQ(post(event("/ns/a")).status, 202);
  apply({broker("b")});
  EXPECT_EQ(post(event("/ns/a")).status, 404);
  EXPECT_EQ(disk->files().size(), 1u);
  // The same name again is another broker.
  EXPECT_EQ(post(event("/ns/b")).status, 202);
  apply({broker("b", "u2")});
  EXPECT_EQ(engine->find(StreamKind::Broker, "ns", "b")->stream().next(), 0u);
  // What a run before has left goes when the new run knows what there is.
  start();
  apply({});
  EXPECT_TRUE(disk->files().empty());
}

TEST_F(EngineTest, ARequestInFlightIsAnsweredWhenItsBrokerGoes) {
  apply({broker("b")});
  std::optional<http::Response> response;
  const auto scope =
      loop.spawn_scoped(store(engine->ingest(Door::Broker, event("/ns/b"), {}), &response));
  std::optional<Result<void>> applied;
  const auto removing = loop.spawn_scoped(store(engine->apply({}), &applied));
  loop.settle();
  ASSERT_TRUE(response && applied);
  EXPECT_EQ(response->status, 503);
}

}  // namespace
}  // namespace knit::events
