// Gateways on the ports of gateway pods, and their certificates.
#include <algorithm>

#include "controllers/mesh/compile/compile.h"
#include "mesh_model/gateways.h"
#include "mesh_model/hosts.h"
#include "pki/secrets.h"

namespace knit::mesh {
namespace {
namespace res = kube::res;
namespace pc = proxy_config;

/// Nothing for the modes that Knit does not carry out (gateway_status.cc says so).
std::optional<pc::TlsMode> tls_mode(const mesh_model::GatewayServer& s) {
  using mesh_model::TlsMode;
  const bool plain = s.protocol == "HTTP" || s.protocol == "HTTP2" || s.protocol == "GRPC" ||
                     s.protocol == "GRPC-WEB" || !s.has_tls;
  if (plain) return pc::TlsMode::Plain;
  switch (s.tls) {
    case TlsMode::Simple:
      return pc::TlsMode::Simple;
    case TlsMode::Mutual:
      return pc::TlsMode::Mutual;
    case TlsMode::IstioMutual:
      return pc::TlsMode::IstioMutual;
    case TlsMode::Passthrough:
      return pc::TlsMode::Passthrough;
    default:
      return std::nullopt;
  }
}

bool running(const ObjectPtr& object, const Json& pod) {
  const auto phase = json::str(pod, {"status", "phase"});
  return !object->deleting() && phase != "Succeeded" && phase != "Failed";
}

/// `name` is the credential of a Gateway whose pods are in `ns`.
bool is_credential(const World& world, const std::string& ns, const std::string& name) {
  if (world.list(res::smcps(), ns).empty()) return false;
  for (const auto& gateway : gateways_of(world, ns)) {
    for (const auto& server : gateway.servers) {
      if (server.credential == name) return true;
    }
  }
  return false;
}

std::optional<pc::Certificate> route_certificate(const World& world, std::string_view name) {
  const auto [ns, route_name] = split_name(name);
  const Json route = world.view(key_of(res::oroutes(), ns, route_name));
  const Json* tls = json::find(route, {"spec", "tls"});
  if (tls == nullptr) return std::nullopt;
  const JsonObject data{{"cert", json::str(*tls, {"certificate"})},
                        {"key", json::str(*tls, {"key"})}};
  const auto material = pki::tls_material(JsonObject{{"stringData", data}});
  if (!material) return std::nullopt;
  pc::Certificate out;
  out.chain_pem = material->credential.chain_pem + text(*tls, {"caCertificate"});
  out.key_pem = material->credential.key_pem;
  return out;
}

}  // namespace

std::vector<Json> gateway_pods(const World& world, const std::string& mesh) {
  std::vector<Json> out;
  for (const ObjectPtr& object : world.list(res::pods(), mesh)) {
    Json pod = object->parse();
    if (role_of(pod) == pc::Role::IngressGateway && running(object, pod)) {
      out.push_back(std::move(pod));
    }
  }
  return out;
}

std::vector<mesh_model::GatewayView> gateways_of(const World& world, const std::string& mesh) {
  std::vector<mesh_model::GatewayView> out;
  for (const std::string& ns : namespaces_of(world, mesh)) {
    for (const ObjectPtr& g : world.list(res::gateways(), ns)) {
      if (!g->deleting()) out.push_back(mesh_model::decode_gateway(g->parse()));
    }
  }
  return out;
}

std::vector<mesh_model::ServiceView> services_in(const World& world, const std::string& ns) {
  std::vector<mesh_model::ServiceView> out;
  for (const ObjectPtr& s : world.list(res::services(), ns)) {
    out.push_back(mesh_model::decode_service(s->parse()));
  }
  return out;
}

std::vector<pc::Gateway> compile_gateways(const std::string& pod_uid, const World& world) {
  const ObjectPtr object = world.by_uid(pod_uid);
  if (object == nullptr || object->key().resource != res::pods()) return {};
  const Json pod = object->parse();
  const std::string mesh = mesh_of(world, object->key().ns);
  if (mesh.empty() || role_of(pod) != pc::Role::IngressGateway || !running(object, pod)) return {};
  const auto merge = mesh_model::merge_gateways(
      mesh_model::decode_pod(pod), services_in(world, object->key().ns), gateways_of(world, mesh));
  std::vector<pc::Gateway> out;
  for (const auto& [number, merged] : merge.ports) {
    pc::Gateway gateway;
    gateway.pod_uid = pod_uid;
    gateway.mesh = mesh;
    gateway.port = number;
    for (const auto& m : merged.servers) {
      const auto mode = tls_mode(m.server);
      if (!mode) continue;
      pc::GatewayServer server;
      server.tls = *mode;
      server.gateway = m.gateway;
      server.hosts = m.server.hosts;
      server.https_redirect = m.server.https_redirect;
      if (*mode == pc::TlsMode::Simple || *mode == pc::TlsMode::Mutual) {
        server.certificate = object->key().ns + "/" + m.server.credential;
      }
      if (*mode != pc::TlsMode::Plain) {
        for (const auto& host : m.server.hosts) {
          server.sni.emplace_back(mesh_model::split_scoped_host(host).host);
        }
      }
      gateway.servers.push_back(std::move(server));
    }
    if (!gateway.servers.empty()) out.push_back(std::move(gateway));
  }
  return out;
}

std::optional<pc::Certificate> compile_certificate(const std::string& full, const World& world,
                                                   const MeshSettings& settings) {
  pc::Certificate out;
  if (full == kRouterCertificate) {
    if (settings.router_chain_pem.empty()) return std::nullopt;
    out.chain_pem = settings.router_chain_pem;
    out.key_pem = settings.router_key_pem;
    return out;
  }
  if (full.starts_with("route/")) return route_certificate(world, full.substr(6));
  const auto [ns, name] = split_name(full);
  if (!is_credential(world, ns, name)) return std::nullopt;
  const Json secret = world.view(key_of(res::secrets(), ns, name));
  if (secret.is_null()) return std::nullopt;
  const auto material = pki::tls_material(secret);
  if (!material) return std::nullopt;
  out.chain_pem = material->credential.chain_pem;
  out.key_pem = material->credential.key_pem;
  out.ca_pem = material->ca_pem;
  if (out.ca_pem.empty()) {
    const Json ca = world.view(key_of(res::secrets(), ns, name + "-cacert"));
    if (const auto pem = pki::secret_entry(ca, "cacert"); pem && !pem->empty()) out.ca_pem = *pem;
    if (const auto pem = pki::secret_entry(ca, "ca.crt"); pem && !pem->empty()) out.ca_pem = *pem;
  }
  return out;
}

}  // namespace knit::mesh
