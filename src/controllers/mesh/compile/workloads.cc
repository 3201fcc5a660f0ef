// Trust bundles, meshes, identities and workloads.
#include <algorithm>

#include "controllers/mesh/compile/compile.h"
#include "controllers/mesh/control_plane.h"
#include "kube/roles.h"
#include "mesh_model/hosts.h"
#include "mesh_model/visibility.h"
#include "pki/spiffe.h"

namespace knit::mesh {
namespace {
namespace res = kube::res;
namespace pc = proxy_config;

pc::MtlsMode mode_of(mesh_model::Mtls m) {
  switch (m) {
    case mesh_model::Mtls::Strict:
      return pc::MtlsMode::Strict;
    case mesh_model::Mtls::Disable:
      return pc::MtlsMode::Disable;
    default:
      return pc::MtlsMode::Permissive;
  }
}

bool finished(const Json& pod) {
  const auto phase = json::str(pod, {"status", "phase"});
  return phase == "Succeeded" || phase == "Failed";
}

}  // namespace

pc::Role role_of(const Json& pod) {
  pc::Role role = pc::Role::App;
  bool any = false;
  for (const Json& c : json::array(pod, {"spec", "containers"})) {
    const std::string_view image = json::str(c, {"image"});
    if (!image.starts_with(kRoleImage)) return pc::Role::App;
    std::string_view name = image.substr(kRoleImage.size());
    name = name.substr(0, name.find_first_of(":@"));
    if (name == "istio-proxy" || name == "queue-proxy") continue;
    if (any) continue;
    any = true;
    if (name == "istio-ingressgateway" || name == "istio-egressgateway") {
      role = pc::Role::IngressGateway;
    } else if (name == "activator") {
      role = pc::Role::Activator;
    } else if (name == "autoscaler") {
      role = pc::Role::Autoscaler;
    } else if (name == "istiod") {
      role = pc::Role::Istiod;
    } else if (name == "router") {
      role = pc::Role::Router;
    } else if (kube::runs_in_events(name)) {
      role = pc::Role::Events;
    } else if (name.find("webhook") != std::string_view::npos) {
      role = pc::Role::Webhook;
    } else if (name.find("controller") != std::string_view::npos) {
      role = pc::Role::Controller;
    } else {
      role = pc::Role::Other;
    }
  }
  return role;
}

bool has_sidecar(const Json& pod) {
  for (const char* list : {"containers", "initContainers"}) {
    for (const Json& c : json::array(pod, {"spec", list})) {
      if (json::str(c, {"name"}) == "istio-proxy") return true;
    }
  }
  return false;
}

std::string account_of(const Json& pod) {
  return std::string(json::str(pod, {"spec", "serviceAccountName"}, "default"));
}

std::optional<pc::TrustBundle> compile_trust_bundle(const std::string& mesh, const World& world,
                                                    const MeshSettings& settings) {
  const auto plane = control_plane_of(world, mesh);
  if (!plane || !settings.mesh_root_pem) return std::nullopt;
  pc::TrustBundle out;
  out.roots_pem = settings.mesh_root_pem(mesh);
  out.trust_domain = plane->trust_domain;
  if (out.roots_pem.empty()) return std::nullopt;
  return out;
}

std::optional<pc::Mesh> compile_mesh(const std::string& mesh, const World& world,
                                     const MeshSettings& settings) {
  const auto plane = control_plane_of(world, mesh);
  if (!plane) return std::nullopt;
  pc::Mesh out;
  out.trust_domain = plane->trust_domain;
  out.outbound_registry_only = plane->registry_only;
  out.sniff_inbound = plane->sniff_inbound;
  out.sniff_outbound = plane->sniff_outbound;
  out.drain = plane->drain;
  out.access_log = plane->access_log;
  for (const ObjectPtr& rule : world.list(res::destinationrules(), mesh)) {
    const auto view = mesh_model::decode_destination_rule(rule->parse());
    out.force_mtls_to_cluster |=
        view.tls == mesh_model::ClientTlsMode::IstioMutual && view.host.starts_with('*') &&
        mesh_model::host_subset("*.svc." + settings.cluster_domain, view.host);
  }
  return out;
}

std::optional<std::pair<std::string, pc::Identity>> compile_identity(const std::string& account,
                                                                     const World& world) {
  const auto [ns, name] = split_name(account);
  const std::string mesh = mesh_of(world, ns);
  const auto plane = control_plane_of(world, mesh);
  if (!plane) return std::nullopt;
  for (const ObjectPtr& object : world.list(res::pods(), ns)) {
    const Json pod = object->parse();
    if (account_of(pod) == name && has_sidecar(pod) && !finished(pod)) {
      pc::Identity out;
      out.mesh = mesh;
      return std::pair{pki::to_string(pki::SpiffeId{plane->trust_domain, ns, name}),
                       std::move(out)};
    }
  }
  return std::nullopt;
}

std::optional<pc::Workload> compile_workload(const std::string& uid, const World& world) {
  const ObjectPtr object = world.by_uid(uid);
  if (object == nullptr || object->key().resource != res::pods()) return std::nullopt;
  const Json pod = object->parse();
  if (finished(pod)) return std::nullopt;
  return workload_of(pod, world);
}

pc::Workload workload_of(const Json& pod, const World& world) {
  pc::Workload out;
  out.ns = text(pod, {"metadata", "namespace"});
  out.name = text(pod, {"metadata", "name"});
  out.ip = text(pod, {"status", "podIP"});
  out.service_account = account_of(pod);
  out.mesh = mesh_of(world, out.ns);
  out.role = role_of(pod);
  out.labels = mesh_model::labels_of(pod);
  out.terminating = json::find(pod, {"metadata", "deletionTimestamp"}) != nullptr;
  out.ready = condition_status(pod, "Ready") == "True";
  const auto label = [&](const char* name) {
    const auto it = out.labels.find(name);
    return it == out.labels.end() ? std::string() : it->second;
  };
  if (const std::string revision = label("serving.knative.dev/revision"); !revision.empty()) {
    out.revision = out.ns + "/" + revision;
  }
  out.workload_name = label("service.istio.io/canonical-name");
  if (out.workload_name.empty()) out.workload_name = label("app.kubernetes.io/name");
  if (out.workload_name.empty()) out.workload_name = label("app");
  if (out.workload_name.empty()) out.workload_name = out.name;

  const auto plane = control_plane_of(world, out.mesh);
  out.injected = plane.has_value() && has_sidecar(pod);
  if (!out.injected) {
    out.inbound = pc::MtlsMode::Disable;
    return out;
  }
  out.spiffe_id = pki::to_string(pki::SpiffeId{plane->trust_domain, out.ns, out.service_account});
  const auto effective = mesh_model::effective_mtls(peer_authentications(world, out.mesh, out.ns),
                                                    out.mesh, out.ns, out.labels);
  out.inbound = mode_of(effective.mode);
  for (const auto& [port, mode] : effective.ports) {
    out.inbound_ports[std::to_string(port)] = mode_of(mode);
  }
  // The pod's annotation (the injector writes one) stands for the mesh's ports.
  const Json* in =
      json::find(pod, {"metadata", "annotations", "traffic.sidecar.istio.io/excludeInboundPorts"});
  out.excluded_inbound_ports = in != nullptr && in->is_string()
                                   ? parse_ports(std::string_view(in->get_string()))
                                   : plane->excluded_inbound_ports;
  out.excluded_outbound_ports = parse_ports(
      json::str(pod, {"metadata", "annotations", "traffic.sidecar.istio.io/excludeOutboundPorts"}));
  return out;
}

}  // namespace knit::mesh
