// K2xx: Gateways, the pods they reach, and the Services in front of them.
#include "check/helpers.h"
#include "mesh_model/hosts.h"

namespace knit::check {
namespace {

using mesh_model::TlsMode;
using yaml::Path;

constexpr std::string_view kGateway = "networking.istio.io/Gateway";

Path server_path(std::size_t index) { return Path{"spec", "servers"} / index; }

std::string created_text(const Item& item) {
  return item.created().empty() ? "has no creation time here, so the name decides"
                                : "created " + std::string(item.created());
}
// ---- K201

void gateway_conflicts(Context& c) {
  const Facts& facts = c.facts();
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
      const std::string key =
          dropped.gateway + "#" + std::to_string(dropped.index) + "#" + dropped.winner;
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
  const Facts& facts = c.facts();
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
  const Facts& facts = c.facts();
  for (const auto& [view, item] : facts.gateways) {
    if (view.selector.empty()) {
      c.report(item, Path{"spec", "selector"},
               "no selector: every gateway pod of the mesh takes it")
          .severity = Severity::Warning;
      continue;
    }
    bool placeholder = false;
    for (const auto& [k, v] : view.selector) placeholder |= Context::is_placeholder(v);
    if (placeholder || !facts.selected(view).empty()) continue;
    std::string selector;
    for (const auto& [k, v] : view.selector)
      selector += (selector.empty() ? "" : ",") + k + "=" + v;
    const bool known = c.objects().knows("Pod") || c.objects().knows("apps/Deployment") ||
                       !facts.gateway_pods.empty();
    if (!known) {
      c.unknown(item, Path{"spec", "selector"},
                "no gateway workload is in the input that " + selector + " could match");
      continue;
    }
    auto& f = c.report(item, Path{"spec", "selector"},
                       "selector " + selector + " matches no gateway pod");
    for (const auto& pod : facts.gateway_pods) {
      std::string labels;
      for (const auto& [k, v] : pod.view.labels)
        labels += (labels.empty() ? "" : ",") + k + "=" + v;
      f.evidence.push_back({pod.from->ref(), "its gateway pods have " + labels});
    }
  }
}

// ---- K206, K207

const ItemPtr* find_gateway(const Facts& facts, const std::string& name) {
  return item_of(facts, name);
}

void ingress_gateway(Context& c) {
  const Facts& facts = c.facts();
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
        auto& f =
            c.report(*item, server_path(i) / "tls" / "mode",
                     "tls.mode is not SIMPLE: outside clients have no certificate of the mesh");
        f.fix = {Fix::Type::Patch,
                 {{Edit::Op::Set, *item, server_path(i) / "tls" / "mode", "SIMPLE"}},
                 "set tls.mode SIMPLE"};
      }
      if (s.credential.empty()) {
        c.report(*item, server_path(i) / "tls",
                 "tls.credentialName is missing: the listener has no certificate");
      }
    }
    // Plain Istio's default Gateway serves HTTP only, and that is meant.
    if (!tls_server && c.settings().profile != Profile::Istio) {
      c.report(*item, Path{"spec", "servers"},
               "no server on port 443: passthrough Routes end here");
    }
  }
}

void local_gateway(Context& c) {
  const Facts& facts = c.facts();
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
        auto& f = c.report(*item, mode,
                           "tls.mode is not ISTIO_MUTUAL: callers of the mesh are not recognised");
        f.severity = Severity::Error;
        f.fix = {Fix::Type::Patch,
                 {{Edit::Op::Set, *item, mode, "ISTIO_MUTUAL"}},
                 "set tls.mode ISTIO_MUTUAL"};
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

void two_gateway_kinds(Context& c) {
  const auto api = c.list("gateway.networking.k8s.io/Gateway");
  const auto istio = c.list(kGateway);
  const auto crd = [&](std::string_view name) {
    return c.find("apiextensions.k8s.io/CustomResourceDefinition", "", name) != nullptr;
  };
  const bool both = (!api.empty() || crd("gateways.gateway.networking.k8s.io")) &&
                    (!istio.empty() || crd("gateways.networking.istio.io"));
  if (both) {
    c.report(nullptr, {},
             "this cluster has gateways.networking.istio.io and "
             "gateways.gateway.networking.k8s.io: `get gateway` may mean the other one");
  }
}

}  // namespace

