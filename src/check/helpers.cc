#include "check/helpers.h"

namespace knit::check {

using yaml::Path;

bool has_placeholder(const Json& value) {
  if (const auto* s = value.if_string()) return Context::is_placeholder({s->data(), s->size()});
  if (const auto* o = value.if_object()) {
    return std::any_of(o->begin(), o->end(),
                       [](const auto& member) { return has_placeholder(member.value()); });
  }
  if (const auto* a = value.if_array()) return std::any_of(a->begin(), a->end(), has_placeholder);
  return false;
}

namespace {
std::string_view list_name(const Json& object) {
  return json::find(object, {"spec", "workloads"}) == nullptr &&
                 json::find(object, {"spec", "deployments"}) != nullptr
             ? "deployments"
             : "workloads";
}
}  // namespace

void want_injected(Context& c, const ItemPtr& object, std::string_view name,
                   std::optional<Severity> severity) {
  const auto workload = operator_workload(object->json, name);
  Finding* found = nullptr;
  if (!workload) {
    const auto list = list_name(object->json);
    const Path path = Path{"spec", list} / json::array(object->json, {"spec", list}).size();
    found = &c.report(object, Path{"spec", list},
                      std::string(name) + " gets no sidecar: it is not listed");
    found->fix = set_fix(
        object, path,
        {{"name", name}, {"labels", {{kInject, "true"}}}, {"annotations", {{kRewrite, "true"}}}},
        "add the workload with the sidecar label");
  } else {
    const Path label = workload->path / "labels" / kInject;
    const bool by_label = json::str(workload->value, {"labels", kInject}) == "true";
    const bool accepted = by_label || (c.settings().profile == Profile::Ossm2 &&
                                       workload_inject(workload->value) == "true");
    if (!accepted) {
      found = &c.report(object, workload->path,
                        std::string(name) + " gets no sidecar: label " + std::string(kInject) +
                            " is not \"true\"");
      found->fix =
          set_fix(object, label, "true", "set the label sidecar.istio.io/inject: \"true\"");
    } else if (json::str(workload->value, {"annotations", kRewrite}) != "true") {
      found = &c.report(object, workload->path,
                        std::string(name) + ": annotation " + std::string(kRewrite) +
                            " is not \"true\": the kubelet's probes meet mTLS");
      found->fix =
          set_fix(object, workload->path / "annotations" / kRewrite, "true", "set the annotation");
    }
  }
  if (found != nullptr && severity) found->severity = *severity;
}

void want_not_injected(Context& c, const ItemPtr& object, std::string_view name) {
  const auto workload = operator_workload(object->json, name);
  if (!workload || workload_inject(workload->value) != "true") return;
  const bool label = !json::str(workload->value, {"labels", kInject}).empty();
  const Path path = workload->path / (label ? "labels" : "annotations") / kInject;
  c.report(object, path, std::string(name) + " gets a sidecar").fix =
      set_fix(object, path, "false", "set it to \"false\"");
}

bool asks_for_sidecar(const Json& service) {
  const auto label = json::str(service, {"spec", "template", "metadata", "labels", kInject});
  if (!label.empty()) return label == "true";
  return json::str(service, {"spec", "template", "metadata", "annotations", kInject}) == "true";
}

std::optional<std::pair<int, int>> version_of(std::string_view text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] < '0' || text[i] > '9') continue;
    int major = 0;
    int minor = 0;
    if (std::sscanf(std::string(text.substr(i, 16)).c_str(), "%4d.%4d", &major, &minor) == 2) {
      return std::pair(major, minor);
    }
    while (i < text.size() && text[i] >= '0' && text[i] <= '9') ++i;
  }
  return std::nullopt;
}

std::optional<HostPort> parse_host_port(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0 || colon + 1 == text.size())
    return std::nullopt;
  HostPort out{std::string(text.substr(0, colon)), 0};
  if (out.host.find_first_of(" \t/") != std::string::npos) return std::nullopt;
  if (out.host.find(':') != std::string::npos && !out.host.starts_with('[')) return std::nullopt;
  for (const char ch : text.substr(colon + 1)) {
    if (ch < '0' || ch > '9' || out.port > 65535) return std::nullopt;
    out.port = out.port * 10 + (ch - '0');
  }
  if (out.port < 1 || out.port > 65535) return std::nullopt;
  return out;
}

