#include "controllers/eventing/delivery.h"

namespace knit::eventing {

void put_address(Json& status, std::string_view prefix, const std::optional<Address>& address) {
  const auto value = [&](std::string Address::* field) {
    return address && !((*address).*field).empty() ? Json((*address).*field) : Json();
  };
  const std::string p(prefix);
  put(status, p + "Uri", value(&Address::url));
  put(status, p + "CACerts", value(&Address::ca_certs));
  put(status, p + "Audience", value(&Address::audience));
}

void no_dead_letter_sink(Subject& s) {
  put_address(s.status(), "deadLetterSink", std::nullopt);
  s.conditions().mark_true("DeadLetterSinkResolved", "DeadLetterSinkNotConfigured",
                           "No dead letter sink is configured.");
}

void resolve_dead_letter_sink(Subject& s, std::string_view cluster_domain) {
  const Json* sink = json::find(s.dom(), {"spec", "delivery", "deadLetterSink"});
  if (sink == nullptr || sink->is_null()) return no_dead_letter_sink(s);
  auto address = resolve(s.world(), *sink, s.key().ns, cluster_domain);
  if (!address) {
    put_address(s.status(), "deadLetterSink", std::nullopt);
    s.conditions().mark_false("DeadLetterSinkResolved", "Unable to get the DeadLetterSink's URI",
                              address.error().message());
    return;
  }
  put_address(s.status(), "deadLetterSink", *address);
  s.conditions().mark_true("DeadLetterSinkResolved");
}

std::optional<Address> resolve_sink(Subject& s, std::string_view cluster_domain) {
  const Json* sink = json::find(s.dom(), {"spec", "sink"});
  auto address =
      resolve(s.world(), sink != nullptr ? *sink : Json(JsonObject()), s.key().ns, cluster_domain);
  if (!address) {
    put_address(s.status(), "sink", std::nullopt);
    s.conditions().mark_false("SinkProvided", "NotFound", address.error().message());
    return std::nullopt;
  }
  put_address(s.status(), "sink", *address);
  s.conditions().mark_true("SinkProvided");
  return std::move(*address);
}

Json effective_delivery(const Json& subscription_delivery, const Json& channel_delivery,
                        const std::optional<Address>& dead_letter_sink) {
  const bool own = subscription_delivery.is_object() && !subscription_delivery.get_object().empty();
  const Json& source = own ? subscription_delivery : channel_delivery;
  if (!source.is_object() || source.get_object().empty()) return {};
  Json out = JsonObject();
  // DIFFERS: upstream drops `format` here (7.1: it is honoured everywhere).
  for (const auto field :
       {"retry", "timeout", "backoffPolicy", "backoffDelay", "retryAfterMax", "format"}) {
    if (const Json* v = json::find(source, field)) json::set(out, {field}, *v);
  }
  if (dead_letter_sink) {
    Json sink = JsonObject();
    json::set(sink, {"uri"}, Json(dead_letter_sink->url));
    if (!dead_letter_sink->ca_certs.empty()) {
      json::set(sink, {"CACerts"}, Json(dead_letter_sink->ca_certs));
    }
    if (!dead_letter_sink->audience.empty()) {
      json::set(sink, {"audience"}, Json(dead_letter_sink->audience));
    }
    json::set(out, {"deadLetterSink"}, std::move(sink));
  }
  return out;
}

}  // namespace knit::eventing
