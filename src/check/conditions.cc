#include "check/conditions.h"

#include <algorithm>

namespace knit::check {

std::string Condition::text() const {
  std::string said = type + " is " + status;
  constexpr std::size_t kMost = 300;
  const std::string why = reason + (!reason.empty() && !message.empty() ? ": " : "") +
                          (message.size() > kMost ? message.substr(0, kMost) + "…" : message);
  return why.empty() ? said : said + " (" + why + ")";
}

std::vector<Condition> conditions_of(const Json& object) {
  std::vector<Condition> out;
  for (const auto& c : json::array(object, {"status", "conditions"})) {
    if (!c.is_object()) continue;
    out.push_back({std::string(json::str(c, {"type"})), std::string(json::str(c, {"status"})),
                   std::string(json::str(c, {"reason"})), std::string(json::str(c, {"message"}))});
  }
  return out;
}

std::optional<Condition> condition_of(const Json& object, std::string_view type) {
  for (auto& c : conditions_of(object)) {
    if (c.type == type) return std::move(c);
  }
  return std::nullopt;
}

std::optional<Condition> blocking_condition(const Json& object, std::string_view ready) {
  const auto all = conditions_of(object);
  const auto top =
      std::find_if(all.begin(), all.end(), [&](const Condition& c) { return c.type == ready; });
  if (top == all.end() || top->is_true()) return std::nullopt;
  // Knative marks what does not count towards Ready with a severity; those are False beside a
  // Ready that is True, which is gone already.
  const auto cause = std::find_if(all.begin(), all.end(), [&](const Condition& c) {
    return c.type != ready && c.is_false() && !c.message.empty();
  });
  return cause == all.end() ? *top : *cause;
}

}  // namespace knit::check
