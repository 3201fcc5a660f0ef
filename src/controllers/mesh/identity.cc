#include "controllers/mesh/identity.h"

#include "controllers/mesh/compile/compile.h"

namespace knit::mesh {

Result<AllowedIdentity> allowed_identity(const World& world, std::string_view node,
                                         std::string_view identity) {
  const auto refuse = [&](const std::string& why) {
    return Error(Code::PermissionDenied,
                 "identity " + std::string(identity.substr(0, 300)) + ": " + why);
  };
  auto id = pki::parse_spiffe(identity);
  if (!id) return refuse("not a SPIFFE id of a service account");
  const std::string mesh = mesh_of(world, id->ns);
  const auto plane = control_plane_of(world, mesh);
  if (!plane) return refuse("namespace " + id->ns + " is in no mesh");
  if (plane->trust_domain != id->trust_domain) {
    return refuse("the trust domain of mesh " + mesh + " is " + plane->trust_domain);
  }
  for (const ObjectPtr& object : world.list(kube::res::pods(), id->ns)) {
    const Json pod = object->parse();
    if (json::str(pod, {"spec", "nodeName"}) == node && account_of(pod) == id->service_account &&
        has_sidecar(pod)) {
      return AllowedIdentity{std::move(*id), mesh};
    }
  }
  return refuse("no injected pod of node " + std::string(node) + " runs as this account");
}

Result<std::string> answer_csr(
    const World& world, std::string_view node, std::string_view identity, std::string_view csr_pem,
    const std::function<Result<std::shared_ptr<const pki::Authority>>(const std::string& mesh)>&
        authority,
    WallTime now) {
  KNIT_TRY(const AllowedIdentity allowed, allowed_identity(world, node, identity));
  KNIT_TRY(const auto ca, authority(allowed.mesh));
  return pki::issue_workload(*ca, csr_pem, allowed.id, now);
}

}  // namespace knit::mesh
