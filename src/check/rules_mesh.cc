// K1xx: the control plane, what it must say, and which namespaces are in the mesh.
#include "check/helpers.h"

namespace knit::check {
namespace {

using yaml::Path;

bool in(const std::vector<std::string>& list, std::string_view text) {
  return std::find(list.begin(), list.end(), text) != list.end();
}
bool open_roll(const MeshFacts& mesh) {  // what it holds is not listed, or not known yet
  if (!mesh.roll) return true;
  if (in(mesh.members, "*") || json::find(mesh.roll->json, {"spec", "memberSelectors"}) != nullptr) {
    return true;
  }
  return std::any_of(mesh.members.begin(), mesh.members.end(),
                     [](const auto& m) { return Context::is_placeholder(m); });
}
bool is_smcp(const MeshFacts& mesh) {
  return mesh.control_plane && mesh.control_plane->kind == "ServiceMeshControlPlane";
}

void one_control_plane(Context& c) {
  const Facts facts = facts_of(c.objects());
  const MeshFacts* first = nullptr;
  for (const auto& mesh : facts.meshes) {
    if (!in(mesh.members, "knative-serving")) continue;
    if (first == nullptr) {
      first = &mesh;
      continue;
    }
    const ItemPtr at = mesh.roll ? mesh.roll : mesh.control_plane;
    auto& f = c.report(at, {}, "knative-serving is in the meshes of " + first->ns + " and " + mesh.ns);
    if (first->roll) f.evidence.push_back({first->roll->ref(), "lists knative-serving too"});
  }
  std::map<std::string, ItemPtr> seen;
  for (const auto& smcp : c.list(kSmcpKind)) {
    const auto [it, fresh] = seen.emplace(smcp->ns, smcp);
    if (!fresh) {
      c.report(smcp, {}, "namespace " + smcp->ns + " has two control planes: " + it->second->name +
                             " and " + smcp->name);
    }
  }
}

void strict_mtls(Context& c) {
  const Facts facts = facts_of(c.objects());
  const auto* mesh = facts.serverless();
  if (mesh == nullptr || mesh->strict) return;
  if (is_smcp(*mesh)) {
    const Path path{"spec", "security", "dataPlane", "mtls"};
    const ItemPtr at = mesh->strict_from ? mesh->strict_from : mesh->control_plane;
    if (at != mesh->control_plane) {
      c.report(at, Path{"spec", "mtls", "mode"}, "the mesh-wide PeerAuthentication is not STRICT").fix =
          set_fix(at, Path{"spec", "mtls", "mode"}, "STRICT", "set STRICT");
    } else {
      c.report(at, path, "spec.security.dataPlane.mtls is not true: calls without mTLS are accepted")
          .fix = set_fix(at, path, true, "set spec.security.dataPlane.mtls: true");
    }
  } else if (mesh->strict_from) {
    c.report(mesh->strict_from, Path{"spec", "mtls", "mode"},
             "the mesh-wide PeerAuthentication is not STRICT")
        .fix = set_fix(mesh->strict_from, Path{"spec", "mtls", "mode"}, "STRICT", "set STRICT");
  } else if (mesh->control_plane) {
    c.report(mesh->control_plane, {},
             "no PeerAuthentication without selector in " + mesh->ns + " says STRICT");
  }
}

Path drain_path(const Item& plane) {
  return plane.kind == "Istio"
             ? Path{"spec", "values", "meshConfig", "defaultConfig", "terminationDrainDuration"}
             : Path{"spec", "techPreview", "meshConfig", "defaultConfig", "terminationDrainDuration"};
}

void drain_duration(Context& c) {
  const Facts facts = facts_of(c.objects());
  const auto* mesh = facts.serverless();
  if (mesh == nullptr || !mesh->control_plane) return;
  const auto& plane = mesh->control_plane;
  const Path path = drain_path(*plane);
  const Json* value = yaml::find(plane->json, path);
  std::string said;
  if (value == nullptr) {
    said = "terminationDrainDuration is not set, so it is 5s";
  } else {
    const auto* text = value->if_string();
    if (text != nullptr && Context::is_placeholder({text->data(), text->size()})) return;
    const auto d = text == nullptr ? Result<Duration>(Error(Code::InvalidArgument, "no text"))
                                   : parse_go_duration({text->data(), text->size()});
    if (!d) {
      said = "terminationDrainDuration " + json::print(*value) + " is no duration such as \"35s\"";
    } else if (*d <= std::chrono::seconds(30)) {
      said = "terminationDrainDuration " + go_duration(*d) + " is not longer than queue-proxy's 30s";
    }
  }
  if (!said.empty()) c.report(plane, path, said).fix = set_fix(plane, path, "35s", "set 35s");
}

void gateway_labels(Context& c) {
  const Facts facts = facts_of(c.objects());
  for (const auto& [view, item] : facts.gateways) {
    if (view.ns != "knative-serving" || !facts.selected(view).empty()) continue;
    const auto* mesh = facts.serverless();
    if (mesh == nullptr || !is_smcp(*mesh)) continue;
    const auto& smcp = mesh->control_plane;
    for (const auto& [key, value] : view.selector) {
      if (Context::is_placeholder(value)) continue;
      const Path labels{"spec", "gateways", "ingress", "service", "metadata", "labels"};
      if (json::str(smcp->json, {"spec", "gateways", "ingress", "service", "metadata", "labels", key}) ==
          value) {
        continue;
      }
      auto& f = c.report(smcp, labels, "the gateway pods do not get the label " + key + ": " + value);
      f.evidence.push_back({item->ref(), "its selector wants it"});
      f.fix = set_fix(smcp, labels / key, value, "add the label");
    }
    return;  // the local Gateway has the same selector
  }
}

void excluded_ports(Context& c) {
  const Facts facts = facts_of(c.objects());
  const auto* mesh = facts.serverless();
  if (mesh == nullptr || !mesh->control_plane || !mesh->strict) return;
  const auto& plane = mesh->control_plane;
  const bool smcp = is_smcp(*mesh);
  const Path path = smcp ? Path{"spec", "proxy", "networking", "trafficControl", "inbound", "excludedPorts"}
                         : Path{"spec", "values", "global", "proxy", "excludeInboundPorts"};
  const Json* list = yaml::find(plane->json, path);
  if (list != nullptr && has_placeholder(*list)) return;
  const std::size_t length = list != nullptr && list->is_array() ? list->get_array().size() : 0;
  for (const int port : {8444, 8022}) {
    const auto& has = mesh->excluded_ports;
    if (std::find(has.begin(), has.end(), port) != has.end()) continue;
    const std::string number = std::to_string(port);
    auto& f = c.report(plane, path, "port " + number + " is not excluded from the mesh: " +
                                        (port == 8022 ? "the kubelet calls it before a pod stops"
                                                      : "the cluster's monitoring reads metrics there"));
    if (!smcp) f.severity = Severity::Warning;
    if (!smcp) continue;
    std::optional<std::size_t> as_text;
    for (std::size_t i = 0; i < length; ++i) {
      if (const auto* s = list->get_array()[i].if_string(); s != nullptr && *s == number) as_text = i;
    }
    if (as_text) f.message = "port \"" + number + "\" is a string: ports are numbers";
    f.fix = length == 0 ? set_fix(plane, path, JsonArray{8444, 8022}, "exclude 8444 and 8022")
                        : set_fix(plane, path / as_text.value_or(length), port, "add the number");
  }
}

void identity_type(Context& c) {
  const auto infrastructure = c.find("config.openshift.io/Infrastructure", "", "cluster");
  if (!infrastructure) return;
  bool managed = false;
  for (const auto& tag :
       json::array(infrastructure->json, {"status", "platformStatus", "aws", "resourceTags"})) {
    managed |= json::str(tag, {"key"}) == "red-hat-clustertype" && json::str(tag, {"value"}) == "rosa";
  }
  if (!managed) return;
  for (const auto& smcp : c.list(kSmcpKind)) {
    const Path path{"spec", "security", "identity", "type"};
    if (json::str(smcp->json, {"spec", "security", "identity", "type"}) == "ThirdParty") continue;
    c.report(smcp, path, "identity.type is not ThirdParty on ROSA").fix =
        set_fix(smcp, path, "ThirdParty", "set ThirdParty");
  }
}

void two_generations(Context& c) {
  if (c.list(kSmcpKind).empty() || c.list(kIstioKind).empty()) return;
  const Facts facts = facts_of(c.objects());
  for (const auto& ns : c.list("Namespace")) {
    const bool new_mesh = json::str(ns->json, {"metadata", "labels", "istio-injection"}) == "enabled" ||
                          !json::str(ns->json, {"metadata", "labels", "istio.io/rev"}).empty();
    const Path ignore = Path{"metadata", "labels"} / "maistra.io/ignore-namespace";
    if (!new_mesh || json::str(ns->json, {"metadata", "labels", "maistra.io/ignore-namespace"}) == "true") {
      continue;
    }
    for (const auto& mesh : facts.meshes) {
      if (!is_smcp(mesh) || !in(mesh.members, ns->name)) continue;
      c.report(ns, Path{"metadata", "labels"}, "is in the roll of " + mesh.ns + " and labelled for Istio 3")
          .fix = set_fix(ns, ignore, "true", "label it, then take it off the roll");
    }
  }
}

void supported_pair(Context& c) {
  if (c.settings().profile != Profile::Ossm3) return;
  for (const auto& csv : c.list("operators.coreos.com/ClusterServiceVersion")) {
    if (!csv->name.starts_with("serverless-operator")) continue;
    const auto v = version_of(csv->name);
    if (v && *v < std::pair(1, 37)) {
      c.report(csv, Path{"metadata", "name"}, csv->name + " is documented with Service Mesh 2 only");
    }
  }
}

void istio_cni(Context& c) {
  for (const auto& istio : c.list(kIstioKind)) {
    if (!c.list("sailoperator.io/IstioCNI").empty()) continue;
    if (c.objects().knows("sailoperator.io/IstioCNI")) {
      c.report(istio, {}, "there is no IstioCNI");
    } else {
      c.unknown(istio, {}, "no IstioCNI is in the input");
    }
  }
}

void registry_only(Context& c) {
  const Facts facts = facts_of(c.objects());
  const auto* mesh = facts.serverless();
  if (mesh == nullptr || !mesh->control_plane) return;
  const auto& plane = mesh->control_plane->json;
  const bool only =
      json::str(plane, {"spec", "proxy", "networking", "trafficControl", "outbound", "policy"}) ==
          "REGISTRY_ONLY" ||
      json::str(plane, {"spec", "values", "meshConfig", "outboundTrafficPolicy", "mode"}) == "REGISTRY_ONLY";
  if (!only) return;
  std::set<std::string> known;
  for (const auto& entry : c.list(kEntryKind)) {
    for (const auto& h : json::array(entry->json, {"spec", "hosts"})) {
      if (const auto* s = h.if_string()) known.emplace(s->data(), s->size());
    }
  }
  for (const auto& b : bootstrap_lists(c.objects())) {
    for (const auto& part : split_list(b.value)) {
      const auto at = parse_host_port(part);
      if (!at || Context::is_placeholder(part) || known.contains(at->host)) continue;
      c.report(b.object, b.path, at->host + " has no ServiceEntry, and the mesh is REGISTRY_ONLY");
    }
  }
}

void roll_members(Context& c) {
  const Facts facts = facts_of(c.objects());
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
    if (own != nullptr || Context::is_placeholder(ns) || (open && !ns.starts_with("knative-"))) continue;
    if (in(mesh->members, "*") || json::find(mesh->roll->json, {"spec", "memberSelectors"}) != nullptr) {
      continue;
    }
    auto& f = c.report(mesh->roll, Path{"spec", "members"}, "namespace " + ns + " is not a member");
    f.evidence.push_back({why, "needs a sidecar there"});
    f.fix = set_fix(mesh->roll, Path{"spec", "members"} / json::array(mesh->roll->json, {"spec", "members"}).size(),
                    ns, "add it");
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
      f.fix = set_fix(roll, Path{"metadata", "namespace"}, *planes.begin(), "move it to the control plane");
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
            remove_fix(roll, path, "remove it");
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
      c.report(roll, path, std::string(s->data(), s->size()) + " holds operators and their webhooks").fix =
          remove_fix(roll, path, "remove it");
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
  const Facts facts = facts_of(c.objects());
  for (const auto& serving : c.list(kServingKind)) {
    if (!json::boolean(serving->json, {"spec", "ingress", "istio", "enabled"})) continue;
    constexpr std::string_view kDisable = "serverless.openshift.io/disable-istio-net-policies-generation";
    if (json::str(serving->json, {"metadata", "annotations", kDisable}) == "true") continue;
    const auto* mesh = facts.serverless();
    if (mesh == nullptr || !mesh->control_plane) continue;
    const bool cut = is_smcp(*mesh) ? mesh->roll && !open_roll(*mesh) && !in(mesh->members, serving->ns)
                                    : c.list("networking.k8s.io/NetworkPolicy", serving->ns).empty();
    if (!cut) continue;
    const Path path = Path{"metadata", "annotations"} / kDisable;
    c.report(serving, Path{"spec", "ingress", "istio", "enabled"},
             "the operator's NetworkPolicies let nothing of the mesh reach " + serving->ns)
        .fix = set_fix(serving, path, "true", "annotate it");
  }
}

void port_names(Context& c) {
  const Facts facts = facts_of(c.objects());
  static constexpr std::string_view kKnown[] = {"http", "http2", "https", "grpc", "grpc-web", "tcp", "tls",
                                                "mongo", "mysql", "redis", "udp", "status-port"};
  for (const auto& service : c.list("Service")) {
    const auto* mesh = facts.mesh_of(service->ns);
    if (mesh == nullptr || mesh->ns == service->ns) continue;
    const auto view = mesh_model::decode_service(service->json);
    if (view.type == "ExternalName") continue;
    std::size_t i = 0;
    for (const auto& p : view.ports) {
      const Path path = Path{"spec", "ports"} / i++;
      const auto prefix = std::string_view(p.name).substr(0, p.name.find('-'));
      const bool named = std::any_of(std::begin(kKnown), std::end(kKnown),
                                     [&](std::string_view k) { return k == prefix || k == p.name; });
      if (named || !p.app_protocol.empty() || p.protocol != "TCP") continue;
      c.report(service, path, "port " + std::to_string(p.port) + " (\"" + p.name +
                                  "\") says no protocol: it is plain TCP to the mesh");
    }
  }
}

void proxy_versions(Context& c) {
  std::map<std::string, std::pair<std::pair<int, int>, ItemPtr>> first;
  const Facts facts = facts_of(c.objects());
  for (const auto& pod : c.list("Pod")) {
    for (const std::string_view list : {"containers", "initContainers"}) {
      for (const auto& container : json::array(pod->json, {"spec", list})) {
        if (json::str(container, {"name"}) != "istio-proxy") continue;
        const std::string image(json::str(container, {"image"}));
        const auto colon = image.rfind(':');
        const auto v = colon == std::string::npos || image.find('@') != std::string::npos
                           ? std::nullopt
                           : version_of(std::string_view(image).substr(colon + 1));
        const auto* mesh = facts.mesh_of(pod->ns);
        if (!v || mesh == nullptr) continue;
        const auto [it, fresh] = first.emplace(mesh->ns, std::pair(*v, pod));
        if (!fresh && it->second.first != *v) {
          c.report(pod, {}, "runs " + image + ", another minor version than " + it->second.second->ref());
        }
      }
    }
  }
}

}  // namespace

void add_mesh_rules(std::vector<Rule>& out) {
  out.push_back({"K101", {"CP-01"}, {}, Severity::Error, Offline::Yes,
                 "one control plane serves the Serverless namespaces",
                 "Serverless の namespace を担当するコントロールプレーンは一つ",
                 "Gateways select nothing; sidecars come from the wrong mesh",
                 "Only one mesh of a cluster can serve Serverless; two control planes in one namespace fight over "
                 "the same objects.",
                 "name the mesh and take knative-serving off the other roll", {}, {}, one_control_plane});
  out.push_back({"K102", {"CP-02"}, {}, Severity::Warning, Offline::Yes, "the mesh enforces strict mTLS",
                 "メッシュは厳密な mTLS を強制する", "calls in clear text are accepted; no caller identity",
                 "Without STRICT the mesh is PERMISSIVE: it accepts plaintext beside mTLS.",
                 "set spec.security.dataPlane.mtls: true, or a PeerAuthentication STRICT in the root namespace",
                 {}, {}, strict_mtls});
  out.push_back({"K103", {"CP-03"}, {}, Severity::Error, Offline::Yes,
                 "sidecars drain longer than Knative pods take to stop",
                 "サイドカーの終了時間は Knative Pod の終了時間より長い",
                 "502, 503 or EOF for requests in flight on scale-down and rollout",
                 "queue-proxy keeps a stopping pod for 30 s; Istio's own default ends the sidecar after 5 s.",
                 "set terminationDrainDuration: 35s in meshConfig.defaultConfig", {}, {}, drain_duration});
  out.push_back({"K104", {}, {"IST0101", "KIA0302"}, Severity::Error, Offline::Yes,
                 "the control plane gives the gateway pods the label that Knative's Gateways select",
                 "コントロールプレーンは Knative の Gateway が選択するラベルをゲートウェイ Pod に付ける",
                 "TLS reset or 404 at the gateway",
                 "Maistra adds spec.gateways.ingress.service.metadata.labels to its own labels app and istio.",
                 "add knative: ingressgateway to the gateway's labels", {}, {}, gateway_labels});
  out.push_back({"K105", {"CP-05"}, {}, Severity::Error, Offline::Yes,
                 "ports 8444 and 8022 are outside the mesh", "ポート 8444 と 8022 はメッシュの対象外",
                 "preStop hooks fail and requests are cut; metrics targets are down",
                 "The kubelet calls 8022 (/wait-for-drain) and monitoring calls 8444; neither has a certificate of "
                 "the mesh, so STRICT refuses them.",
                 "add the numbers to excludedPorts", {}, {}, excluded_ports});
  out.push_back({"K106", {}, {}, Severity::Warning, Offline::Live, "ROSA uses ThirdParty identities",
                 "ROSA では ThirdParty の ID を使用する", "proxies are never ready",
                 "Service account tokens on ROSA have another audience than the mesh's default expects.",
                 "set spec.security.identity.type: ThirdParty", {}, {}, identity_type});
  out.push_back({"K107", {}, {}, Severity::Error, Offline::Partly,
                 "no namespace is served by two generations of the mesh",
                 "二つの世代のメッシュが同じ namespace を担当しない", "double or wrong injection",
                 "During a migration both webhooks match a namespace unless it is labelled to be ignored.",
                 "label it maistra.io/ignore-namespace=true, then remove it from the roll", {}, {}, two_generations});
  out.push_back({"K108", {}, {}, Severity::Warning, Offline::Partly,
                 "the versions of Serverless and Service Mesh are a documented pair",
                 "Serverless と Service Mesh のバージョンの組み合わせはサポート対象", "subtle and unsupported",
                 "Serverless 1.36 and older are documented with Service Mesh 2.x only, 1.37 with 2.x and 3.x.",
                 "update Serverless to 1.37 or later", {}, {Profile::Ossm3}, supported_pair});
  out.push_back({"K109", {}, {}, Severity::Error, Offline::Partly, "Istio on OpenShift has an IstioCNI",
                 "OpenShift 上の Istio には IstioCNI がある", "pods are denied: their init container needs NET_ADMIN",
                 "OpenShift's security constraints forbid istio-init; the CNI plugin does its work instead.",
                 "create an IstioCNI", {}, {Profile::Ossm3}, istio_cni});
  out.push_back({"K110", {}, {}, Severity::Warning, Offline::Partly,
                 "a REGISTRY_ONLY mesh has a ServiceEntry for every external host",
                 "REGISTRY_ONLY のメッシュでは外部ホストごとに ServiceEntry がある", "502 from BlackHoleCluster",
                 "With outbound policy REGISTRY_ONLY, hosts outside the registry are unreachable.",
                 "write a ServiceEntry for the host", {}, {}, registry_only});
  out.push_back({"K120", {"MR-02"}, {"IST0102", "KIA0005"}, Severity::Error, Offline::Yes,
                 "every namespace that needs sidecars is a member",
                 "サイドカーが必要な namespace はすべてメンバー", "no sidecar; 503 through the activator",
                 "Only members of the ServiceMeshMemberRoll are injected and get the mesh's network policies.",
                 "add the namespace to the roll", {}, {}, roll_members});
  out.push_back({"K121", {"MR-01"}, {}, Severity::Error, Offline::Yes,
                 "the member roll is named default and stands beside its control plane",
                 "メンバーロールの名前は default で、コントロールプレーンと同じ namespace にある",
                 "admission error, or nothing joins", "Maistra looks for the roll under this name only.",
                 "rename or move it", {}, {}, roll_name});
  out.push_back({"K122", {}, {}, Severity::Warning, Offline::Partly, "every member namespace exists",
                 "メンバーの namespace がすべて存在する", "the roll stays at ReconcileError 2/4",
                 "The roll joins a missing namespace only when it appears.", "create the namespace or remove it",
                 {}, {}, members_exist});
  out.push_back({"K123", {"MR-03"}, {}, Severity::Error, Offline::Yes, "no namespace is in two rolls",
                 "二つのロールに同じ namespace がない", "the roll is never ready",
                 "A namespace belongs to one mesh, and the control plane's own is no member.", "remove it from one",
                 {}, {}, one_roll});
  out.push_back({"K124", {"MR-04"}, {}, Severity::Warning, Offline::Yes,
                 "the operators' namespaces are outside the mesh", "オペレーターの namespace はメッシュの外にある",
                 "admission and conversion webhooks time out",
                 "The roll copies NetworkPolicies into members, which cut off the API server's calls.",
                 "remove it from the roll", {}, {}, operator_namespaces});
  out.push_back({"K125", {}, {"IST0123"}, Severity::Error, Offline::Yes,
                 "a namespace has one injection label", "namespace の injection ラベルは一つ",
                 "the sidecar comes from another control plane than meant, or not at all",
                 "istio-injection wins over istio.io/rev.", "keep one of the two", {},
                 {Profile::Ossm3, Profile::Istio}, injection_labels});
  out.push_back({"K126", {"NP-01", "NP-02"}, {}, Severity::Error, Offline::Yes,
                 "the operator's NetworkPolicies do not cut off knative-serving",
                 "オペレーターの NetworkPolicy が knative-serving を遮断しない",
                 "the activator crash-loops: dial tcp …:8080: i/o timeout",
                 "With istio enabled the operator makes policies for its webhooks and for monitoring; everything "
                 "else is denied unless the roll's policies open it.",
                 "join the roll, or annotate KnativeServing with disable-istio-net-policies-generation", {}, {},
                 operator_policies});
  out.push_back({"K130", {"CP-06"}, {"IST0118", "KIA0601"}, Severity::Warning, Offline::Yes,
                 "ports of Services in the mesh say their protocol", "メッシュ内 Service のポートはプロトコルを示す",
                 "no routing by host, no policies on paths",
                 "Service Mesh 2 does not sniff: the protocol comes from the port's name or appProtocol.",
                 "name it http-…, grpc-… or tcp-…, or set appProtocol", {}, {Profile::Ossm2}, port_names});
  out.push_back({"K131", {"CP-07"}, {"IST0158"}, Severity::Warning, Offline::Live,
                 "all proxies of a mesh run one minor version", "メッシュのプロキシはすべて同じマイナーバージョン",
                 "odd rejections of configuration", "istiod supports proxies of its own minor version best.",
                 "restart the pod after the upgrade", {"Pod"}, {}, proxy_versions});
}

}  // namespace knit::check
