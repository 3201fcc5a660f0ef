// One object while it is planned: its DOM, its status as it will be, its conditions and the plan.
// Source: knative/pkg reconciler (the generated reconcilers' pre- and post-processing)
#pragma once

#include "controllers/serving/conditions.h"
#include "controllers/serving/names.h"

namespace knit::serving {

class Subject {
 public:
  /// `dependents` of Ready. Conditions are initialised; a generation that was not observed yet
  /// makes Ready Unknown.
  Subject(const World& world, ObjectPtr object, std::vector<std::string> dependents);

  const Key& key() const { return object_->key(); }
  const Json& dom() const { return dom_; }
  const World& world() const { return world_; }
  Json& status() { return status_; }
  Conditions& conditions() { return conditions_; }
  Plan& plan() { return plan_; }
  Key sibling(kube::Resource resource, std::string_view name) const {
    return {resource, key().ns, std::string(name)};
  }

  /// Makes `want` a child: adds the controller reference and ensures it.
  void ensure_child(const Key& key, Json want);
  /// An event about the object.
  void event(std::string_view type, std::string_view reason, std::string message);
  /// Sets observedGeneration, writes the status if it changed and gives the plan.
  Plan finish(std::string_view component);

 private:
  const World& world_;
  ObjectPtr object_;
  Json dom_, status_;
  Conditions conditions_;
  Plan plan_;
  std::vector<reconcile::EventNote> events_;
};

/// observedGeneration equals generation, as upstream asks before it believes a status.
bool observed(const Json& object);
bool is_ready(const Json& object);   // observed and Ready True
bool is_failed(const Json& object);  // observed and Ready False

}  // namespace knit::serving
