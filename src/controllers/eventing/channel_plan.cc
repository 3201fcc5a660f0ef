// Channels (a template and the channel behind it) and InMemoryChannels (the built-in dispatcher's).
// Source: knative/eventing pkg/reconciler/channel/channel.go,
// pkg/reconciler/inmemorychannel/controller, pkg/apis/messaging/v1/*_lifecycle.go
#include <algorithm>

#include "controllers/eventing/config.h"
#include "controllers/eventing/delivery.h"
#include "controllers/eventing/eventing.h"

namespace knit::eventing {
namespace {
constexpr std::string_view kDispatcher = "imc-dispatcher";

void reconcile_channel(Subject& s, const EventingSettings& settings) {
  auto& conditions = s.conditions();
  const Json* shape = json::find(s.dom(), {"spec", "channelTemplate"});
  Json reference = shape != nullptr ? *shape : Json(JsonObject());
  json::set(reference, {"name"}, Json(s.key().name));
  const auto key = key_of(reference, s.key().ns);
  resolve_dead_letter_sink(s, settings.cluster_domain);
  no_event_policies(conditions);
  if (!key || key->resource == res::channels()) {
    return conditions.mark_false(
        "BackingChannelReady", "ChannelTemplateFailed",
        "spec.channelTemplate names no kind of channel: " + json::print(reference));
  }
  const auto existing = s.world().get(*key);
  if (existing != nullptr && !serving::controlled_by(existing, s.dom())) {
    return conditions.mark_false("BackingChannelReady", "ChannelNotOwned",
                                 "Channel \"" + s.key().name + "\" does not own " +
                                     std::string(json::str(reference, {"kind"})) + " \"" +
                                     key->name + "\"");
  }
  Json want =
      make_object(json::str(reference, {"apiVersion"}), json::str(reference, {"kind"}), *key);
  json::set(want, {"metadata", "annotations", "messaging.knative.dev/subscribable"}, Json("v1"));
  if (const Json* spec = json::find(reference, "spec"); spec != nullptr && spec->is_object()) {
    json::set(want, {"spec"}, *spec);
  }
  if (const Json* delivery = json::find(s.dom(), {"spec", "delivery"}); delivery != nullptr) {
    json::set(want, {"spec", "delivery"}, *delivery);
  }
  s.ensure_child(*key, std::move(want));
  const Json backing = s.world().view(*key);
  Json status_reference = JsonObject();
  for (const auto field : {"apiVersion", "kind", "name"}) {
    json::set(status_reference, {field}, Json(json::str(reference, {field})));
  }
  json::set(status_reference, {"namespace"}, Json(s.key().ns));
  put(s.status(), "channel", std::move(status_reference));
  follow(conditions,
         {"BackingChannelReady", "BackingChannelNotConfigured",
          "BackingChannel has not yet been reconciled."},
         backing);
  const Json* subscribers = json::find(backing, {"status", "subscribers"});
  put(s.status(), "subscribers", subscribers != nullptr ? *subscribers : Json());
  if (const auto address = address_of(backing)) {
    put(s.status(), "address", address_json(*address));
    conditions.mark_true("Addressable");
  } else {
    put(s.status(), "address", {});
    conditions.mark_false("Addressable", "EmptyHostname", "hostname is the empty string");
  }
}

void mark_dispatcher(Subject& s) {
  auto& c = s.conditions();
  const std::string ns(kNamespace);
  const Json deployment = s.world().view({res::deployments(), ns, std::string(kDispatcher)});
  if (deployment.is_null()) {  // informational
    c.mark_false("DispatcherReady", "DispatcherDeploymentDoesNotExist",
                 "Dispatcher Deployment does not exist");
  } else {
    const auto available = find_condition(deployment, "Available");
    if (available && available->is_true()) {
      c.mark_true("DispatcherReady");
    } else {
      c.mark_unknown("DispatcherReady", available ? available->reason : "",
                     available ? available->message : "");
    }
  }
  if (s.world().has({res::services(), ns, std::string(kDispatcher)})) {
    c.mark_true("ServiceReady");
  } else {
    c.mark_false("ServiceReady", "DispatcherServiceDoesNotExist",
                 "Dispatcher Service does not exist");
  }
  const auto ready = endpoints_ready(s.world(), kDispatcher);
  if (!ready) {
    c.mark_false("EndpointsReady", "DispatcherEndpointsDoesNotExist",
                 "Dispatcher Endpoints does not exist");
  } else if (*ready) {
    c.mark_true("EndpointsReady");
  } else {
    c.mark_false("EndpointsReady", "DispatcherEndpointsNotReady",
                 "There are no endpoints ready for Dispatcher service");
  }
}

bool ensure_service(Subject& s, const Key& service, const EventingSettings& settings) {
  const auto existing = s.world().get(service);
  if (existing != nullptr && !serving::controlled_by(existing, s.dom())) {
    s.conditions().mark_false("ChannelServiceReady", "ChannelServiceFailed",
                              "Channel Service failed: inmemorychannel: " + s.key().ns + "/" +
                                  s.key().name + " does not own Service: \"" + service.name + "\"");
    return false;
  }
  Json want = make_object("v1", "Service", service);
  json::set(want, {"metadata", "labels", "messaging.knative.dev/role"}, Json("in-memory-channel"));
  json::set(want, {"spec", "type"}, Json("ExternalName"));
  json::set(want, {"spec", "externalName"},
            Json(std::string(kDispatcher) + "." + std::string(kNamespace) + ".svc." +
                 settings.cluster_domain));
  JsonArray ports(1, Json(JsonObject()));
  json::set(ports[0], {"name"}, Json("http"));
  json::set(ports[0], {"port"}, Json(80));
  json::set(ports[0], {"protocol"}, Json("TCP"));
  json::set(want, {"spec", "ports"}, std::move(ports));
  s.ensure_child(service, std::move(want));
  s.conditions().mark_true("ChannelServiceReady");
  return true;
}

void sync_subscribers(Subject& s, const EventingSettings& settings) {
  JsonArray want = wanted_subscribers(s.world(), s.dom(), settings);
  // The data plane writes the entries (as upstream's dispatcher does); those of Subscriptions that
  // went go here.
  JsonArray status;
  for (const auto& state : json::array(s.dom(), {"status", "subscribers"})) {
    const auto uid = json::str(state, {"uid"});
    const bool wanted = std::any_of(want.begin(), want.end(), [&](const Json& subscriber) {
      return json::str(subscriber, {"uid"}) == uid;
    });
    if (wanted) status.push_back(state);
  }
  put(s.status(), "subscribers", status.empty() ? Json() : Json(std::move(status)));
  if (json::array(s.dom(), {"spec", "subscribers"}) == want) return;
  Json patch = JsonObject();
  json::set(patch, {"spec", "subscribers"}, want.empty() ? Json() : Json(std::move(want)));
  s.plan().merge(s.key(), std::move(patch));
}

void reconcile_in_memory(Subject& s, const EventingSettings& settings) {
  if (json::str(s.dom(), {"metadata", "annotations", "eventing.knative.dev/scope"}) ==
      "namespace") {
    return s.conditions().mark_false(
        "ServiceReady", "NamespaceScopeUnsupported",
        "eventing.knative.dev/scope: namespace is not supported; one dispatcher serves the "
        "cluster: remove the annotation");
  }
  mark_dispatcher(s);
  resolve_dead_letter_sink(s, settings.cluster_domain);
  no_event_policies(s.conditions());
  const Key service = s.sibling(res::services(), serving::child_name(s.key().name, "-kn-channel"));
  if (ensure_service(s, service, settings)) {
    put(s.status(), "address",
        address_json(
            {"http://" + service.name + "." + service.ns + ".svc." + settings.cluster_domain,
             {},
             {}}));
    s.conditions().mark_true("Addressable");
  } else {
    put(s.status(), "address", {});
    s.conditions().mark_false("Addressable", "EmptyHostname", "hostname is the empty string");
  }
  sync_subscribers(s, settings);
}

}  // namespace

Planner channel_planner(EventingSettings settings) {
  Planner planner;
  planner.name = "channel";
  planner.owns = res::channels();
  planner.plan = [settings](const World& world, const Key& key, Instant) {
    const auto object = world.get(key);
    if (object == nullptr || object->deleting() || !installed(world)) return Plan{};
    Subject s(
        world, object,
        {"BackingChannelReady", "Addressable", "DeadLetterSinkResolved", "EventPoliciesReady"});
    reconcile_channel(s, settings);
    return s.finish("channel-controller");
  };
  planner.triggers = {reconcile::by_owner(res::imcs(), res::channels())};
  replan_all(planner, {res::services(), res::ksvcs()});
  return planner;
}

Planner in_memory_channel_planner(EventingSettings settings) {
  Planner planner;
  planner.name = "inmemorychannel";
  planner.owns = res::imcs();
  planner.plan = [settings](const World& world, const Key& key, Instant) {
    const auto object = world.get(key);
    if (object == nullptr || object->deleting() || !installed(world)) return Plan{};
    Subject s(world, object,
              {"ServiceReady", "EndpointsReady", "Addressable", "ChannelServiceReady",
               "DeadLetterSinkResolved", "EventPoliciesReady"});
    reconcile_in_memory(s, settings);
    return s.finish("inmemorychannel-controller");
  };
  planner.triggers = {reconcile::by_owner(res::services(), res::imcs())};
  replan_all(planner, {res::services(), res::ksvcs(), res::brokers(), res::channels(),
                       res::sequences(), res::parallels()});
  replan_namespace(planner, {res::subscriptions(), res::channels()});
  planner.triggers.push_back(
      {res::deployments(), [](const World& world, const ObjectPtr& before, const ObjectPtr& after) {
         std::vector<Key> keys;
         const Key& changed = (after != nullptr ? after : before)->key();
         if (changed.ns != kNamespace || changed.name != kDispatcher) return keys;
         for (const auto& object : world.list(res::imcs())) keys.push_back(object->key());
         return keys;
       }});
  return planner;
}

}  // namespace knit::eventing
