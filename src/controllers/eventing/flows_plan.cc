// Sequences and Parallels: chains of channels and Subscriptions.
// Source: knative/eventing pkg/reconciler/{sequence,parallel}, pkg/apis/flows/v1
#include "controllers/eventing/config.h"
#include "controllers/eventing/delivery.h"
#include "controllers/eventing/eventing.h"

namespace knit::eventing {
namespace {

/// What a flow makes, and what is left of an earlier spec.
class Flow {
 public:
  explicit Flow(Subject& s) : s_(s) {
    if (const Json* t = json::find(s.dom(), {"spec", "channelTemplate"}); t != nullptr) {
      template_ = *t;
    } else if (auto by_default = default_channel_template(s.world(), s.key().ns); by_default) {
      template_ = std::move(*by_default);
    }
  }
  /// The reference to a channel that exists after this plan; null when the template is no channel.
  Json channel(const std::string& name, const Json* delivery = nullptr) {
    Json reference = JsonObject();
    for (const auto field : {"apiVersion", "kind"}) {
      json::set(reference, {field}, Json(json::str(template_, {field})));
    }
    json::set(reference, {"name"}, Json(name));
    const auto key = key_of(reference, s_.key().ns);
    if (!key) return {};
    Json want =
        make_object(json::str(template_, {"apiVersion"}), json::str(template_, {"kind"}), *key);
    if (const Json* spec = json::find(template_, "spec"); spec != nullptr && spec->is_object()) {
      json::set(want, {"spec"}, *spec);
    }
    if (delivery != nullptr) json::set(want, {"spec", "delivery"}, *delivery);
    kept_.push_back(*key);
    if (const auto object = s_.world().get(*key);
        object != nullptr && !serving::controlled_by(object, s_.dom())) {
      not_owned_ = key->name;
    } else {
      s_.ensure_child(*key, std::move(want));
    }
    channels_.push_back(*key);
    return reference;
  }
  void subscription(const std::string& name, const Json& from, const Json& subscriber,
                    const Json& reply, const Json* delivery) {
    const Key key = s_.sibling(res::subscriptions(), name);
    Json want = make_object("messaging.knative.dev/v1", "Subscription", key);
    json::set(want, {"spec", "channel"}, from);
    if (!subscriber.is_null()) json::set(want, {"spec", "subscriber"}, subscriber);
    json::set(want, {"spec", "reply"}, reply);
    json::set(want, {"spec", "delivery"}, delivery != nullptr ? *delivery : Json());
    kept_.push_back(key);
    if (const auto object = s_.world().get(key);
        object != nullptr && !serving::controlled_by(object, s_.dom())) {
      not_owned_ = key.name;
    } else {
      s_.ensure_child(key, std::move(want));
    }
    subscriptions_.push_back(key);
  }
  void finish() {
    auto& c = s_.conditions();
    no_event_policies(c);
    no_oidc_identity(c);
    mark("ChannelsReady", channels_, "ChannelsNotReady",
         "Channels are not ready yet, or there are none");
    mark("SubscriptionsReady", subscriptions_, "SubscriptionsNotReady",
         "Subscriptions are not ready yet, or there are none");
    const auto first = channels_.empty() ? std::nullopt : address_of(s_.world().view(channels_[0]));
    if (first) {
      put(s_.status(), "address", address_json(*first));
      c.mark_true("Addressable");
    } else {
      put(s_.status(), "address", {});
      c.mark_false("Addressable", "emptyAddress", "addressable is nil");
    }
    for (const Resource resource : {res::imcs(), res::channels(), res::subscriptions()}) {
      for (const auto& object : s_.world().owned(resource, s_.key().ns, uid_of(s_.dom()))) {
        const bool kept = std::find(kept_.begin(), kept_.end(), object->key()) != kept_.end();
        if (!kept && !object->deleting()) s_.plan().remove(object);
      }
    }
  }
  const std::vector<Key>& channels() const { return channels_; }
  const std::vector<Key>& subscriptions() const { return subscriptions_; }
  /// {channel or subscription: reference, ready: condition} of a made object.
  Json state(const Key& key, std::string_view field) const {
    const Json object = s_.world().view(key);
    Json out = JsonObject();
    if (object.is_null()) return out;
    json::set(out, {field}, reference_to(object));
    for (const auto& c : json::array(object, {"status", "conditions"})) {
      if (json::str(c, {"type"}) == "Ready") json::set(out, {"ready"}, c);
    }
    return out;
  }
  JsonArray states(const std::vector<Key>& keys, std::string_view field) const {
    JsonArray out;
    for (const auto& key : keys) out.push_back(state(key, field));
    return out;
  }

 private:
  void mark(std::string_view type, const std::vector<Key>& keys, std::string_view reason,
            std::string_view message) {
    if (!not_owned_.empty()) {
      return s_.conditions().mark_false(
          type, reason,
          "\"" + not_owned_ + "\" exists and is not owned by \"" + s_.key().name + "\"");
    }
    bool ready = !keys.empty();
    for (const auto& key : keys) {
      const auto c = find_condition(s_.world().view(key), "Ready");
      ready = ready && c && c->is_true();
    }
    if (ready) return s_.conditions().mark_true(type);
    s_.conditions().mark_false(type, reason, message);
  }

