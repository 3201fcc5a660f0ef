#include "mesh_model/visibility.h"

#include <algorithm>
#include <set>
#include <tuple>

#include "mesh_model/hosts.h"

namespace knit::mesh_model {

bool exported_to(const std::vector<std::string>& list, std::string_view own_namespace,
                 std::string_view client_namespace) {
  if (list.empty()) return true;
  return std::any_of(list.begin(), list.end(), [&](const std::string& e) {
    return e == "*" || (e == "." && own_namespace == client_namespace) || e == client_namespace;
  });
}

std::vector<std::string> export_to(const Json& object) {
  std::vector<std::string> out;
  for (const Json& e : json::array(object, {"spec", "exportTo"})) {
    if (e.is_string()) out.emplace_back(e.get_string());
  }
  return out;
}

DestinationRuleView decode_destination_rule(const Json& rule) {
  DestinationRuleView out;
  out.ns = std::string(json::str(rule, {"metadata", "namespace"}));
  out.name = std::string(json::str(rule, {"metadata", "name"}));
  out.host = std::string(json::str(rule, {"spec", "host"}));
  out.created = created_of(rule);
  out.export_to = export_to(rule);
  if (const Json* tls = json::find(rule, {"spec", "trafficPolicy", "tls"}); tls != nullptr) {
    const auto mode = json::str(*tls, {"mode"}, "DISABLE");
    out.tls = mode == "ISTIO_MUTUAL" ? ClientTlsMode::IstioMutual
              : mode == "SIMPLE"     ? ClientTlsMode::Simple
              : mode == "MUTUAL"     ? ClientTlsMode::Mutual
                                     : ClientTlsMode::Disable;
  }
  return out;
}

const DestinationRuleView* destination_rule(const std::vector<DestinationRuleView>& rules,
                                            std::string_view host, std::string_view client_ns,
                                            std::string_view service_ns,
                                            std::string_view root_namespace,
                                            std::string_view cluster_domain) {
  for (const std::string_view ns : {client_ns, service_ns, root_namespace}) {
    const DestinationRuleView* best = nullptr;
    std::size_t best_length = 0;
    for (const auto& rule : rules) {
      const std::string full = full_host(rule.host, rule.ns, cluster_domain);
      if (rule.ns != ns || !host_subset(host, full)) continue;
      if (ns != client_ns && !exported_to(rule.export_to, rule.ns, client_ns)) continue;
      const std::size_t length = full.starts_with('*') ? full.size() : full.size() + 1000;
      if (best == nullptr || length > best_length ||
          (length == best_length &&
           std::tie(rule.created, rule.name) < std::tie(best->created, best->name))) {
        best = &rule;
        best_length = length;
      }
    }
    if (best != nullptr) return best;
  }
  return nullptr;
}

std::vector<ServiceEntryIssue> service_entry_issues(const Json& entry) {
  std::vector<ServiceEntryIssue> out;
  std::set<std::string> names;
  std::set<std::int64_t> numbers;
  const JsonArray& ports = json::array(entry, {"spec", "ports"});
  for (std::size_t i = 0; i < ports.size(); ++i) {
    const std::string field = "spec.ports[" + std::to_string(i) + "]";
    const std::string name(json::str(ports[i], {"name"}));
    const std::int64_t number = json::i64(ports[i], {"number"});
    if (!names.insert(name).second) {
      out.push_back({field + ".name", "service entry port name \"" + name + "\" already defined"});
    }
    if (!numbers.insert(number).second) {
      out.push_back(
          {field + ".number", "service entry port " + std::to_string(number) + " already defined"});
    }
  }
  return out;
}

}  // namespace knit::mesh_model
