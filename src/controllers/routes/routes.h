// OpenShift Routes: those that Serverless makes for the public hosts of Knative Ingresses, and the
// router's admission of all Routes.
#pragma once

#include "reconcile/driver.h"

namespace knit::routes {

struct RouteSettings {
  std::string apps_domain = "apps.openshift.example.com";  // when nothing else tells it
  std::string router_name = "default";
  std::string timeout = "600s";  // haproxy.router.openshift.io/timeout of Serverless' Routes
};

void register_routes(reconcile::Driver& driver, RouteSettings settings);
std::vector<reconcile::Planner> route_planners(const RouteSettings& settings);

/// Knative Ingress → one Route per public host.
reconcile::Planner serverless_route_planner(RouteSettings settings);
/// Host claims, generated hosts, status.ingress.
reconcile::Planner admission_planner(RouteSettings settings);

/// The cluster's apps domain: Signal::Domain, else ingresses.config.openshift.io "cluster", else
/// the setting.
std::string apps_domain(const reconcile::World& world, const RouteSettings& settings);

/// "route-<uid>-<12 hex digits>": the digits are the hex of the ASCII of the first six hex digits
/// of sha256(host), a double hex as in the original.
std::string serverless_route_name(std::string_view ingress_uid, std::string_view host);
/// Hosts of the Ingress that get a Route, in order.
std::vector<std::string> public_hosts(const Json& ingress);
/// The Route of one host. Errors: Unavailable while status.publicLoadBalancer tells no Service.
Result<std::pair<kube::Key, Json>> make_route(const Json& ingress, std::string_view host,
                                              const RouteSettings& settings);

}  // namespace knit::routes
