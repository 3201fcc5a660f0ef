// VirtualServices, OpenShift Routes and reachability probes.
#include <algorithm>

#include "controllers/mesh/compile/compile.h"
#include "mesh_model/hosts.h"

namespace knit::mesh {
namespace {
namespace res = kube::res;
namespace pc = proxy_config;

constexpr std::string_view kHashHeader = "K-Network-Hash";

std::string lower(std::string_view s) {
  std::string out(s);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return out;
}

std::vector<std::string> strings(const Json& object, json::Path path) {
  std::vector<std::string> out;
  for (const Json& s : json::array(object, path)) {
    if (s.is_string()) out.emplace_back(s.get_string());
  }
  return out;
}

std::string scoped_gateway(std::string_view name, const std::string& ns) {
  if (name == "mesh" || name.find('/') != std::string_view::npos) return std::string(name);
  return ns + "/" + std::string(name);
}

/// StringMatch; an empty one asks for presence.
pc::HeaderMatch header_match(std::string name, const Json& match) {
  pc::HeaderMatch out;
  out.name = std::move(name);
  out.kind = pc::HeaderMatch::Kind::Present;
  const struct {
    const char* field;
    pc::HeaderMatch::Kind kind;
  } kinds[] = {{"exact", pc::HeaderMatch::Kind::Exact},
               {"prefix", pc::HeaderMatch::Kind::Prefix},
               {"regex", pc::HeaderMatch::Kind::Regex}};
  for (const auto& k : kinds) {
    if (const Json* value = json::find(match, k.field); value != nullptr && value->is_string()) {
      out.kind = k.kind;
      out.value = std::string(value->get_string());
      break;
    }
  }
  return out;
}

pc::Match compile_match(const Json& match, const std::string& ns) {
  pc::Match out;
  for (const auto& g : strings(match, {"gateways"})) out.gateways.push_back(scoped_gateway(g, ns));
  const auto whole = [&](const char* field, const char* pseudo, std::string& prefix,
                         std::string& exact) {
    const Json* m = json::find(match, field);
    if (m == nullptr) return;
    const auto h = header_match(pseudo, *m);
    if (h.kind == pc::HeaderMatch::Kind::Prefix) prefix = h.value;
    if (h.kind == pc::HeaderMatch::Kind::Exact) exact = h.value;
    if (h.kind == pc::HeaderMatch::Kind::Regex) out.headers.push_back(h);
  };
  whole("authority", ":authority", out.authority_prefix, out.authority_exact);
  whole("uri", ":path", out.path_prefix, out.path_exact);
  if (const Json* method = json::find(match, "method")) {
    out.headers.push_back(header_match(":method", *method));
  }
  for (const auto& kv : json::object(match, {"headers"})) {
    out.headers.push_back(header_match(lower(kv.key()), kv.value()));
  }
  return out;
}

std::map<std::string, std::string> set_headers(const Json& holder) {
  std::map<std::string, std::string> out;
  for (auto& [k, v] : json::string_map(holder, {"headers", "request", "set"})) {
    out.emplace(std::move(k), std::move(v));
  }
  return out;
}

pc::Route compile_route(const Json& http, const std::string& ns, const MeshSettings& settings) {
  pc::Route out;
  for (const Json& m : json::array(http, {"match"})) out.matches.push_back(compile_match(m, ns));
  out.set_headers = set_headers(http);
  out.rewrite_authority = text(http, {"rewrite", "authority"});
  out.direct_status = static_cast<std::uint32_t>(
      std::clamp<std::int64_t>(json::i64(http, {"directResponse", "status"}), 0, 599));
  if (const auto t = parse_go_duration(json::str(http, {"timeout"})); t) out.timeout = *t;
  const JsonArray& destinations = json::array(http, {"route"});
  for (const Json& r : destinations) {
    pc::Destination d;
    const std::string host =
        mesh_model::full_host(json::str(r, {"destination", "host"}), ns, settings.cluster_domain);
    d.service = mesh_model::service_of_host(host, settings.cluster_domain);
    // Not a Service's name: kept as it stands, so that the proxy answers 503 and names it.
    if (d.service.empty()) d.service = host;
    d.port = static_cast<std::uint16_t>(
        std::clamp<std::int64_t>(json::i64(r, {"destination", "port", "number"}), 0, 65535));
    d.weight = static_cast<std::uint32_t>(std::clamp<std::int64_t>(
        json::i64(r, {"weight"}, destinations.size() == 1 ? 100 : 0), 0, 1'000'000));
    d.set_headers = set_headers(r);
    out.destinations.push_back(std::move(d));
  }
  return out;
}

bool admitted(const Json& route) {
  for (const Json& ingress : json::array(route, {"status", "ingress"})) {
    for (const Json& c : json::array(ingress, {"conditions"})) {
      if (json::str(c, {"type"}) == "Admitted" && json::str(c, {"status"}) == "True") return true;
    }
  }
  return false;
}

/// A Route's target is an endpoint port, by name or number (spec mesh.md 4.1); the Service port
/// that leads to it, or 0.
std::uint16_t route_port(const mesh_model::ServiceView& service, const Json& route) {
  const Json* target = json::find(route, {"spec", "port", "targetPort"});
  for (const auto& port : service.ports) {
    if (target == nullptr) return port.port;
    if (target->is_string()) {
      const std::string_view wanted(target->get_string());
      if (wanted == port.name || wanted == std::to_string(port.target_port)) return port.port;
    } else if (json::i64(route, {"spec", "port", "targetPort"}) == port.target_port) {
      return port.port;
    }
  }
  return 0;
}

Duration route_timeout(const Json& route) {
  std::string annotation =
      text(route, {"metadata", "annotations", "haproxy.router.openshift.io/timeout"});
  constexpr Duration kDefault = std::chrono::seconds(30);
  constexpr Duration kLargest = std::chrono::milliseconds(2147483647);  // HAProxy's
  if (annotation.empty()) return kDefault;
  // HAProxy's units: a bare number is milliseconds, and it has days.
  if (annotation.back() >= '0' && annotation.back() <= '9') annotation += "ms";
  if (annotation.back() == 'd') {
    annotation.pop_back();
    const auto days = parse_go_duration(annotation + "h");
    return days && days->count() > 0 && *days < std::chrono::hours(10'000)
               ? std::min<Duration>(*days * 24, kLargest)
               : kDefault;
  }
  const auto t = parse_go_duration(annotation);
  return t && t->count() > 0 ? std::min(*t, kLargest) : kDefault;
}

}  // namespace

std::optional<pc::Routes> compile_routes(const std::string& full, const World& world,
                                         const MeshSettings& settings) {
  const auto [ns, name] = split_name(full);
  const Json vs = world.view(key_of(res::virtualservices(), ns, name));
  if (vs.is_null()) return std::nullopt;
  pc::Routes out;
  out.mesh = mesh_of(world, ns);
  if (out.mesh.empty()) return std::nullopt;  // no control plane reads it
  out.created = mesh_model::created_of(vs);
  out.hosts = strings(vs, {"spec", "hosts"});
  for (auto& host : out.hosts) {
    host = lower(mesh_model::full_host(host, ns, settings.cluster_domain));
  }
  for (const auto& g : strings(vs, {"spec", "gateways"})) {
    out.gateways.push_back(scoped_gateway(g, ns));
  }
  if (out.gateways.empty()) out.gateways = {"mesh"};
  for (const Json& http : json::array(vs, {"spec", "http"})) {
    out.routes.push_back(compile_route(http, ns, settings));
  }
  return out;
}

std::optional<pc::EdgeRoute> compile_edge_route(const std::string& full, const World& world) {
  const auto [ns, name] = split_name(full);
  const Json route = world.view(key_of(res::oroutes(), ns, name));
  if (route.is_null() || !admitted(route)) return std::nullopt;
  pc::EdgeRoute out;
  out.host = lower(json::str(route, {"spec", "host"}));
  out.path = text(route, {"spec", "path"});
  const auto termination = json::str(route, {"spec", "tls", "termination"});
  using T = pc::EdgeRoute::Termination;
  out.termination = termination == "edge"          ? T::Edge
                    : termination == "passthrough" ? T::Passthrough
                    : termination == "reencrypt"   ? T::Reencrypt
                                                   : T::None;
  const auto insecure = json::str(route, {"spec", "tls", "insecureEdgeTerminationPolicy"});
  using I = pc::EdgeRoute::Insecure;
  out.insecure = insecure == "Redirect"                              ? I::Redirect
                 : insecure == "Allow" || out.termination == T::None ? I::Allow
                                                                     : I::None;
  const std::string service_name = text(route, {"spec", "to", "name"});
  out.service = ns + "/" + service_name;
  const Json service = world.view(key_of(res::services(), ns, service_name));
  if (!service.is_null()) out.port = route_port(mesh_model::decode_service(service), route);
  if (!json::str(route, {"spec", "tls", "certificate"}).empty()) out.certificate = "route/" + full;
  out.timeout = route_timeout(route);
  return out;
}

std::optional<pc::Probe> compile_probe(const std::string& full, const World& world) {
  const auto [ns, name] = split_name(full);
  const Json ingress = world.view(key_of(res::kingresses(), ns, name));
  if (ingress.is_null()) return std::nullopt;
  // Hash and gateways are what the ingress controller wrote into the routes: what runs is what is
  // asked for.
  pc::Probe out;
  std::vector<std::pair<std::string, std::string>> routed;  // authority prefix, gateway
  for (const ObjectPtr& object : world.labelled(res::virtualservices(), ns,
                                                "networking.internal.knative.dev/ingress", name)) {
    const Json vs = object->parse();
    for (const Json& http : json::array(vs, {"spec", "http"})) {
      const std::string hash = text(http, {"headers", "request", "set", kHashHeader});
      if (hash.empty()) continue;
      if (out.hash.empty()) out.hash = hash;
      for (const Json& match : json::array(http, {"match"})) {
        auto gateways = strings(match, {"gateways"});
        if (gateways.empty()) gateways = strings(vs, {"spec", "gateways"});
        for (const auto& g : gateways) {
          routed.emplace_back(lower(json::str(match, {"authority", "prefix"})),
                              scoped_gateway(g, ns));
        }
      }
    }
  }
  if (out.hash.empty()) return std::nullopt;
  for (const Json& rule : json::array(ingress, {"spec", "rules"})) {
    const bool external = json::str(rule, {"visibility"}, "ExternalIP") != "ClusterLocal";
    for (const auto& given : strings(rule, {"hosts"})) {
      const std::string host = lower(given);
      std::set<std::string> gateways;
      for (const auto& [prefix, gateway] : routed) {
        if (host == prefix || host.starts_with(prefix + ".")) gateways.insert(gateway);
      }
      if (gateways.empty()) gateways.insert("");  // the proxy says that nothing leads there
      for (const auto& gateway : gateways) {
        pc::ProbeTarget target;
        target.host = host;
        target.external = external && gateway != "mesh";
        target.gateway = gateway;
        out.targets.push_back(std::move(target));
      }
    }
  }
  return out;
}

}  // namespace knit::mesh
