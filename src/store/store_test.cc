#include "store/store.h"

#include <stdlib.h>

#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <thread>

#include "base/random.h"
#include "store/test_objects.h"

namespace knit::store {
namespace {

using namespace test;

std::unique_ptr<Store> open_memory(std::size_t history = 32 << 20) {
  Options options;
  options.writer_thread = false;
  options.history_bytes = history;
  auto store = Store::open(options);
  EXPECT_TRUE(store);
  return std::move(store).value();
}

TEST(Store, CommitChecksEachKeyAndNamesTheOneThatFailed) {
  const auto store = open_memory();
  const auto created = commit_now(*store, {put(config_key("a"), "1", 0)});
  ASSERT_TRUE(created.ok());
  const std::uint64_t v1 = created.committed.version;
  EXPECT_EQ(created.committed.objects[0]->version(), v1);
  EXPECT_EQ(json::str(created.committed.objects[0]->parse(), {"metadata", "resourceVersion"}),
            std::to_string(v1));
  const struct {
    const char* name;
    std::vector<Mutation> batch;
    Code want;
    const char* key;
  } rows[] = {
      {"create twice", {put(config_key("a"), "2", 0)}, Code::AlreadyExists, "a"},
      {"stale", {put(config_key("a"), "2", v1 - 1)}, Code::Conflict, "a"},
      {"update of nothing", {put(config_key("b"), "2", 5)}, Code::NotFound, "b"},
      {"delete of nothing", {drop(config_key("b"))}, Code::NotFound, "b"},
      {"second key fails",
       {put(config_key("c"), "1", 0), put(config_key("a"), "2", 1)},
       Code::Conflict,
       "a"},
      {"same key twice",
       {put(config_key("c"), "1", 0), put(config_key("c"), "2")},
       Code::InvalidArgument,
       "c"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const auto r = commit_now(*store, row.batch);
    ASSERT_FALSE(r.ok());
    EXPECT_EQ(r.failure->error.code(), row.want);
    ASSERT_TRUE(r.failure->key);
    EXPECT_EQ(r.failure->key->name, row.key);
    EXPECT_EQ(store->snapshot().version(), v1) << "a failed commit changes nothing";
    EXPECT_EQ(store->snapshot().get(config_key("c")), nullptr);
  }
}

TEST(Store, WatchGivesEveryChangeOnceInOrderWithBothSides) {
  const auto store = open_memory();
  const std::uint64_t from = store->snapshot().version();
  commit_now(*store, {put(config_key("a"), "1", 0)});
  commit_now(*store, {{{kube::res::secrets(), "default", "s"},
                       0,
                       config_map({kube::res::secrets(), "default", "s"}, "x")}});
  commit_now(*store, {put(config_key("a"), "2"), put(config_key("b"), "1", 0)});
  const auto removed = commit_now(*store, {drop(config_key("a"))});
  int wakes = 0;
  auto sub = store->subscribe(from, kube::res::configmaps(), at_once(), [&] { ++wakes; });
  ASSERT_TRUE(sub);
  EXPECT_EQ(wakes, 1) << "there is something to read already";
  std::vector<std::string> seen;
  bool more = true;
  while (more) {
    auto batch = (*sub)->poll(2);
    ASSERT_TRUE(batch);
    for (const Change& c : batch->changes) {
      seen.push_back(c.key().name + ":" + value_of(c.before) + ">" + value_of(c.after));
    }
    more = batch->more;
  }
  EXPECT_EQ(seen, (std::vector<std::string>{"a:->1", "a:1>2", "b:->1", "a:2>-"}));
  EXPECT_EQ(removed.committed.objects[0]->version(), removed.committed.version);
  commit_now(*store, {put(config_key("b"), "2")});
  EXPECT_EQ(wakes, 2);
  auto last = (*sub)->poll();
  ASSERT_TRUE(last);
  ASSERT_EQ(last->changes.size(), 1u);
  EXPECT_EQ(last->upto, store->snapshot().version());
  sub = Error(Code::Cancelled, "done");
  commit_now(*store, {put(config_key("b"), "3")});
  EXPECT_EQ(wakes, 2) << "a dropped subscription is not woken";
}

TEST(Store, HistoryThatIsGoneIsExpired) {
  const auto store = open_memory(2'000);
  const std::uint64_t from = store->snapshot().version();
  auto early = store->subscribe(from, kube::res::configmaps(), at_once(), [] {});
  ASSERT_TRUE(early);
  for (int i = 0; i < 50; ++i) commit_now(*store, {put(config_key("a"), std::to_string(i))});
  EXPECT_LE(store->stats().history_bytes, 2'000u);
  const auto batch = (*early)->poll();
  ASSERT_FALSE(batch);
  EXPECT_EQ(batch.error().code(), Code::Expired);
  EXPECT_EQ(store->snapshot_at(from, kube::res::configmaps()).error().code(), Code::Expired);
  EXPECT_EQ(store->subscribe(store->snapshot().version() + 1, std::nullopt, at_once(), [] {})
                .error()
                .code(),
            Code::InvalidArgument);
}

TEST(Store, SnapshotsAtOlderVersionsListWhatWasThere) {
  const auto store = open_memory();
  std::vector<std::pair<std::uint64_t, std::vector<std::string>>> states;
  const auto names = [](const Snapshot& s) {
    std::vector<std::string> out;
    for (const auto& o : s.list(kube::res::configmaps())) {
      out.push_back(o->key().name + "=" + value_of(o));
    }
    return out;
  };
  const auto random = seeded_random(3);
  for (int i = 0; i < 200; ++i) {
    const Key key = config_key("n" + std::to_string(random->below(12)));
    const bool there = store->snapshot().get(key) != nullptr;
    if (there && random->below(3) == 0) {
      commit_now(*store, {drop(key)});
    } else {
      commit_now(*store, {put(key, std::to_string(i))});
    }
    states.emplace_back(store->snapshot().version(), names(store->snapshot()));
  }
  for (const auto& [version, want] : states) {
    const auto old = store->snapshot_at(version, kube::res::configmaps());
    ASSERT_TRUE(old);
    EXPECT_EQ(names(*old), want) << version;
  }
}

TEST(Store, PagesFollowEachOtherWithoutGaps) {
  const auto store = open_memory();
  std::vector<std::string> want;
  for (const char* ns : {"a", "a-b", "b"}) {
    for (int i = 0; i < 7; ++i) {
      const Key key = config_key("n" + std::to_string(i), ns);
      commit_now(*store, {put(key, "x")});
      want.push_back(to_string(key));
    }
  }
  const Snapshot s = store->snapshot();
  for (const std::size_t limit : {1u, 2u, 5u, 20u, 21u, 30u}) {
    std::vector<std::string> got;
    std::string ns, name;
    while (true) {
      const auto page = s.page(kube::res::configmaps(), {}, ns, name, limit);
      for (const auto& o : page.objects) got.push_back(to_string(o->key()));
      EXPECT_EQ(page.remaining, want.size() - got.size());
      if (!page.more) break;
      ns = page.objects.back()->key().ns;
      name = page.objects.back()->key().name;
    }
    EXPECT_EQ(got, want) << limit;
  }
  EXPECT_EQ(s.list(kube::res::configmaps(), "a").size(), 7u);
  EXPECT_EQ(s.count(kube::res::configmaps(), "a"), 7u);
  EXPECT_EQ(s.page(kube::res::configmaps(), "a", "a", "n3", 2).remaining, 1u);
}

TEST(Store, IndexesFollowLabelsOwnersAndUids) {
  const auto store = open_memory();
  Json a = config_map(config_key("a"), "1", {{"app", "x"}, {"tier", "1"}});
  json::set(
      a, {"metadata", "ownerReferences"},
      JsonArray{JsonObject{{"apiVersion", "v1"}, {"kind", "K"}, {"name", "o"}, {"uid", "U"}}});
  commit_now(*store, {{config_key("a"), 0, a},
                      {config_key("b", "other"), 0,
                       config_map(config_key("b", "other"), "1", {{"app", "x"}})}});
  const auto names = [](const std::vector<ObjectPtr>& objects) {
    std::string out;
    for (const auto& o : objects) out += o->key().ns + "/" + o->key().name + " ";
    return out;
  };
  const auto cm = kube::res::configmaps();
  Snapshot s = store->snapshot();
  EXPECT_EQ(names(s.labelled(cm, {}, "app", "x")), "default/a other/b ");
  EXPECT_EQ(names(s.labelled(cm, "other", "app", "x")), "other/b ");
  EXPECT_EQ(names(s.labelled(cm, {}, "app", "")), "");
  EXPECT_EQ(names(s.owned(cm, "default", "U")), "default/a ");
  EXPECT_EQ(names(s.dependents("U")), "default/a ");
  EXPECT_EQ(s.by_uid("uid-b")->key().name, "b");
  json::set(a, {"metadata", "labels"}, JsonObject{{"app", "y"}});
  json::erase(a, {"metadata", "ownerReferences"});
  commit_now(*store, {{config_key("a"), std::nullopt, a}, drop(config_key("b", "other"))});
  EXPECT_EQ(names(s.labelled(cm, {}, "app", "x")), "default/a other/b ") << "a snapshot stays";
  s = store->snapshot();
  EXPECT_EQ(names(s.labelled(cm, {}, "app", "x")), "");
  EXPECT_EQ(names(s.labelled(cm, {}, "app", "y")), "default/a ");
  EXPECT_EQ(names(s.labelled(cm, {}, "tier", "1")), "");
  EXPECT_EQ(names(s.owned(cm, {}, "U")), "");
  EXPECT_EQ(s.by_uid("uid-b"), nullptr);
}

TEST(Store, ASimulatedDiskTakesItsTimeAndRefusesWholeGroups) {
  std::vector<std::function<void()>> turns;
  bool full = true;
  Options options;
  char name[] = "/tmp/knit-store-XXXXXX";
  ASSERT_NE(::mkdtemp(name), nullptr);
  options.path = std::string(name) + "/knit.db";
  options.writer_thread = false;
  options.writer = [&](std::function<void()> turn) { turns.push_back(std::move(turn)); };
  options.before_write = [&]() -> Result<void> {
    if (full) return Error(Code::ResourceExhausted, "database or disk is full");
    return {};
  };
  auto opened = Store::open(options);
  ASSERT_TRUE(opened);
  auto store = std::move(opened).value();
  std::vector<std::string> results;
  const auto put_later = [&](const char* key) {
    store->commit({put(config_key(key), "1", 0)}, at_once(), [&results, key](CommitResult r) {
      results.push_back(std::string(key) + (r.ok() ? " ok" : " " + r.failure->error.message()));
    });
  };
  put_later("a");
  put_later("b");
  ASSERT_EQ(turns.size(), 1U) << "one turn writes all that waits";
  EXPECT_NE(store->head().get(config_key("a")), nullptr);
  EXPECT_EQ(store->snapshot().get(config_key("a")), nullptr) << "not durable, not to be seen";
  EXPECT_TRUE(results.empty());
  turns[0]();
  EXPECT_EQ(results,
            (std::vector<std::string>{"a database or disk is full", "b database or disk is full"}));
  EXPECT_EQ(store->head().get(config_key("a")), nullptr);
  full = false;
  put_later("c");
  turns[1]();
  EXPECT_EQ(results.back(), "c ok");
  put_later("d");
  store.reset();  // hands in what it was given
  EXPECT_EQ(results.back(), "d ok");
  turns[2]();  // too late: nothing happens
  std::filesystem::remove_all(name);
}

TEST(Store, WriterThreadGroupsCommitsAndKeepsTheirOrder) {
  auto opened = Store::open(Options{});
  ASSERT_TRUE(opened);
  const auto store = std::move(opened).value();
  std::mutex mutex;
  std::condition_variable all_done;
  std::vector<std::uint64_t> versions;
  constexpr std::size_t kEach = 200;
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      for (std::size_t i = 0; i < kEach; ++i) {
        const Key key = config_key("t" + std::to_string(t) + "-" + std::to_string(i));
        store->commit({put(key, "x", 0)}, at_once(), [&](CommitResult r) {
          const std::lock_guard lock(mutex);
          EXPECT_TRUE(r.ok());
          versions.push_back(r.committed.version);
          all_done.notify_all();
        });
        EXPECT_NE(store->head().get(key), nullptr) << "head() has what was accepted";
      }
    });
  }
  for (auto& t : threads) t.join();
  std::unique_lock lock(mutex);
  all_done.wait(lock, [&] { return versions.size() == 3 * kEach; });
  EXPECT_TRUE(std::is_sorted(versions.begin(), versions.end()));
  EXPECT_EQ(store->snapshot().count(kube::res::configmaps()), 3 * kEach);
}

}  // namespace
}  // namespace knit::store
