// K204, K205, K208, K210: the Services in front of gateway pods.
#include "check/helpers.h"

namespace knit::check {
namespace {

using yaml::Path;

// ---- K204, K205

void gateway_services(Context& c, bool types) {
  const Facts& facts = c.facts();
  for (const auto& service : c.list("Service")) {
    const auto view = mesh_model::decode_service(service->json);
    if (view.selector.empty()) continue;
    const GatewayPod* reached = nullptr;
    for (const auto* pod : facts.pods_with(view.selector)) {
      if (pod->view.ns == service->ns) reached = pod;
    }
    if (reached == nullptr) continue;
    if (types) {
      const bool exposed = view.type == "NodePort" || view.type == "LoadBalancer" ||
                           !json::array(service->json, {"spec", "externalIPs"}).empty();
      if (!exposed) continue;
      const bool by_type = view.type == "NodePort" || view.type == "LoadBalancer";
      auto& f =
          c.report(service, by_type ? Path{"spec", "type"} : Path{"spec", "externalIPs"},
                   by_type ? "type " + view.type + " exposes the mesh's ingress gateway directly"
                           : "externalIPs expose the mesh's ingress gateway directly");
      f.evidence.push_back({reached->from->ref(), "its pods are behind this Service"});
      if (by_type) {
        f.fix = {Fix::Type::Patch,
                 {{Edit::Op::Set, service, Path{"spec", "type"}, "ClusterIP"}},
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
        auto& f = c.report(
            service, name,
            "port 443 is named \"" + p.name + "\": passthrough Routes target the name https");
        f.fix = {
            Fix::Type::Patch, {{Edit::Op::Set, service, name, "https"}}, "name the port https"};
      }
      if (p.port == 80 && !http2) {
        auto& f =
            c.report(service, name,
                     "port 80 is named \"" + p.name + "\": edge Routes target the name http2");
        f.fix = {
            Fix::Type::Patch, {{Edit::Op::Set, service, name, "http2"}}, "name the port http2"};
      }
    }
  }
  if (!types) return;
  for (const auto& smcp : c.list("maistra.io/ServiceMeshControlPlane")) {
    const Path path{"spec", "gateways", "ingress", "service", "type"};
    const auto type = json::str(smcp->json, {"spec", "gateways", "ingress", "service", "type"});
    if (type != "NodePort" && type != "LoadBalancer") continue;
    auto& f = c.report(
        smcp, path, "type " + std::string(type) + " exposes the mesh's ingress gateway directly");
    f.fix = {Fix::Type::Patch,
             {{Edit::Op::Set, smcp, path, "ClusterIP"}},
             "set type ClusterIP; Knative services are reached through Routes"};
  }
}

// ---- K208

/// "svc.ns.svc.cluster.local" of the local gateway in config.istio.
void local_service(Context& c) {
  const Facts& facts = c.facts();
  const auto names = serverless_gateways(c.objects());
  for (const auto& serving : c.list("operator.knative.dev/KnativeServing")) {
    for (const auto& entry : operator_config(serving->json, "istio")) {
      if (!entry.key.starts_with("local-gateway.") || Context::is_placeholder(entry.value))
        continue;
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
        auto& f = c.report(
            service, Path{"metadata", "labels"},
            "label " + std::string(mesh_model::kNoPortTranslation) +
                " is missing: Gateways on port 80 may be bound to this Service's target port");
        f.fix = {Fix::Type::Patch, {{Edit::Op::Set, service, label, "true"}}, "add the label"};
      }
      const auto* gateway = facts.gateway(gateway_name(entry.key, "local-gateway."));
      if (gateway == nullptr) continue;
      const auto gateway_view = mesh_model::decode_gateway((*gateway)->json);
      std::set<std::uint32_t> numbers;
      for (const auto& s : gateway_view.servers) numbers.insert(s.port);
      if (std::none_of(view.ports.begin(), view.ports.end(),
                       [](const auto& p) { return p.port == 80; })) {
        c.report(service, Path{"spec", "ports"},
                 "has no port 80: the local names of services are called there");
      }
      std::size_t i = 0;
      for (const auto& p : view.ports) {
        const Path target = Path{"spec", "ports"} / i / "targetPort";
        ++i;
        if (p.target_name.empty() && !numbers.contains(p.target_port)) {
          auto& f = c.report(service, target,
                             "targetPort " + std::to_string(p.target_port) +
                                 " is no port of Gateway " + gateway_view.full_name());
          if (numbers.size() == 1) {
            f.fix = {Fix::Type::Patch,
                     {{Edit::Op::Set, service, target, *numbers.begin()}},
                     "set targetPort to the Gateway's port"};
          }
        }
      }
      if (view.selector.empty()) {
        c.report(service, Path{"spec", "selector"}, "has no selector: it reaches no pod");
        continue;
      }
      std::set<std::string> by_service;
      std::set<std::string> by_gateway;
      for (const auto* pod : facts.pods_with(view.selector)) {
        if (pod->view.ns == ns) by_service.insert(pod->view.uid);
      }
      for (const auto* pod : facts.selected(gateway_view)) by_gateway.insert(pod->view.uid);
      if (facts.gateway_pods.empty()) {
        c.unknown(service, Path{"spec", "selector"}, "no gateway workload is in the input");
      } else if (by_service != by_gateway && !by_gateway.empty()) {
        c.report(service, Path{"spec", "selector"},
                 "reaches other pods than Gateway " + gateway_view.full_name() + " selects");
      }
    }
  }
}

// ---- K210

void probe_service(Context& c) {
  const Facts& facts = c.facts();
  const auto names = serverless_gateways(c.objects());
  for (const auto& [view, item] : facts.gateways) {
    if (std::find(names.external.begin(), names.external.end(), view.full_name()) ==
            names.external.end() ||
        facts.selected(view).empty()) {
      continue;
    }
    std::string found;
    std::size_t count = 0;
    for (const auto& s : facts.services) {
      if (view.selector.empty() || !mesh_model::selects(view.selector, s.labels)) continue;
      ++count;
      if (count <= 10) found += (found.empty() ? "" : ", ") + s.ns + "/" + s.name;
    }
    if (count == 1) continue;
    if (count == 0 && !c.objects().knows("Service")) {
      c.unknown(item, Path{"spec", "selector"},
                "no Service with the labels of this selector is in the input");
    } else {
      c.report(item, Path{"spec", "selector"},
               count == 0 ? "no Service has the labels of this selector: nothing is probed"
                          : "several Services have the labels of this selector: " + found);
    }
  }
}

}  // namespace

void add_gateway_service_rules(std::vector<Rule>& out) {
  out.push_back(
      {"K204",
       {"GW-05"},
       {"IST0162"},
       Severity::Error,
       Offline::Yes,
       "the mesh's ingress gateway is reached through Routes only",
       "メッシュの Ingress ゲートウェイには Route 経由でのみ到達できる",
       "an unsupported entrance beside the router; client addresses differ",
       "Serverless on Service Mesh supports entry through OpenShift Routes only, so no Service of "
       "type "
       "NodePort or LoadBalancer, and none with externalIPs, may select the gateway pods.",
       "set type ClusterIP; Knative services are reached through Routes",
       {"Service"},
       {},
       [](Context& c) { gateway_services(c, true); }});
  out.push_back({"K205",
                 {},
                 {},
                 Severity::Error,
                 Offline::Yes,
                 "the gateway Service names its ports https and http2",
                 "ゲートウェイ Service のポート名は https と http2",
                 "the Route is admitted and answers 503",
                 "Serverless makes Routes that target the gateway Service's ports by name: https "
                 "for passthrough, "
                 "http2 for edge.",
                 "name the ports https and http2",
                 {"Service"},
                 {},
                 [](Context& c) { gateway_services(c, false); }});
  out.push_back(
      {"K208",
       {"GW-08", "GW-09"},
       {},
       Severity::Error,
       Offline::Yes,
       "the local gateway's Service leads to the local Gateway",
       "ローカルゲートウェイの Service はローカル Gateway に到達する",
       "cluster-local calls answer 404 or are refused; services wait for the load balancer",
       "The Service named in config.istio needs the label "
       "experimental.istio.io/disable-gateway-port-translation, the Gateway's port as targetPort, "
       "and a "
       "selector that reaches the same pods as the Gateway's (the text of the selectors may "
       "differ).",
       "create the Service as in the procedure",
       {"Service", kGatewayKind},
       {},
       local_service});
  out.push_back({"K210",
                 {"GW-04"},
                 {},
                 Severity::Warning,
                 Offline::Partly,
                 "one Service carries the labels that the ingress Gateway selects",
                 "Ingress Gateway が選択するラベルを持つ Service は一つ",
                 "the service is Ready but its URL answers 503, or it is never Ready",
                 "net-istio finds the pods to probe through a Service whose labels match the "
                 "Gateway's selector, and "
                 "takes the first of several.",
                 "give the gateway's Service, and no other, the labels of the selector",
                 {"Service", kGatewayKind},
                 {},
                 probe_service});
}

}  // namespace knit::check
