// K2xx: Gateways, the pods they reach, and the Services in front of them.
#include "check/helpers.h"
#include "mesh_model/hosts.h"

namespace knit::check {
namespace {

using mesh_model::TlsMode;
using yaml::Path;

constexpr std::string_view kGateway = "networking.istio.io/Gateway";

/// What a reader can still compare.
constexpr std::size_t kMostEvidence = 10;

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
    for (const auto* view : facts.reaching(pod)) {
      // Gateways of another mesh do not reach this pod, whatever they select.
      const auto* own = facts.mesh_of(view->ns);
      if (own != nullptr && !pod.mesh.empty() && own->ns != pod.mesh) continue;
      seen.push_back(*view);
    }
    const auto merge = mesh_model::merge_gateways(pod.view, facts.services, seen);
    for (const auto& dropped : merge.dropped) {
      const auto* loser = facts.gateway(dropped.gateway);
      const auto* winner = facts.gateway(dropped.winner);
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

/// "a.b.c" → "*.b.c", "*.c", "*": the wildcards that hold it.
std::vector<std::string> wildcards_over(std::string_view host) {
  std::vector<std::string> out;
  if (host == "*") return out;
  std::string_view rest = host.starts_with("*.") ? host.substr(2) : host;
  for (auto dot = rest.find('.'); dot != std::string_view::npos; dot = rest.find('.')) {
    rest.remove_prefix(dot + 1);
    out.push_back("*." + std::string(rest));
  }
  out.emplace_back("*");
  return out;
}

void wildcard_overlap(Context& c) {
  const Facts& facts = c.facts();
  for (const auto& pod : facts.gateway_pods) {
    std::vector<mesh_model::GatewayView> seen;
    for (const auto* view : facts.reaching(pod)) seen.push_back(*view);
    const auto merge = mesh_model::merge_gateways(pod.view, facts.services, seen);
    for (const auto& [port, merged] : merge.ports) {
      std::map<std::string, std::vector<const mesh_model::MergedServer*>, std::less<>> wide;
      for (const auto& server : merged.servers) {
        for (const auto& h : server.server.hosts) {
          const auto host = mesh_model::split_scoped_host(h).host;
          if (host.starts_with('*')) wide[std::string(host)].push_back(&server);
        }
      }
      for (const auto& narrow : merged.servers) {
        for (const auto& h : narrow.server.hosts) {
          const auto host = mesh_model::split_scoped_host(h).host;
          for (const auto& wildcard : wildcards_over(host)) {
            const auto over = wide.find(wildcard);
            if (over == wide.end()) continue;
            // Of several servers with one wildcard the first is named.
            const auto other =
                std::find_if(over->second.begin(), over->second.end(),
                             [&](const auto* w) { return w->gateway != narrow.gateway; });
            if (other == over->second.end()) continue;
            if (const auto* item = facts.gateway(narrow.gateway)) {
              c.report(*item, server_path(narrow.index),
                       "serves " + std::string(host) + " beside " + wildcard + " of " +
                           (*other)->gateway + " on port " + std::to_string(port) +
                           ": legal, the longer host wins");
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
      if (f.evidence.size() == kMostEvidence) break;
      std::string labels;
      for (const auto& [k, v] : pod.view.labels)
        labels += (labels.empty() ? "" : ",") + k + "=" + v;
      f.evidence.push_back({pod.from->ref(), "its gateway pods have " + labels});
    }
  }
}

// ---- K206, K207

/// Whether a server serves the names of many services: "*", "*.apps.example.com", "ns/*.a".
bool serves_many(const std::vector<std::string>& hosts) {
  return std::any_of(hosts.begin(), hosts.end(), [](const std::string& h) {
    return Context::is_placeholder(h) || mesh_model::split_scoped_host(h).host.starts_with('*');
  });
}
std::string host_list(const std::vector<std::string>& hosts) {
  std::string out;
  for (const auto& h : hosts) out += (out.empty() ? "" : ", ") + h;
  return out;
}

void ingress_gateway(Context& c) {
  const Facts& facts = c.facts();
  const auto names = serverless_gateways(c.objects());
  for (const auto& name : names.external) {
    const auto* item = facts.gateway(name);
    if (item == nullptr) continue;
    const auto view = mesh_model::decode_gateway((*item)->json);
    bool tls_server = false;
    std::optional<std::size_t> elsewhere;  // a TLS server that Routes do not reach
    bool routed = false;
    for (std::size_t i = 0; i < view.servers.size(); ++i) {
      const auto& s = view.servers[i];
      if (s.port != 443 && s.protocol != "HTTPS" && s.protocol != "TLS") continue;
      tls_server = true;
      // 443 of the Service, or 8443 where its pods listen.
      if (s.port == 443 || s.port == 8443) {
        routed = true;
      } else {
        elsewhere = i;
      }
      if (!s.hosts.empty() && !serves_many(s.hosts)) {
        auto& f = c.report(
            *item, server_path(i) / "hosts",
            "serves only " + host_list(s.hosts) + ": other services' names are not among them");
        f.severity = Severity::Warning;  // of few services the names can be listed
        f.fix = set_fix(*item, server_path(i) / "hosts", JsonArray{"*"}, "serve every host");
      }
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
    if (elsewhere && !routed && c.settings().profile != Profile::Istio) {
      const Path number = server_path(*elsewhere) / "port" / "number";
      c.report(*item, number,
               "port " + std::to_string(view.servers[*elsewhere].port) +
                   " is not 443, where passthrough Routes end")
          .fix = set_fix(*item, number, 443, "set port 443");
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
    const auto* item = facts.gateway(name);
    if (item == nullptr) continue;
    const auto view = mesh_model::decode_gateway((*item)->json);
    const auto* mesh = facts.serverless();
    for (std::size_t i = 0; i < view.servers.size(); ++i) {
      const auto& s = view.servers[i];
      const Path mode = server_path(i) / "tls" / "mode";
      if (!s.hosts.empty() && !serves_many(s.hosts)) {
        auto& f = c.report(*item, server_path(i) / "hosts",
                           "serves only " + host_list(s.hosts) +
                               ": other services' local names are not among them");
        f.fix = set_fix(*item, server_path(i) / "hosts", JsonArray{"*"}, "serve every host");
      }
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
