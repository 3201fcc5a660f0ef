// Source: openshift-knative/serverless-operator
// serving/ingress/pkg/reconciler/ingress/{ingress.go,resources/route.go}
#include <algorithm>
#include <charconv>
#include <set>

#include "base/hash.h"
#include "controllers/routes/routes.h"

namespace knit::routes {
namespace {
using kube::Key;
using reconcile::ObjectPtr;
using reconcile::Plan;
using reconcile::World;
namespace res = kube::res;

constexpr std::string_view kPrefix = "serving.knative.openshift.io/";
constexpr std::string_view kFinalizer = "ocp-ingress";
constexpr std::string_view kIngressLabel = "networking.internal.knative.dev/ingress";
constexpr std::string_view kIngressName = "serving.knative.openshift.io/ingressName";
constexpr std::string_view kIngressNamespace = "serving.knative.openshift.io/ingressNamespace";
constexpr std::string_view kTimeout = "haproxy.router.openshift.io/timeout";
constexpr std::string_view kClass = "networking.knative.dev/ingress.class";
constexpr std::string_view kIstioClass = "istio.ingress.networking.knative.dev";

std::string_view annotation(const Json& object, std::string_view key) {
  return json::str(object, {"metadata", "annotations", key});
}
bool has_annotation(const Json& object, std::string_view key) {
  return json::find(object, {"metadata", "annotations", key}) != nullptr;
}
std::string own(std::string_view name) { return std::string(kPrefix) + std::string(name); }

std::vector<std::string> labels_of_host(std::string_view host) {
  std::vector<std::string> out;
  while (true) {
    const auto dot = host.find('.');
    out.emplace_back(host.substr(0, dot));
    if (dot == std::string_view::npos) return out;
    host.remove_prefix(dot + 1);
  }
}

/// Argo CD would claim, and delete, what carries its marks.
bool argo(std::string_view key) { return key.find("argocd.argoproj.io/") == 0; }

bool uses_tls_backend(const Json& ingress) {
  for (const auto& rule : json::array(ingress, {"spec", "rules"})) {
    for (const auto& path : json::array(rule, {"http", "paths"})) {
      for (const auto& split : json::array(path, {"splits"})) {
        if (json::i64(split, {"servicePort"}) == 443) return true;
      }
    }
  }
  return false;
}

std::vector<ObjectPtr> routes_of(const World& world, const Key& ingress) {
  std::vector<ObjectPtr> out;
  for (const auto& object : world.labelled(res::oroutes(), {}, kIngressName, ingress.name)) {
    if (object->label(kIngressNamespace) == ingress.ns) out.push_back(object);
  }
  return out;
}

void set_finalizer(Plan& plan, const Key& key, const Json& ingress, bool wanted) {
  JsonArray list = json::array(ingress, {"metadata", "finalizers"});
  const auto it = std::find(list.begin(), list.end(), Json(kFinalizer));
  if ((it != list.end()) == wanted) return;
  if (wanted) {
    list.push_back(Json(kFinalizer));
  } else {
    list.erase(it);
  }
  Json patch = JsonObject();
  json::set(patch, {"metadata", "finalizers"}, list.empty() ? Json() : Json(std::move(list)));
  plan.merge(key, std::move(patch));
}

Plan plan_ingress(const World& world, const Key& key, const RouteSettings& settings) {
  Plan plan;
  const auto object = world.get(key);
  const auto existing = routes_of(world, key);
  if (object == nullptr || object->deleting()) {
    for (const auto& route : existing) {
      if (!route->deleting()) plan.remove(route);
    }
    if (object != nullptr) set_finalizer(plan, key, object->parse(), false);
    return plan;
  }
  const Json ingress = object->parse();
  if (annotation(ingress, kClass) != kIstioClass) return plan;
  std::set<Key> wanted;
  if (!has_annotation(ingress, own("disableRoute"))) {
    for (const auto& host : public_hosts(ingress)) {
      auto route = make_route(ingress, host, settings);
      if (!route) return plan;  // planned again when the Ingress has its load balancer
      wanted.insert(route->first);
      plan.ensure(world, route->first, route->second);
    }
  }
  for (const auto& route : existing) {
    if (!wanted.contains(route->key()) && !route->deleting()) plan.remove(route);
  }
  set_finalizer(plan, key, ingress, !wanted.empty());
  return plan;
}

}  // namespace

std::string serverless_route_name(std::string_view ingress_uid, std::string_view host) {
  return "route-" + std::string(ingress_uid) + "-" + hash::hex(hash::sha256_hex(host).substr(0, 6));
}

std::vector<std::string> public_hosts(const Json& ingress) {
  std::vector<std::string> out;
  for (const auto& rule : json::array(ingress, {"spec", "rules"})) {
    if (json::str(rule, {"visibility"}) == "ClusterLocal") continue;
    for (const auto& host : json::array(rule, {"hosts"})) {
      const auto* s = host.if_string();
      if (s == nullptr) continue;
      const std::string name(s->data(), s->size());
      const auto parts = labels_of_host(name);
      if (parts.size() == 2 || (parts.size() > 2 && parts[2] != "svc")) out.push_back(name);
    }
  }
  return out;
}

Result<std::pair<Key, Json>> make_route(const Json& ingress, std::string_view host,
                                        const RouteSettings& settings) {
  const auto& balancers = json::array(ingress, {"status", "publicLoadBalancer", "ingress"});
  const auto internal =
      balancers.empty() ? std::string_view() : json::str(balancers[0], {"domainInternal"});
  const auto parts = labels_of_host(internal);
  if (parts.size() < 3 || parts[2] != "svc") {
    return Error(Code::Unavailable, "unable to find Ingress LoadBalancer with DomainInternal set");
  }
  const std::string uid(json::str(ingress, {"metadata", "uid"}));
  Key key{res::oroutes(), parts[1], serverless_route_name(uid, host)};

  JsonObject labels, annotations;
  for (const auto& [k, v] : json::string_map(ingress, {"metadata", "labels"})) {
    if (!argo(k)) labels[k] = v;
  }
  labels[kIngressLabel] = json::str(ingress, {"metadata", "name"});
  labels[kIngressName] = json::str(ingress, {"metadata", "name"});
  labels[kIngressNamespace] = json::str(ingress, {"metadata", "namespace"});
  for (const auto& [k, v] : json::string_map(ingress, {"metadata", "annotations"})) {
    if (!argo(k)) annotations[k] = v;
  }
  std::string timeout = settings.timeout;
  if (const auto text = annotation(ingress, own("setRouteTimeout")); !text.empty()) {
    unsigned seconds = 0;
    const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), seconds);
    if (ec == std::errc() && end == text.data() + text.size()) {
      timeout = std::to_string(seconds) + "s";
    }
  }
  annotations[kTimeout] = timeout;

  const bool redirected = json::str(ingress, {"spec", "httpOption"}) == "Redirected";
  const bool passthrough = has_annotation(ingress, own("enablePassthrough")) ||
                           !json::array(ingress, {"spec", "tls"}).empty() ||
                           uses_tls_backend(ingress);
  Json route = JsonObject();
  json::set(route, {"apiVersion"}, Json("route.openshift.io/v1"));
  json::set(route, {"kind"}, Json("Route"));
  json::set(route, {"metadata", "labels"}, std::move(labels));
  json::set(route, {"metadata", "annotations"}, std::move(annotations));
  json::set(route, {"spec", "host"}, Json(host));
  json::set(route, {"spec", "port", "targetPort"}, Json(passthrough ? "https" : "http2"));
  json::set(route, {"spec", "tls", "termination"}, Json(passthrough ? "passthrough" : "edge"));
  json::set(route, {"spec", "tls", "insecureEdgeTerminationPolicy"},
            Json(passthrough || redirected ? "Redirect" : "Allow"));
  json::set(route, {"spec", "to", "kind"}, Json("Service"));
  json::set(route, {"spec", "to", "name"}, Json(parts[0]));
  json::set(route, {"spec", "to", "weight"}, Json(100));
  json::set(route, {"spec", "wildcardPolicy"}, Json("None"));
  return std::make_pair(std::move(key), std::move(route));
}

reconcile::Planner serverless_route_planner(RouteSettings settings) {
  reconcile::Planner planner;
  planner.name = "serverless-route";
  planner.owns = res::kingresses();
  planner.plan = [settings](const World& world, const Key& key, Instant) {
    return plan_ingress(world, key, settings);
  };
  planner.triggers = {
      {res::oroutes(), [](const World&, const ObjectPtr& before, const ObjectPtr& after) {
         std::vector<Key> keys;
         const auto& route = after != nullptr ? after : before;
         const auto name = route->label(kIngressName);
         const auto ns = route->label(kIngressNamespace);
         if (!name.empty()) {
           keys.push_back({res::kingresses(), std::string(ns), std::string(name)});
         }
         return keys;
       }}};
  return planner;
}

}  // namespace knit::routes
