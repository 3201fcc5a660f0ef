#include <fmt/format.h>

#include "base/random.h"
#include "proxy/exchange.h"

namespace knit::proxy {
namespace {

using http::h1::Field;
using http::h1::iequals;

bool starts_with_nocase(std::string_view s, std::string_view prefix) {
  return s.size() >= prefix.size() && iequals(s.substr(0, prefix.size()), prefix);
}

/// As CGI and its heirs read names: without case, "_" for "-". `plain` is lower-case with "-".
bool starts_as(std::string_view s, std::string_view plain) {
  if (s.size() < plain.size()) return false;
  for (std::size_t i = 0; i < plain.size(); ++i) {
    const char c = s[i] == '_'                  ? '-'
                   : s[i] >= 'A' && s[i] <= 'Z' ? static_cast<char>(s[i] + 32)
                                                : s[i];
    if (c != plain[i]) return false;
  }
  return true;
}
bool same(std::string_view s, std::string_view plain) {
  return s.size() == plain.size() && starts_as(s, plain);
}

/// Named by Connection: not forwarded. Those that we set are written afterwards and stay.
bool named_by_connection(const http::h1::Head& head, std::string_view name) {
  for (const Field& f : head.fields) {
    if (iequals(f.name, "connection") && http::h1::has_token(f.value, name)) return true;
  }
  return false;
}

bool is_set(const Decision& d, std::string_view name) {
  for (const auto& [n, v] : d.set_headers) {
    if (iequals(n, name)) return true;
  }
  return false;
}

/// RFC 7239 from X-Forwarded-*. Source: knative pkg/queue/forwarded_shim.go: the first element
/// carries host and proto.
std::string forwarded_shim(std::string_view xff, std::string_view xfp, std::string_view xfh) {
  std::string out;
  const auto pair = [&](std::string_view key, std::string_view value) {
    if (value.empty()) return;
    if (!out.empty() && out.back() != ' ') out += ';';
    out += key;
    out += '=';
    out += value;
  };
  bool first = true;
  std::string_view rest = xff;
  do {
    const auto comma = rest.find(',');
    std::string_view one = rest.substr(0, comma);
    while (!one.empty() && one.front() == ' ') one.remove_prefix(1);
    while (!one.empty() && one.back() == ' ') one.remove_suffix(1);
    if (!first) out += ", ";
    if (!one.empty()) {
      pair("for", one.find(':') == std::string_view::npos ? std::string(one)
                                                          : "\"[" + std::string(one) + "]\"");
    }
    if (first) {
      pair("host", xfh);
      pair("proto", xfp);
    }
    first = false;
    rest = comma == std::string_view::npos ? std::string_view{} : rest.substr(comma + 1);
  } while (!rest.empty());
  return out;
}

}  // namespace

std::string join_lines(const http::h1::Head& head, std::string_view name,
                       std::string_view delimiter) {
  std::string out;
  for (const Field& f : head.fields) {
    if (f.value.empty() || !iequals(f.name, name)) continue;
    if (!out.empty()) out += delimiter;
    out += f.value;
  }
  return out;
}

bool untrusted_header(std::string_view name) {
  if (starts_as(name, "k-") || starts_as(name, "knative-serving-") || starts_as(name, "x-envoy-") ||
      same(name, "kn-namespace") || same(name, "x-forwarded-client-cert")) {
    return true;
  }
  // Whoever takes "_" for "-" would see a second one of those that we set.
  return name.find('_') != std::string_view::npos &&
         (starts_as(name, "x-forwarded-") || same(name, "x-request-id") ||
          starts_as(name, "x-ssl"));
}

bool wants_trailers(const http::h1::Head& head) {
  for (const Field& f : head.fields) {
    if (iequals(f.name, "te") && http::h1::has_token(f.value, "trailers")) return true;
  }
  return false;
}

std::vector<Field> passing_trailers(const std::vector<Field>& trailers) {
  std::vector<Field> out;
  for (const Field& f : trailers) {
    const bool ours = starts_as(f.name, "x-forwarded-") || same(f.name, "x-request-id");
    if (!ours && !untrusted_header(f.name) && !http::h1::hop_by_hop(f.name)) out.push_back(f);
  }
  return out;
}

std::string request_id_of(const http::h1::Head& head, const Decision& d, Random& random) {
  if (!d.edge) {
    if (const auto* id = head.find("x-request-id"); id && !id->empty() && id->size() <= 200) {
      return std::string(*id);
    }
  }
  return random.uuid();
}

void write_upstream_head(std::string& out, const HeadInputs& in) {
  const http::h1::Head& head = *in.head;
  const HttpContext& c = *in.context;
  const Decision& d = *in.decision;
  http::h1::write_request_line(out, head.method, head.path.empty() ? "/" : head.path);
  std::string_view host = d.rewrite_authority.empty() ? head.authority : d.rewrite_authority;
  http::h1::write_field(out, "Host", host.empty() ? std::string_view(d.ip) : host);  // HTTP/1.0
  std::string_view xfp, xfh;
  std::string all_xff;
  bool forwarded = false;
  for (const Field& f : head.fields) {
    if (iequals(f.name, "host") || iequals(f.name, "content-length") ||
        http::h1::hop_by_hop(f.name) ||
        (untrusted_header(f.name) && !(c.caller.built_in && iequals(f.name, "kn-namespace"))) ||
        iequals(f.name, "http2-settings") || iequals(f.name, "proxy") ||
        starts_with_nocase(f.name, "x-ssl")) {
      continue;
    }
    if (iequals(f.name, "x-forwarded-for")) {
      if (f.value.empty()) continue;
      if (!all_xff.empty()) all_xff += ", ";
      all_xff += f.value;
      continue;
    }
    if (iequals(f.name, "x-request-id")) continue;
    if (iequals(f.name, "x-forwarded-proto")) {
      if (xfp.empty()) xfp = f.value;  // no list: the first one counts, as for Go's Header.Get
      continue;
    }
    if (iequals(f.name, "x-forwarded-host")) xfh = xfh.empty() ? f.value : xfh;
    if (iequals(f.name, "forwarded")) forwarded = true;
    if (is_set(d, f.name) || named_by_connection(head, f.name)) continue;
    http::h1::write_field(out, f.name, f.value);
  }
  // Trailers pass only where both sides asked for them; gRPC needs HTTP/2 anyway.
  if (wants_trailers(head)) {
    http::h1::write_field(out, "TE", "trailers");
    http::h1::write_field(out, "Connection", "TE");
  }
  std::string proto(xfp);
  if (d.edge) {
    if (!all_xff.empty()) all_xff += ", ";
    all_xff += c.caller.remote_ip;
    proto = c.tls ? "https" : "http";
  } else if (proto.empty()) {
    proto = c.tls && c.listener == HttpContext::Listener::Gateway ? "https" : "http";
  }
  if (!all_xff.empty()) http::h1::write_field(out, "X-Forwarded-For", all_xff);
  if (d.edge || d.mesh_response || !xfp.empty()) {
    http::h1::write_field(out, "X-Forwarded-Proto", proto);
  }
  http::h1::write_field(out, "X-Request-Id", in.request_id);
  if (d.edge) http::h1::write_field(out, "X-Envoy-External-Address", c.caller.remote_ip);
  if (!d.xfcc.empty()) http::h1::write_field(out, "X-Forwarded-Client-Cert", d.xfcc);
  for (const auto& [name, value] : d.set_headers) {
    // Activator and queue-proxy take these off again (spec/serving.md 5.2).
    if (d.queue_proxy && starts_with_nocase(name, "knative-serving-")) continue;
    if (iequals(name, "host") || iequals(name, ":authority")) continue;
    http::h1::write_field(out, name, value);
  }
  if (d.via_activator) http::h1::write_field(out, "K-Proxy-Request", "activator");
  if (d.queue_proxy && !forwarded && (!all_xff.empty() || !proto.empty() || !xfh.empty())) {
    http::h1::write_field(out, "Forwarded", forwarded_shim(all_xff, proto, xfh));
  }
  switch (head.framing) {
    case http::h1::Framing::Length:
      http::h1::write_field(out, "Content-Length", head.length);
      break;
    case http::h1::Framing::Chunked:
      http::h1::write_field(out, "Transfer-Encoding", "chunked");
      break;
    default:
      // RFC 9110 8.6: a method with a meaning for content says that there is none.
      if (head.method == "POST" || head.method == "PUT" || head.method == "PATCH") {
        http::h1::write_field(out, "Content-Length", "0");
      }
      break;
  }
  http::h1::write_end_of_head(out);
}

void write_downstream_head(std::string& out, const http::h1::Head& head,
                           const ResponseHeadOptions& o) {
  http::h1::write_status_line(out, head.status, head.reason);
  bool length_seen = false;
  for (const Field& f : head.fields) {
    if (http::h1::hop_by_hop(f.name) || starts_with_nocase(f.name, "x-envoy-") ||
        starts_with_nocase(f.name, "k-network-")) {
      continue;
    }
    if (iequals(f.name, "content-length")) {
      if (o.chunked || head.status == 204 || head.status < 200) continue;
      length_seen = true;
      // Normalised where it frames the body; of HEAD and 304 it only tells.
      if (head.framing == http::h1::Framing::Length) {
        http::h1::write_field(out, "Content-Length", head.length);
        continue;
      }
    }
    if (o.mesh && iequals(f.name, "server")) continue;
    if (named_by_connection(head, f.name)) continue;
    http::h1::write_field(out, f.name, f.value);
  }
  if (head.framing == http::h1::Framing::Length && !length_seen) {
    http::h1::write_field(out, "Content-Length", head.length);
  }
  if (o.chunked) http::h1::write_field(out, "Transfer-Encoding", "chunked");
  if (o.mesh && head.status >= 200) {
    http::h1::write_field(out, "X-Envoy-Upstream-Service-Time",
                          static_cast<std::uint64_t>(o.upstream_time.count() / 1'000'000));
    http::h1::write_field(out, "Server", "istio-envoy");
  }
  if (o.close) http::h1::write_field(out, "Connection", "close");
  http::h1::write_end_of_head(out);
}

std::string local_reply(int status, std::string_view body, std::string_view method,
                        std::string_view location, bool close, bool mesh, bool retry_after) {
  std::string out;
  http::h1::write_status_line(out, status);
  if (!location.empty()) http::h1::write_field(out, "Location", location);
  if (!body.empty()) http::h1::write_field(out, "Content-Type", "text/plain");
  http::h1::write_field(out, "Content-Length", body.size());
  if (retry_after) http::h1::write_field(out, "Retry-After", "1");
  if (mesh) http::h1::write_field(out, "Server", "istio-envoy");
  if (close) http::h1::write_field(out, "Connection", "close");
  http::h1::write_end_of_head(out);
  if (method != "HEAD") out += body;
  return out;
}

std::string unavailable_page() {
  return "HTTP/1.0 503 Service Unavailable\r\n"
         "Pragma: no-cache\r\n"
         "Cache-Control: private, max-age=0, no-cache, no-store\r\n"
         "Connection: close\r\n"
         "Content-Type: text/html\r\n\r\n"
         "<!DOCTYPE html>\n<html>\n<head><title>Application is not available</title></head>\n"
         "<body>\n<h1>Application is not available</h1>\n"
         "<p>The application is currently not serving requests at this endpoint. It may not have "
         "been started or is still starting.</p>\n"
         "<p>Possible reasons: the host does not exist (check the spelling of the host name), the "
         "Route is not admitted, or no pod of its Service is ready.</p>\n"
         "</body>\n</html>\n";
}

}  // namespace knit::proxy
