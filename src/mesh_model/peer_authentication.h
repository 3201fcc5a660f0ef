// The effective mTLS mode of a workload (spec mesh.md 2.7), and which policies Knit carries out.
#pragma once

#include <optional>

#include "mesh_model/views.h"

namespace knit::mesh_model {

enum class Mtls { Unset, Disable, Permissive, Strict };

struct PeerAuthenticationView {
  std::string ns, name;
  WallTime created{};
  Labels selector;
  bool has_selector = false;  // an empty selector object is none
  Mtls mode = Mtls::Unset;
  std::map<std::uint16_t, Mtls> ports;
};
PeerAuthenticationView decode_peer_authentication(const Json& policy);

struct EffectiveMtls {
  Mtls mode = Mtls::Permissive;  // never Unset
  std::map<std::uint16_t, Mtls> ports;
  /// Where `mode` comes from: "namespace/name", empty: the default.
  std::string from;
};
/// Port level, else workload, else namespace, else mesh (root namespace, no selector); UNSET falls
/// through; several of one level: the oldest counts. Selectors in the root namespace are ignored
/// unless the workload lives there.
/// Source: istio pilot/pkg/model/authentication.go, pilot/pkg/security/authn
EffectiveMtls effective_mtls(const std::vector<PeerAuthenticationView>& policies,
                             std::string_view root_namespace, std::string_view ns,
                             const Labels& labels);

/// Why Knit does not carry this policy out, or nothing: users' policies are mesh- or namespace-wide
/// STRICT or PERMISSIVE. A security object that is not enforced is refused, never stored.
std::optional<std::string> unsupported_peer_authentication(const Json& policy);

}  // namespace knit::mesh_model
