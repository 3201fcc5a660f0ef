#include "mesh_model/peer_authentication.h"

#include <tuple>

namespace knit::mesh_model {
namespace {

Mtls parse_mode(std::string_view mode) {
  if (mode == "DISABLE") return Mtls::Disable;
  if (mode == "PERMISSIVE") return Mtls::Permissive;
  if (mode == "STRICT") return Mtls::Strict;
  return Mtls::Unset;
}

}  // namespace

PeerAuthenticationView decode_peer_authentication(const Json& policy) {
  PeerAuthenticationView out;
  out.ns = std::string(json::str(policy, {"metadata", "namespace"}));
  out.name = std::string(json::str(policy, {"metadata", "name"}));
  out.created = created_of(policy);
  for (auto& [k, v] : json::string_map(policy, {"spec", "selector", "matchLabels"})) {
    out.selector.emplace(std::move(k), std::move(v));
  }
  out.has_selector = !out.selector.empty();
  out.mode = parse_mode(json::str(policy, {"spec", "mtls", "mode"}));
  for (const auto& kv : json::object(policy, {"spec", "portLevelMtls"})) {
    std::uint32_t port = 0;
    for (const char c : kv.key()) {
      if (c < '0' || c > '9' || port > 65535) {
        port = 0;
        break;
      }
      port = port * 10 + static_cast<std::uint32_t>(c - '0');
    }
    if (port == 0 || port > 65535) continue;
    out.ports[static_cast<std::uint16_t>(port)] = parse_mode(json::str(kv.value(), {"mode"}));
  }
  return out;
}

EffectiveMtls effective_mtls(const std::vector<PeerAuthenticationView>& policies,
                             std::string_view root_namespace, std::string_view ns,
                             const Labels& labels) {
  const PeerAuthenticationView* mesh = nullptr;
  const PeerAuthenticationView* space = nullptr;
  const PeerAuthenticationView* workload = nullptr;
  const auto older = [](const PeerAuthenticationView& a, const PeerAuthenticationView* b) {
    return b == nullptr || std::tie(a.created, a.name) < std::tie(b->created, b->name);
  };
  for (const auto& p : policies) {
    if (p.ns == root_namespace && !p.has_selector && older(p, mesh)) mesh = &p;
    if (p.ns != ns) continue;
    if (!p.has_selector && p.ns != root_namespace && older(p, space)) space = &p;
    if (p.has_selector && selects(p.selector, labels) && older(p, workload)) workload = &p;
  }
  EffectiveMtls out;
  for (const PeerAuthenticationView* p : {mesh, space, workload}) {
    if (p == nullptr || p->mode == Mtls::Unset) continue;
    out.mode = p->mode;
    out.from = p->ns + "/" + p->name;
  }
  if (workload != nullptr) {
    for (const auto& [port, mode] : workload->ports) {
      out.ports[port] = mode == Mtls::Unset ? out.mode : mode;
    }
  }
  return out;
}

std::optional<std::string> unsupported_peer_authentication(const Json& policy) {
  if (!json::object(policy, {"spec", "selector"}).empty()) {
    return "spec.selector: Knit carries out mesh- and namespace-wide PeerAuthentications only; "
           "remove the selector";
  }
  if (!json::object(policy, {"spec", "portLevelMtls"}).empty()) {
    return "spec.portLevelMtls: Knit does not carry it out; remove it";
  }
  const auto mode = json::str(policy, {"spec", "mtls", "mode"}, "UNSET");
  if (mode != "STRICT" && mode != "PERMISSIVE") {
    return "spec.mtls.mode: Knit carries out STRICT and PERMISSIVE, not " + std::string(mode);
  }
  return std::nullopt;
}

}  // namespace knit::mesh_model
