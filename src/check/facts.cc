#include "check/facts.h"

#include "mesh_model/peer_authentication.h"

namespace knit::check {
namespace {

constexpr std::string_view kSmcp = "maistra.io/ServiceMeshControlPlane";
constexpr std::string_view kSmmr = "maistra.io/ServiceMeshMemberRoll";
constexpr std::string_view kIstio = "sailoperator.io/Istio";

bool is_gateway_template(const Json& pod) {
  const auto annotation = [&](std::string_view key) {
    return json::str(pod, {"metadata", "annotations", key});
  };
  if (annotation("inject.istio.io/templates") == "gateway") return true;
  if (json::str(pod, {"metadata", "labels", "istio"}).find("gateway") != std::string_view::npos) {
    return true;
  }
  for (const auto& c : json::array(pod, {"spec", "containers"})) {
    const auto image = json::str(c, {"image"});
    if (json::str(c, {"name"}) == "istio-proxy" &&
        (image == "auto" || json::array(pod, {"spec", "containers"}).size() == 1)) {
      return true;
    }
  }
  return false;
}

mesh_model::Labels labels_at(const Json& root, json::Path path) {
  mesh_model::Labels out;
  for (auto& [k, v] : json::string_map(root, path)) out[k] = v;
  return out;
}

/// What Maistra makes of spec.gateways.ingress (spec mesh.md 1.1).
void add_smcp_gateway(const Item& smcp, const ItemPtr& from, Facts& out) {
  if (!json::boolean(smcp.json, {"spec", "gateways", "enabled"}, true)) return;
  if (!json::boolean(smcp.json, {"spec", "gateways", "ingress", "enabled"}, true)) return;
  std::string ns(json::str(smcp.json, {"spec", "gateways", "ingress", "namespace"}, smcp.ns));
  mesh_model::Labels labels{{"app", "istio-ingressgateway"},
                            {"istio", "ingressgateway"},
                            {"maistra.io/gateway", "istio-ingressgateway." + ns},
                            {"maistra-control-plane", smcp.ns},
                            {"istio.io/rev", smcp.name}};
  for (auto& [k, v] :
       labels_at(smcp.json, {"spec", "gateways", "ingress", "service", "metadata", "labels"})) {
    labels[k] = v;
  }
  GatewayPod pod;
  pod.view.ns = ns;
  pod.view.name = "istio-ingressgateway";
  pod.view.uid = "computed/" + ns + "/istio-ingressgateway";
  pod.view.labels = labels;
  pod.from = from;
  pod.mesh = smcp.ns;
  out.gateway_pods.push_back(pod);
  for (const auto& s : out.services) {
    if (s.ns == ns && s.name == "istio-ingressgateway") return;  // the set has the real one
  }
  mesh_model::ServiceView service;
  service.ns = ns;
  service.name = "istio-ingressgateway";
  service.type =
      json::str(smcp.json, {"spec", "gateways", "ingress", "service", "type"}, "ClusterIP");
  service.labels = service.selector = labels;
  service.ports = {{15021, "status-port", "TCP", "", 15021, ""},
                   {80, "http2", "TCP", "", 8080, ""},
                   {443, "https", "TCP", "", 8443, ""}};
  const auto& ports = json::array(smcp.json, {"spec", "gateways", "ingress", "service", "ports"});
  if (!ports.empty()) {
    service.ports.clear();
    for (const auto& p : ports) {
      mesh_model::ServicePortView view;
      view.port = static_cast<std::uint16_t>(json::i64(p, {"port"}));
      view.name = json::str(p, {"name"});
      view.target_port = static_cast<std::uint16_t>(json::i64(p, {"targetPort"}, view.port));
      service.ports.push_back(view);
    }
  }
  out.services.push_back(std::move(service));
}

MeshFacts smcp_facts(const ObjectSet& objects, const ItemPtr& smcp) {
  MeshFacts mesh;
  mesh.ns = smcp->ns;
  mesh.control_plane = smcp;
  for (const auto& roll : objects.list(kSmmr, smcp->ns)) {
    if (roll->name == "default") mesh.roll = roll;
  }
  if (mesh.roll) {
    for (const auto& m : json::array(mesh.roll->json, {"spec", "members"})) {
      if (const auto* s = m.if_string()) mesh.members.emplace_back(s->data(), s->size());
    }
  }
  if (smcp_mtls(smcp->json)) {
    mesh.strict = true;
    mesh.strict_from = smcp;
  }
  for (const auto& p : json::array(smcp->json, {"spec", "proxy", "networking", "trafficControl",
                                                "inbound", "excludedPorts"})) {
    if (const auto* i = p.if_int64()) mesh.excluded_ports.push_back(static_cast<std::uint16_t>(*i));
  }
  return mesh;
}

MeshFacts istio_facts(const ObjectSet& objects, const ItemPtr& istio) {
  MeshFacts mesh;
  mesh.ns = json::str(istio->json, {"spec", "namespace"}, "istio-system");
  mesh.control_plane = istio;
  std::string_view list =
      json::str(istio->json, {"spec", "values", "global", "proxy", "excludeInboundPorts"});
  while (!list.empty()) {
    const auto comma = list.find(',');
    const int port = std::atoi(std::string(list.substr(0, comma)).c_str());
    if (port > 0 && port < 65536) mesh.excluded_ports.push_back(static_cast<std::uint16_t>(port));
    list = comma == std::string_view::npos ? std::string_view() : list.substr(comma + 1);
  }
  for (const auto& ns : objects.list("Namespace")) {
    if (json::str(ns->json, {"metadata", "labels", "istio-injection"}) == "enabled" ||
        !json::str(ns->json, {"metadata", "labels", "istio.io/rev"}).empty()) {
      mesh.members.push_back(ns->name);
    }
  }
  return mesh;
}

}  // namespace

bool smcp_mtls(const Json& smcp) {
  return json::boolean(smcp, {"spec", "security", "dataPlane", "mtls"});
}

Facts facts_of(const ObjectSet& objects) {
  Facts out;
  for (const auto& s : objects.list("Service"))
    out.services.push_back(mesh_model::decode_service(s->json));
  for (auto& s : out.services) {
    if (s.ns.empty()) s.ns = "default";
  }
  for (const auto& smcp : objects.list(kSmcp)) out.meshes.push_back(smcp_facts(objects, smcp));
  for (const auto& istio : objects.list(kIstio)) out.meshes.push_back(istio_facts(objects, istio));
  if (out.meshes.empty()) {
    MeshFacts plain;
    plain.ns = "istio-system";
    for (const auto& ns : objects.list("Namespace")) {
      if (json::str(ns->json, {"metadata", "labels", "istio-injection"}) == "enabled") {
        plain.members.push_back(ns->name);
      }
    }
    if (!objects.list("networking.istio.io/Gateway").empty() || !plain.members.empty()) {
      out.meshes.push_back(std::move(plain));
    }
  }
  for (auto& mesh : out.meshes) {
    for (const auto& pa : objects.list("security.istio.io/PeerAuthentication", mesh.ns)) {
      const auto view = mesh_model::decode_peer_authentication(pa->json);
      if (view.has_selector || view.mode == mesh_model::Mtls::Unset) continue;
      mesh.strict = view.mode == mesh_model::Mtls::Strict;
      mesh.strict_from = pa;
    }
  }
  // Gateway pods: real ones first; what creates pods counts where none of its pods are there.
  std::set<std::string> namespaces_with_pods;
  std::map<std::tuple<std::string, decltype(mesh_model::PodView::labels),
                      decltype(mesh_model::PodView::named_ports)>,
           std::size_t>
      shapes;
  for (const auto& pod : objects.list("Pod")) {
    namespaces_with_pods.insert(pod->ns);
    if (!is_gateway_template(pod->json)) continue;
    GatewayPod g;
    g.view = mesh_model::decode_pod(pod->json);
    g.view.ns = pod->ns;
    if (g.view.uid.empty()) g.view.uid = pod->ns + "/" + pod->name;
    g.from = pod;
    const auto [alike, fresh] =
        shapes.try_emplace({pod->ns, g.view.labels, g.view.named_ports}, out.gateway_pods.size());
    if (fresh) {
      out.gateway_pods.push_back(std::move(g));
    } else {
      out.gateway_pods[alike->second].alike.push_back(pod);
    }
  }
  for (const auto& deployment : objects.list("apps/Deployment")) {
    const Json* pod_template = json::find(deployment->json, {"spec", "template"});
    if (pod_template == nullptr || namespaces_with_pods.contains(deployment->ns) ||
        !is_gateway_template(*pod_template)) {
      continue;
    }
    GatewayPod g;
    g.view.ns = deployment->ns;
    g.view.name = deployment->name;
    g.view.uid = "computed/" + deployment->ns + "/" + deployment->name;
    g.view.labels = labels_at(*pod_template, {"metadata", "labels"});
    g.from = deployment;
    out.gateway_pods.push_back(std::move(g));
  }
  for (const auto& smcp : objects.list(kSmcp)) {
    const bool there =
        std::any_of(out.gateway_pods.begin(), out.gateway_pods.end(), [&](const auto& g) {
          return g.view.ns == smcp->ns && g.view.labels.contains("app") &&
                 g.view.labels.at("app") == "istio-ingressgateway";
        });
    if (!there) add_smcp_gateway(*smcp, smcp, out);
  }
  for (auto& pod : out.gateway_pods) {
    if (!pod.mesh.empty()) continue;
    if (const auto* mesh = out.mesh_of(pod.view.ns))
      pod.mesh = mesh->ns;
    else if (out.meshes.size() == 1)
      pod.mesh = out.meshes.front().ns;
  }
  for (const auto& gateway : objects.list("networking.istio.io/Gateway")) {
    auto view = mesh_model::decode_gateway(gateway->json);
    view.ns = gateway->ns;
    out.gateways.emplace_back(std::move(view), gateway);
  }
  out.index();
  return out;
}

const Facts& SharedFacts::get() {
  if (!facts_) {
    const auto before = objects_.take_missed();
    const bool seen = objects_.take_seen();
    facts_ = std::make_shared<const Facts>(facts_of(objects_));
    blind_ = objects_.take_missed();
    // Templates stand in for pods; rules that need these two ask for them themselves.
    blind_.erase(kind_name("Pod"));
    blind_.erase(kind_name("Namespace"));
    // A control plane that says mTLS is strict whatever else is there.
    const bool strict =
        !facts_->meshes.empty() && std::all_of(facts_->meshes.begin(), facts_->meshes.end(),
                                               [](const MeshFacts& m) { return m.strict; });
    if (strict) blind_.erase(kind_name("security.istio.io/PeerAuthentication"));
    // A dump without one of these has no such object, as far as the model can know.
    std::erase_if(blind_, [&](const auto& k) { return !objects_.unreadable.contains(k); });
    objects_.add_missed(before);
    objects_.take_seen();
    if (seen) objects_.mark_seen();
  }
  if (!facts_->meshes.empty() || !facts_->gateway_pods.empty()) objects_.mark_seen();
  objects_.add_missed(blind_);
  return *facts_;
}

const MeshFacts* Facts::mesh_of(std::string_view ns) const {
  for (const auto& mesh : meshes) {
    if (mesh.ns == ns) return &mesh;
    if (std::find(mesh.members.begin(), mesh.members.end(), ns) != mesh.members.end()) return &mesh;
  }
  return nullptr;
}

const MeshFacts* Facts::serverless() const {
  if (const auto* mesh = mesh_of("knative-serving")) return mesh;
  return meshes.size() == 1 ? &meshes.front() : nullptr;
}

void Facts::index() {
  for (std::size_t i = 0; i < gateway_pods.size(); ++i) {
    for (const auto& [key, value] : gateway_pods[i].view.labels)
      pods_by_label_[{key, value}].push_back(i);
  }
  for (std::size_t i = 0; i < gateways.size(); ++i) {
    const auto& view = gateways[i].first;
    gateways_by_name_.try_emplace(view.full_name(), i);
    if (view.selector.empty()) {
      gateways_of_all_.push_back(i);
    } else {
      gateways_by_first_label_[*view.selector.begin()].push_back(i);
    }
  }
}

std::vector<const GatewayPod*> Facts::pods_with(
    const std::map<std::string, std::string>& selector) const {
  std::vector<const GatewayPod*> out;
  if (selector.empty()) {
    for (const auto& pod : gateway_pods) out.push_back(&pod);
    return out;
  }
  // The label that the fewest have.
  const std::vector<std::size_t>* fewest = nullptr;
  for (const auto& label : selector) {
    const auto it = pods_by_label_.find(label);
    if (it == pods_by_label_.end()) return out;
    if (fewest == nullptr || it->second.size() < fewest->size()) fewest = &it->second;
  }
  for (const auto i : *fewest) {
    if (mesh_model::selects(selector, gateway_pods[i].view.labels)) out.push_back(&gateway_pods[i]);
  }
  return out;
}

std::vector<const mesh_model::GatewayView*> Facts::reaching(const GatewayPod& pod) const {
  auto found = gateways_of_all_;
  for (const auto& label : pod.view.labels) {
    const auto it = gateways_by_first_label_.find(label);
    if (it == gateways_by_first_label_.end()) continue;
    for (const auto i : it->second) {
      if (mesh_model::selects(gateways[i].first.selector, pod.view.labels)) found.push_back(i);
    }
  }
  std::sort(found.begin(), found.end());
  std::vector<const mesh_model::GatewayView*> out;
  for (const auto i : found) out.push_back(&gateways[i].first);
  return out;
}

const ItemPtr* Facts::gateway(std::string_view full_name) const {
  const auto it = gateways_by_name_.find(full_name);
  return it == gateways_by_name_.end() ? nullptr : &gateways[it->second].second;
}

std::vector<ConfigEntry> operator_config(const Json& operator_object, std::string_view section) {
  std::vector<ConfigEntry> out;
  const std::string prefixed = "config-" + std::string(section);
  for (const std::string& name : {std::string(section), prefixed}) {
    for (auto& [key, value] : json::string_map(operator_object, {"spec", "config", name})) {
      out.push_back({key, value, yaml::Path{"spec", "config"} / name / key});
    }
  }
  return out;
}

std::optional<ConfigEntry> operator_config(const Json& operator_object, std::string_view section,
                                           std::string_view key) {
  for (auto& entry : operator_config(operator_object, section)) {
    if (entry.key == key) return entry;
  }
  return std::nullopt;
}

std::optional<Workload> operator_workload(const Json& operator_object, std::string_view name) {
  for (const std::string_view list : {"workloads", "deployments"}) {
    std::size_t i = 0;
    for (const auto& w : json::array(operator_object, {"spec", list})) {
      if (json::str(w, {"name"}) == name) return Workload{yaml::Path{"spec", list} / i, w};
      ++i;
    }
  }
  return std::nullopt;
}

std::string workload_inject(const Json& workload) {
  const auto label = json::str(workload, {"labels", "sidecar.istio.io/inject"});
  if (!label.empty()) return std::string(label);
  return std::string(json::str(workload, {"annotations", "sidecar.istio.io/inject"}));
}

}  // namespace knit::check
