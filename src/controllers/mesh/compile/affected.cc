// Which units a change may alter.
#include <algorithm>

#include "controllers/mesh/compile/compile.h"
#include "mesh_model/hosts.h"
#include "mesh_model/visibility.h"

namespace knit::mesh {
namespace {
namespace res = kube::res;
namespace pc = proxy_config;

class Collector {
 public:
  Collector(const World& world, const MeshSettings& settings)
      : world_(world), settings_(settings) {}

  void add(pc::Type type, std::string name) {
    if (!name.empty()) units.insert({type, std::move(name)});
  }
  void pod(const ObjectPtr& object) {
    const Json pod = object->parse();
    add(pc::Type::Workload, object->uid());
    if (has_sidecar(pod)) {
      add(pc::Type::Identity, object->key().ns + "/" + account_of(pod));
    }
    if (const auto revision = object->label("serving.knative.dev/revision"); !revision.empty()) {
      add(pc::Type::Revision, object->key().ns + "/" + std::string(revision));
    }
    if (role_of(pod) == pc::Role::IngressGateway) add(pc::Type::Gateway, object->uid());
  }
  /// … and what Revisions will make of them next.
  void pods_of(const std::string& ns) {
    for (const auto& p : world_.list(res::pods(), ns)) pod(p);
    for (const auto& r : world_.list(res::revisions(), ns)) {
      add(pc::Type::Revision, ns + "/" + r->key().name);
    }
  }
  void gateways_in(const std::string& mesh) {
    if (mesh.empty()) return;
    for (const Json& pod : gateway_pods(world_, mesh)) {
      add(pc::Type::Gateway, text(pod, {"metadata", "uid"}));
    }
  }
  void credentials(const std::string& mesh, const mesh_model::GatewayView& gateway) {
    if (mesh.empty()) return;
    for (const auto& server : gateway.servers) {
      if (!server.credential.empty()) {
        add(pc::Type::Certificate, mesh + "/" + server.credential);
      }
    }
  }
  void virtual_services_of(const std::string& ns) {
    for (const auto& vs : world_.list(res::virtualservices(), ns)) {
      add(pc::Type::Routes, ns + "/" + vs->key().name);
    }
  }
  /// Everything that depends on whether `ns` is in a mesh, and in which.
  void membership(const std::string& ns, const std::set<std::string>& meshes) {
    pods_of(ns);
    virtual_services_of(ns);
    for (const std::string& mesh : meshes) {
      gateways_in(mesh);
      for (const auto& g : world_.list(res::gateways(), ns)) {
        credentials(mesh, mesh_model::decode_gateway(g->parse()));
      }
    }
  }
  void whole_mesh(const std::string& mesh) {
    add(pc::Type::TrustBundle, mesh);
    add(pc::Type::Mesh, mesh);
    for (const std::string& ns : namespaces_of(world_, mesh)) membership(ns, {mesh});
    for (const auto& s : world_.list(res::secrets(), mesh)) {
      add(pc::Type::Certificate, mesh + "/" + s->key().name);
    }
  }
  void routes_to(const std::string& ns, const std::string& service) {
    for (const auto& r : world_.list(res::oroutes(), ns)) {
      if (json::str(r->parse(), {"spec", "to", "name"}) == service) {
        add(pc::Type::EdgeRoute, ns + "/" + r->key().name);
      }
    }
  }
  void destination_rule(const ObjectPtr& object) {
    const auto rule = mesh_model::decode_destination_rule(object->parse());
    if (rule.host.starts_with('*')) {
      add(pc::Type::Mesh, object->key().ns);
      return;
    }
    const std::string host = mesh_model::full_host(rule.host, rule.ns, settings_.cluster_domain);
    add(pc::Type::Service, mesh_model::service_of_host(host, settings_.cluster_domain));
  }
  void one(const ObjectPtr& object);

  std::set<Unit> units;

