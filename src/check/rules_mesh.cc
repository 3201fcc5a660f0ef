// K10x, K13x: the control plane and what it must say.
#include "check/helpers.h"

namespace knit::check {
namespace {

using yaml::Path;

void one_control_plane(Context& c) {
  const Facts& facts = c.facts();
  const MeshFacts* first = nullptr;
  for (const auto& mesh : facts.meshes) {
    if (!in(mesh.members, "knative-serving")) continue;
    if (first == nullptr) {
      first = &mesh;
      continue;
    }
    const ItemPtr at = mesh.roll ? mesh.roll : mesh.control_plane;
    auto& f =
        c.report(at, {}, "knative-serving is in the meshes of " + first->ns + " and " + mesh.ns);
    if (first->roll) f.evidence.push_back({first->roll->ref(), "lists knative-serving too"});
  }
  std::map<std::string, ItemPtr> seen;
  for (const auto& smcp : c.list(kSmcpKind)) {
    const auto [it, fresh] = seen.emplace(smcp->ns, smcp);
    if (!fresh) {
      c.report(smcp, {},
               "namespace " + smcp->ns + " has two control planes: " + it->second->name + " and " +
                   smcp->name);
    }
  }
}

void strict_mtls(Context& c) {
  const Facts& facts = c.facts();
  const auto* mesh = facts.serverless();
  if (mesh == nullptr || mesh->strict) return;
  if (is_smcp(*mesh)) {
    const Path path{"spec", "security", "dataPlane", "mtls"};
    const ItemPtr at = mesh->strict_from ? mesh->strict_from : mesh->control_plane;
    if (at != mesh->control_plane) {
      c.report(at, Path{"spec", "mtls", "mode"}, "the mesh-wide PeerAuthentication is not STRICT")
          .fix = set_fix(at, Path{"spec", "mtls", "mode"}, "STRICT", "set STRICT");
    } else {
      c.report(at, path,
               "spec.security.dataPlane.mtls is not true: calls without mTLS are accepted")
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
             : Path{"spec", "techPreview", "meshConfig", "defaultConfig",
                    "terminationDrainDuration"};
}

void drain_duration(Context& c) {
  const Facts& facts = c.facts();
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
      said =
          "terminationDrainDuration " + go_duration(*d) + " is not longer than queue-proxy's 30s";
    }
  }
  if (!said.empty())
    c.report(plane, path, said).fix =
        set_fix(plane, path, "35s", "set terminationDrainDuration: 35s");
}

void gateway_labels(Context& c) {
  const Facts& facts = c.facts();
  for (const auto& [view, item] : facts.gateways) {
    if (view.ns != "knative-serving" || !facts.selected(view).empty()) continue;
    const auto* mesh = facts.serverless();
    if (mesh == nullptr || !is_smcp(*mesh)) continue;
    const auto& smcp = mesh->control_plane;
    for (const auto& [key, value] : view.selector) {
      if (Context::is_placeholder(value)) continue;
      const Path labels{"spec", "gateways", "ingress", "service", "metadata", "labels"};
      if (json::str(smcp->json, {"spec", "gateways", "ingress", "service", "metadata", "labels",
                                 key}) == value) {
        continue;
      }
      auto& f =
          c.report(smcp, labels, "the gateway pods do not get the label " + key + ": " + value);
      f.evidence.push_back({item->ref(), "its selector wants it"});
      f.fix = set_fix(smcp, labels / key, value, "add the label");
    }
    return;  // the local Gateway has the same selector
  }
}

void excluded_ports(Context& c) {
  const Facts& facts = c.facts();
  const auto* mesh = facts.serverless();
  if (mesh == nullptr || !mesh->control_plane || !mesh->strict) return;
  const auto& plane = mesh->control_plane;
  const bool smcp = is_smcp(*mesh);
  const Path path =
      smcp ? Path{"spec", "proxy", "networking", "trafficControl", "inbound", "excludedPorts"}
           : Path{"spec", "values", "global", "proxy", "excludeInboundPorts"};
  const Json* list = yaml::find(plane->json, path);
  if (list != nullptr && has_placeholder(*list)) return;
  const std::size_t length = list != nullptr && list->is_array() ? list->get_array().size() : 0;
  for (const int port : {8444, 8022}) {
    const auto& has = mesh->excluded_ports;
    if (std::find(has.begin(), has.end(), port) != has.end()) continue;
    const std::string number = std::to_string(port);
    auto& f = c.report(plane, path,
                       "port " + number + " is not excluded from the mesh: " +
                           (port == 8022 ? "the kubelet calls it before a pod stops"
                                         : "the cluster's monitoring reads metrics there"));
    if (!smcp) f.severity = Severity::Warning;
    if (!smcp) continue;
    std::optional<std::size_t> as_text;
    for (std::size_t i = 0; i < length; ++i) {
      if (const auto* s = list->get_array()[i].if_string(); s != nullptr && *s == number)
        as_text = i;
    }
    if (as_text) f.message = "port \"" + number + "\" is a string: ports are numbers";
    f.fix = length == 0
                ? set_fix(plane, path, JsonArray{8444, 8022}, "exclude 8444 and 8022")
                : set_fix(plane, path / as_text.value_or(length), port, "add the number " + number);
  }
}

void identity_type(Context& c) {
  const auto infrastructure = c.find("config.openshift.io/Infrastructure", "", "cluster");
  if (!infrastructure) return;
  bool managed = false;
  for (const auto& tag :
       json::array(infrastructure->json, {"status", "platformStatus", "aws", "resourceTags"})) {
    managed |=
        json::str(tag, {"key"}) == "red-hat-clustertype" && json::str(tag, {"value"}) == "rosa";
  }
  if (!managed) return;
  for (const auto& smcp : c.list(kSmcpKind)) {
    const Path path{"spec", "security", "identity", "type"};
    if (json::str(smcp->json, {"spec", "security", "identity", "type"}) == "ThirdParty") continue;
    c.report(smcp, path, "identity.type is not ThirdParty on ROSA").fix =
        set_fix(smcp, path, "ThirdParty", "set spec.security.identity.type: ThirdParty");
  }
}

void two_generations(Context& c) {
  if (c.list(kSmcpKind).empty() || c.list(kIstioKind).empty()) return;
  const Facts& facts = c.facts();
  for (const auto& ns : c.list("Namespace")) {
    const bool new_mesh =
        json::str(ns->json, {"metadata", "labels", "istio-injection"}) == "enabled" ||
        !json::str(ns->json, {"metadata", "labels", "istio.io/rev"}).empty();
    const Path ignore = Path{"metadata", "labels"} / "maistra.io/ignore-namespace";
    if (!new_mesh ||
        json::str(ns->json, {"metadata", "labels", "maistra.io/ignore-namespace"}) == "true") {
      continue;
    }
    for (const auto& mesh : facts.meshes) {
      if (!is_smcp(mesh) || !in(mesh.members, ns->name)) continue;
      c.report(ns, Path{"metadata", "labels"},
               "is in the roll of " + mesh.ns + " and labelled for Istio 3")
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
      c.report(csv, Path{"metadata", "name"},
               csv->name + " is documented with Service Mesh 2 only");
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
  const Facts& facts = c.facts();
  const auto* mesh = facts.serverless();
  if (mesh == nullptr || !mesh->control_plane) return;
  const auto& plane = mesh->control_plane->json;
  const bool only =
      json::str(plane, {"spec", "proxy", "networking", "trafficControl", "outbound", "policy"}) ==
          "REGISTRY_ONLY" ||
      json::str(plane, {"spec", "values", "meshConfig", "outboundTrafficPolicy", "mode"}) ==
          "REGISTRY_ONLY";
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

void port_names(Context& c) {
  const Facts& facts = c.facts();
  static constexpr std::string_view kKnown[] = {"http",     "http2", "https", "grpc",
                                                "grpc-web", "tcp",   "tls",   "mongo",
                                                "mysql",    "redis", "udp",   "status-port"};
  for (const auto& service : c.list("Service")) {
    const auto* mesh = facts.mesh_of(service->ns);
    if (mesh == nullptr || mesh->ns == service->ns) continue;
    const auto view = mesh_model::decode_service(service->json);
    if (view.type == "ExternalName") continue;
    std::size_t i = 0;
    for (const auto& p : view.ports) {
      const Path path = Path{"spec", "ports"} / i++;
      const auto prefix = std::string_view(p.name).substr(0, p.name.find('-'));
      const bool named = std::any_of(std::begin(kKnown), std::end(kKnown), [&](std::string_view k) {
        return k == prefix || k == p.name;
      });
      if (named || !p.app_protocol.empty() || p.protocol != "TCP") continue;
      c.report(service, path,
               "port " + std::to_string(p.port) + " (\"" + p.name +
                   "\") says no protocol: it is plain TCP to the mesh");
    }
  }
}

void proxy_versions(Context& c) {
  std::map<std::string, std::pair<std::pair<int, int>, ItemPtr>> first;
  const Facts& facts = c.facts();
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
          c.report(pod, {},
                   "runs " + image + ", another minor version than " + it->second.second->ref());
        }
      }
    }
  }
}

}  // namespace

