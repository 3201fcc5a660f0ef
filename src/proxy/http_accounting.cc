// The end of an exchange: its slot is given back, it is counted, its log lines are written.
#include "proxy/http_session.h"
#include "proxy/worker.h"

namespace knit::proxy {

using http::h1::Framing;

void HttpSession::end_exchange() {
  if (!x_.active) return;
  x_.active = false;
  x_.token.reset();
  socket_wait_.cancel();
  const Instant now = worker_.loop().now();
  if (x_.gate) {
    if (!x_.granted.empty()) {
      x_.gate->release(now, x_.granted);
    } else if (x_.ticket != 0) {
      x_.gate->cancel(now, x_.ticket);  // granted meanwhile: `resume` sees the dead token
    }
    x_.gate.reset();
  }
  if (context_.listener == HttpContext::Listener::Inbound &&
      x_.decision.kind == Decision::Kind::Reply && x_.decision.status == 0) {
    return;  // probes and admin pages are not traffic
  }
  const http::h1::Head& head = request_.head();
  AccessRecord r;
  r.start = x_.wall_started;
  r.method = x_.method;
  if (!x_.method.empty()) {
    r.path = head.path;
    r.authority = head.authority;
    if (const auto* agent = head.find("user-agent")) r.user_agent = *agent;
    r.forwarded_for = join_lines(head, "x-forwarded-for");
  }
  r.request_id = x_.request_id;
  r.status = x_.status;
  r.flags = x_.flags;
  r.details = x_.details;
  r.minor = head.minor;
  r.bytes_received = x_.body_in;
  r.bytes_sent = x_.body_out;
  r.duration = now - x_.started;
  r.upstream_time = x_.upstream_time;
  r.answered_upstream = x_.upstream_time.count() > 0;
  const Decision& d = x_.decision;
  if (!d.ip.empty()) r.upstream = d.ip + ":" + std::to_string(d.port);
  r.upstream_port = d.port;
  r.service_port = d.service_port;
  r.downstream_remote =
      context_.caller.remote_ip + ":" + std::to_string(context_.caller.remote_port);
  if (!context_.ip.empty()) r.downstream_local = context_.ip + ":" + std::to_string(context_.port);
  r.sni = context_.sni;
  r.mtls = d.mtls;
  r.destination_service = d.service;
  if (!x_.tables) return;
  const bool from_pod = context_.listener == HttpContext::Listener::Outbound;
  const bool at_gateway = context_.listener == HttpContext::Listener::Gateway;
  using Role = Worker::Hop::Role;
  // Each sidecar and gateway that upstream's road has.
  worker_.record(
      r,
      {{from_pod ? std::string_view(context_.caller.uid) : std::string_view(), Role::Sender},
       {at_gateway ? context_.target : d.gateway_uid, Role::Sender},
       {d.via_activator ? std::string_view(d.sender_uid) : std::string_view(), Role::Both},
       {d.uid, Role::Receiver}},
      *x_.tables);
  if (d.queue_proxy && x_.revision) {
    if (const auto* w = x_.tables->workloads.find(d.uid)) {
      worker_.metrics().count_invocation(d.uid, *w, d.revision, *x_.revision, r.status, r.duration);
    }
  }
  if (d.queue_proxy && x_.revision && !x_.revision->request_log_template.empty()) log_request(r);
}

/// queue-proxy's. Source: spec/serving.md 5.6, 5.7.
void HttpSession::log_request(const AccessRecord& record) {
  const auto* w = x_.tables->workloads.find(x_.decision.uid);
  if (!w) return;
  const http::h1::Head& head = request_.head();
  const std::string& full = x_.decision.revision;
  const auto slash = full.find('/');
  const auto find = [&head](std::string_view name) {
    const auto* value = head.find(name);
    return value ? std::string_view(*value) : std::string_view();
  };
  const RequestLogInput in{.record = &record,
                           .referer = find("referer"),
                           .host = head.authority,
                           .remote_address = record.downstream_remote,
                           .content_length = head.framing == Framing::Chunked
                                                 ? -1
                                                 : static_cast<std::int64_t>(head.length),
                           .revision = std::string_view(full).substr(slash + 1),
                           .ns = w->ns,
                           .service = x_.revision->service,
                           .configuration = x_.revision->configuration,
                           .pod_name = w->name,
                           .pod_ip = w->ip,
                           .header = find};
  auto line = request_log_line(x_.revision->request_log_template, in);
  worker_.access_log().add(x_.decision.uid, "queue-proxy", [&](std::string& out) {
    out += line ? *line : "request log: " + line.error().message() + "\n";
  });
}

}  // namespace knit::proxy