std::vector<std::string> split_list(std::string_view text, char separator) {
  std::vector<std::string> out;
  while (true) {
    const auto end = text.find(separator);
    out.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return out;
    text.remove_prefix(end + 1);
  }
}

std::vector<Bootstrap> bootstrap_lists(const ObjectSet& objects) {
  std::vector<Bootstrap> out;
  const auto text = [&](const ItemPtr& o, json::Path at, const Path& path) {
    if (const auto s = json::str(o->json, at); !s.empty()) out.push_back({o, path, std::string(s)});
  };
  const auto list = [&](const ItemPtr& o) {
    std::size_t i = 0;
    for (const auto& s : json::array(o->json, {"spec", "bootstrapServers"})) {
      if (const auto* v = s.if_string()) {
        out.push_back({o, Path{"spec", "bootstrapServers"} / i, std::string(v->data(), v->size())});
      }
      ++i;
    }
  };
  for (const auto& k : objects.list(kKafkaKind)) {
    text(k, {"spec", "channel", "bootstrapServers"}, {"spec", "channel", "bootstrapServers"});
    text(k, {"spec", "broker", "defaultConfig", "bootstrapServers"},
         {"spec", "broker", "defaultConfig", "bootstrapServers"});
  }
  for (const auto& s : objects.list("sources.knative.dev/KafkaSource")) list(s);
  for (const auto& s : objects.list("eventing.knative.dev/KafkaSink")) list(s);
  for (const auto& m : objects.list("ConfigMap")) {
    text(m, {"data", "bootstrap.servers"}, {"data", "bootstrap.servers"});
  }
  return out;
}

std::string gateway_name(std::string_view key, std::string_view prefix) {
  std::string_view rest = key.substr(prefix.size());
  const auto dot = rest.find('.');
  if (dot == std::string_view::npos) return "knative-serving/" + std::string(rest);
  return std::string(rest.substr(0, dot)) + "/" + std::string(rest.substr(dot + 1));
}

ServerlessGateways serverless_gateways(const ObjectSet& objects) {
  ServerlessGateways out;
  for (const auto& serving : objects.list("operator.knative.dev/KnativeServing")) {
    std::vector<std::string> external;
    std::vector<std::string> local;
    for (const auto& entry : operator_config(serving->json, "istio")) {
      if (entry.key.starts_with("gateway."))
        external.push_back(gateway_name(entry.key, "gateway."));
      if (entry.key.starts_with("local-gateway.")) {
        local.push_back(gateway_name(entry.key, "local-gateway."));
      }
      if (entry.key == "external-gateways" || entry.key == "local-gateways") {
        auto& list = entry.key == "external-gateways" ? external : local;
        if (const auto parsed = yaml::parse_one(entry.value); parsed && parsed->is_array()) {
          list.clear();
          for (const auto& g : parsed->get_array()) {
            list.push_back(std::string(json::str(g, {"namespace"}, "knative-serving")) + "/" +
                           std::string(json::str(g, {"name"})));
          }
          if (list.empty()) list.emplace_back();  // "[]": mesh only
        }
      }
    }
    if (!external.empty()) out.external = std::move(external);
    if (!local.empty()) out.local = std::move(local);
  }
  return out;
}

bool in(const std::vector<std::string>& list, std::string_view text) {
  return std::find(list.begin(), list.end(), text) != list.end();
}
bool open_roll(const MeshFacts& mesh) {  // what it holds is not listed, or not known yet
  if (!mesh.roll) return true;
  if (in(mesh.members, "*") ||
      json::find(mesh.roll->json, {"spec", "memberSelectors"}) != nullptr) {
    return true;
  }
  return std::any_of(mesh.members.begin(), mesh.members.end(),
                     [](const auto& m) { return Context::is_placeholder(m); });
}
bool is_smcp(const MeshFacts& mesh) {
  return mesh.control_plane && mesh.control_plane->kind == "ServiceMeshControlPlane";
}

}  // namespace knit::check
