// ServerlessService → public and private Service, and the public one's Endpoints: the pods, or the
// activator.
// Source: knative/serving pkg/reconciler/serverlessservice/serverlessservice.go,
// resources/services.go
#include <algorithm>
#include <set>

#include "base/hash.h"
#include "controllers/serving/exact.h"
#include "controllers/serving/serving.h"

namespace knit::serving {
namespace {
constexpr std::string_view kEndpoints = "EndpointsPopulated";
constexpr std::string_view kActivator = "ActivatorEndpointsPopulated";
constexpr std::string_view kComponent = "serverlessservice-controller";
constexpr int kHttp = 8012, kHttp2 = 8013, kHttps = 8112;

Json port(std::string_view name, int number, int target, bool h2c = false) {
  JsonObject out;
  if (h2c) out["appProtocol"] = "kubernetes.io/h2c";
  out["name"] = name;
  out["port"] = number;
  out["protocol"] = "TCP";
  out["targetPort"] = target;
  return out;
}

Json service(const Json& sks, std::string_view type) {
  StringMap labels = labels_of(sks);
  labels[std::string(label::kSks)] = name_of(sks);
  labels[std::string(label::kServiceType)] = type;
  Json out = JsonObject();
  json::set(out, {"apiVersion"}, Json("v1"));
  json::set(out, {"kind"}, Json("Service"));
  json::set(out, {"metadata", "labels"}, to_json(labels));
  json::set(out, {"metadata", "annotations"}, to_json(annotations_of(sks)));
  return out;
}

JsonArray public_ports(bool h2c) {
  return {h2c ? port("http2", 81, kHttp2, true) : port("http", 80, kHttp),
          port("https", 443, kHttps)};
}
// The port named *-istio has the target's own number, so that sidecars listen for pod IPs there.
JsonArray private_ports(bool h2c) {
  return {h2c ? port("http2", 80, kHttp2, true) : port("http", 80, kHttp),
          port("https", 443, kHttps), port("http-autometric", 9090, 9090),
          port("http-usermetric", 9091, 9091),
          h2c ? port("http2-istio", kHttp2, kHttp2, true) : port("http-istio", kHttp, kHttp)};
}

int ready_addresses(const Json& endpoints) {
  std::size_t n = 0;
  for (const auto& subset : json::array(endpoints, {"subsets"})) {
    n += json::array(subset, {"addresses"}).size();
  }
  return static_cast<int>(n);
}

/// Subsets with only the ports that the public Service has.
JsonArray filter_ports(const JsonArray& subsets, bool h2c) {
  const std::set<std::string_view> names = {h2c ? "http2" : "http", "https"};
  const std::set<std::int64_t> numbers = {h2c ? kHttp2 : kHttp, kHttps};
  JsonArray out;
  for (const auto& subset : subsets) {
    JsonArray ports;
    for (const auto& p : json::array(subset, {"ports"})) {
      if (numbers.contains(json::i64(p, {"port"})) && names.contains(json::str(p, {"name"}))) {
        ports.push_back(p);
      }
    }
    if (ports.empty()) continue;
    Json copy = subset;
    copy.get_object()["ports"] = std::move(ports);
    out.push_back(std::move(copy));
  }
  return out;
}

/// At most `n` addresses of the activators, always the same ones for one ServerlessService.
/// DIFFERS: upstream walks a ring of 2048 positions; highest-random-weight choice moves as little
/// when activators come and go.
JsonArray choose_activators(const JsonArray& subsets, std::size_t n, std::string_view name) {
  std::vector<std::pair<std::uint64_t, std::string>> ranked;
  for (const auto& subset : subsets) {
    for (const auto& address : json::array(subset, {"addresses"})) {
      const std::string ip(json::str(address, {"ip"}));
      ranked.emplace_back(hash::fnv64a(std::string(name) + "/" + ip), ip);
    }
  }
  if (n == 0 || ranked.size() <= n) return subsets;
  std::sort(ranked.rbegin(), ranked.rend());
  std::set<std::string, std::less<>> chosen;
  for (std::size_t i = 0; i < n; ++i) chosen.insert(ranked[i].second);
  JsonArray out;
  for (const auto& subset : subsets) {
    Json copy = subset;
    for (const auto field : {"addresses", "notReadyAddresses"}) {
      JsonArray kept;
      for (const auto& address : json::array(subset, {field})) {
        if (chosen.contains(json::str(address, {"ip"}))) kept.push_back(address);
      }
      if (kept.empty()) {
        copy.get_object().erase(field);
      } else {
        copy.get_object()[field] = std::move(kept);
      }
    }
    if (copy.get_object().contains("addresses")) out.push_back(std::move(copy));
  }
  return out;
}

bool not_owned(Subject& s, const Key& key, std::string_view kind) {
  const auto object = s.world().get(key);
  if (object == nullptr || controlled_by(object, s.dom())) return false;
  s.conditions().mark_false(
      kEndpoints, "NotOwned",
      "Resource " + key.name + " of type " + std::string(kind) + " is not owned by SKS");
  return true;
}

void reconcile_sks(Subject& s) {
  const World& world = s.world();
  auto& c = s.conditions();
  const std::string& name = s.key().name;
  const bool h2c = json::str(s.dom(), {"spec", "protocolType"}) == "h2c";
  const auto not_ready = [&](std::string_view reason) {
    c.mark_unknown(kEndpoints, reason, "K8s Service is not ready");
  };

  const Key private_key = s.sibling(res::services(), child_name(name, "-private"));
  if (not_owned(s, private_key, "Service")) return;
  const Json target =
      world.view(s.sibling(res::deployments(), json::str(s.dom(), {"spec", "objectRef", "name"})));
  const Json* selector = json::find(target, {"spec", "selector", "matchLabels"});
  if (selector == nullptr) {
    not_ready("CreatingPrivateService");  // its Deployment tells the selector
    return;
  }
  Json private_service = service(s.dom(), "Private");
  json::set(private_service, {"spec", "ports"}, private_ports(h2c));
  json::set(private_service, {"spec", "selector"}, *selector);
  const bool had_private = world.has(private_key);
  if (!had_private) not_ready("CreatingPrivateService");
  s.ensure_child(private_key, std::move(private_service));
  json::set(s.status(), {"privateServiceName"}, Json(private_key.name));

  const Key public_key = s.sibling(res::services(), name);
  if (not_owned(s, public_key, "Service")) return;
  Json public_service = service(s.dom(), "Public");
  json::set(public_service, {"spec", "ports"}, public_ports(h2c));
  if (!world.has(public_key)) not_ready("CreatingPublicService");
  s.ensure_child(public_key, std::move(public_service));
  json::set(s.status(), {"serviceName"}, Json(name));

  const Json backends = world.view(s.sibling(res::endpoints(), private_key.name));
  const Json activators =
      world.view({res::endpoints(), std::string(kSystemNamespace), std::string(kActivatorService)});
  const bool found = ready_addresses(backends) > 0;
  const bool proxy = json::str(s.dom(), {"spec", "mode"}) == "Proxy";
  const auto wanted = json::i64(s.dom(), {"spec", "numActivators"});
  const JsonArray source =
      !proxy && found ? json::array(backends, {"subsets"})
                      : choose_activators(json::array(activators, {"subsets"}),
                                          wanted > 0 ? static_cast<std::size_t>(wanted) : 0, name);
  const Key endpoints_key = s.sibling(res::endpoints(), name);
  if (not_owned(s, endpoints_key, "Endpoints")) return;
  Json endpoints = service(s.dom(), "Public");
  json::set(endpoints, {"kind"}, Json("Endpoints"));
  JsonArray subsets = filter_ports(source, h2c);
  json::set(endpoints, {"subsets"}, subsets.empty() ? Json() : Json(std::move(subsets)));
  if (!world.has(endpoints_key)) not_ready("CreatingPublicEndpoints");
  s.ensure_child(endpoints_key, std::move(endpoints));

  if (found) {
    c.mark_true(kEndpoints);
  } else {
    not_ready("NoHealthyBackends");
  }
  // Its last transition is the clock of the grace period before zero.
  const bool backed = !found || proxy;
  c.set({std::string(kActivator),
         backed ? "True" : "False",
         "Info",
         "ActivatorEndpointsPopulated",
         "Revision is backed by Activator",
         {}});
}

}  // namespace

reconcile::Planner sks_planner(ContextPtr context) {
  reconcile::Planner planner;
  planner.name = "serverlessservice";
  planner.owns = res::sks();
  planner.plan = [context](const World& world, const Key& key, Instant) {
    const auto object = world.get(key);
    if (object == nullptr || object->deleting() || !installed(world)) return Plan{};
    Subject s(world, object, {std::string(kEndpoints)});
    reconcile_sks(s);
    return s.finish(kComponent);
  };
  planner.triggers = {
      reconcile::by_owner(res::services(), res::sks()),
      {res::deployments(),
       [](const World&, const ObjectPtr& before, const ObjectPtr& after) {
         std::vector<Key> keys;
         const auto& object = after != nullptr ? after : before;
         const auto revision = object->label(label::kRevision);
         if (!revision.empty()) {
           keys.push_back({res::sks(), object->key().ns, std::string(revision)});
         }
         return keys;
       }},
      {res::endpoints(), [](const World& world, const ObjectPtr& before, const ObjectPtr& after) {
         std::vector<Key> keys;
         const Key& changed = (after != nullptr ? after : before)->key();
         if (changed.ns == kSystemNamespace && changed.name == kActivatorService) {
           for (const auto& sks : world.list(res::sks())) keys.push_back(sks->key());
           return keys;
         }
         keys.push_back({res::sks(), changed.ns, changed.name});
         constexpr std::string_view kPrivate = "-private";
         if (!changed.name.ends_with(kPrivate)) return keys;
         keys.push_back({res::sks(), changed.ns,
                         changed.name.substr(0, changed.name.size() - kPrivate.size())});
         if (changed.name.size() < 63) return keys;
         // A shortened name carries a digest of its parent's.
         for (const auto& sks : world.list(res::sks(), changed.ns)) {
           if (child_name(sks->key().name, kPrivate) == changed.name) keys.push_back(sks->key());
         }
         return keys;
       }}};
  add_config_triggers(planner);
  return planner;
}

}  // namespace knit::serving
