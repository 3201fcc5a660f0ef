// Delivery in simulated time: spec/eventing.md 2.2, 2.6, 4.2, 7.1.
#include "events/delivery/hub.h"

#include "events/log/sim_disk.h"
#include "io/sim_loop.h"

namespace knit::events {
namespace {

using namespace std::chrono_literals;

/// Answers by URL; remembers what came and when.
class FakeSender final : public Sender {
 public:
  struct Got {
    Duration at;
    std::string url, id;
    http::Headers headers;
    std::string body;
  };
  explicit FakeSender(io::SimLoop& loop) : loop_(loop), start_(loop.now()) {}

  io::Task<Answer> send(OutMessage message) override {
    got.push_back({loop_.now() - start_, message.to.url, std::string(message.headers.get("ce-id")),
                   message.headers, message.body});
    ++flying;
    most = std::max(most, flying);
    const auto& answer = answers[message.to.url];
    Answer out = answer ? answer(message) : Answer{200, {}, {}, {}};
    return deliver(this, std::move(out), latency[message.to.url]);
  }

  std::size_t count(const std::string& url) const {
    return static_cast<std::size_t>(
        std::count_if(got.begin(), got.end(), [&](const Got& g) { return g.url == url; }));
  }
  std::vector<std::string> ids(const std::string& url) const {
    std::vector<std::string> out;
    for (const Got& g : got) {
      if (g.url == url) out.push_back(g.id);
    }
    return out;
  }
  std::vector<Duration> times(const std::string& url) const {
    std::vector<Duration> out;
    for (const Got& g : got) {
      if (g.url == url) out.push_back(g.at);
    }
    return out;
  }
  void always(const std::string& url, int status, std::string body = {}) {
    answers[url] = [status, body](const OutMessage&) { return Answer{status, {}, body, {}}; };
  }
  /// Fails the first n requests.
  void fail_first(const std::string& url, int n, int status) {
    answers[url] = [left = n, status](const OutMessage&) mutable {
      return Answer{left-- > 0 ? status : 200, {}, {}, {}};
    };
  }

  std::vector<Got> got;
  std::map<std::string, std::function<Answer(const OutMessage&)>> answers;
  std::map<std::string, Duration> latency;
  std::size_t flying = 0, most = 0;

 private:
  static io::Task<Answer> deliver(FakeSender* self, Answer answer, Duration after) {
    struct Down {
      std::size_t& n;
      ~Down() { --n; }
    } down{self->flying};
    if (after > Duration(0)) co_await io::sleep_for(self->loop_, after);
    co_return answer;
  }
  io::SimLoop& loop_;
  Instant start_;
};

class HubTest : public testing::Test {
 protected:
  void SetUp() override { open(); }
  void TearDown() override { hub.reset(); }

  void open() {
    std::optional<Result<std::unique_ptr<Stream>>> stream;
    const auto scope =
        loop.spawn_scoped(store(Stream::open(loop, disk, "s", "ns/b", options), &stream));
    loop.settle();
    KNIT_CHECK(stream && *stream);
    hub = std::make_unique<Hub>(loop, std::move(**stream), sender, shared);
  }
  /// The process dies: nothing more is written, and starts again.
  void kill() {
    disk->crash_after(1);
    hub.reset();
    loop.settle();
    disk->restart();
    open();
  }
  void restart() {
    std::optional<Result<void>> stopped;
    const auto scope = loop.spawn_scoped(store(hub->stop(), &stopped));
    loop.settle();
    KNIT_CHECK(stopped && stopped->has_value());
    hub.reset();
    open();
  }
  template <class T>
  static io::Task<void> store(io::Task<T> task, std::optional<T>* out) {
    out->emplace(co_await std::move(task));
  }
  Subscription subscription(const std::string& name) {
    Subscription s;
    s.name = name;
    s.subscriber.url = "http://" + name;
    s.ns = "ns";
    return s;
  }
  void subscribe(std::vector<Subscription> list) {
    hub->set_subscriptions(std::move(list));
    loop.settle();
  }
  void send(const std::string& id, const std::string& type = "t", const std::string& key = "") {
    StoredEvent e;
    e.event.id = id;
    e.event.source = "/s";
    e.event.type = type;
    e.event.data = "data of " + id;
    e.event.set_extension("knativebrokerttl", "255", ValueType::Integer);
    if (!key.empty()) e.event.set_extension("partitionkey", key);
    std::optional<Result<Seq>> out;
    const auto scope = loop.spawn_scoped(store(hub->append(std::move(e)), &out));
    loop.settle();
    ASSERT_TRUE(out && *out);
  }
  std::shared_ptr<const Filter> type_filter(const std::string& type) {
    FilterSpec spec;
    spec.kind = FilterSpec::Kind::Exact;
    spec.pairs = {{"type", type}};
    return std::make_shared<const Filter>(std::move(Filter::compile(spec).value()));
  }
  DispatcherStats stats(const std::string& name) {
    for (auto& [n, s] : hub->stats()) {
      if (n == name) return s;
    }
    return {};
  }

