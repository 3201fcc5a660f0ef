#include "controllers/core/services/service.h"

namespace knit::controllers::core {
using reconcile::Planner;

Planner service_planner(const CoreSettings& settings) {
  Planner p;
  p.name = "service";
  p.owns = res::services();
  p.plan = [ranges = settings.ranges](const World& world, const Key& key, Instant) {
    Plan plan;
    const Json service = world.view(key);
    if (service.is_null() || deleting(service) || !needs_service_admission(service)) return plan;
    Json wanted = service;
    if (const auto done = admit_service(world, wanted, nullptr, ranges); !done) {
      plan.event(key, "Warning", "ServiceNotAdmitted", done.error().message(),
                 "service-controller");
      plan.again_in(std::chrono::seconds(30));
      return plan;
    }
    plan.merge(key, JsonObject{{"spec", json::merge_diff(service.at("spec"), wanted.at("spec"))}});
    return plan;
  };
  return p;
}

Planner kubernetes_service_planner(const CoreSettings& settings) {
  const Key service{res::services(), "default", "kubernetes"};
  Planner p;
  p.name = "kubernetes-service";
  p.owns = res::services();
  p.always = {service};
  const auto ours = [service](const World&, const ObjectPtr& before, const ObjectPtr& after) {
    const auto& key = after ? after->key() : before->key();
    return key.ns == service.ns && key.name == service.name ? std::vector<Key>{service}
                                                            : std::vector<Key>{};
  };
  p.triggers = {
      {res::endpoints(), ours},
      {res::endpointslices(), ours},
      {res::namespaces(), [service](const World&, const ObjectPtr& before, const ObjectPtr& after) {
         const auto& key = after ? after->key() : before->key();
         return key.name == "default" ? std::vector<Key>{service} : std::vector<Key>{};
       }}};
  p.plan = [settings, service](const World& world, const Key& key, Instant) {
    Plan plan;
    if (key != service || settings.kubernetes_ip.empty()) return plan;
    if (!world.has({res::namespaces(), "", "default"})) return plan;
    Json want = literal(R"({"apiVersion":"v1","kind":"Service","metadata":{"name":"kubernetes",
      "namespace":"default","labels":{"component":"apiserver","provider":"kubernetes"}},
      "spec":{"type":"ClusterIP","sessionAffinity":"None","ipFamilies":["IPv4"],
      "ipFamilyPolicy":"SingleStack","internalTrafficPolicy":"Cluster",
      "ports":[{"name":"https","port":443,"protocol":"TCP"}]}})");
    json::set(want, {"spec", "clusterIP"}, Json(settings.kubernetes_ip));
    json::set(want, {"spec", "clusterIPs"}, JsonArray{Json(settings.kubernetes_ip)});
    json::set(*json::find(want, {"spec", "ports"})->get_array().begin(), {"targetPort"},
              Json(static_cast<std::int64_t>(settings.api_port)));
    plan.ensure(world, key, want);

    const auto port = static_cast<std::int64_t>(settings.api_port);
    Json endpoints = literal(R"({"apiVersion":"v1","kind":"Endpoints","metadata":{
      "name":"kubernetes","namespace":"default",
      "labels":{"endpointslice.kubernetes.io/skip-mirror":"true"}}})");
    JsonArray addresses, ports;
    addresses.push_back(JsonObject{{"ip", settings.api_host}});
    ports.push_back(JsonObject{{"name", "https"}, {"port", port}, {"protocol", "TCP"}});
    JsonArray subsets;
    subsets.push_back(JsonObject{{"addresses", std::move(addresses)}, {"ports", ports}});
    json::set(endpoints, {"subsets"}, std::move(subsets));
    plan.ensure(world, {res::endpoints(), "default", "kubernetes"}, endpoints);

    Json slice = literal(R"({"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","metadata":{
      "name":"kubernetes","namespace":"default",
      "labels":{"kubernetes.io/service-name":"kubernetes"}},"addressType":"IPv4"})");
    JsonArray list;
    JsonArray slice_addresses;
    slice_addresses.push_back(Json(settings.api_host));
    list.push_back(JsonObject{{"addresses", std::move(slice_addresses)},
                              {"conditions", JsonObject{{"ready", true}}}});
    json::set(slice, {"endpoints"}, std::move(list));
    json::set(slice, {"ports"}, std::move(ports));
    plan.ensure(world, {res::endpointslices(), "default", "kubernetes"}, slice);
    return plan;
  };
  return p;
}

}  // namespace knit::controllers::core
