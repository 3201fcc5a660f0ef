#include "controllers/core/services/endpoints.h"

#include <algorithm>
#include <map>
#include <set>

#include "kube/selector.h"

namespace knit::controllers::core {
namespace {
using reconcile::Planner;

constexpr std::string_view kServiceName = "kubernetes.io/service-name";
constexpr std::string_view kManagedBy = "endpointslice.kubernetes.io/managed-by";
constexpr std::string_view kSliceController = "endpointslice-controller.k8s.io";
constexpr std::string_view kMirrorController = "endpointslicemirroring-controller.k8s.io";
constexpr std::size_t kMaxEndpoints = 100;   // per slice
constexpr std::size_t kMaxAddresses = 1000;  // per Endpoints; more are only in slices

bool is_v6(std::string_view ip) { return ip.find(':') != std::string_view::npos; }

// The number of a Service port on one pod, or nothing when the pod has no such named port.
std::optional<std::int64_t> target_port(const Json& port, const Json& pod) {
  const Json* target = json::find(port, "targetPort");
  if (target == nullptr) return json::i64(port, {"port"});
  if (target->is_number()) {
    const auto n = json::i64(port, {"targetPort"});
    return n == 0 ? json::i64(port, {"port"}) : n;
  }
  const auto name = json::str(port, {"targetPort"});
  const auto protocol = json::str(port, {"protocol"}, "TCP");
  const auto search = [&](const JsonArray& containers,
                          bool sidecars_only) -> std::optional<std::int64_t> {
    for (const auto& c : containers) {
      if (sidecars_only && json::str(c, {"restartPolicy"}) != "Always") continue;
      for (const auto& p : json::array(c, {"ports"})) {
        if (json::str(p, {"name"}) == name && json::str(p, {"protocol"}, "TCP") == protocol) {
          return json::i64(p, {"containerPort"});
        }
      }
    }
    return std::nullopt;
  };
  if (auto n = search(json::array(pod, {"spec", "containers"}), false)) return n;
  return search(json::array(pod, {"spec", "initContainers"}), true);
}

JsonArray resolve(const Json& service, const Json& pod) {
  JsonArray out;
  for (const auto& port : json::array(service, {"spec", "ports"})) {
    const auto number = target_port(port, pod);
    if (!number) continue;
    JsonObject resolved;
    resolved["name"] = json::str(port, {"name"});
    resolved["port"] = *number;
    resolved["protocol"] = json::str(port, {"protocol"}, "TCP");
    if (const auto app = json::str(port, {"appProtocol"}); !app.empty()) {
      resolved["appProtocol"] = app;
    }
    out.push_back(std::move(resolved));
  }
  return out;
}

Json target_ref(const Json& pod) {
  return JsonObject{{"kind", "Pod"},
                    {"namespace", json::str(pod, {"metadata", "namespace"})},
                    {"name", json::str(pod, {"metadata", "name"})},
                    {"uid", json::str(pod, {"metadata", "uid"})}};
}

std::string address_of(const Json& pod, bool v6) {
  for (const auto& ip : json::array(pod, {"status", "podIPs"})) {
    const auto text = json::str(ip, {"ip"});
    if (!text.empty() && is_v6(text) == v6) return std::string(text);
  }
  const auto ip = json::str(pod, {"status", "podIP"});
  return !ip.empty() && is_v6(ip) == v6 ? std::string(ip) : std::string();
}

// Endpoints leave out an empty port name, slices keep it.
JsonArray endpoints_ports(const JsonArray& ports) {
  JsonArray out = ports;
  for (auto& p : out) {
    if (json::str(p, {"name"}).empty()) json::erase(p, {"name"});
  }
  return out;
}

void remove_other_slices(Plan& plan, const World& world, const std::string& ns,
                         std::string_view service, std::string_view manager,
                         const std::set<std::string>& kept) {
  for (const auto& slice : world.labelled(res::endpointslices(), ns, kServiceName, service)) {
    if (slice->label(kManagedBy) == manager && !kept.contains(slice->key().name)) {
      plan.remove(slice);
    }
  }
}

// Writes groups of endpoints (by their ports) as slices of at most kMaxEndpoints.
struct Group {
  JsonArray ports;
  std::vector<Json> endpoints;
};
void write_slices(Plan& plan, const World& world, const Json& owner, const std::string& ns,
                  const std::string& service, std::string_view family, std::string_view manager,
                  const std::map<std::string, Group>& groups, const JsonObject& labels,
                  std::set<std::string>& kept) {
  for (const auto& [id, group] : groups) {
    for (std::size_t begin = 0; begin == 0 || begin < group.endpoints.size();
         begin += kMaxEndpoints) {
      const std::string name =
          service.substr(0, 57) + "-" +
          name_suffix(service + '/' + std::string(manager) + '/' + std::string(family) + '/' + id +
                          '/' + std::to_string(begin),
                      5);
      JsonArray endpoints;
      for (std::size_t i = begin; i < std::min(begin + kMaxEndpoints, group.endpoints.size());
           ++i) {
        endpoints.push_back(group.endpoints[i]);
      }
      Json slice = JsonObject();
      json::set(slice, {"apiVersion"}, Json("discovery.k8s.io/v1"));
      json::set(slice, {"kind"}, Json("EndpointSlice"));
      json::set(slice, {"metadata", "name"}, Json(name));
      json::set(slice, {"metadata", "generateName"}, Json(service + "-"));
      json::set(slice, {"metadata", "namespace"}, Json(ns));
      json::set(slice, {"metadata", "labels"}, labels);
      json::set(slice, {"metadata", "labels", kServiceName}, Json(service));
      json::set(slice, {"metadata", "labels", kManagedBy}, Json(manager));
      json::set(slice, {"metadata", "ownerReferences"}, JsonArray{controller_ref(owner)});
      json::set(slice, {"addressType"}, Json(family));
      json::set(slice, {"endpoints"}, std::move(endpoints));
      json::set(slice, {"ports"}, group.ports);
      plan.ensure(world, {res::endpointslices(), ns, name}, slice);
      kept.insert(name);
    }
  }
}

JsonObject copied_labels(const Json& from) {
  JsonObject out;
  for (const auto& [k, v] : json::string_map(from, {"metadata", "labels"})) {
    if (k != kServiceName && k != kManagedBy && k != "service.kubernetes.io/headless") out[k] = v;
  }
  return out;
}

Plan plan_endpoints(const World& world, const Key& key) {
  Plan plan;
  const auto object = world.get(key);
  const Key endpoints_key{res::endpoints(), key.ns, key.name};
  if (object == nullptr) {
    // Endpoints of a Service that is gone go with it; slices go by their owner.
    const auto endpoints = world.get(endpoints_key);
    if (endpoints != nullptr &&
        endpoints->label("endpoints.kubernetes.io/managed-by") == "endpoint-controller") {
      plan.remove(endpoints);
    }
    return plan;
  }
  const Json service = object->parse();
  if (deleting(service)) return plan;
  const auto selector = kube::LabelSelector::from_map(json::find(service, {"spec", "selector"}));
  if (selector.requirements().empty() || json::str(service, {"spec", "type"}) == "ExternalName") {
    remove_other_slices(plan, world, key.ns, key.name, kSliceController, {});
    return plan;
  }
  const bool publish = json::boolean(service, {"spec", "publishNotReadyAddresses"});
  bool v4 = false, v6 = false;
  for (const auto& family : json::array(service, {"spec", "ipFamilies"})) {
    v4 = v4 || family == Json("IPv4");
    v6 = v6 || family == Json("IPv6");
  }
  if (!v4 && !v6) v4 = true;
  const bool first_v6 = v6 && (!v4 || json::array(service, {"spec", "ipFamilies"})[0] == "IPv6");

  struct Subset {
    JsonArray ports, ready, not_ready;
  };
  std::map<std::string, Subset> subsets;
  std::map<std::string, Group> slices[2];
  std::size_t addresses = 0;
  for (const auto& candidate : world.list(res::pods(), key.ns)) {
    if (!selector.matches(candidate->labels())) continue;
    const Json pod = candidate->parse();
    if (pod_ended(pod)) continue;
    JsonArray ports = resolve(service, pod);
    const bool headless_without_ports = json::array(service, {"spec", "ports"}).empty();
    if (ports.empty() && !headless_without_ports) continue;  // no such named port here
    const bool ready = pod_ready(pod);
    const bool ends = deleting(pod);
    const std::string id = json::canonical(Json(ports));
    const auto node = json::str(pod, {"spec", "nodeName"});
    const auto hostname = json::str(pod, {"spec", "hostname"});
    const bool named_host = !hostname.empty() && json::str(pod, {"spec", "subdomain"}) == key.name;
    for (int family = 0; family < 2; ++family) {
      if (family == 0 ? !v4 : !v6) continue;
      const std::string ip = address_of(pod, family == 1);
      if (ip.empty()) continue;
      JsonObject conditions{{"ready", publish || (ready && !ends)},
                            {"serving", publish || ready},
                            {"terminating", ends}};
      JsonObject endpoint{{"addresses", JsonArray{Json(ip)}},
                          {"conditions", std::move(conditions)},
                          {"targetRef", target_ref(pod)}};
      if (!node.empty()) endpoint["nodeName"] = node;
      if (named_host) endpoint["hostname"] = hostname;
      auto& group = slices[family][id];
      group.ports = ports;
      group.endpoints.emplace_back(std::move(endpoint));
    }
    if (ends && !publish) continue;
    const std::string ip = address_of(pod, first_v6);
    if (ip.empty() || addresses >= kMaxAddresses) continue;
    ++addresses;
    JsonObject address{{"ip", ip}, {"targetRef", target_ref(pod)}};
    if (!node.empty()) address["nodeName"] = node;
    if (named_host) address["hostname"] = hostname;
    auto& subset = subsets[id];
    subset.ports = endpoints_ports(ports);
    (ready || publish ? subset.ready : subset.not_ready).push_back(std::move(address));
  }

  JsonArray subset_list;
  for (auto& [id, subset] : subsets) {
    JsonObject s;
    const auto by_ip = [](const Json& a, const Json& b) {
      return json::str(a, {"ip"}) < json::str(b, {"ip"});
    };
    std::sort(subset.ready.begin(), subset.ready.end(), by_ip);
    std::sort(subset.not_ready.begin(), subset.not_ready.end(), by_ip);
    if (!subset.ready.empty()) s["addresses"] = std::move(subset.ready);
    if (!subset.not_ready.empty()) s["notReadyAddresses"] = std::move(subset.not_ready);
    if (!subset.ports.empty()) s["ports"] = std::move(subset.ports);
    subset_list.push_back(std::move(s));
  }
  JsonObject labels = copied_labels(service);
  Json endpoints = JsonObject();
  json::set(endpoints, {"apiVersion"}, Json("v1"));
  json::set(endpoints, {"kind"}, Json("Endpoints"));
  json::set(endpoints, {"metadata", "name"}, Json(key.name));
  json::set(endpoints, {"metadata", "namespace"}, Json(key.ns));
  json::set(endpoints, {"metadata", "labels"}, labels);
  json::set(endpoints, {"metadata", "labels", "endpoints.kubernetes.io/managed-by"},
            Json("endpoint-controller"));
  if (json::str(service, {"spec", "clusterIP"}) == "None") {
    labels["service.kubernetes.io/headless"] = "";
    json::set(endpoints, {"metadata", "labels", "service.kubernetes.io/headless"}, Json(""));
  }
  json::set(endpoints, {"subsets"}, subset_list.empty() ? Json() : Json(std::move(subset_list)));
  plan.ensure(world, endpoints_key, endpoints);

  std::set<std::string> kept;
  for (int family = 0; family < 2; ++family) {
    if (family == 0 ? !v4 : !v6) continue;
    if (slices[family].empty()) slices[family][""] = Group{};  // an empty one stands for "none"
    write_slices(plan, world, service, key.ns, key.name, family == 0 ? "IPv4" : "IPv6",
                 kSliceController, slices[family], labels, kept);
  }
  remove_other_slices(plan, world, key.ns, key.name, kSliceController, kept);
  return plan;
}

Plan plan_mirror(const World& world, const Key& key) {
  Plan plan;
  const auto object = world.get(key);
  const Key service_key{res::services(), key.ns, key.name};
  const Json service = world.view(service_key);
  const bool mirrored =
      object != nullptr && !object->deleting() && !service.is_null() &&
      json::object(service, {"spec", "selector"}).empty() &&
      json::str(service, {"spec", "type"}) != "ExternalName" &&
      object->label("endpointslice.kubernetes.io/skip-mirror") != "true" &&
      object->label("endpoints.kubernetes.io/managed-by") != "endpoint-controller" &&
      json::find(object->parse(), {"metadata", "annotations",
                                   "control-plane.alpha.kubernetes.io/leader"}) == nullptr;
  std::set<std::string> kept;
  if (mirrored) {
    const Json endpoints = object->parse();
    std::map<std::string, Group> groups[2];
    std::size_t total = 0;
    for (const auto& subset : json::array(endpoints, {"subsets"})) {
      JsonArray ports = json::array(subset, {"ports"});
      for (auto& p : ports) {
        if (json::find(p, "name") == nullptr) json::set(p, {"name"}, Json(""));
        if (json::find(p, "protocol") == nullptr) json::set(p, {"protocol"}, Json("TCP"));
      }
      const std::string id = json::canonical(Json(ports));
      for (const auto list : {"addresses", "notReadyAddresses"}) {
        for (const auto& address : json::array(subset, {list})) {
          const auto ip = json::str(address, {"ip"});
          if (ip.empty() || ++total > kMaxAddresses) continue;
          JsonObject endpoint{
              {"addresses", JsonArray{Json(ip)}},
              {"conditions", JsonObject{{"ready", std::string_view(list) == "addresses"}}}};
          for (const auto field : {"hostname", "nodeName", "targetRef"}) {
            if (const Json* v = json::find(address, field)) endpoint[field] = *v;
          }
          auto& group = groups[is_v6(ip) ? 1 : 0][id];
          group.ports = ports;
          group.endpoints.emplace_back(std::move(endpoint));
        }
      }
    }
    for (int family = 0; family < 2; ++family) {
      write_slices(plan, world, endpoints, key.ns, key.name, family == 0 ? "IPv4" : "IPv6",
                   kMirrorController, groups[family], copied_labels(endpoints), kept);
    }
  }
  remove_other_slices(plan, world, key.ns, key.name, kMirrorController, kept);
  return plan;
}

// Whether the first pair of the selector in a Service's stored bytes is a label of the pod: what
// spares parsing every Service of the namespace when a pod changes.
bool may_select(const std::string& service, const ObjectPtr& pod) {
  constexpr std::string_view kSelector = "\"selector\":{\"";
  const auto at = service.find(kSelector);
  if (at == std::string::npos || pod == nullptr) return false;
  const std::string_view rest = std::string_view(service).substr(at + kSelector.size());
  const auto colon = rest.find("\":\"");
  const auto end = colon == std::string_view::npos ? colon : rest.find('"', colon + 3);
  if (end == std::string_view::npos) return true;  // not as expected: look closer
  const auto key = rest.substr(0, colon), value = rest.substr(colon + 3, end - colon - 3);
  return pod->label(key) == value;
}

// Services whose selector matches the pod as it was or as it is.
std::vector<Key> services_of(const World& world, const ObjectPtr& before, const ObjectPtr& after) {
  std::vector<Key> keys;
  const auto& pod = after ? after : before;
  for (const auto& service : world.list(res::services(), pod->key().ns)) {
    if (!may_select(service->bytes(), before) && !may_select(service->bytes(), after)) continue;
    const Json view = service->parse();
    const auto selector = kube::LabelSelector::from_map(json::find(view, {"spec", "selector"}));
    if ((before && selector.matches(before->labels())) ||
        (after && selector.matches(after->labels()))) {
      keys.push_back(service->key());
    }
  }
  return keys;
}

// The namesake in another collection.
Planner::Trigger same_name(Resource from, Resource to) {
  return {from, [to](const World&, const ObjectPtr& before, const ObjectPtr& after) {
            const Key& key = after ? after->key() : before->key();
            return std::vector<Key>{{to, key.ns, key.name}};
          }};
}
Planner::Trigger by_service_label(Resource to) {
  return {res::endpointslices(),
          [to](const World&, const ObjectPtr& before, const ObjectPtr& after) {
            const auto& slice = after ? after : before;
            std::vector<Key> keys;
            const auto service = slice->label(kServiceName);
            if (!service.empty()) keys.push_back({to, slice->key().ns, std::string(service)});
            return keys;
          }};
}

}  // namespace

Planner endpoints_planner() {
  Planner p;
  p.name = "endpoints";
  p.owns = res::services();
  p.plan = [](const World& world, const Key& key, Instant) { return plan_endpoints(world, key); };
  p.triggers = {{res::pods(), services_of},
                same_name(res::endpoints(), res::services()),
                by_service_label(res::services())};
  return p;
}

Planner endpointslice_mirroring_planner() {
  Planner p;
  p.name = "endpointslice-mirroring";
  p.owns = res::endpoints();
  p.plan = [](const World& world, const Key& key, Instant) { return plan_mirror(world, key); };
  p.triggers = {same_name(res::services(), res::endpoints()), by_service_label(res::endpoints())};
  return p;
}

}  // namespace knit::controllers::core
