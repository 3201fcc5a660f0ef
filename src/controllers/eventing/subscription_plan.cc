// Subscriptions: references resolved, and what the channel's spec.subscribers must hold.
// Source: knative/eventing pkg/reconciler/subscription/subscription.go
#include "controllers/eventing/delivery.h"
#include "controllers/eventing/eventing.h"

namespace knit::eventing {
namespace {
constexpr std::string_view kResolved = "ReferencesResolved";

struct References {
  Json channel;  // the object that spec.channel names
  Json backing;  // the channel that carries the subscribers
  std::optional<Address> subscriber, reply, dead_letter_sink;
  std::string reason, message;  // of the first reference that does not resolve
  bool ok() const { return reason.empty(); }
};

References resolve_all(const World& world, const Json& subscription,
                       const EventingSettings& settings) {
  References out;
  const std::string ns(namespace_of(subscription));
  const auto fail = [&](std::string_view reason, std::string_view field, const Error& error) {
    out.reason = reason;
    out.message = "Failed to resolve " + std::string(field) + ": " + std::string(error.message());
  };
  const Json* reference = json::find(subscription, {"spec", "channel"});
  const auto key = reference != nullptr ? key_of(*reference, ns) : std::nullopt;
  if (key) out.channel = world.view(*key);
  if (out.channel.is_null()) {
    out.reason = "ChannelReferenceFailed";
    out.message = "Failed to get Spec.Channel or backing channel: " +
                  (key ? std::string(key->resource.name()) + " \"" + key->name + "\" not found"
                       : std::string("no such kind"));
    return out;
  }
  out.backing = out.channel;
  if (key->resource == res::channels()) {
    const Json* backing = json::find(out.channel, {"status", "channel"});
    const auto backing_key = backing != nullptr ? key_of(*backing, key->ns) : std::nullopt;
    out.backing = backing_key ? world.view(*backing_key) : Json();
    if (out.backing.is_null()) {
      out.reason = "ChannelReferenceFailed";
      out.message = "Failed to get Spec.Channel or backing channel: channel is not ready.";
      return out;
    }
  }
  const auto take = [&](const Json* destination, std::string_view reason, std::string_view field,
                        std::optional<Address>& into) {
    if (destination == nullptr || destination->is_null() || !out.ok()) return;
    auto address = resolve(world, *destination, ns, settings.cluster_domain);
    if (!address) return fail(reason, field, address.error());
    into = std::move(*address);
  };
  take(json::find(subscription, {"spec", "subscriber"}), "SubscriberResolveFailed",
       "spec.subscriber", out.subscriber);
  take(json::find(subscription, {"spec", "reply"}), "ReplyResolveFailed", "spec.reply", out.reply);
  const Json* own = json::find(subscription, {"spec", "delivery"});
  if (own != nullptr && own->is_object() && !own->get_object().empty()) {
    take(json::find(*own, "deadLetterSink"), "DeadLetterSinkResolveFailed",
         "spec.delivery.deadLetterSink", out.dead_letter_sink);
  } else if (const auto uri = json::str(out.channel, {"status", "deadLetterSinkUri"});
             !uri.empty()) {
    out.dead_letter_sink = Address{
        std::string(uri), std::string(json::str(out.channel, {"status", "deadLetterSinkCACerts"})),
        std::string(json::str(out.channel, {"status", "deadLetterSinkAudience"}))};
  }
  return out;
}

Json subscriber_entry(const Json& subscription, const References& found) {
  Json entry = JsonObject();
  json::set(entry, {"name"}, Json(name_of(subscription)));
  json::set(entry, {"uid"}, Json(uid_of(subscription)));
  json::set(entry, {"generation"}, Json(serving::generation_of(subscription)));
  put_address(entry, "subscriber", found.subscriber);
  put_address(entry, "reply", found.reply);
  const Json* own = json::find(subscription, {"spec", "delivery"});
  const Json* channels = json::find(found.channel, {"spec", "delivery"});
  put(entry, "delivery",
      effective_delivery(own != nullptr ? *own : Json(), channels != nullptr ? *channels : Json(),
                         found.dead_letter_sink));
  return entry;
}

const Json* by_uid(const JsonArray& list, std::string_view uid) {
  for (const auto& entry : list) {
    if (json::str(entry, {"uid"}) == uid) return &entry;
  }
  return nullptr;
}

void reconcile_subscription(Subject& s, const EventingSettings& settings) {
  auto& conditions = s.conditions();
  no_oidc_identity(conditions);
  const auto found = resolve_all(s.world(), s.dom(), settings);
  Json physical = JsonObject();
  put_address(physical, "subscriber", found.subscriber);
  put_address(physical, "reply", found.reply);
  put_address(physical, "deadLetterSink", found.dead_letter_sink);
  put(s.status(), "physicalSubscription", std::move(physical));
  if (!found.ok()) {
    if (found.reason == "ChannelReferenceFailed") {
      conditions.mark_unknown(kResolved, found.reason, found.message);
    } else {
      conditions.mark_false(kResolved, found.reason, found.message);
    }
    return;
  }
  conditions.mark_true(kResolved);
  const auto& listed = json::array(found.backing, {"spec", "subscribers"});
  const Json* entry = by_uid(listed, uid_of(s.dom()));
  if (entry == nullptr || *entry != subscriber_entry(s.dom(), found)) {
    conditions.mark_unknown("AddedToChannel", "PhysicalChannelSyncFailed",
                            "Subscription is not yet in the channel's spec.subscribers");
  } else {
    conditions.mark_true("AddedToChannel");
  }
  const Json* state =
      by_uid(json::array(found.backing, {"status", "subscribers"}), uid_of(s.dom()));
  if (state == nullptr ||
      json::i64(*state, {"observedGeneration"}) != serving::generation_of(s.dom())) {
    conditions.mark_unknown("ChannelReady", "SubscriptionNotMarkedReadyByChannel",
                            "Subscription not yet marked by Channel");
  } else if (json::str(*state, {"ready"}) == "True") {
    conditions.mark_true("ChannelReady");
  } else {
    const auto why = json::str(*state, {"message"});
    conditions.mark_false("ChannelReady", "SubscriptionNotMarkedReadyByChannel",
                          "Subscription marked by Channel as False" +
                              (why.empty() ? std::string() : ": " + std::string(why)));
  }
}

}  // namespace

JsonArray wanted_subscribers(const World& world, const Json& channel,
                             const EventingSettings& settings) {
  JsonArray out;
  for (const auto& object : world.list(res::subscriptions(), namespace_of(channel))) {
    if (object->deleting()) continue;
    const Json subscription = object->parse();
    const auto found = resolve_all(world, subscription, settings);
    if (!found.ok() || uid_of(found.backing) != uid_of(channel)) continue;
    out.push_back(subscriber_entry(subscription, found));
  }
  return out;
}

Planner subscription_planner(EventingSettings settings) {
  Planner planner;
  planner.name = "subscription";
  planner.owns = res::subscriptions();
  planner.plan = [settings](const World& world, const Key& key, Instant) {
    const auto object = world.get(key);
    if (object == nullptr || object->deleting() || !installed(world)) return Plan{};
    Subject s(world, object,
              {"ReferencesResolved", "AddedToChannel", "ChannelReady", "OIDCIdentityCreated"});
    reconcile_subscription(s, settings);
    return s.finish("subscription-controller");
  };
  replan_all(planner, {res::brokers(), res::services(), res::ksvcs(), res::channels(), res::imcs(),
                       res::sequences(), res::parallels()});
  replan_namespace(planner, {res::channels(), res::imcs()});
  return planner;
}

}  // namespace knit::eventing
