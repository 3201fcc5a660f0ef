// CloudEvents' HTTP protocol binding: binary, structured and batched content mode, both ways.
// Source: cloudevents/spec cloudevents/bindings/http-protocol-binding.md; spec/eventing.md 2.4.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "events/model/event.h"
#include "http/message.h"

namespace knit::events {

enum class Mode { Binary, Structured, Batch };

struct HttpMessage {
  http::Headers headers;  // ce-* and content-type only
  std::string body;
};

/// By content type, without case: application/cloudevents-batch, application/cloudevents, else.
Mode mode_of(const http::Headers& headers);

/// True when the message carries an event: structured or batched, or any ce-specversion. (What a
/// subscriber answers is a reply only then.)
bool carries_event(const http::Headers& headers);

/// The events of one HTTP message; one unless batched (a batch may be empty). Errors:
/// InvalidArgument (not a CloudEvent: 400), ResourceExhausted (413, the limit in the text),
/// Unsupported (an event format other than JSON).
Result<std::vector<Event>> from_http(const http::Headers& headers, std::string body,
                                     const Limits& limits);

/// Structured instead when the data is itself of a CloudEvents content type.
HttpMessage to_binary(const Event& event);
HttpMessage to_structured(const Event& event);
HttpMessage to_batch(std::span<const Event> events);

/// Percent-encodes what a header value may not carry: space, '"', '%' and all outside
/// U+0021..U+007E, as UTF-8 in upper-case hexadecimal.
std::string encode_header_value(std::string_view value);
/// Undoes one level of quoting, then of percent-encoding, once. Errors: InvalidArgument (not
/// UTF-8).
Result<std::string> decode_header_value(std::string_view value);

}  // namespace knit::events
