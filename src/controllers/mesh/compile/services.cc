// Services with their ready backends.
#include <algorithm>

#include "controllers/mesh/compile/compile.h"
#include "mesh_model/hosts.h"
#include "mesh_model/protocol.h"
#include "mesh_model/visibility.h"

namespace knit::mesh {
namespace {
namespace res = kube::res;
namespace pc = proxy_config;

constexpr std::size_t kMaxBackends = 1000;  // per port

pc::Protocol protocol_of(const mesh_model::ServicePortView& p) {
  using mesh_model::PortProtocol;
  switch (mesh_model::select_protocol(p.protocol, p.app_protocol, p.name, p.port)) {
    case PortProtocol::Http:
      return pc::Protocol::Http;
    case PortProtocol::Http2:
      return pc::Protocol::Http2;
    case PortProtocol::Tls:
      return pc::Protocol::Tls;
    default:
      return pc::Protocol::Tcp;
  }
}

struct Endpoint {
  std::string ip, pod_uid, port_name;
  std::uint16_t port = 0;
};

std::uint16_t port_number(const Json& p) {
  const std::int64_t n = json::i64(p, {"port"});
  return n > 0 && n <= 65535 ? static_cast<std::uint16_t>(n) : std::uint16_t{0};
}

/// Ready endpoints, from Endpoints, or from slices where there are none.
std::vector<Endpoint> ready_endpoints(const World& world, const std::string& ns,
                                      const std::string& name) {
  std::vector<Endpoint> out;
  const auto target = [](const Json& t) {
    return json::str(t, {"kind"}) == "Pod" ? text(t, {"uid"}) : std::string();
  };
  if (const Json endpoints = world.view(key_of(res::endpoints(), ns, name)); !endpoints.is_null()) {
    for (const Json& subset : json::array(endpoints, {"subsets"})) {
      for (const Json& address : json::array(subset, {"addresses"})) {
        const Json* ref = json::find(address, "targetRef");
        for (const Json& p : json::array(subset, {"ports"})) {
          out.push_back({text(address, {"ip"}), ref ? target(*ref) : std::string(),
                         text(p, {"name"}), port_number(p)});
        }
      }
    }
    return out;
  }
  for (const ObjectPtr& object :
       world.labelled(res::endpointslices(), ns, "kubernetes.io/service-name", name)) {
    const Json slice = object->parse();
    for (const Json& e : json::array(slice, {"endpoints"})) {
      if (!json::boolean(e, {"conditions", "ready"}, true)) continue;
      const Json* ref = json::find(e, "targetRef");
      for (const Json& a : json::array(e, {"addresses"})) {
        if (!a.is_string()) continue;
        for (const Json& p : json::array(slice, {"ports"})) {
          out.push_back({std::string(a.get_string()), ref ? target(*ref) : std::string(),
                         text(p, {"name"}), port_number(p)});
        }
      }
    }
  }
  return out;
}

pc::ClientTls client_tls(const World& world, const std::string& ns, const std::string& name,
                         const MeshSettings& settings) {
  std::vector<mesh_model::DestinationRuleView> rules;
  std::set<std::string> from{ns};
  for (const ObjectPtr& smcp : world.list(res::smcps())) from.insert(smcp->key().ns);
  for (const std::string& space : from) {
    for (const ObjectPtr& object : world.list(res::destinationrules(), space)) {
      auto rule = mesh_model::decode_destination_rule(object->parse());
      // Wildcards are the mesh's: Mesh.force_mtls_to_cluster.
      if (!rule.host.starts_with('*')) rules.push_back(std::move(rule));
    }
  }
  const std::string host = name + "." + ns + ".svc." + settings.cluster_domain;
  for (const std::string& root : from) {
    const auto* rule =
        mesh_model::destination_rule(rules, host, root, ns, root, settings.cluster_domain);
    if (rule == nullptr || rule->tls == mesh_model::ClientTlsMode::Unset) continue;
    return rule->tls == mesh_model::ClientTlsMode::IstioMutual ? pc::ClientTls::IstioMutual
                                                               : pc::ClientTls::Disable;
  }
  return pc::ClientTls::Auto;
}

}  // namespace

std::optional<pc::Service> compile_service(const std::string& full, const World& world,
                                           const MeshSettings& settings) {
  const auto [ns, name] = split_name(full);
  const Json object = world.view(key_of(res::services(), ns, name));
  if (object.is_null()) return std::nullopt;
  const auto view = mesh_model::decode_service(object);
  pc::Service out;
  out.cluster_ips = view.cluster_ips;
  if (view.type == "ExternalName") out.external_name = view.external_name;
  out.headless = json::str(object, {"spec", "clusterIP"}) == "None";
  out.client_tls = client_tls(world, ns, name, settings);
  const auto label = [&](const char* key) {
    const auto it = view.labels.find(key);
    return it == view.labels.end() ? std::string() : it->second;
  };
  if (label("networking.internal.knative.dev/serviceType") == "Public") {
    const std::string revision = label("networking.internal.knative.dev/serverlessservice");
    if (!revision.empty()) out.revision = ns + "/" + revision;
  }
  const auto endpoints = ready_endpoints(world, ns, name);
  for (const auto& p : view.ports) {
    if (p.port == 0) continue;
    pc::ServicePort port;
    port.port = p.port;
    port.name = p.name;
    port.protocol = protocol_of(p);
    for (const auto& e : endpoints) {
      if (e.port_name != p.name || e.port == 0 || port.backends.size() == kMaxBackends) continue;
      pc::Backend backend;
      backend.ip = e.ip;
      backend.port = e.port;
      backend.pod_uid = e.pod_uid;
      port.backends.push_back(std::move(backend));
    }
    out.ports.push_back(std::move(port));
  }
  if (out.headless) {
    for (const auto& e : endpoints) {
      if (std::find(out.dns_ips.begin(), out.dns_ips.end(), e.ip) == out.dns_ips.end()) {
        out.dns_ips.push_back(e.ip);
      }
    }
  }
  return out;
}

}  // namespace knit::mesh
