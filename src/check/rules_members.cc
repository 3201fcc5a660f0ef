// K12x: which namespaces are in the mesh.
#include "check/helpers.h"

namespace knit::check {
namespace {

using yaml::Path;

void roll_members(Context& c) {
  const Facts& facts = c.facts();
  if (c.list(kSmcpKind).empty()) return;
  const auto* mesh = facts.serverless();
  if (mesh == nullptr || !is_smcp(*mesh)) return;
  if (!mesh->roll) {
    if (!c.list(kRollKind).empty()) return;  // K121
    if (c.objects().knows(kRollKind)) {
      c.report(mesh->control_plane, {}, "the mesh has no ServiceMeshMemberRoll");
    } else {
      c.unknown(mesh->control_plane, {}, "no ServiceMeshMemberRoll is in the input");
    }
    return;
  }
  std::map<std::string, std::string> wanted;
  for (const auto& s : c.list(kServingKind)) wanted.emplace(s->ns, s->ref());
  for (const auto& s : c.list(kEventingKind)) wanted.emplace(s->ns, s->ref());
  for (const auto& s : c.list(kServiceKind)) {
    if (asks_for_sidecar(s->json)) wanted.emplace(s->ns, s->ref());
  }
  const bool open = open_roll(*mesh);
  for (const auto& [ns, why] : wanted) {
    const auto* own = facts.mesh_of(ns);
    // A placeholder in the list may stand for a user's namespace, never for Knative's own.
    if (own != nullptr || Context::is_placeholder(ns) || (open && !ns.starts_with("knative-")))
      continue;
    if (in(mesh->members, "*") ||
        json::find(mesh->roll->json, {"spec", "memberSelectors"}) != nullptr) {
      continue;
    }
    auto& f = c.report(mesh->roll, Path{"spec", "members"}, "namespace " + ns + " is not a member");
    f.evidence.push_back({why, "needs a sidecar there"});
    f.fix =
        set_fix(mesh->roll,
                Path{"spec", "members"} / json::array(mesh->roll->json, {"spec", "members"}).size(),
                ns, "add " + ns + " to the roll");
  }
}

void roll_name(Context& c) {
  std::set<std::string> planes;
  for (const auto& smcp : c.list(kSmcpKind)) planes.insert(smcp->ns);
  for (const auto& roll : c.list(kRollKind)) {
    if (roll->name != "default" && !Context::is_placeholder(roll->name)) {
      c.report(roll, Path{"metadata", "name"}, "is not named default").fix =
          set_fix(roll, Path{"metadata", "name"}, "default", "name it default");
    }
    if (planes.empty() || planes.contains(roll->ns) || Context::is_placeholder(roll->ns)) continue;
    auto& f = c.report(roll, Path{"metadata", "namespace"},
                       "stands in " + roll->ns + ", where no control plane is");
    if (planes.size() == 1) {
      f.fix = set_fix(roll, Path{"metadata", "namespace"}, *planes.begin(),
                      "move it to the control plane");
    }
  }
}

void members_exist(Context& c) {
  std::set<std::string> there;
  for (const auto& ns : c.list("Namespace")) there.insert(ns->name);
  for (const auto& roll : c.list(kRollKind)) {
    if (has_placeholder(roll->json)) continue;
    std::string missing;
    std::size_t i = 0;
    for (const auto& m : json::array(roll->json, {"spec", "members"})) {
      const auto* s = m.if_string();
      const std::string name = s == nullptr ? "" : std::string(s->data(), s->size());
      if (!name.empty() && name != "*" && !there.contains(name)) {
        if (c.objects().knows("Namespace")) {
          c.report(roll, Path{"spec", "members"} / i, "namespace " + name + " does not exist");
        } else {
          missing += (missing.empty() ? "" : ", ") + name;
        }
      }
      ++i;
    }
    if (!missing.empty()) {
      c.unknown(roll, Path{"spec", "members"}, "not in the input: Namespace " + missing);
    }
  }
}

void one_roll(Context& c) {
  std::map<std::string, ItemPtr> first;
  for (const auto& roll : c.list(kRollKind)) {
    std::size_t i = 0;
    for (const auto& m : json::array(roll->json, {"spec", "members"})) {
      const Path path = Path{"spec", "members"} / i++;
      const auto* s = m.if_string();
      if (s == nullptr || Context::is_placeholder({s->data(), s->size()})) continue;
      const std::string name(s->data(), s->size());
      if (name == roll->ns) {
        c.report(roll, path, "the control plane's own namespace is no member").fix =
            remove_fix(roll, path, "remove it from the roll");
        continue;
      }
      const auto [it, fresh] = first.emplace(name, roll);
      if (!fresh && it->second != roll) {
        c.report(roll, path, "namespace " + name + " is in the roll of " + it->second->ns + " too");
      }
    }
  }
}

void operator_namespaces(Context& c) {
  for (const auto& roll : c.list(kRollKind)) {
    std::size_t i = 0;
    for (const auto& m : json::array(roll->json, {"spec", "members"})) {
      const Path path = Path{"spec", "members"} / i++;
      const auto* s = m.if_string();
      if (s == nullptr || (*s != "openshift-operators" && *s != "openshift-serverless")) continue;
      c.report(roll, path,
               std::string(s->data(), s->size()) + " holds operators and their webhooks")
          .fix = remove_fix(roll, path, "remove it from the roll");
    }
  }
}

void injection_labels(Context& c) {
  for (const auto& ns : c.list("Namespace")) {
    const auto injection = json::str(ns->json, {"metadata", "labels", "istio-injection"});
    const auto rev = json::str(ns->json, {"metadata", "labels", "istio.io/rev"});
    if (injection.empty() || rev.empty()) continue;
    c.report(ns, Path{"metadata", "labels", "istio-injection"},
             "has istio-injection and istio.io/rev: the first one counts alone")
        .fix = remove_fix(ns, Path{"metadata", "labels", "istio-injection"}, "keep istio.io/rev");
  }
}

void operator_policies(Context& c) {
  const Facts& facts = c.facts();
  for (const auto& serving : c.list(kServingKind)) {
    if (!json::boolean(serving->json, {"spec", "ingress", "istio", "enabled"})) continue;
    constexpr std::string_view kDisable =
        "serverless.openshift.io/disable-istio-net-policies-generation";
    if (json::str(serving->json, {"metadata", "annotations", kDisable}) == "true") continue;
    const auto* mesh = facts.serverless();
    if (mesh == nullptr || !mesh->control_plane) continue;
    const bool cut = is_smcp(*mesh)
                         ? mesh->roll && !open_roll(*mesh) && !in(mesh->members, serving->ns)
                         : c.list("networking.k8s.io/NetworkPolicy", serving->ns).empty();
    if (!cut) continue;
    const Path path = Path{"metadata", "annotations"} / kDisable;
    c.report(serving, Path{"spec", "ingress", "istio", "enabled"},
             "the operator's NetworkPolicies let nothing of the mesh reach " + serving->ns)
        .fix = set_fix(serving, path, "true",
                       "annotate KnativeServing with "
                       "serverless.openshift.io/disable-istio-net-policies-generation: \"true\"");
  }
}

}  // namespace

void add_member_rules(std::vector<Rule>& out) {
  out.push_back({"K120",
                 {"MR-02"},
                 {"IST0102", "KIA0005"},
                 Severity::Error,
                 Offline::Yes,
                 "every namespace that needs sidecars is a member",
                 "サイドカーが必要な namespace はすべてメンバー",
                 "no sidecar; 503 through the activator",
                 "Only members of the ServiceMeshMemberRoll are injected and get the mesh's "
                 "network policies.",
                 "add the namespace to spec.members of the roll",
                 {},
                 {},
                 roll_members});
  out.push_back({"K121",
                 {"MR-01"},
                 {},
                 Severity::Error,
                 Offline::Yes,
                 "the member roll is named default and stands beside its control plane",
                 "メンバーロールの名前は default で、コントロールプレーンと同じ namespace にある",
                 "admission error, or nothing joins",
                 "Maistra looks for the roll under this name only.",
                 "name it default, in the namespace of the ServiceMeshControlPlane",
                 {},
                 {},
                 roll_name});
  out.push_back({"K122",
                 {},
                 {},
                 Severity::Warning,
                 Offline::Partly,
                 "every member namespace exists",
                 "メンバーの namespace がすべて存在する",
                 "the roll stays at ReconcileError 2/4",
                 "The roll joins a missing namespace only when it appears.",
                 "create the namespace, or remove it from spec.members",
                 {},
                 {},
                 members_exist});
  out.push_back({"K123",
                 {"MR-03"},
                 {},
                 Severity::Error,
                 Offline::Yes,
                 "no namespace is in two rolls",
                 "二つのロールに同じ namespace がない",
                 "the roll is never ready",
                 "A namespace belongs to one mesh, and the control plane's own is no member.",
                 "remove it from all rolls but one",
                 {},
                 {},
                 one_roll});
  out.push_back(
      {"K124",
       {"MR-04"},
       {},
       Severity::Warning,
       Offline::Yes,
       "the operators' namespaces are outside the mesh",
       "オペレーターの namespace はメッシュの外にある",
       "admission and conversion webhooks time out",
       "The roll copies NetworkPolicies into members, which cut off the API server's calls.",
       "remove the namespace from spec.members",
       {},
       {},
       operator_namespaces});
  out.push_back({"K125",
                 {},
                 {"IST0123"},
                 Severity::Error,
                 Offline::Yes,
                 "a namespace has one injection label",
                 "namespace の injection ラベルは一つ",
                 "the sidecar comes from another control plane than meant, or not at all",
                 "istio-injection wins over istio.io/rev.",
                 "keep one of the two labels",
                 {},
                 {Profile::Ossm3, Profile::Istio},
                 injection_labels});
  out.push_back(
      {"K126",
       {"NP-01", "NP-02"},
       {},
       Severity::Error,
       Offline::Yes,
       "the operator's NetworkPolicies do not cut off knative-serving",
       "オペレーターの NetworkPolicy が knative-serving を遮断しない",
       "the activator crash-loops: dial tcp …:8080: i/o timeout",
       "With istio enabled the operator makes policies for its webhooks and for monitoring; "
       "everything "
       "else is denied unless the roll's policies open it.",
       "join the roll, or annotate KnativeServing with disable-istio-net-policies-generation",
       {},
       {},
       operator_policies});
}

}  // namespace knit::check
