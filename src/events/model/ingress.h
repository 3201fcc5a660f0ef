// What an event ingress answers, and which headers pass: tables without I/O.
// Source: spec/eventing.md 2.1, 2.2, 2.3 (columns MT broker and IMC, changed as 7.1 says).
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"
#include "http/message.h"

namespace knit::events {

/// Broker: mt-broker-ingress, /<ns>/<broker>. ChannelByHost: imc-dispatcher, the host decides and
/// the path is "/". ChannelByPath: imc-dispatcher with TLS, /<ns>/<channel>.
enum class Door { Broker, ChannelByHost, ChannelByPath };

enum class Outcome {
  Accepted,  // on the disk
  Healthy,   // a probe of /healthz or /readyz
  Options,
  WrongMethod,
  RootPath,  // "/" where a path decides
  WrongPath,
  NotAnEvent,
  UnknownTarget,  // no such broker or channel
  TtlExhausted,   // knativebrokerttl
  NoBackend,      // the broker has no channel yet
  StoreFailed,    // the log could not write
  BackPressure,   // the log is full; with Retry-After
  Unauthenticated,
  Forbidden,
  TooLarge,
};

/// The answer for an outcome. `text` is the sentence for the sender (empty: the outcome's own);
/// `retry_after` is told in whole seconds, rounded up, for BackPressure only.
http::Response answer(Outcome outcome, std::string_view text = {},
                      Duration retry_after = std::chrono::seconds(1));

/// The outcome of an Error of from_http() or of the log.
Outcome outcome_of(const Error& error);

struct Target {
  std::string ns;
  std::string name;
  bool operator==(const Target&) const = default;
};
struct Address {
  Outcome outcome = Outcome::Accepted;  // Accepted: `target` is set, read the body
  Target target;
};
/// Judges method and path (and, ChannelByHost, the Host header: <channel>-kn-channel.<ns>.svc…)
/// before any body is read.
Address address_of(Door door, std::string_view method, std::string_view path,
                   std::string_view host);

/// True for the headers that pass through the data plane besides ce-* and content-type:
/// traceparent, tracestate, b3, x-b3-*, x-request-id, knative-*, retry-after.
bool passes_through(std::string_view header);
/// The headers of `from` that pass.
http::Headers pass_through(const http::Headers& from);

}  // namespace knit::events
