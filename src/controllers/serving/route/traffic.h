// What a Route's traffic means: targets resolved to Revisions, grouped by tag; names of hosts.
// Source: knative/serving pkg/reconciler/route/{traffic,domains,visibility}
#pragma once

#include "controllers/serving/config.h"

namespace knit::serving {

struct RevisionTarget {
  std::string tag, revision, configuration;
  bool latest = false;
  std::int64_t percent = 0;
  bool h2c = false;
};

/// Why traffic cannot be assigned.
struct TargetProblem {
  bool failed = false;  // False; otherwise Unknown
  std::string reason, message;
};

struct Traffic {
  std::vector<RevisionTarget> targets;                        // as status.traffic shows them
  std::map<std::string, std::vector<RevisionTarget>> by_tag;  // "" is the default host
  std::optional<TargetProblem> problem;
};
Traffic resolve_traffic(const World& world, const Json& route);

/// A Go template of fields: {{.Name}}, {{.Tag}}, {{.Namespace}}, {{.Domain}}, {{.Annotations.k}},
/// {{index .Labels "k"}}. Errors: InvalidArgument names what it does not know.
struct TemplateValues {
  std::string name, ns, domain, tag;
  StringMap annotations, labels;
};
Result<std::string> render(std::string_view text, const TemplateValues& values);

/// "hello", or the tag template's for a tag.
Result<std::string> hostname_of(const Json& route, std::string_view tag, const NetworkConfig& net);
/// The external host of a name. Errors: InvalidArgument when it is not a domain name.
Result<std::string> external_host(const Json& route, std::string_view hostname,
                                  const ServingConfig& config);
std::string local_host(const Json& route, std::string_view hostname,
                       std::string_view cluster_domain);
/// {h, h without the cluster domain, h without .svc.<cluster domain>}, sorted.
std::vector<std::string> expand_hosts(std::vector<std::string> hosts,
                                      std::string_view cluster_domain);
/// The tags (and "") that are cluster-local.
std::map<std::string, bool> cluster_local_tags(const World& world, const Json& route,
                                               const Traffic& traffic, const ServingConfig& config,
                                               std::string_view cluster_domain);

/// The KIngress of a Route.
/// Source: knative/serving pkg/reconciler/route/resources/ingress.go
Result<Json> make_ingress(const Json& route, const Traffic& traffic,
                          const std::map<std::string, bool>& cluster_local,
                          const ServingConfig& config, std::string_view cluster_domain);

/// The placeholder Service of a hostname. `ingress` null: before there is a load balancer.
/// Errors: Unavailable while the Ingress does not tell one.
/// Source: knative/serving pkg/reconciler/route/resources/service.go
struct Placeholder {
  Json service;
  Json endpoints;  // null unless the load balancer is an IP
};
Result<Placeholder> make_placeholder(const Json& route, std::string_view hostname,
                                     std::string_view domain, const Json* ingress);

}  // namespace knit::serving
