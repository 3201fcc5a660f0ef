#include "controllers/mesh/compile/compile.h"

#include "base/hash.h"

namespace knit::mesh {
namespace {
namespace res = kube::res;
namespace pc = proxy_config;

template <class T>
pc::Resource pack(pc::Type type, std::string name, const T& value) {
  pc::Resource out;
  out.type = type;
  out.name = std::move(name);
  out.body = codec::encode(value);
  out.hash = hash::sha256_hex(out.body);
  return out;
}
template <class T>
std::vector<pc::Resource> pack_one(const Unit& unit, const std::optional<T>& value) {
  if (!value) return {};
  return {pack(unit.type, unit.name, *value)};
}

}  // namespace

std::pair<std::string, std::string> split_name(std::string_view name) {
  const auto slash = name.find('/');
  if (slash == std::string_view::npos) return {std::string(name), {}};
  return {std::string(name.substr(0, slash)), std::string(name.substr(slash + 1))};
}

std::optional<pc::Settings> compile_settings(const MeshSettings& s) {
  pc::Settings out;
  out.apps_domain = s.apps_domain;
  out.pod_cidrs = s.pod_cidrs;
  out.service_cidrs = s.service_cidrs;
  out.cluster_domain = s.cluster_domain;
  out.dns_ip = s.dns_ip;
  out.egress_allow = s.egress_allow;
  out.router_ip = s.router_ip;
  out.host_ip = s.host_ip;
  return out;
}

std::vector<pc::Resource> compile(const Unit& unit, const World& world,
                                  const MeshSettings& settings) {
  switch (unit.type) {
    case pc::Type::Settings:
      return pack_one(unit, compile_settings(settings));
    case pc::Type::TrustBundle:
      return pack_one(unit, compile_trust_bundle(unit.name, world, settings));
    case pc::Type::Identity: {
      const auto identity = compile_identity(unit.name, world);
      if (!identity) return {};
      return {pack(pc::Type::Identity, identity->first, identity->second)};
    }
    case pc::Type::Certificate:
      return pack_one(unit, compile_certificate(unit.name, world, settings));
    case pc::Type::Mesh:
      return pack_one(unit, compile_mesh(unit.name, world, settings));
    case pc::Type::Workload:
      return pack_one(unit, compile_workload(unit.name, world));
    case pc::Type::Service:
      return pack_one(unit, compile_service(unit.name, world, settings));
    case pc::Type::Revision:
      return pack_one(unit, compile_revision(unit.name, world));
    case pc::Type::Gateway: {
      std::vector<pc::Resource> out;
      for (const auto& gateway : compile_gateways(unit.name, world)) {
        out.push_back(
            pack(pc::Type::Gateway, unit.name + ":" + std::to_string(gateway.port), gateway));
      }
      return out;
    }
    case pc::Type::Routes:
      return pack_one(unit, compile_routes(unit.name, world, settings));
    case pc::Type::EdgeRoute:
      return pack_one(unit, compile_edge_route(unit.name, world));
    case pc::Type::Probe:
      return pack_one(unit, compile_probe(unit.name, world));
  }
  return {};
}

}  // namespace knit::mesh