void add_mesh_rules(std::vector<Rule>& out) {
  out.push_back({"K101",
                 {"CP-01"},
                 {},
                 Severity::Error,
                 Offline::Yes,
                 "one control plane serves the Serverless namespaces",
                 "Serverless の namespace を担当するコントロールプレーンは一つ",
                 "Gateways select nothing; sidecars come from the wrong mesh",
                 "Only one mesh of a cluster can serve Serverless; two control planes in one "
                 "namespace fight over "
                 "the same objects.",
                 "name the mesh and take knative-serving off the other roll",
                 {},
                 {},
                 one_control_plane});
  out.push_back({"K102",
                 {"CP-02"},
                 {},
                 Severity::Warning,
                 Offline::Yes,
                 "the mesh enforces strict mTLS",
                 "メッシュは厳密な mTLS を強制する",
                 "calls in clear text are accepted; no caller identity",
                 "Without STRICT the mesh is PERMISSIVE: it accepts plaintext beside mTLS.",
                 "set spec.security.dataPlane.mtls: true, or a PeerAuthentication STRICT in the "
                 "root namespace",
                 {},
                 {},
                 strict_mtls});
  out.push_back(
      {"K103",
       {"CP-03"},
       {},
       Severity::Error,
       Offline::Yes,
       "sidecars drain longer than Knative pods take to stop",
       "サイドカーの終了時間は Knative Pod の終了時間より長い",
       "502, 503 or EOF for requests in flight on scale-down and rollout",
       "queue-proxy keeps a stopping pod for 30 s; Istio's own default ends the sidecar after 5 s.",
       "set terminationDrainDuration: 35s in meshConfig.defaultConfig",
       {},
       {},
       drain_duration});
  out.push_back(
      {"K104",
       {},
       {"IST0101", "KIA0302"},
       Severity::Error,
       Offline::Yes,
       "the control plane gives the gateway pods the label that Knative's Gateways select",
       "コントロールプレーンは Knative の Gateway が選択するラベルをゲートウェイ Pod に付ける",
       "TLS reset or 404 at the gateway",
       "Maistra adds spec.gateways.ingress.service.metadata.labels to its own labels app and "
       "istio.",
       "add knative: ingressgateway to the gateway's labels",
       {},
       {},
       gateway_labels});
  out.push_back({"K105",
                 {"CP-05"},
                 {},
                 Severity::Error,
                 Offline::Yes,
                 "ports 8444 and 8022 are outside the mesh",
                 "ポート 8444 と 8022 はメッシュの対象外",
                 "preStop hooks fail and requests are cut; metrics targets are down",
                 "The kubelet calls 8022 (/wait-for-drain) and monitoring calls 8444; neither has "
                 "a certificate of "
                 "the mesh, so STRICT refuses them.",
                 "add 8444 and 8022, as numbers, to "
                 "spec.proxy.networking.trafficControl.inbound.excludedPorts",
                 {},
                 {},
                 excluded_ports});
  out.push_back(
      {"K106",
       {},
       {},
       Severity::Warning,
       Offline::Live,
       "ROSA uses ThirdParty identities",
       "ROSA では ThirdParty の ID を使用する",
       "proxies are never ready",
       "Service account tokens on ROSA have another audience than the mesh's default expects.",
       "set spec.security.identity.type: ThirdParty",
       {},
       {},
       identity_type});
  out.push_back(
      {"K107",
       {},
       {},
       Severity::Error,
       Offline::Partly,
       "no namespace is served by two generations of the mesh",
       "二つの世代のメッシュが同じ namespace を担当しない",
       "double or wrong injection",
       "During a migration both webhooks match a namespace unless it is labelled to be ignored.",
       "label it maistra.io/ignore-namespace=true, then remove it from the roll",
       {},
       {},
       two_generations});
  out.push_back({"K108",
                 {},
                 {},
                 Severity::Warning,
                 Offline::Partly,
                 "the versions of Serverless and Service Mesh are a documented pair",
                 "Serverless と Service Mesh のバージョンの組み合わせはサポート対象",
                 "what fails cannot be predicted, and support does not help",
                 "Serverless 1.36 and older are documented with Service Mesh 2.x only, 1.37 with "
                 "2.x and 3.x.",
                 "update Serverless to 1.37 or later",
                 {},
                 {Profile::Ossm3},
                 supported_pair});
  out.push_back(
      {"K109",
       {},
       {},
       Severity::Error,
       Offline::Partly,
       "Istio on OpenShift has an IstioCNI",
       "OpenShift 上の Istio には IstioCNI がある",
       "pods are denied: their init container needs NET_ADMIN",
       "OpenShift's security constraints forbid istio-init; the CNI plugin does its work instead.",
       "create an IstioCNI named default",
       {},
       {Profile::Ossm3},
       istio_cni});
  out.push_back({"K110",
                 {},
                 {},
                 Severity::Warning,
                 Offline::Partly,
                 "a REGISTRY_ONLY mesh has a ServiceEntry for every external host",
                 "REGISTRY_ONLY のメッシュでは外部ホストごとに ServiceEntry がある",
                 "502 from BlackHoleCluster",
                 "With outbound policy REGISTRY_ONLY, hosts outside the registry are unreachable.",
                 "write a ServiceEntry for the host, or allow any destination",
                 {},
                 {},
                 registry_only});
  out.push_back(
      {"K130",
       {"CP-06"},
       {"IST0118", "KIA0601"},
       Severity::Warning,
       Offline::Yes,
       "ports of Services in the mesh say their protocol",
       "メッシュ内 Service のポートはプロトコルを示す",
       "no routing by host, no policies on paths",
       "Service Mesh 2 does not sniff: the protocol comes from the port's name or appProtocol.",
       "name it http-…, grpc-… or tcp-…, or set appProtocol",
       {},
       {Profile::Ossm2},
       port_names});
  out.push_back({"K131",
                 {"CP-07"},
                 {"IST0158"},
                 Severity::Warning,
                 Offline::Live,
                 "all proxies of a mesh run one minor version",
                 "メッシュのプロキシはすべて同じマイナーバージョン",
                 "odd rejections of configuration",
                 "istiod supports proxies of its own minor version best.",
                 "restart the pod after the upgrade",
                 {"Pod"},
                 {},
                 proxy_versions});
}

}  // namespace knit::check
