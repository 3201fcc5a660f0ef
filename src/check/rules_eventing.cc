// K5xx: KnativeEventing in the mesh.
#include "check/helpers.h"
#include "mesh_model/visibility.h"

namespace knit::check {
namespace {

using yaml::Path;

bool iequals(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
    return std::tolower(static_cast<unsigned char>(x)) ==
           std::tolower(static_cast<unsigned char>(y));
  });
}

void istio_feature(Context& c) {
  for (const auto& eventing : c.list(kEventingKind)) {
    const auto entry = operator_config(eventing->json, "features", "istio");
    if (entry && (iequals(entry->value, "enabled") || Context::is_placeholder(entry->value)))
      continue;
    const Path path = entry ? entry->path : Path{"spec", "config", "features", "istio"};
    c.report(eventing, path, "config.features.istio is not enabled").fix =
        set_fix(eventing, path, "enabled", "set spec.config.features.istio: enabled");
  }
}

void istio_controller(Context& c) {
  for (const auto& eventing : c.list(kEventingKind)) {
    const auto w = operator_workload(eventing->json, "eventing-istio-controller");
    if (!w || json::find(w->value, "replicas") == nullptr || json::i64(w->value, {"replicas"}) != 0)
      continue;
    c.report(eventing, w->path / "replicas", "eventing-istio-controller has 0 replicas").fix =
        set_fix(eventing, w->path / "replicas", 1, "run one replica");
  }
}

/// The set says that Knative Eventing is older than 1.15, which has no job-sink.
bool before_job_sink(const Context& c, const Item& eventing) {
  if (const auto v = version_of(json::str(eventing.json, {"spec", "version"})))
    return *v < std::pair(1, 15);
  if (const auto v = version_of(json::str(eventing.json, {"status", "version"})))
    return *v < std::pair(1, 15);
  for (const auto& csv : c.list("operators.coreos.com/ClusterServiceVersion")) {
    if (!csv->name.starts_with("serverless-operator")) continue;
    if (const auto v = version_of(csv->name)) return *v < std::pair(1, 35);  // ships Eventing 1.15
  }
  return false;
}

void eventing_injected(Context& c) {
  for (const auto& eventing : c.list(kEventingKind)) {
    for (const auto name :
         {"pingsource-mt-adapter", "imc-dispatcher", "mt-broker-ingress", "mt-broker-filter"}) {
      want_injected(c, eventing, name);
    }
    want_injected(c, eventing, "job-sink",
                  before_job_sink(c, *eventing) ? std::optional(Severity::Warning) : std::nullopt);
  }
}

void eventing_not_injected(Context& c) {
  const Facts& facts = c.facts();
  for (const auto& eventing : c.list(kEventingKind)) {
    const auto* mesh = facts.mesh_of(eventing->ns);
    if (mesh == nullptr || !mesh->strict) continue;
    for (const auto name : {"eventing-controller", "eventing-istio-controller", "eventing-webhook",
                            "imc-controller", "mt-broker-controller"}) {
      want_not_injected(c, eventing, name);
    }
  }
  for (const auto& kafka : c.list(kKafkaKind)) {
    const auto* mesh = facts.mesh_of(kafka->ns);
    if (mesh != nullptr && mesh->strict) want_not_injected(c, kafka, "kafka-webhook-eventing");
  }
}

std::string host_of_url(std::string_view url) {
  const auto scheme = url.find("://");
  if (scheme == std::string_view::npos) return {};
  url.remove_prefix(scheme + 3);
  url = url.substr(0, url.find('/'));
  return std::string(url.substr(0, url.find(':')));
}

std::set<std::string> rule_hosts(const Context& c) {
  std::set<std::string> out;
  for (const auto& rule : c.list("networking.istio.io/DestinationRule")) {
    out.insert(mesh_model::decode_destination_rule(rule->json).host);
  }
  return out;
}

void channel_rules(Context& c) {
  const auto hosts = rule_hosts(c);
  for (const auto kind :
       {"messaging.knative.dev/InMemoryChannel", "messaging.knative.dev/KafkaChannel"}) {
    for (const auto& channel : c.list(kind)) {
      const auto host = host_of_url(json::str(channel->json, {"status", "address", "url"}));
      if (host.empty() || hosts.contains(host)) continue;
      c.report(channel, Path{"status", "address", "url"}, host + " has no DestinationRule");
    }
  }
}

