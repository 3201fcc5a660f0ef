// PingSource, ContainerSource.
// Source: knative/eventing pkg/reconciler/{pingsource,containersource},
// pkg/apis/sources
#include "controllers/eventing/config.h"
#include "controllers/eventing/delivery.h"
#include "controllers/eventing/eventing.h"
#include "cron/schedule.h"

namespace knit::eventing {
namespace {
constexpr std::string_view kPingAdapter = "pingsource-mt-adapter";

void mark_deployment(Subject& s, std::string_view type, const Key& key) {
  const Json deployment = s.world().view(key);
  const auto available = find_condition(deployment, "Available");
  if (available && available->is_true()) return s.conditions().mark_true(type);
  const std::string message = "The Deployment '" + key.name + "' is unavailable.";
  if (available && available->is_false()) {
    return s.conditions().mark_false(type, available->reason, available->message);
  }
  s.conditions().mark_unknown(type, "DeploymentUnavailable", message);
}

void reconcile_ping(Subject& s, const EventingSettings& settings) {
  no_oidc_identity(s.conditions());
  // Admission refuses a bad schedule or zone; an object from before that check says so here.
  const auto schedule = cron::Schedule::parse(json::str(s.dom(), {"spec", "schedule"}));
  if (!schedule) {
    return s.conditions().mark_false("Deployed", "InvalidSchedule", schedule.error().message());
  }
  if (!resolve_sink(s, settings.cluster_domain)) return;
  const Key adapter{res::deployments(), std::string(kNamespace), std::string(kPingAdapter)};
  const Json deployment = s.world().view(adapter);
  if (!deployment.is_null() && json::i64(deployment, {"spec", "replicas"}) == 0) {
    Json patch = JsonObject();  // it starts at 0, the first PingSource starts it (3.1)
    json::set(patch, {"spec", "replicas"}, Json(1));
    s.plan().merge(adapter, std::move(patch));
  }
  mark_deployment(s, "Deployed", adapter);
  Json attributes = JsonObject();
  json::set(attributes, {"type"}, Json("dev.knative.sources.ping"));
  json::set(attributes, {"source"},
            Json("/apis/v1/namespaces/" + s.key().ns + "/pingsources/" + s.key().name));
  put(s.status(), "ceAttributes", JsonArray{std::move(attributes)});
}

void reconcile_container(Subject& s) {
  const Key deployment =
      s.sibling(res::deployments(), serving::child_name(s.key().name, "-deployment"));
  const Key binding =
      s.sibling(res::sinkbindings(), serving::child_name(s.key().name, "-sinkbinding"));
  Json bind = make_object("sources.knative.dev/v1", "SinkBinding", binding);
  for (const auto field : {"sink", "ceOverrides"}) {
    if (const Json* v = json::find(s.dom(), {"spec", field})) json::set(bind, {"spec", field}, *v);
  }
  json::set(bind, {"spec", "subject", "apiVersion"}, Json("apps/v1"));
  json::set(bind, {"spec", "subject", "kind"}, Json("Deployment"));
  json::set(bind, {"spec", "subject", "name"}, Json(deployment.name));
  json::set(bind, {"spec", "subject", "namespace"}, Json(deployment.ns));
  s.ensure_child(binding, std::move(bind));
  follow(
      s.conditions(),
      {"SinkBindingReady", "SinkBindingNotConfigured", "SinkBinding has not yet been reconciled."},
      s.world().view(binding));
  const Json bound = s.world().view(binding);
  for (const auto field : {"sinkUri", "sinkCACerts", "sinkAudience"}) {
    const Json* v = json::find(bound, {"status", field});
    put(s.status(), field, v != nullptr ? *v : Json());
  }
  Json want = make_object("apps/v1", "Deployment", deployment);
  const Json* shape = json::find(s.dom(), {"spec", "template"});
  Json pod = shape != nullptr ? *shape : Json(JsonObject());
  json::set(pod, {"metadata", "labels", "sources.knative.dev/source"}, Json("containersource"));
  json::set(pod, {"metadata", "labels", "sources.knative.dev/containerSource"}, Json(s.key().name));
  json::set(want, {"metadata", "labels"}, *json::find(pod, {"metadata", "labels"}));
  json::set(want, {"spec", "selector", "matchLabels", "sources.knative.dev/source"},
            Json("containersource"));
  json::set(want, {"spec", "selector", "matchLabels", "sources.knative.dev/containerSource"},
            Json(s.key().name));
  if (const auto uri = json::str(bound, {"status", "sinkUri"}); !uri.empty()) {
    const Json* overrides = json::find(s.dom(), {"spec", "ceOverrides"});
    Json wrapped = JsonObject();
    json::set(wrapped, {"spec", "template"}, pod);
    bind_sink(wrapped, uri, overrides != nullptr ? *overrides : Json(),
              json::str(bound, {"status", "sinkCACerts"}));
    pod = *json::find(wrapped, {"spec", "template"});
  }
  json::set(want, {"spec", "template"}, std::move(pod));
  s.ensure_child(deployment, std::move(want));
  mark_deployment(s, "ReceiveAdapterReady", deployment);
}

Planner source_planner(std::string name, Resource owns, std::vector<std::string> dependents,
                       std::function<void(Subject&)> reconcile) {
  Planner planner;
  planner.name = name;
  planner.owns = owns;
  planner.plan = [name, dependents, reconcile](const World& world, const Key& key, Instant) {
    const auto object = world.get(key);
    if (object == nullptr || object->deleting() || !installed(world)) return Plan{};
    Subject s(world, object, dependents);
    reconcile(s);
    return s.finish(name + "-controller");
  };
  replan_all(planner, {res::services(), res::ksvcs(), res::brokers(), res::channels(), res::imcs(),
                       res::sequences(), res::parallels()});
  planner.triggers.push_back(
      {res::deployments(),
       [owns](const World& world, const ObjectPtr& before, const ObjectPtr& after) {
         std::vector<Key> keys;
         const Key& changed = (after != nullptr ? after : before)->key();
         if (changed.ns != kNamespace || changed.name != kPingAdapter) return keys;
         for (const auto& object : world.list(owns)) keys.push_back(object->key());
         return keys;
       }});
  return planner;
}

}  // namespace

Planner ping_source_planner(EventingSettings settings) {
  return source_planner("pingsource", res::pingsources(),
                        {"SinkProvided", "Deployed", "OIDCIdentityCreated"},
                        [settings](Subject& s) { reconcile_ping(s, settings); });
}
Planner container_source_planner(EventingSettings) {
  auto planner = source_planner("containersource", res::containersources(),
                                {"SinkBindingReady", "ReceiveAdapterReady"}, reconcile_container);
  planner.triggers.push_back(reconcile::by_owner(res::sinkbindings(), res::containersources()));
  planner.triggers.push_back(reconcile::by_owner(res::deployments(), res::containersources()));
  return planner;
}

}  // namespace knit::eventing
