// K7xx: Knative Services and the Routes in front of them.
#include "check/helpers.h"

namespace knit::check {
namespace {

using yaml::Path;

constexpr std::string_view kPassthrough = "serving.knative.openshift.io/enablePassthrough";
const Path kTemplateLabels{"spec", "template", "metadata", "labels"};
const Path kTemplateAnnotations{"spec", "template", "metadata", "annotations"};

bool cluster_local(const Json& service) {
  return json::str(service, {"metadata", "labels", "networking.knative.dev/visibility"}) ==
         "cluster-local";
}
std::string_view template_text(const Json& service, std::string_view map, std::string_view key) {
  return json::str(service, {"spec", "template", "metadata", map, key});
}
/// Mesh services: those in a mesh of the input, or that ask for a sidecar.
bool in_mesh(const Facts& facts, const Item& service) {
  return facts.mesh_of(service.ns) != nullptr || asks_for_sidecar(service.json) ||
         Context::is_placeholder(service.ns);
}

void passthrough(Context& c) {
  if (c.settings().profile == Profile::Istio) return;  // no Routes there
  const Facts& facts = c.facts();
  for (const auto& service : c.list(kServiceKind)) {
    if (cluster_local(service->json) || !in_mesh(facts, *service)) continue;
    if (json::str(service->json,
                  {"metadata", "annotations", "networking.knative.dev/ingress-class"})
            .starts_with("kourier.")) {
      continue;
    }
    if (json::str(service->json, {"metadata", "annotations", kPassthrough}) == "true") continue;
    c.report(service, Path{"metadata", "annotations"},
             "has no annotation " + std::string(kPassthrough) + ": \"true\"")
        .fix = set_fix(service, Path{"metadata", "annotations"} / kPassthrough, "true",
                       "annotate the Service with enablePassthrough: \"true\"");
  }
}

void sidecar(Context& c) {
  const Facts& facts = c.facts();
  for (const auto& service : c.list(kServiceKind)) {
    if (!in_mesh(facts, *service)) continue;
    const auto label = template_text(service->json, "labels", kInject);
    const auto annotation = template_text(service->json, "annotations", kInject);
    if (label == "true") continue;
    if (label == "false" && annotation == "true") {
      auto& f =
          c.report(service, kTemplateLabels / kInject,
                   "the label says \"false\" and the annotation \"true\": the label wins, and "
                   "there is no sidecar");
      f.severity = Severity::Error;
      f.fix = set_fix(service, kTemplateLabels / kInject, "true", "let both say \"true\"");
      continue;
    }
    if (label == "false" || (label.empty() && annotation == "false")) continue;  // said on purpose
    bool by_namespace = false;
    for (const auto& ns : c.list("Namespace")) {
      by_namespace |= ns->name == service->ns &&
                      json::str(ns->json, {"metadata", "labels", "istio-injection"}) == "enabled";
    }
    const bool ossm2 = c.settings().profile == Profile::Ossm2;
    if (by_namespace && !ossm2) continue;
    auto& f =
        annotation == "true"
            ? c.report(
                  service, kTemplateAnnotations / kInject,
                  "asks for its sidecar by annotation: Service Mesh 3 and Istio want the label")
            : c.report(service, Path{"spec", "template"},
                       "the template asks for no sidecar: label " + std::string(kInject) +
                           " is missing");
    f.severity = annotation == "true" && ossm2 ? Severity::Warning : Severity::Error;
    f.fix = set_fix(service, kTemplateLabels / kInject, "true",
                    "set the label sidecar.istio.io/inject: \"true\" on the template");
  }
}

void probers(Context& c) {
  for (const auto& service : c.list(kServiceKind)) {
    if (!asks_for_sidecar(service->json)) continue;
    if (template_text(service->json, "annotations", kRewrite) == "true") continue;
    c.report(service, Path{"spec", "template"},
             "the template has no annotation " + std::string(kRewrite) + ": \"true\"")
        .fix = set_fix(service, kTemplateAnnotations / kRewrite, "true",
                       "annotate the template with rewriteAppHTTPProbers: \"true\"");
  }
}

void levels(Context& c) {
  for (const auto& service : c.list(kServiceKind)) {
    const auto misplaced = [&](const Path& from, const Path& to, std::string_view key) {
      if (yaml::find(service->json, from / key) == nullptr) return;
      const Json value = *yaml::find(service->json, from / key);
      auto& f = c.report(service, from / key, std::string(key) + " has no effect here");
      f.fix = {
          Fix::Type::Patch,
          {{Edit::Op::Remove, service, from / key, {}}, {Edit::Op::Set, service, to / key, value}},
          "move it to " + yaml::to_string(to)};
    };
    const Path own{"metadata", "annotations"};
    for (const auto key : {kInject, kRewrite, std::string_view("proxy.istio.io/config"),
                           std::string_view("autoscaling.knative.dev/min-scale"),
                           std::string_view("autoscaling.knative.dev/max-scale"),
                           std::string_view("autoscaling.knative.dev/target")}) {
      misplaced(own, kTemplateAnnotations, key);
    }
    misplaced(kTemplateAnnotations, own, kPassthrough);
  }
}

void string_values(Context& c) {
  for (const auto& item : c.objects().all()) {
    const auto check = [&](const Path& path) {
      const Json* map = yaml::find(item->json, path);
      if (map == nullptr || !map->is_object()) return;
      for (const auto& member : map->get_object()) {
        if (member.value().is_string()) continue;
        const std::string_view key(member.key().data(), member.key().size());
        if (member.value().is_null()) continue;
        c.report(item, path / key,
                 std::string(key) + ": " + json::print(member.value()) + " is no string")
            .fix = set_fix(item, path / key, json::print(member.value()), "quote it");
      }
    };
    for (const std::string_view map : {"labels", "annotations"}) {
      check(Path{"metadata"} / map);
      check(Path{"spec", "template", "metadata"} / map);
      for (const std::string_view list : {"workloads", "deployments"}) {
        for (std::size_t i = 0; i < json::array(item->json, {"spec", list}).size(); ++i) {
          check(Path{"spec", list} / i / map);
        }
      }
    }
  }
}

void hold(Context& c) {
  for (const auto& service : c.list(kServiceKind)) {
    // Only where the template configures its proxy already: else the mesh's default may hold.
    const auto config = template_text(service->json, "annotations", "proxy.istio.io/config");
    if (config.empty() || config.find("holdApplicationUntilProxyStarts") != std::string_view::npos)
      continue;
    c.report(service, kTemplateAnnotations / "proxy.istio.io/config",
             "does not set holdApplicationUntilProxyStarts");
  }
}

void reserved(Context& c) {
  for (const auto& service : c.list(kServiceKind)) {
    std::size_t i = 0;
    for (const auto& container :
         json::array(service->json, {"spec", "template", "spec", "containers"})) {
      const Path at = Path{"spec", "template", "spec", "containers"} / i++;
      std::size_t k = 0;
      for (const auto& p : json::array(container, {"ports"})) {
        const Path port = at / "ports" / k++ / "containerPort";
        const auto n = json::i64(p, {"containerPort"});
        static constexpr std::int64_t kTaken[] = {8012, 8013, 8022, 8112, 9090, 9091, 8008};
        const bool taken = std::find(std::begin(kTaken), std::end(kTaken), n) != std::end(kTaken);
        if (taken || (n >= 15000 && n <= 15090)) {
          c.report(service, port,
                   "port " + std::to_string(n) + " belongs to " +
                       (taken ? "queue-proxy" : "the sidecar"));
        }
      }
      if (json::i64(container, {"securityContext", "runAsUser"}) == 1337) {
        c.report(service, at / "securityContext" / "runAsUser",
                 "user 1337 is the sidecar's: its traffic is not captured");
      }
    }
  }
}

void timeouts(Context& c) {
  for (const auto& service : c.list(kServiceKind)) {
    const auto timeout =
        json::opt_i64(service->json, {"spec", "template", "spec", "timeoutSeconds"});
    if (!timeout || *timeout <= 300) continue;
    const auto route = json::str(
        service->json, {"metadata", "annotations", "serving.knative.openshift.io/setRouteTimeout"});
    bool filter = !c.list("networking.istio.io/EnvoyFilter").empty();
    if (*timeout > 600 && std::atoll(std::string(route).c_str()) < *timeout) {
      c.report(service, Path{"spec", "template", "spec", "timeoutSeconds"},
               "timeoutSeconds " + std::to_string(*timeout) + " is longer than the Route's 600s")
          .fix = set_fix(
          service, Path{"metadata", "annotations"} / "serving.knative.openshift.io/setRouteTimeout",
          std::to_string(*timeout), "set setRouteTimeout");
    } else if (!filter) {
      c.report(service, Path{"spec", "template", "spec", "timeoutSeconds"},
               "timeoutSeconds " + std::to_string(*timeout) +
                   " is longer than the gateway's idle limit of 300s")
          .confidence = Confidence::Likely;
    }
  }
}

void routes(Context& c) {
  std::map<std::string, ItemPtr> hosts;
  for (const auto& route : c.list("route.openshift.io/Route")) {
    const std::string host(json::str(route->json, {"spec", "host"}));
    for (const auto& ingress : json::array(route->json, {"status", "ingress"})) {
      for (const auto& condition : json::array(ingress, {"conditions"})) {
        if (json::str(condition, {"type"}) == "Admitted" &&
            json::str(condition, {"status"}) == "False") {
          c.report(route, Path{"spec", "host"},
                   "is not admitted: " + std::string(json::str(condition, {"reason"})));
        }
      }
    }
    if (host.empty()) continue;
    const auto [it, fresh] =
        hosts.emplace(host + std::string(json::str(route->json, {"spec", "path"})), route);
    if (!fresh)
      c.report(route, Path{"spec", "host"},
               "host " + host + " is also that of " + it->second->ref());
  }
}

void claimed_hosts(Context& c) {
  const std::string suffix = ".svc.cluster.local";
  std::map<std::string, ItemPtr> services;
  for (const auto& s : c.list(kServiceKind)) {
    services[s->name + "." + s->ns + suffix] = s;
    if (const auto url = json::str(s->json, {"status", "url"}); !url.empty()) {
      services[std::string(
          url.substr(url.find("//") == std::string_view::npos ? 0 : url.find("//") + 2))] = s;
    }
  }
  for (const auto& vs : c.list("networking.istio.io/VirtualService")) {
    // Knative's own pair carries this label.
    if (json::find(vs->json, {"metadata", "labels", "networking.internal.knative.dev/ingress"}) !=
        nullptr)
      continue;
    std::size_t i = 0;
    for (const auto& h : json::array(vs->json, {"spec", "hosts"})) {
      const Path at = Path{"spec", "hosts"} / i++;
      const auto* s = h.if_string();
      if (s == nullptr) continue;
      std::string host(s->data(), s->size());
      if (host.find('.') == std::string::npos) host += "." + vs->ns + suffix;
      const auto it = services.find(host);
      if (it != services.end())
        c.report(vs, at, "host " + host + " is that of " + it->second->ref());
    }
  }
}

}  // namespace

void add_service_rules(std::vector<Rule>& out) {
  out.push_back(
      {"K701",
       {"KV-01"},
       {},
       Severity::Error,
       Offline::Yes,
       "services in the mesh have passthrough Routes",
       "メッシュ内のサービスはパススルールートを使用する",
       "curl --cacert root.crt fails with the router's certificate; or 503",
       "Without the annotation on the Service itself Serverless makes an edge Route: the router "
       "ends TLS. "
       "Services that are cluster-local have no Route.",
       "annotate the Service with serving.knative.openshift.io/enablePassthrough: \"true\"",
       {},
       {},
       passthrough});
  out.push_back({"K702",
                 {"KV-02"},
                 {"IST0103"},
                 Severity::Error,
                 Offline::Yes,
                 "services in the mesh ask for their sidecar by label",
                 "メッシュ内のサービスはラベルでサイドカーを要求する",
                 "pods are 2/2, not 3/3; 503",
                 "Istio's webhook selects pods by the label sidecar.istio.io/inject. Service Mesh "
                 "2 also reads the "
                 "annotation that the procedure shows; Service Mesh 3 in an unlabelled namespace "
                 "does not see it.",
                 "set the label on spec.template.metadata",
                 {},
                 {},
                 sidecar});
  out.push_back({"K703",
                 {"KV-03"},
                 {},
                 Severity::Warning,
                 Offline::Yes,
                 "services in the mesh have their probes rewritten",
                 "メッシュ内のサービスのプローブは書き換えられる",
                 "the Revision is never ready",
                 "The kubelet has no certificate of the mesh; rewritten probes go through the "
                 "sidecar's agent. Mesh "
                 "defaults may rewrite them anyway.",
                 "annotate the template with sidecar.istio.io/rewriteAppHTTPProbers: \"true\"",
                 {},
                 {},
                 probers});
  out.push_back(
      {"K705",
       {"KV-04"},
       {"IST0107"},
       Severity::Warning,
       Offline::Yes,
       "annotations stand at the level that is read",
       "アノテーションは正しい階層にある",
       "the annotation is ignored",
       "Passthrough is read on the Service; injection, probes and autoscaling on its template.",
       "move it to the level that the message names",
       {},
       {},
       levels});
  out.push_back({"K706",
                 {},
                 {},
                 Severity::Error,
                 Offline::Yes,
                 "labels and annotations are strings",
                 "ラベルとアノテーションの値は文字列",
                 "cannot unmarshal bool into Go struct field … of type string",
                 "YAML reads an unquoted true as a boolean, and 1 as a number.",
                 "quote the value",
                 {},
                 {},
                 string_values});
  out.push_back({"K707",
                 {"CP-08"},
                 {},
                 Severity::Info,
                 Offline::Yes,
                 "the app waits for its proxy",
                 "アプリケーションはプロキシの起動を待つ",
                 "first calls at start are refused",
                 "Containers start together; without holdApplicationUntilProxyStarts an app may "
                 "call before its proxy "
                 "listens.",
                 "add holdApplicationUntilProxyStarts: true to proxy.istio.io/config",
                 {},
                 {},
                 hold});
  out.push_back({"K708",
                 {},
                 {"IST0144"},
                 Severity::Error,
                 Offline::Yes,
                 "containers use no port or user of the platform",
                 "コンテナーはプラットフォームのポートやユーザーを使用しない",
                 "the service is refused, or traffic disappears",
                 "queue-proxy has 8012, 8013, 8022, 8112, 9090, 9091, 8008; Envoy 15000 to 15090; "
                 "user 1337 is Envoy's.",
                 "use another port, or another user id",
                 {},
                 {},
                 reserved});
  out.push_back({"K709",
                 {"KV-06", "CP-09"},
                 {},
                 Severity::Warning,
                 Offline::Yes,
                 "long requests are allowed on the whole way",
                 "長いリクエストが全経路で許可されている",
                 "504 or 408 at 300 or 600 seconds",
                 "The Route ends requests after 600 s, Envoy idle streams after 300 s, whatever "
                 "the revision allows.",
                 "set setRouteTimeout, and an EnvoyFilter for the stream idle timeout",
                 {},
                 {},
                 timeouts});
  out.push_back({"K713",
                 {"KV-05", "MX-01"},
                 {},
                 Severity::Error,
                 Offline::Yes,
                 "Routes are admitted and hosts are claimed once",
                 "Route が承認され、ホストの重複がない",
                 "HostAlreadyClaimed; the old backend answers",
                 "The router gives a host to the oldest Route; leftovers of another mesh keep it.",
                 "look where the older Route leads, then delete the stale one",
                 {},
                 {},
                 routes});
  out.push_back({"K714",
                 {"KV-07"},
                 {"IST0109", "KIA1106"},
                 Severity::Warning,
                 Offline::Yes,
                 "no other VirtualService claims a service's host",
                 "他の VirtualService がサービスのホストを使用しない",
                 "unpredictable routing",
                 "net-istio makes the VirtualServices of a Knative Service; a second one for the "
                 "same host merges in an order nobody chose.",
                 "give the other VirtualService another host, or delete it",
                 {},
                 {},
                 claimed_hosts});
}

}  // namespace knit::check
