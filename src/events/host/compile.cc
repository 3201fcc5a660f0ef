#include "events/host/compile.h"

#include <map>
#include <tuple>

namespace knit::events {
namespace {

Json status_entry(const SubscriberView& s, const std::string& error) {
  Json entry = JsonObject();
  json::set(entry, {"uid"}, Json(s.uid));
  json::set(entry, {"observedGeneration"}, Json(s.generation));
  json::set(entry, {"ready"}, Json(error.empty() ? "True" : "False"));
  if (!error.empty()) json::set(entry, {"message"}, Json(error));
  return entry;
}

Subscription of_subscriber(const SubscriberView& s, const std::string& ns) {
  Subscription out;
  out.name = s.uid;
  out.label = "subscription " + s.name;
  out.subscriber = s.subscriber;
  out.reply = s.reply;
  out.dead_letter = s.delivery.dead_letter;
  out.policy = s.delivery.policy;
  out.ns = ns;
  return out;
}

/// The trigger's delivery or the broker's, as a whole (1.4).
Subscription of_trigger(const TriggerView& t, const BrokerView& broker) {
  Subscription out;
  out.name = t.uid;
  out.label = "trigger " + t.name;
  out.filter = t.filter;
  out.subscriber = t.subscriber;
  out.reply_broker = broker.ns + "/" + broker.name;
  out.strict_replies = true;
  out.policy = t.delivery.set ? t.delivery.policy : broker.delivery.policy;
  out.dead_letter = t.delivery.dead_letter;
  if (!out.dead_letter && !t.delivery.set) out.dead_letter = broker.delivery.dead_letter;
  if (t.order) out.policy.order = *t.order;
  out.ns = t.ns;
  return out;
}

}  // namespace

Compiled compile(const World& world) {
  Compiled out;
  std::map<std::string, const BrokerView*> brokers;  // by uid
  std::map<std::pair<std::string, std::string>, std::vector<const TriggerView*>> triggers;
  std::map<std::string, std::string> served;     // uid of a Trigger or Subscription: what is wrong
  std::map<std::string, std::size_t> stream_of;  // by the broker's uid
  std::set<std::string> subscribed;              // triggers whose Subscription is on a channel
  for (const auto& c : world.channels) {
    for (const auto& s : c->subscribers) subscribed.insert(s.trigger_uid);
  }
  // A subscriber that does not resolve (yet) is no reason to begin, nor one to forget.
  for (const auto& t : world.triggers) {
    if (t->subscriber.url.empty() && !subscribed.contains(t->uid)) continue;
    triggers[{t->ns, t->broker}].push_back(t.get());
  }
  for (const auto& b : world.brokers) {
    if (!b->multi_tenant) continue;
    brokers[b->uid] = b.get();
    // It keeps its stream also while its channel is away.
    if (b->channel.empty()) out.without_channel.insert({b->ns, b->name});
    StreamSpec spec;
    spec.key = {StreamKind::Broker, b->ns, b->name, b->uid};
    for (const TriggerView* t : triggers[{b->ns, b->name}]) {
      spec.subscriptions.push_back(of_trigger(*t, *b));
      served[t->uid] = t->error;
    }
    stream_of[b->uid] = out.streams.size();
    out.streams.push_back(std::move(spec));
  }
  for (const auto& c : world.channels) {
    const auto broker = brokers.find(c->broker_uid);
    StreamSpec spec;
    StreamSpec* into = &spec;
    if (broker != brokers.end()) into = &out.streams[stream_of.at(c->broker_uid)];
    spec.key = {StreamKind::Channel, c->ns, c->name, c->uid};
    ChannelStatus status{c->ns, c->name, {}};
    for (const SubscriberView& s : c->subscribers) {
      if (s.trigger_uid.empty() || broker == brokers.end()) {
        into->subscriptions.push_back(of_subscriber(s, c->ns));
        status.subscribers.push_back(status_entry(s, s.error));
        continue;
      }
      const auto it = served.find(s.trigger_uid);
      if (it != served.end()) status.subscribers.push_back(status_entry(s, it->second));
    }
    if (into == &spec) out.streams.push_back(std::move(spec));
    if (Json(status.subscribers) != c->status) out.statuses.push_back(std::move(status));
  }
  return out;
}

}  // namespace knit::events
