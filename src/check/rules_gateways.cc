// K2xx: Gateways, the pods they reach, and the Services in front of them.
#include "check/facts.h"
#include "mesh_model/hosts.h"

namespace knit::check {
namespace {

using mesh_model::TlsMode;
using yaml::Path;

constexpr std::string_view kGateway = "networking.istio.io/Gateway";

Path server_path(std::size_t index) { return Path{"spec", "servers"} / index; }

const ItemPtr* item_of(const Facts& facts, std::string_view gateway) {
  for (const auto& [view, item] : facts.gateways) {
    if (view.full_name() == gateway) return &item;
  }
  return nullptr;
}

std::string created_text(const Item& item) {
  return item.created().empty() ? "has no creation time here, so the name decides"
                                : "created " + std::string(item.created());
}

/// The Gateways that Knative Serving uses: from config.istio, else the defaults.
struct ServerlessGateways {
  std::vector<std::string> external{"knative-serving/knative-ingress-gateway"};
  std::vector<std::string> local{"knative-serving/knative-local-gateway"};
};

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
      if (entry.key.starts_with("gateway.")) external.push_back(gateway_name(entry.key, "gateway."));
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

// ---- K201

void gateway_conflicts(Context& c) {
  const Facts facts = facts_of(c.objects());
  std::set<std::string> told;
  for (const auto& pod : facts.gateway_pods) {
    std::vector<mesh_model::GatewayView> seen;
    for (const auto& [view, item] : facts.gateways) {
      // Gateways of another mesh do not reach this pod, whatever they select.
      const auto* own = facts.mesh_of(view.ns);
      if (own != nullptr && !pod.mesh.empty() && own->ns != pod.mesh) continue;
      seen.push_back(view);
    }
    const auto merge = mesh_model::merge_gateways(pod.view, facts.services, seen);
    for (const auto& dropped : merge.dropped) {
      const auto* loser = item_of(facts, dropped.gateway);
      const auto* winner = item_of(facts, dropped.winner);
      if (loser == nullptr) continue;
      const std::string key = dropped.gateway + "#" + std::to_string(dropped.index) + "#" + dropped.winner;
      if (!told.insert(key).second) continue;
      auto& f = c.report(*loser, server_path(dropped.index),
                         dropped.reason + " (port " + std::to_string(dropped.port) + " of pod " +
                             pod.view.ns + "/" + pod.view.name + ")");
      if (winner != nullptr) {
        f.evidence.push_back({(*winner)->ref(), created_text(**winner) + ": it wins"});
      }
      f.evidence.push_back({(*loser)->ref(), created_text(**loser) + ": its server is dropped"});
      f.evidence.push_back({pod.from->ref(), "both selectors reach this"});
    }
  }
}

// ---- K202

void wildcard_overlap(Context& c) {
  const Facts facts = facts_of(c.objects());
  for (const auto& pod : facts.gateway_pods) {
    std::vector<mesh_model::GatewayView> seen;
    for (const auto& [view, item] : facts.gateways) seen.push_back(view);
    const auto merge = mesh_model::merge_gateways(pod.view, facts.services, seen);
    for (const auto& [port, merged] : merge.ports) {
      for (const auto& wide : merged.servers) {
        for (const auto& narrow : merged.servers) {
          if (wide.gateway == narrow.gateway) continue;
          for (const auto& w : wide.server.hosts) {
            for (const auto& n : narrow.server.hosts) {
              const auto wh = mesh_model::split_scoped_host(w).host;
              const auto nh = mesh_model::split_scoped_host(n).host;
              if (wh == nh || !mesh_model::host_subset(nh, wh)) continue;
              if (const auto* item = item_of(facts, narrow.gateway)) {
                c.report(*item, server_path(narrow.index),
                         "serves " + std::string(nh) + " beside " + std::string(wh) + " of " +
                             wide.gateway + " on port " + std::to_string(port) +
                             ": legal, the longer host wins");
              }
            }
          }
        }
      }
    }
  }
}

// ---- K203

void gateway_selects_pods(Context& c) {
  const Facts facts = facts_of(c.objects());
  for (const auto& [view, item] : facts.gateways) {
    if (view.selector.empty()) continue;
    bool placeholder = false;
    for (const auto& [k, v] : view.selector) placeholder |= Context::is_placeholder(v);
    if (placeholder || !facts.selected(view).empty()) continue;
    std::string selector;
    for (const auto& [k, v] : view.selector) selector += (selector.empty() ? "" : ",") + k + "=" + v;
    const bool known = c.objects().knows("Pod") || c.objects().knows("apps/Deployment") ||
                       !facts.gateway_pods.empty();
    if (!known) {
      c.unknown(item, Path{"spec", "selector"},
                "no gateway workload is in the input that " + selector + " could match");
      continue;
    }
    auto& f = c.report(item, Path{"spec", "selector"}, "selector " + selector + " matches no gateway pod");
    for (const auto& pod : facts.gateway_pods) {
      std::string labels;
      for (const auto& [k, v] : pod.view.labels) labels += (labels.empty() ? "" : ",") + k + "=" + v;
      f.evidence.push_back({pod.from->ref(), "its gateway pods have " + labels});
    }
  }
}

// ---- K204, K205

void gateway_services(Context& c, bool types) {
  const Facts facts = facts_of(c.objects());
  for (const auto& service : c.list("Service")) {
    const auto view = mesh_model::decode_service(service->json);
    if (view.selector.empty()) continue;
    const GatewayPod* reached = nullptr;
    for (const auto& pod : facts.gateway_pods) {
      if (pod.view.ns == service->ns && mesh_model::selects(view.selector, pod.view.labels)) reached = &pod;
    }
    if (reached == nullptr) continue;
    if (types) {
      const bool exposed = view.type == "NodePort" || view.type == "LoadBalancer" ||
                           !json::array(service->json, {"spec", "externalIPs"}).empty();
      if (!exposed) continue;
      const bool by_type = view.type == "NodePort" || view.type == "LoadBalancer";
      auto& f = c.report(service, by_type ? Path{"spec", "type"} : Path{"spec", "externalIPs"},
                         by_type ? "type " + view.type + " exposes the mesh's ingress gateway directly"
                                 : "externalIPs expose the mesh's ingress gateway directly");
      f.evidence.push_back({reached->from->ref(), "its pods are behind this Service"});
      if (by_type) {
        f.fix = {Fix::Type::Patch, {{Edit::Op::Set, service, Path{"spec", "type"}, "ClusterIP"}},
                 "set type ClusterIP; Knative services are reached through Routes"};
      }
      continue;
    }
    bool https = false;
    bool http2 = false;
    bool tls_port = false;
    for (const auto& p : view.ports) {
      https |= p.name == "https";
      http2 |= p.name == "http2";
      tls_port |= p.port == 443;
    }
    if (!tls_port) continue;  // the local gateway's Service, and others that Routes do not use
    std::size_t i = 0;
    for (const auto& p : view.ports) {
      const Path name = Path{"spec", "ports"} / i / "name";
      ++i;
      if (p.port == 443 && !https) {
        auto& f = c.report(service, name,
                           "port 443 is named \"" + p.name + "\": passthrough Routes target the name https");
        f.fix = {Fix::Type::Patch, {{Edit::Op::Set, service, name, "https"}}, "name the port https"};
      }
      if (p.port == 80 && !http2) {
        auto& f = c.report(service, name,
                           "port 80 is named \"" + p.name + "\": edge Routes target the name http2");
        f.fix = {Fix::Type::Patch, {{Edit::Op::Set, service, name, "http2"}}, "name the port http2"};
      }
    }
  }
  if (!types) return;
  for (const auto& smcp : c.list("maistra.io/ServiceMeshControlPlane")) {
    const Path path{"spec", "gateways", "ingress", "service", "type"};
    const auto type = json::str(smcp->json, {"spec", "gateways", "ingress", "service", "type"});
    if (type != "NodePort" && type != "LoadBalancer") continue;
    auto& f = c.report(smcp, path, "type " + std::string(type) + " exposes the mesh's ingress gateway directly");
    f.fix = {Fix::Type::Patch, {{Edit::Op::Set, smcp, path, "ClusterIP"}},
             "set type ClusterIP; Knative services are reached through Routes"};
  }
}

// ---- K206, K207

const ItemPtr* find_gateway(const Facts& facts, const std::string& name) { return item_of(facts, name); }

void ingress_gateway(Context& c) {
  const Facts facts = facts_of(c.objects());
  const auto names = serverless_gateways(c.objects());
  for (const auto& name : names.external) {
    const auto* item = find_gateway(facts, name);
    if (item == nullptr) continue;
    const auto view = mesh_model::decode_gateway((*item)->json);
    bool tls_server = false;
    for (std::size_t i = 0; i < view.servers.size(); ++i) {
      const auto& s = view.servers[i];
      if (s.port != 443 && s.protocol != "HTTPS" && s.protocol != "TLS") continue;
      tls_server = true;
      if (s.protocol != "HTTPS") {
        auto& f = c.report(*item, server_path(i) / "port" / "protocol",
                           "protocol " + s.protocol + " on port " + std::to_string(s.port) +
                               ": the ingress gateway wants HTTPS");
        f.fix = {Fix::Type::Patch,
                 {{Edit::Op::Set, *item, server_path(i) / "port" / "protocol", "HTTPS"}},
                 "set protocol HTTPS"};
        continue;
      }
      if (s.tls != TlsMode::Simple && s.tls != TlsMode::Mutual) {
        auto& f = c.report(*item, server_path(i) / "tls" / "mode",
                           "tls.mode is not SIMPLE: outside clients have no certificate of the mesh");
        f.fix = {Fix::Type::Patch, {{Edit::Op::Set, *item, server_path(i) / "tls" / "mode", "SIMPLE"}},
                 "set tls.mode SIMPLE"};
      }
      if (s.credential.empty()) {
        c.report(*item, server_path(i) / "tls", "tls.credentialName is missing: the listener has no certificate");
      }
    }
    // Plain Istio's default Gateway serves HTTP only, and that is meant.
    if (!tls_server && c.settings().profile != Profile::Istio) {
      c.report(*item, Path{"spec", "servers"}, "no server on port 443: passthrough Routes end here");
    }
  }
}

void local_gateway(Context& c) {
  const Facts facts = facts_of(c.objects());
  const auto names = serverless_gateways(c.objects());
  for (const auto& name : names.local) {
    const auto* item = find_gateway(facts, name);
    if (item == nullptr) continue;
    const auto view = mesh_model::decode_gateway((*item)->json);
    const auto* mesh = facts.serverless();
    for (std::size_t i = 0; i < view.servers.size(); ++i) {
      const auto& s = view.servers[i];
      const Path mode = server_path(i) / "tls" / "mode";
      if (s.protocol == "HTTP") {
        // Upstream's and OSSM 3's own form; under STRICT the local hop stays unauthenticated.
        if (c.settings().profile == Profile::Ossm2 && mesh != nullptr && mesh->strict) {
          c.report(*item, server_path(i) / "port" / "protocol",
                   "HTTP in a strict mesh: calls through the local gateway are not authenticated");
        }
        continue;
      }
      if (s.tls != TlsMode::IstioMutual) {
        auto& f = c.report(*item, mode, "tls.mode is not ISTIO_MUTUAL: callers of the mesh are not recognised");
        f.severity = Severity::Error;
        f.fix = {Fix::Type::Patch, {{Edit::Op::Set, *item, mode, "ISTIO_MUTUAL"}}, "set tls.mode ISTIO_MUTUAL"};
      } else if (!s.credential.empty()) {
        auto& f = c.report(*item, server_path(i) / "tls" / "credentialName",
                           "credentialName beside ISTIO_MUTUAL: Istio refuses the Gateway");
        f.severity = Severity::Error;
        f.fix = {Fix::Type::Patch,
                 {{Edit::Op::Remove, *item, server_path(i) / "tls" / "credentialName", {}}},
                 "remove credentialName"};
      }
    }
  }
}

// ---- K208

/// "svc.ns.svc.cluster.local" of the local gateway in config.istio.
void local_service(Context& c) {
  const Facts facts = facts_of(c.objects());
  const auto names = serverless_gateways(c.objects());
  for (const auto& serving : c.list("operator.knative.dev/KnativeServing")) {
    for (const auto& entry : operator_config(serving->json, "istio")) {
      if (!entry.key.starts_with("local-gateway.") || Context::is_placeholder(entry.value)) continue;
      const auto dot = entry.value.find('.');
      const auto second = entry.value.find('.', dot == std::string::npos ? dot : dot + 1);
      if (dot == std::string::npos || second == std::string::npos) continue;  // K405
      const std::string name = entry.value.substr(0, dot);
      const std::string ns = entry.value.substr(dot + 1, second - dot - 1);
      const auto service = c.find("Service", ns, name);
      if (!service) {
        if (c.objects().knows("Service")) {
          c.report(serving, entry.path, "Service " + ns + "/" + name + " does not exist");
        } else {
          c.unknown(serving, entry.path, "Service " + ns + "/" + name + " is not in the input");
        }
        continue;
      }
      const auto view = mesh_model::decode_service(service->json);
      const Path label = Path{"metadata", "labels"} / mesh_model::kNoPortTranslation;
      if (!view.labels.contains(std::string(mesh_model::kNoPortTranslation))) {
        auto& f = c.report(service, Path{"metadata", "labels"},
                           "label " + std::string(mesh_model::kNoPortTranslation) +
                               " is missing: Gateways on port 80 may be bound to this Service's target port");
        f.fix = {Fix::Type::Patch, {{Edit::Op::Set, service, label, "true"}}, "add the label"};
      }
      const auto* gateway = item_of(facts, gateway_name(entry.key, "local-gateway."));
      if (gateway == nullptr) continue;
      const auto gateway_view = mesh_model::decode_gateway((*gateway)->json);
      std::set<std::uint32_t> numbers;
      for (const auto& s : gateway_view.servers) numbers.insert(s.port);
      std::size_t i = 0;
      for (const auto& p : view.ports) {
        const Path target = Path{"spec", "ports"} / i / "targetPort";
        ++i;
        if (p.target_name.empty() && !numbers.contains(p.target_port)) {
          auto& f = c.report(service, target,
                             "targetPort " + std::to_string(p.target_port) + " is no port of Gateway " +
                                 gateway_view.full_name());
          if (numbers.size() == 1) {
            f.fix = {Fix::Type::Patch, {{Edit::Op::Set, service, target, *numbers.begin()}},
                     "set the Gateway's port"};
          }
        }
      }
      std::set<std::string> by_service;
      std::set<std::string> by_gateway;
      for (const auto& pod : facts.gateway_pods) {
        if (pod.view.ns == ns && mesh_model::selects(view.selector, pod.view.labels)) {
          by_service.insert(pod.view.uid);
        }
        if (mesh_model::selects(gateway_view.selector, pod.view.labels)) by_gateway.insert(pod.view.uid);
      }
      if (facts.gateway_pods.empty()) {
        c.unknown(service, Path{"spec", "selector"}, "no gateway workload is in the input");
      } else if (by_service != by_gateway && !by_gateway.empty()) {
        c.report(service, Path{"spec", "selector"},
                 "reaches other pods than Gateway " + gateway_view.full_name() + " selects");
      }
    }
  }
}

// ---- K209

void gateways_of_config(Context& c) {
  for (const auto& serving : c.list("operator.knative.dev/KnativeServing")) {
    if (!json::boolean(serving->json, {"spec", "ingress", "istio", "enabled"})) continue;
    for (const auto& entry : operator_config(serving->json, "istio")) {
      std::string name;
      if (entry.key.starts_with("gateway.")) name = gateway_name(entry.key, "gateway.");
      if (entry.key.starts_with("local-gateway.")) name = gateway_name(entry.key, "local-gateway.");
      if (name.empty()) continue;
      const auto slash = name.find('/');
      if (c.find(kGateway, name.substr(0, slash), name.substr(slash + 1))) continue;
      const bool any = !c.list(kGateway).empty();
      if (c.objects().knows(kGateway) || any) {
        c.report(serving, entry.path, "Gateway " + name + " does not exist");
      } else {
        c.unknown(serving, entry.path, "Gateway " + name + " is not in the input");
      }
    }
  }
}

// ---- K210

void probe_service(Context& c) {
  const Facts facts = facts_of(c.objects());
  const auto names = serverless_gateways(c.objects());
  for (const auto& [view, item] : facts.gateways) {
    if (std::find(names.external.begin(), names.external.end(), view.full_name()) == names.external.end() ||
        facts.selected(view).empty()) {
      continue;
    }
    std::string found;
    std::size_t count = 0;
    for (const auto& s : facts.services) {
      if (view.selector.empty() || !mesh_model::selects(view.selector, s.labels)) continue;
      ++count;
      found += (found.empty() ? "" : ", ") + s.ns + "/" + s.name;
    }
    if (count == 1) continue;
    if (count == 0 && !c.objects().knows("Service")) {
      c.unknown(item, Path{"spec", "selector"}, "no Service with the labels of this selector is in the input");
    } else {
      c.report(item, Path{"spec", "selector"},
               count == 0 ? "no Service has the labels of this selector: nothing is probed"
                          : "several Services have the labels of this selector: " + found);
    }
  }
}

void two_gateway_kinds(Context& c) {
  const auto api = c.list("gateway.networking.k8s.io/Gateway");
  const auto istio = c.list(kGateway);
  const auto crd = [&](std::string_view name) {
    return c.find("apiextensions.k8s.io/CustomResourceDefinition", "", name) != nullptr;
  };
  const bool both = (!api.empty() || crd("gateways.gateway.networking.k8s.io")) &&
                    (!istio.empty() || crd("gateways.networking.istio.io"));
  if (both) {
    c.report(nullptr, {}, "this cluster has gateways.networking.istio.io and "
                          "gateways.gateway.networking.k8s.io: `get gateway` may mean the other one");
  }
}

}  // namespace

void add_gateway_rules(std::vector<Rule>& out) {
  out.push_back({"K200", {}, {}, Severity::Info, Offline::Live,
                 "\"get gateway\" means Istio's Gateways",
                 "「get gateway」は Istio の Gateway を指す",
                 "the pre-flight command prints nothing, which reads as \"no conflict\"",
                 "kubectl picks a kind by discovery order and prefers the Gateway API's where both groups exist "
                 "(OpenShift 4.19 and later ship it).",
                 "ask by the full name: oc get gateways.networking.istio.io -A",
                 {}, {}, two_gateway_kinds});
  out.push_back({"K201", {"GW-01"}, {"IST0145", "KIA0301"}, Severity::Error, Offline::Yes,
                 "no two Gateways claim the same host on the same port of a gateway pod",
                 "同じゲートウェイ Pod の同じポートで、同じホストを要求する Gateway は一つだけ",
                 "the wrong certificate or 404 for every Knative service; istiod only counts it in "
                 "pilot_total_rejected_configs{type=\"gateway\"}",
                 "istiod merges all Gateways that reach a pod onto its resolved ports. Of two TLS servers with an "
                 "identical host and bind the later-created one is dropped; of an HTTP and a TLS server on one port "
                 "the later protocol is ignored. Selectors are compared by the pods they reach, not by their text.",
                 "give the other Gateway its own hosts, its own gateway workload, or its own mesh",
                 {kGateway}, {}, gateway_conflicts});
  out.push_back({"K202", {}, {"IST0145"}, Severity::Info, Offline::Yes,
                 "overlapping Gateway hosts are meant",
                 "Gateway のホストの重なりは意図したもの",
                 "none: the longest host wins",
                 "A specific host beside a wildcard on one port is legal: filter chains are matched by the longest "
                 "host. Other tools report it.",
                 "nothing; remove the specific server if it is left over",
                 {kGateway}, {}, wildcard_overlap});
  out.push_back({"K203", {"GW-03", "CP-04"}, {"IST0101"}, Severity::Error, Offline::Partly,
                 "every Gateway selects a gateway pod",
                 "どの Gateway もゲートウェイ Pod を選択している",
                 "connection refused; the router answers 503",
                 "A Gateway configures the pods that its selector matches. Pods are worked out from Deployments and "
                 "from the ServiceMeshControlPlane (app, istio and its own labels) when the input has none.",
                 "make the selector match the labels of the gateway workload",
                 {kGateway}, {}, gateway_selects_pods});
  out.push_back({"K204", {"GW-05"}, {"IST0162"}, Severity::Error, Offline::Yes,
                 "the mesh's ingress gateway is reached through Routes only",
                 "メッシュの Ingress ゲートウェイには Route 経由でのみ到達できる",
                 "an unsupported entrance beside the router; client addresses differ",
                 "Serverless on Service Mesh supports entry through OpenShift Routes only, so no Service of type "
                 "NodePort or LoadBalancer, and none with externalIPs, may select the gateway pods.",
                 "set type ClusterIP; Knative services are reached through Routes",
                 {"Service"}, {}, [](Context& c) { gateway_services(c, true); }});
  out.push_back({"K205", {}, {}, Severity::Error, Offline::Yes,
                 "the gateway Service names its ports https and http2",
                 "ゲートウェイ Service のポート名は https と http2",
                 "the Route is admitted and answers 503",
                 "Serverless makes Routes that target the gateway Service's ports by name: https for passthrough, "
                 "http2 for edge.",
                 "name the ports https and http2",
                 {"Service"}, {}, [](Context& c) { gateway_services(c, false); }});
  out.push_back({"K206", {"GW-06", "GW-12"}, {}, Severity::Error, Offline::Yes,
                 "the ingress Gateway terminates HTTPS with a certificate",
                 "Ingress Gateway は証明書で HTTPS を終端する",
                 "the listener never appears: connection reset",
                 "knative-ingress-gateway wants port 443, protocol HTTPS, tls.mode SIMPLE and a credentialName.",
                 "write the server as in the procedure: 443, HTTPS, SIMPLE, credentialName",
                 {kGateway}, {}, ingress_gateway});
  out.push_back({"K207", {"GW-10", "GW-11"}, {}, Severity::Warning, Offline::Yes,
                 "the local Gateway authenticates its callers",
                 "ローカル Gateway は呼び出し元を認証する",
                 "cluster-local calls in clear text, or 503 UF",
                 "knative-local-gateway uses ISTIO_MUTUAL on 8081, which takes its certificates from the mesh; Istio "
                 "refuses certificate fields beside it. With protocol HTTP the hop through the gateway is not "
                 "authenticated.",
                 "use protocol HTTPS and tls.mode ISTIO_MUTUAL without certificate fields",
                 {kGateway}, {}, local_gateway});
  out.push_back({"K208", {"GW-08", "GW-09"}, {}, Severity::Error, Offline::Yes,
                 "the local gateway's Service leads to the local Gateway",
                 "ローカルゲートウェイの Service はローカル Gateway に到達する",
                 "cluster-local calls answer 404 or are refused; services wait for the load balancer",
                 "The Service named in config.istio needs the label "
                 "experimental.istio.io/disable-gateway-port-translation, the Gateway's port as targetPort, and a "
                 "selector that reaches the same pods as the Gateway's (the text of the selectors may differ).",
                 "create the Service as in the procedure",
                 {"Service", kGateway}, {}, local_service});
  out.push_back({"K209", {"GW-02"}, {"IST0101"}, Severity::Error, Offline::Partly,
                 "the Gateways that config.istio names exist",
                 "config.istio が指す Gateway が存在する",
                 "the service stays Uninitialized or IngressNotConfigured; 404 from the gateway",
                 "A key gateway.NAMESPACE.NAME refers to a Gateway; a key without a namespace means the system "
                 "namespace, knative-serving.",
                 "create the Gateway in that namespace, or correct the key",
                 {kGateway}, {}, gateways_of_config});
  out.push_back({"K210", {"GW-04"}, {}, Severity::Warning, Offline::Partly,
                 "one Service carries the labels that the ingress Gateway selects",
                 "Ingress Gateway が選択するラベルを持つ Service は一つ",
                 "the service is Ready but its URL answers 503, or it is never Ready",
                 "net-istio finds the pods to probe through a Service whose labels match the Gateway's selector, and "
                 "takes the first of several.",
                 "give the gateway's Service, and no other, the labels of the selector",
                 {"Service", kGateway}, {}, probe_service});
}

}  // namespace knit::check