void subscribers(Context& c) {
  const Facts& facts = c.facts();
  const auto rules = rule_hosts(c);
  std::set<std::string> entries;
  for (const auto& e : c.list(kEntryKind)) {
    for (const auto& h : json::array(e->json, {"spec", "hosts"})) {
      if (const auto* s = h.if_string()) entries.emplace(s->data(), s->size());
    }
  }
  const struct {
    std::string_view kind, field;
  } kinds[] = {{"eventing.knative.dev/Trigger", "subscriber"},
               {"messaging.knative.dev/Subscription", "subscriber"},
               {"sources.knative.dev/SinkBinding", "sink"}};
  for (const auto& [kind, field] : kinds) {
    for (const auto& object : c.list(kind)) {
      const auto* mesh = facts.mesh_of("knative-eventing");
      if (mesh == nullptr || !mesh->strict) continue;
      const auto& target = json::object(object->json, {"spec", field});
      if (target.empty() || has_placeholder(Json(target))) continue;
      const auto host = host_of_url(json::str(object->json, {"spec", field, "uri"}));
      std::string ns(json::str(object->json, {"spec", field, "ref", "namespace"}, object->ns));
      const auto parts = split_list(host, '.');
      if (parts.size() > 2 && parts[2] == "svc") ns = parts[1];
      const bool inside = !host.empty() && !(parts.size() > 2 && parts[2] == "svc")
                              ? entries.contains(host)
                              : facts.mesh_of(ns) == mesh;
      if (inside || rules.contains(host)) continue;
      const bool by_ref = host.empty();
      const bool ruled = by_ref && std::any_of(rules.begin(), rules.end(), [&](const auto& h) {
                           return h.find("." + ns + ".svc") != std::string::npos;
                         });
      if (ruled) continue;
      c.report(object, Path{"spec", field},
               (by_ref ? "namespace " + ns : host) + " is outside the mesh")
          .confidence = Confidence::Likely;
    }
  }
}

}  // namespace

void add_eventing_rules(std::vector<Rule>& out) {
  out.push_back({"K501",
                 {"KE-01"},
                 {},
                 Severity::Error,
                 Offline::Yes,
                 "Eventing's Istio feature is on",
                 "Eventing の Istio 機能が有効",
                 "events to channels are reset: plaintext into a strict sidecar",
                 "Channel addresses are ExternalName Services; the feature makes DestinationRules "
                 "so that callers "
                 "use mTLS to them.",
                 "set spec.config.features.istio: enabled",
                 {},
                 {},
                 istio_feature});
  out.push_back(
      {"K502",
       {},
       {},
       Severity::Error,
       Offline::Yes,
       "eventing-istio-controller runs",
       "eventing-istio-controller が動作する",
       "no DestinationRules appear",
       "It makes one DestinationRule per channel address.",
       "remove replicas: 0 of eventing-istio-controller from spec.deployments and spec.workloads",
       {},
       {},
       istio_controller});
  out.push_back({"K503",
                 {"KE-02"},
                 {},
                 Severity::Error,
                 Offline::Yes,
                 "Eventing's data plane has sidecars",
                 "Eventing のデータプレーンにサイドカーがある",
                 "events answer 503; a JobSink is unreachable",
                 "pingsource-mt-adapter, imc-dispatcher, mt-broker-ingress, mt-broker-filter and, "
                 "since Knative "
                 "Eventing 1.15, job-sink receive and send events. The procedure's list predates "
                 "job-sink. Where the "
                 "set names an older version, a missing job-sink is a warning.",
                 "list the workload with the sidecar label under spec.workloads",
                 {},
                 {},
                 eventing_injected});
  out.push_back({"K504",
                 {},
                 {},
                 Severity::Error,
                 Offline::Yes,
                 "Eventing's controllers and webhooks have no sidecar",
                 "Eventing のコントローラーと webhook にサイドカーがない",
                 "webhook timeouts",
                 "The API server has no certificate of the mesh, so a strict sidecar refuses it.",
                 "leave them out of the injection list",
                 {},
                 {},
                 eventing_not_injected});
  out.push_back({"K505",
                 {},
                 {},
                 Severity::Error,
                 Offline::Live,
                 "every channel address has a DestinationRule",
                 "各チャネルのアドレスに DestinationRule がある",
                 "connection reset by peer",
                 "Callers need to know that the address speaks the mesh's mTLS.",
                 "wait for or restart eventing-istio-controller",
                 {"networking.istio.io/DestinationRule"},
                 {},
                 channel_rules});
  out.push_back(
      {"K506",
       {},
       {},
       Severity::Warning,
       Offline::Partly,
       "subscribers are in the mesh, or known to be outside",
       "サブスクライバーはメッシュ内にあるか、メッシュ外と宣言されている",
       "503 UF",
       "The mesh's callers use mTLS to every Service of the cluster unless a DestinationRule or a "
       "ServiceEntry says otherwise.",
       "write a DestinationRule with mode DISABLE, or a ServiceEntry",
       {},
       {},
       subscribers});
}

}  // namespace knit::check
