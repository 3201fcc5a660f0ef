#include "mesh_model/views.h"

#include <algorithm>

namespace knit::mesh_model {
namespace {

std::string text(const Json& j, json::Path path) { return std::string(json::str(j, path)); }

std::uint16_t port_number(std::int64_t n) {
  return n > 0 && n <= 65535 ? static_cast<std::uint16_t>(n) : std::uint16_t{0};
}

Labels string_map(const Json& j, json::Path path) {
  Labels out;
  for (auto& [k, v] : json::string_map(j, path)) out.emplace(std::move(k), std::move(v));
  return out;
}

/// Source: istio pilot/pkg/model/gateway.go sanitizeServerHostNamespace
std::string sanitise(std::string_view host, const std::string& ns) {
  if (host.starts_with("./")) return ns + std::string(host.substr(1));
  if (host.starts_with("*/")) return std::string(host.substr(2));
  return std::string(host);
}

TlsMode tls_mode(std::string_view mode) {
  if (mode == "SIMPLE") return TlsMode::Simple;
  if (mode == "MUTUAL") return TlsMode::Mutual;
  if (mode == "AUTO_PASSTHROUGH") return TlsMode::AutoPassthrough;
  if (mode == "ISTIO_MUTUAL") return TlsMode::IstioMutual;
  if (mode == "OPTIONAL_MUTUAL") return TlsMode::OptionalMutual;
  return TlsMode::Passthrough;  // the enum's zero value
}

}  // namespace

bool selects(const Labels& selector, const Labels& labels) {
  return std::all_of(selector.begin(), selector.end(), [&](const auto& kv) {
    const auto it = labels.find(kv.first);
    return it != labels.end() && it->second == kv.second;
  });
}

Labels labels_of(const Json& object) { return string_map(object, {"metadata", "labels"}); }

WallTime created_of(const Json& object) {
  const auto t = parse_rfc3339(json::str(object, {"metadata", "creationTimestamp"}));
  return t ? *t : WallTime{};
}

GatewayView decode_gateway(const Json& gateway) {
  GatewayView out;
  out.ns = text(gateway, {"metadata", "namespace"});
  out.name = text(gateway, {"metadata", "name"});
  out.created = created_of(gateway);
  out.selector = string_map(gateway, {"spec", "selector"});
  for (const Json& s : json::array(gateway, {"spec", "servers"})) {
    GatewayServer server;
    server.port = static_cast<std::uint32_t>(
        std::clamp<std::int64_t>(json::i64(s, {"port", "number"}), 0, 65535));
    server.port_name = text(s, {"port", "name"});
    server.protocol = text(s, {"port", "protocol"});
    std::transform(server.protocol.begin(), server.protocol.end(), server.protocol.begin(),
                   [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; });
    server.bind = text(s, {"bind"});
    for (const Json& host : json::array(s, {"hosts"})) {
      if (host.is_string()) server.hosts.push_back(sanitise(host.get_string(), out.ns));
    }
    if (const Json* tls = json::find(s, "tls"); tls != nullptr && tls->is_object()) {
      server.has_tls = true;
      server.tls = tls_mode(json::str(*tls, {"mode"}));
      server.credential = text(*tls, {"credentialName"});
      server.https_redirect = json::boolean(*tls, {"httpsRedirect"});
    }
    out.servers.push_back(std::move(server));
  }
  return out;
}

ServiceView decode_service(const Json& service) {
  ServiceView out;
  out.ns = text(service, {"metadata", "namespace"});
  out.name = text(service, {"metadata", "name"});
  out.type = std::string(json::str(service, {"spec", "type"}, "ClusterIP"));
  out.created = created_of(service);
  out.labels = labels_of(service);
  out.selector = string_map(service, {"spec", "selector"});
  out.external_name = text(service, {"spec", "externalName"});
  for (const Json& p : json::array(service, {"spec", "ports"})) {
    ServicePortView port;
    port.port = port_number(json::i64(p, {"port"}));
    port.name = text(p, {"name"});
    port.protocol = std::string(json::str(p, {"protocol"}, "TCP"));
    port.app_protocol = text(p, {"appProtocol"});
    const Json* target = json::find(p, "targetPort");
    if (target != nullptr && target->is_string()) {
      port.target_name = std::string(target->get_string());
    } else {
      port.target_port = port_number(json::i64(p, {"targetPort"}));
      if (port.target_port == 0) port.target_port = port.port;
    }
    out.ports.push_back(std::move(port));
  }
  const auto add_ip = [&](std::string_view ip) {
    if (!ip.empty() && ip != "None" &&
        std::find(out.cluster_ips.begin(), out.cluster_ips.end(), ip) == out.cluster_ips.end()) {
      out.cluster_ips.emplace_back(ip);
    }
  };
  add_ip(json::str(service, {"spec", "clusterIP"}));
  for (const Json& ip : json::array(service, {"spec", "clusterIPs"})) {
    if (ip.is_string()) add_ip(ip.get_string());
  }
  return out;
}

PodView decode_pod(const Json& pod) {
  PodView out;
  out.ns = text(pod, {"metadata", "namespace"});
  out.name = text(pod, {"metadata", "name"});
  out.uid = text(pod, {"metadata", "uid"});
  out.labels = labels_of(pod);
  for (const Json& c : json::array(pod, {"spec", "containers"})) {
    for (const Json& p : json::array(c, {"ports"})) {
      if (const auto name = json::str(p, {"name"}); !name.empty()) {
        out.named_ports.emplace(name, port_number(json::i64(p, {"containerPort"})));
      }
    }
  }
  return out;
}

}  // namespace knit::mesh_model
