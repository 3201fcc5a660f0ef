// SinkBindings: K_SINK and K_CE_OVERRIDES in every container of what the subject names, at
// admission (so that a write never loses them) and in what exists already. Source: knative/eventing
// pkg/reconciler/sinkbinding, pkg/apis/sources/v1/sinkbinding_lifecycle.go, knative/pkg
// webhook/psbinding
#include <algorithm>
#include <array>

#include "controllers/eventing/config.h"
#include "controllers/eventing/delivery.h"
#include "controllers/eventing/eventing.h"

namespace knit::eventing {
namespace {
constexpr std::string_view kFinalizer = "sinkbindings.sources.knative.dev";
constexpr std::array<std::string_view, 3> kVariables = {"K_SINK", "K_CE_OVERRIDES", "K_CA_CERTS"};

/// Sets (or, with an empty value, removes) a variable. True when something changed.
bool set_env(Json& container, std::string_view name, std::string_view value) {
  Json* env = json::find(container, "env");
  if (env == nullptr || !env->is_array()) {
    if (value.empty()) return false;
    json::set(container, {"env"}, JsonArray());
    env = json::find(container, "env");
  }
  auto& list = env->get_array();
  for (auto it = list.begin(); it != list.end(); ++it) {
    if (json::str(*it, {"name"}) != name) continue;
    if (value.empty()) {
      list.erase(it);
      return true;
    }
    if (json::str(*it, {"value"}) == value) return false;
    json::set(*it, {"value"}, Json(value));
    json::erase(*it, {"valueFrom"});
    return true;
  }
  if (value.empty()) return false;
  list.push_back(JsonObject{{"name", name}, {"value", value}});
  return true;
}

template <class Change>
bool each_container(Json& pod_specable, const Change& change) {
  bool changed = false;
  for (const auto list : {"initContainers", "containers"}) {
    Json* containers = json::find(pod_specable, {"spec", "template", "spec", list});
    if (containers == nullptr || !containers->is_array()) continue;
    for (Json& container : containers->get_array()) changed = change(container) || changed;
  }
  return changed;
}

/// The injection by operator's mode: `exclusion` leaves out what is labelled (itself or its
/// namespace), `inclusion` takes only what is.
bool selected(const World& world, const Json& subject) {
  std::string_view mode;
  Json eventing;
  for (const auto& object : world.list(res::knativeeventings(), kNamespace)) {
    eventing = object->parse();
    mode = json::str(eventing, {"spec", "sinkBindingSelectionMode"});
  }
  const auto labelled = [](const Json& object, std::string_view name) {
    return json::str(object, {"metadata", "labels", name}) == "true";
  };
  const Json ns = world.view({res::namespaces(), "", std::string(namespace_of(subject))});
  if (mode == "inclusion") {
    constexpr std::string_view kInclude = "bindings.knative.dev/include";
    return labelled(ns, kInclude) && labelled(subject, kInclude);
  }
  constexpr std::string_view kExclude = "bindings.knative.dev/exclude";
  return !labelled(ns, kExclude) && !labelled(subject, kExclude);
}

bool names(const Json& binding, const Key& key, const Json& object) {
  const Json* subject = json::find(binding, {"spec", "subject"});
  if (subject == nullptr) return false;
  const auto target = key_of(*subject, key.ns);
  if (!target || target->resource != key.resource || target->ns != key.ns) return false;
  if (!target->name.empty()) return target->name == key.name;
  return selects(json::find(*subject, "selector"), object);
}

/// Every object that the binding's subject names.
std::vector<ObjectPtr> subjects_of(const World& world, const Json& binding) {
  std::vector<ObjectPtr> out;
  const Json* subject = json::find(binding, {"spec", "subject"});
  const auto key = subject != nullptr ? key_of(*subject, namespace_of(binding)) : std::nullopt;
  if (!key) return out;
  if (!key->name.empty()) {
    if (auto object = world.get(*key)) out.push_back(std::move(object));
    return out;
  }
  for (auto& object : world.list(key->resource, key->ns)) {
    if (names(binding, object->key(), object->parse())) out.push_back(std::move(object));
  }
  return out;
}

/// What a binding with a resolved sink injects.
bool inject(const Json& binding, Json& pod_specable) {
  const auto sink = json::str(binding, {"status", "sinkUri"});
  if (sink.empty()) return false;
  const Json* overrides = json::find(binding, {"spec", "ceOverrides"});
  return bind_sink(pod_specable, sink, overrides != nullptr ? *overrides : Json(),
                   json::str(binding, {"status", "sinkCACerts"}));
}

void write(Plan& plan, const Key& key, const Json& before, const Json& after) {
  Json patch = json::merge_diff(before, after);
  if (patch.is_object() && !patch.get_object().empty()) plan.merge(key, std::move(patch));
}

void set_finalizers(Plan& plan, const Key& key, JsonArray finalizers) {
  Json patch = JsonObject();
  json::set(patch, {"metadata", "finalizers"}, std::move(finalizers));
  plan.merge(key, std::move(patch));
}

/// Takes back what was injected, then lets the binding go.
Plan plan_removal(const World& world, const Key& key, const Json& binding) {
  Plan plan;
  const auto& finalizers = json::array(binding, {"metadata", "finalizers"});
  JsonArray left;
  for (const auto& f : finalizers) {
    if (f != Json(kFinalizer)) left.push_back(f);
  }
  if (left.size() == finalizers.size()) return plan;
  for (const auto& object : subjects_of(world, binding)) {
    if (object->deleting()) continue;
    const Json before = object->parse();
    Json after = before;
    const bool changed = each_container(after, [](Json& container) {
      bool any = false;
      for (const auto name : kVariables) any = set_env(container, name, {}) || any;
      return any;
    });
    if (changed) write(plan, object->key(), before, after);
  }
  set_finalizers(plan, key, std::move(left));
  return plan;
}

void reconcile_binding(Subject& s, const EventingSettings& settings) {
  no_oidc_identity(s.conditions());
  s.conditions().mark_true("OIDCTokenSecretCreated", "authentication-oidc feature disabled", "");
  s.conditions().mark_true("TrustBundlePropagated");
  JsonArray finalizers = json::array(s.dom(), {"metadata", "finalizers"});
  if (std::find(finalizers.begin(), finalizers.end(), Json(kFinalizer)) == finalizers.end()) {
    finalizers.push_back(Json(kFinalizer));
    set_finalizers(s.plan(), s.key(), std::move(finalizers));
  }
  if (!resolve_sink(s, settings.cluster_domain)) {
    return s.conditions().mark_false("SinkBindingAvailable", "SinkMissing",
                                     "The sink of the binding has no address");
  }
  const auto name = json::str(s.dom(), {"spec", "subject", "name"});
  const auto subjects = subjects_of(s.world(), s.dom());
  if (subjects.empty() && !name.empty()) {
    return s.conditions().mark_false("SinkBindingAvailable", "SubjectMissing",
                                     "subject \"" + std::string(name) + "\" not found");
  }
  Json resolved = s.dom();
  json::set(resolved, {"status"}, s.status());
  for (const auto& object : subjects) {
    if (object->deleting()) continue;
    const Json before = object->parse();
    Json after = before;
    if (selected(s.world(), before) && inject(resolved, after)) {
      write(s.plan(), object->key(), before, after);
    }
  }
  s.conditions().mark_true("SinkBindingAvailable");
}

}  // namespace

bool bind_sink(Json& pod_specable, std::string_view sink, const Json& ce_overrides,
               std::string_view ca_certs) {
  const std::string overrides =
      ce_overrides.is_object() ? json::canonical(ce_overrides) : std::string("{}");
  return each_container(pod_specable, [&](Json& container) {
    bool changed = set_env(container, "K_SINK", sink);
    changed = set_env(container, "K_CE_OVERRIDES", overrides) || changed;
    return set_env(container, "K_CA_CERTS", ca_certs) || changed;
  });
}

bool admit_sink_bindings(const World& world, const Key& key, Json& object) {
  bool changed = false;
  for (const auto& candidate : world.list(res::sinkbindings(), key.ns)) {
    if (candidate->deleting()) continue;
    const Json binding = candidate->parse();
    if (!names(binding, key, object) || !selected(world, object)) continue;
    changed = inject(binding, object) || changed;
  }
  return changed;
}

Planner sink_binding_planner(EventingSettings settings) {
  Planner planner;
  planner.name = "sinkbinding";
  planner.owns = res::sinkbindings();
  planner.plan = [settings](const World& world, const Key& key, Instant) {
    const auto object = world.get(key);
    if (object == nullptr) return Plan{};
    if (object->deleting()) return plan_removal(world, key, object->parse());
    if (!installed(world)) return Plan{};
    Subject s(world, object,
              {"SinkBindingAvailable", "SinkProvided", "OIDCIdentityCreated",
               "OIDCTokenSecretCreated", "TrustBundlePropagated"});
    reconcile_binding(s, settings);
    return s.finish("sinkbinding-controller");
  };
  replan_all(planner, {res::services(), res::ksvcs(), res::brokers(), res::channels(), res::imcs(),
                       res::sequences(), res::parallels()});
  replan_namespace(planner, {res::deployments(), res::ksvcs()});
  planner.triggers.push_back(
      {res::namespaces(), [](const World& world, const ObjectPtr& before, const ObjectPtr& after) {
         std::vector<Key> keys;
         const Key& ns = (after != nullptr ? after : before)->key();
         for (const auto& object : world.list(res::sinkbindings(), ns.name)) {
           keys.push_back(object->key());
         }
         return keys;
       }});
  return planner;
}

}  // namespace knit::eventing