  Subject& s_;
  Json template_;
  std::vector<Key> channels_, subscriptions_, kept_;
  std::string not_owned_;
};

Json as_destination(const Json& channel_reference) {
  Json out = JsonObject();
  json::set(out, {"ref"}, channel_reference);
  return out;
}
Json destination_part(const Json& step) {
  Json out = JsonObject();
  for (const auto field : {"ref", "uri", "CACerts", "audience"}) {
    if (const Json* v = json::find(step, field)) json::set(out, {field}, *v);
  }
  return out;
}
Json reply_of(const Json& object) {
  const Json* reply = json::find(object, "reply");
  return reply != nullptr ? *reply : Json();
}

void reconcile_sequence(Subject& s) {
  Flow flow(s);
  const auto& steps = json::array(s.dom(), {"spec", "steps"});
  const auto name = [&](std::size_t i) {
    return serving::child_name(s.key().name, "-kn-sequence-" + std::to_string(i));
  };
  std::vector<Json> channels;
  for (std::size_t i = 0; i < steps.size(); ++i) channels.push_back(flow.channel(name(i)));
  for (std::size_t i = 0; i < steps.size() && !channels[i].is_null(); ++i) {
    const Json reply = i + 1 < steps.size() ? as_destination(channels[i + 1])
                                            : reply_of(*json::find(s.dom(), "spec"));
    flow.subscription(name(i), channels[i], destination_part(steps[i]), reply,
                      json::find(steps[i], "delivery"));
  }
  flow.finish();
  put(s.status(), "channelStatuses", flow.states(flow.channels(), "channel"));
  put(s.status(), "subscriptionStatuses", flow.states(flow.subscriptions(), "subscription"));
}

void reconcile_parallel(Subject& s) {
  Flow flow(s);
  const auto& branches = json::array(s.dom(), {"spec", "branches"});
  const Json ingress = flow.channel(serving::child_name(s.key().name, "-kn-parallel"));
  const Json reply = reply_of(*json::find(s.dom(), "spec"));
  JsonArray statuses;
  for (std::size_t i = 0; i < branches.size() && !ingress.is_null(); ++i) {
    const auto& branch = branches[i];
    const std::string number = std::to_string(i);
    const std::string own = serving::child_name(s.key().name, "-kn-parallel-" + number);
    const std::string filter_name =
        serving::child_name(s.key().name, "-kn-parallel-filter-" + number);
    const Json channel = flow.channel(own);
    const Json* filter = json::find(branch, "filter");
    // Without a filter the branch's channel itself subscribes (1.6).
    if (filter != nullptr) {
      flow.subscription(filter_name, ingress, *filter, as_destination(channel), nullptr);
    } else {
      flow.subscription(filter_name, ingress, as_destination(channel), {}, nullptr);
    }
    const Json* subscriber = json::find(branch, "subscriber");
    const Json branch_reply = reply_of(branch);
    flow.subscription(own, channel, subscriber != nullptr ? *subscriber : Json(),
                      branch_reply.is_null() ? reply : branch_reply,
                      json::find(branch, "delivery"));
    Json status = JsonObject();
    json::set(status, {"filterChannelStatus"}, flow.state(flow.channels().back(), "channel"));
    json::set(status, {"filterSubscriptionStatus"},
              flow.state(s.sibling(res::subscriptions(), filter_name), "subscription"));
    json::set(status, {"subscriptionStatus"},
              flow.state(s.sibling(res::subscriptions(), own), "subscription"));
    statuses.push_back(std::move(status));
  }
  flow.finish();
  if (!flow.channels().empty()) {
    put(s.status(), "ingressChannelStatus", flow.state(flow.channels()[0], "channel"));
  }
  put(s.status(), "branchStatuses", std::move(statuses));
}

Planner flow_planner(std::string name, Resource owns, void (*reconcile)(Subject&)) {
  Planner planner;
  planner.name = name;
  planner.owns = owns;
  planner.plan = [reconcile, name](const World& world, const Key& key, Instant) {
    const auto object = world.get(key);
    if (object == nullptr || object->deleting() || !installed(world)) return Plan{};
    if (json::find(object->parse(), "spec") == nullptr) return Plan{};
    Subject s(world, object,
              {"ChannelsReady", "SubscriptionsReady", "Addressable", "EventPoliciesReady",
               "OIDCIdentityCreated"});
    reconcile(s);
    return s.finish(name + "-controller");
  };
  for (const Resource child : {res::imcs(), res::channels(), res::subscriptions()}) {
    planner.triggers.push_back(reconcile::by_owner(child, owns));
  }
  replan_all(planner, {});
  return planner;
}

}  // namespace

Planner sequence_planner(EventingSettings) {
  return flow_planner("sequence", res::sequences(), reconcile_sequence);
}
Planner parallel_planner(EventingSettings) {
  return flow_planner("parallel", res::parallels(), reconcile_parallel);
}

}  // namespace knit::eventing
