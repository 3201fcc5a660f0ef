#include "store/persistent_map.h"

#include "base/random.h"

namespace knit::store {
namespace {

struct IntTraits {
  static const int& key(const int& v) { return v; }
  static int compare(int a, int b) { return a < b ? -1 : a > b ? 1 : 0; }
  static std::uint64_t hash(int k) { return static_cast<std::uint64_t>(k) * 0x9e3779b97f4a7c15ULL; }
};
using Map = PersistentMap<int, int, IntTraits>;

std::vector<int> all(const Map& map) {
  std::vector<int> out;
  map.scan_all([&](int v) {
    out.push_back(v);
    return true;
  });
  return out;
}

TEST(PersistentMap, BehavesAsASetWhoseCopiesNeverChange) {
  const auto random = seeded_random(7);
  Map map;
  std::set<int> model;
  std::vector<std::pair<Map, std::set<int>>> kept;
  for (int i = 0; i < 3000; ++i) {
    const int k = static_cast<int>(random->below(400));
    if (random->below(3) == 0) {
      map = map.without(k);
      model.erase(k);
    } else {
      map = map.with(k);
      model.insert(k);
    }
    if (i % 300 == 0) kept.emplace_back(map, model);
    ASSERT_EQ(map.size(), model.size());
    ASSERT_EQ(map.find(k) != nullptr, model.count(k) == 1);
    ASSERT_EQ(map.rank(k),
              static_cast<std::size_t>(std::distance(model.begin(), model.lower_bound(k))));
  }
  kept.emplace_back(map, model);
  for (const auto& [copy, want] : kept) {
    EXPECT_EQ(all(copy), std::vector<int>(want.begin(), want.end()));
    std::vector<int> tail;
    copy.scan_from(200, [&](int v) {
      tail.push_back(v);
      return tail.size() < 5;
    });
    std::vector<int> want_tail;
    for (auto it = want.lower_bound(200); it != want.end() && want_tail.size() < 5; ++it) {
      want_tail.push_back(*it);
    }
    EXPECT_EQ(tail, want_tail);
  }
}

}  // namespace
}  // namespace knit::store
