#include "apiserver/housekeeping.h"

#include "apiserver/test_api.h"

namespace knit::apiserver {
namespace {

using namespace test;
using namespace std::chrono_literals;

class HousekeepingTest : public ApiFixture {};

TEST_F(HousekeepingTest, EventsEndAnHourAfterTheyWereSeenLast) {  // 1.18
  Housekeeping keeper(loop, *store);
  keeper.start();
  const auto event = [&](const char* name, const char* seen) {
    Write w;
    w.key = {kube::res::events(), "default", name};
    w.body = parse(std::string(R"({"involvedObject":{"kind":"Pod","name":"p","namespace":"default"},
        "reason":"r","message":"m","type":"Normal","lastTimestamp":)") +
                   seen + "}");
    const auto done = wait(server->api().write(std::move(w), as_admin(loop.wall_now())), 1ms);
    EXPECT_FALSE(done.failure) << done.failure->message;
  };
  event("old", "null");
  loop.advance(30min);
  event("again", "\"2026-01-01T00:30:00Z\"");
  const auto there = [&](const char* name) {
    return store->snapshot().get({kube::res::events(), "default", name}) != nullptr;
  };
  loop.advance(29min);
  EXPECT_TRUE(there("old"));
  loop.advance(3min);
  EXPECT_FALSE(there("old"));
  EXPECT_TRUE(there("again"));
  loop.advance(30min);
  EXPECT_FALSE(there("again"));
}

TEST_F(HousekeepingTest, HistoryIsCompactedBehindTime) {
  Housekeeping keeper(loop, *store);
  keeper.start();
  const std::uint64_t before = store->snapshot().version();
  Write w;
  w.key = {kube::res::configmaps(), "default", "a"};
  w.body = parse("{}");
  (void)wait(server->api().write(std::move(w), as_admin()), 1ms);
  loop.advance(5min);
  EXPECT_EQ(store->stats().compacted, before);
  loop.advance(5min);
  EXPECT_EQ(store->stats().compacted, store->snapshot().version());
}

}  // namespace
}  // namespace knit::apiserver
