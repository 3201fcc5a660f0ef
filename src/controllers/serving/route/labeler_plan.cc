// Tells Revisions and Configurations which Routes use them: annotation routes, label routingState.
// Source: knative/serving pkg/reconciler/labeler/{labeler,labels,accessors}.go
#include <algorithm>
#include <set>

#include "controllers/serving/serving.h"
#include "controllers/serving/subject.h"

namespace knit::serving {
namespace {
constexpr std::string_view kFinalizer = "routes.serving.knative.dev";

std::set<std::string> split_list(std::string_view text) {
  std::set<std::string> out;
  while (!text.empty()) {
    const auto comma = text.find(',');
    if (comma != 0) out.emplace(text.substr(0, comma));
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
  }
  return out;
}
std::string join(const std::set<std::string>& items) {
  std::string out;
  for (const auto& item : items) out += (out.empty() ? "" : ",") + item;
  return out;
}

enum class Use { Add, Remove };

void mark(Plan& plan, const World& world, const ObjectPtr& object, const std::string& route,
          Use use, bool with_state) {
  const Json dom = object->parse();
  const auto annotations = annotations_of(dom);
  auto routes = split_list(value_of(annotations, annotation::kRoutes));
  const auto before = routes;
  if (use == Use::Add) {
    routes.insert(route);
  } else {
    routes.erase(route);
  }
  Json patch = JsonObject();
  if (routes != before) {
    json::set(patch, {"metadata", "annotations", annotation::kRoutes},
              routes.empty() ? Json() : Json(join(routes)));
  }
  if (with_state) {
    const std::string_view state = routes.empty() ? "reserve" : "active";
    if (object->label(label::kRoutingState) != state) {
      json::set(patch, {"metadata", "labels", label::kRoutingState}, Json(state));
      json::set(patch, {"metadata", "annotations", annotation::kRoutingStateModified},
                Json(rfc3339(world.wall_now())));
    }
  }
  if (!patch.get_object().empty()) plan.merge(object->key(), std::move(patch));
}

bool names_route(const ObjectPtr& object, const std::string& route) {
  if (object->bytes().find(route) == std::string::npos) return false;  // spares the parsing
  return split_list(json::str(object->parse(), {"metadata", "annotations", annotation::kRoutes}))
      .contains(route);
}

Plan plan_labels(const World& world, const ObjectPtr& object) {
  Plan plan;
  const Json route = object->parse();
  const std::string& ns = object->key().ns;
  const std::string& name = object->key().name;
  JsonArray finalizers = json::array(route, {"metadata", "finalizers"});
  const auto mine = std::find(finalizers.begin(), finalizers.end(), Json(kFinalizer));

  std::set<std::string> revisions, configurations;
  if (!object->deleting()) {
    for (const auto part : {"status", "spec"}) {
      for (const auto& target : json::array(route, {part, "traffic"})) {
        const auto revision = json::str(target, {"revisionName"});
        const auto configuration = json::str(target, {"configurationName"});
        if (!revision.empty()) {
          revisions.emplace(revision);
          if (const auto r = world.get({res::revisions(), ns, std::string(revision)})) {
            if (const auto* owner = r->controller()) configurations.insert(owner->name);
          }
        }
        if (configuration.empty()) continue;
        configurations.emplace(configuration);
        if (json::boolean(target, {"latestRevision"}, true)) {
          // So that traffic can move smoothly once it is ready.
          const Json c = world.view({res::configurations(), ns, std::string(configuration)});
          const auto created = json::str(c, {"status", "latestCreatedRevisionName"});
          if (!created.empty()) revisions.emplace(created);
        }
      }
    }
  }
  if (object->deleting() || is_ready(route) || is_failed(route)) {
    // A Service's Route may name that Service's Revisions only.
    const auto service = json::str(route, {"metadata", "labels", label::kService});
    for (const auto& r : service.empty()
                             ? world.list(res::revisions(), ns)
                             : world.labelled(res::revisions(), ns, label::kService, service)) {
      if (!revisions.contains(r->key().name) && names_route(r, name)) {
        mark(plan, world, r, name, Use::Remove, true);
      }
    }
    for (const auto& c :
         service.empty() ? world.list(res::configurations(), ns)
                         : world.labelled(res::configurations(), ns, label::kService, service)) {
      if (!configurations.contains(c->key().name) && names_route(c, name)) {
        mark(plan, world, c, name, Use::Remove, false);
      }
    }
  }
  for (const auto& r : revisions) {
    if (const auto o = world.get({res::revisions(), ns, r}); o != nullptr && !o->deleting()) {
      mark(plan, world, o, name, Use::Add, true);
    }
  }
  for (const auto& c : configurations) {
    if (const auto o = world.get({res::configurations(), ns, c}); o != nullptr && !o->deleting()) {
      mark(plan, world, o, name, Use::Add, false);
    }
  }
  if (object->deleting() ? mine != finalizers.end() : mine == finalizers.end()) {
    if (object->deleting()) {
      finalizers.erase(mine);
    } else {
      finalizers.push_back(Json(kFinalizer));
    }
    Json patch = JsonObject();
    json::set(patch, {"metadata", "finalizers"},
              finalizers.empty() ? Json() : Json(std::move(finalizers)));
    plan.merge(object->key(), std::move(patch));
  }
  return plan;
}

}  // namespace

reconcile::Planner labeler_planner(ContextPtr) {
  reconcile::Planner planner;
  planner.name = "labeler";
  planner.owns = res::kroutes();
  planner.plan = [](const World& world, const Key& key, Instant) {
    const auto object = world.get(key);
    if (object == nullptr || (!object->deleting() && !installed(world))) return Plan{};
    return plan_labels(world, object);
  };
  const auto by_reference = [](const World& world, const ObjectPtr& before,
                               const ObjectPtr& after) {
    const auto& changed = (after != nullptr ? after : before);
    std::set<Key> keys;
    for (const auto& object : {before, after}) {
      if (object == nullptr) continue;
      for (const auto& name : split_list(
               json::str(object->parse(), {"metadata", "annotations", annotation::kRoutes}))) {
        keys.insert({res::kroutes(), changed->key().ns, name});
      }
    }
    for (const auto& route : world.list(res::kroutes(), changed->key().ns)) {
      if (route->bytes().find(changed->key().name) == std::string::npos) continue;
      const Json dom = route->parse();
      for (const auto& target : json::array(dom, {"spec", "traffic"})) {
        if (json::str(target, {"revisionName"}) == changed->key().name ||
            json::str(target, {"configurationName"}) == changed->key().name) {
          keys.insert(route->key());
        }
      }
    }
    return std::vector<Key>(keys.begin(), keys.end());
  };
  planner.triggers = {{res::configurations(), by_reference}, {res::revisions(), by_reference}};
  add_config_triggers(planner);
  return planner;
}

}  // namespace knit::serving
