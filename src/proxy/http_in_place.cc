// Requests that a sidecar's or queue-proxy's own ports answer themselves.
#include "proxy/http_session.h"
#include "proxy/worker.h"

namespace knit::proxy {

using http::h1::Framing;

/// Probes and queue-proxy's own ports. Source: spec/serving.md 5.1, 5.3.
bool HttpSession::answer_in_place(const http::h1::Head& head) {
  if (context_.listener != HttpContext::Listener::Inbound) return false;
  const auto* w = x_.tables->workloads.find(context_.target);
  if (!w) return false;
  if (sidecar_admin_port(*w, context_.port)) return sidecar_admin(head);
  if (!w->revision.empty() &&
      (context_.port == 8022 || context_.port == 9090 || context_.port == 9091)) {
    return queue_admin(head);
  }
  const bool activator = w->role == pc::Role::Activator;
  if (activator && context_.port == 9090) {
    return metrics_page(head.path.substr(0, head.path.find('?')) == "/metrics",
                        AdminPage::Activator);
  }
  if (!activator && !queue_proxy_port(*w, context_.port)) return false;
  const auto* probe = head.find("k-network-probe");
  const auto* agent = head.find("user-agent");
  const bool kubelet = agent && agent->starts_with("kube-probe/");
  if (!probe && !kubelet) return false;
  const std::string value = probe ? std::string(*probe) : "";
  if (value == "probe") {
    const auto* hash = head.find("k-network-hash");
    if (!hash) {
      reply(400, "a probe request must contain a non-empty \"K-Network-Hash\" header", "-",
            "direct_response");
      return true;
    }
    std::string out;
    http::h1::write_status_line(out, 200);
    http::h1::write_field(out, "K-Network-Hash", *hash);
    http::h1::write_field(out, "Content-Length", "0");
    http::h1::write_end_of_head(out);
    x_.status = 200;
    x_.response_started = true;
    down_->write(out);
    x_.request_done = head.framing == Framing::None;
    x_.response_done = true;
    finish_exchange();
    return true;
  }
  if (activator && (kubelet || value == "activator")) {
    reply(200, kubelet ? "" : "activator", "-", "direct_response");
    return true;
  }
  if (!activator && (value == "queue" || kubelet)) {
    if (w->terminating) {
      reply(503, "shutting down", "-", "direct_response");
    } else if (worker_.shared().gate(w->revision)->usable(context_.target)) {
      reply(200, "queue", "-", "direct_response");
    } else {
      reply(503, "", "-", "direct_response");
    }
    return true;
  }
  reply(400, "unexpected probe header value: \"" + value + "\"", "-", "direct_response");
  return true;
}

bool HttpSession::queue_admin(const http::h1::Head& head) {
  const std::string_view path = head.path.substr(0, head.path.find('?'));
  if (context_.port == 8022) {
    if (path != "/wait-for-drain" && path != "/drain") {
      reply(404, "404 page not found\n", "-", "direct_response");
      return true;
    }
    const auto* w = x_.tables->workloads.find(context_.target);
    // Waits until no request runs at this pod; the timer looks again (on_timer).
    if (w && worker_.shared().gate(w->revision)->pod_in_flight(context_.target) == 0) {
      reply(200, "", "-", "direct_response");
    } else {
      state_ = State::Waiting;
      x_.details = "wait_for_drain";
      x_.request_done = head.framing == Framing::None;
    }
    return true;
  }
  return metrics_page(path == "/metrics", AdminPage::QueueProxy);
}

bool HttpSession::metrics_page(bool known_path, AdminPage page) {
  if (known_path && worker_.shared().admin_page) {
    reply(200, worker_.shared().admin_page(context_.target, page, *x_.tables), "-",
          "direct_response");
  } else {
    reply(404, "404 page not found\n", "-", "direct_response");
  }
  return true;
}

/// A sidecar's own ports. Source: spec/mesh.md 2.13, istio pkg/cmd pilot-agent status server.
bool HttpSession::sidecar_admin(const http::h1::Head& head) {
  const std::string_view path = head.path.substr(0, head.path.find('?'));
  if (path == "/healthz/ready" && context_.port != 15090) {
    reply(200, "", "-", "direct_response");
    return true;
  }
  return metrics_page(path == "/stats/prometheus" && context_.port != 15021, AdminPage::Sidecar);
}

}  // namespace knit::proxy
