#include "controllers/mesh/member_roll.h"

#include <algorithm>
#include <set>

#include "controllers/mesh/control_plane.h"

namespace knit::mesh {
namespace {
namespace res = kube::res;

constexpr std::string_view kMemberOf = "maistra.io/member-of";
constexpr const char* kFinalizer = "maistra.io/istio-operator";
constexpr const char* kCreatedBy = "maistra.io/created-by";
constexpr const char* kCreator = "ServiceMeshMemberRoll controller";

std::vector<std::string> listed_members(const Json& roll) {
  std::vector<std::string> out;
  for (const Json& m : json::array(roll, {"spec", "members"})) {
    if (!m.is_string()) continue;
    std::string name(m.get_string());
    if (std::find(out.begin(), out.end(), name) == out.end()) out.push_back(std::move(name));
  }
  return out;
}

bool made_by_roll(const ObjectPtr& member) {
  return json::str(member->parse(), {"metadata", "annotations", kCreatedBy}) == kCreator;
}

/// "True" finalizers of `object` without ours.
JsonArray finalizers_without(const Json& object) {
  JsonArray out;
  for (const Json& f : json::array(object, {"metadata", "finalizers"})) {
    if (f != Json(kFinalizer)) out.push_back(f);
  }
  return out;
}

/// Takes `ns` out of `mesh`. The policies are found by their owner label.
void leave(Plan& plan, const World& world, const std::string& mesh, const ObjectPtr& space) {
  const std::string& ns = space->key().name;
  for (const ObjectPtr& policy :
       world.labelled(res::networkpolicies(), ns, "maistra.io/owner", mesh)) {
    if (!policy->deleting()) plan.remove(policy);
  }
  const ObjectPtr root = world.get(key_of(res::configmaps(), ns, "istio-ca-root-cert"));
  if (root && !root->deleting() && root->label("maistra.io/owner") == mesh) plan.remove(root);
  const ObjectPtr member = world.get(key_of(res::smms(), ns, "default"));
  if (member && !member->deleting() && made_by_roll(member) &&
      json::str(member->parse(), {"spec", "controlPlaneRef", "namespace"}) == mesh) {
    plan.remove(member);
  }
  plan.merge(space->key(),
             JsonObject{{"metadata", JsonObject{{"labels", JsonObject{{kMemberOf, nullptr}}}}}});
}

void join(Plan& plan, const World& world, const ControlPlane& plane, const std::string& root_pem,
          const ObjectPtr& space, const ObjectPtr& member) {
  const std::string& ns = space->key().name;
  if (member == nullptr) {
    JsonObject want = object("maistra.io/v1", "ServiceMeshMember",
                             {ns, "default", {}, {{kCreatedBy, kCreator}}, nullptr});
    want["spec"] =
        JsonObject{{"controlPlaneRef", JsonObject{{"name", plane.name}, {"namespace", plane.ns}}}};
    plan.create(key_of(res::smms(), ns, "default"), std::move(want));
  }
  plan_network_policies(plan, world, plane, ns, nullptr, plane.manage_network_policy);
  JsonObject root = object("v1", "ConfigMap",
                           {ns,
                            "istio-ca-root-cert",
                            {{"istio.io/config", "true"}, {"maistra.io/owner", plane.ns}},
                            {},
                            nullptr});
  root["data"] = JsonObject{{"root-cert.pem", root_pem}};
  plan.ensure(world, key_of(res::configmaps(), ns, "istio-ca-root-cert"), std::move(root));
  if (space->label(kMemberOf) != plane.ns) {
    plan.merge(space->key(),
               JsonObject{{"metadata", JsonObject{{"labels", JsonObject{{kMemberOf, plane.ns}}}}}});
  }
}

JsonArray strings(const std::vector<std::string>& list) {
  JsonArray out;
  for (const auto& s : list) out.emplace_back(s);
  return out;
}
std::string quoted(const std::vector<std::string>& list) {
  std::string out;
  for (const auto& s : list) out += (out.empty() ? "" : " ") + s;
  return "[" + out + "]";
}

struct Membership {
  std::vector<std::string> listed, configured, pending, terminating;
  std::vector<std::pair<std::string, ConditionValue>> statuses;
};

void plan_status(Plan& plan, const World& world, const Key& key, const Json& roll,
                 const Membership& m, const ConditionValue& ready) {
  JsonObject status;
  status["observedGeneration"] = json::i64(roll, {"metadata", "generation"});
  status["members"] = strings(m.listed);
  status["configuredMembers"] = strings(m.configured);
  status["pendingMembers"] = strings(m.pending);
  status["terminatingMembers"] = strings(m.terminating);
  status["annotations"] =
      JsonObject{{"configuredMemberCount",
                  std::to_string(m.configured.size()) + "/" + std::to_string(m.listed.size())}};
  JsonArray members;
  for (const auto& [ns, condition] : m.statuses) {
    JsonArray before;
    for (const Json& old : json::array(roll, {"status", "memberStatuses"})) {
      if (json::str(old, {"namespace"}) == ns) before = json::array(old, {"conditions"});
    }
    const Json as_object = JsonObject{{"status", JsonObject{{"conditions", std::move(before)}}}};
    members.push_back(JsonObject{
        {"namespace", ns}, {"conditions", conditions(as_object, {condition}, world.wall_now())}});
  }
  status["memberStatuses"] = std::move(members);
  status["conditions"] = conditions(roll, {ready}, world.wall_now());
  plan.status(key, std::move(status));
}

/// Decides about every listed namespace; joins those that may.
Membership plan_members(Plan& plan, const World& world, const Json& roll, const ControlPlane& plane,
                        const std::string& root_pem) {
  Membership m;
  m.listed = listed_members(roll);
  for (const std::string& ns : m.listed) {
    const ObjectPtr space = world.get({res::namespaces(), "", ns});
    const auto pending = [&](const std::string& reason, const std::string& message) {
      m.pending.push_back(ns);
      m.statuses.push_back({ns, {"Reconciled", "False", reason, message}});
    };
    if (ns == plane.ns) {
      pending("ReconcileError", "The mesh's own namespace cannot be a member; remove it");
      continue;
    }
    if (space == nullptr) {
      pending("NamespaceNotExists", "Namespace " + ns + " does not exist");
      continue;
    }
    if (space->deleting()) {
      m.terminating.push_back(ns);
      pending("Terminating", "Namespace " + ns + " is being deleted");
      continue;
    }
    const std::string_view other = space->label(kMemberOf);
    if (!other.empty() && other != plane.ns) {
      pending("ReferencesDifferentControlPlane",
              "Namespace " + ns + " is a member of the mesh " + std::string(other));
      continue;
    }
    const ObjectPtr member = world.get(key_of(res::smms(), ns, "default"));
    if (member != nullptr) {
      const std::string of = text(member->parse(), {"spec", "controlPlaneRef", "namespace"});
      if (of != plane.ns) {
        pending("ReferencesDifferentControlPlane",
                "ServiceMeshMember " + ns + "/default references the mesh " + of);
        continue;
      }
    }
    join(plan, world, plane, root_pem, space, member);
    m.configured.push_back(ns);
    m.statuses.push_back({ns, {"Reconciled", "True", "Reconciled", ""}});
  }
  return m;
}

Membership all_pending(const Json& roll) {
  Membership m;
  m.listed = listed_members(roll);
  m.pending = m.listed;
  return m;
}

}  // namespace

Plan plan_member_roll(const MeshSettings& settings, const World& world, const Key& key, Instant) {
  Plan plan;
  const ObjectPtr found = world.get(key);
  if (found == nullptr) return plan;
  const Json roll = found->parse();
  if (key.name != "default") {
    plan_status(plan, world, key, roll, all_pending(roll),
                {"Ready", "False", "ErrInvalidName",
                 "the ServiceMeshMemberRoll name is invalid; must be \"default\""});
    return plan;
  }
  const JsonArray others = finalizers_without(roll);
  const bool finalizing = others.size() != json::array(roll, {"metadata", "finalizers"}).size();
  if (found->deleting()) {
    for (const auto& space : world.labelled(res::namespaces(), "", kMemberOf, key.ns)) {
      leave(plan, world, key.ns, space);
    }
    if (finalizing) {
      plan.merge(key, JsonObject{{"metadata", JsonObject{{"finalizers", others}}}});
    }
    return plan;
  }
  if (!finalizing) {
    JsonArray with = others;
    with.emplace_back(kFinalizer);
    plan.merge(key, JsonObject{{"metadata", JsonObject{{"finalizers", std::move(with)}}}});
  }
  const auto planes = world.list(res::smcps(), key.ns);
  if (planes.empty()) {
    plan_status(plan, world, key, roll, all_pending(roll),
                {"Ready", "False", "ErrSMCPMissing",
                 "No ServiceMeshControlPlane exists in the namespace " + key.ns});
    return plan;
  }
  if (planes.size() > 1) {
    Membership m;
    m.listed = listed_members(roll);
    for (const auto& ns : m.listed) {
      const auto space = world.get({res::namespaces(), "", ns});
      const bool in = space && space->label(kMemberOf) == key.ns;
      (in ? m.configured : m.pending).push_back(ns);
    }
    plan_status(plan, world, key, roll, m,
                {"Ready", "False", "ErrMultipleSMCPs",
                 "Multiple ServiceMeshControlPlane resources exist in the namespace " + key.ns});
    return plan;
  }
  const Json smcp = planes[0]->parse();
  if (condition_status(smcp, "Reconciled") != "True") {
    plan_status(
        plan, world, key, roll, all_pending(roll),
        {"Ready", "False", "SMCPReconciling",
         "The ServiceMeshControlPlane " + planes[0]->key().name + " is not reconciled yet"});
    return plan;
  }
  const ControlPlane plane = decode_control_plane(smcp);
  const std::string root = settings.mesh_root_pem ? settings.mesh_root_pem(key.ns) : "";
  const Membership m = plan_members(plan, world, roll, plane, root);
  for (const auto& space : world.labelled(res::namespaces(), "", kMemberOf, key.ns)) {
    if (std::find(m.configured.begin(), m.configured.end(), space->key().name) ==
            m.configured.end() &&
        !space->deleting()) {
      leave(plan, world, key.ns, space);
    }
  }
  plan_status(plan, world, key, roll, m,
              m.pending.empty()
                  ? ConditionValue{"Ready", "True", "Configured",
                                   "All namespaces have been configured successfully"}
                  : ConditionValue{
                        "Ready", "False", "ReconcileError",
                        "The following namespaces are not yet configured: " + quoted(m.pending)});
  return plan;
}

Plan plan_member(const World& world, const Key& key, Instant) {
  Plan plan;
  const ObjectPtr found = world.get(key);
  if (found == nullptr || found->deleting()) return plan;
  const Json member = found->parse();
  const std::string mesh = text(member, {"spec", "controlPlaneRef", "namespace"});
  const auto report = [&](const std::string& status, const std::string& reason,
                          const std::string& message) {
    plan.status(key,
                JsonObject{{"observedGeneration", json::i64(member, {"metadata", "generation"})},
                           {"conditions", conditions(member,
                                                     {{"Reconciled", status, reason, message},
                                                      {"Ready", status, reason, message}},
                                                     world.wall_now())}});
  };
  if (key.name != "default") {
    report("False", "InvalidName", "the ServiceMeshMember name is invalid; must be \"default\"");
    return plan;
  }
  if (!world.has({res::namespaces(), "", mesh})) {
    report("False", "CreateMemberRollFailed", "Namespace " + mesh + " does not exist");
    return plan;
  }
  const ObjectPtr space = world.get({res::namespaces(), "", key.ns});
  const std::string_view current = space ? space->label(kMemberOf) : std::string_view();
  if (!current.empty() && current != mesh) {
    report("False", "ReferencesDifferentControlPlane",
           "Namespace " + key.ns + " is a member of the mesh " + std::string(current));
    return plan;
  }
  if (!made_by_roll(found)) {
    const Key roll_key = key_of(res::smmrs(), mesh, "default");
    const Json roll = world.view(roll_key);
    if (roll.is_null()) {
      JsonObject want =
          object("maistra.io/v1", "ServiceMeshMemberRoll", {mesh, "default", {}, {}, nullptr});
      want["spec"] = JsonObject{{"members", JsonArray{key.ns}}};
      plan.create(roll_key, std::move(want));
    } else {
      std::vector<std::string> members = listed_members(roll);
      if (std::find(members.begin(), members.end(), key.ns) == members.end()) {
        members.push_back(key.ns);
        plan.merge(roll_key, JsonObject{{"spec", JsonObject{{"members", strings(members)}}}});
      }
    }
  }
  if (current == mesh) {
    report("True", "Reconciled", "");
  } else {
    report("False", "Reconciling",
           "Namespace " + key.ns + " is not yet configured by the mesh " + mesh);
  }
  return plan;
}

reconcile::Planner member_roll_planner(MeshSettings settings) {
  reconcile::Planner p;
  p.name = "service-mesh-member-roll";
  p.owns = res::smmrs();
  p.plan = [settings = std::move(settings)](const World& world, const Key& key, Instant now) {
    return plan_member_roll(settings, world, key, now);
  };
  const auto of_mesh = [](const std::string& mesh) {
    return std::vector<Key>{key_of(res::smmrs(), mesh, "default")};
  };
  p.triggers.push_back({res::smcps(), [of_mesh](const World& world, const ObjectPtr& before,
                                                const ObjectPtr& after) {
                          (void)world;
                          return of_mesh((after ? after : before)->key().ns);
                        }});
  // A namespace, or what a roll put into it, concerns the rolls that list or have it.
  const auto of_namespace = [](const World& world, const std::string& ns) {
    std::vector<Key> keys;
    for (const auto& roll : world.list(res::smmrs())) {
      const auto members = listed_members(roll->parse());
      const auto space = world.get({res::namespaces(), "", ns});
      if (std::find(members.begin(), members.end(), ns) != members.end() ||
          (space && space->label(kMemberOf) == roll->key().ns)) {
        keys.push_back(roll->key());
      }
    }
    return keys;
  };
  p.triggers.push_back(
      {res::namespaces(),
       [of_namespace](const World& world, const ObjectPtr& before, const ObjectPtr& after) {
         return of_namespace(world, (after ? after : before)->key().name);
       }});
  p.triggers.push_back({res::smms(), [of_namespace](const World& world, const ObjectPtr& before,
                                                    const ObjectPtr& after) {
                          return of_namespace(world, (after ? after : before)->key().ns);
                        }});
  const auto owned = [of_mesh](const World& world, const ObjectPtr& before,
                               const ObjectPtr& after) {
    (void)world;
    const auto& object = after ? after : before;
    const std::string mesh(object->label("maistra.io/owner"));
    if (mesh.empty() || mesh == object->key().ns) return std::vector<Key>();
    return of_mesh(mesh);
  };
  p.triggers.push_back({res::networkpolicies(), owned});
  p.triggers.push_back({res::configmaps(), owned});
  return p;
}

reconcile::Planner member_planner() {
  reconcile::Planner p;
  p.name = "service-mesh-member";
  p.owns = res::smms();
  p.plan = plan_member;
  p.triggers.push_back(
      {res::namespaces(), [](const World& world, const ObjectPtr& before, const ObjectPtr& after) {
         (void)world;
         return std::vector<Key>{
             key_of(res::smms(), (after ? after : before)->key().name, "default")};
       }});
  p.triggers.push_back(
      {res::smmrs(), [](const World& world, const ObjectPtr& before, const ObjectPtr& after) {
         (void)world;
         std::set<std::string> names;
         for (const auto& o : {before, after}) {
           if (!o) continue;
           for (auto& ns : listed_members(o->parse())) names.insert(ns);
         }
         std::vector<Key> keys;
         for (const auto& ns : names) {
           keys.push_back(key_of(res::smms(), ns, "default"));
         }
         return keys;
       }});
  return p;
}

}  // namespace knit::mesh
