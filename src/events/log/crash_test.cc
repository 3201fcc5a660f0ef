// Whatever is cut, flipped or lost at a crash: nothing acknowledged is lost, nothing is finished
// that was not, no number is used twice.
#include <cstdlib>

#include "events/log/recovery.h"
#include "events/log/sim_disk.h"
#include "events/log/stream.h"
#include "io/sim_loop.h"

namespace knit::events {
namespace {

using namespace std::chrono_literals;

template <class T>
io::Task<void> store(io::Task<T> task, std::optional<T>* out) {
  out->emplace(co_await std::move(task));
}
template <class T>
T run(io::SimLoop& loop, io::Task<T> task) {
  std::optional<T> out;
  const auto scope = loop.spawn_scoped(store(std::move(task), &out));
  loop.settle();
  KNIT_CHECK(out.has_value());
  return std::move(*out);
}

std::map<Seq, std::string> read_all(io::SimLoop& loop, Stream& stream) {
  std::map<Seq, std::string> out;
  for (Seq from = stream.first(); from < stream.next();) {
    auto r = run(loop, stream.read(from, 5, 1 << 20));
    KNIT_CHECK(r.has_value() && r->next > from);
    for (const Record& x : r->records) KNIT_CHECK(out.emplace(x.seq, *x.payload).second);
    from = r->next;
  }
  return out;
}

// Copies what a disk has to a fresh one, so that each damage starts from the same bytes.
std::shared_ptr<SimDisk> copy(SimDisk& from, Random& random) {
  auto out = std::make_shared<SimDisk>(random);
  KNIT_CHECK(out->make_directory("s").has_value());
  for (const auto& name : from.files()) {
    auto file = out->open(name, LogDisk::Open::Fresh);
    KNIT_CHECK(file.has_value() && (*file)->write(0, from.bytes_of(name)).has_value());
    KNIT_CHECK((*file)->sync().has_value());
  }
  KNIT_CHECK(out->sync_directory("s").has_value());
  return out;
}

// Two segments with events, finished and held ones, subscribers that came and went.
class DamageTest : public testing::Test {
 protected:
  static constexpr Seq kEnd = 12;
  static constexpr StreamOptions kOptions{.segment_bytes = 1200, .tail_bytes = 0};

  void SetUp() override {
    auto opened = run(loop, Stream::open(loop, disk, "s", "ns/b", kOptions));
    ASSERT_TRUE(opened);
    Stream& stream = **opened;
    Cursor* a = stream.subscribe("a", 0);
    Cursor* b = stream.subscribe("b", 0);
    stream.subscribe("gone", 0);
    for (Seq s = 0; s < kEnd; ++s) {
      ASSERT_TRUE(run(loop, stream.append("payload " + std::to_string(s) + std::string(60, '.'))));
      ASSERT_TRUE(a->claim(s));
      if (s % 4 == 1) {
        EXPECT_TRUE(a->hold({s, Hold::Parked, 3, kNever, "why"}));
      } else if (s % 4 != 3) {
        EXPECT_TRUE(a->done(s));
        finished.insert(s);
      }
      if (s == 5) {
        ASSERT_TRUE(b->claim(4));
        EXPECT_TRUE(b->done(4));
        stream.unsubscribe("gone");
      }
      stream.touch();
      loop.settle();
    }
    ASSERT_TRUE(run(loop, stream.flush()));
    ASSERT_EQ(stream.stats().segments, 2u);
  }

  // What must hold after any damage; `lost` is how many events may be missing.
  void check(const std::shared_ptr<SimDisk>& damaged, std::size_t lost, bool cut) {
    auto opened = run(loop, Stream::open(loop, damaged, "s", "ns/b", kOptions));
    ASSERT_TRUE(opened) << opened.error().message();
    Stream& stream = **opened;
    const auto events = read_all(loop, stream);
    for (const auto& [seq, payload] : events) {
      ASSERT_EQ(payload, "payload " + std::to_string(seq) + std::string(60, '.'));
    }
    if (cut) {  // a prefix
      ASSERT_TRUE(events.empty() || events.rbegin()->first == events.size() - 1);
    } else {
      ASSERT_GE(events.size() + lost, kEnd);
    }
    Cursor* a = stream.find("a");
    if (!cut || !events.empty()) {
      ASSERT_NE(a, nullptr);
      ASSERT_NE(stream.find("b"), nullptr);
    }
    if (a != nullptr) {
      for (const auto& [seq, payload] : events) {
        const bool open = a->find_held(seq) != nullptr || seq >= a->position();
        if (!finished.contains(seq)) {
          ASSERT_TRUE(open || a->claim(seq)) << "event " << seq << " would never be delivered";
        }
      }
    }
    // It goes on, and what it writes now is there the next time.
    const auto seq = run(loop, stream.append("after"));
    ASSERT_TRUE(seq) << seq.error().message();
    ASSERT_FALSE(events.contains(*seq));
    opened->reset();
    auto again = run(loop, Stream::open(loop, damaged, "s", "ns/b", kOptions));
    ASSERT_TRUE(again);
    const auto later = read_all(loop, **again);
    ASSERT_EQ(later.size(), events.size() + 1);
    ASSERT_EQ(later.at(*seq), "after");
  }

