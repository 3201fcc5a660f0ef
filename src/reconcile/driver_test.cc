#include "reconcile/driver.h"

#include <gtest/gtest.h>

#include "reconcile/sim_world.h"

namespace knit::reconcile {
namespace {
namespace res = kube::res;
using std::chrono::milliseconds;
using std::chrono::seconds;

JsonObject config(std::string_view value) { return {{"data", JsonObject{{"v", value}}}}; }

// a → b → c: each ConfigMap named x-N keeps x-(N+1) up to `last`.
Planner chain(int last) {
  Planner p;
  p.name = "chain";
  p.owns = res::configmaps();
  p.plan = [last](const World& world, const Key& key, Instant) {
    Plan plan;
    const auto dash = key.name.rfind('-');
    const int n = std::stoi(key.name.substr(dash + 1));
    if (world.has(key) && n < last) {
      plan.ensure(world, {key.resource, key.ns, "x-" + std::to_string(n + 1)}, config("1"));
    }
    return plan;
  };
  return p;
}

TEST(Driver, AChainOfObjectsIsOneCommit) {
  SimWorld world;
  world.driver.add(chain(5));
  world.start();
  const auto before = world.backend.commits();
  ASSERT_TRUE(world.apply(res::configmaps(), R"({"metadata":{"name":"x-0","namespace":"d"}})"));
  EXPECT_EQ(world.backend.list(res::configmaps()).size(), 6U);
  EXPECT_EQ(world.backend.commits(), before + 1U);
  EXPECT_TRUE(world.driver.idle());
  EXPECT_EQ(world.pending(), std::vector<std::string>());
}

TEST(Driver, MoreThanSixteenRoundsContinueInTheNextCommit) {
  SimWorld world;
  world.driver.add(chain(40));
  world.start();
  const auto before = world.backend.commits();
  ASSERT_TRUE(world.apply(res::configmaps(), R"({"metadata":{"name":"x-0","namespace":"d"}})"));
  EXPECT_EQ(world.backend.list(res::configmaps()).size(), 41U);
  EXPECT_EQ(world.backend.commits(), before + 3U);
}

TEST(Driver, AConflictIsPlannedAgainOnAFreshSnapshot) {
  SimWorld world;
  world.driver.add(chain(2));
  world.start();
  world.backend.fail_commits(3);
  ASSERT_TRUE(world.apply(res::configmaps(), R"({"metadata":{"name":"x-0","namespace":"d"}})"));
  world.run(milliseconds(3));  // at once, then after 1 ms, then after 2 ms
  EXPECT_EQ(world.backend.list(res::configmaps()).size(), 3U);
}

TEST(Driver, ARefusedPlanIsUndoneWholeAndTriedAgainWithBackOff) {
  SimWorld world;
  bool refuse = true;
  world.backend.set_admit([&](const World&, const Key& key, Json&, const Json*) -> Result<void> {
    if (refuse && key.name == "second") return Error(Code::InvalidArgument, "no");
    return {};
  });
  int plans = 0;
  Planner p;
  p.name = "pair";
  p.owns = res::secrets();
  p.plan = [&](const World& seen, const Key& key, Instant) {
    ++plans;
    Plan plan;
    plan.ensure(seen, {res::configmaps(), key.ns, "first"}, config("1"));
    plan.ensure(seen, {res::configmaps(), key.ns, "second"}, config("1"));
    return plan;
  };
  world.driver.add(std::move(p));
  world.start();
  ASSERT_TRUE(world.apply(res::secrets(), R"({"metadata":{"name":"s","namespace":"d"}})"));
  EXPECT_EQ(world.backend.list(res::configmaps()).size(), 0U);
  EXPECT_EQ(plans, 1);
  world.run(milliseconds(5));  // 5 ms
  EXPECT_EQ(plans, 2);
  world.run(milliseconds(9));
  EXPECT_EQ(plans, 2);
  world.run(milliseconds(1));  // + 10 ms
  EXPECT_EQ(plans, 3);
  EXPECT_EQ(world.driver.stats().at("pair").errors, 3U);
  EXPECT_EQ(world.driver.stats().at("pair").last_error, "secrets d/s: no");
  refuse = false;
  world.run(milliseconds(20));  // + 20 ms
  EXPECT_EQ(world.backend.list(res::configmaps()).size(), 2U);
}

TEST(Driver, AgainSignalsAndTriggers) {
  SimWorld world;
  std::vector<std::string> planned;
  Planner p;
  p.name = "watcher";
  p.owns = res::secrets();
  p.signals = {Signal::Decision};
  p.triggers = {by_any(res::nodes(), res::secrets())};
  p.plan = [&](const World& seen, const Key& key, Instant) {
    Plan plan;
    const Json value = seen.signal(Signal::Decision, key);
    planned.push_back(value.is_null() ? "none" : json::print(value));
    if (value.is_null()) plan.again_in(seconds(3));
    return plan;
  };
  world.driver.add(std::move(p));
  world.start();
  ASSERT_TRUE(world.apply(res::secrets(), R"({"metadata":{"name":"s","namespace":"d"}})"));
  EXPECT_EQ(planned, (std::vector<std::string>{"none"}));
  world.run(seconds(3));
  EXPECT_EQ(planned.size(), 2U);
  world.backend.signals().set(Signal::Decision, {res::secrets(), "d", "s"}, Json(7));
  world.loop.settle();
  EXPECT_EQ(planned.back(), "7");
  const auto before = planned.size();
  world.backend.signals().set(Signal::Decision, {res::secrets(), "d", "s"}, Json(7));
  world.run(seconds(10));
  EXPECT_EQ(planned.size(), before) << "an equal value is no change, and nothing asked for again";
  ASSERT_TRUE(
      world.backend.merge({res::nodes(), "", "knit"}, R"({"metadata":{"labels":{"a":"b"}}})"));
  world.loop.settle();
  EXPECT_EQ(planned.size(), before + 1);
}

TEST(Driver, EventsAreAggregatedAndFiltered) {
  SimWorld world;
  Planner p;
  p.name = "noisy";
  p.owns = res::secrets();
  p.plan = [](const World& seen, const Key& key, Instant) {
    Plan plan;
    const auto n = json::i64(seen.view(key), {"n"});
    plan.status(key, JsonObject{{"seen", n}});
    plan.event(key, "Normal", "Seen", "a change was seen", "noisy");
    return plan;
  };
  world.driver.add(std::move(p));
  world.start();
  ASSERT_TRUE(world.apply(res::secrets(), R"({"metadata":{"name":"s","namespace":"d"},"n":1})"));
  const auto events = world.backend.list(res::events());
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(json::i64(events[0]->parse(), {"count"}), 1);
  for (int n = 2; n < 60; ++n) {
    ASSERT_TRUE(
        world.backend.merge({res::secrets(), "d", "s"}, "{\"n\":" + std::to_string(n) + "}"));
    world.loop.settle();
  }
  EXPECT_EQ(json::i64(world.backend.list(res::events())[0]->parse(), {"count"}), 25);
}

// A batch holds a key once: an object that is removed and made anew is two commits.
TEST(Driver, MakingAgainWhatWasRemovedWaitsForTheCommit) {
  SimWorld world;
  Planner p;
  p.name = "renewer";
  p.owns = res::secrets();
  p.triggers = {by_any(res::configmaps(), res::secrets())};
  p.plan = [](const World& seen, const Key& key, Instant) {
    Plan plan;
    const Key child{res::configmaps(), key.ns, "c"};
    const Json secret = seen.view(key), have = seen.view(child);
    const auto wanted = json::str(secret, {"v"});
    if (!have.is_null() && json::str(have, {"data", "v"}) != wanted) {
      plan.remove(seen.get(child));
    } else {
      plan.ensure(seen, child, config(wanted));
    }
    return plan;
  };
  world.driver.add(std::move(p));
  world.start();
  ASSERT_TRUE(world.apply(res::secrets(), R"({"metadata":{"name":"s","namespace":"d"},"v":"1"})"));
  const std::string first = world.backend.get({res::configmaps(), "d", "c"})->uid();
  const auto commits = world.backend.commits();
  ASSERT_TRUE(world.backend.merge({res::secrets(), "d", "s"}, R"({"v":"2"})"));
  world.loop.settle();
  EXPECT_EQ(world.backend.commits(), commits + 2);
  const auto object = world.backend.get({res::configmaps(), "d", "c"});
  const Json view = object->parse();
  EXPECT_EQ(json::str(view, {"data", "v"}), "2");
  EXPECT_NE(object->uid(), first);
  EXPECT_EQ(world.pending(), std::vector<std::string>());
}

// Two planners that undo each other's work must not burn the processor.
TEST(Driver, PlansThatNeverSettleBackOff) {
  SimWorld world;
  int plans = 0;
  for (const auto value : {"1", "2"}) {
    Planner p;
    p.name = std::string("fighter") + value;
    p.owns = res::secrets();
    p.triggers = {by_any(res::configmaps(), res::secrets())};
    p.plan = [&plans, value](const World& seen, const Key& key, Instant) {
      ++plans;
      Plan plan;
      plan.ensure(seen, {res::configmaps(), key.ns, "c"}, config(value));
      return plan;
    };
    world.driver.add(std::move(p));
  }
  world.start();
  ASSERT_TRUE(world.apply(res::secrets(), R"({"metadata":{"name":"s","namespace":"d"}})"));
  world.run(seconds(60));
  EXPECT_LT(plans, 2000);
  EXPECT_NE(world.driver.stats().at("fighter1").last_error.find("plans do not settle"),
            std::string::npos);
}

// The settle that made a change planned its consequences; it is not planned again when it comes
// back through the feed. Changes of others are, also of the same objects.
TEST(Driver, ItsOwnChangesAreNotPlannedTwice) {
  SimWorld world;
  world.driver.add(chain(3));
  world.start();
  ASSERT_TRUE(world.apply(res::configmaps(), R"({"metadata":{"name":"x-0","namespace":"d"}})"));
  EXPECT_EQ(world.driver.stats().at("chain").plans, 4U) << "x-0 to x-3, once each";
  ASSERT_TRUE(world.backend.remove({res::configmaps(), "d", "x-3"}));
  world.loop.settle();
  EXPECT_EQ(world.backend.list(res::configmaps()).size(), 3U) << "nobody owns its making";
  ASSERT_TRUE(world.backend.merge({res::configmaps(), "d", "x-2"}, R"({"data":{"v":"2"}})"));
  world.loop.settle();
  EXPECT_EQ(world.backend.list(res::configmaps()).size(), 4U);
}

TEST(Driver, BeforeCommitSeesTheNetChanges) {
  SimWorld world;
  world.driver.add(chain(3));
  std::size_t seen = 0;
  world.driver.before_commit([&](const std::vector<Change>& changes) { seen += changes.size(); });
  world.start();
  ASSERT_TRUE(world.apply(res::configmaps(), R"({"metadata":{"name":"x-0","namespace":"d"}})"));
  EXPECT_EQ(seen, 3U);
}

}  // namespace
}  // namespace knit::reconcile
