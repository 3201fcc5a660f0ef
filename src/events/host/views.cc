#include "events/host/views.h"

#include "base/hash.h"

namespace knit::events {
namespace {

std::string text(const Json& dom, json::Path path) { return std::string(json::str(dom, path)); }

Endpoint endpoint(const Json& dom, const std::string& prefix, std::string_view role) {
  return {text(dom, {prefix + "Uri"}), text(dom, {prefix + "CACerts"}),
          text(dom, {prefix + "Audience"}), std::string(role)};
}

std::optional<Endpoint> optional_endpoint(const Json& dom, const std::string& prefix,
                                          std::string_view role) {
  Endpoint e = endpoint(dom, prefix, role);
  if (e.url.empty()) return std::nullopt;
  return e;
}

/// Admission has judged them: what does not parse is left at its default.
DeliveryView read_delivery(const Json& dom, json::Path path) {
  DeliveryView out;
  const Json* delivery = json::find(dom, path);
  if (delivery == nullptr || !delivery->is_object() || delivery->get_object().empty()) return out;
  out.set = true;
  if (auto policy = parse_delivery(*delivery)) out.policy = *policy;
  return out;
}

/// `knit.dev/backoff-cap` bounds one wait between two tries (7.1).
void read_cap(const Json& dom, DeliveryView& delivery) {
  const auto cap = json::str(dom, {"metadata", "annotations", "knit.dev/backoff-cap"});
  if (cap.empty()) return;
  if (const auto d = parse_iso_duration(cap); d && d->count() > 0) delivery.policy.cap = *d;
}

template <class View>
void read_names(const Json& dom, View& out) {
  out.ns = text(dom, {"metadata", "namespace"});
  out.name = text(dom, {"metadata", "name"});
  out.uid = text(dom, {"metadata", "uid"});
}

std::shared_ptr<const Filter> nothing() {
  FilterSpec none;
  none.kind = FilterSpec::Kind::Not;
  none.children.emplace_back();  // an All without children passes everything
  auto filter = Filter::compile(none);
  KNIT_CHECK(filter.has_value());
  return std::make_shared<const Filter>(std::move(*filter));
}

}  // namespace

std::string trigger_of(std::string_view url) {
  constexpr std::string_view kHost = "http://broker-filter.", kPath = "/triggers/";
  if (!url.starts_with(kHost)) return {};
  const auto slash = url.find('/', kHost.size());
  if (slash == std::string_view::npos || !url.substr(slash).starts_with(kPath)) return {};
  const auto path = url.substr(slash + kPath.size());  // ns/name/uid
  const auto first = path.find('/');
  const auto second = first == std::string_view::npos ? first : path.find('/', first + 1);
  if (second == std::string_view::npos) return {};
  const auto uid = path.substr(second + 1);
  return uid.find('/') == std::string_view::npos ? std::string(uid) : std::string();
}

BrokerView read_broker(const Json& broker) {
  BrokerView out;
  read_names(broker, out);
  out.multi_tenant =
      json::str(broker, {"metadata", "annotations", "eventing.knative.dev/broker.class"}) ==
      "MTChannelBasedBroker";
  out.channel = text(broker, {"status", "annotations", "knative.dev/channelName"});
  out.delivery = read_delivery(broker, {"spec", "delivery"});
  read_cap(broker, out.delivery);
  if (const Json* status = json::find(broker, "status")) {
    out.delivery.dead_letter = optional_endpoint(*status, "deadLetterSink", kDispatcherRole);
  }
  return out;
}

TriggerView read_trigger(const Json& trigger) {
  TriggerView out;
  read_names(trigger, out);
  out.broker = text(trigger, {"spec", "broker"});
  if (out.broker.empty()) out.broker = text(trigger, {"spec", "brokerRef", "name"});
  const Json* spec = json::find(trigger, "spec");
  auto parsed = parse_filter(spec != nullptr ? *spec : Json(JsonObject()));
  auto filter = parsed ? Filter::compile(*parsed) : Result<Filter>(std::move(parsed).error());
  if (filter) {
    out.filter = std::make_shared<const Filter>(std::move(*filter));
  } else {
    out.filter = nothing();
    out.error = filter.error().message();
  }
  const Json none = JsonObject();
  const Json* status = json::find(trigger, "status");
  if (status == nullptr) status = &none;
  out.subscriber = endpoint(*status, "subscriber", kFilterRole);
  out.delivery = read_delivery(trigger, {"spec", "delivery"});
  read_cap(trigger, out.delivery);
  // What the sink of this object and, failing that, the broker's resolved to.
  out.delivery.dead_letter = optional_endpoint(*status, "deadLetterSink", kDispatcherRole);
  const auto order =
      json::str(trigger, {"metadata", "annotations", "kafka.eventing.knative.dev/delivery.order"});
  if (order == "ordered") out.order = Order::Ordered;
  if (order == "unordered") out.order = Order::Unordered;
  if (json::str(trigger, {"metadata", "annotations", "knit.dev/delivery-order"}) == "by-key") {
    out.order = Order::ByKey;
  }
  return out;
}

ChannelView read_channel(const Json& channel) {
  ChannelView out;
  read_names(channel, out);
  for (const Json& owner : json::array(channel, {"metadata", "ownerReferences"})) {
    if (json::str(owner, {"kind"}) == "Broker" && json::boolean(owner, {"controller"})) {
      out.broker_uid = text(owner, {"uid"});
    }
  }
  for (const Json& entry : json::array(channel, {"spec", "subscribers"})) {
    SubscriberView s;
    s.uid = text(entry, {"uid"});
    s.name = text(entry, {"name"});
    s.generation = json::i64(entry, {"generation"});
    s.subscriber = endpoint(entry, "subscriber", kDispatcherRole);
    s.trigger_uid = trigger_of(s.subscriber.url);
    s.reply = optional_endpoint(entry, "reply", kDispatcherRole);
    s.delivery = read_delivery(entry, {"delivery"});
    if (const Json* sink = json::find(entry, {"delivery", "deadLetterSink"})) {
      s.delivery.dead_letter = Endpoint{text(*sink, {"uri"}), text(*sink, {"CACerts"}),
                                        text(*sink, {"audience"}), std::string(kDispatcherRole)};
      if (s.delivery.dead_letter->url.empty()) s.delivery.dead_letter.reset();
    }
    out.subscribers.push_back(std::move(s));
  }
  out.status = json::array(channel, {"status", "subscribers"});
  return out;
}

PingView read_ping(const Json& ping) {
  PingView out;
  read_names(ping, out);
  out.schedule = text(ping, {"spec", "schedule"});
  out.timezone = text(ping, {"spec", "timezone"});
  out.content_type = text(ping, {"spec", "contentType"});
  out.extensions = json::string_map(ping, {"spec", "ceOverrides", "extensions"});
  if (const auto encoded = json::str(ping, {"spec", "dataBase64"}); !encoded.empty()) {
    if (auto data = hash::decode_base64(encoded)) {
      out.data = std::move(*data);
    } else {
      out.error = "spec.dataBase64 is not base64";
    }
  } else if (const auto data = json::str(ping, {"spec", "data"}); !data.empty()) {
    out.data = std::string(data);
  }
  if (const Json* status = json::find(ping, "status")) {
    out.sink = endpoint(*status, "sink", kPingRole);
  }
  return out;
}

}  // namespace knit::events
