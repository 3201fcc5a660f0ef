// Configuration → Revisions; the latest created and the latest ready.
// Source: knative/serving pkg/reconciler/configuration/configuration.go, resources/revision.go
#include "controllers/serving/configuration_plan.h"

#include <algorithm>

#include "controllers/serving/serving.h"

namespace knit::serving {
namespace {
constexpr std::string_view kComponent = "configuration-controller";

std::string generation_label(const Json& configuration) {
  return std::to_string(generation_of(configuration));
}
std::int64_t revision_generation(const ObjectPtr& revision) {
  return to_int(revision->label(label::kConfigurationGeneration)).value_or(-1);
}
std::string revision_name(const Json& configuration) {
  const auto byo = json::str(configuration, {"spec", "template", "metadata", "name"});
  if (!byo.empty()) return std::string(byo);
  std::string number = generation_label(configuration);
  if (number.size() < 5) number.insert(0, 5 - number.size(), '0');
  return child_name(name_of(configuration), "-" + number);
}

/// Revisions that may become the latest ready one, best first.
std::vector<ObjectPtr> candidates(const World& world, const Json& configuration,
                                  const ObjectPtr& created, bool byo) {
  const std::string ns(namespace_of(configuration));
  auto list = world.labelled(res::revisions(), ns, label::kConfiguration, name_of(configuration));
  const auto latest_ready = json::str(configuration, {"status", "latestReadyRevisionName"});
  const auto ready =
      latest_ready.empty() ? nullptr : world.get({res::revisions(), ns, std::string(latest_ready)});
  if (ready != nullptr) {
    const auto generation = generation_of(configuration);
    const auto from = revision_generation(ready) >= 0 ? revision_generation(ready) : generation;
    const auto extra = byo && created != nullptr ? revision_generation(created) : -1;
    std::erase_if(list, [&](const ObjectPtr& revision) {
      const auto g = revision_generation(revision);
      return !((g >= from && g <= generation) || (extra >= 0 && g == extra));
    });
  }
  const auto named = json::str(configuration, {"spec", "template", "metadata", "name"});
  std::sort(list.begin(), list.end(), [&](const ObjectPtr& a, const ObjectPtr& b) {
    const bool a_named = a->key().name == named, b_named = b->key().name == named;
    if (a_named != b_named) return a_named;
    const auto of_a = revision_generation(a), of_b = revision_generation(b);
    return of_a != of_b ? of_a > of_b : a->key().name < b->key().name;
  });
  return list;
}

void set_latest_created(Subject& s, std::string_view name) {
  json::set(s.status(), {"latestCreatedRevisionName"}, Json(name));
  if (json::str(s.status(), {"latestReadyRevisionName"}) != name) {
    s.conditions().mark_unknown("Ready", "", "");
  }
}

void creation_failed(Subject& s, std::string_view name) {
  s.conditions().mark_false("Ready", "RevisionFailed",
                            "Revision creation failed with message: "
                            "revisions.serving.knative.dev \"" +
                                std::string(name) + "\" already exists.");
}

void reconcile_configuration(Subject& s) {
  const World& world = s.world();
  const auto checked = check_name(world, s.dom());
  const std::string name = revision_name(s.dom());
  if (checked.state == NameState::Conflict) return creation_failed(s, name);
  ObjectPtr created = checked.revision;
  if (checked.state == NameState::Unnamed) {
    for (const auto& revision :
         world.labelled(res::revisions(), s.key().ns, label::kConfiguration, s.key().name)) {
      if (created == nullptr &&
          revision->label(label::kConfigurationGeneration) == generation_label(s.dom())) {
        created = revision;
      }
    }
  }
  if (created == nullptr) {
    const Key key = s.sibling(res::revisions(), name);
    if (world.has(key)) return creation_failed(s, name);
    s.plan().create(key, make_revision(s.dom(), world.wall_now()));
    s.event("Normal", "Created", "Created Revision \"" + name + "\"");
    set_latest_created(s, name);
  } else {
    set_latest_created(s, created->key().name);
    const Json revision = created->parse();
    if (const auto ready = find_condition(revision, "Ready"); ready && ready->is_true()) {
      if (json::str(s.status(), {"latestReadyRevisionName"}).empty()) {
        s.event("Normal", "ConfigurationReady", "Configuration becomes ready");
      }
    } else if (ready && ready->is_unknown() && !ready->message.empty() &&
               created->key().name != json::str(s.status(), {"latestReadyRevisionName"})) {
      // DIFFERS: upstream says nothing while a revision waits.
      s.conditions().mark_unknown(
          "Ready", ready->reason,
          "Revision \"" + created->key().name + "\" is not ready: " + ready->message);
    } else if (ready && ready->is_false()) {
      const std::string message =
          "Revision \"" + created->key().name + "\" failed with message: " + ready->message + ".";
      s.conditions().mark_false("Ready", "RevisionFailed", message);
      const auto was = find_condition(s.dom(), "Ready");
      if (!was || was->message != message) {
        const bool latest_ready =
            created->key().name == json::str(s.status(), {"latestReadyRevisionName"});
        s.event("Warning", latest_ready ? "LatestReadyFailed" : "LatestCreatedFailed",
                std::string(latest_ready ? "Latest ready" : "Latest created") + " revision \"" +
                    created->key().name + "\" has failed");
      }
    }
  }
  for (const auto& revision :
       candidates(world, s.dom(), created, checked.state == NameState::Ours)) {
    if (revision->deleting() || !is_ready(revision->parse())) continue;
    const std::string old(json::str(s.status(), {"latestReadyRevisionName"}));
    const std::string& found = revision->key().name;
    json::set(s.status(), {"latestReadyRevisionName"}, Json(found));
    if (found == json::str(s.status(), {"latestCreatedRevisionName"})) {
      s.conditions().mark_true("Ready");
    }
    if (old != found) {
      s.event("Normal", "LatestReadyUpdate",
              "LatestReadyRevisionName updated to \"" + found + "\"");
    }
    break;
  }
}

}  // namespace

NameCheck check_name(const World& world, const Json& configuration) {
  const auto name = json::str(configuration, {"spec", "template", "metadata", "name"});
  if (name.empty()) return {NameState::Unnamed, nullptr};
  const auto revision =
      world.get({res::revisions(), std::string(namespace_of(configuration)), std::string(name)});
  if (revision == nullptr) return {NameState::Free, nullptr};
  if (!controlled_by(revision, configuration)) return {NameState::Conflict, nullptr};
  if (revision->label(label::kConfigurationGeneration) == generation_label(configuration)) {
    return {NameState::Ours, revision};
  }
  const Json dom = revision->parse();
  const Json* spec = json::find(dom, "spec");
  const Json* want = json::find(configuration, {"spec", "template", "spec"});
  const bool equal = spec != nullptr && want != nullptr && *spec == *want;
  if (!equal) return {NameState::Conflict, nullptr};
  return {NameState::Ours, revision};
}

Json make_revision(const Json& configuration, WallTime now) {
  const Json* template_ = json::find(configuration, {"spec", "template"});
  const Json& source = template_ != nullptr ? *template_ : configuration;
  StringMap labels = labels_of(source), annotations = annotations_of(source);
  const StringMap from_labels = labels_of(configuration);
  const StringMap from_annotations = annotations_of(configuration);
  for (const auto key : {label::kService, label::kServiceUid}) {
    if (const auto v = value_of(from_labels, key); !v.empty()) labels[std::string(key)] = v;
  }
  labels[std::string(label::kConfiguration)] = name_of(configuration);
  labels[std::string(label::kConfigurationUid)] = uid_of(configuration);
  labels[std::string(label::kConfigurationGeneration)] = generation_label(configuration);
  labels[std::string(label::kRoutingState)] = "pending";
  annotations[std::string(annotation::kRoutingStateModified)] = rfc3339(now);
  if (const auto v = value_of(from_annotations, annotation::kLastModifier); !v.empty()) {
    annotations[std::string(annotation::kCreator)] = v;
  }
  if (const auto v = value_of(from_annotations, annotation::kRoutes); !v.empty()) {
    annotations[std::string(annotation::kRoutes)] = v;
  }
  JsonObject metadata;
  metadata["name"] = revision_name(configuration);
  metadata["namespace"] = namespace_of(configuration);
  metadata["labels"] = to_json(labels);
  metadata["annotations"] = to_json(annotations);
  metadata["ownerReferences"] = controller_ref(configuration);
  JsonObject out;
  out["apiVersion"] = "serving.knative.dev/v1";
  out["kind"] = "Revision";
  out["metadata"] = std::move(metadata);
  const Json* spec = json::find(source, "spec");
  out["spec"] = spec != nullptr ? *spec : Json(JsonObject());
  return out;
}

reconcile::Planner configuration_planner(ContextPtr context) {
  reconcile::Planner planner;
  planner.name = "configuration";
  planner.owns = res::configurations();
  planner.plan = [context](const World& world, const Key& key, Instant) {
    const auto object = world.get(key);
    if (object == nullptr || object->deleting() || !installed(world)) return Plan{};
    Subject s(world, object, {});
    reconcile_configuration(s);
    return s.finish(kComponent);
  };
  planner.triggers = {reconcile::by_owner(res::revisions(), res::configurations())};
  add_config_triggers(planner);
  return planner;
}

}  // namespace knit::serving
