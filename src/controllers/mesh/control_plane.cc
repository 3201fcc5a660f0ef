#include "controllers/mesh/control_plane.h"

#include <algorithm>

namespace knit::mesh {
namespace {
namespace res = kube::res;

bool available(const World& world, const Key& deployment) {
  const Json d = world.view(deployment);
  if (d.is_null()) return false;
  const std::int64_t replicas = json::i64(d, {"spec", "replicas"}, 1);
  return replicas > 0 &&
         json::i64(d, {"status", "observedGeneration"}) >=
             json::i64(d, {"metadata", "generation"}) &&
         json::i64(d, {"status", "availableReplicas"}) >= replicas;
}

JsonArray names(const std::vector<std::string>& list) {
  JsonArray out;
  for (const auto& s : list) out.emplace_back(s);
  return out;
}

std::string joined(const std::vector<std::string>& list) {
  std::string out;
  for (const auto& s : list) out += (out.empty() ? "" : ", ") + s;
  return out;
}

void plan_failure(Plan& plan, const World& world, const Key& key, const Json& smcp,
                  const std::string& reason, const std::string& message) {
  const bool installed = condition_status(smcp, "Installed") == "True";
  plan.status(key,
              JsonObject{{"observedGeneration", json::i64(smcp, {"metadata", "generation"})},
                         {"conditions",
                          conditions(smcp,
                                     {{"Installed", installed ? "True" : "False", reason, message},
                                      {"Reconciled", "False", reason, message},
                                      {"Ready", "False", reason, message}},
                                     world.wall_now())}});
}

void plan_status(Plan& plan, const World& world, const Key& key, const Json& smcp,
                 const ControlPlane& plane) {
  std::vector<std::string> ready, unready;
  const auto components = components_of(plane);
  for (const auto& component : components) {
    const bool ok = component.deployment.empty() ||
                    available(world, key_of(res::deployments(), plane.ns, component.deployment));
    (ok ? ready : unready).push_back(component.name);
  }
  const std::int64_t generation = json::i64(smcp, {"metadata", "generation"});
  const bool updated = generation > 1;
  const std::string done = updated ? "UpdateSuccessful" : "InstallSuccessful";
  const std::string done_message =
      updated ? "Successfully updated from generation " + std::to_string(generation - 1)
              : "Successfully installed all mesh components";
  JsonObject status;
  status["observedGeneration"] = generation;
  status["chartVersion"] = plane.version.substr(plane.version.starts_with('v') ? 1 : 0) + ".0";
  status["operatorVersion"] = "knit";
  status["annotations"] =
      JsonObject{{"readyComponentCount",
                  std::to_string(ready.size()) + "/" + std::to_string(components.size())}};
  status["readiness"] = JsonObject{
      {"components",
       JsonObject{{"ready", names(ready)}, {"unready", names(unready)}, {"pending", JsonArray{}}}}};
  if (const Json* spec = json::find(smcp, "spec")) status["appliedSpec"] = *spec;
  const bool all = unready.empty();
  status["conditions"] = conditions(
      smcp,
      {{"Installed", "True", "InstallSuccessful", "Successfully installed all mesh components"},
       {"Reconciled", "True", done, done_message},
       {"Ready", all ? "True" : "False", all ? "ComponentsReady" : "ComponentsNotReady",
        all ? "All component deployments are Available"
            : "Some components are not fully available: " + joined(unready)}},
      world.wall_now());
  plan.status(key, std::move(status));
}

}  // namespace

std::vector<Component> components_of(const ControlPlane& plane) {
  std::vector<Component> out{{"istio-discovery", "istiod-" + plane.name}};
  if (plane.ingress.enabled) out.push_back({"istio-ingress", "istio-ingressgateway"});
  if (plane.egress.enabled) out.push_back({"istio-egress", "istio-egressgateway"});
  out.push_back({"mesh-config", ""});
  return out;
}

Plan plan_control_plane(const MeshSettings& settings, const World& world, const Key& key, Instant) {
  Plan plan;
  const ObjectPtr found = world.get(key);
  if (found == nullptr || found->deleting()) return plan;  // owners collect the rest
  const Json smcp = found->parse();
  const ControlPlane plane = decode_control_plane(smcp);
  const auto first = control_plane_of(world, key.ns);
  if (first && first->name != key.name) {
    plan_failure(plan, world, key, smcp, "ErrMultipleSMCPs",
                 "Only one ServiceMeshControlPlane may exist in namespace " + key.ns + "; " +
                     first->name + " was there first. Delete one of them");
    return plan;
  }
  if (!plane.invalid.empty()) {
    plan_failure(plan, world, key, smcp, "ValidationError", plane.invalid);
    return plan;
  }
  const std::string root = settings.mesh_root_pem ? settings.mesh_root_pem(plane.ns) : "";
  plan_policies(plan, world, plane, smcp);
  plan_configuration(plan, world, plane, smcp, root);
  plan_istiod(plan, world, plane, smcp);
  plan_gateway(plan, world, plane, smcp, "ingress", plane.ingress);
  plan_gateway(plan, world, plane, smcp, "egress", plane.egress);
  plan_network_policies(plan, world, plane, plane.ns, &smcp, plane.manage_network_policy);
  plan_status(plan, world, key, smcp, plane);
  return plan;
}

reconcile::Planner control_plane_planner(MeshSettings settings) {
  reconcile::Planner p;
  p.name = "service-mesh-control-plane";
  p.owns = res::smcps();
  p.plan = [settings = std::move(settings)](const World& world, const Key& key, Instant now) {
    return plan_control_plane(settings, world, key, now);
  };
  for (const auto child : {res::deployments(), res::services(), res::serviceaccounts(),
                           res::configmaps(), res::networkpolicies(), res::peerauthentications(),
                           res::destinationrules(), res::oroutes()}) {
    p.triggers.push_back(reconcile::by_owner(child, res::smcps()));
  }
  // The next one takes over when the oldest of a namespace goes.
  p.triggers.push_back(
      {res::smcps(), [](const World& world, const ObjectPtr& before, const ObjectPtr& after) {
         std::vector<Key> keys;
         const auto& ns = (after ? after : before)->key().ns;
         for (const auto& o : world.list(res::smcps(), ns)) {
           keys.push_back(o->key());
         }
         return keys;
       }});
  return p;
}

}  // namespace knit::mesh
