// Triggers of MTChannelBasedBrokers: a Subscription on the broker's channel, through the filter.
// Source: knative/eventing pkg/reconciler/broker/trigger/trigger.go,
// pkg/apis/eventing/v1/trigger_lifecycle.go
#include "controllers/eventing/config.h"
#include "controllers/eventing/delivery.h"
#include "controllers/eventing/eventing.h"

namespace knit::eventing {
namespace {
constexpr std::string_view kComponent = "trigger-controller";

/// spec.broker, or the name of spec.brokerRef (in the Trigger's own namespace).
std::string broker_name(const Json& trigger) {
  const auto name = json::str(trigger, {"spec", "broker"});
  return std::string(name.empty() ? json::str(trigger, {"spec", "brokerRef", "name"}) : name);
}

void mark_dependency(Subject& s) {
  auto& conditions = s.conditions();
  const auto text = json::str(s.dom(), {"metadata", "annotations", "knative.dev/dependency"});
  if (text.empty()) return conditions.mark_true("DependencyReady");
  const auto reference = json::parse(text);
  const auto key = reference ? key_of(*reference, s.key().ns) : std::nullopt;
  if (!key) {
    return conditions.mark_false("DependencyReady", "ReferenceError",
                                 "Unable to unmarshal objectReference from dependency annotation "
                                 "of trigger: " +
                                     std::string(text));
  }
  const Json object = s.world().view(*key);
  if (object.is_null()) {
    return conditions.mark_false("DependencyReady", "DependencyDoesNotExist",
                                 "Dependency does not exist: " + std::string(key->resource.name()) +
                                     " \"" + key->name + "\" not found");
  }
  if (!serving::observed(object)) {
    return conditions.mark_unknown(
        "DependencyReady", "GenerationNotEqual",
        "The dependency's metadata.generation, \"" +
            std::to_string(serving::generation_of(object)) +
            "\", is not equal to its status.observedGeneration, \"" +
            std::to_string(json::i64(object, {"status", "observedGeneration"})) + "\".");
  }
  follow(conditions,
         {"DependencyReady", "DependencyNotConfigured", "Dependency has not yet been reconciled."},
         object);
}

void mark_dead_letter_sink(Subject& s, const Json& broker, const EventingSettings& settings) {
  if (json::find(s.dom(), {"spec", "delivery", "deadLetterSink"}) != nullptr) {
    return resolve_dead_letter_sink(s, settings.cluster_domain);
  }
  const auto inherited = json::str(broker, {"status", "deadLetterSinkUri"});
  if (inherited.empty()) return no_dead_letter_sink(s);
  put_address(s.status(), "deadLetterSink",
              Address{std::string(inherited),
                      std::string(json::str(broker, {"status", "deadLetterSinkCACerts"})),
                      std::string(json::str(broker, {"status", "deadLetterSinkAudience"}))});
  s.conditions().mark_true("DeadLetterSinkResolved");
}

Json want_subscription(Subject& s, const Json& broker, const Key& key,
                       const EventingSettings& settings) {
  Json want = make_object("messaging.knative.dev/v1", "Subscription", key);
  json::set(want, {"metadata", "labels", "eventing.knative.dev/broker"}, Json(name_of(broker)));
  json::set(want, {"metadata", "labels", "eventing.knative.dev/trigger"}, Json(s.key().name));
  const auto note = [&](std::string_view name) {
    return json::str(broker, {"status", "annotations", "knative.dev/" + std::string(name)});
  };
  json::set(want, {"spec", "channel", "apiVersion"}, Json(note("channelAPIVersion")));
  json::set(want, {"spec", "channel", "kind"}, Json(note("channelKind")));
  json::set(want, {"spec", "channel", "name"}, Json(note("channelName")));
  json::set(
      want, {"spec", "subscriber", "uri"},
      Json("http://broker-filter." + std::string(kNamespace) + ".svc." + settings.cluster_domain +
           "/triggers/" + s.key().ns + "/" + s.key().name + "/" + std::string(uid_of(s.dom()))));
  json::set(want, {"spec", "reply", "ref"}, reference_to(broker));
  // The trigger's delivery or the broker's, as a whole (1.4).
  const Json* delivery = json::find(s.dom(), {"spec", "delivery"});
  if (delivery == nullptr) delivery = json::find(broker, {"spec", "delivery"});
  json::set(want, {"spec", "delivery"}, delivery != nullptr ? *delivery : Json());
  return want;
}

void reconcile_trigger(Subject& s, const EventingSettings& settings) {
  auto& conditions = s.conditions();
  no_oidc_identity(conditions);
  const std::string name = broker_name(s.dom());
  const Json broker = s.world().view(s.sibling(res::brokers(), name));
  if (broker.is_null()) {
    return conditions.mark_false("BrokerReady", "BrokerDoesNotExist",
                                 "Broker \"" + name + "\" does not exist");
  }
  follow(conditions, {"BrokerReady", "BrokerNotConfigured", "Broker has not yet been reconciled."},
         broker);
  const bool has_channel =
      !json::str(broker, {"status", "annotations", "knative.dev/channelName"}).empty();
  if (!conditions.is_true("BrokerReady")) return;  // as upstream: the rest waits for the broker
  if (!has_channel) {
    return conditions.mark_false("BrokerReady", "MissingBrokerChannel",
                                 "Failed to get broker \"" + name + "\" channel ref");
  }
  mark_dependency(s);
  if (const Json* subscriber = json::find(s.dom(), {"spec", "subscriber"}); subscriber != nullptr) {
    auto address = resolve(s.world(), *subscriber, s.key().ns, settings.cluster_domain);
    if (!address) {
      put_address(s.status(), "subscriber", std::nullopt);
      return conditions.mark_false("SubscriberResolved", "Unable to get the Subscriber's URI",
                                   address.error().message());
    }
    put_address(s.status(), "subscriber", *address);
    conditions.mark_true("SubscriberResolved");
  }
  mark_dead_letter_sink(s, broker, settings);
  if (conditions.is_false("DeadLetterSinkResolved")) return;
  const Key key = s.sibling(res::subscriptions(),
                            serving::child_name(name + "-" + s.key().name + "-", uid_of(s.dom())));
  const auto existing = s.world().get(key);
  if (existing != nullptr && !serving::controlled_by(existing, s.dom())) {
    return conditions.mark_false(
        "SubscriptionReady", "NotSubscribed",
        "trigger \"" + s.key().name + "\" does not own subscription \"" + key.name + "\"");
  }
  s.ensure_child(key, want_subscription(s, broker, key, settings));
  follow(conditions,
         {"SubscriptionReady", "SubscriptionNotConfigured",
          "Subscription has not yet been reconciled."},
         s.world().view(key));
}

}  // namespace

Planner trigger_planner(EventingSettings settings) {
  Planner planner;
  planner.name = "trigger";
  planner.owns = res::triggers();
  planner.plan = [settings](const World& world, const Key& key, Instant) {
    const auto object = world.get(key);
    if (object == nullptr || object->deleting() || !installed(world)) return Plan{};
    const Json dom = object->parse();
    const Json broker = world.view({res::brokers(), key.ns, broker_name(dom)});
    const auto klass =
        json::str(broker, {"metadata", "annotations", "eventing.knative.dev/broker.class"});
    if (!broker.is_null() && klass != kMtBroker) return Plan{};
    Subject s(world, object,
              {"BrokerReady", "SubscriptionReady", "DependencyReady", "SubscriberResolved",
               "DeadLetterSinkResolved", "OIDCIdentityCreated"});
    reconcile_trigger(s, settings);
    return s.finish(kComponent);
  };
  planner.triggers = {reconcile::by_owner(res::subscriptions(), res::triggers())};
  replan_all(planner, {res::brokers(), res::services(), res::ksvcs(), res::imcs(), res::channels(),
                       res::sequences(), res::parallels(), res::pingsources(),
                       res::containersources(), res::sinkbindings()});
  return planner;
}

// A namespace or trigger that config-sugar selects gets the Broker `default`.
// Source: knative/eventing pkg/reconciler/sugar
Planner sugar_planner() {
  Planner planner;
  planner.name = "sugar";
  planner.owns = res::namespaces();
  planner.plan = [](const World& world, const Key& key, Instant) {
    Plan plan;
    const auto ns = world.get(key);
    if (ns == nullptr || ns->deleting() || !installed(world)) return plan;
    const Json dom = ns->parse();
    bool wanted = sugar_selects(world, "namespace-selector", dom);
    for (const auto& object : world.list(res::triggers(), key.name)) {
      const Json trigger = object->parse();
      const auto injection =
          json::str(trigger, {"metadata", "annotations", "eventing.knative.dev/injection"});
      wanted = wanted ||
               (json::str(trigger, {"spec", "broker"}) == "default" && injection != "disabled" &&
                (injection == "enabled" || sugar_selects(world, "trigger-selector", trigger)));
    }
    const Key broker{res::brokers(), key.name, "default"};
    if (!wanted || world.has(broker)) return plan;
    Json want = make_object("eventing.knative.dev/v1", "Broker", broker);
    json::set(want, {"metadata", "labels", "eventing.knative.dev/namespaceInjected"}, Json("true"));
    plan.create(broker, std::move(want));
    return plan;
  };
  const auto of_namespace = [](const World&, const ObjectPtr& before, const ObjectPtr& after) {
    return std::vector<Key>{{res::namespaces(), "", (after != nullptr ? after : before)->key().ns}};
  };
  planner.triggers = {{res::triggers(), of_namespace}, {res::brokers(), of_namespace}};
  replan_all(planner, {});
  return planner;
}

}  // namespace knit::eventing
