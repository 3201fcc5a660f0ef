#include "controllers/serving/ingress/virtual_service.h"

#include <algorithm>
#include <set>

#include "base/hash.h"
#include "controllers/serving/route/traffic.h"

namespace knit::serving {
namespace {

constexpr std::string_view kHashHeader = "K-Network-Hash";

void go_string(std::string& out, std::string_view s) {
  // encoding/json escapes HTML's characters, too.
  for (const char c : json::print(Json(s))) {
    switch (c) {
      case '<':
        out += "\\u003c";
        break;
      case '>':
        out += "\\u003e";
        break;
      case '&':
        out += "\\u0026";
        break;
      default:
        out += c;
    }
  }
}

void go_value(std::string& out, const Json& v);

/// A Go map: sorted keys.
void go_map(std::string& out, const JsonObject& object) {
  std::map<std::string_view, const Json*> sorted;
  for (const auto& kv : object) {
    sorted[std::string_view(kv.key().data(), kv.key().size())] = &kv.value();
  }
  out += '{';
  bool first = true;
  for (const auto& [k, v] : sorted) {
    if (!first) out += ',';
    first = false;
    go_string(out, k);
    out += ':';
    go_value(out, *v);
  }
  out += '}';
}

void go_value(std::string& out, const Json& v) {
  if (const auto* s = v.if_string()) return go_string(out, {s->data(), s->size()});
  if (const auto* o = v.if_object()) return go_map(out, *o);
  if (const auto* a = v.if_array()) {
    out += '[';
    for (std::size_t i = 0; i < a->size(); ++i) {
      if (i != 0) out += ',';
      go_value(out, (*a)[i]);
    }
    out += ']';
    return;
  }
  out += json::print(v);
}

/// A Go struct: fields in order; `omit` ones are left out when empty.
struct Field {
  std::string_view name;
  bool omit;
  void (*print)(std::string&, const Json&) = go_value;
};
bool empty(const Json& v) {
  if (v.is_null()) return true;
  if (const auto* s = v.if_string()) return s->empty();
  if (const auto* a = v.if_array()) return a->empty();
  if (const auto* o = v.if_object()) return o->empty();
  if (const auto* i = v.if_int64()) return *i == 0;
  return false;
}
void go_struct(std::string& out, const Json& v, std::initializer_list<Field> fields) {
  out += '{';
  bool first = true;
  for (const auto& field : fields) {
    const Json* value = json::find(v, field.name);
    if (value == nullptr || (field.omit && empty(*value))) {
      if (field.omit || value == nullptr) continue;
    }
    if (!first) out += ',';
    first = false;
    go_string(out, field.name);
    out += ':';
    field.print(out, *value);
  }
  out += '}';
}
template <void (*kPrint)(std::string&, const Json&)>
void go_list(std::string& out, const Json& v) {
  out += '[';
  const auto* list = v.if_array();
  for (std::size_t i = 0; list != nullptr && i < list->size(); ++i) {
    if (i != 0) out += ',';
    kPrint(out, (*list)[i]);
  }
  out += ']';
}
void go_split(std::string& out, const Json& v) {
  go_struct(out, v,
            {{"serviceNamespace", false},
             {"serviceName", false},
             {"servicePort", false},
             {"percent", true},
             {"appendHeaders", true}});
}
void go_path(std::string& out, const Json& v) {
  go_struct(out, v,
            {{"path", true},
             {"rewriteHost", true},
             {"headers", true},
             {"splits", false, go_list<go_split>},
             {"appendHeaders", true}});
}
void go_http(std::string& out, const Json& v) {
  go_struct(out, v, {{"paths", false, go_list<go_path>}});
}
void go_rule(std::string& out, const Json& v) {
  go_struct(out, v, {{"hosts", true}, {"visibility", true}, {"http", true, go_http}});
}
void go_tls(std::string& out, const Json& v) {
  go_struct(out, v, {{"hosts", true}, {"secretName", true}, {"secretNamespace", true}});
}

JsonArray strings(const std::set<std::string>& items) {
  JsonArray out;
  for (const auto& item : items) out.push_back(Json(item));
  return out;
}
std::string host_prefix(const std::string& host, const std::string& local_tail) {
  const bool local =
      host.size() > local_tail.size() &&
      host.compare(host.size() - local_tail.size(), local_tail.size(), local_tail) == 0;
  return local ? host.substr(0, host.size() - local_tail.size()) : host;
}

/// Of prefixes where one covers another only the shorter.
std::set<std::string> distinct_prefixes(const std::set<std::string>& hosts,
                                        const std::string& local_tail) {
  std::set<std::string> out;
  for (const auto& host : hosts) {
    const std::string prefix = host_prefix(host, local_tail);
    if (std::none_of(out.begin(), out.end(), [&](const std::string& shorter) {
          return prefix.compare(0, shorter.size(), shorter) == 0;
        })) {
      out.insert(prefix);
    }
  }
  return out;
}

Json make_http_route(const std::set<std::string>& hosts, const Json& path,
                     const std::vector<std::string>& gateways, const std::string& local_tail,
                     std::string_view cluster_domain, std::string_view probe_hash) {
  const std::set<std::string> sorted_gateways(gateways.begin(), gateways.end());
  Json route = JsonObject();
  JsonArray matches;
  for (const auto& prefix : distinct_prefixes(hosts, local_tail)) {
    Json match = JsonObject();
    json::set(match, {"authority", "prefix"}, Json(prefix));
    json::set(match, {"gateways"}, strings(sorted_gateways));
    if (const auto uri = json::str(path, {"path"}); !uri.empty()) {
      json::set(match, {"uri", "prefix"}, Json(uri));
    }
    for (const auto& kv : json::object(path, {"headers"})) {
      json::set(match, {"headers", {kv.key().data(), kv.key().size()}, "exact"},
                Json(json::str(kv.value(), {"exact"})));
    }
    if (!probe_hash.empty()) {
      json::set(match, {"headers", kHashHeader, "exact"}, Json("override"));
    }
    matches.push_back(std::move(match));
  }
  json::set(route, {"match"}, std::move(matches));
  json::set(route, {"retries"}, JsonObject());  // none, where Istio's default is two
  Json headers = json::object(path, {"appendHeaders"});
  if (!probe_hash.empty()) headers.get_object()[kHashHeader] = probe_hash;
  if (!headers.get_object().empty()) {
    json::set(route, {"headers", "request", "set"}, std::move(headers));
  }
  if (const auto rewrite = json::str(path, {"rewriteHost"}); !rewrite.empty()) {
    json::set(route, {"rewrite", "authority"}, Json(rewrite));
  }
  JsonArray destinations;
  for (const auto& split : json::array(path, {"splits"})) {
    Json destination = JsonObject();
    json::set(destination, {"destination", "host"},
              Json(std::string(json::str(split, {"serviceName"})) + "." +
                   std::string(json::str(split, {"serviceNamespace"})) + ".svc." +
                   std::string(cluster_domain)));
    json::set(destination, {"destination", "port", "number"},
              Json(json::i64(split, {"servicePort"})));
    if (const auto& set = json::object(split, {"appendHeaders"}); !set.empty()) {
      json::set(destination, {"headers", "request", "set"}, set);
    }
    json::set(destination, {"weight"}, Json(json::i64(split, {"percent"})));
    destinations.push_back(std::move(destination));
  }
  json::set(route, {"route"}, std::move(destinations));
  return route;
}

Json make_spec(const Json& spec, const IngressGateways& gateways,
               const std::vector<std::string>& hosts, std::string_view cluster_domain,
               std::string_view hash) {
  const std::set<std::string> all(hosts.begin(), hosts.end());
  const std::string local_tail = ".svc." + std::string(cluster_domain);
  std::set<std::string> used;
  JsonArray http;
  for (const auto& rule : json::array(spec, {"rules"})) {
    std::set<std::string> rule_hosts;
    for (const auto& host : json::array(rule, {"hosts"})) {
      const auto* s = host.if_string();
      if (s != nullptr && all.contains(std::string(s->data(), s->size()))) {
        rule_hosts.emplace(s->data(), s->size());
      }
    }
    if (rule_hosts.empty()) continue;
    const bool local = json::str(rule, {"visibility"}) == "ClusterLocal";
    const auto& list = local ? gateways.local : gateways.external;
    used.insert(list.begin(), list.end());
    // Probes first: they must not fall into a user's path.
    for (const auto probe : {hash, std::string_view()}) {
      for (const auto& path : json::array(rule, {"http", "paths"})) {
        http.push_back(make_http_route(rule_hosts, path, list, local_tail, cluster_domain, probe));
      }
    }
  }
  Json out = JsonObject();
  json::set(out, {"gateways"}, strings(used));
  json::set(out, {"hosts"}, strings(all));
  json::set(out, {"http"}, std::move(http));
  return out;
}

}  // namespace

Json ingress_spec(const Json& ingress) {
  const Json* given = json::find(ingress, "spec");
  Json spec = given != nullptr ? *given : Json(JsonObject());
  Json* rules = json::find(spec, "rules");
  if (rules == nullptr || !rules->is_array()) return spec;
  for (auto& rule : rules->get_array()) {
    if (json::str(rule, {"visibility"}).empty()) {
      json::set(rule, {"visibility"}, Json("ExternalIP"));
    }
    Json* paths = json::find(rule, {"http", "paths"});
    if (paths == nullptr || !paths->is_array()) continue;
    for (auto& path : paths->get_array()) {
      Json* splits = json::find(path, "splits");
      if (splits == nullptr || !splits->is_array() || splits->get_array().size() != 1) continue;
      Json& split = splits->get_array()[0];
      if (json::i64(split, {"percent"}) == 0) json::set(split, {"percent"}, Json(100));
    }
  }
  return spec;
}

std::string go_ingress_json(const Json& spec) {
  std::string out;
  go_struct(
      out, spec,
      {{"httpOption", true}, {"tls", true, go_list<go_tls>}, {"rules", true, go_list<go_rule>}});
  return out;
}

std::string ingress_hash(const Json& ingress) {
  return hash::sha256_hex(go_ingress_json(ingress_spec(ingress)) +
                          std::string(namespace_of(ingress)) + std::string(name_of(ingress)));
}

std::vector<IstioGateway> choose_gateways(const std::vector<IstioGateway>& all,
                                          const StringMap& labels) {
  std::vector<IstioGateway> selected, defaults;
  for (const auto& gateway : all) {
    if (gateway.selector.empty()) {
      defaults.push_back(gateway);
    } else if (std::all_of(gateway.selector.begin(), gateway.selector.end(), [&](const auto& kv) {
                 return value_of(labels, kv.first) == kv.second;
               })) {
      selected.push_back(gateway);
    }
  }
  return selected.empty() ? defaults : selected;
}

std::vector<std::pair<std::string, Json>> make_virtual_services(const Json& ingress,
                                                                const IngressGateways& gateways,
                                                                std::string_view cluster_domain) {
  const Json spec = ingress_spec(ingress);
  const std::string hash = ingress_hash(ingress);
  std::vector<std::string> hosts, local_hosts;
  bool has_external = false, has_local = false;
  const std::string local_tail = ".svc." + std::string(cluster_domain);
  for (const auto& rule : json::array(spec, {"rules"})) {
    (json::str(rule, {"visibility"}) == "ClusterLocal" ? has_local : has_external) = true;
    for (const auto& item : json::array(rule, {"hosts"})) {
      const auto* s = item.if_string();
      if (s == nullptr) continue;
      const std::string host(s->data(), s->size());
      hosts.push_back(host);
      if (host_prefix(host, local_tail) != host) local_hosts.push_back(host);
    }
  }
  StringMap labels;
  for (const auto key : {label::kRoute, label::kRouteNamespace}) {
    const auto v = json::str(ingress, {"metadata", "labels", key});
    if (!v.empty()) labels[std::string(key)] = v;
  }
  labels[std::string(label::kIngress)] = name_of(ingress);
  const auto make = [&](Json vs_spec) {
    Json out = JsonObject();
    json::set(out, {"apiVersion"}, Json("networking.istio.io/v1beta1"));
    json::set(out, {"kind"}, Json("VirtualService"));
    json::set(out, {"metadata", "labels"}, to_json(labels));
    json::set(out, {"metadata", "annotations"}, to_json(annotations_of(ingress)));
    json::set(out, {"spec"}, std::move(vs_spec));
    return out;
  };
  std::vector<std::pair<std::string, Json>> out;
  if (!local_hosts.empty()) {
    auto mesh_hosts =
        gateways.local.empty() ? local_hosts : expand_hosts(local_hosts, cluster_domain);
    const IngressGateways mesh{{"mesh"}, {"mesh"}};
    out.emplace_back(child_name(name_of(ingress), "-mesh"),
                     make(make_spec(spec, mesh, mesh_hosts, cluster_domain, hash)));
  }
  if ((has_external && !gateways.external.empty()) || (has_local && !gateways.local.empty())) {
    out.emplace_back(
        child_name(name_of(ingress), "-ingress"),
        make(make_spec(spec, gateways, expand_hosts(hosts, cluster_domain), cluster_domain, hash)));
  }
  return out;
}

}  // namespace knit::serving
