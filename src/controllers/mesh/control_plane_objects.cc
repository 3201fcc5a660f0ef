#include "controllers/mesh/control_plane.h"

namespace knit::mesh {
namespace {
namespace res = kube::res;

constexpr const char* kBuiltIn = "knit.dev/built-in";

Labels mesh_labels(const ControlPlane& plane, const std::string& component) {
  return {{"app.kubernetes.io/component", component},
          {"app.kubernetes.io/instance", plane.ns},
          {"app.kubernetes.io/managed-by", "maistra-istio-operator"},
          {"app.kubernetes.io/part-of", "istio"},
          {"maistra.io/owner", plane.ns},
          {"maistra.io/owner-name", plane.name}};
}
Labels plus(Labels a, const Labels& b) {
  for (const auto& [k, v] : b) a[k] = v;
  return a;
}

JsonObject port(const char* name, int number, int target) {
  return {{"name", name}, {"port", number}, {"protocol", "TCP"}, {"targetPort", target}};
}

/// A selector cannot be changed: the Deployment is deleted and made again.
void ensure_deployment(Plan& plan, const World& world, const Key& key, JsonObject want) {
  if (const ObjectPtr old = world.get(key); old != nullptr && !old->deleting()) {
    const Json have = old->parse();
    const Json* old_selector = json::find(have, {"spec", "selector", "matchLabels"});
    const Json wanted(want);
    const Json* selector = json::find(wanted, {"spec", "selector", "matchLabels"});
    if (old_selector != nullptr && selector != nullptr &&
        json::canonical(*old_selector) != json::canonical(*selector)) {
      plan.remove(old);
      return;
    }
  }
  plan.ensure(world, key, std::move(want));
}

struct RoleDeployment {
  std::string name, account, container, role;
  Labels labels, selector, pod_labels, pod_annotations;
  std::vector<int> ports;
};
void ensure_role(Plan& plan, const World& world, const ControlPlane& plane, const Json& smcp,
                 const RoleDeployment& role) {
  plan.ensure(world, key_of(res::serviceaccounts(), plane.ns, role.account),
              object("v1", "ServiceAccount", {plane.ns, role.account, role.labels, {}, &smcp}));
  JsonArray ports;
  for (const int p : role.ports) {
    ports.push_back(JsonObject{{"containerPort", p}, {"protocol", "TCP"}});
  }
  JsonObject want = object("apps/v1", "Deployment",
                           {plane.ns, role.name, role.labels, {{kBuiltIn, "true"}}, &smcp});
  want["spec"] = JsonObject{
      {"replicas", 1},
      {"selector", JsonObject{{"matchLabels", to_json(role.selector)}}},
      {"template",
       JsonObject{
           {"metadata",
            JsonObject{{"labels", to_json(plus(role.selector, role.pod_labels))},
                       {"annotations", to_json(plus(role.pod_annotations,
                                                    {{kBuiltIn, "true"},
                                                     {"sidecar.istio.io/inject", "false"}}))}}},
           {"spec", JsonObject{{"serviceAccountName", role.account},
                               {"containers",
                                JsonArray{JsonObject{{"name", role.container},
                                                     {"image", std::string(kRoleImage) + role.role},
                                                     {"ports", std::move(ports)}}}}}}}}};
  // Scaling a built-in role is the user's: replicas is only set at creation.
  const Key key = key_of(res::deployments(), plane.ns, role.name);
  if (world.has(key)) want["spec"].get_object().erase("replicas");
  ensure_deployment(plan, world, key, std::move(want));
}

/// Creates it, or keeps spec and data; removed when `wanted` is false.
void keep(Plan& plan, const World& world, bool wanted, const Key& key, const Json& smcp,
          JsonObject want) {
  if (wanted) {
    plan.ensure(world, key, std::move(want));
  } else {
    remove_owned(plan, world, key, json::str(smcp, {"metadata", "uid"}));
  }
}

}  // namespace

void plan_policies(Plan& plan, const World& world, const ControlPlane& plane, const Json& smcp) {
  const Labels labels = mesh_labels(plane, "mesh-config");
  JsonObject policy = object("security.istio.io/v1", "PeerAuthentication",
                             {plane.ns, "default", labels, {}, &smcp});
  policy["spec"] = JsonObject{{"mtls", JsonObject{{"mode", plane.mtls ? "STRICT" : "PERMISSIVE"}}}};
  // A PeerAuthentication that a user wrote there is the user's.
  const Key policy_key = key_of(res::peerauthentications(), plane.ns, "default");
  const ObjectPtr existing = world.get(policy_key);
  if (existing == nullptr ||
      (existing->controller() != nullptr && existing->controller()->uid == plane.uid)) {
    plan.ensure(world, policy_key, std::move(policy));
  }
  const auto rule = [&](const std::string& name, const std::string& host, const char* mode) {
    JsonObject want =
        object("networking.istio.io/v1", "DestinationRule", {plane.ns, name, labels, {}, &smcp});
    want["spec"] = JsonObject{{"host", host},
                              {"trafficPolicy", JsonObject{{"tls", JsonObject{{"mode", mode}}}}}};
    keep(plan, world, plane.mtls, key_of(res::destinationrules(), plane.ns, name), smcp,
         std::move(want));
  };
  rule("default", "*.cluster.local", "ISTIO_MUTUAL");
  rule("api-server", "kubernetes.default.svc.cluster.local", "DISABLE");
}

void plan_configuration(Plan& plan, const World& world, const ControlPlane& plane, const Json& smcp,
                        const std::string& root_pem) {
  const Labels labels = mesh_labels(plane, "istio-discovery");
  const auto flag = [](bool b) { return b ? "true" : "false"; };
  std::string mesh = "defaultConfig:\n  discoveryAddress: istiod-" + plane.name + "." + plane.ns +
                     ".svc:15012\n  terminationDrainDuration: " + go_duration(plane.drain) +
                     "\nenableAutoMtls: true\noutboundTrafficPolicy:\n  mode: " +
                     (plane.registry_only ? "REGISTRY_ONLY" : "ALLOW_ANY") +
                     "\nrootNamespace: " + plane.ns + "\ntrustDomain: " + plane.trust_domain + "\n";
  std::string values = std::string("{\"protocolDetection\":{\"inbound\":") +
                       flag(plane.sniff_inbound) + ",\"outbound\":" + flag(plane.sniff_outbound) +
                       "}}";
  JsonObject config =
      object("v1", "ConfigMap", {plane.ns, "istio-" + plane.name, labels, {}, &smcp});
  config["data"] = JsonObject{
      {"mesh", std::move(mesh)}, {"meshNetworks", "networks: {}"}, {"knit", std::move(values)}};
  plan.ensure(world, key_of(res::configmaps(), plane.ns, "istio-" + plane.name), std::move(config));
  JsonObject root = object("v1", "ConfigMap",
                           {plane.ns,
                            "istio-ca-root-cert",
                            {{"istio.io/config", "true"}, {"maistra.io/owner", plane.ns}},
                            {},
                            &smcp});
  root["data"] = JsonObject{{"root-cert.pem", root_pem}};
  plan.ensure(world, key_of(res::configmaps(), plane.ns, "istio-ca-root-cert"), std::move(root));
}

void plan_istiod(Plan& plan, const World& world, const ControlPlane& plane, const Json& smcp) {
  const std::string name = "istiod-" + plane.name;
  RoleDeployment role;
  role.name = name;
  role.account = name;
  role.container = "discovery";
  role.role = "istiod";
  role.labels = plus(mesh_labels(plane, "istio-discovery"),
                     {{"app", "istiod"}, {"istio", "pilot"}, {"istio.io/rev", plane.name}});
  role.selector = {{"app", "istiod"}, {"istio.io/rev", plane.name}};
  role.pod_labels = {{"istio", "pilot"}, {"maistra-control-plane", plane.ns}};
  role.ports = {8080, 15010, 15012, 15014, 15017};
  ensure_role(plan, world, plane, smcp, role);
  JsonObject service =
      object("v1", "Service", {plane.ns, name, role.labels, {{kBuiltIn, "true"}}, &smcp});
  service["spec"] = JsonObject{
      {"selector", to_json(role.selector)},
      {"ports",
       JsonArray{port("grpc-xds", 15010, 15010), port("https-dns", 15012, 15012),
                 port("https-webhook", 443, 15017), port("http-monitoring", 15014, 15014)}}};
  plan.ensure(world, key_of(res::services(), plane.ns, name), std::move(service));
}

void plan_gateway(Plan& plan, const World& world, const ControlPlane& plane, const Json& smcp,
                  const std::string& which, const GatewayValues& values) {
  const std::string name = "istio-" + which + "gateway";
  const std::string account = name + "-service-account";
  if (!values.enabled) {
    remove_owned(plan, world, key_of(res::deployments(), plane.ns, name), plane.uid);
    remove_owned(plan, world, key_of(res::services(), plane.ns, name), plane.uid);
    remove_owned(plan, world, key_of(res::serviceaccounts(), plane.ns, account), plane.uid);
    remove_owned(plan, world, key_of(res::networkpolicies(), plane.ns, name), plane.uid);
    remove_owned(plan, world, key_of(res::oroutes(), plane.ns, name), plane.uid);
    return;
  }
  RoleDeployment role;
  role.name = name;
  role.account = account;
  role.container = "istio-proxy";
  role.role = name;
  role.selector = plus({{"app", name}, {"istio", which + "gateway"}}, values.labels);
  role.labels = plus(plus(mesh_labels(plane, "istio-" + which), {{"istio.io/rev", plane.name}}),
                     role.selector);
  role.pod_labels = {{"maistra-control-plane", plane.ns},
                     {"maistra.io/gateway", name + "." + plane.ns},
                     {"istio.io/rev", plane.name},
                     {"service.istio.io/canonical-name", name},
                     {"service.istio.io/canonical-revision", "latest"}};
  role.ports = {15021, 8080, 8443, 15090};
  ensure_role(plan, world, plane, smcp, role);

  JsonArray ports = values.ports;
  if (ports.empty()) {
    if (which == "ingress") ports.push_back(port("status-port", 15021, 15021));
    ports.push_back(port("http2", 80, 8080));
    ports.push_back(port("https", 443, 8443));
  }
  JsonObject service =
      object("v1", "Service",
             {plane.ns, name, role.labels, plus({{kBuiltIn, "true"}}, values.annotations), &smcp});
  service["spec"] = JsonObject{{"type", values.service_type},
                               {"selector", to_json(plus(role.selector, values.selector))},
                               {"ports", std::move(ports)}};
  plan.ensure(world, key_of(res::services(), plane.ns, name), std::move(service));

  // The router gives it a host.
  JsonObject route =
      object("route.openshift.io/v1", "Route", {plane.ns, name, role.labels, {}, &smcp});
  route["spec"] = JsonObject{{"to", JsonObject{{"kind", "Service"}, {"name", name}}},
                             {"port", JsonObject{{"targetPort", "http2"}}}};
  keep(plan, world, which == "ingress" && values.route, key_of(res::oroutes(), plane.ns, name),
       smcp, std::move(route));

  JsonObject policy = object("networking.k8s.io/v1", "NetworkPolicy",
                             {plane.ns,
                              name,
                              role.labels,
                              {{"knit.dev/enforced", "false"}, {"maistra.io/internal", "true"}},
                              &smcp});
  policy["spec"] = JsonObject{{"podSelector", JsonObject{{"matchLabels", to_json(role.selector)}}},
                              {"policyTypes", JsonArray{"Ingress"}},
                              {"ingress", JsonArray{JsonObject{}}}};
  keep(plan, world, plane.manage_network_policy, key_of(res::networkpolicies(), plane.ns, name),
       smcp, std::move(policy));
}

void plan_network_policies(Plan& plan, const World& world, const ControlPlane& plane,
                           const std::string& ns, const Json* owner, bool wanted) {
  const Labels labels = mesh_labels(plane, "istio-discovery");
  const auto policy = [&](const std::string& name, JsonObject pods, JsonObject from) {
    const Key key = key_of(res::networkpolicies(), ns, name);
    if (!wanted) {
      const ObjectPtr old = world.get(key);
      if (old != nullptr && !old->deleting() && old->label("maistra.io/owner") == plane.ns) {
        plan.remove(old);
      }
      return;
    }
    JsonObject want = object("networking.k8s.io/v1", "NetworkPolicy",
                             {ns, name, labels, {{"knit.dev/enforced", "false"}}, owner});
    want["spec"] = JsonObject{
        {"podSelector", std::move(pods)},
        {"policyTypes", JsonArray{"Ingress"}},
        {"ingress",
         JsonArray{JsonObject{
             {"from", JsonArray{JsonObject{{"namespaceSelector",
                                            JsonObject{{"matchLabels", std::move(from)}}}}}}}}}};
    plan.ensure(world, key, std::move(want));
  };
  policy("istio-mesh-" + plane.name, {}, {{"maistra.io/member-of", plane.ns}});
  policy("istio-expose-route-" + plane.name,
         {{"matchLabels", JsonObject{{"maistra.io/expose-route", "true"}}}},
         {{"network.openshift.io/policy-group", "ingress"}});
}

}  // namespace knit::mesh
