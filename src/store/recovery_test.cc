// What survives: kill, torn files, full disks, and numbers that are never used twice.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/random.h"
#include "store/test_objects.h"

namespace knit::store {
namespace {

using namespace test;
namespace fs = std::filesystem;

class Recovery : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "knit-store-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    dir_ = pattern;
  }
  void TearDown() override { fs::remove_all(dir_); }
  std::string file() const { return (dir_ / "store.db").string(); }
  std::unique_ptr<Store> open(Options options = {}) {
    if (options.path.empty()) options.path = file();
    options.writer_thread = false;
    auto store = Store::open(options);
    EXPECT_TRUE(store) << (store ? "" : store.error().message());
    return store ? std::move(store).value() : nullptr;
  }
  /// Copies the files as a crash of the machine would leave them.
  std::string crash_copy(const std::string& name) {
    const fs::path to = dir_ / name;
    fs::create_directories(to);
    for (const char* suffix : {"", "-wal"}) {
      if (fs::exists(file() + suffix))
        fs::copy_file(file() + suffix, (to / "store.db").string() + suffix);
    }
    return (to / "store.db").string();
  }
  fs::path dir_;
};

TEST_F(Recovery, EverythingComesBackAndNumbersGoOn) {
  std::uint64_t last = 0;
  {
    const auto store = open();
    commit_now(*store, {put(config_key("a"), "1", 0), put(config_key("b"), "1", 0)});
    commit_now(*store, {put(config_key("a"), "2"), drop(config_key("b"))});
    last = store->snapshot().version();
  }
  const auto store = open();
  EXPECT_GE(store->snapshot().version(), last);
  EXPECT_EQ(value_of(store->snapshot().get(config_key("a"))), "2");
  EXPECT_EQ(store->snapshot().get(config_key("b")), nullptr);
  EXPECT_GT(commit_now(*store, {put(config_key("a"), "3")}).committed.version, last);
}

TEST_F(Recovery, NumbersAreNeverUsedTwiceEvenWhenEventsAreLost) {
  std::uint64_t last = 0;
  std::string crashed;
  {
    const auto store = open();
    commit_now(*store, {put(config_key("a"), "1", 0)});
    crashed = crash_copy("crash");  // what comes now reached no disk
    for (int i = 0; i < 300; ++i) {
      const Key key{kube::res::events(), "default", "e" + std::to_string(i)};
      ASSERT_TRUE(commit_now(*store, {{key, 0, config_map(key, "x")}}).ok());
    }
    last = store->snapshot().version();
    EXPECT_EQ(store->stats().syncs, 1u) << "events alone are not fsynced";
  }
  Options options;
  options.path = crashed;
  const auto store = open(options);
  EXPECT_GT(store->snapshot().version(), last);
  EXPECT_EQ(store->snapshot().count(kube::res::events()), 0u);
  // A client that saw the lost events must list again; others go on.
  EXPECT_EQ(store->subscribe(last, kube::res::events(), at_once(), [] {}).error().code(),
            Code::Expired);
  EXPECT_TRUE(store->subscribe(last, kube::res::configmaps(), at_once(), [] {}));
}

TEST_F(Recovery, ATornLogLosesOnlyItsEnd) {
  std::vector<std::uint64_t> versions;
  const auto store = open();
  for (int i = 0; i < 40; ++i) {
    versions.push_back(commit_now(*store, {put(config_key("a"), std::to_string(i)),
                                           put(config_key("n" + std::to_string(i)), "x", 0)})
                           .committed.version);
  }
  const auto random = seeded_random(11);
  for (int round = 0; round < 12; ++round) {
    const std::string copy = crash_copy("torn" + std::to_string(round));
    const std::uintmax_t size = fs::file_size(copy + "-wal");
    fs::resize_file(copy + "-wal", size - random->below(size / 2));
    if (round % 2 == 1) {  // and a damaged byte somewhere in what is left
      std::fstream wal(copy + "-wal", std::ios::in | std::ios::out | std::ios::binary);
      wal.seekp(static_cast<std::streamoff>(random->below(fs::file_size(copy + "-wal"))));
      wal.put('\x5a');
    }
    Options options;
    options.path = copy;
    const auto back = open(options);
    ASSERT_NE(back, nullptr);
    const ObjectPtr a = back->snapshot().get(config_key("a"));
    const std::size_t n = back->snapshot().count(kube::res::configmaps());
    // A prefix of the commits, each whole.
    EXPECT_EQ(n, a ? static_cast<std::size_t>(std::stoi(value_of(a))) + 2 : 0u);
  }
}

TEST_F(Recovery, WhatWasAcknowledgedSurvivesKill) {
  int acknowledged[2];
  ASSERT_EQ(pipe2(acknowledged, O_CLOEXEC), 0);
  const pid_t child = fork();
  if (child == 0) {
    Options options;
    options.path = file();
    auto opened = Store::open(options);
    if (!opened) _exit(1);
    auto store = std::move(opened).value();
    for (int i = 0;; ++i) {
      store->commit({put(config_key("n" + std::to_string(i)), "x", 0)}, at_once(),
                    [&, i](CommitResult r) {
                      if (!r.ok()) _exit(2);
                      [[maybe_unused]] const auto n = write(acknowledged[1], &i, sizeof i);
                    });
      while (store->stats().pending > 100) usleep(100);
    }
  }
  int last = -1;
  while (last < 500) ASSERT_EQ(read(acknowledged[0], &last, sizeof last), ssize_t{sizeof last});
  kill(child, SIGKILL);
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
  close(acknowledged[1]);
  int more = 0;
  while (read(acknowledged[0], &more, sizeof more) == ssize_t{sizeof more}) last = more;
  close(acknowledged[0]);
  const auto store = open();
  for (int i = 0; i <= last; ++i) {
    ASSERT_NE(store->snapshot().get(config_key("n" + std::to_string(i))), nullptr) << i;
  }
}

