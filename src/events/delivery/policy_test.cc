#include "events/delivery/policy.h"

namespace knit::events {
namespace {

using namespace std::chrono_literals;

Result<Policy> read(std::string_view text) {
  auto json = json::parse(text);
  KNIT_CHECK(json.has_value());
  return parse_delivery(*json);
}

// spec/eventing.md 1.2, DeliverySpec.
TEST(Policy, ReadsDelivery) {
  EXPECT_EQ(read("null").value(), Policy{});
  EXPECT_EQ(read("{}").value(), Policy{});
  Policy full;
  full.retry = 10;
  full.backoff = Backoff::Exponential;
  full.delay = 200ms;
  full.timeout = 5s;
  full.retry_after_max = 30s;
  full.format = Format::Json;
  EXPECT_EQ(read(R"({"retry": 10, "backoffPolicy": "exponential", "backoffDelay": "PT0.2S",
                     "timeout": "PT5S", "retryAfterMax": "PT30S", "format": "json"})")
                .value(),
            full);
  EXPECT_EQ(read(R"({"backoffPolicy": "linear"})").value(), Policy{}) << "both or no wait";
  EXPECT_EQ(read(R"({"backoffDelay": "PT1S"})").value(), Policy{});
  EXPECT_EQ(read(R"({"retryAfterMax": "PT0S"})").value().retry_after_max, Duration(0));
  const struct {
    const char* text;
    const char* message;
  } bad[] = {
      {R"({"retry": -1})", "delivery.retry: invalid value \"-1\""},
      {R"({"retry": "3"})", "delivery.retry: invalid value"},
      {R"({"backoffPolicy": "random"})", "delivery.backoffPolicy: invalid value \"random\""},
      {R"({"backoffDelay": "1s"})", "delivery.backoffDelay: invalid value \"1s\""},
      {R"({"backoffDelay": "-PT1S"})", "delivery.backoffDelay"},
      {R"({"timeout": "PT0S"})", "delivery.timeout: invalid value \"PT0S\""},
      {R"({"retryAfterMax": 3})", "delivery.retryAfterMax: invalid value \"3\""},
      {R"({"format": "JSON"})", "delivery.format: invalid value \"JSON\""},
      {"[]", "delivery: settings are an object"},
  };
  for (const auto& row : bad) {
    const auto p = read(row.text);
    ASSERT_FALSE(p) << row.text;
    EXPECT_TRUE(p.error().message().starts_with(row.message)) << p.error().message();
  }
}

// 2.2, answers of subscribers.
TEST(Policy, JudgesStatuses) {
  const struct {
    std::vector<int> statuses;
    Verdict want;
  } rows[] = {
      {{200, 201, 202, 204, 299}, Verdict::Delivered},
      {{300, 301, 302, 304, 307, 308}, Verdict::Failed},
      {{400, 401, 402, 403, 405, 406, 410, 413, 418, 422, 451, 499}, Verdict::Failed},
      {{404, 408, 409, 429, 500, 501, 502, 503, 504, 599}, Verdict::Retry},
      {{0, 600, -1, 99}, Verdict::Retry},
  };
  for (const auto& row : rows) {
    for (const int status : row.statuses) EXPECT_EQ(judge(status), row.want) << status;
  }
}

// 2.6, column Go.
TEST(Policy, Backoff) {
  Policy p;
  EXPECT_EQ(backoff(p, 1), 0s);
  p.delay = 200ms;
  EXPECT_EQ(backoff(p, 3), 0s) << "no policy";
  p.backoff = Backoff::Linear;
  EXPECT_EQ(backoff(p, 1), 0s) << "the first retry at once";
  EXPECT_EQ(backoff(p, 2), 200ms);
  EXPECT_EQ(backoff(p, 5), 800ms);
  p.backoff = Backoff::Exponential;
  EXPECT_EQ(backoff(p, 1), 200ms);
  EXPECT_EQ(backoff(p, 2), 400ms);
  EXPECT_EQ(backoff(p, 10), 102'400ms);
  Duration total(0);
  for (std::uint32_t k = 1; k <= 10; ++k) total += backoff(p, k);
  EXPECT_EQ(total, 204'600ms) << "the default broker's";
  EXPECT_EQ(backoff(p, 4'000'000'000), 24h * 365) << "does not overflow";
  p.cap = 1s;
  EXPECT_EQ(backoff(p, 3), 800ms);
  EXPECT_EQ(backoff(p, 4), 1s);
}

TEST(Policy, RetryAfter) {
  const WallTime now = parse_rfc3339("1994-11-06T08:49:00Z").value();
  EXPECT_EQ(parse_retry_after("120", now), Duration(120s));
  EXPECT_EQ(parse_retry_after(" 0 ", now), Duration(0));
  EXPECT_EQ(parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now), Duration(37s));
  EXPECT_EQ(parse_retry_after("Sun, 06 Nov 1994 08:48:37 GMT", now), Duration(0));
  EXPECT_EQ(parse_retry_after("99999999999999999999", now), std::nullopt);
  for (const char* bad : {"", "soon", "-1", "1.5", "Sun, 06 Foo 1994 08:49:37 GMT",
                          "Sunday, 06-Nov-94 08:49:37 GMT"}) {
    EXPECT_EQ(parse_retry_after(bad, now), std::nullopt) << bad;
  }
  Policy p;
  p.backoff = Backoff::Exponential;
  p.delay = 1s;
  EXPECT_EQ(wait_before(p, 1, 429, "60", now), 1s) << "only with retryAfterMax";
  p.retry_after_max = 30s;
  EXPECT_EQ(wait_before(p, 1, 429, "10", now), 10s);
  EXPECT_EQ(wait_before(p, 1, 503, "10", now), 10s);
  EXPECT_EQ(wait_before(p, 1, 500, "10", now), 1s) << "only 429 and 503";
  EXPECT_EQ(wait_before(p, 1, 429, "31536000", now), 30s) << "a year";
  EXPECT_EQ(wait_before(p, 5, 429, "10", now), 16s) << "the longer of both";
  EXPECT_EQ(wait_before(p, 1, 429, "rubbish", now), 1s);
  p.retry_after_max = 0s;
  EXPECT_EQ(wait_before(p, 1, 429, "10", now), 1s);
}

TEST(Policy, ParkTime) {
  EXPECT_EQ(park_time(1), 1min);
  EXPECT_EQ(park_time(2), 2min);
  EXPECT_EQ(park_time(6), 32min);
  EXPECT_EQ(park_time(7), 1h);
  EXPECT_EQ(park_time(4'000'000'000), 1h);
}

}  // namespace
}  // namespace knit::events
