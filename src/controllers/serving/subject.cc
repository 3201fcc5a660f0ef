#include "controllers/serving/subject.h"

namespace knit::serving {
namespace {
Json status_of(const Json& dom) {
  const Json* status = json::find(dom, "status");
  return status != nullptr && status->is_object() ? *status : Json(JsonObject());
}
}  // namespace

Subject::Subject(const World& world, ObjectPtr object, std::vector<std::string> dependents)
    : world_(world),
      object_(std::move(object)),
      dom_(object_->parse()),
      status_(status_of(dom_)),
      conditions_(status_, std::move(dependents), world.wall_now()) {
  conditions_.initialize();
  if (json::i64(status_, {"observedGeneration"}) != generation_of(dom_)) {
    conditions_.mark_unknown("Ready", "NewObservedGenFailure",
                             "unsuccessfully observed a new generation");
  }
}

void Subject::ensure_child(const Key& child, Json want) {
  json::set(want, {"metadata", "ownerReferences"}, controller_ref(dom_));
  plan_.ensure(world_, child, want);
}

void Subject::event(std::string_view type, std::string_view reason, std::string message) {
  events_.push_back({key(), std::string(type), std::string(reason), std::move(message), {}});
}

Plan Subject::finish(std::string_view component) {
  status_.get_object()["observedGeneration"] = generation_of(dom_);
  status_.get_object()["conditions"] = conditions_.to_json();
  const Json before = status_of(dom_);
  Json patch = json::merge_diff(before, status_);
  if (patch.is_object() && !patch.get_object().empty()) plan_.status(key(), std::move(patch));
  for (auto& note : events_) {
    note.component = std::string(component);
    plan_.events.push_back(std::move(note));
  }
  return std::move(plan_);
}

bool observed(const Json& object) {
  return json::i64(object, {"status", "observedGeneration"}) == generation_of(object);
}
bool is_ready(const Json& object) {
  const auto c = find_condition(object, "Ready");
  return observed(object) && c && c->is_true();
}
bool is_failed(const Json& object) {
  const auto c = find_condition(object, "Ready");
  return observed(object) && c && c->is_false();
}

}  // namespace knit::serving
