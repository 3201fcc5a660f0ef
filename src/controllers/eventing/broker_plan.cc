// Brokers of class MTChannelBasedBroker: the trigger channel, the role's endpoints, the address.
// Source: knative/eventing pkg/reconciler/broker/broker.go,
// pkg/apis/eventing/v1/broker_lifecycle.go
#include "controllers/eventing/config.h"
#include "controllers/eventing/delivery.h"
#include "controllers/eventing/eventing.h"

namespace knit::eventing {
namespace {
constexpr std::string_view kComponent = "broker-controller";
constexpr std::string_view kChannel = "TriggerChannelReady";

/// The key of the trigger channel once the template is known; the condition says what is wrong.
std::optional<Key> ensure_channel(Subject& s) {
  const Json* config = json::find(s.dom(), {"spec", "config"});
  Result<Json> shape = Error(Code::InvalidArgument, "Broker.Spec.Config is required");
  if (config != nullptr) shape = broker_channel_template(s.world(), *config, s.key().ns);
  if (!shape) {
    s.conditions().mark_false(
        kChannel, "ChannelTemplateFailed",
        "Error on setting up the ChannelTemplate: " + shape.error().message());
    return std::nullopt;
  }
  Json reference = *shape;
  json::set(reference, {"name"}, Json(serving::child_name(s.key().name, "-kne-trigger")));
  const auto key = key_of(reference, s.key().ns);
  if (!key) {
    s.conditions().mark_false(kChannel, "ChannelTemplateFailed",
                              "Error on setting up the ChannelTemplate: no kind " +
                                  std::string(json::str(*shape, {"kind"})) + " in " +
                                  std::string(json::str(*shape, {"apiVersion"})));
    return std::nullopt;
  }
  const auto existing = s.world().get(*key);
  if (existing != nullptr && !serving::controlled_by(existing, s.dom())) {
    s.conditions().mark_false(
        kChannel, "ChannelFailure",
        "trigger channel \"" + key->name + "\" is not owned by Broker \"" + s.key().name + "\"");
    return std::nullopt;
  }
  Json want = make_object(json::str(*shape, {"apiVersion"}), json::str(*shape, {"kind"}), *key);
  auto labels = serving::labels_of(s.dom());  // metadata is carried to what is made
  labels["eventing.knative.dev/broker"] = s.key().name;
  labels["eventing.knative.dev/brokerEverything"] = "true";
  json::set(want, {"metadata", "labels"}, serving::to_json(labels));
  json::set(want, {"metadata", "annotations", "eventing.knative.dev/scope"}, Json("cluster"));
  if (const Json* spec = json::find(*shape, "spec"); spec != nullptr && spec->is_object()) {
    json::set(want, {"spec"}, *spec);
  }
  s.ensure_child(*key, std::move(want));
  return key;
}

void mark_endpoints(Subject& s, std::string_view condition, std::string_view service) {
  const auto ready = endpoints_ready(s.world(), service);
  if (!ready) {
    s.conditions().mark_false(condition, "ServiceFailure",
                              "endpoints \"" + std::string(service) + "\" not found");
  } else if (*ready) {
    s.conditions().mark_true(condition);
  } else {
    s.conditions().mark_false(condition, "EndpointsUnavailable",
                              "Endpoints \"" + std::string(service) + "\" are unavailable.");
  }
}

void reconcile_broker(Subject& s, const EventingSettings& settings) {
  const auto key = ensure_channel(s);
  std::optional<Address> address;
  if (key) {
    const Json channel = s.world().view(*key);
    address = address_of(channel);
    follow(s.conditions(),
           {kChannel, "ChannelNotConfigured", "Channel has not yet been reconciled."}, channel);
    if (s.conditions().is_true(kChannel) && !address) {
      s.conditions().mark_false(kChannel, "NoAddress", "Channel does not have an address.");
    }
    if (address && !channel.is_null()) {
      const auto note = [&](std::string_view name, std::string_view value) {
        const std::string field = "knative.dev/" + std::string(name);
        if (value.empty()) {
          json::erase(s.status(), {"annotations", field});
        } else {
          json::set(s.status(), {"annotations", field}, Json(value));
        }
      };
      note("channelAddress", address->url);
      note("channelAPIVersion", json::str(channel, {"apiVersion"}));
      note("channelKind", json::str(channel, {"kind"}));
      note("channelName", key->name);
      note("channelCACerts", address->ca_certs);
      note("channelAudience", address->audience);
    }
  }
  mark_endpoints(s, "FilterReady", "broker-filter");
  mark_endpoints(s, "IngressReady", "broker-ingress");
  resolve_dead_letter_sink(s, settings.cluster_domain);
  no_event_policies(s.conditions());
  const Address own{"http://broker-ingress." + std::string(kNamespace) + ".svc." +
                        settings.cluster_domain + "/" + s.key().ns + "/" + s.key().name,
                    {},
                    {}};
  put(s.status(), "address", address_json(own));
  s.conditions().mark_true("Addressable");
}

}  // namespace

Planner broker_planner(EventingSettings settings) {
  Planner planner;
  planner.name = "broker";
  planner.owns = res::brokers();
  planner.plan = [settings](const World& world, const Key& key, Instant) {
    const auto object = world.get(key);
    if (object == nullptr || object->deleting() || !installed(world)) return Plan{};
    const Json dom = object->parse();
    // Another class has its own controller.
    if (json::str(dom, {"metadata", "annotations", "eventing.knative.dev/broker.class"}) !=
        kMtBroker) {
      return Plan{};
    }
    Subject s(world, object,
              {"IngressReady", "TriggerChannelReady", "FilterReady", "Addressable",
               "DeadLetterSinkResolved", "EventPoliciesReady"});
    reconcile_broker(s, settings);
    return s.finish(kComponent);
  };
  planner.triggers = {reconcile::by_owner(res::imcs(), res::brokers())};
  replan_all(planner, {res::services(), res::ksvcs(), res::imcs(), res::channels()});
  return planner;
}

}  // namespace knit::eventing
