// What the core planners share: owners, conditions, pods' state, numbers of the API.
#pragma once

#include <algorithm>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>

#include "reconcile/plan.h"

namespace knit::controllers::core {

using kube::Key;
using kube::ObjectPtr;
using kube::Resource;
using reconcile::Plan;
using reconcile::World;
namespace res = kube::res;

/// A controlling owner reference to `owner` (a parsed object).
Json controller_ref(const Json& owner);
/// The controlling owner's uid, or "".
std::string_view controller_uid(const kube::Object& object);

struct Condition {
  std::string_view type, status, reason, message;
};
/// `conditions` with `c` set; lastTransitionTime moves only when its status changes.
void set_condition(JsonArray& conditions, const Condition& c, WallTime now);
/// The condition of that type, or null JSON.
Json condition(const Json& object, std::string_view type);
std::string_view condition_status(const Json& object, std::string_view type);

bool pod_ready(const Json& pod);
/// Succeeded or Failed.
bool pod_ended(const Json& pod);
/// Not ended and not being deleted.
bool pod_active(const Json& pod);
/// Ready for at least `min_ready`. When it will be but is not yet, `wait` is told how long.
bool pod_available(const Json& pod, Duration min_ready, WallTime now,
                   std::optional<Duration>* wait);
bool deleting(const Json& object);

/// "3", 3 or "25%" of `total`. Errors: InvalidArgument.
enum class Round { Up, Down };
Result<std::int64_t> int_or_percent(const Json* value, std::int64_t total, Round round);

/// A Kubernetes quantity ("100m", "1.5", "128Mi", "2e3", 4) in thousandths; absent is 0.
/// Errors: InvalidArgument.
Result<std::int64_t> quantity_milli(const Json* value);

/// `n` characters of the alphabet of generated names, from a digest of `seed`.
std::string name_suffix(std::string_view seed, std::size_t n);
/// As upstream's rand.SafeEncodeString of a number.
std::string safe_encode(std::uint32_t number);

/// Parsed from a literal of ours; aborts when it is not JSON.
Json literal(std::string_view text);

/// std::stable_sort without its temporary buffer (deprecated in this library's C++20).
template <class T, class Less>
void sort_stably(std::vector<T>& items, const Less& less) {
  std::vector<std::size_t> order(items.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    if (less(items[a], items[b])) return true;
    if (less(items[b], items[a])) return false;
    return a < b;
  });
  std::vector<T> sorted;
  sorted.reserve(items.size());
  for (const std::size_t i : order) sorted.push_back(std::move(items[i]));
  items = std::move(sorted);
}

/// metadata.creationTimestamp, or 0.
WallTime created_at(const Json& object);
WallTime time_at(const Json& object, json::Path path);

}  // namespace knit::controllers::core
