// K4xx: KnativeServing and its ConfigMaps, and what no manifest may still hold.
#include "base/quantity.h"
#include "check/helpers.h"

namespace knit::check {
namespace {

using yaml::Path;

bool istio_on(const Json& serving) {
  return json::boolean(serving, {"spec", "ingress", "istio", "enabled"});
}
bool kourier_on(const Json& serving) {
  return json::boolean(serving, {"spec", "ingress", "kourier", "enabled"});
}
constexpr std::string_view kClass = "networking.knative.dev/ingress-class";
constexpr std::string_view kOldClass = "networking.knative.dev/ingress.class";
constexpr std::string_view kIstioClass = "istio.ingress.networking.knative.dev";

std::string class_of(const Json& service) {
  for (const auto key : {kClass, kOldClass}) {
    if (const auto v = json::str(service, {"metadata", "annotations", key}); !v.empty())
      return std::string(v);
  }
  return {};
}

void one_serving(Context& c) {
  const auto all = c.list(kServingKind);
  for (const auto& serving : all) {
    if (serving->ns != "knative-serving" && !Context::is_placeholder(serving->ns)) {
      c.report(serving, Path{"metadata", "namespace"}, "stands in " + serving->ns).fix = set_fix(
          serving, Path{"metadata", "namespace"}, "knative-serving", "move it to knative-serving");
    } else if (all.size() > 1 && serving != all.front()) {
      c.report(serving, {}, "is the second KnativeServing beside " + all.front()->name);
    }
  }
}

void istio_ingress(Context& c) {
  for (const auto& serving : c.list(kServingKind)) {
    const Path path{"spec", "ingress", "istio", "enabled"};
    if (!istio_on(serving->json)) {
      c.report(serving, path, "spec.ingress.istio.enabled is not true").fix =
          set_fix(serving, path, true, "set spec.ingress.istio.enabled: true");
      continue;
    }
    if (!kourier_on(serving->json)) continue;
    // Kept on purpose: some service asks for it by its class.
    bool meant = false;
    for (const auto& s : c.list(kServiceKind)) {
      meant |= class_of(s->json) == "kourier.ingress.networking.knative.dev";
    }
    if (meant) continue;
    const Path kourier{"spec", "ingress", "kourier", "enabled"};
    c.report(serving, kourier, "Kourier is enabled beside Istio and takes precedence").fix =
        set_fix(serving, kourier, false, "disable Kourier");
  }
}

void serving_injected(Context& c) {
  for (const auto& serving : c.list(kServingKind)) {
    if (!istio_on(serving->json)) continue;
    want_injected(c, serving, "activator");
    want_injected(c, serving, "autoscaler");
  }
}

void serving_not_injected(Context& c) {
  const Facts& facts = c.facts();
  for (const auto& serving : c.list(kServingKind)) {
    const auto* mesh = facts.mesh_of(serving->ns);
    if (mesh == nullptr || !mesh->strict) continue;
    for (const auto name : {"controller", "webhook", "net-istio-controller", "net-istio-webhook"}) {
      want_not_injected(c, serving, name);
    }
  }
}

bool service_exists(const Facts& facts, const std::string& ns, const std::string& name) {
  return std::any_of(facts.services.begin(), facts.services.end(),
                     [&](const auto& s) { return s.ns == ns && s.name == name; });
}

void check_gateway_service(Context& c, const Facts& facts, const ItemPtr& serving, const Path& path,
                           const std::string& host) {
  if (Context::is_placeholder(host)) return;
  const auto parts = split_list(host, '.');
  if (parts.size() < 3 || parts[2] != "svc") {
    c.report(serving, path,
             "\"" + host + "\" is no full Service name (NAME.NAMESPACE.svc.cluster.local)");
    return;
  }
  if (service_exists(facts, parts[1], parts[0])) return;
  if (c.objects().knows("Service")) {
    c.report(serving, path, "Service " + parts[1] + "/" + parts[0] + " does not exist");
  } else if (facts.mesh_of(parts[1]) == nullptr && !facts.meshes.empty()) {
    c.report(serving, path, "namespace " + parts[1] + " is that of no mesh in the input");
  } else {
    c.unknown(serving, path, "Service " + parts[1] + "/" + parts[0] + " is not in the input");
  }
}

constexpr std::string_view kDomain = ".svc.cluster.local";

void istio_config(Context& c) {
  const Facts& facts = c.facts();
  for (const auto& serving : c.list(kServingKind)) {
    if (!istio_on(serving->json)) continue;
    bool old_keys = false;
    bool new_keys = false;
    Path at;
    for (const auto& entry : operator_config(serving->json, "istio")) {
      if (entry.key.starts_with("gateway.") || entry.key.starts_with("local-gateway.")) {
        old_keys = true;
        if (const auto domain = entry.value.find(".svc."); domain != std::string::npos &&
                                                           !Context::is_placeholder(entry.value) &&
                                                           entry.value.substr(domain) != kDomain) {
          auto& f = c.report(serving, entry.path,
                             entry.value + " does not end in " + std::string(kDomain));
          f.severity = Severity::Warning;  // clusters can have another domain, OpenShift's have not
          f.confidence = Confidence::Likely;
          f.fix = set_fix(serving, entry.path, entry.value.substr(0, domain) + std::string(kDomain),
                          "end it in " + std::string(kDomain));
        }
        if (entry.key.starts_with("gateway.")) {
          check_gateway_service(c, facts, serving, entry.path, entry.value);
        } else if (!Context::is_placeholder(entry.value) &&
                   split_list(entry.value, '.').size() < 3) {
          check_gateway_service(c, facts, serving, entry.path, entry.value);  // K208 has the rest
        }
      }
      if (entry.key != "external-gateways" && entry.key != "local-gateways") continue;
      new_keys = true;
      at = entry.path;
      const auto parsed = yaml::parse_one(entry.value);
      if (!parsed || !parsed->is_array()) {
        c.report(serving, entry.path, entry.key + " is no list");
        continue;
      }
      std::size_t without = 0;
      for (const auto& g : parsed->get_array()) {
        if (json::find(g, "labelSelector") == nullptr) ++without;
        check_gateway_service(c, facts, serving, entry.path,
                              std::string(json::str(g, {"service"})));
      }
      if (!parsed->get_array().empty() && without != 1) {
        c.report(serving, entry.path,
                 entry.key + " has " + std::to_string(without) +
                     " entries without labelSelector: exactly one must be the default");
      }
    }
    if (old_keys && new_keys) {
      c.report(serving, at,
               "external-gateways or local-gateways beside gateway.… keys: net-istio refuses both");
    }
  }
}

void ingress_class(Context& c) {
  for (const auto& serving : c.list(kServingKind)) {
    if (!istio_on(serving->json)) continue;
    for (const std::string_view key : {"ingress-class", "ingress.class"}) {
      const auto entry = operator_config(serving->json, "network", key);
      if (!entry || entry->value == kIstioClass || Context::is_placeholder(entry->value)) continue;
      if (kourier_on(serving->json)) continue;  // K402
      c.report(serving, entry->path, "class " + entry->value + " is not Istio's").fix =
          set_fix(serving, entry->path, Json(kIstioClass), "use Istio's class");
    }
    for (const auto& s : c.list(kServiceKind)) {
      const auto own = class_of(s->json);
      const bool kourier =
          own == "kourier.ingress.networking.knative.dev" && kourier_on(serving->json);
      if (own.empty() || own == kIstioClass || kourier || Context::is_placeholder(own)) continue;
      c.report(s, Path{"metadata", "annotations"},
               "asks for class " + own + ", which nobody serves");
    }
  }
}

void compatibility_mode(Context& c) {
  const Facts& facts = c.facts();
  for (const auto& serving : c.list(kServingKind)) {
    const auto* mesh = facts.serverless();
    if (!istio_on(serving->json) || mesh == nullptr || !mesh->strict) continue;
    const auto entry = operator_config(serving->json, "network", "mesh-compatibility-mode");
    if (entry && (entry->value == "enabled" || Context::is_placeholder(entry->value))) continue;
    const Path path =
        entry ? entry->path : Path{"spec", "config", "network", "mesh-compatibility-mode"};
    c.report(serving, path,
             "mesh-compatibility-mode is not enabled: pods are probed by address first")
        .fix = set_fix(serving, path, "enabled", "set mesh-compatibility-mode: enabled");
  }
}

void metrics_backend(Context& c) {
  for (const auto& serving : c.list(kServingKind)) {
    if (!istio_on(serving->json)) continue;
    bool set = false;
    const struct {
      std::string_view key;
      std::vector<std::string_view> values;
    } known[] = {
        {"metrics.backend-destination", {"prometheus", "opencensus", "stackdriver", "none"}},
        {"metrics-protocol", {"prometheus", "http/protobuf", "grpc", "none"}}};
    for (const auto& k : known) {
      const auto entry = operator_config(serving->json, "observability", k.key);
      if (!entry) continue;
      set = true;
      if (Context::is_placeholder(entry->value) ||
          std::find(k.values.begin(), k.values.end(), entry->value) != k.values.end()) {
        continue;
      }
      c.report(serving, entry->path, std::string(k.key) + " \"" + entry->value + "\" is no backend")
          .fix =
          set_fix(serving, entry->path, "prometheus", "set " + std::string(k.key) + ": prometheus");
    }
    if (set) continue;
    const Path path = Path{"spec", "config", "observability"} / "metrics.backend-destination";
    c.report(serving, Path{"spec", "config"},
             "no metrics backend is set: with Istio it defaults to none")
        .fix = set_fix(serving, path, "prometheus", "set metrics.backend-destination: prometheus");
  }
}

/// "activator-5d4f-x2x": of the Deployment of that name, and not of "activator-hpa".
bool pod_of(std::string_view pod, std::string_view deployment) {
  if (!pod.starts_with(deployment)) return false;
  const std::string_view rest = pod.substr(deployment.size());
  return rest.starts_with('-') && std::count(rest.begin(), rest.end(), '-') == 2;
}

void restarted(Context& c) {
  const struct {
    std::string_view kind, ns;
    std::vector<std::string_view> names;
  } wanted[] = {
      {kServingKind, "knative-serving", {"activator", "autoscaler"}},
      {kEventingKind,
       "knative-eventing",
       {"pingsource-mt-adapter", "imc-dispatcher", "mt-broker-ingress", "mt-broker-filter"}}};
  for (const auto& w : wanted) {
    for (const auto& object : c.list(w.kind, w.ns)) {
      for (const auto name : w.names) {
        const auto workload = operator_workload(object->json, name);
        if (!workload || workload_inject(workload->value) != "true") continue;
        for (const auto& pod : c.list("Pod", w.ns)) {
          if (!pod_of(pod->name, name)) continue;
          bool proxy = false;
          for (const std::string_view list : {"containers", "initContainers"}) {
            for (const auto& container : json::array(pod->json, {"spec", list})) {
              proxy |= json::str(container, {"name"}) == "istio-proxy";
            }
          }
          if (proxy) continue;
          c.report(pod, {}, "runs without the sidecar that " + object->ref() + " asks for").fix = {
              Fix::Type::Command,
              {},
              "oc rollout restart deployment/" + std::string(name) + " -n " + std::string(w.ns)};
        }
      }
    }
  }
}

/// Requests of a pod, in milli-CPU and bytes; a sidecar is Istio's default 100m and 128Mi.
struct Requests {
  std::int64_t cpu = 0, memory = 0;
  void add(const Requests& o, std::int64_t times) {
    cpu += o.cpu * times;
    memory += o.memory * times;
  }
};
Requests requests_of(const Json& pod_template, bool sidecar, std::int64_t queue_cpu) {
  Requests out{queue_cpu, 0};
  for (const auto& container : json::array(pod_template, {"spec", "containers"})) {
    if (const auto q = Quantity::parse(json::str(container, {"resources", "requests", "cpu"})))
      out.cpu += q->milli();
    if (const auto q = Quantity::parse(json::str(container, {"resources", "requests", "memory"}))) {
      out.memory += q->value();
    }
  }
  if (sidecar) out.add({100, 128 << 20}, 1);
  return out;
}

void capacity(Context& c) {
  const auto nodes = c.list("Node");
  if (nodes.empty()) return;  // nothing to compare with, and nothing that says so
  Requests there;
  for (const auto& node : nodes) {
    if (const auto q = Quantity::parse(json::str(node->json, {"status", "allocatable", "cpu"})))
      there.cpu += q->milli();
    if (const auto q =
            Quantity::parse(json::str(node->json, {"status", "allocatable", "memory"}))) {
      there.memory += q->value();
    }
  }
  constexpr std::int64_t kMostPods = 100'000;
  Requests wanted;
  for (const auto& d : c.list("apps/Deployment")) {
    const Json* pod = json::find(d->json, {"spec", "template"});
    if (pod == nullptr) continue;
    const bool sidecar = json::str(*pod, {"metadata", "labels", kInject}) == "true";
    wanted.add(requests_of(*pod, sidecar, 0),
               std::clamp<std::int64_t>(json::i64(d->json, {"spec", "replicas"}, 1), 0, kMostPods));
  }
  for (const auto& s : c.list(kServiceKind)) {
    const Json* pod = json::find(s->json, {"spec", "template"});
    if (pod == nullptr) continue;
    const std::string scale(
        json::str(*pod, {"metadata", "annotations", "autoscaling.knative.dev/min-scale"}, "1"));
    wanted.add(requests_of(*pod, asks_for_sidecar(s->json), 25),
               std::clamp<std::int64_t>(std::atoll(scale.c_str()), 1, kMostPods));
  }
  if (wanted.cpu > there.cpu) {
    c.report(nullptr, {},
             "one pod of each service and all deployments ask for " + std::to_string(wanted.cpu) +
                 "m CPU, the nodes have " + std::to_string(there.cpu) + "m");
  }
  if (wanted.memory > there.memory) {
    c.report(nullptr, {},
             "one pod of each service and all deployments ask for " +
                 std::to_string(wanted.memory >> 20) + "Mi memory, the nodes have " +
                 std::to_string(there.memory >> 20) + "Mi");
  }
}

void placeholders_in(Context& c, const ItemPtr& item, const Json& value, const Path& path) {
  if (const auto* s = value.if_string()) {
    const std::string_view text(s->data(), s->size());
    // Text of several lines holds other things in angle brackets (HTML, scripts).
    if (text.size() > 1024 || text.find('\n') != std::string_view::npos) return;
    if (Context::is_placeholder(text)) {
      c.report(item, path, "\"" + std::string(text) + "\" is a placeholder").fix.text =
          "put the real value there, or give it with --set";
    }
    return;
  }
  if (const auto* o = value.if_object()) {
    for (const auto& member : *o) {
      const std::string_view key(member.key().data(), member.key().size());
      if (key == "kubectl.kubernetes.io/last-applied-configuration" || key == "status" ||
          key == "managedFields" || key == "description") {
        continue;
      }
      placeholders_in(c, item, member.value(), path / key);
    }
  }
  if (const auto* a = value.if_array()) {
    for (std::size_t i = 0; i < a->size(); ++i) placeholders_in(c, item, (*a)[i], path / i);
  }
}

void placeholders(Context& c) {
  for (const auto& item : c.objects().all()) {
    if (item->kind == "CustomResourceDefinition" || item->kind == "Secret") continue;
    placeholders_in(c, item, item->json, {});
  }
}

}  // namespace

void add_serving_rules(std::vector<Rule>& out) {
  out.push_back({"K401",
                 {},
                 {},
                 Severity::Error,
                 Offline::Yes,
                 "one KnativeServing stands in knative-serving",
                 "KnativeServing は knative-serving に一つだけ",
                 "InstallFailed",
                 "The operator serves one KnativeServing, in the namespace knative-serving.",
                 "keep one KnativeServing, in the namespace knative-serving",
                 {},
                 {},
                 one_serving});
  out.push_back({"K402",
                 {"KS-01"},
                 {},
                 Severity::Error,
                 Offline::Yes,
                 "Istio is the ingress of Knative Serving",
                 "Knative Serving の Ingress は Istio",
                 "traffic bypasses the mesh; no VirtualServices appear",
                 "When both are enabled Kourier silently takes precedence. Kept on purpose, with "
                 "its class on a "
                 "service, it is no error.",
                 "set spec.ingress.istio.enabled: true and disable Kourier",
                 {},
                 {},
                 istio_ingress});
  out.push_back({"K403",
                 {"KS-02"},
                 {},
                 Severity::Error,
                 Offline::Yes,
                 "activator and autoscaler have sidecars",
                 "activator と autoscaler にサイドカーがある",
                 "503 from zero; never scales; websocket resets",
                 "In a strict mesh both talk to pods and to each other; without a sidecar they "
                 "have no certificate. "
                 "Service Mesh 2 also takes the annotation, later ones the label only.",
                 "set the label and rewriteAppHTTPProbers under spec.deployments",
                 {},
                 {},
                 serving_injected});
  out.push_back({"K404",
                 {"KS-05"},
                 {},
                 Severity::Error,
                 Offline::Yes,
                 "controllers and webhooks have no sidecar",
                 "コントローラーと webhook にサイドカーがない",
                 "every apply fails: webhook timeout",
                 "The API server has no certificate of the mesh, so a strict sidecar refuses it.",
                 "leave them out of the injection list",
                 {},
                 {},
                 serving_not_injected});
  out.push_back({"K405",
                 {"KS-03"},
                 {},
                 Severity::Error,
                 Offline::Partly,
                 "config.istio names existing Services in one style",
                 "config.istio は存在する Service を一つの書式で指す",
                 "the controller refuses the ConfigMap and keeps the old one; 503",
                 "Values are full names of the gateway's Services. The older keys "
                 "gateway.NAMESPACE.NAME and the "
                 "lists external-gateways, local-gateways exclude each other; of a list that is "
                 "not empty exactly one "
                 "entry has no labelSelector.",
                 "write NAME.NAMESPACE.svc.cluster.local",
                 {},
                 {},
                 istio_config});
  out.push_back({"K406",
                 {},
                 {},
                 Severity::Error,
                 Offline::Yes,
                 "the ingress class is Istio's everywhere",
                 "Ingress クラスはすべて Istio",
                 "nobody reconciles the Ingress",
                 "A class other than istio.ingress.networking.knative.dev is left to a controller "
                 "that does not run.",
                 "remove the annotation or the config.network entry that names the other class",
                 {},
                 {},
                 ingress_class});
  out.push_back({"K407",
                 {},
                 {},
                 Severity::Warning,
                 Offline::Yes,
                 "a strict mesh uses mesh-compatibility-mode",
                 "厳密なメッシュでは mesh-compatibility-mode を使用する",
                 "slow first requests; wrong detection of the mesh",
                 "Pod addresses cannot be probed under STRICT; Knative falls back to the Service "
                 "address per revision. "
                 "The mode gives up the activator's own load balancing.",
                 "set config.network mesh-compatibility-mode: enabled",
                 {},
                 {},
                 compatibility_mode});
  out.push_back({"K408",
                 {},
                 {},
                 Severity::Warning,
                 Offline::Yes,
                 "metrics have a backend",
                 "メトリクスのバックエンドが設定されている",
                 "empty dashboards",
                 "With Istio as ingress the operator defaults the metrics backend to none.",
                 "set config.observability metrics.backend-destination: prometheus",
                 {},
                 {},
                 metrics_backend});
  out.push_back({"K410",
                 {},
                 {},
                 Severity::Warning,
                 Offline::Live,
                 "running pods have the sidecars that were asked for",
                 "実行中の Pod に要求されたサイドカーがある",
                 "503 or connection resets until the pod is restarted",
                 "Injection happens when a pod is created; pods started before are not changed.",
                 "restart it: oc rollout restart deployment/NAME -n NAMESPACE",
                 {"Pod"},
                 {},
                 restarted});
  out.push_back({"K411",
                 {},
                 {},
                 Severity::Warning,
                 Offline::Partly,
                 "the nodes have room for what is asked for",
                 "ノードのリソースは要求に足りる",
                 "Pending: Insufficient cpu",
                 "Every pod of a service also carries queue-proxy (25m) and, in the mesh, a "
                 "sidecar (100m, 128Mi). "
                 "Decided only when the set has Nodes.",
                 "ask for less, run fewer replicas, or add nodes",
                 {},
                 {},
                 capacity});
  out.push_back({"K413",
                 {},
                 {},
                 Severity::Error,
                 Offline::Yes,
                 "no placeholder is left",
                 "プレースホルダーが残っていない",
                 "depends on the field: a name that does not exist, a number that is none",
                 "Values such as <name> or your-… come from the documentation and mean nothing.",
                 "put the real value there, or give --set NAME=VALUE",
                 {},
                 {},
                 placeholders});
}

}  // namespace knit::check