TEST_F(Recovery, AFullDiskRefusesWritesAndLosesNothing) {
  Options options;
  options.max_pages = 40;
  auto store = open(options);
  int stored = 0;
  CommitResult r;
  while ((r = commit_now(
              *store, {put(config_key("n" + std::to_string(stored)), std::string(8'000, 'x'), 0)}))
             .ok()) {
    ASSERT_LT(++stored, 1'000);
  }
  EXPECT_EQ(r.failure->error.code(), Code::ResourceExhausted) << r.failure->error.message();
  EXPECT_GT(stored, 3);
  EXPECT_EQ(store->snapshot().count(kube::res::configmaps()), static_cast<std::size_t>(stored));
  EXPECT_EQ(store->head().version(), store->snapshot().version());
  // Space comes back by deleting and compacting… and the store goes on.
  store.reset();
  options.max_pages = 0;
  store = open(options);
  EXPECT_EQ(store->snapshot().count(kube::res::configmaps()), static_cast<std::size_t>(stored));
  EXPECT_TRUE(commit_now(*store, {put(config_key("more"), "x", 0)}).ok());
}

TEST_F(Recovery, OldHistoryComesFromTheFileUntilCompacted) {
  Options options;
  options.history_bytes = 1'000;
  auto store = open(options);
  const std::uint64_t from = store->snapshot().version();
  std::vector<std::string> want;
  std::uint64_t middle = 0;
  for (int i = 0; i < 30; ++i) {
    const std::string now = std::to_string(i);
    commit_now(*store, {put(config_key("a"), now)});
    want.push_back((i == 0 ? "-" : std::to_string(i - 1)) + ">" + now);
    if (i == 14) middle = store->snapshot().version();
  }
  commit_now(*store, {drop(config_key("a"))});
  want.push_back("29>-");
  const auto replay = [&](std::uint64_t version) {
    std::vector<std::string> seen;
    auto sub = store->subscribe(version, kube::res::configmaps(), at_once(), [] {});
    if (!sub) return std::vector<std::string>{sub.error().message()};
    for (bool more = true; more;) {
      auto batch = (*sub)->poll(7);
      if (!batch) return std::vector<std::string>{batch.error().message()};
      for (const Change& c : batch->changes) {
        seen.push_back(value_of(c.before) + ">" + value_of(c.after));
      }
      more = batch->more;
    }
    return seen;
  };
  EXPECT_EQ(replay(from), want);
  store.reset();
  store = open(options);
  EXPECT_EQ(replay(from), want) << "also after opening again";
  ASSERT_TRUE(store->compact(middle));
  EXPECT_EQ(replay(from).size(), 1u);
  EXPECT_EQ(replay(middle), std::vector<std::string>(want.begin() + 15, want.end()));
  ASSERT_TRUE(store->compact(store->snapshot().version()));
  store.reset();
  store = open(options);
  EXPECT_EQ(store->snapshot().get(config_key("a")), nullptr);
}

TEST_F(Recovery, TwoProcessesCannotShareTheFile) {
  const auto store = open();
  Options options;
  options.path = file();
  const auto second = Store::open(options);
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().message().find("another process uses"), std::string::npos);
}

TEST_F(Recovery, RandomHistoriesEqualAModelAfterEachOpening) {
  const auto random = seeded_random(5);
  std::map<std::string, std::string> model;
  for (int round = 0; round < 6; ++round) {
    const auto store = open();
    for (int i = 0; i < 120; ++i) {
      std::vector<Mutation> batch;
      std::map<std::string, std::string> next = model;
      std::set<std::string> used;
      for (std::uint64_t k = 0; k <= random->below(4); ++k) {
        const std::string name = "n" + std::to_string(random->below(25));
        if (!used.insert(name).second) continue;
        const ObjectPtr now = store->head().get(config_key(name));
        const std::uint64_t expected = now ? now->version() : 0;
        if (now && random->below(4) == 0) {
          batch.push_back(drop(config_key(name), expected));
          next.erase(name);
        } else {
          const std::string value = std::to_string(random->next());
          batch.push_back(put(config_key(name), value, expected));
          next[name] = value;
        }
      }
      ASSERT_TRUE(commit_now(*store, std::move(batch)).ok());
      model = std::move(next);
    }
    if (round == 3) {
      ASSERT_TRUE(store->compact(store->snapshot().version()));
    }
    std::map<std::string, std::string> got;
    for (const auto& o : store->snapshot().list(kube::res::configmaps())) {
      got[o->key().name] = value_of(o);
    }
    ASSERT_EQ(got, model);
  }
}

}  // namespace
}  // namespace knit::store
