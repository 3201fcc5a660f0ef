// net-istio: Knative Ingress → VirtualServices; ready when a probe came back with its hash.
// Source: knative-extensions/net-istio pkg/reconciler/ingress/ingress.go
#include <algorithm>
#include <set>

#include "controllers/serving/exact.h"
#include "controllers/serving/ingress/virtual_service.h"
#include "controllers/serving/serving.h"

namespace knit::serving {
namespace {
constexpr std::string_view kNetwork = "NetworkConfigured";
constexpr std::string_view kLoadBalancer = "LoadBalancerReady";
constexpr std::string_view kComponent = "istio-ingress-controller";
constexpr std::string_view kWaiting = "Waiting for load balancer to be ready";

void waiting(Subject& s, const std::string& cause) {
  s.conditions().mark_unknown(
      kLoadBalancer, "Uninitialized",
      cause.empty() ? std::string(kWaiting) : std::string(kWaiting) + ": " + cause);
}

Json balancer(const std::vector<IstioGateway>& gateways) {
  JsonObject entry;
  if (gateways.empty()) {
    entry["meshOnly"] = true;
  } else {
    entry["domainInternal"] = gateways.front().service;
  }
  JsonObject out;
  out["ingress"] = JsonArray{std::move(entry)};
  return out;
}

/// What config-istio names and nobody made: the cause of an Ingress that never becomes ready.
std::string missing_gateway(const World& world, const std::vector<IstioGateway>& gateways,
                            std::string_view prefix) {
  for (const auto& gateway : gateways) {
    if (world.has({res::gateways(), gateway.ns, gateway.name})) continue;
    return "failed to get Gateway: gateways.networking.istio.io \"" + gateway.name +
           "\" not found in namespace " + gateway.ns + " (config-istio names it with " +
           std::string(prefix) + gateway.ns + "." + gateway.name +
           "): create this Gateway, or name an existing one in spec.config.istio of the "
           "KnativeServing";
  }
  return {};
}

void reconcile_ingress(Subject& s, Context& context) {
  const World& world = s.world();
  const ServingConfig& config = context.configs.get(world);
  auto& c = s.conditions();
  const StringMap labels = labels_of(s.dom());
  const auto external = choose_gateways(config.istio.external, labels);
  const auto local = choose_gateways(config.istio.local, labels);
  IngressGateways names;
  for (const auto& g : external) names.external.push_back(g.qualified());
  for (const auto& g : local) names.local.push_back(g.qualified());

  if (!json::array(s.dom(), {"spec", "tls"}).empty()) {
    c.mark_false(kNetwork, "Unsupported",
                 "spec.tls of a Knative Ingress is not supported yet: terminate TLS at the "
                 "Gateway (tls.credentialName).");
    return;
  }
  std::set<std::string> kept;
  for (auto& [name, vs] : make_virtual_services(s.dom(), names, context.settings.cluster_domain)) {
    const Key key = s.sibling(res::virtualservices(), name);
    const auto object = world.get(key);
    if (object != nullptr && !controlled_by(object, s.dom())) {
      c.mark_false(kNetwork, "NotOwned",
                   "There is an existing VirtualService \"" + name + "\" that we do not own.");
      return;
    }
    kept.insert(name);
    ensure_exact(s, key, std::move(vs));
  }
  for (const auto& object :
       world.labelled(res::virtualservices(), s.key().ns, label::kIngress, s.key().name)) {
    if (!kept.contains(object->key().name) && controlled_by(object, s.dom()) &&
        !object->deleting()) {
      s.plan().remove(object);
    }
  }
  c.mark_true(kNetwork);

  const auto& errors = context.configs.errors();
  const auto config_error = errors.find("config-istio");
  std::string cause = config_error != errors.end() ? config_error->second : "";
  if (cause.empty()) cause = missing_gateway(world, external, "gateway.");
  if (cause.empty()) cause = missing_gateway(world, local, "local-gateway.");
  const bool gateways_known = cause.empty();
  bool ready = false;
  if (cause.empty() && external.empty() && local.empty()) {
    ready = true;  // mesh only: nothing to probe
  } else if (cause.empty()) {
    const Json reach = world.signal(reconcile::Signal::Reach, s.key());
    if (json::str(reach, {"hash"}) == ingress_hash(s.dom())) {
      ready = json::boolean(reach, {"ready"});
      cause = json::str(reach, {"failure"});
    } else {
      // After a restart nothing is known yet: what was ready for this generation stays.
      ready = is_ready(s.dom());
    }
  }
  if (gateways_known) {
    // DIFFERS: upstream writes the balancers with Ready. Here Ready also means that the router
    // leads to them, and the router's Route is made from them.
    json::set(s.status(), {"publicLoadBalancer"}, balancer(external));
    json::set(s.status(), {"privateLoadBalancer"}, balancer(local));
  }
  if (ready) {
    c.mark_true(kLoadBalancer);
  } else {
    waiting(s, cause);
  }
}

}  // namespace

reconcile::Planner ingress_planner(ContextPtr context) {
  reconcile::Planner planner;
  planner.name = "istio-ingress";
  planner.owns = res::kingresses();
  planner.plan = [context](const World& world, const Key& key, Instant) {
    const auto object = world.get(key);
    if (object == nullptr || object->deleting() || !installed(world)) return Plan{};
    Subject s(world, object, {std::string(kNetwork), std::string(kLoadBalancer)});
    const auto wanted = json::str(s.dom(), {"metadata", "annotations", annotation::kIngressClass});
    if (wanted != kIstioIngressClass) return Plan{};  // another controller's
    reconcile_ingress(s, *context);
    return s.finish(kComponent);
  };
  planner.triggers = {reconcile::by_owner(res::virtualservices(), res::kingresses()),
                      reconcile::by_any(res::gateways(), res::kingresses())};
  planner.signals = {reconcile::Signal::Reach};
  add_config_triggers(planner);
  return planner;
}

}  // namespace knit::serving
