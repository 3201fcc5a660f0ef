// Label and field selectors as the API takes them in queries and objects.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"

namespace knit::kube {

using Labels = std::vector<std::pair<std::string, std::string>>;

class LabelSelector {
 public:
  enum class Op { In, NotIn, Exists, NotExists, Greater, Less };
  struct Requirement {
    std::string key;
    Op op = Op::In;
    std::vector<std::string> values;
    bool operator==(const Requirement&) const = default;
  };

  /// Matches everything.
  LabelSelector() = default;
  /// "a=b,c!=d,e in (f,g),!h". Errors: InvalidArgument in upstream's words.
  static Result<LabelSelector> parse(std::string_view text);
  /// metav1.LabelSelector {matchLabels, matchExpressions}; null or absent matches nothing,
  /// {} everything. Errors: InvalidArgument.
  static Result<LabelSelector> from_object(const Json* selector);
  /// A plain map, as Service.spec.selector; empty matches nothing.
  static LabelSelector from_map(const Json* map);
  static LabelSelector nothing();

  bool matches(const Labels& labels) const;
  /// Of an object's metadata.labels.
  bool matches_object(const Json& object) const;
  bool empty() const { return !nothing_ && requirements_.empty(); }
  const std::vector<Requirement>& requirements() const { return requirements_; }
  /// As `kubectl get deploy -o wide` and Scale.status.selector print it.
  std::string print() const;

 private:
  std::vector<Requirement> requirements_;
  bool nothing_ = false;
};

/// "metadata.name=x,status.phase!=Running".
struct FieldTerm {
  std::string label;
  bool equal = true;
  std::string value;
  bool operator==(const FieldTerm&) const = default;
};
/// Errors: InvalidArgument ("invalid selector: …"). Backslash escapes of ',', '=' and '\' as
/// upstream.
Result<std::vector<FieldTerm>> parse_field_selector(std::string_view text);

/// Why `key` is no qualified name / `value` no label value; empty when it is valid.
std::vector<std::string> check_qualified_name(std::string_view key);
std::vector<std::string> check_label_value(std::string_view value);

}  // namespace knit::kube
