#include "events/log/stream.h"

#include <unistd.h>

#include "events/log/crc32c.h"
#include "events/log/recovery.h"
#include "events/log/sim_disk.h"
#include "io/sim_loop.h"

namespace knit::events {
namespace {

using namespace std::chrono_literals;

// A stream on a disk that the test owns; what a coroutine returns is there after settle().
class StreamTest : public testing::Test {
 protected:
  void open(StreamOptions options = {}) {
    stream.reset();
    auto opened = run(Stream::open(loop, disk, "s", "default/b", options));
    ASSERT_TRUE(opened) << opened.error().message();
    stream = std::move(*opened);
  }
  template <class T>
  T run(io::Task<T> task) {
    std::optional<T> out;
    const auto scope = loop.spawn_scoped(store(std::move(task), &out));
    loop.settle();
    KNIT_CHECK(out.has_value());
    return std::move(*out);
  }
  template <class T>
  static io::Task<void> store(io::Task<T> task, std::optional<T>* out) {
    out->emplace(co_await std::move(task));
  }
  Result<Seq> append(std::string payload) { return run(stream->append(std::move(payload))); }
  std::vector<std::string> read_all(Seq from = 0) {
    std::vector<std::string> out;
    while (from < stream->next()) {
      auto r = run(stream->read(from, 7, 1 << 20));
      KNIT_CHECK(r.has_value());
      for (const Record& x : r->records) out.push_back(std::to_string(x.seq) + ":" + *x.payload);
      KNIT_CHECK(r->next > from);
      from = r->next;
    }
    return out;
  }
  void fill(int n, std::size_t bytes) {
    for (int i = 0; i < n; ++i) ASSERT_TRUE(append(std::string(bytes, 'x')));
  }

