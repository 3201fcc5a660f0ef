#include "mesh_model/protocol.h"

#include <algorithm>
#include <cstdint>

namespace knit::mesh_model {
namespace {

std::string lower(std::string_view s) {
  std::string out(s);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return out;
}

PortProtocol parse(std::string_view name) {
  if (name == "http" || name == "kubernetes.io/ws" || name == "http_proxy") {
    return PortProtocol::Http;
  }
  if (name == "http2" || name == "grpc" || name == "grpc-web" || name == "kubernetes.io/h2c") {
    return PortProtocol::Http2;
  }
  if (name == "https" || name == "tls" || name == "kubernetes.io/wss") return PortProtocol::Tls;
  if (name == "tcp" || name == "mongo" || name == "redis" || name == "mysql") {
    return PortProtocol::Tcp;
  }
  if (name == "udp") return PortProtocol::Udp;
  return PortProtocol::Unknown;
}

}  // namespace

PortProtocol select_protocol(std::string_view transport, std::string_view app_protocol,
                             std::string_view port_name, std::uint32_t port) {
  if (transport == "UDP" || transport == "SCTP") return PortProtocol::Udp;
  std::string name = lower(app_protocol.empty() ? port_name : app_protocol);
  if (name.starts_with("grpc-web")) return PortProtocol::Http2;
  if (app_protocol.empty() || !name.starts_with("kubernetes.io/")) {
    name = name.substr(0, name.find('-'));
  }
  const PortProtocol known = parse(name);
  if (known != PortProtocol::Unknown) return known;
  if (port == 25 || port == 53 || port == 3306 || port == 27017) return PortProtocol::Tcp;
  return PortProtocol::Unknown;
}

}  // namespace knit::mesh_model
