#include "events/log/cursor.h"

#include "base/random.h"

namespace knit::events {
namespace {

constexpr WallTime at(std::int64_t ns) { return {ns}; }
Held waiting(Seq seq, std::int64_t due, std::uint32_t attempts = 1) {
  return {seq, Hold::Waiting, attempts, at(due), "n"};
}

TEST(Cursor, FinishesOutOfOrder) {
  Cursor c(1, "sub", 10);
  for (const Seq s : std::vector<Seq>{10, 11, 12, 13}) EXPECT_TRUE(c.claim(s));
  EXPECT_EQ(c.in_flight(), 4u);
  EXPECT_TRUE(c.done(12));
  EXPECT_TRUE(c.done(11));
  EXPECT_EQ(c.low(), 10u);
  EXPECT_FALSE(c.done(12)) << "twice";
  EXPECT_FALSE(c.claim(12)) << "behind";
  EXPECT_TRUE(c.done(10));
  EXPECT_EQ(c.low(), 13u);
  EXPECT_TRUE(c.done(13));
  EXPECT_EQ(c.low(), 14u);
  EXPECT_EQ(c.in_flight(), 0u);
}

TEST(Cursor, SkipsWhatTheFilterRefuses) {
  Cursor c(1, "sub", 0);
  EXPECT_TRUE(c.claim(5));
  EXPECT_EQ(c.low(), 5u);
  EXPECT_FALSE(c.dirty()) << "skipping is not written down by itself";
  c.skip_to(9);
  EXPECT_EQ(c.position(), 9u);
  EXPECT_TRUE(c.done(5));
  EXPECT_EQ(c.low(), 9u);
  EXPECT_TRUE(c.dirty());
  EXPECT_EQ(c.take_progress(), (Progress{1, 1, 9, {{5, 6}}, {}}));
  EXPECT_FALSE(c.dirty());
}

TEST(Cursor, HeldEventsDoNotHoldTheOthersBack) {
  Cursor c(1, "sub", 0);
  EXPECT_TRUE(c.claim(0));
  EXPECT_TRUE(c.claim(1));
  EXPECT_TRUE(c.hold(waiting(0, 100)));
  EXPECT_FALSE(c.hold(waiting(0, 100))) << "not in flight";
  EXPECT_TRUE(c.done(1));
  EXPECT_EQ(c.low(), 2u);
  EXPECT_EQ(c.needed(), 0u);
  EXPECT_EQ(c.next_due(), at(100));
  EXPECT_TRUE(c.due(at(99), 10).empty());
  EXPECT_EQ(c.due(at(100), 10), std::vector<Seq>{0});
  const auto again = c.claim_held(0);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->attempts, 1u);
  EXPECT_FALSE(c.claim_held(0)) << "in flight";
  EXPECT_TRUE(c.due(at(1000), 10).empty());
  EXPECT_TRUE(c.hold({0, Hold::Parked, 5, kNever, "why"}));
  EXPECT_EQ(c.parked(), 1u);
  EXPECT_EQ(c.waiting(), 0u);
  EXPECT_FALSE(c.next_due());
  EXPECT_EQ(c.redrive(at(7)), 1u);
  EXPECT_EQ(c.due(at(7), 10), std::vector<Seq>{0});
  EXPECT_TRUE(c.claim_held(0));
  EXPECT_TRUE(c.done(0));
  EXPECT_EQ(c.needed(), 2u);
}

TEST(Cursor, ReleasesAndExpires) {
  Cursor c(1, "sub", 0);
  EXPECT_TRUE(c.claim(0));
  EXPECT_TRUE(c.claim(1));
  c.release(0);
  EXPECT_EQ(c.due(at(0), 10), std::vector<Seq>{0});
  EXPECT_TRUE(c.claim_held(0));
  c.release(0);
  EXPECT_EQ(c.waiting(), 1u);
  EXPECT_EQ(c.expire_below(5), 2u + 3u);
  EXPECT_EQ(c.low(), 5u);
  EXPECT_EQ(c.position(), 5u);
  EXPECT_FALSE(c.done(1));
  EXPECT_EQ(c.in_flight(), 0u);
}

// Whatever happens: the written records give the state back; nothing is handed out twice at a time
// and every event ends finished exactly once.
TEST(Cursor, RandomLivesSurviveEveryRestart) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(seed);
    const auto random = seeded_random(seed);
    constexpr Seq kEnd = 60;
    Cursor c(7, "sub", 0);
    CursorState saved = c.state();
    std::vector<Progress> log;
    std::set<Seq> flying, finished, skipped;
    const auto wanted = [](Seq s) { return s % 3 != 0; };
    for (int step = 0; step < 100'000 && c.needed() < kEnd; ++step) {
      switch (random->below(8)) {
        case 0:
        case 1: {
          Seq s = c.position();
          while (s < kEnd && !wanted(s)) ++s;
          if (s >= kEnd) {
            c.skip_to(kEnd);
          } else if (c.claim(s)) {
            EXPECT_FALSE(finished.contains(s));
            EXPECT_TRUE(flying.insert(s).second);
          }
          break;
        }
        case 2:
        case 3:
          if (!flying.empty()) {
            const Seq s = *std::next(flying.begin(),
                                     static_cast<std::ptrdiff_t>(random->below(flying.size())));
            flying.erase(s);
            EXPECT_TRUE(c.done(s));
            finished.insert(s);
            log.push_back(c.take_progress());
          }
          break;
        case 4:
          if (!flying.empty()) {
            const Seq s = *flying.begin();
            flying.erase(s);
            EXPECT_TRUE(c.hold({s, random->below(2) == 0 ? Hold::Waiting : Hold::Parked, 1,
                                at(static_cast<std::int64_t>(random->below(50))), ""}));
            log.push_back(c.take_progress());
          }
          break;
        case 5:
          for (const Seq s : c.due(at(50), 3)) {
            EXPECT_TRUE(c.claim_held(s));
            EXPECT_TRUE(flying.insert(s).second);
          }
          break;
        case 6:
          if (random->below(4) == 0) {
            saved = c.state();
            log.clear();
          }
          break;
        default:
          if (random->below(10) == 0) {  // a restart
            Cursor back(codec::decode<CursorState>(codec::encode(saved)).value());
            for (const auto& p : log) back.apply(codec::decode<Progress>(codec::encode(p)).value());
            back.start_at(0);
            for (const Seq s : finished) EXPECT_FALSE(back.find_held(s) != nullptr);
            EXPECT_LE(back.low(), c.low());
            EXPECT_EQ(back.held().size(), c.held().size());
            c = back;
            flying.clear();
          }
      }
    }
    for (Seq s = 0; s < kEnd; ++s) EXPECT_EQ(finished.contains(s), wanted(s)) << s;
    EXPECT_EQ(c.in_flight(), 0u);
    EXPECT_EQ(c.low(), kEnd);
  }
}

}  // namespace
}  // namespace knit::events
