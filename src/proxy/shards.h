// A persistent hash map: copying it shares everything, a change copies one shard. Config reaches
// the workers as copies of these, so the cost of a change follows the change.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

namespace knit::proxy {

struct StringHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view s) const { return std::hash<std::string_view>{}(s); }
};

template <class V>
class Shards {
 public:
  static constexpr std::size_t kShards = 64;
  using Map =
      std::unordered_map<std::string, std::shared_ptr<const V>, StringHash, std::equal_to<>>;

  const V* find(std::string_view key) const { return get(key).get(); }
  const std::shared_ptr<const V>& get(std::string_view key) const {
    static const std::shared_ptr<const V> none;
    const auto& shard = shards_[index(key)];
    if (!shard) return none;
    const auto it = shard->find(key);
    return it == shard->end() ? none : it->second;
  }
  void set(std::string key, std::shared_ptr<const V> value) {
    auto& shard = shards_[index(key)];
    auto copy = shard ? std::make_shared<Map>(*shard) : std::make_shared<Map>();
    (*copy)[std::move(key)] = std::move(value);
    shard = std::move(copy);
  }
  void set(std::string key, V value) {
    set(std::move(key), std::make_shared<const V>(std::move(value)));
  }
  void erase(std::string_view key) {
    auto& shard = shards_[index(key)];
    if (!shard || !shard->contains(key)) return;
    auto copy = std::make_shared<Map>(*shard);
    copy->erase(copy->find(key));
    shard = std::move(copy);
  }
  template <class F>
  void for_each(F f) const {
    for (const auto& shard : shards_) {
      if (!shard) continue;
      for (const auto& [key, value] : *shard) f(key, value);
    }
  }
  std::size_t size() const {
    std::size_t n = 0;
    for (const auto& shard : shards_) n += shard ? shard->size() : 0;
    return n;
  }

 private:
  static std::size_t index(std::string_view key) { return (StringHash{}(key) >> 7) % kShards; }
  std::array<std::shared_ptr<const Map>, kShards> shards_;
};

}  // namespace knit::proxy
