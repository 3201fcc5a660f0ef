#include "proxy_config/types.h"

namespace knit::proxy_config {

std::string_view to_string(Type type) {
  switch (type) {
    case Type::Settings: return "Settings";
    case Type::TrustBundle: return "TrustBundle";
    case Type::Identity: return "Identity";
    case Type::Certificate: return "Certificate";
    case Type::Mesh: return "Mesh";
    case Type::Workload: return "Workload";
    case Type::Service: return "Service";
    case Type::Revision: return "Revision";
    case Type::Gateway: return "Gateway";
    case Type::Routes: return "Routes";
    case Type::EdgeRoute: return "EdgeRoute";
    case Type::Probe: return "Probe";
  }
  return "Unknown";
}

}  // namespace knit::proxy_config
