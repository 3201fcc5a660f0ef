// What the router admits: the oldest Route of a host and path has it.
// Source: openshift/router pkg/router/controller/{host_admitter,unique_host,status}.go,
// openshift/library-go pkg/route/hostassignment
#include <algorithm>
#include <unordered_map>

#include "controllers/routes/routes.h"

namespace knit::routes {
namespace {
using kube::Key;
using reconcile::ObjectPtr;
using reconcile::Plan;
using reconcile::World;
namespace res = kube::res;

std::string lower(std::string_view s) {
  std::string out(s);
  for (auto& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  return out;
}
std::string generated_host(const Json& route, const std::string& domain) {
  if (const auto sub = json::str(route, {"spec", "subdomain"}); !sub.empty()) {
    return std::string(sub) + "." + domain;
  }
  return std::string(json::str(route, {"metadata", "name"})) + "-" +
         std::string(json::str(route, {"metadata", "namespace"})) + "." + domain;
}
std::string host_of(const Json& route) { return lower(json::str(route, {"spec", "host"})); }

/// Oldest first; then by namespace and name, so that the order never depends on anything else.
bool older(const Json& a, const Json& b) {
  const auto key = [](const Json& r) {
    return std::tuple(json::str(r, {"metadata", "creationTimestamp"}),
                      json::str(r, {"metadata", "namespace"}), json::str(r, {"metadata", "name"}));
  };
  return key(a) < key(b);
}

/// Hosts of Routes as they were read last: claims are looked up without parsing every Route.
class Hosts {
 public:
  const std::string& of(const ObjectPtr& object) {
    auto& entry = entries_[object->key()];
    if (entry.object != object) {
      entry.object = object;
      entry.host = host_of(object->parse());
    }
    return entry.host;
  }
  void forget(const Key& key) { entries_.erase(key); }

 private:
  struct Entry {
    ObjectPtr object;
    std::string host;
  };
  std::unordered_map<Key, Entry, kube::KeyHash> entries_;
};

/// The Route that has this Route's host and path, when it is another one.
std::optional<Json> claimed_by(const World& world, const Key& key, const Json& route,
                               Hosts& hosts) {
  std::optional<Json> holder;
  const std::string host = host_of(route);
  for (const auto& object : world.list(res::oroutes())) {
    if (object->key() == key || object->deleting() || hosts.of(object) != host) continue;
    Json other = object->parse();
    if (host_of(other) != host ||
        json::str(other, {"spec", "path"}) != json::str(route, {"spec", "path"})) {
      continue;
    }
    if (older(other, route) && (!holder || older(other, *holder))) holder = std::move(other);
  }
  return holder;
}

std::string invalid(const Json& route) {
  const auto termination = json::str(route, {"spec", "tls", "termination"});
  const auto insecure = json::str(route, {"spec", "tls", "insecureEdgeTerminationPolicy"});
  if (json::str(route, {"spec", "to", "kind"}, "Service") != "Service") {
    return "spec.to.kind: must be Service";
  }
  if (termination == "passthrough") {
    if (insecure == "Allow") {
      return "spec.tls.insecureEdgeTerminationPolicy: Allow is not possible with passthrough: use "
             "Redirect or None";
    }
    if (!json::str(route, {"spec", "path"}).empty()) {
      return "spec.path: passthrough termination does not support paths";
    }
    for (const auto field : {"certificate", "key", "caCertificate", "destinationCACertificate"}) {
      if (!json::str(route, {"spec", "tls", field}).empty()) {
        return "spec.tls." + std::string(field) +
               ": passthrough termination does not support "
               "certificates";
      }
    }
  }
  return {};
}

Plan admit(const World& world, const Key& key, const RouteSettings& settings, Hosts& hosts) {
  Plan plan;
  const auto object = world.get(key);
  if (object == nullptr) hosts.forget(key);
  if (object == nullptr || object->deleting()) return plan;
  Json route = object->parse();
  const std::string domain = apps_domain(world, settings);
  if (host_of(route).empty()) {
    Json patch = JsonObject();
    json::set(patch, {"spec", "host"}, Json(generated_host(route, domain)));
    json::set(patch, {"metadata", "annotations", "openshift.io/host.generated"}, Json("true"));
    plan.merge(key, patch);
    return plan;  // admitted with its host in the next round
  }
  std::string status = "True", reason, message;
  if (const auto problem = invalid(route); !problem.empty()) {
    status = "False";
    reason = "ExtendedValidationFailed";
    message = problem;
  } else if (const auto wildcard = json::str(route, {"spec", "wildcardPolicy"}, "None");
             wildcard != "None") {
    status = "False";
    reason = "RouteNotAdmitted";
    message = "wildcard routes are not allowed";
  } else if (const auto holder = claimed_by(world, key, route, hosts)) {
    status = "False";
    reason = "HostAlreadyClaimed";
    const auto ns = json::str(*holder, {"metadata", "namespace"});
    const auto name = json::str(*holder, {"metadata", "name"});
    message = ns == key.ns ? "route " + std::string(name) + " already exposes " + host_of(route) +
                                 " and is older"
                           : "a route in another namespace holds " + host_of(route) +
                                 " and is older than " + key.name;
  }
  JsonObject condition;
  condition["lastTransitionTime"] = rfc3339(world.wall_now());
  if (!message.empty()) condition["message"] = message;
  if (!reason.empty()) condition["reason"] = reason;
  condition["status"] = status;
  condition["type"] = "Admitted";
  JsonArray others;  // other routers' entries stay
  for (const auto& entry : json::array(route, {"status", "ingress"})) {
    if (json::str(entry, {"routerName"}) != settings.router_name) {
      others.push_back(entry);
      continue;
    }
    const auto& old = json::array(entry, {"conditions"});
    if (!old.empty() && json::str(old[0], {"status"}) == status &&
        json::str(old[0], {"reason"}) == reason && json::str(old[0], {"message"}) == message) {
      condition["lastTransitionTime"] = json::str(old[0], {"lastTransitionTime"});
    }
  }
  JsonObject entry;
  entry["conditions"] = JsonArray{std::move(condition)};
  entry["host"] = json::str(route, {"spec", "host"});
  entry["routerCanonicalHostname"] = "router-" + settings.router_name + "." + domain;
  entry["routerName"] = settings.router_name;
  entry["wildcardPolicy"] = json::str(route, {"spec", "wildcardPolicy"}, "None");
  others.insert(others.begin(), std::move(entry));
  const Json want(std::move(others));
  const Json* have = json::find(route, {"status", "ingress"});
  if (have == nullptr || *have != want) {
    JsonObject status_patch;
    status_patch["ingress"] = want;
    plan.status(key, std::move(status_patch));
  }
  return plan;
}

}  // namespace

std::string apps_domain(const World& world, const RouteSettings& settings) {
  const Key key{res::oingresses(), "", "cluster"};
  const Json signal = world.signal(reconcile::Signal::Domain, key);
  if (const auto* s = signal.if_string()) return std::string(s->data(), s->size());
  if (const auto domain = json::str(signal, {"domain"}); !domain.empty()) {
    return std::string(domain);
  }
  const Json cluster = world.view(key);
  for (const auto field : {"appsDomain", "domain"}) {
    const auto domain = json::str(cluster, {"spec", field});
    if (!domain.empty()) return std::string(domain);
  }
  return settings.apps_domain;
}

reconcile::Planner admission_planner(RouteSettings settings) {
  reconcile::Planner planner;
  planner.name = "route-admission";
  planner.owns = res::oroutes();
  const auto known = std::make_shared<Hosts>();  // one loop
  planner.plan = [settings, known](const World& world, const Key& key, Instant) {
    return admit(world, key, settings, *known);
  };
  // A host that changes hands concerns every Route that asks for it.
  planner.triggers = {{res::oroutes(),
                       [](const World& world, const ObjectPtr& before, const ObjectPtr& after) {
                         std::vector<Key> keys;
                         std::vector<std::string> hosts;
                         for (const auto& object : {before, after}) {
                           if (object != nullptr) hosts.push_back(host_of(object->parse()));
                         }
                         for (const auto& route : world.list(res::oroutes())) {
                           const auto host = host_of(route->parse());
                           if (std::find(hosts.begin(), hosts.end(), host) != hosts.end()) {
                             keys.push_back(route->key());
                           }
                         }
                         return keys;
                       }},
                      reconcile::by_any(res::oingresses(), res::oroutes())};
  return planner;
}

std::vector<reconcile::Planner> route_planners(const RouteSettings& settings) {
  return {serverless_route_planner(settings), admission_planner(settings)};
}

void register_routes(reconcile::Driver& driver, RouteSettings settings) {
  for (auto& planner : route_planners(settings)) driver.add(std::move(planner));
}

}  // namespace knit::routes