 private:
  const World& world_;
  const MeshSettings& settings_;
};

void Collector::one(const ObjectPtr& object) {
  const Key& key = object->key();
  const std::string full = key.ns + "/" + key.name;
  if (key.resource == res::pods()) {
    pod(object);
  } else if (key.resource == res::services()) {
    add(pc::Type::Service, full);
    // Port translation of gateway pods, and Routes that name a port of it.
    if (!world_.list(res::smcps(), key.ns).empty()) gateways_in(key.ns);
    routes_to(key.ns, key.name);
  } else if (key.resource == res::endpoints()) {
    add(pc::Type::Service, full);
  } else if (key.resource == res::endpointslices()) {
    add(pc::Type::Service, key.ns + "/" + std::string(object->label("kubernetes.io/service-name")));
  } else if (key.resource == res::secrets()) {
    std::string_view name = key.name;
    if (name.ends_with("-cacert")) name.remove_suffix(7);
    add(pc::Type::Certificate, key.ns + "/" + std::string(name));
    add(pc::Type::Certificate, full);
  } else if (key.resource == res::gateways()) {
    const std::string mesh = mesh_of(world_, key.ns);
    gateways_in(mesh);
    credentials(mesh, mesh_model::decode_gateway(object->parse()));
  } else if (key.resource == res::virtualservices()) {
    add(pc::Type::Routes, full);
    if (const auto i = object->label("networking.internal.knative.dev/ingress"); !i.empty()) {
      add(pc::Type::Probe, key.ns + "/" + std::string(i));
    }
  } else if (key.resource == res::oroutes()) {
    add(pc::Type::EdgeRoute, full);
    add(pc::Type::Certificate, "route/" + full);
  } else if (key.resource == res::kingresses()) {
    add(pc::Type::Probe, full);
  } else if (key.resource == res::revisions() || key.resource == res::sks()) {
    add(pc::Type::Revision, full);
  } else if (key.resource == res::deployments()) {
    const auto* owner = object->controller();
    if (owner != nullptr && owner->kind == "Revision") {
      add(pc::Type::Revision, key.ns + "/" + owner->name);
    }
  } else if (key.resource == res::destinationrules()) {
    destination_rule(object);
  } else if (key.resource == res::peerauthentications()) {
    if (mesh_of(world_, key.ns) == key.ns) {
      for (const auto& ns : namespaces_of(world_, key.ns)) pods_of(ns);
    } else {
      pods_of(key.ns);
    }
  }
}

std::string spec_of(const ObjectPtr& object) {
  if (object == nullptr) return {};
  const Json parsed = object->parse();
  const Json* spec = json::find(parsed, "spec");
  return spec == nullptr ? std::string() : json::canonical(*spec);
}

}  // namespace

std::set<Unit> affected(const ObjectPtr& before, const ObjectPtr& after, const World& world,
                        const MeshSettings& settings) {
  Collector c(world, settings);
  const ObjectPtr& any = after ? after : before;
  const auto resource = any->key().resource;
  if (resource == res::namespaces()) {
    std::set<std::string> meshes;
    for (const auto& o : {before, after}) {
      meshes.insert(o ? std::string(o->label("maistra.io/member-of")) : std::string());
    }
    if (meshes.size() > 1 || !before || !after) {
      meshes.erase("");
      c.membership(any->key().name, meshes);
      // Gateways there may go to, or come from, the pods of either mesh.
      for (const auto& vs : world.list(res::kingresses(), any->key().name)) {
        c.add(pc::Type::Probe, any->key().name + "/" + vs->key().name);
      }
    }
    // What injection asks the namespace, besides.
    for (const auto* label : {"istio-injection", "maistra.io/ignore-namespace"}) {
      const auto of = [&](const ObjectPtr& o) {
        const Json parsed = o ? o->parse() : Json();
        const Json* value = json::find(parsed, {"metadata", "labels", label});
        return value == nullptr ? std::string() : json::print(*value);
      };
      if (of(before) != of(after)) c.pods_of(any->key().name);
    }
    return std::move(c.units);
  }
  if (resource == res::smcps()) {
    const bool same = before && after && before->deleting() == after->deleting() &&
                      spec_of(before) == spec_of(after);
    if (!same) c.whole_mesh(any->key().ns);
    return std::move(c.units);
  }
  for (const auto& o : {before, after}) {
    if (o) c.one(o);
  }
  return std::move(c.units);
}

std::set<Unit> all_units(const World& world, const MeshSettings& settings) {
  Collector c(world, settings);
  c.add(pc::Type::Settings, "node");
  c.add(pc::Type::Certificate, std::string(kRouterCertificate));
  for (const auto& smcp : world.list(res::smcps())) c.whole_mesh(smcp->key().ns);
  for (const auto resource :
       {res::pods(), res::services(), res::secrets(), res::gateways(), res::virtualservices(),
        res::oroutes(), res::kingresses(), res::revisions(), res::destinationrules()}) {
    for (const auto& object : world.list(resource)) c.one(object);
  }
  return std::move(c.units);
}

}  // namespace knit::mesh
