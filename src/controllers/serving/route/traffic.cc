#include "controllers/serving/route/traffic.h"

#include <algorithm>
#include <cctype>
#include <set>

#include "controllers/serving/revision/deployment.h"
#include "controllers/serving/subject.h"

namespace knit::serving {
namespace {

std::string quoted(std::string_view s) { return "\"" + std::string(s) + "\""; }

class Builder {
 public:
  Builder(const World& world, const Json& route) : world_(world), route_(route) {}

  Traffic build() {
    for (const auto& target : json::array(route_, {"spec", "traffic"})) add(target);
    Traffic out;
    out.problem = std::move(problem_);
    if (out.problem) return out;
    for (auto& [tag, list] : by_tag_) list = consolidate(list);
    out.targets = std::move(flat_);
    out.by_tag = std::move(by_tag_);
    return out;
  }

 private:
  /// A failure replaces what only waits.
  void defer(bool failed, std::string reason, std::string message) {
    if (!problem_ || failed) {
      problem_ = TargetProblem{failed, std::move(reason), std::move(message)};
    }
  }
  void missing(std::string_view kind, std::string_view name) {
    defer(true, std::string(kind) + "Missing",
          std::string(kind) + " " + quoted(name) + " referenced in traffic not found.");
  }
  Json get(kube::Resource resource, std::string_view name) const {
    return world_.view({resource, std::string(namespace_of(route_)), std::string(name)});
  }

  void add(const Json& target) {
    const auto revision_name = json::str(target, {"revisionName"});
    const auto configuration_name = json::str(target, {"configurationName"});
    RevisionTarget out;
    out.tag = json::str(target, {"tag"});
    out.percent = json::i64(target, {"percent"});
    Json revision;
    if (!revision_name.empty()) {
      out.latest = json::boolean(target, {"latestRevision"});
      revision = get(res::revisions(), revision_name);
      if (revision.is_null()) return missing("Revision", revision_name);
      if (!owned(revision)) {
        return defer(
            true, "RevisionNotOwned",
            "Revision " + quoted(revision_name) + " does not belong to the Service of this Route.");
      }
      if (!is_ready(revision)) {
        if (is_failed(revision)) {
          return defer(true, "RevisionMissing",
                       "Revision " + quoted(revision_name) + " failed to become ready.");
        }
        return defer(false, "RevisionMissing",
                     "Revision " + quoted(revision_name) + " is not yet ready.");
      }
      out.configuration = json::str(revision, {"metadata", "labels", label::kConfiguration});
    } else if (!configuration_name.empty()) {
      out.latest = json::boolean(target, {"latestRevision"}, true);
      const Json configuration = get(res::configurations(), configuration_name);
      if (configuration.is_null()) return missing("Configuration", configuration_name);
      const auto latest = json::str(configuration, {"status", "latestReadyRevisionName"});
      if (latest.empty()) {
        const auto ready = find_condition(configuration, "Ready");
        if (ready && ready->is_false()) {
          return defer(
              true, "RevisionMissing",
              "Configuration " + quoted(configuration_name) + " does not have any ready Revision.");
        }
        return defer(false, "RevisionMissing",
                     "Configuration " + quoted(configuration_name) +
                         " is waiting for a Revision to become ready.");
      }
      revision = get(res::revisions(), latest);
      if (revision.is_null()) return missing("Revision", latest);
      out.configuration = configuration_name;
    } else {
      return;
    }
    out.revision = name_of(revision);
    out.h2c = is_h2c(revision);
    const auto same = [&](const RevisionTarget& o) {
      return o.tag == out.tag && o.revision == out.revision && o.latest == out.latest;
    };
    if (const auto it = std::find_if(flat_.begin(), flat_.end(), same); it != flat_.end()) {
      it->percent += out.percent;
    } else {
      flat_.push_back(out);
    }
    by_tag_[""].push_back(out);
    if (!out.tag.empty()) by_tag_[out.tag].push_back(out);
  }