  std::unique_ptr<Random> random = seeded_random(1);
  std::shared_ptr<SimDisk> sim = std::make_shared<SimDisk>(*random);
  std::shared_ptr<LogDisk> disk = sim;
  io::SimLoop loop;
  std::unique_ptr<Stream> stream;
};

TEST(Crc32c, KnownAnswers) {  // RFC 3720 B.4
  EXPECT_EQ(crc32c(0, "123456789"), 0xe3069283u);
  EXPECT_EQ(crc32c(0, std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(crc32c(0, std::string(32, '\xff')), 0x62a8ab43u);
  EXPECT_EQ(crc32c(crc32c(0, "1234"), "56789"), 0xe3069283u);
}

TEST_F(StreamTest, AppendsAndReadsInOrder) {
  open();
  EXPECT_EQ(append("a").value_or(99), 0u);
  EXPECT_EQ(append("b").value_or(99), 1u);
  EXPECT_EQ(append("").value_or(99), 2u);
  EXPECT_EQ(read_all(), (std::vector<std::string>{"0:a", "1:b", "2:"}));
  EXPECT_EQ(read_all(1), (std::vector<std::string>{"1:b", "2:"}));
  open();
  EXPECT_EQ(stream->next(), 3u);
  EXPECT_EQ(read_all(), (std::vector<std::string>{"0:a", "1:b", "2:"}));
}

TEST_F(StreamTest, OneSyncForABatchAndNoAnswerBeforeIt) {
  open();
  int answered = 0;
  for (int i = 0; i < 100; ++i) {
    stream->append("x", [&](const Result<Seq>& r) { answered += r.has_value(); });
  }
  EXPECT_EQ(answered, 0);
  const auto before = sim->syncs();
  loop.settle();
  EXPECT_EQ(answered, 100);
  EXPECT_EQ(sim->syncs(), before + 1);
  EXPECT_EQ(stream->stats().batches, 1u);
}

TEST_F(StreamTest, KeepsSubscribersRetriesAndParkedEvents) {
  open();
  Cursor* a = stream->subscribe("a", 0);
  stream->subscribe("gone", 0);
  fill(6, 3);
  for (const Seq s : std::vector<Seq>{0, 1, 2, 3}) ASSERT_TRUE(a->claim(s));
  EXPECT_TRUE(a->done(1));
  EXPECT_TRUE(a->hold({0, Hold::Waiting, 3, loop.wall_now() + 5s, "500"}));
  EXPECT_TRUE(a->hold({2, Hold::Parked, 11, kNever, "dead letter sink: 503"}));
  stream->unsubscribe("gone");
  stream->touch();
  ASSERT_TRUE(run(stream->flush()));
  open();
  EXPECT_EQ(stream->cursors().size(), 1u);
  a = stream->find("a");
  ASSERT_NE(a, nullptr);
  ASSERT_NE(a->find_held(0), nullptr);
  EXPECT_EQ(*a->find_held(0), (Held{0, Hold::Waiting, 3, loop.wall_now() + 5s, "500"}));
  ASSERT_NE(a->find_held(2), nullptr);
  EXPECT_EQ(a->find_held(2)->hold, Hold::Parked);
  EXPECT_EQ(a->find_held(2)->note, "dead letter sink: 503");
  EXPECT_EQ(a->position(), 3u) << "3 was in flight: it comes again";
  Cursor* b = stream->subscribe("b", stream->next());
  EXPECT_EQ(b->position(), 6u);
  EXPECT_NE(b->id(), a->id());
  EXPECT_EQ(stream->subscribe("b", 0), b);
  EXPECT_EQ(stream->subscribe("far", 1000)->position(), 6u) << "clamped";
}

TEST_F(StreamTest, ADestroyedStreamAnswersWhatWaits) {
  open();
  std::vector<bool> answers;
  const auto note = [&](const Result<Seq>& r) { answers.push_back(r.has_value()); };
  stream->append("a", note);
  stream.reset();
  loop.settle();
  EXPECT_EQ(answers, std::vector<bool>{false});
}

TEST_F(StreamTest, StateIsSyncedSoonWithoutEvents) {
  open();
  Cursor* a = stream->subscribe("a", 0);
  fill(1, 1);
  ASSERT_TRUE(a->claim(0));
  EXPECT_TRUE(a->done(0));
  const auto before = sim->syncs();
  stream->touch();
  loop.settle();
  EXPECT_EQ(sim->syncs(), before);
  loop.advance(1s);
  EXPECT_EQ(sim->syncs(), before + 1);
  loop.advance(10s);
  EXPECT_EQ(sim->syncs(), before + 1) << "nothing more to sync";
}

TEST_F(StreamTest, RollsIndexesAndReadsOldSegments) {
  open({.segment_bytes = 4096, .tail_bytes = 10});
  std::vector<std::string> want;
  for (int i = 0; i < 300; ++i) {
    const std::string payload = "event " + std::to_string(i) + std::string(100, '.');
    want.push_back(std::to_string(i) + ":" + payload);
    ASSERT_EQ(append(payload).value_or(999), static_cast<Seq>(i));
  }
  EXPECT_GT(stream->stats().segments, 8u);
  EXPECT_EQ(read_all(), want);
  open({.segment_bytes = 4096, .tail_bytes = 10});
  EXPECT_EQ(read_all(), want);
  EXPECT_EQ(read_all(150), std::vector(want.begin() + 150, want.end()));
  EXPECT_EQ(*run(stream->read_one(17))->payload, want[17].substr(3));
  EXPECT_EQ(run(stream->read_one(300)).error().code(), Code::NotFound);
}

TEST_F(StreamTest, RetainsBySizeAndAgeWhatNobodyNeeds) {
  StreamOptions options{.segment_bytes = 4096, .retain_bytes = 20'000, .retain_age = 1h};
  open(options);
  Cursor* slow = stream->subscribe("slow", 0);
  fill(100, 1000);
  EXPECT_EQ(stream->first(), 0u) << "needed";
  slow->skip_to(50);
  stream->maintain();
  loop.settle();
  EXPECT_GT(stream->first(), 40u);
  EXPECT_LE(stream->first(), 50u) << "needed";
  slow->skip_to(100);
  stream->maintain();
  loop.settle();
  EXPECT_LE(stream->stats().bytes, 20'000u);
  const auto kept = stream->stats().segments;
  EXPECT_GT(kept, 2u);
  EXPECT_EQ(sim->files().size(), kept);
  loop.advance(1h + 1s);
  stream->maintain();
  loop.settle();
  EXPECT_EQ(stream->stats().segments, 1u);
  EXPECT_EQ(stream->next(), 100u);
  open(options);
  EXPECT_EQ(stream->next(), 100u) << "numbers go on";
  const Seq position = stream->find("slow")->position();
  EXPECT_GE(position, 95u) << "as the last segment's checkpoint says; filters say no again";
  EXPECT_LE(position, 100u);
}

TEST_F(StreamTest, ExpiresUndeliveredEventsOnlyWhenTold) {
  StreamOptions options{.segment_bytes = 4096, .retain_bytes = 0, .retain_age = 1h};
  open(options);
  Cursor* dead = stream->subscribe("dead", 0);
  fill(20, 1000);
  ASSERT_TRUE(dead->claim(0));
  EXPECT_TRUE(dead->hold({0, Hold::Parked, 1, kNever, ""}));
  loop.advance(1000h);
  stream->maintain();
  loop.settle();
  EXPECT_EQ(stream->first(), 0u);
  options.expire_age = 2h;
  stream->set_options(options);
  stream->maintain();
  loop.settle();
  EXPECT_GT(stream->first(), 0u);
  EXPECT_EQ(stream->stats().expired, stream->first());
  EXPECT_EQ(dead->position(), stream->first());
  EXPECT_EQ(dead->parked(), 0u);
  ASSERT_TRUE(run(stream->flush()));
  const Seq first = stream->first();
  open(options);
  EXPECT_EQ(stream->first(), first);
  EXPECT_EQ(stream->find("dead")->position(), first);
}

// An event that waits for years does not keep the whole log: it is copied forward.
TEST_F(StreamTest, KeepsHeldEventsWithoutTheirSegments) {
  StreamOptions options{
      .segment_bytes = 8192, .retain_bytes = 0, .retain_age = 0s, .tail_bytes = 0};
  open(options);
  Cursor* a = stream->subscribe("a", 0);
  ASSERT_TRUE(append("poison"));
  ASSERT_TRUE(a->claim(0));
  EXPECT_TRUE(a->hold({0, Hold::Parked, 11, kNever, "note"}));
  for (int round = 0; round < 5; ++round) {
    for (int i = 0; i < 50; ++i) {
      ASSERT_TRUE(append(std::string(500, 'x')));
      a->skip_to(stream->next());
    }
    stream->maintain();
    loop.settle();
    EXPECT_GT(stream->first(), static_cast<Seq>(round * 50));
    EXPECT_LE(stream->stats().segments, 3u);
    EXPECT_EQ(stream->stats().kept, 1u);
    auto poison = run(stream->read_one(0));
    ASSERT_TRUE(poison) << poison.error().message();
    EXPECT_EQ(*poison->payload, "poison");
    if (round == 2) {
      ASSERT_TRUE(run(stream->flush()));
      open(options);
      a = stream->find("a");
      ASSERT_NE(a, nullptr);
    }
    ASSERT_NE(a->find_held(0), nullptr);
    EXPECT_EQ(a->find_held(0)->note, "note");
  }
  EXPECT_EQ(a->redrive(loop.wall_now()), 1u);
  ASSERT_TRUE(a->claim_held(0));
  EXPECT_TRUE(a->done(0));
  fill(50, 500);
  a->skip_to(stream->next());
  stream->maintain();
  loop.settle();
  EXPECT_EQ(stream->stats().kept, 0u);
  EXPECT_EQ(run(stream->read_one(0)).error().code(), Code::NotFound);
}

TEST_F(StreamTest, DoesNotCopyWhatFillsMostOfASegment) {
  StreamOptions options{.segment_bytes = 8192, .retain_bytes = 0, .retain_age = 0s};
  open(options);
  Cursor* a = stream->subscribe("a", 0);
  fill(40, 1000);
  for (Seq s = 0; s < 40; ++s) {
    ASSERT_TRUE(a->claim(s));
    EXPECT_TRUE(a->hold({s, Hold::Parked, 1, kNever, ""}));
  }
  const auto bytes = stream->stats().bytes;
  for (int i = 0; i < 10; ++i) {
    stream->maintain();
    loop.settle();
  }
  EXPECT_EQ(stream->first(), 0u);
  EXPECT_LT(stream->stats().bytes, bytes + 20'000);
}

TEST_F(StreamTest, RefusesWithTypedErrors) {
  StreamOptions options;
  options.max_event_bytes = 1000;
  options.max_pending_bytes = 1500;
  options.max_bytes = 6000;
  open(options);
  stream->subscribe("needs it", 0);
  const auto large = append(std::string(1001, 'x'));
  ASSERT_FALSE(large);
  EXPECT_EQ(large.error().code(), Code::ResourceExhausted);
  EXPECT_EQ(large.error().message(),
            "an event of 1001 bytes is larger than the limit of 1000 bytes");
  std::vector<Code> refused;
  for (int i = 0; i < 3; ++i) {
    stream->append(std::string(700, 'x'), [&](const Result<Seq>& r) {
      if (!r) refused.push_back(r.error().code());
    });
  }
  EXPECT_EQ(refused, std::vector<Code>{Code::Unavailable}) << "too much waits for the disk";
  loop.settle();
  EXPECT_EQ(stream->next(), 2u);
  Result<Seq> last = Seq{0};
  for (int i = 0; i < 10 && last; ++i) last = append(std::string(700, 'x'));
  ASSERT_FALSE(last);
  EXPECT_EQ(last.error().code(), Code::Unavailable);
  EXPECT_NE(last.error().message().find("default/b is full"), std::string::npos);
  EXPECT_LE(stream->stats().bytes, 6000u);
  EXPECT_GE(stream->stats().refused, 3u);
}

TEST_F(StreamTest, SurvivesAFullDisk) {
  open({.segment_bytes = 4096});
  Cursor* a = stream->subscribe("a", 0);
  fill(3, 500);
  ASSERT_TRUE(a->claim(0));
  EXPECT_TRUE(a->done(0));
  sim->set_capacity(sim->used() + 700);
  int accepted = 3;
  Result<Seq> last = Seq{0};
  for (int i = 0; i < 20; ++i) {
    last = append(std::string(500, 'y'));
    accepted += last.has_value();
  }
  ASSERT_FALSE(last);
  EXPECT_EQ(last.error().code(), Code::Unavailable);
  EXPECT_NE(last.error().message().find("No space left"), std::string::npos);
  EXPECT_GT(stream->stats().failed_writes, 0u);
  EXPECT_EQ(read_all().size(), static_cast<std::size_t>(accepted));
  sim->set_capacity(UINT64_MAX);
  ASSERT_TRUE(append("after"));
  ++accepted;
  loop.advance(2s);
  open({.segment_bytes = 4096});
  const auto all = read_all();
  EXPECT_EQ(all.size(), static_cast<std::size_t>(accepted));
  EXPECT_TRUE(all.back().ends_with(":after"));
  EXPECT_EQ(stream->find("a")->position(), 1u);
}

TEST_F(StreamTest, SurvivesFailedSyncs) {
  open({.segment_bytes = 4096});
  stream->subscribe("a", 0);
  fill(3, 500);
  sim->fail_syncs(3);
  int accepted = 3;
  for (int i = 0; i < 10; ++i) accepted += append(std::string(500, 'y')).has_value();
  EXPECT_LT(accepted, 13);
  EXPECT_GT(accepted, 3);
  EXPECT_EQ(read_all().size(), static_cast<std::size_t>(accepted));
  ASSERT_TRUE(run(stream->flush()));
  open({.segment_bytes = 4096});
  EXPECT_EQ(read_all().size(), static_cast<std::size_t>(accepted));
  EXPECT_NE(stream->find("a"), nullptr);
}

TEST_F(StreamTest, AClockSetBackDoesNotReorder) {
  open();
  ASSERT_TRUE(append("a"));
  stream.reset();
  io::SimLoop earlier(loop.wall_now() - 1000h);
  std::unique_ptr<Stream> again;
  std::optional<Result<std::unique_ptr<Stream>>> opened;
  const auto scope =
      earlier.spawn_scoped(store(Stream::open(earlier, disk, "s", "default/b", {}), &opened));
  earlier.settle();
  ASSERT_TRUE(opened && *opened);
  again = std::move(**opened);
  std::optional<Result<ReadResult>> read;
  again->append("b", [](const Result<Seq>&) {});
  earlier.settle();
  const auto reading = earlier.spawn_scoped(store(again->read(0, 10, 1000), &read));
  earlier.settle();
  ASSERT_TRUE(read && *read && (*read)->records.size() == 2);
  EXPECT_GE((*read)->records[1].time, (*read)->records[0].time);
}

TEST_F(StreamTest, StateAloneDoesNotGrowASegmentForEver) {
  open({.segment_bytes = 8192, .retain_bytes = 0, .retain_age = 0s});
  Cursor* a = stream->subscribe("a", 0);
  ASSERT_TRUE(append("poison"));
  ASSERT_TRUE(a->claim(0));
  for (std::uint32_t i = 0; i < 1000; ++i) {
    EXPECT_TRUE(a->hold({0, Hold::Waiting, i, loop.wall_now(), std::string(200, 'n')}));
    ASSERT_TRUE(a->claim_held(0));
    stream->touch();
    loop.settle();
  }
  EXPECT_LE(stream->stats().bytes, 50'000u);
  EXPECT_TRUE(a->hold({0, Hold::Waiting, 1000, loop.wall_now(), ""}));
  ASSERT_TRUE(run(stream->flush()));
  ASSERT_TRUE(append("next"));
  open();
  EXPECT_EQ(stream->find("a")->find_held(0)->attempts, 1000u);
  EXPECT_EQ(*run(stream->read_one(0))->payload, "poison");
  const Seq position = stream->find("a")->position();
  auto rest = run(stream->read(position, 10, 1000));
  ASSERT_TRUE(rest && rest->records.size() == 1);
  EXPECT_EQ(*rest->records[0].payload, "next");
}

TEST_F(StreamTest, ABacklogTakesNoMemory) {
  open({.segment_bytes = 1 << 20, .tail_bytes = 1000});
  Cursor* idle = stream->subscribe("idle", 0);
  for (int i = 0; i < 200; ++i) {
    for (int k = 0; k < 100; ++k) stream->append(std::string(200, 'x'), [](const auto&) {});
    loop.settle();
  }
  const auto stats = stream->stats();
  EXPECT_EQ(stats.next, 20'000u);
  EXPECT_LE(stats.index_entries, stats.bytes / kIndexEvery + stats.segments);
  EXPECT_LE(stats.tail_bytes, 1000u);
  EXPECT_EQ(idle->held_bytes(), 0u);
}

TEST_F(StreamTest, WritesToARealDirectory) {
  char path[] = "/tmp/knit-log-test-XXXXXX";
  ASSERT_NE(::mkdtemp(path), nullptr);
  auto real = open_posix_disk(path);
  ASSERT_TRUE(real);
  disk = std::shared_ptr<LogDisk>(std::move(*real));
  const StreamOptions options{.segment_bytes = 4096, .retain_bytes = 10'000};
  open(options);
  Cursor* a = stream->subscribe("a", 0);
  fill(30, 1000);
  EXPECT_EQ(read_all().size(), 30u);
  a->skip_to(30);
  ASSERT_TRUE(a->claim_held(0) == std::nullopt);
  fill(1, 1000);
  ASSERT_TRUE(a->claim(30));
  EXPECT_TRUE(a->done(30));
  ASSERT_TRUE(run(stream->flush()));
  open(options);
  EXPECT_EQ(stream->find("a")->position(), 31u);
  EXPECT_GT(stream->first(), 10u);
  const auto first = stream->first();
  EXPECT_EQ(read_all().size(), 31u - first);
  stream.reset();
  ASSERT_TRUE(run(Stream::remove(loop, disk, "s")));
  ASSERT_TRUE(run(Stream::remove(loop, disk, "s"))) << "twice is fine";
  EXPECT_EQ(::rmdir(path), 0) << "nothing is left";
}

}  // namespace
}  // namespace knit::events
