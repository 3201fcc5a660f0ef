#include "controllers/mesh/admission.h"

#include <algorithm>
#include <set>

#include "controllers/mesh/gateway_status.h"
#include "kube/names.h"
#include "mesh_model/visibility.h"

namespace knit::mesh {
namespace {
namespace res = kube::res;

void admit_tls(Admission& out, const std::string& at, const Json& server,
               const mesh_model::GatewayServer& view) {
  const bool needs = view.protocol == "HTTPS" || view.protocol == "TLS";
  if (needs && !view.has_tls) {
    out.errors.push_back(at + ".tls: server must have TLS settings for HTTPS/TLS protocols");
    return;
  }
  if (!view.has_tls) return;
  if (is_plain_http(view)) {
    if (!view.credential.empty() || json::find(server, {"tls", "mode"}) != nullptr) {
      out.errors.push_back(at + ".tls: server cannot have TLS settings for non HTTPS/TLS ports");
    }
    return;
  }
  using mesh_model::TlsMode;
  const bool certificate = !view.credential.empty();
  const bool files = json::find(server, {"tls", "serverCertificate"}) != nullptr ||
                     json::find(server, {"tls", "privateKey"}) != nullptr ||
                     json::find(server, {"tls", "caCertificates"}) != nullptr;
  if (files) {
    out.errors.push_back(at + ".tls: certificate files are not supported; use credentialName");
  }
  if (!carried_out(view)) {
    const auto mode = json::str(server, {"tls", "mode"}, "PASSTHROUGH");  // the API's default
    out.errors.push_back(at + ".tls.mode: " + std::string(mode) +
                         " is not supported; use SIMPLE or ISTIO_MUTUAL");
  }
  if (view.tls == TlsMode::IstioMutual && certificate) {
    out.errors.push_back(at +
                         ".tls.credentialName: ISTIO_MUTUAL TLS cannot have associated "
                         "credentialName");
  }
  if ((view.tls == TlsMode::Simple || view.tls == TlsMode::Mutual) && !certificate && !files) {
    out.errors.push_back(at +
                         ".tls.credentialName: " + std::string(json::str(server, {"tls", "mode"})) +
                         " TLS requires a server certificate");
  }
  if (certificate && !kube::check_dns1123_subdomain(view.credential).empty()) {
    out.errors.push_back(at + ".tls.credentialName: \"" + view.credential +
                         "\" is not the name of a Secret" +
                         (view.credential.starts_with('<') ? "; fill the placeholder" : ""));
  }
}

void admit_gateway(Admission& out, const Json& object) {
  const auto view = mesh_model::decode_gateway(object);
  const JsonArray& servers = json::array(object, {"spec", "servers"});
  if (servers.empty())
    out.errors.emplace_back("spec.servers: gateway must have at least one server");
  std::set<std::string> names;
  for (std::size_t i = 0; i < view.servers.size(); ++i) {
    const auto& s = view.servers[i];
    const std::string at = "spec.servers[" + std::to_string(i) + "]";
    const std::int64_t number = json::i64(servers[i], {"port", "number"});
    if (number < 1 || number > 65535) {
      out.errors.push_back(at + ".port.number: port number " + std::to_string(number) +
                           " must be in the range 1..65535");
    }
    if (json::find(servers[i], {"port", "targetPort"}) != nullptr) {
      out.errors.push_back(at + ".port.targetPort: targetPort has no impact on Gateways");
    }
    if (s.port_name.empty()) {
      out.errors.push_back(at + ".port.name: port name must be set");
    } else if (!names.insert(s.port_name).second) {
      out.errors.push_back(
          at + ".port.name: port names in servers must be unique: duplicate name " + s.port_name);
    }
    static constexpr std::string_view kProtocols[] = {
        "HTTP", "HTTPS", "GRPC", "GRPC-WEB", "HTTP2", "TCP", "TLS", "MONGO", "REDIS", "MYSQL"};
    if (std::find(std::begin(kProtocols), std::end(kProtocols), s.protocol) ==
        std::end(kProtocols)) {
      out.errors.push_back(at + ".port.protocol: unsupported protocol \"" + s.protocol + "\"");
    }
    if (s.hosts.empty()) {
      out.errors.push_back(at + ".hosts: server config must contain at least one host");
    }
    admit_tls(out, at, servers[i], s);
  }
}

void admit_member_roll(Admission& out, const World& world, const Key& key, const Json& object) {
  if (key.name != "default") {
    out.errors.emplace_back(
        "metadata.name: the ServiceMeshMemberRoll name is invalid; must be "
        "\"default\"");
  }
  std::set<std::string> seen;
  const JsonArray& members = json::array(object, {"spec", "members"});
  for (std::size_t i = 0; i < members.size(); ++i) {
    const std::string at = "spec.members[" + std::to_string(i) + "]: ";
    const std::string ns(members[i].is_string() ? std::string(members[i].get_string()) : "");
    if (ns == "*") {
      out.errors.push_back(at + "\"*\" is not supported; list the namespaces");
    } else if (!kube::check_dns1123_label(ns).empty()) {
      out.errors.push_back(
          at + "\"" + ns + "\" is not a valid namespace name" +
          (ns.starts_with("your-") || ns.starts_with('<') ? "; fill the placeholder" : ""));
    } else if (ns == key.ns) {
      out.errors.push_back(at + "mesh namespace \"" + ns + "\" cannot be listed as a member");
    } else if (!seen.insert(ns).second) {
      out.errors.push_back(at + "namespace \"" + ns + "\" is listed twice");
    }
  }
  for (const ObjectPtr& roll : world.list(res::smmrs())) {
    if (roll->key() == key) continue;
    const Json other = roll->parse();
    for (const Json& m : json::array(other, {"spec", "members"})) {
      if (m.is_string() && seen.contains(std::string(m.get_string()))) {
        out.errors.push_back("spec.members: namespace \"" + std::string(m.get_string()) +
                             "\" is already a member of the mesh " + roll->key().ns);
      }
    }
  }
}

void admit_control_plane(Admission& out, const World& world, const Key& key, const Json& object,
                         const Json* before) {
  const ControlPlane plane = decode_control_plane(object);
  if (!plane.invalid.empty()) out.errors.push_back(plane.invalid);
  if (before != nullptr) return;
  for (const ObjectPtr& other : world.list(res::smcps(), key.ns)) {
    if (other->key() != key && !other->deleting()) {
      out.errors.push_back("only one service mesh may be installed per project/namespace: " +
                           key.ns + " has " + other->key().name);
      return;
    }
  }
}

}  // namespace

Admission admit_mesh_object(const World& world, const Key& key, const Json& object,
                            const Json* before) {
  Admission out;
  if (key.resource == res::gateways()) {
    admit_gateway(out, object);
    if (!out.errors.empty()) return out;
    auto view = mesh_model::decode_gateway(object);
    view.ns = key.ns;
    view.name = key.name;
    if (before == nullptr) view.created = world.wall_now();  // the youngest
    out.warnings = dropped_servers(world, view);
  } else if (key.resource == res::peerauthentications()) {
    if (const auto why = mesh_model::unsupported_peer_authentication(object); why) {
      out.errors.push_back(*why);
    }
  } else if (key.resource == res::serviceentries()) {
    for (const auto& issue : mesh_model::service_entry_issues(object)) {
      out.warnings.push_back(issue.field + ": " + issue.message + "; Istio refuses it");
    }
  } else if (key.resource == res::smmrs()) {
    admit_member_roll(out, world, key, object);
  } else if (key.resource == res::smcps()) {
    admit_control_plane(out, world, key, object, before);
  }
  return out;
}

}  // namespace knit::mesh
