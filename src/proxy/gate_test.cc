#include "proxy/gate.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace knit::proxy {
namespace {

using namespace std::chrono_literals;

class GateTest : public testing::Test {
 protected:
  void configure(std::uint32_t concurrency, bool proxy_mode = true) {
    proxy_config::Revision r;
    r.container_concurrency = concurrency;
    r.proxy_mode = proxy_mode;
    gate.configure(now, r);
  }
  RevisionGate::Admission acquire(const std::string& pin = "") {
    return gate.acquire(now, pin, [this](RevisionGate::Outcome o) { resumed.push_back(o); });
  }
  RevisionGate gate{"default/hello-00001"};
  Instant now{1'000'000'000};
  std::vector<RevisionGate::Outcome> resumed;
};

TEST_F(GateTest, HoldsUntilAPodIsUsable) {
  int demands = 0;
  gate.set_on_demand([&] { ++demands; });
  configure(0);
  EXPECT_EQ(acquire().admit, RevisionGate::Admit::Queued);
  EXPECT_EQ(acquire().admit, RevisionGate::Admit::Queued);
  EXPECT_EQ(demands, 1) << "told at 0→1 only";
  EXPECT_EQ(gate.waiting().count, 2U);
  gate.set_pod(now, "a", false);
  EXPECT_TRUE(resumed.empty());
  gate.set_pod(now, "a", true);
  ASSERT_EQ(resumed.size(), 2U);
  EXPECT_TRUE(resumed[0].granted);
  EXPECT_EQ(resumed[0].uid, "a");
  gate.release(now, "a");
  gate.release(now, "a");
  EXPECT_EQ(gate.in_flight(), 0U);
}

// spec/serving.md 5.5: slots CC, queue 10·CC; beyond → 503.
TEST_F(GateTest, BreakerInServeMode) {
  configure(2, false);
  gate.set_pod(now, "a", true);
  EXPECT_EQ(acquire().admit, RevisionGate::Admit::Now);
  EXPECT_EQ(acquire().admit, RevisionGate::Admit::Now);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(acquire().admit, RevisionGate::Admit::Queued) << i;
  EXPECT_EQ(acquire().admit, RevisionGate::Admit::Full);
  gate.release(now, "a");
  EXPECT_EQ(resumed.size(), 1U) << "first come, first served";
  EXPECT_EQ(gate.pod_in_flight("a"), 2U);
}

TEST_F(GateTest, PinnedToOnePod) {
  configure(1);
  gate.set_pod(now, "a", true);
  gate.set_pod(now, "b", true);
  EXPECT_EQ(acquire("b").uid, "b");
  EXPECT_EQ(acquire("b").admit, RevisionGate::Admit::Queued);
  EXPECT_EQ(acquire("c").admit, RevisionGate::Admit::Full) << "no such pod";
  gate.remove_pod(now, "b");
  ASSERT_EQ(resumed.size(), 1U);
  EXPECT_FALSE(resumed[0].granted);
  gate.release(now, "b");
  EXPECT_EQ(gate.in_flight(), 0U);
}

// spec/serving.md 4.1: avgConcurrency = Σ(concurrencyᵢ·dtᵢ)/Σdtᵢ, requests ÷ period.
TEST_F(GateTest, ReportsTimeWeightedAverages) {
  configure(0);
  gate.set_pod(now, "a", true);
  gate.cut(now);
  acquire();
  now = now + 250ms;
  acquire();
  now = now + 250ms;
  gate.release(now, "a");
  gate.release(now, "a");
  now = now + 500ms;
  const auto r = gate.cut(now);
  EXPECT_DOUBLE_EQ(r.average_concurrency, 0.25 * 1 + 0.25 * 2);
  EXPECT_DOUBLE_EQ(r.requests_per_second, 2);
  EXPECT_DOUBLE_EQ(r.pods.at("a"), 0.75);
  now = now + 1s;
  const auto idle = gate.cut(now);
  EXPECT_FALSE(idle.traffic);
  EXPECT_DOUBLE_EQ(idle.average_concurrency, 0);
}

TEST_F(GateTest, CloseRefusesWhoWaits) {
  acquire();
  gate.close(now);
  ASSERT_EQ(resumed.size(), 1U);
  EXPECT_FALSE(resumed[0].granted);
  EXPECT_EQ(gate.in_flight(), 0U);
}

// dataplane.md 7.7: in-flight returns to 0 whatever happens; a limit is never exceeded.
TEST(GateProperty, InFlightReturnsToZero) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(seed);
    const auto random = seeded_random(seed);
    RevisionGate gate("r");
    Instant now{1};
    const auto limit = static_cast<std::uint32_t>(random->below(4));
    proxy_config::Revision r;
    r.container_concurrency = limit;
    r.proxy_mode = random->below(2) == 0;
    gate.configure(now, r);
    std::vector<std::string> running;
    std::map<std::uint64_t, std::uint64_t> tickets;  // request → ticket
    std::uint64_t request = 0;
    for (int step = 0; step < 300; ++step) {
      now = now + Duration(random->below(1'000'000));
      const std::string pod(1, static_cast<char>('a' + random->below(4)));
      switch (random->below(6)) {
        case 0:
        case 1: {
          const std::uint64_t id = ++request;
          const auto a =
              gate.acquire(now, random->below(4) == 0 ? pod : "", [&, id](RevisionGate::Outcome o) {
                tickets.erase(id);
                if (o.granted) running.push_back(o.uid);
              });
          if (a.admit == RevisionGate::Admit::Now) running.push_back(a.uid);
          if (a.admit == RevisionGate::Admit::Queued) tickets[id] = a.ticket;
          break;
        }
        case 2:
          if (!running.empty()) {
            const std::string uid = running.back();
            running.pop_back();
            gate.release(now, uid);
          }
          break;
        case 3:
          if (!tickets.empty()) {
            const auto t = *tickets.begin();
            EXPECT_TRUE(gate.cancel(now, t.second));
            tickets.erase(t.first);
          }
          break;
        case 4:
          gate.set_pod(now, pod, random->below(4) != 0);
          break;
        default:
          if (random->below(3) == 0) gate.remove_pod(now, pod);
          break;
      }
      ASSERT_EQ(gate.in_flight(), running.size() + tickets.size());
      ASSERT_EQ(gate.waiting().count, tickets.size());
      for (const char* p : {"a", "b", "c", "d"}) {
        const auto held = static_cast<std::uint32_t>(std::count(running.begin(), running.end(), p));
        ASSERT_EQ(gate.pod_in_flight(p), held);
        if (limit != 0) ASSERT_LE(held, limit);
      }
    }
    while (!tickets.empty()) {
      gate.cancel(now, tickets.begin()->second);
      tickets.erase(tickets.begin());
    }
    while (!running.empty()) {
      const std::string uid = running.back();
      running.pop_back();
      gate.release(now, uid);
    }
    ASSERT_EQ(gate.in_flight(), 0U);
  }
}

}  // namespace
}  // namespace knit::proxy