void add_gateway_rules(std::vector<Rule>& out) {
  out.push_back({"K200",
                 {},
                 {},
                 Severity::Info,
                 Offline::Live,
                 "\"get gateway\" means Istio's Gateways",
                 "「get gateway」は Istio の Gateway を指す",
                 "the pre-flight command prints nothing, which reads as \"no conflict\"",
                 "kubectl picks a kind by discovery order and prefers the Gateway API's where both "
                 "groups exist "
                 "(OpenShift 4.19 and later ship it).",
                 "ask by the full name: oc get gateways.networking.istio.io -A",
                 {},
                 {},
                 two_gateway_kinds});
  out.push_back({"K201",
                 {"GW-01"},
                 {"IST0145", "KIA0301"},
                 Severity::Error,
                 Offline::Yes,
                 "no two Gateways claim the same host on the same port of a gateway pod",
                 "同じゲートウェイ Pod の同じポートで、同じホストを要求する Gateway は一つだけ",
                 "the wrong certificate or 404 for every Knative service; istiod only counts it in "
                 "pilot_total_rejected_configs{type=\"gateway\"}",
                 "istiod merges all Gateways that reach a pod onto its resolved ports. Of two TLS "
                 "servers with an "
                 "identical host and bind the later-created one is dropped; of an HTTP and a TLS "
                 "server on one port "
                 "the later protocol is ignored. Selectors are compared by the pods they reach, "
                 "not by their text.",
                 "give the other Gateway its own hosts, its own gateway workload, or its own mesh",
                 {kGateway},
                 {},
                 gateway_conflicts});
  out.push_back({"K202",
                 {},
                 {"IST0145"},
                 Severity::Info,
                 Offline::Yes,
                 "overlapping Gateway hosts are meant",
                 "Gateway のホストの重なりは意図したもの",
                 "none: the longest host wins",
                 "A specific host beside a wildcard on one port is legal: filter chains are "
                 "matched by the longest "
                 "host. Other tools report it.",
                 "nothing; remove the specific server if it is left over",
                 {kGateway},
                 {},
                 wildcard_overlap});
  out.push_back(
      {"K203",
       {"GW-03", "CP-04"},
       {"IST0101"},
       Severity::Error,
       Offline::Partly,
       "every Gateway selects a gateway pod",
       "どの Gateway もゲートウェイ Pod を選択している",
       "connection refused; the router answers 503",
       "A Gateway configures the pods that its selector matches. Pods are worked out from "
       "Deployments and "
       "from the ServiceMeshControlPlane (app, istio and its own labels) when the input has none.",
       "make the selector match the labels of the gateway workload",
       {kGateway},
       {},
       gateway_selects_pods});
  out.push_back({"K206",
                 {"GW-06", "GW-12"},
                 {},
                 Severity::Error,
                 Offline::Yes,
                 "the ingress Gateway terminates HTTPS with a certificate",
                 "Ingress Gateway は証明書で HTTPS を終端する",
                 "the listener never appears: connection reset",
                 "knative-ingress-gateway wants port 443, protocol HTTPS, tls.mode SIMPLE and a "
                 "credentialName.",
                 "write the server as in the procedure: 443, HTTPS, SIMPLE, credentialName",
                 {kGateway},
                 {},
                 ingress_gateway});
  out.push_back({"K207",
                 {"GW-10", "GW-11"},
                 {},
                 Severity::Warning,
                 Offline::Yes,
                 "the local Gateway authenticates its callers",
                 "ローカル Gateway は呼び出し元を認証する",
                 "cluster-local calls in clear text, or 503 UF",
                 "knative-local-gateway uses ISTIO_MUTUAL on 8081, which takes its certificates "
                 "from the mesh; Istio "
                 "refuses certificate fields beside it. With protocol HTTP the hop through the "
                 "gateway is not "
                 "authenticated.",
                 "use protocol HTTPS and tls.mode ISTIO_MUTUAL without certificate fields",
                 {kGateway},
                 {},
                 local_gateway});
  out.push_back({"K209",
                 {"GW-02"},
                 {"IST0101"},
                 Severity::Error,
                 Offline::Partly,
                 "the Gateways that config.istio names exist",
                 "config.istio が指す Gateway が存在する",
                 "the service stays Uninitialized or IngressNotConfigured; 404 from the gateway",
                 "A key gateway.NAMESPACE.NAME refers to a Gateway; a key without a namespace "
                 "means the system "
                 "namespace, knative-serving.",
                 "create the Gateway in that namespace, or correct the key",
                 {kGateway},
                 {},
                 gateways_of_config});
}

}  // namespace knit::check
