#include "events/model/ingress.h"

#include <algorithm>

namespace knit::events {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

struct Row {
  int status;
  std::string_view text;
};

Row row(Outcome outcome) {
  switch (outcome) {
    case Outcome::Accepted:
      return {202, ""};
    case Outcome::Healthy:
      return {200, ""};
    case Outcome::Options:
      return {200, ""};
    case Outcome::WrongMethod:
      return {405, "events are sent with POST"};
    case Outcome::RootPath:
      return {404, "the path is /<namespace>/<name>"};
    case Outcome::WrongPath:
      return {400, "the path is /<namespace>/<name>"};
    case Outcome::NotAnEvent:
      return {400, "the request is not a CloudEvent"};
    // DIFFERS: IMC's multi-channel handler answers 500; knative/specs asks for 404 (spec 7.1).
    case Outcome::UnknownTarget:
      return {404, "no such broker or channel"};
    case Outcome::TtlExhausted:
      return {400, "the event has passed too many brokers (knativebrokerttl)"};
    case Outcome::NoBackend:
      return {500, "the broker has no channel address yet"};
    case Outcome::StoreFailed:
      return {500, "the event could not be stored"};
    // DIFFERS: upstream's queues are unbounded (spec 7.1, back pressure).
    case Outcome::BackPressure:
      return {503, "the event log is full for now"};
    case Outcome::Unauthenticated:
      return {401, "no valid token for this audience"};
    case Outcome::Forbidden:
      return {403, "no EventPolicy allows this sender"};
    // DIFFERS: upstream knows no limit (spec 7.1, 413 with a clear limit).
    case Outcome::TooLarge:
      return {413, "the event is too large"};
  }
  return {500, ""};
}

bool dns_label(std::string_view text) {
  return !text.empty() && text.size() <= 253 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
  });
}

}  // namespace

http::Response answer(Outcome outcome, std::string_view text, Duration retry_after) {
  const Row r = row(outcome);
  http::Response out;
  out.status = r.status;
  if (outcome == Outcome::Options) {
    out.headers = {
        {"Allow", "POST, OPTIONS"}, {"WebHook-Allowed-Origin", "*"}, {"WebHook-Allowed-Rate", "*"}};
    return out;
  }
  if (outcome == Outcome::WrongMethod) out.headers.add("Allow", "POST, OPTIONS");
  if (outcome == Outcome::BackPressure) {
    const auto seconds =
        (std::max<std::int64_t>(retry_after.count(), 1) + 999'999'999) / 1'000'000'000;
    out.headers.add("Retry-After", std::to_string(seconds));
  }
  if (r.status >= 400) {
    out.headers.add("content-type", "text/plain; charset=utf-8");
    out.body = text.empty() ? r.text : text;
    out.body += '\n';
  }
  return out;
}

Outcome outcome_of(const Error& error) {
  switch (error.code()) {
    case Code::InvalidArgument:
    case Code::Unsupported:
      return Outcome::NotAnEvent;
    case Code::ResourceExhausted:
      return Outcome::TooLarge;
    case Code::Unavailable:
      return Outcome::BackPressure;
    case Code::NotFound:
      return Outcome::UnknownTarget;
    case Code::PermissionDenied:
      return Outcome::Forbidden;
    case Code::Unauthenticated:
      return Outcome::Unauthenticated;
    default:
      return Outcome::StoreFailed;
  }
}

Address address_of(Door door, std::string_view method, std::string_view path,
                   std::string_view host) {
  if (method == "GET" && (path == "/healthz" || (door != Door::Broker && path == "/readyz"))) {
    return {Outcome::Healthy, {}};
  }
  if (method == "OPTIONS") return {Outcome::Options, {}};
  if (method != "POST") return {Outcome::WrongMethod, {}};
  if (door == Door::ChannelByHost) {
    if (path != "/" && !path.empty()) return {Outcome::WrongPath, {}};
    std::string name = lower(host.substr(0, host.find(':')));
    const auto dot = name.find('.');
    constexpr std::string_view kSuffix = "-kn-channel";
    if (dot == std::string::npos) return {Outcome::UnknownTarget, {}};
    std::string_view service(name.data(), dot);
    const std::string_view rest = std::string_view(name).substr(dot + 1);
    const std::string_view ns = rest.substr(0, rest.find('.'));
    if (!service.ends_with(kSuffix) || ns.empty()) return {Outcome::UnknownTarget, {}};
    service.remove_suffix(kSuffix.size());
    if (!dns_label(service) || !dns_label(ns)) return {Outcome::UnknownTarget, {}};
    return {Outcome::Accepted, {std::string(ns), std::string(service)}};
  }
  if (path == "/" || path.empty()) {
    return {door == Door::Broker ? Outcome::RootPath : Outcome::WrongPath, {}};
  }
  const std::string_view rest = path.substr(1);
  const auto slash = rest.find('/');
  if (path.front() != '/' || slash == std::string_view::npos) return {Outcome::WrongPath, {}};
  const std::string_view ns = rest.substr(0, slash), name = rest.substr(slash + 1);
  if (!dns_label(ns) || !dns_label(name)) return {Outcome::WrongPath, {}};
  return {Outcome::Accepted, {std::string(ns), std::string(name)}};
}

bool passes_through(std::string_view header) {
  const std::string name = lower(header);
  for (const std::string_view one :
       {"traceparent", "tracestate", "b3", "x-request-id", "retry-after"}) {
    if (name == one) return true;
  }
  return name.starts_with("x-b3-") || name.starts_with("knative-");
}

http::Headers pass_through(const http::Headers& from) {
  http::Headers out;
  for (const auto& [name, value] : from.fields()) {
    if (passes_through(name)) out.add(name, value);
  }
  return out;
}

}  // namespace knit::events
