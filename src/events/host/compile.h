// From objects to streams: what the engine is to carry, and what to tell about it. Pure.
#pragma once

#include <set>

#include "events/engine/engine.h"
#include "events/host/views.h"

namespace knit::events {

struct World {
  std::vector<std::shared_ptr<const BrokerView>> brokers;
  std::vector<std::shared_ptr<const TriggerView>> triggers;
  std::vector<std::shared_ptr<const ChannelView>> channels;
};

/// status.subscribers of one InMemoryChannel.
struct ChannelStatus {
  std::string ns, name;
  JsonArray subscribers;  // {uid, observedGeneration, ready, message?}
  bool operator==(const ChannelStatus&) const = default;
};

struct Compiled {
  std::vector<StreamSpec> streams;
  std::set<std::pair<std::string, std::string>> without_channel;  // brokers: 500 at their ingress
  std::vector<ChannelStatus> statuses;                            // those that are to change
};

/// A broker of class MTChannelBasedBroker with its triggers (and the plain Subscriptions on its
/// trigger channel) is one stream; every other InMemoryChannel is one. A cursor is named by the uid
/// of its Trigger or Subscription, so that neither a new channel nor a new Subscription object
/// loses what a trigger has not delivered yet.
Compiled compile(const World& world);

}  // namespace knit::events
