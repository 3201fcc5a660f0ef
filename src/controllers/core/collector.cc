#include "controllers/core/collector.h"

#include <algorithm>

namespace knit::controllers::core {
namespace {
using reconcile::Planner;
constexpr std::string_view kForeground = "foregroundDeletion";
constexpr std::string_view kOrphan = "orphan";

// A guess at the collection of an owner, to look it up by key before by uid.
Resource guess(const kube::OwnerRef& ref) {
  std::string plural;
  for (const char c : ref.kind) {
    plural += static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  }
  if (plural.ends_with("s") || plural.ends_with("x") || plural.ends_with("ch")) {
    if (plural != "endpoints") plural += "es";
  } else if (plural.ends_with("y") && plural.size() > 1 &&
             std::string_view("aeiou").find(plural[plural.size() - 2]) == std::string_view::npos) {
    plural.replace(plural.size() - 1, 1, "ies");
  } else {
    plural += "s";
  }
  const auto slash = ref.api_version.find('/');
  if (slash == std::string::npos) return Resource::of(plural);
  return Resource::of(plural + "." + ref.api_version.substr(0, slash));
}

ObjectPtr owner_of(const World& world, const kube::OwnerRef& ref, const std::string& ns) {
  const Resource resource = guess(ref);
  for (const auto& space : {ns, std::string()}) {
    const auto object = world.get({resource, space, ref.name});
    if (object != nullptr && object->uid() == ref.uid) return object;
    if (ns.empty()) break;
  }
  // An owner in another namespace counts as missing.
  const auto object = world.by_uid(ref.uid);
  return object != nullptr && (object->key().ns == ns || object->key().ns.empty()) ? object
                                                                                   : nullptr;
}

bool has_finalizer(const Json& object, std::string_view name) {
  const auto& list = json::array(object, {"metadata", "finalizers"});
  return std::any_of(list.begin(), list.end(), [&](const Json& f) {
    const auto* s = f.if_string();
    return s != nullptr && std::string_view(*s) == name;
  });
}
Json without_finalizer(const Json& object, std::string_view name) {
  JsonArray left;
  for (const auto& f : json::array(object, {"metadata", "finalizers"})) {
    const auto* s = f.if_string();
    if (s == nullptr || std::string_view(*s) != name) left.push_back(f);
  }
  JsonObject metadata{{"finalizers", left.empty() ? Json() : Json(std::move(left))}};
  return JsonObject{{"metadata", std::move(metadata)}};
}
Json without_owners(const Json& object, const std::vector<std::string>& uids) {
  JsonArray left;
  for (const auto& ref : json::array(object, {"metadata", "ownerReferences"})) {
    if (std::find(uids.begin(), uids.end(), json::str(ref, {"uid"})) == uids.end()) {
      left.push_back(ref);
    }
  }
  JsonObject metadata{{"ownerReferences", left.empty() ? Json() : Json(std::move(left))}};
  return JsonObject{{"metadata", std::move(metadata)}};
}

Plan plan_object(const World& world, const Key& key) {
  Plan plan;
  const auto object = world.get(key);
  if (object == nullptr) return plan;
  if (object->deleting()) {
    const Json view = object->parse();
    if (has_finalizer(view, kOrphan)) {
      for (const auto& dependent : world.dependents(object->uid())) {
        plan.merge(dependent->key(), without_owners(dependent->parse(), {object->uid()}));
      }
      plan.merge(key, without_finalizer(view, kOrphan));
    } else if (has_finalizer(view, kForeground)) {
      bool blocked = false;
      for (const auto& dependent : world.dependents(object->uid())) {
        for (const auto& ref : dependent->owners()) {
          blocked = blocked || (ref.uid == object->uid() && ref.block_owner_deletion);
        }
      }
      if (!blocked) plan.merge(key, without_finalizer(view, kForeground));
    }
    return plan;
  }
  if (object->owners().empty()) return plan;
  std::size_t solid = 0, waiting = 0;
  std::vector<std::string> gone;
  for (const auto& ref : object->owners()) {
    const auto owner = owner_of(world, ref, key.ns);
    if (owner == nullptr) {
      gone.push_back(ref.uid);
    } else if (owner->deleting() && has_finalizer(owner->parse(), kForeground)) {
      ++waiting;
      gone.push_back(ref.uid);
    } else {
      ++solid;
    }
  }
  if (gone.empty()) return plan;
  if (solid > 0) {
    plan.merge(key, without_owners(object->parse(), gone));
    return plan;
  }
  if (waiting > 0 && !world.dependents(object->uid()).empty()) {
    // Its own dependents go first, as the owner asked.
    const Json view = object->parse();
    if (!has_finalizer(view, kForeground)) {
      JsonArray finalizers = json::array(view, {"metadata", "finalizers"});
      finalizers.push_back(Json(kForeground));
      plan.merge(key, JsonObject{{"metadata", JsonObject{{"finalizers", std::move(finalizers)}}}});
    }
  }
  plan.remove(object);
  return plan;
}

}  // namespace

Planner collector_planner() {
  Planner p;
  p.name = "garbage-collector";
  p.every_kind = true;
  p.plan = [](const World& world, const Key& key, Instant) { return plan_object(world, key); };
  p.triggers = {
      {Resource(), [](const World& world, const ObjectPtr& before, const ObjectPtr& after) {
         std::vector<Key> keys;
         if (before == nullptr) return keys;
         const bool began = after != nullptr && after->deleting() && !before->deleting();
         if (after != nullptr && !began) return keys;
         // An owner went or began to go: its dependents. A dependent went: owners that wait.
         for (const auto& dependent : world.dependents(before->uid())) {
           keys.push_back(dependent->key());
         }
         if (after == nullptr) {
           for (const auto& ref : before->owners()) {
             if (!ref.block_owner_deletion) continue;
             if (const auto owner = owner_of(world, ref, before->key().ns);
                 owner != nullptr && owner->deleting()) {
               keys.push_back(owner->key());
             }
           }
         }
         return keys;
       }}};
  return p;
}

}  // namespace knit::controllers::core
