#include "controllers/core/namespaces.h"

#include <map>

namespace knit::controllers::core {
namespace {
using reconcile::Planner;

Plan plan_active(const CoreSettings& settings, const World& world, const Key& key) {
  Plan plan;
  const std::string& ns = key.name;
  JsonObject labels;
  labels["kubernetes.io/metadata.name"] = ns;
  plan.ensure(world, key, JsonObject{{"metadata", JsonObject{{"labels", std::move(labels)}}}});
  if (!world.has({res::serviceaccounts(), ns, "default"})) {
    plan.create({res::serviceaccounts(), ns, "default"},
                JsonObject{{"apiVersion", "v1"}, {"kind", "ServiceAccount"}});
  }
  if (!settings.api_root_pem.empty()) {
    Json config = literal(R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"annotations":{
      "kubernetes.io/description":"Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters."}}})");
    json::set(config, {"data", "ca.crt"}, Json(settings.api_root_pem));
    plan.ensure(world, {res::configmaps(), ns, "kube-root-ca.crt"}, config);
  }
  return plan;
}

Plan plan_terminating(const World& world, const Key& key, const Json& view) {
  Plan plan;
  std::map<std::string, std::int64_t> remaining;   // resource → objects
  std::map<std::string, std::int64_t> finalizers;  // finalizer → objects
  for (const Resource resource : world.resources()) {
    for (const auto& object : world.list(resource, key.name)) {
      plan.remove(object);
      // An object without finalizers and grace goes with this very plan.
      const Json parsed = object->parse();
      const auto& held = json::array(parsed, {"metadata", "finalizers"});
      for (const auto& f : held) {
        if (const auto* s = f.if_string()) ++finalizers[std::string(s->data(), s->size())];
      }
      const bool running_pod = resource == res::pods() && !pod_ended(parsed) &&
                               !json::str(parsed, {"spec", "nodeName"}).empty();
      if (!held.empty() || running_pod) ++remaining[std::string(resource.name())];
    }
  }
  JsonArray conditions = json::array(view, {"status", "conditions"});
  const WallTime now = world.wall_now();
  set_condition(conditions,
                {"NamespaceDeletionDiscoveryFailure", "False", "ResourcesDiscovered",
                 "All resources successfully discovered"},
                now);
  set_condition(conditions,
                {"NamespaceDeletionGroupVersionParsingFailure", "False", "ParsedGroupVersions",
                 "All legacy kube types successfully parsed"},
                now);
  set_condition(conditions,
                {"NamespaceDeletionContentFailure", "False", "ContentDeleted",
                 "All content successfully deleted, may be waiting on finalization"},
                now);
  std::string text;
  for (const auto& [resource, count] : remaining) {
    text += (text.empty() ? "" : ", ") +
            (resource.find('.') == std::string::npos ? resource + "." : resource) + " has " +
            std::to_string(count) + " resource instances";
  }
  set_condition(conditions,
                remaining.empty()
                    ? Condition{"NamespaceContentRemaining", "False", "ContentRemoved",
                                "All content successfully removed"}
                    : Condition{"NamespaceContentRemaining", "True", "SomeResourcesRemain",
                                text = "Some resources are remaining: " + text},
                now);
  std::string held;
  for (const auto& [finalizer, count] : finalizers) {
    held += (held.empty() ? "" : ", ") + finalizer + " in " + std::to_string(count) +
            " resource instances";
  }
  set_condition(
      conditions,
      finalizers.empty()
          ? Condition{"NamespaceFinalizersRemaining", "False", "ContentHasNoFinalizers",
                      "All content-preserving finalizers finished"}
          : Condition{"NamespaceFinalizersRemaining", "True", "SomeFinalizersRemain",
                      held = "Some content in the namespace has finalizers remaining: " + held},
      now);
  plan.status(key, JsonObject{{"phase", "Terminating"}, {"conditions", std::move(conditions)}});
  if (remaining.empty() && !json::array(view, {"spec", "finalizers"}).empty()) {
    JsonArray left;
    for (const auto& f : json::array(view, {"spec", "finalizers"})) {
      if (f != "kubernetes") left.push_back(f);
    }
    plan.merge(
        key, JsonObject{{"spec", JsonObject{{"finalizers", left.empty() ? Json() : Json(left)}}}});
  }
  return plan;
}

}  // namespace

Planner namespace_planner(const CoreSettings& settings) {
  Planner p;
  p.name = "namespace";
  p.owns = res::namespaces();
  p.plan = [settings](const World& world, const Key& key, Instant) {
    const Json view = world.view(key);
    if (view.is_null()) return Plan();
    return deleting(view) ? plan_terminating(world, key, view) : plan_active(settings, world, key);
  };
  const auto of_namespace = [](const ObjectPtr& before, const ObjectPtr& after) {
    const Key& key = after ? after->key() : before->key();
    return std::vector<Key>{{res::namespaces(), "", key.ns}};
  };
  p.triggers = {
      {res::serviceaccounts(),
       [of_namespace](const World&, const ObjectPtr& before, const ObjectPtr& after) {
         return after == nullptr && before->key().name == "default" ? of_namespace(before, after)
                                                                    : std::vector<Key>{};
       }},
      {res::configmaps(),
       [of_namespace](const World&, const ObjectPtr& before, const ObjectPtr& after) {
         const Key& key = after ? after->key() : before->key();
         return key.name == "kube-root-ca.crt" ? of_namespace(before, after) : std::vector<Key>{};
       }},
      // What happens in a namespace that is being emptied.
      {Resource(),
       [of_namespace](const World& world, const ObjectPtr& before, const ObjectPtr& after) {
         const Key& key = after ? after->key() : before->key();
         if (key.ns.empty()) return std::vector<Key>{};
         const auto space = world.get({res::namespaces(), "", key.ns});
         return space != nullptr && space->deleting() ? of_namespace(before, after)
                                                      : std::vector<Key>{};
       }}};
  return p;
}

}  // namespace knit::controllers::core
