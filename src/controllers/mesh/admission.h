// What the API refuses or warns about before a mesh object is stored. Pure.
#pragma once

#include "controllers/mesh/mesh_view.h"

namespace knit::mesh {

struct Admission {
  std::vector<std::string> errors;    // refused: "spec.servers[0].port.name: …"
  std::vector<std::string> warnings;  // HTTP Warning: 299
};
/// For Gateways, PeerAuthentications, ServiceEntries, SMCPs and SMMRs; empty for every other kind.
/// `before` is null on create.
/// Source: istio pkg/config/validation/validation.go, maistra/istio-operator
/// pkg/controller/validation
Admission admit_mesh_object(const World& world, const Key& key, const Json& object,
                            const Json* before);

}  // namespace knit::mesh
