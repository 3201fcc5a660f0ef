#include "controllers/mesh/mesh_view.h"

#include <algorithm>
#include <tuple>

namespace knit::mesh {
namespace {

constexpr std::string_view kProfiles[] = {"default", "base", "small"};

GatewayValues gateway_values(const Json& smcp, std::string_view which) {
  GatewayValues out;
  const bool all = json::boolean(smcp, {"spec", "gateways", "enabled"}, true);
  out.enabled = json::boolean(smcp, {"spec", "gateways", which, "enabled"}, all) && all;
  out.service_type =
      std::string(json::str(smcp, {"spec", "gateways", which, "service", "type"}, "ClusterIP"));
  const auto map = [&](json::Path path) {
    Labels labels;
    for (auto& [k, v] : json::string_map(smcp, path)) labels.emplace(std::move(k), std::move(v));
    return labels;
  };
  out.labels = map({"spec", "gateways", which, "service", "metadata", "labels"});
  out.annotations = map({"spec", "gateways", which, "service", "metadata", "annotations"});
  out.selector = map({"spec", "gateways", which, "service", "selector"});
  out.ports = json::array(smcp, {"spec", "gateways", which, "service", "ports"});
  out.route = json::boolean(smcp, {"spec", "gateways", which, "routeConfig", "enabled"}, true);
  return out;
}

}  // namespace

std::vector<std::uint16_t> parse_ports(std::string_view list) {
  std::vector<std::uint16_t> out;
  std::uint32_t port = 0;
  bool digits = false;
  const auto flush = [&] {
    if (digits && port > 0 && port <= 65535) out.push_back(static_cast<std::uint16_t>(port));
    port = 0;
    digits = false;
  };
  for (const char c : list) {
    if (c >= '0' && c <= '9' && port <= 65535) {
      port = port * 10 + static_cast<std::uint32_t>(c - '0');
      digits = true;
    } else {
      flush();
    }
  }
  flush();
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

ControlPlane decode_control_plane(const Json& smcp) {
  ControlPlane out;
  out.ns = text(smcp, {"metadata", "namespace"});
  out.name = text(smcp, {"metadata", "name"});
  out.uid = text(smcp, {"metadata", "uid"});
  out.version = std::string(json::str(smcp, {"spec", "version"}, "v2.5"));
  for (const Json& profile : json::array(smcp, {"spec", "profiles"})) {
    const std::string name = profile.is_string() ? std::string(profile.get_string()) : "";
    if (std::find(std::begin(kProfiles), std::end(kProfiles), name) == std::end(kProfiles)) {
      out.invalid = "spec.profiles: profile \"" + name + "\" does not exist; use default";
    }
  }
  if (const auto mode = json::str(smcp, {"spec", "mode"}, "MultiTenant"); mode != "MultiTenant") {
    out.invalid = "spec.mode: Knit carries out MultiTenant, not " + std::string(mode);
  }
  out.mtls = json::boolean(smcp, {"spec", "security", "dataPlane", "mtls"});
  if (!json::boolean(smcp, {"spec", "security", "dataPlane", "automtls"}, true)) {
    out.invalid = "spec.security.dataPlane.automtls: Knit carries out true only";
  }
  if (json::boolean(smcp, {"spec", "gateways", "openshiftRoute", "enabled"})) {
    out.invalid =
        "spec.gateways.openshiftRoute.enabled: Knit makes no Route per Gateway host; set false";
  }
  out.trust_domain =
      std::string(json::str(smcp, {"spec", "security", "trust", "domain"}, "cluster.local"));
  out.registry_only = json::str(smcp, {"spec", "proxy", "networking", "trafficControl", "outbound",
                                       "policy"}) == "REGISTRY_ONLY";
  out.sniff_inbound =
      json::boolean(smcp, {"spec", "proxy", "networking", "protocol", "autoDetect", "inbound"});
  out.sniff_outbound =
      json::boolean(smcp, {"spec", "proxy", "networking", "protocol", "autoDetect", "outbound"});
  out.manage_network_policy =
      json::boolean(smcp, {"spec", "security", "manageNetworkPolicy"}, true);
  const auto drain = json::str(
      smcp, {"spec", "techPreview", "meshConfig", "defaultConfig", "terminationDrainDuration"});
  if (!drain.empty()) {
    if (const auto d = parse_go_duration(drain); d && d->count() >= 0) {
      out.drain = *d;
    } else {
      out.invalid = "spec.techPreview.meshConfig.defaultConfig.terminationDrainDuration: \"" +
                    std::string(drain) + "\" is not a duration such as 35s";
    }
  }
  const Json* log = json::find(smcp, {"spec", "proxy", "accessLogging", "file"});
  if (log != nullptr) {
    const std::string_view encoding = json::str(*log, {"encoding"}, "TEXT");
    const std::string_view name = json::str(*log, {"name"}, "/dev/stdout");
    if (name.empty()) {
      out.access_log = proxy_config::AccessLogFormat::Off;
    } else if (name != "/dev/stdout" && name != "/dev/stderr") {
      out.invalid =
          "spec.proxy.accessLogging.file.name: Knit writes to /dev/stdout (what `kubectl "
          "logs` shows) or nowhere (\"\"), not to " +
          std::string(name);
    } else if (encoding == "JSON") {
      out.access_log = proxy_config::AccessLogFormat::Json;
    } else if (encoding != "TEXT") {
      out.invalid =
          "spec.proxy.accessLogging.file.encoding: TEXT or JSON, not " + std::string(encoding);
    }
  }
  for (const Json& p : json::array(
           smcp, {"spec", "proxy", "networking", "trafficControl", "inbound", "excludedPorts"})) {
    const std::int64_t port = p.is_int64()    ? p.get_int64()
                              : p.is_uint64() ? static_cast<std::int64_t>(p.get_uint64())
                                              : 0;
    if (port < 1 || port > 65535) {
      out.invalid = "spec.proxy.networking.trafficControl.inbound.excludedPorts: not a port number";
    } else {
      out.excluded_inbound_ports.push_back(static_cast<std::uint16_t>(port));
    }
  }
  std::sort(out.excluded_inbound_ports.begin(), out.excluded_inbound_ports.end());
  out.ingress = gateway_values(smcp, "ingress");
  out.egress = gateway_values(smcp, "egress");
  return out;
}

std::optional<ControlPlane> control_plane_of(const World& world, std::string_view ns) {
  if (ns.empty()) return std::nullopt;
  std::optional<ControlPlane> best;
  std::pair<WallTime, std::string> best_age;
  for (const ObjectPtr& object : world.list(kube::res::smcps(), ns)) {
    if (object->deleting()) continue;
    const Json smcp = object->parse();
    std::pair age{mesh_model::created_of(smcp), object->key().name};
    if (best && age >= best_age) continue;
    best = decode_control_plane(smcp);
    best_age = std::move(age);
  }
  return best;
}

std::string mesh_of(const World& world, std::string_view ns) {
  if (!world.list(kube::res::smcps(), ns).empty()) return std::string(ns);
  const ObjectPtr space = world.get({kube::res::namespaces(), "", std::string(ns)});
  if (space == nullptr) return {};
  const std::string mesh(space->label("maistra.io/member-of"));
  if (mesh.empty() || world.list(kube::res::smcps(), mesh).empty()) return {};
  return mesh;
}

std::vector<std::string> namespaces_of(const World& world, const std::string& mesh) {
  std::vector<std::string> out{mesh};
  for (const ObjectPtr& ns :
       world.labelled(kube::res::namespaces(), "", "maistra.io/member-of", mesh)) {
    if (ns->key().name != mesh) out.push_back(ns->key().name);
  }
  return out;
}

std::vector<mesh_model::PeerAuthenticationView> peer_authentications(const World& world,
                                                                     const std::string& mesh,
                                                                     const std::string& ns) {
  std::vector<mesh_model::PeerAuthenticationView> out;
  for (const std::string& from : {mesh, ns}) {
    if (from.empty() || (from == ns && ns == mesh && !out.empty())) continue;
    for (const ObjectPtr& p : world.list(kube::res::peerauthentications(), from)) {
      out.push_back(mesh_model::decode_peer_authentication(p->parse()));
    }
    if (ns == mesh) break;
  }
  return out;
}

}  // namespace knit::mesh
