// What the data plane needs of Eventing's objects, read once per version of an object.
// Source: knative/eventing pkg/apis/{eventing,messaging,sources}/v1; spec/eventing.md 1.3-1.7
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "events/delivery/dispatcher.h"

namespace knit::events {

inline constexpr std::string_view kIngressRole = "mt-broker-ingress";
inline constexpr std::string_view kFilterRole = "mt-broker-filter";
inline constexpr std::string_view kDispatcherRole = "imc-dispatcher";
inline constexpr std::string_view kPingRole = "pingsource-mt-adapter";

/// Delivery settings and the dead letter sink's resolved address.
struct DeliveryView {
  bool set = false;  // the object has `delivery`
  Policy policy;
  std::optional<Endpoint> dead_letter;
};

struct BrokerView {
  std::string ns, name, uid;
  bool multi_tenant = false;  // class MTChannelBasedBroker
  std::string channel;        // its trigger channel's name; empty: none yet
  DeliveryView delivery;
};

struct TriggerView {
  std::string ns, name, uid, broker;
  /// Never null. A filter that does not compile passes nothing, and `error` says why.
  std::shared_ptr<const Filter> filter;
  std::string error;
  Endpoint subscriber;  // an empty URL: not resolved (yet)
  DeliveryView delivery;
  std::optional<Order> order;
};

struct SubscriberView {
  std::string uid, name;
  std::int64_t generation = 0;
  std::string trigger_uid;  // it is a trigger's, through the broker's filter
  std::string error;
  Endpoint subscriber;
  std::optional<Endpoint> reply;
  DeliveryView delivery;
};

struct ChannelView {
  std::string ns, name, uid;
  std::string broker_uid;  // it is the trigger channel of this broker
  std::vector<SubscriberView> subscribers;
  Json status;  // status.subscribers as it is
};

struct PingView {
  std::string ns, name, uid;
  std::string schedule, timezone, content_type, error;
  std::optional<std::string> data;
  std::vector<std::pair<std::string, std::string>> extensions;  // spec.ceOverrides
  Endpoint sink;                                                // an empty URL: not resolved
  bool operator==(const PingView&) const = default;
};

BrokerView read_broker(const Json& broker);
TriggerView read_trigger(const Json& trigger);
ChannelView read_channel(const Json& channel);
PingView read_ping(const Json& ping);

/// The uid in the path of ".../triggers/<ns>/<name>/<uid>" at the host broker-filter.<system>;
/// empty when the URL is another.
std::string trigger_of(std::string_view url);

}  // namespace knit::events
