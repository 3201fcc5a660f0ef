// Who sees an object, and what clients do about TLS (spec mesh.md 1.1, 2, 2.4, 2.5).
#pragma once

#include <optional>

#include "mesh_model/views.h"

namespace knit::mesh_model {

/// exportTo: ".", "*", "~" or a namespace; empty means "*".
bool exported_to(const std::vector<std::string>& export_to, std::string_view own_namespace,
                 std::string_view client_namespace);
std::vector<std::string> export_to(const Json& object);

enum class ClientTlsMode { Unset, Disable, Simple, Mutual, IstioMutual };
struct DestinationRuleView {
  std::string ns, name, host;  // host as written
  WallTime created{};
  std::vector<std::string> export_to;
  ClientTlsMode tls = ClientTlsMode::Unset;
};
DestinationRuleView decode_destination_rule(const Json& rule);

/// The rule that decides how a client in `client_ns` calls `host` of `service_ns`: rules of the
/// client's namespace, then the service's, then the root's; within one the most specific host,
/// then the oldest. Null: none. A rule without `tls` leaves auto-mTLS in force.
/// Source: istio pilot/pkg/model/push_context.go destinationRule
const DestinationRuleView* destination_rule(const std::vector<DestinationRuleView>& rules,
                                            std::string_view host, std::string_view client_ns,
                                            std::string_view service_ns,
                                            std::string_view root_namespace,
                                            std::string_view cluster_domain);

struct ServiceEntryIssue {
  std::string field, message;
};
/// What Istio's validator says about a ServiceEntry's ports: repeated names and numbers.
/// (spec mesh.md 1.7; Source: istio pkg/config/validation/validation.go)
std::vector<ServiceEntryIssue> service_entry_issues(const Json& entry);

}  // namespace knit::mesh_model