  /// A Route of a Service may point at that Service's Revisions only.
  bool owned(const Json& revision) const {
    const auto service = json::str(route_, {"metadata", "labels", label::kService});
    if (service.empty()) return true;
    return json::str(revision, {"metadata", "labels", label::kService}) == service;
  }

  static std::vector<RevisionTarget> consolidate(const std::vector<RevisionTarget>& targets) {
    std::vector<RevisionTarget> out;
    for (const auto& target : targets) {
      const auto it = std::find_if(out.begin(), out.end(), [&](const RevisionTarget& o) {
        return o.revision == target.revision;
      });
      if (it == out.end()) {
        out.push_back(target);
      } else {
        it->percent += target.percent;
      }
    }
    if (out.size() == 1) out[0].percent = 100;
    return out;
  }

  const World& world_;
  const Json& route_;
  std::optional<TargetProblem> problem_;
  std::vector<RevisionTarget> flat_;
  std::map<std::string, std::vector<RevisionTarget>> by_tag_;
};

bool domain_name(std::string_view s) {
  if (s.empty() || s.size() > 253 || s.find('.') == std::string_view::npos) return false;
  std::size_t length = 0;
  char last = '.';
  for (const char c : s) {
    const bool alnum = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    if (c == '.') {
      if (length == 0 || last == '-') return false;
      length = 0;
    } else if (!alnum && !(c == '-' && length > 0)) {
      return false;
    } else if (++length > 63) {
      return false;
    }
    last = c;
  }
  return last != '-' && last != '.';
}

bool ends_with(std::string_view s, std::string_view tail) {
  return s.size() >= tail.size() && s.substr(s.size() - tail.size()) == tail;
}

bool valid_top_level(std::string_view host) {
  const auto dot = host.rfind('.');
  const auto tld = dot == std::string_view::npos ? host : host.substr(dot + 1);
  const bool digits =
      std::all_of(tld.begin(), tld.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
  return !digits && tld.size() < 64;
}

}  // namespace

Traffic resolve_traffic(const World& world, const Json& route) {
  return Builder(world, route).build();
}

Result<std::string> render(std::string_view text, const TemplateValues& values) {
  const auto unknown = [&](std::string_view action) {
    return Error(Code::InvalidArgument, "template \"" + std::string(text) + "\": {{" +
                                            std::string(action) +
                                            "}} is not a field that Knit knows");
  };
  std::string out;
  while (true) {
    const auto open = text.find("{{");
    out += text.substr(0, open);
    if (open == std::string_view::npos) return out;
    const auto close = text.find("}}", open);
    if (close == std::string_view::npos) {
      return Error(Code::InvalidArgument, "template has {{ without }}");
    }
    std::string_view action = text.substr(open + 2, close - open - 2);
    while (!action.empty() && (action.front() == ' ' || action.front() == '-')) {
      action.remove_prefix(1);
    }
    while (!action.empty() && (action.back() == ' ' || action.back() == '-')) {
      action.remove_suffix(1);
    }
    const auto map_of = [&](std::string_view field) -> const StringMap* {
      if (field == ".Annotations") return &values.annotations;
      if (field == ".Labels") return &values.labels;
      return nullptr;
    };
    if (action == ".Name") {
      out += values.name;
    } else if (action == ".Namespace") {
      out += values.ns;
    } else if (action == ".Domain") {
      out += values.domain;
    } else if (action == ".Tag") {
      out += values.tag;
    } else if (action.substr(0, 6) == "index ") {
      const auto quote = action.find('"');
      const auto end = quote == std::string_view::npos ? quote : action.find('"', quote + 1);
      if (end == std::string_view::npos || end + 1 != action.size()) return unknown(action);
      std::string_view field = action.substr(6, quote - 6);
      while (!field.empty() && field.back() == ' ') field.remove_suffix(1);
      const auto* map = map_of(field);
      if (map == nullptr) return unknown(action);
      out += value_of(*map, action.substr(quote + 1, end - quote - 1));
    } else {
      const auto dot = action.find('.', 1);
      const auto* map = dot == std::string_view::npos ? nullptr : map_of(action.substr(0, dot));
      if (map == nullptr) return unknown(action);
      out += value_of(*map, action.substr(dot + 1));
    }
    text.remove_prefix(close + 2);
  }
}

Result<std::string> hostname_of(const Json& route, std::string_view tag, const NetworkConfig& net) {
  if (tag.empty()) return std::string(name_of(route));
  TemplateValues values;
  values.name = name_of(route);
  values.tag = tag;
  return render(net.tag_template, values);
}

Result<std::string> external_host(const Json& route, std::string_view hostname,
                                  const ServingConfig& config) {
  TemplateValues values;
  values.name = hostname;
  values.ns = namespace_of(route);
  values.labels = labels_of(route);
  values.annotations = annotations_of(route);
  values.domain = config.domain.lookup(values.labels);
  KNIT_TRY(std::string host, render(config.network.domain_template, values));
  if (!domain_name(host)) {
    return Error(Code::InvalidArgument, "invalid domain name \"" + host +
                                            "\" from domain-template \"" +
                                            config.network.domain_template + "\"");
  }
  return host;
}

std::string local_host(const Json& route, std::string_view hostname,
                       std::string_view cluster_domain) {
  return std::string(hostname) + "." + std::string(namespace_of(route)) + ".svc." +
         std::string(cluster_domain);
}

std::vector<std::string> expand_hosts(std::vector<std::string> hosts,
                                      std::string_view cluster_domain) {
  std::set<std::string> out;
  const std::string tails[] = {"", "." + std::string(cluster_domain),
                               ".svc." + std::string(cluster_domain)};
  for (const auto& host : hosts) {
    for (const auto& tail : tails) {
      if (!ends_with(host, tail) || host.size() == tail.size()) continue;
      std::string shorter = host.substr(0, host.size() - tail.size());
      if (valid_top_level(shorter)) out.insert(std::move(shorter));
    }
  }
  return {out.begin(), out.end()};
}

std::map<std::string, bool> cluster_local_tags(const World& world, const Json& route,
                                               const Traffic& traffic, const ServingConfig& config,
                                               std::string_view cluster_domain) {
  const StringMap labels = labels_of(route);
  const bool all = value_of(labels, label::kVisibility) == "cluster-local" ||
                   config.domain.lookup(labels) == "svc." + std::string(cluster_domain);
  std::map<std::string, bool> out;
  const auto decide = [&](const std::string& tag) {
    bool local = all;
    if (const auto hostname = hostname_of(route, tag, config.network)) {
      const auto service =
          world.get({res::services(), std::string(namespace_of(route)), *hostname});
      local =
          local || (service != nullptr && service->label(label::kVisibility) == "cluster-local");
    }
    out[tag] = local;
  };
  decide("");
  for (const auto& [tag, targets] : traffic.by_tag) decide(tag);
  return out;
}

namespace {

Json make_path(const std::vector<RevisionTarget>& targets, std::string_view ns,
               const StringMap& append) {
  JsonArray splits;
  for (const auto& target : targets) {
    if (target.percent == 0) continue;
    Json split = JsonObject();
    json::set(split, {"appendHeaders", "Knative-Serving-Namespace"}, Json(ns));
    json::set(split, {"appendHeaders", "Knative-Serving-Revision"}, Json(target.revision));
    json::set(split, {"percent"}, Json(target.percent));
    json::set(split, {"serviceName"}, Json(target.revision));
    json::set(split, {"serviceNamespace"}, Json(ns));
    json::set(split, {"servicePort"}, Json(target.h2c ? 81 : 80));
    splits.push_back(std::move(split));
  }
  Json path = JsonObject();
  if (!append.empty()) json::set(path, {"appendHeaders"}, to_json(append));
  json::set(path, {"splits"}, std::move(splits));
  return path;
}

std::string rollout_state(const Traffic& traffic) {
  JsonArray configurations;
  for (const auto& [tag, targets] : traffic.by_tag) {
    for (const auto& target : targets) {
      if (!target.latest) continue;
      JsonObject revision;
      revision["revisionName"] = target.revision;
      revision["percent"] = target.percent;
      JsonObject step;
      for (const auto field : {"starttime", "nextStepTime", "stepDuration", "stepSize"}) {
        step[field] = 0;
      }
      JsonObject entry;
      entry["configurationName"] = target.configuration;
      if (!tag.empty()) entry["tag"] = tag;
      entry["percent"] = target.percent;
      entry["revisions"] = JsonArray{std::move(revision)};
      entry["stepParams"] = std::move(step);
      configurations.push_back(std::move(entry));
    }
  }
  JsonObject out;
  if (!configurations.empty()) out["configurations"] = std::move(configurations);
  return json::print(out);
}

}  // namespace

Result<Json> make_ingress(const Json& route, const Traffic& traffic,
                          const std::map<std::string, bool>& cluster_local,
                          const ServingConfig& config, std::string_view cluster_domain) {
  const std::string ns(namespace_of(route));
  const bool tag_routing = config.feature("tag-header-based-routing");
  JsonArray rules;
  for (const auto& [tag, targets] : traffic.by_tag) {
    KNIT_TRY(const std::string hostname, hostname_of(route, tag, config.network));
    JsonArray paths;
    StringMap append;
    if (tag_routing && tag.empty()) {
      append["Knative-Serving-Default-Route"] = "true";
      for (const auto& [other, other_targets] : traffic.by_tag) {
        if (other.empty()) continue;
        Json path = make_path(other_targets, ns, {{"Knative-Serving-Tag", other}});
        json::set(path, {"headers", "Knative-Serving-Tag", "exact"}, Json(other));
        paths.push_back(std::move(path));
      }
    } else if (tag_routing) {
      append["Knative-Serving-Tag"] = tag;
    }
    paths.push_back(make_path(targets, ns, append));

    const auto add_rule = [&](const std::vector<std::string>& hosts, std::string_view visibility) {
      JsonArray list;
      for (const auto& host : hosts) list.push_back(Json(host));
      Json rule = JsonObject();
      json::set(rule, {"hosts"}, std::move(list));
      json::set(rule, {"http", "paths"}, paths);
      json::set(rule, {"visibility"}, Json(visibility));
      rules.push_back(std::move(rule));
    };
    add_rule(expand_hosts({local_host(route, hostname, cluster_domain)}, cluster_domain),
             "ClusterLocal");
    const auto local = cluster_local.find(tag);
    if (local == cluster_local.end() || !local->second) {
      KNIT_TRY(const std::string host, external_host(route, hostname, config));
      add_rule({host}, "ExternalIP");
    }
  }
  StringMap labels = labels_of(route);
  labels[std::string(label::kRoute)] = name_of(route);
  labels[std::string(label::kRouteNamespace)] = ns;
  StringMap annotations = annotations_of(route);
  annotations.erase(std::string(annotation::kLastApplied));
  const auto wanted_class =
      first_of(annotations, {annotation::kIngressClassNew, annotation::kIngressClass});
  annotations.erase(std::string(annotation::kIngressClassNew));
  annotations[std::string(annotation::kIngressClass)] =
      wanted_class && !wanted_class->empty() ? *wanted_class : config.network.ingress_class;
  annotations[std::string(annotation::kRollout)] = rollout_state(traffic);
  std::string option = config.network.http_protocol;
  if (const auto v =
          first_of(annotations, {annotation::kHttpProtocol, "networking.knative.dev/http-option",
                                 "networking.knative.dev/httpOption"})) {
    option = *v == "redirected" || *v == "Redirected" ? "Redirected" : "Enabled";
  }
  Json out = JsonObject();
  json::set(out, {"apiVersion"}, Json("networking.internal.knative.dev/v1alpha1"));
  json::set(out, {"kind"}, Json("Ingress"));
  json::set(out, {"metadata", "labels"}, to_json(labels));
  json::set(out, {"metadata", "annotations"}, to_json(annotations));
  json::set(out, {"spec", "httpOption"}, Json(option));
  json::set(out, {"spec", "rules"}, std::move(rules));
  return out;
}

Result<Placeholder> make_placeholder(const Json& route, std::string_view hostname,
                                     std::string_view domain, const Json* ingress) {
  StringMap labels = labels_of(route);
  labels.erase(std::string(label::kVisibility));
  labels[std::string(label::kRoute)] = name_of(route);
  Placeholder out;
  Json service = JsonObject();
  json::set(service, {"apiVersion"}, Json("v1"));
  json::set(service, {"kind"}, Json("Service"));
  json::set(service, {"metadata", "name"}, Json(hostname));
  json::set(service, {"metadata", "labels"}, to_json(labels));
  StringMap annotations = annotations_of(route);
  annotations.erase(std::string(annotation::kLastApplied));
  json::set(service, {"metadata", "annotations"}, to_json(annotations));
  JsonObject port;
  port["appProtocol"] = "kubernetes.io/h2c";
  port["name"] = "http2";
  port["port"] = 80;
  port["protocol"] = "TCP";
  port["targetPort"] = 80;
  json::set(service, {"spec", "ports"}, JsonArray{port});
  const auto external_name = [&](std::string_view name) {
    json::set(service, {"spec", "type"}, Json("ExternalName"));
    json::set(service, {"spec", "externalName"}, Json(name));
    json::set(service, {"spec", "sessionAffinity"}, Json("None"));
  };
  if (ingress == nullptr) {
    external_name(domain);
    out.service = std::move(service);
    return out;
  }
  const JsonArray* list = &json::array(*ingress, {"status", "privateLoadBalancer", "ingress"});
  if (list->empty()) list = &json::array(*ingress, {"status", "publicLoadBalancer", "ingress"});
  if (list->size() != 1) {
    return Error(Code::Unavailable,
                 list->empty() ? "failed to fetch loadbalancer domain/IP from ingress status"
                               : "more than one ingress are specified in status(LoadBalancer) of "
                                 "Ingress " +
                                     std::string(name_of(*ingress)));
  }
  const Json& balancer = (*list)[0];
  if (const auto ip = json::str(balancer, {"ip"}); !ip.empty()) {
    json::set(service, {"spec", "type"}, Json("ClusterIP"));
    json::set(service, {"spec", "clusterIP"}, Json("None"));
    Json endpoints = JsonObject();
    json::set(endpoints, {"apiVersion"}, Json("v1"));
    json::set(endpoints, {"kind"}, Json("Endpoints"));
    json::set(endpoints, {"metadata", "labels"}, to_json(labels));
    JsonObject address;
    address["ip"] = ip;
    JsonObject endpoint_port;
    endpoint_port["name"] = "http2";
    endpoint_port["port"] = 80;
    endpoint_port["protocol"] = "TCP";
    JsonObject subset;
    subset["addresses"] = JsonArray{std::move(address)};
    subset["ports"] = JsonArray{std::move(endpoint_port)};
    json::set(endpoints, {"subsets"}, JsonArray{std::move(subset)});
    out.endpoints = std::move(endpoints);
  } else if (const auto internal = json::str(balancer, {"domainInternal"}); !internal.empty()) {
    external_name(internal);
  } else if (const auto name = json::str(balancer, {"domain"}); !name.empty()) {
    external_name(name);
  } else if (json::boolean(balancer, {"meshOnly"})) {
    json::set(service, {"spec", "type"}, Json("ClusterIP"));
    JsonObject http;
    http["name"] = "http";
    http["port"] = 80;
    http["protocol"] = "TCP";
    json::set(service, {"spec", "ports"}, JsonArray{std::move(http)});
  } else {
    return Error(Code::Unavailable, "failed to fetch loadbalancer domain/IP from ingress status");
  }
  out.service = std::move(service);
  return out;
}

}  // namespace knit::serving