  std::unique_ptr<Random> random = seeded_random(7);
  std::shared_ptr<SimDisk> disk = std::make_shared<SimDisk>(*random);
  io::SimLoop loop;
  std::set<Seq> finished;
};

TEST_F(DamageTest, CutAtEveryByte) {
  const auto names = disk->files();
  ASSERT_EQ(names.size(), 2u);
  for (std::size_t n = 0; n < disk->bytes_of(names[1]).size(); ++n) {
    SCOPED_TRACE("newest segment cut to " + std::to_string(n));
    auto damaged = copy(*disk, *random);
    damaged->bytes_of(names[1]).resize(n);
    check(damaged, 0, true);
    if (HasFatalFailure()) return;
  }
  for (std::size_t n = 0; n < disk->bytes_of(names[0]).size(); ++n) {
    SCOPED_TRACE("only segment cut to " + std::to_string(n));
    auto damaged = copy(*disk, *random);
    ASSERT_TRUE(damaged->remove(names[1]));
    damaged->bytes_of(names[0]).resize(n);
    check(damaged, 0, true);
    if (HasFatalFailure()) return;
  }
}

TEST_F(DamageTest, FlipEveryByte) {
  for (const auto& name : disk->files()) {
    for (std::size_t n = 0; n < disk->bytes_of(name).size(); ++n) {
      const std::string& whole = disk->bytes_of(name);
      if (n % 64 != 0 && whole.substr(n - n % 64, 64) == std::string(64, '\0'))
        continue;  // padding
      SCOPED_TRACE(name + " damaged at " + std::to_string(n));
      auto damaged = copy(*disk, *random);
      damaged->bytes_of(name)[n] =
          static_cast<char>(damaged->bytes_of(name)[n] ^ static_cast<char>(1 + random->below(255)));
      check(damaged, 1, false);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_F(DamageTest, ZeroEverySector) {
  for (const auto& name : disk->files()) {
    for (std::size_t n = 0; n < disk->bytes_of(name).size(); n += 64) {
      SCOPED_TRACE(name + " zeroed at " + std::to_string(n));
      auto damaged = copy(*disk, *random);
      auto& bytes = damaged->bytes_of(name);
      std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(n),
                  std::min<std::size_t>(64, bytes.size() - n), '\0');
      check(damaged, 2, false);
      if (HasFatalFailure()) return;
    }
  }
}

// A segment whose start is gone is removed, but the numbers before it stay given away, over any
// number of restarts.
TEST_F(DamageTest, NumbersAreNotUsedAgainAfterASegmentIsLost) {
  auto damaged = copy(*disk, *random);
  const auto names = damaged->files();
  const Seq first = parse_segment_name(names[1].substr(2)).value();
  damaged->bytes_of(names[0]).resize(5000);  // its events are gone ...
  damaged->bytes_of(names[1]) = "nothing";   // ... and the next segment's start
  for (int restart = 0; restart < 3; ++restart) {
    auto opened = run(loop, Stream::open(loop, damaged, "s", "ns/b", kOptions));
    ASSERT_TRUE(opened);
    EXPECT_GE((*opened)->next(), first) << restart;
  }
}

// One life of a stream: random work, a crash at a random operation of the disk, and again.
class Lives {
 public:
  explicit Lives(std::uint64_t seed)
      : random_(seeded_random(seed)), disk_(std::make_shared<SimDisk>(*random_)) {}

  void live() {
    disk_->crash_after(1 + random_->below(120));
    auto opened = run(loop_, Stream::open(loop_, disk_, "s", "ns/b", options_));
    if (opened) {
      stream_ = std::move(*opened);
      check();
      if (testing::Test::HasFatalFailure()) return;
      work();
    }
    stream_.reset();
    loop_.advance(5s);
    disk_->restart();
    ++crashes;
  }

  void end() {
    auto opened = run(loop_, Stream::open(loop_, disk_, "s", "ns/b", options_));
    ASSERT_TRUE(opened) << opened.error().message();
    stream_ = std::move(*opened);
    check();
  }

  std::size_t acknowledged() const { return accepted_.size(); }
  int crashes = 0;

 private:
  void check() {
    const auto events = read_all(loop_, *stream_);
    for (const auto& [seq, payload] : accepted_) {
      if (seq < stream_->first()) continue;  // removed when everybody had it
      const auto it = events.find(seq);
      ASSERT_TRUE(it != events.end()) << "acknowledged event " << seq << " is lost";
      ASSERT_EQ(it->second, payload);
    }
    for (const auto& name : subscribed_) ASSERT_NE(stream_->find(name), nullptr) << name;
    // What a subscriber has not finished comes again: it is held or still ahead.
    for (Cursor* c : stream_->cursors()) {
      for (const auto& [seq, payload] : accepted_) {
        if (seq < from_[c->name()] || done_[c->name()].contains(seq)) continue;
        if (c->find_held(seq) != nullptr) {
          auto held = run(loop_, stream_->read_one(seq));
          ASSERT_TRUE(held) << c->name() << " " << seq << ": " << held.error().message();
          ASSERT_EQ(*held->payload, payload);
          continue;
        }
        ASSERT_GE(seq, c->low()) << c->name() << " would never get " << seq;
        Cursor look = *c;
        ASSERT_TRUE(look.claim(seq)) << c->name() << " would never get " << seq;
      }
    }
  }

  void work() {
    for (const char* name : {"a", "b"}) {
      Cursor* c = stream_->find(name);
      if (c == nullptr) {
        c = stream_->subscribe(name, stream_->next());
        from_[name] = c->low();
        done_[name].clear();
        const auto durable = run(loop_, stream_->flush());
        if (durable) subscribed_.insert(name);
      }
      flying_[name].clear();
    }
    for (int step = 0; step < 400 && !disk_->crashed(); ++step) {
      const std::string name = random_->below(2) == 0 ? "a" : "b";
      Cursor* c = stream_->find(name);
      auto& flying = flying_[name];
      switch (random_->below(8)) {
        case 0:
        case 1:
        case 2: {
          const auto n = 1 + random_->below(4);
          for (std::uint64_t i = 0; i < n; ++i) {
            std::string payload = random_->hex(1 + random_->below(600));
            stream_->append(payload, [this, payload](const Result<Seq>& r) {
              if (!r) return;
              ASSERT_FALSE(accepted_.contains(*r)) << "a number was used twice";
              accepted_[*r] = payload;
            });
          }
          loop_.settle();
          break;
        }
        case 3:
        case 4:
          while (c->position() < stream_->next() && !c->claim(c->position())) {
          }
          if (c->in_flight() > flying.size()) flying.insert(c->position() - 1);
          break;
        case 5:
          for (const Seq s : c->due(loop_.wall_now(), 2)) {
            ASSERT_TRUE(c->claim_held(s));
            flying.insert(s);
          }
          break;
        case 6:
          if (!flying.empty()) {
            const Seq s = *flying.begin();
            flying.erase(s);
            if (random_->below(3) > 0) {
              ASSERT_TRUE(c->done(s));
              done_[name].insert(s);
            } else {
              ASSERT_TRUE(c->hold({s, random_->below(2) == 0 ? Hold::Waiting : Hold::Parked, 1,
                                   loop_.wall_now() + 1s, "note"}));
            }
            stream_->touch();
          }
          break;
        default:
          loop_.advance(Duration(static_cast<std::int64_t>(random_->below(2'000'000'000))));
          stream_->maintain();
          loop_.settle();
      }
      if (testing::Test::HasFatalFailure()) return;
    }
  }

  std::unique_ptr<Random> random_;
  std::shared_ptr<SimDisk> disk_;
  io::SimLoop loop_;
  StreamOptions options_{
      .segment_bytes = 6000, .retain_bytes = 10'000, .retain_age = 10s, .tail_bytes = 1000};
  std::unique_ptr<Stream> stream_;
  std::map<Seq, std::string> accepted_;
  std::set<std::string> subscribed_;
  std::map<std::string, Seq> from_;
  std::map<std::string, std::set<Seq>> done_, flying_;
};

// KNIT_CRASH_SEED replays one seed, KNIT_CRASH_POINTS sets how many crashes there are.
TEST(Crash, NothingAcknowledgedIsLost) {
  const char* one = std::getenv("KNIT_CRASH_SEED");
  const char* many = std::getenv("KNIT_CRASH_POINTS");
  const int points = many != nullptr ? std::atoi(many) : 500;
  std::uint64_t seed = one != nullptr ? std::strtoull(one, nullptr, 10) : 1;
  std::size_t acknowledged = 0;
  for (int crashes = 0; crashes < points; ++seed) {
    SCOPED_TRACE("KNIT_CRASH_SEED=" + std::to_string(seed));
    Lives lives(seed);
    for (int i = 0; i < 10; ++i) {
      lives.live();
      if (testing::Test::HasFatalFailure()) return;
    }
    lives.end();
    if (testing::Test::HasFatalFailure()) return;
    crashes += lives.crashes;
    acknowledged += lives.acknowledged();
    if (one != nullptr) break;
  }
  EXPECT_GT(acknowledged, 100u);
  RecordProperty("acknowledged", static_cast<int>(acknowledged));
}

}  // namespace
}  // namespace knit::events
