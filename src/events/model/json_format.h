// CloudEvents' JSON event format: one event, or a batch.
// Source: cloudevents/spec cloudevents/formats/json-format.md; spec/eventing.md 2.4.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "events/model/event.h"

namespace knit::events {

/// Parses one structured event and validates it. The bytes of a JSON `data` member stay as they
/// were written (numbers are not reformatted). Errors: InvalidArgument (not JSON, both data and
/// data_base64, a member twice, a wrong type, an invalid attribute), ResourceExhausted.
Result<Event> from_json(std::string_view text, const Limits& limits);

/// Parses a JSON array of events; all or nothing.
Result<std::vector<Event>> from_json_batch(std::string_view text, const Limits& limits);

/// Prints one event; JSON data as a value, text as a string, anything else in base64.
std::string to_json(const Event& event);
std::string to_json_batch(std::span<const Event> events);

}  // namespace knit::events
