// The living condition set of Knative: how single conditions make Ready.
// Source: knative/pkg apis/condition_set.go
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/time.h"

namespace knit::serving {

struct Condition {
  std::string type, status, severity, reason, message, time;
  bool is_true() const { return status == "True"; }
  bool is_false() const { return status == "False"; }
  bool is_unknown() const { return status == "Unknown"; }
};

/// The condition of a type in an object's or a status' `conditions`; nullopt when absent.
std::optional<Condition> find_condition(const Json& status, std::string_view type);

/// The conditions of one object while it is planned.
class Conditions {
 public:
  /// `dependents` make "Ready"; conditions outside the set have severity Info.
  Conditions(const Json& status, std::vector<std::string> dependents, WallTime now);

  /// Missing ones of the set become Unknown, or True when Ready is True already.
  void initialize();
  void mark_true(std::string_view type, std::string_view reason = {},
                 std::string_view message = {});
  void mark_false(std::string_view type, std::string_view reason, std::string_view message);
  void mark_unknown(std::string_view type, std::string_view reason, std::string_view message);
  /// Sets one condition as it is, without any consequence for Ready.
  void set(Condition condition);

  const Condition* get(std::string_view type) const;
  bool is_true(std::string_view type) const;
  bool is_false(std::string_view type) const;
  bool is_unknown(std::string_view type) const;
  /// How long the condition has had its status; zero when it is absent.
  Duration since_change(std::string_view type) const;

  /// Sorted by type. A condition that is as it was before the pass keeps its time.
  JsonArray to_json() const;

 private:
  bool in_set(std::string_view type) const;
  bool terminal(std::string_view type) const { return type == "Ready" || in_set(type); }
  void put(std::string_view type, std::string_view status, std::string_view reason,
           std::string_view message);
  std::optional<Condition> unhappy() const;

  std::vector<std::string> dependents_;
  WallTime now_;
  std::vector<Condition> before_, list_;
};

}  // namespace knit::serving
