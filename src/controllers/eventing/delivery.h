// Delivery settings and dead letter sinks, as every kind with `delivery` has them.
// Source: knative/eventing pkg/apis/duck/v1/delivery_types.go, pkg/reconciler/*
#pragma once

#include "controllers/eventing/destination.h"

namespace knit::eventing {

/// Resolves spec.delivery.deadLetterSink into status.deadLetterSinkUri (…CACerts, …Audience) and
/// the condition DeadLetterSinkResolved.
void resolve_dead_letter_sink(Subject& subject, std::string_view cluster_domain);
/// No dead letter sink: the condition is True and says so.
void no_dead_letter_sink(Subject& subject);
/// Writes uri, CACerts and audience of a resolved address under `prefix` + "Uri", …
void put_address(Json& status, std::string_view prefix, const std::optional<Address>& address);

/// status.sinkUri, … and the condition SinkProvided of a source.
std::optional<Address> resolve_sink(Subject& subject, std::string_view cluster_domain);

/// What one subscriber gets: the subscription's delivery if it says anything, else the channel's,
/// never field by field; the dead letter sink is resolved. Null when neither
/// says anything. (eventing.md 1.5)
Json effective_delivery(const Json& subscription_delivery, const Json& channel_delivery,
                        const std::optional<Address>& dead_letter_sink);

}  // namespace knit::eventing