  std::unique_ptr<Random> random = seeded_random(5);
  std::shared_ptr<SimDisk> disk = std::make_shared<SimDisk>(*random);
  io::SimLoop loop;
  StreamOptions options;
  FakeSender sender{loop};
  Shared shared;
  std::unique_ptr<Hub> hub;
};

TEST_F(HubTest, FansOutByFilter) {
  auto a = subscription("a"), b = subscription("b"), all = subscription("all");
  a.filter = type_filter("red");
  b.filter = type_filter("blue");
  subscribe({a, b, all});
  send("1", "red");
  send("2", "blue");
  send("3", "green");
  EXPECT_EQ(sender.ids("http://a"), std::vector<std::string>{"1"});
  EXPECT_EQ(sender.ids("http://b"), std::vector<std::string>{"2"});
  EXPECT_EQ(sender.ids("http://all"), (std::vector<std::string>{"1", "2", "3"}));
  EXPECT_EQ(sender.got[0].headers.get("Prefer"), "reply");
  EXPECT_EQ(sender.got[0].headers.get("Kn-Namespace"), "ns");
  EXPECT_EQ(stats("a").delivered, 1u);
  EXPECT_EQ(stats("a").lag, 0u);
  EXPECT_EQ(shared.flight_bytes, 0u);
}

TEST_F(HubTest, ASubscriberThatComesLaterGetsWhatComesLater) {
  subscribe({subscription("a")});
  send("1");
  subscribe({subscription("a"), subscription("b")});
  send("2");
  EXPECT_EQ(sender.ids("http://b"), std::vector<std::string>{"2"});
  subscribe({subscription("b")});
  send("3");
  EXPECT_EQ(sender.ids("http://a"), (std::vector<std::string>{"1", "2"}));
  EXPECT_EQ(hub->stream().cursors().size(), 1u);
}

// 4.2.4: the delivery matrix; which of broker and trigger says it is the control plane's.
TEST_F(HubTest, DeliveryMatrix) {
  struct Row {
    const char* name;
    std::uint32_t retry;
    bool dls;
    int fails;  // the subscriber's first requests
    int status;
    int dls_fails;
    std::size_t at_subscriber, at_dls;
  };
  const Row rows[] = {
      {"works", 0, true, 0, 500, 0, 1, 0},
      {"fails once, no retry, no DLS", 0, false, 1, 500, 0, 1, 0},
      {"fails once, no retry, DLS", 0, true, 1, 500, 0, 1, 1},
      {"fails once, retried", 1, true, 1, 500, 0, 2, 0},
      {"fails three times, three retries", 3, true, 3, 503, 0, 4, 0},
      {"fails more often than retried", 3, true, 99, 500, 0, 4, 1},
      {"... without DLS", 3, false, 99, 500, 0, 4, 0},
      {"404 is retried", 2, true, 99, 404, 0, 3, 1},
      {"408 is retried", 2, true, 99, 408, 0, 3, 1},
      {"409 is retried", 2, true, 99, 409, 0, 3, 1},
      {"429 is retried", 2, true, 99, 429, 0, 3, 1},
      {"no answer is retried", 2, true, 99, 0, 0, 3, 1},
      {"400 is not", 2, true, 99, 400, 0, 1, 1},
      {"401 is not", 2, true, 99, 401, 0, 1, 1},
      {"a redirect is not", 2, true, 99, 302, 0, 1, 1},
      {"a flaky DLS is retried", 2, true, 99, 500, 2, 3, 3},
  };
  int n = 0;
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    const std::string name = "s" + std::to_string(n++), url = "http://" + name,
                      dls = "http://dls" + name;
    auto s = subscription(name);
    s.policy.retry = row.retry;
    if (row.dls) s.dead_letter = Endpoint{dls, {}, {}};
    sender.fail_first(url, row.fails, row.status);
    sender.fail_first(dls, row.dls_fails, 503);
    subscribe({s});
    send("e" + name);
    loop.advance(1min);
    EXPECT_EQ(sender.count(url), row.at_subscriber);
    EXPECT_EQ(sender.count(dls), row.at_dls);
    const auto st = stats(name);
    EXPECT_EQ(st.in_flight + st.waiting + st.parked, 0u);
    EXPECT_EQ(st.delivered + st.dead_lettered + st.undeliverable, 1u);
    EXPECT_EQ(st.dead_lettered, row.at_dls > 0 ? 1u : 0u);
    EXPECT_EQ(st.lag, 0u);
  }
}

TEST_F(HubTest, WaitsAsThePolicySays) {
  auto s = subscription("a");
  s.policy.retry = 4;
  s.policy.backoff = Backoff::Exponential;
  s.policy.delay = 200ms;
  s.dead_letter = Endpoint{"http://dls", {}, {}};
  sender.always("http://a", 500, "broken");
  subscribe({s});
  send("1");
  loop.advance(1min);
  EXPECT_EQ(sender.times("http://a"), (std::vector<Duration>{0s, 200ms, 600ms, 1400ms, 3s}));
  EXPECT_EQ(sender.times("http://dls"), std::vector<Duration>{3s});
  const auto& letter = sender.got.back();
  EXPECT_EQ(letter.headers.get("ce-knativeerrordest"), "http://a");
  EXPECT_EQ(letter.headers.get("ce-knativeerrorcode"), "500");
  EXPECT_EQ(letter.headers.get("ce-knativeerrordata"), "YnJva2Vu");
  EXPECT_EQ(letter.body, "data of 1");
}

TEST_F(HubTest, HonoursRetryAfterWithinItsLimit) {
  auto s = subscription("a");
  s.policy.retry = 1;
  s.policy.retry_after_max = 30s;
  sender.answers["http://a"] = [](const OutMessage&) {
    Answer out{429, {}, {}, {}};
    out.headers.add("Retry-After", "31536000");
    return out;
  };
  subscribe({s});
  send("1");
  loop.advance(1min);
  EXPECT_EQ(sender.times("http://a"), (std::vector<Duration>{0s, 30s}));
}

TEST_F(HubTest, TimesOut) {
  auto s = subscription("a");
  s.policy.retry = 1;
  s.policy.timeout = 5s;
  s.dead_letter = Endpoint{"http://dls", {}, {}};
  sender.latency["http://a"] = 1h;
  subscribe({s});
  send("1");
  loop.advance(1min);
  EXPECT_EQ(sender.times("http://a"), (std::vector<Duration>{0s, 5s}));
  EXPECT_EQ(sender.times("http://dls"), std::vector<Duration>{10s});
  EXPECT_FALSE(sender.got.back().headers.has("ce-knativeerrorcode")) << "there was no answer";
  EXPECT_EQ(sender.flying, 0u) << "cancelled";
}

// Upstream loses the event when the dead letter sink fails too. 7.1: never.
TEST_F(HubTest, ParksWhatTheDeadLetterSinkRefusesAndTriesAgain) {
  auto s = subscription("a");
  s.dead_letter = Endpoint{"http://dls", {}, {}};
  sender.always("http://a", 500);
  sender.always("http://dls", 400);
  std::vector<Step::What> steps;
  shared.observe = [&](const Step& step) { steps.push_back(step.what); };
  subscribe({s});
  send("1");
  EXPECT_EQ(stats("a").parked, 1u);
  using What = Step::What;
  EXPECT_EQ(steps, (std::vector<What>{What::Attempt, What::DeadLetter, What::Parked}));
  loop.advance(10min);
  EXPECT_EQ(sender.times("http://dls"), (std::vector<Duration>{0s, 1min, 3min, 7min}));
  EXPECT_EQ(sender.count("http://a"), 1u) << "the subscriber is not asked again";
  send("2");
  EXPECT_EQ(stats("a").parked, 2u) << "others go on";
  restart();
  subscribe({s});
  EXPECT_EQ(stats("a").parked, 2u);
  sender.always("http://dls", 202);
  EXPECT_EQ(hub->find("a")->redrive(), 2u);
  loop.settle();
  EXPECT_EQ(stats("a").parked, 0u);
  EXPECT_EQ(stats("a").dead_lettered, 2u);
  EXPECT_EQ(sender.got.back().headers.get("ce-knativeerrorcode"), "500") << "the failure is kept";
  EXPECT_EQ(stats("a").lag, 0u);
}

TEST_F(HubTest, RetryStateSurvivesAKill) {
  auto s = subscription("a");
  s.policy.retry = 5;
  s.policy.backoff = Backoff::Exponential;
  s.policy.delay = 10s;
  s.dead_letter = Endpoint{"http://dls", {}, {}};
  sender.always("http://a", 503);
  subscribe({s});
  send("1");
  loop.advance(35s);  // tries at 0, 10, 30; the next at 70
  EXPECT_EQ(sender.count("http://a"), 3u);
  kill();
  subscribe({s});
  EXPECT_EQ(sender.count("http://a"), 3u);
  EXPECT_EQ(stats("a").waiting, 1u);
  loop.advance(10min);
  EXPECT_EQ(sender.count("http://a"), 6u) << "goes on at try 4 of 6 (EKB #3746 started over)";
  EXPECT_EQ(sender.times("http://a")[3], 70s);
  EXPECT_EQ(sender.count("http://dls"), 1u);
}

TEST_F(HubTest, WhatWasInFlightAtAKillComesAgain) {
  sender.latency["http://a"] = 10s;
  subscribe({subscription("a")});
  send("1");
  send("2");
  loop.advance(5s);
  kill();
  sender.latency["http://a"] = 0s;
  subscribe({subscription("a")});
  EXPECT_EQ(sender.ids("http://a"), (std::vector<std::string>{"1", "2", "1", "2"}));
  EXPECT_EQ(stats("a").delivered, 2u);
  kill();
  subscribe({subscription("a")});
  loop.advance(1min);
  EXPECT_EQ(sender.count("http://a"), 4u) << "finished is finished";
}

// 2.6: replies of brokers come back into the broker; a reply that fails sends the original to the
// dead letter sink.
TEST_F(HubTest, Replies) {
  const auto with_reply = [](const OutMessage& m) {
    return Answer{200,
                  {{"ce-specversion", "1.0"},
                   {"ce-id", "r" + std::string(m.headers.get("ce-id"))},
                   {"ce-source", "/r"},
                   {"ce-type", "reply"}},
                  "answer",
                  {}};
  };
  sender.answers["http://a"] = with_reply;
  int status = 202;
  std::vector<StoredEvent> replies;
  shared.reply = [&](const std::string& broker, StoredEvent e) -> io::Task<int> {
    EXPECT_EQ(broker, "ns/b");
    replies.push_back(std::move(e));
    return [](int st) -> io::Task<int> { co_return st; }(status);
  };
  auto a = subscription("a");
  a.reply_broker = "ns/b";
  a.strict_replies = true;
  a.policy.retry = 2;
  a.dead_letter = Endpoint{"http://dls", {}, {}};
  subscribe({a});
  send("1");
  ASSERT_EQ(replies.size(), 1u);
  EXPECT_EQ(replies[0].event.id, "r1");
  EXPECT_EQ(replies[0].event.extension("knativebrokerttl")->value, "255");
  EXPECT_EQ(stats("a").replies, 1u);
  status = 503;
  send("2");
  loop.advance(1min);
  EXPECT_EQ(replies.size(), 4u) << "1 + 3 tries";
  EXPECT_EQ(sender.count("http://a"), 2u) << "the subscriber is asked once";
  EXPECT_EQ(sender.ids("http://dls"), std::vector<std::string>{"2"}) << "the original";
  status = 400;  // the TTL is used up
  send("3");
  loop.advance(1min);
  EXPECT_EQ(replies.size(), 5u);
  EXPECT_EQ(sender.ids("http://dls"), (std::vector<std::string>{"2", "3"}));
  // A channel's subscription: by URL.
  auto b = subscription("b");
  b.reply = Endpoint{"http://next", {}, {}};
  sender.answers["http://b"] = with_reply;
  subscribe({b});
  send("4");
  EXPECT_EQ(sender.ids("http://next"), std::vector<std::string>{"r4"});
  EXPECT_EQ(sender.got.back().headers.get("Kn-Namespace"), "ns");
  // Without a place for it a reply is dropped.
  sender.answers["http://c"] = with_reply;
  subscribe({subscription("c")});
  send("5");
  EXPECT_EQ(stats("c").delivered, 1u);
}

TEST_F(HubTest, AnAnswerThatIsNoEventFailsABrokersDelivery) {
  auto a = subscription("a");
  a.strict_replies = true;
  a.policy.retry = 1;
  a.dead_letter = Endpoint{"http://dls", {}, {}};
  sender.always("http://a", 200, "<html>");
  auto b = subscription("b");
  sender.always("http://b", 200, "<html>");
  subscribe({a, b});
  send("1");
  loop.advance(1min);
  EXPECT_EQ(sender.count("http://a"), 2u) << "as the filter's 502";
  EXPECT_EQ(sender.got.back().url, "http://dls");
  EXPECT_EQ(sender.got.back().headers.get("ce-knativeerrorcode"), "502");
  EXPECT_EQ(stats("b").delivered, 1u) << "channels ignore it";
}

TEST_F(HubTest, OrderedHoldsAllBack) {
  auto s = subscription("a");
  s.policy.order = Order::Ordered;
  s.policy.retry = 2;
  s.policy.backoff = Backoff::Linear;
  s.policy.delay = 1s;
  int fails = 2;
  sender.answers["http://a"] = [&](const OutMessage& m) {
    return Answer{m.headers.get("ce-id") == "2" && fails-- > 0 ? 500 : 200, {}, {}, {}};
  };
  sender.latency["http://a"] = 10ms;
  subscribe({s});
  for (const char* id : {"1", "2", "3", "4"}) send(id);
  loop.advance(1min);
  EXPECT_EQ(sender.ids("http://a"), (std::vector<std::string>{"1", "2", "2", "2", "3", "4"}));
  EXPECT_EQ(sender.most, 1u);
}

TEST_F(HubTest, OrderedByKey) {
  auto s = subscription("a");
  s.policy.order = Order::ByKey;
  s.policy.retry = 3;
  s.policy.backoff = Backoff::Exponential;
  s.policy.delay = 1s;
  int fails = 2;
  sender.answers["http://a"] = [&](const OutMessage& m) {
    return Answer{m.headers.get("ce-id") == "x1" && fails-- > 0 ? 500 : 200, {}, {}, {}};
  };
  subscribe({s});
  send("x1", "t", "x");
  send("y1", "t", "y");
  send("x2", "t", "x");
  send("free");
  send("x3", "t", "x");
  send("y2", "t", "y");
  EXPECT_EQ(sender.ids("http://a"), (std::vector<std::string>{"x1", "y1", "free", "y2"}));
  kill();  // order is kept over a restart
  subscribe({s});
  EXPECT_EQ(sender.count("http://a"), 4u);
  loop.advance(1min);
  EXPECT_EQ(sender.ids("http://a"),
            (std::vector<std::string>{"x1", "y1", "free", "y2", "x1", "x1", "x2", "x3"}));
  EXPECT_EQ(stats("a").lag, 0u);
}

TEST_F(HubTest, OrderedByKeyWaitsForWhatWasInFlightAtAKill) {
  auto s = subscription("a");
  s.policy.order = Order::ByKey;
  sender.latency["http://a"] = 1h;
  subscribe({s});
  send("x1", "t", "x");
  send("x2", "t", "x");
  send("x3", "t", "x");
  EXPECT_EQ(sender.count("http://a"), 1u);
  kill();
  sender.got.clear();
  sender.latency["http://a"] = 0s;
  subscribe({s});
  loop.advance(1s);
  EXPECT_EQ(sender.ids("http://a"), (std::vector<std::string>{"x1", "x2", "x3"}));
}

TEST_F(HubTest, ASlowSubscriberReadsTheLogLater) {
  options.tail_bytes = 2000;
  restart();
  auto slow = subscription("slow");
  slow.max_in_flight = 4;
  sender.latency["http://slow"] = 100ms;
  subscribe({slow, subscription("fast")});
  for (int i = 0; i < 1000; ++i) send(std::to_string(i));
  EXPECT_EQ(sender.count("http://fast"), 1000u);
  EXPECT_EQ(sender.count("http://slow"), 4u);
  EXPECT_GT(stats("slow").lag, 900u);
  loop.advance(1min);
  ASSERT_EQ(sender.count("http://slow"), 1000u);
  std::set<std::string> ids;
  for (const auto& id : sender.ids("http://slow")) ids.insert(id);
  EXPECT_EQ(ids.size(), 1000u);
  EXPECT_EQ(stats("slow").lag, 0u);
  send("last");
  EXPECT_EQ(sender.ids("http://slow").back(), "last") << "it has caught up";
}

// A subscriber that fails for hours must not fill the memory: the backlog stays in the log.
TEST_F(HubTest, HeldEventsAreBounded) {
  shared.max_held_bytes = 100'000;
  auto s = subscription("a");
  s.policy.retry = 100;
  s.policy.backoff = Backoff::Exponential;
  s.policy.delay = 1h;
  s.policy.cap = 1h;
  bool broken = true;
  sender.answers["http://a"] = [&](const OutMessage&) {
    return Answer{broken ? 500 : 200, {}, std::string(500, 'x'), {}};
  };
  subscribe({s});
  for (int i = 0; i < 2000; ++i) send(std::to_string(i));
  EXPECT_LT(shared.held_bytes, 200'000u);
  EXPECT_GT(stats("a").waiting, 50u);
  EXPECT_GT(stats("a").lag, 1000u);
  broken = false;
  loop.advance(2h);
  EXPECT_EQ(stats("a").delivered, 2000u);
  EXPECT_EQ(stats("a").lag, 0u);
  EXPECT_EQ(shared.held_bytes, 0u);
}

TEST_F(HubTest, SettingsChangeAtRuntime) {
  auto s = subscription("a");
  s.policy.retry = 10;
  s.policy.backoff = Backoff::Linear;
  s.policy.delay = 10s;
  sender.always("http://a", 500);
  subscribe({s});
  send("1");
  s.subscriber.url = "http://new";
  s.filter = type_filter("red");
  subscribe({s});
  loop.advance(1min);
  EXPECT_EQ(sender.ids("http://new"), std::vector<std::string>{"1"})
      << "its retry goes to the new one";
  send("2", "blue");
  send("3", "red");
  EXPECT_EQ(sender.ids("http://new"), (std::vector<std::string>{"1", "3"}));
}

TEST_F(HubTest, AClockSetBackDoesNotStopRetries) {
  auto s = subscription("a");
  s.policy.retry = 1;
  s.policy.backoff = Backoff::Exponential;
  s.policy.delay = 10s;
  sender.fail_first("http://a", 1, 500);
  subscribe({s});
  send("1");
  restart();
  // The cursor as a process finds it whose clock is two hours behind.
  const auto held = hub->stream().find("a")->held();
  ASSERT_EQ(held.size(), 1u);
  Cursor& cursor = *hub->stream().find("a");
  ASSERT_TRUE(cursor.claim_held(held[0].seq));
  Held later = held[0];
  later.due = later.due + Duration(2h);
  ASSERT_TRUE(cursor.hold(later));
  subscribe({s});
  loop.advance(11s);
  EXPECT_EQ(sender.count("http://a"), 2u);
}

// Many lives: random events, failures, kills. Nothing is lost, what is delivered twice was in
// flight or not yet written down at a kill.
TEST_F(HubTest, RandomLives) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    hub.reset();
    random = seeded_random(seed);
    disk = std::make_shared<SimDisk>(*random);
    options.segment_bytes = 20'000;
    options.retain_bytes = 40'000;
    open();
    sender.got.clear();
    std::map<std::string, std::set<std::string>> ok;
    const auto flaky = [&](const std::string& url, std::uint64_t percent) {
      sender.answers[url] = [&, url, percent](const OutMessage& m) {
        const bool works = random->below(100) >= percent;
        if (works) ok[url].insert(std::string(m.headers.get("ce-id")));
        return Answer{works ? 200 : 503, {}, "no", {}};
      };
      sender.latency[url] = Duration(static_cast<std::int64_t>(random->below(50'000'000)));
    };
    flaky("http://good", 0);
    flaky("http://flaky", 40);
    flaky("http://bad", 100);
    flaky("http://dls", 50);
    std::vector<Subscription> all;
    for (const char* name : {"good", "flaky", "bad"}) {
      auto s = subscription(name);
      s.policy.retry = 2;
      s.policy.backoff = Backoff::Exponential;
      s.policy.delay = 100ms;
      s.policy.order = static_cast<Order>(random->below(3));
      s.dead_letter = Endpoint{"http://dls", {}, {}};
      all.push_back(s);
    }
    subscribe(all);
    const int n = 60;
    for (int i = 0; i < n; ++i) {
      send(std::to_string(i), "t", random->below(2) == 0 ? "k" : "");
      if (random->below(4) == 0)
        loop.advance(Duration(static_cast<std::int64_t>(random->below(200'000'000))));
      if (random->below(15) == 0) {
        if (random->below(2) == 0) {
          kill();
        } else {
          restart();
        }
        subscribe(all);
      }
    }
    loop.advance(24h);
    std::size_t finished = 0;
    for (const auto& [name, s] : hub->stats()) {
      EXPECT_EQ(s.lag, 0u) << name;
      EXPECT_EQ(s.waiting + s.parked + s.in_flight, 0u) << name;
      finished += s.delivered + s.dead_lettered;
      EXPECT_EQ(s.undeliverable, 0u);
    }
    EXPECT_LE(finished, 3u * n);
    EXPECT_EQ(ok["http://good"].size(), static_cast<std::size_t>(n));
    for (int i = 0; i < n; ++i) {
      const std::string id = std::to_string(i);
      EXPECT_TRUE(ok["http://flaky"].contains(id) || ok["http://dls"].contains(id)) << id;
      EXPECT_TRUE(ok["http://dls"].contains(id)) << "of bad: " << id;
    }
    EXPECT_EQ(shared.flight_bytes, 0u);
  }
}

}  // namespace
}  // namespace knit::events
