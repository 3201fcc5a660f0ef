// What goes out and what comes back: stored events to requests, answers to replies, dead letters.
// Source: spec/eventing.md 2.2 (answers of subscribers), 2.3, 2.6.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "events/delivery/policy.h"
#include "events/model/event.h"
#include "http/message.h"

namespace knit::events {

inline constexpr std::string_view kTtlAttribute = "knativebrokerttl";
inline constexpr std::string_view kArrivalAttribute = "knativearrivaltime";

/// An accepted event as the log has it.
struct StoredEvent {
  struct Header {
    std::string name, value;
    template <class V, class S>
    static void fields(V& v, S& s) {
      v(1, s.name);
      v(2, s.value);
    }
  };
  Event event;
  std::vector<Header> headers;  // that pass through (passes_through())
  bool structured = false;      // it came so

  template <class V, class S>
  static void fields(V& v, S& s) {
    v(1, s.event);
    v(2, s.headers);
    v(3, s.structured);
  }
};

struct Endpoint {
  std::string url;
  std::string ca_certs;
  std::string audience;
  std::string role = {};  // of the host's, that sends; the engine only hands it on
  bool operator==(const Endpoint&) const = default;
};

/// A request for a Sender.
struct OutMessage {
  Endpoint to;
  http::Headers headers;
  std::string body;
};

/// What a request came to. `status` 0: no answer, `error` says why.
struct Answer {
  int status = 0;
  http::Headers headers;
  std::string body;
  std::string error;
};

/// To a subscriber: without the broker's TTL, `Prefer: reply`, Kn-Namespace.
OutMessage subscriber_message(const StoredEvent& event, const Endpoint& to, Format format,
                              const std::string& ns);
/// A reply on its way: what passes through of the answer's headers, Kn-Namespace.
OutMessage reply_message(const StoredEvent& reply, const Endpoint& to, const std::string& ns);

/// What a failed delivery leaves for its dead letter.
struct Failure {
  std::string dest;  // the URL tried
  int code = 0;      // 0: no answer
  std::string data;  // base64 of the answer's body, at most 1024 characters

  bool operator==(const Failure&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(1, s.dest);
    v(2, s.code);
    v(3, s.data);
  }
};
Failure failure_of(const std::string& url, const Answer& answer);
/// With knativeerrordest, knativeerrorcode and knativeerrordata.
OutMessage dead_letter_message(const StoredEvent& event, const Failure& failure, const Endpoint& to,
                               Format format, const std::string& ns);

/// The reply in a delivered answer: nothing in a 202, whatever it carries, or without an event. An
/// answer whose event is malformed is an error, and so is, with `strict` (brokers), a body that is
/// no event. `original` gives the TTL.
Result<std::optional<StoredEvent>> reply_in(const Answer& answer, bool strict,
                                            const StoredEvent& original, const Limits& limits);

/// Ingress: sets the arrival time and takes one from the TTL. False when it is used up.
bool arrive(Event& event, WallTime now, std::int32_t max_ttl = 255);

}  // namespace knit::events
