// What running objects say of themselves: status.conditions, for the rules that walk a path.
#pragma once

#include "check/objects.h"

namespace knit::check {

struct Condition {
  std::string type, status, reason, message;
  bool is_true() const { return status == "True"; }
  bool is_false() const { return status == "False"; }
  /// "TopicReady is False (TopicFailed: run out of available brokers)"
  std::string text() const;
};

/// status.conditions in their order; those that are no objects are passed over.
std::vector<Condition> conditions_of(const Json& object);
std::optional<Condition> condition_of(const Json& object, std::string_view type);
/// The condition that says most about why an object is not Ready: one that is False and is not
/// Ready itself, else Ready; nothing when Ready is True or nothing is said.
std::optional<Condition> blocking_condition(const Json& object, std::string_view ready = "Ready");

}  // namespace knit::check
