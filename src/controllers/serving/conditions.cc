#include "controllers/serving/conditions.h"

#include <algorithm>

namespace knit::serving {
namespace {

Condition read(const Json& v) {
  Condition c;
  c.type = json::str(v, {"type"});
  c.status = json::str(v, {"status"});
  c.severity = json::str(v, {"severity"});
  c.reason = json::str(v, {"reason"});
  c.message = json::str(v, {"message"});
  c.time = json::str(v, {"lastTransitionTime"});
  return c;
}
bool same(const Condition& a, const Condition& b) {
  return a.type == b.type && a.status == b.status && a.severity == b.severity &&
         a.reason == b.reason && a.message == b.message;
}

}  // namespace

std::optional<Condition> find_condition(const Json& status, std::string_view type) {
  for (const auto& item : json::array(status, {"conditions"})) {
    if (json::str(item, {"type"}) == type) return read(item);
  }
  for (const auto& item : json::array(status, {"status", "conditions"})) {
    if (json::str(item, {"type"}) == type) return read(item);
  }
  return std::nullopt;
}

Conditions::Conditions(const Json& status, std::vector<std::string> dependents, WallTime now)
    : dependents_(std::move(dependents)), now_(now) {
  for (const auto& item : json::array(status, {"conditions"})) list_.push_back(read(item));
  before_ = list_;
}

bool Conditions::in_set(std::string_view type) const {
  return std::find(dependents_.begin(), dependents_.end(), type) != dependents_.end();
}

const Condition* Conditions::get(std::string_view type) const {
  for (const auto& c : list_) {
    if (c.type == type) return &c;
  }
  return nullptr;
}
bool Conditions::is_true(std::string_view type) const {
  const auto* c = get(type);
  return c != nullptr && c->is_true();
}
bool Conditions::is_false(std::string_view type) const {
  const auto* c = get(type);
  return c != nullptr && c->is_false();
}
bool Conditions::is_unknown(std::string_view type) const {
  const auto* c = get(type);
  return c != nullptr && c->is_unknown();
}
Duration Conditions::since_change(std::string_view type) const {
  const auto* c = get(type);
  if (c == nullptr) return Duration::zero();
  const auto at = parse_rfc3339(c->time);
  return at ? now_ - *at : Duration::zero();
}

void Conditions::set(Condition condition) {
  for (auto& c : list_) {
    if (c.type != condition.type) continue;
    if (same(c, condition)) return;
    condition.time = rfc3339(now_);
    c = std::move(condition);
    return;
  }
  condition.time = rfc3339(now_);
  list_.push_back(std::move(condition));
}

void Conditions::put(std::string_view type, std::string_view status, std::string_view reason,
                     std::string_view message) {
  set({std::string(type),
       std::string(status),
       terminal(type) ? "" : "Info",
       std::string(reason),
       std::string(message),
       {}});
}

void Conditions::initialize() {
  if (get("Ready") == nullptr) put("Ready", "Unknown", "", "");
  const std::string status = is_true("Ready") ? "True" : "Unknown";
  for (const auto& type : dependents_) {
    if (get(type) == nullptr) put(type, status, "", "");
  }
}

std::optional<Condition> Conditions::unhappy() const {
  if (dependents_.empty()) return std::nullopt;
  std::vector<const Condition*> found;
  for (const auto& c : list_) {
    if (in_set(c.type)) found.push_back(&c);
  }
  std::sort(found.begin(), found.end(), [](const Condition* a, const Condition* b) {
    return a->time != b->time ? a->time > b->time : a->type < b->type;
  });
  for (const auto* c : found) {
    if (c->is_false()) return *c;
  }
  for (const auto* c : found) {
    if (c->is_unknown()) return *c;
  }
  if (found.size() < dependents_.size()) return Condition{.type = {}, .status = "Unknown"};
  return std::nullopt;
}

void Conditions::mark_true(std::string_view type, std::string_view reason,
                           std::string_view message) {
  put(type, "True", reason, message);
  if (const auto c = unhappy()) {
    put("Ready", c->status, c->reason, c->message);
  } else if (type != "Ready") {
    put("Ready", "True", "", "");
  }
}

void Conditions::mark_false(std::string_view type, std::string_view reason,
                            std::string_view message) {
  put(type, "False", reason, message);
  if (in_set(type)) put("Ready", "False", reason, message);
}

void Conditions::mark_unknown(std::string_view type, std::string_view reason,
                              std::string_view message) {
  put(type, "Unknown", reason, message);
  for (const auto& dependent : dependents_) {
    const auto* c = get(dependent);
    if (c == nullptr || !c->is_false()) continue;
    if (!is_false("Ready")) {
      const Condition failed = *c;
      put("Ready", "False", failed.reason, failed.message);
    }
    return;
  }
  if (in_set(type)) put("Ready", "Unknown", reason, message);
}

JsonArray Conditions::to_json() const {
  std::vector<Condition> sorted = list_;
  std::sort(sorted.begin(), sorted.end(),
            [](const Condition& a, const Condition& b) { return a.type < b.type; });
  JsonArray out;
  for (auto& c : sorted) {
    for (const auto& old : before_) {
      if (same(old, c) && !old.time.empty()) c.time = old.time;
    }
    JsonObject item;
    item["lastTransitionTime"] = c.time;
    if (!c.message.empty()) item["message"] = c.message;
    if (!c.reason.empty()) item["reason"] = c.reason;
    if (!c.severity.empty()) item["severity"] = c.severity;
    item["status"] = c.status;
    item["type"] = c.type;
    out.push_back(std::move(item));
  }
  return out;
}

}  // namespace knit::serving
