// A trigger's filter: attributes, exact, prefix, suffix, all, any, not, cesql.
// Source: knative/eventing pkg/eventfilter, pkg/apis/eventing/v1/trigger_validation.go;
// spec/eventing.md 1.4, 2.5.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "events/filter/cesql.h"
#include "events/model/event.h"

namespace knit::events {

/// A filter as written. What of the members counts depends on the kind.
struct FilterSpec {
  enum class Kind {
    Attributes,  // pairs; the value "" asks only that the attribute is there
    Exact,       // pairs, all must hold
    Prefix,
    Suffix,
    All,  // children
    Any,
    Not,    // children[0]
    Cesql,  // text
  };
  Kind kind = Kind::All;
  std::vector<std::pair<std::string, std::string>> pairs;
  std::vector<FilterSpec> children;
  std::string text;
};

/// Reads a trigger's spec: `filters` when it is there and not empty, else `filter`. No filter
/// passes everything (an All without children). Errors: InvalidArgument naming the field
/// ("spec.filters[0].exact"), ResourceExhausted past a bound (depth 16, 1,000 parts),
/// Unsupported.
Result<FilterSpec> parse_filter(const Json& trigger_spec);

/// A filter compiled. Immutable; any thread.
class Filter {
 public:
  /// Errors: those of the expression language, naming nothing else.
  static Result<Filter> compile(const FilterSpec& spec);
  Filter(Filter&&) noexcept;
  Filter& operator=(Filter&&) noexcept;
  ~Filter();

  bool matches(const Event& event) const;
  /// The values that the attribute (type or source) of a passing event can have; nothing when it
  /// can be any. Sorted, at most 64.
  const std::optional<std::vector<std::string>>& types() const { return types_; }
  const std::optional<std::vector<std::string>>& sources() const { return sources_; }
  /// True when types() and sources() say all: matches() need not be asked.
  bool exact_only() const { return exact_only_; }
  std::size_t size() const;

 private:
  struct Node;
  Filter();
  std::unique_ptr<Node> root_;
  std::optional<std::vector<std::string>> types_, sources_;
  bool exact_only_ = false;
};

}  // namespace knit::events
