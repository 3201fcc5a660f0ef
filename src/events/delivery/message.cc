#include "events/delivery/message.h"

#include <algorithm>
#include <charconv>

#include "base/hash.h"
#include "events/model/http_binding.h"
#include "events/model/ingress.h"

namespace knit::events {
namespace {

constexpr std::size_t kMaxErrorData = 1024;

OutMessage outgoing(const Event& event, bool structured, const Endpoint& to) {
  HttpMessage message = structured ? to_structured(event) : to_binary(event);
  return {to, std::move(message.headers), std::move(message.body)};
}

bool wants_structured(const StoredEvent& event, Format format) {
  return format == Format::Json || (format == Format::AsReceived && event.structured);
}

void add_passing(OutMessage& out, const StoredEvent& event) {
  for (const auto& h : event.headers) {
    if (!out.headers.has(h.name)) out.headers.add(h.name, h.value);
  }
}

std::optional<std::int32_t> ttl_of(const Event& event) {
  const Extension* ttl = event.extension(kTtlAttribute);
  if (ttl == nullptr) return std::nullopt;
  std::int32_t v = 0;
  const auto end = std::from_chars(ttl->value.data(), ttl->value.data() + ttl->value.size(), v);
  if (end.ec != std::errc() || end.ptr != ttl->value.data() + ttl->value.size()) {
    return std::nullopt;
  }
  return v;
}

}  // namespace

OutMessage subscriber_message(const StoredEvent& event, const Endpoint& to, Format format,
                              const std::string& ns) {
  Event sent = event.event;
  sent.erase_extension(kTtlAttribute);
  OutMessage out = outgoing(sent, wants_structured(event, format), to);
  add_passing(out, event);
  out.headers.set("Prefer", "reply");
  if (!ns.empty()) out.headers.set("Kn-Namespace", ns);
  return out;
}

OutMessage reply_message(const StoredEvent& reply, const Endpoint& to, const std::string& ns) {
  OutMessage out = outgoing(reply.event, reply.structured, to);
  add_passing(out, reply);
  if (!ns.empty()) out.headers.set("Kn-Namespace", ns);
  return out;
}

Failure failure_of(const std::string& url, const Answer& answer) {
  Failure out{url, answer.status, {}};
  if (answer.status != 0) {
    // Three bytes are four characters.
    out.data = hash::base64(std::string_view(answer.body).substr(0, kMaxErrorData));
    if (out.data.size() > kMaxErrorData) out.data.resize(kMaxErrorData);
  }
  return out;
}

OutMessage dead_letter_message(const StoredEvent& event, const Failure& failure, const Endpoint& to,
                               Format format, const std::string& ns) {
  Event sent = event.event;
  sent.erase_extension(kTtlAttribute);
  sent.set_extension("knativeerrordest", failure.dest);
  if (failure.code != 0) {
    sent.set_extension("knativeerrorcode", std::to_string(failure.code), ValueType::Integer);
  }
  if (!failure.data.empty()) sent.set_extension("knativeerrordata", failure.data);
  OutMessage out = outgoing(sent, wants_structured(event, format), to);
  add_passing(out, event);
  if (!ns.empty()) out.headers.set("Kn-Namespace", ns);
  return out;
}

Result<std::optional<StoredEvent>> reply_in(const Answer& answer, bool strict,
                                            const StoredEvent& original, const Limits& limits) {
  // DIFFERS: upstream takes an event in a 202 for a reply; the specification forbids it.
  if (answer.status == 202) return std::optional<StoredEvent>();
  if (!carries_event(answer.headers)) {
    if (strict && !answer.body.empty()) {
      return Error(Code::InvalidArgument,
                   "received a non-empty response not recognized as CloudEvent. The response MUST "
                   "be either empty or a valid CloudEvent");
    }
    return std::optional<StoredEvent>();
  }
  KNIT_TRY(auto events, from_http(answer.headers, answer.body, limits));
  if (events.size() != 1) {
    return Error(Code::InvalidArgument,
                 "a reply is one event, not " + std::to_string(events.size()));
  }
  StoredEvent out;
  out.event = std::move(events.front());
  out.structured = mode_of(answer.headers) != Mode::Binary;
  const http::Headers passing = pass_through(answer.headers);
  for (const auto& [name, value] : passing.fields()) out.headers.push_back({name, value});
  // The chain of replies uses up one TTL, whatever the subscriber says.
  out.event.erase_extension(kTtlAttribute);
  if (const auto ttl = ttl_of(original.event)) {
    out.event.set_extension(kTtlAttribute, std::to_string(*ttl), ValueType::Integer);
  }
  return std::optional(std::move(out));
}

bool arrive(Event& event, WallTime now, std::int32_t max_ttl) {
  const auto ttl = ttl_of(event);
  if (ttl && *ttl <= 1) return false;
  const std::int32_t left = ttl ? std::min(*ttl, max_ttl) - 1 : max_ttl;
  event.set_extension(kTtlAttribute, std::to_string(left), ValueType::Integer);
  event.set_extension(kArrivalAttribute, rfc3339_fraction(now, 9));
  return true;
}

}  // namespace knit::events
