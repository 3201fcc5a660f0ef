// All triggers of a broker as one matcher: a hash on the exact type and source that a filter asks
// for, then what is left of it. Source: spec/eventing.md 8.3.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "events/filter/filter.h"

namespace knit::events {

/// Immutable; share it, and build another when a trigger changes. Any thread.
class Matcher {
 public:
  /// The numbers that match() gives are positions in `filters`. Null entries match nothing.
  explicit Matcher(std::vector<std::shared_ptr<const Filter>> filters);

  /// Replaces `out` by the numbers of the filters that pass, ascending.
  void match(const Event& event, std::vector<std::uint32_t>& out) const;
  /// How many filters were looked at for the last kind of event: for tests and statistics.
  std::size_t candidates(const Event& event) const;
  std::size_t size() const { return filters_.size(); }
  const Filter* filter(std::size_t number) const { return filters_[number].get(); }

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view s) const { return std::hash<std::string_view>()(s); }
  };
  template <class T>
  using Map = std::unordered_map<std::string, T, Hash, std::equal_to<>>;
  struct Bucket {
    Map<std::vector<std::uint32_t>> by_source;
    std::vector<std::uint32_t> any_source;
  };
  template <class F>
  void visit(const Event& event, F f) const;
  void add(Bucket& bucket, std::uint32_t number);

  std::vector<std::shared_ptr<const Filter>> filters_;
  Map<Bucket> by_type_;
  Bucket any_type_;
};

}  // namespace knit::events
