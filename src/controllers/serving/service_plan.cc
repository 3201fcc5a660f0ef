// Service → Configuration and Route.
// Source: knative/serving pkg/reconciler/service/service.go, resources/{configuration,route}.go,
// pkg/apis/serving/v1/service_lifecycle.go
#include "controllers/serving/configuration_plan.h"
#include "controllers/serving/exact.h"
#include "controllers/serving/serving.h"

namespace knit::serving {
namespace {
constexpr std::string_view kConfigurations = "ConfigurationsReady";
constexpr std::string_view kRoutes = "RoutesReady";
constexpr std::string_view kComponent = "service-controller";

Json child(const Json& service, std::string_view kind) {
  JsonObject out;
  out["apiVersion"] = "serving.knative.dev/v1";
  out["kind"] = kind;
  StringMap labels = labels_of(service);
  StringMap annotations = annotations_of(service);
  annotations.erase(std::string(annotation::kLastApplied));
  labels[std::string(label::kService)] = name_of(service);
  if (kind == "Configuration") {
    annotations.erase(std::string(annotation::kRolloutDuration));
    annotations.erase(std::string(annotation::kRolloutDurationOld));
    labels[std::string(label::kServiceUid)] = uid_of(service);
  }
  JsonObject metadata;
  metadata["name"] = name_of(service);
  metadata["namespace"] = namespace_of(service);
  metadata["labels"] = to_json(labels);
  metadata["annotations"] = to_json(annotations);
  out["metadata"] = std::move(metadata);
  return out;
}

JsonArray traffic_of(const Json& service) {
  JsonArray traffic = json::array(service, {"spec", "traffic"});
  if (traffic.empty()) {
    JsonObject latest;
    latest["latestRevision"] = true;
    latest["percent"] = 100;
    traffic.push_back(std::move(latest));
  }
  for (auto& target : traffic) {
    if (json::str(target, {"revisionName"}).empty()) {
      json::set(target, {"configurationName"}, Json(name_of(service)));
      json::set(target, {"latestRevision"}, Json(true));
    } else if (json::find(target, "latestRevision") == nullptr) {
      json::set(target, {"latestRevision"}, Json(false));
    }
  }
  return traffic;
}

Json want_configuration(const Json& service, const World& world) {
  Json out = child(service, "Configuration");
  const Json* template_ = json::find(service, {"spec", "template"});
  json::set(out, {"spec", "template"}, template_ != nullptr ? *template_ : Json(JsonObject()));
  // The labeler writes this annotation; a new Configuration has it at once.
  auto& annotations = json::find(out, {"metadata", "annotations"})->get_object();
  annotations[annotation::kRoutes] = name_of(service);
  const Json have = world.view(
      {res::configurations(), std::string(namespace_of(service)), std::string(name_of(service))});
  if (const auto routes = json::str(have, {"metadata", "annotations", annotation::kRoutes});
      !routes.empty()) {
    annotations[annotation::kRoutes] = routes;
  }
  return out;
}

void propagate(Subject& s, const Json& from, std::string_view as) {
  const auto ready = find_condition(from, "Ready");
  if (!ready) return;
  if (ready->is_true()) s.conditions().mark_true(as);
  if (ready->is_false()) s.conditions().mark_false(as, ready->reason, ready->message);
  if (ready->is_unknown()) s.conditions().mark_unknown(as, ready->reason, ready->message);
}

void copy(Subject& s, const Json& from, std::string_view field) {
  if (const Json* value = json::find(from, {"status", field})) {
    json::set(s.status(), {field}, *value);
  } else {
    json::erase(s.status(), {field});
  }
}

/// The Route's effective traffic is what its spec asks for.
bool migrated(const Json& configuration, const Json& route) {
  const auto& want = json::array(route, {"spec", "traffic"});
  const auto& got = json::array(route, {"status", "traffic"});
  if (want.size() != got.size()) return false;
  for (std::size_t i = 0; i < want.size(); ++i) {
    std::string_view revision = json::str(want[i], {"revisionName"});
    if (json::str(want[i], {"configurationName"}) == name_of(configuration)) {
      revision = json::str(configuration, {"status", "latestReadyRevisionName"});
    }
    if (revision != json::str(got[i], {"revisionName"}) ||
        json::str(want[i], {"tag"}) != json::str(got[i], {"tag"}) ||
        json::i64(want[i], {"percent"}) != json::i64(got[i], {"percent"})) {
      return false;
    }
  }
  return true;
}

void reconcile_service(Subject& s) {
  const World& world = s.world();
  const std::string name(name_of(s.dom()));
  const Key config_key = s.sibling(res::configurations(), name);
  const auto config = world.get(config_key);
  if (config != nullptr && !controlled_by(config, s.dom())) {
    s.conditions().mark_false(
        kConfigurations, "NotOwned",
        "There is an existing Configuration \"" + name + "\" that we do not own.");
    return;
  }
  if (config == nullptr) {
    s.event("Normal", "Created", "Created Configuration \"" + name + "\"");
  }
  ensure_exact(s, config_key, want_configuration(s.dom(), world));
  const Json configuration = world.view(config_key);
  const bool byo = !json::str(s.dom(), {"spec", "template", "metadata", "name"}).empty();
  // A merge planned above makes a new generation, too.
  const bool current = config != nullptr && observed(configuration) && s.plan().writes.empty();
  if (!current) {
    s.conditions().mark_unknown(
        kConfigurations, "OutOfDate",
        "The Configuration is still working to reflect the latest desired specification.");
    if (byo) return;
  } else {
    copy(s, configuration, "latestReadyRevisionName");
    copy(s, configuration, "latestCreatedRevisionName");
    propagate(s, configuration, kConfigurations);
  }
  if (byo && config != nullptr && check_name(world, configuration).state == NameState::Conflict) {
    s.conditions().mark_false(
        kRoutes, "RevisionNameTaken",
        "The revision name \"" +
            std::string(json::str(s.dom(), {"spec", "template", "metadata", "name"})) +
            "\" is taken by a conflicting Revision, so traffic will not be migrated");
    return;
  }

  const Key route_key = s.sibling(res::kroutes(), name);
  const auto route_object = world.get(route_key);
  if (route_object != nullptr && !controlled_by(route_object, s.dom())) {
    s.conditions().mark_false(kRoutes, "NotOwned",
                              "There is an existing Route \"" + name + "\" that we do not own.");
    return;
  }
  if (route_object == nullptr) s.event("Normal", "Created", "Created Route \"" + name + "\"");
  Json want = child(s.dom(), "Route");
  json::set(want, {"spec", "traffic"}, traffic_of(s.dom()));
  const std::size_t writes = s.plan().writes.size();
  ensure_exact(s, route_key, std::move(want));
  const Json route = world.view(route_key);
  if (route_object == nullptr || !observed(route) || s.plan().writes.size() != writes) {
    s.conditions().mark_unknown(
        kRoutes, "OutOfDate",
        "The Route is still working to reflect the latest desired specification.");
    return;
  }
  for (const auto field : {"url", "address", "traffic"}) copy(s, route, field);
  propagate(s, route, kRoutes);
  if (s.conditions().is_true(kRoutes) && !migrated(configuration, route)) {
    s.conditions().mark_unknown(kRoutes, "TrafficNotMigrated",
                                "Traffic is not yet migrated to the latest revision.");
  }
}

}  // namespace

reconcile::Planner service_planner(ContextPtr context) {
  reconcile::Planner planner;
  planner.name = "service";
  planner.owns = res::ksvcs();
  planner.plan = [context](const World& world, const Key& key, Instant) {
    const auto object = world.get(key);
    if (object == nullptr || object->deleting() || !installed(world)) return Plan{};
    Subject s(world, object, {std::string(kConfigurations), std::string(kRoutes)});
    reconcile_service(s);
    return s.finish(kComponent);
  };
  planner.triggers = {reconcile::by_owner(res::configurations(), res::ksvcs()),
                      reconcile::by_owner(res::kroutes(), res::ksvcs())};
  add_config_triggers(planner);
  return planner;
}

}  // namespace knit::serving
