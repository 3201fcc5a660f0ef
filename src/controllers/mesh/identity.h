// Who may have which identity: the server's side of a certificate request.
#pragma once

#include <functional>

#include "controllers/mesh/mesh_view.h"
#include "pki/spiffe.h"

namespace knit::mesh {

/// `identity` (a SPIFFE id) belongs to an injected pod of `node` in a mesh of that trust domain.
/// Returns the mesh too. Errors: PermissionDenied, with why.
struct AllowedIdentity {
  pki::SpiffeId id;
  std::string mesh;
};
Result<AllowedIdentity> allowed_identity(const World& world, std::string_view node,
                                         std::string_view identity);
/// The chain for a Csr message, or why not. `authority` gives the mesh's.
Result<std::string> answer_csr(
    const World& world, std::string_view node, std::string_view identity, std::string_view csr_pem,
    const std::function<Result<std::shared_ptr<const pki::Authority>>(const std::string& mesh)>&
        authority,
    WallTime now);

}  // namespace knit::mesh
