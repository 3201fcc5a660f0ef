#include "controllers/mesh/gateway_status.h"

#include <algorithm>

#include "controllers/mesh/compile/compile.h"
#include "mesh_model/gateways.h"
#include "pki/secrets.h"

namespace knit::mesh {
namespace {
namespace res = kube::res;

std::string print(const Labels& labels) {
  std::string out;
  for (const auto& [k, v] : labels) out += (out.empty() ? "" : ",") + k + "=" + v;
  return out;
}

struct Verdict {
  ConditionValue condition;
  std::optional<WallTime> expires;
};

Verdict no(std::string reason, std::string message) {
  return {{"Programmed", "False", std::move(reason), std::move(message)}, std::nullopt};
}

Verdict judge_secret(const World& world, const std::string& ns, const std::string& name) {
  const Json secret = world.view(key_of(res::secrets(), ns, name));
  if (secret.is_null()) {
    return no("SecretMissing", "Secret " + ns + "/" + name +
                                   " does not exist: TLS handshakes are reset until it does; make "
                                   "it in the namespace of the gateway pods");
  }
  const auto material = pki::tls_material(secret);
  if (!material) {
    return no("SecretInvalid", "Secret " + ns + "/" + name + ": " + material.error().message());
  }
  const auto chain = pki::parse_certificates(material->credential.chain_pem);
  if (chain && chain->front().not_after <= world.wall_now()) {
    return no("SecretExpired", "the certificate in Secret " + ns + "/" + name + " expired at " +
                                   rfc3339(chain->front().not_after));
  }
  Verdict ok{{"Programmed", "True", "Programmed", ""}, std::nullopt};
  if (chain) ok.expires = chain->front().not_after;
  return ok;
}

Verdict judge(const World& world, const mesh_model::GatewayView& gateway) {
  const std::string mesh = mesh_of(world, gateway.ns);
  if (mesh.empty()) {
    return no("NotInMesh",
              "namespace " + gateway.ns + " is in no mesh: list it in a ServiceMeshMemberRoll");
  }
  std::vector<Json> pods;
  for (Json& pod : gateway_pods(world, mesh)) {
    if (mesh_model::selects(gateway.selector, mesh_model::labels_of(pod))) {
      pods.push_back(std::move(pod));
    }
  }
  if (pods.empty()) {
    return no("NoMatchingPods", "no gateway pod of mesh " + mesh + " has the labels " +
                                    print(gateway.selector) +
                                    ": set gateways.ingress.service.metadata.labels of the "
                                    "ServiceMeshControlPlane");
  }
  const auto services = services_in(world, mesh);
  const auto gateways = gateways_of(world, mesh);
  for (const Json& pod : pods) {
    const auto merge = mesh_model::merge_gateways(mesh_model::decode_pod(pod), services, gateways);
    for (const auto& dropped : merge.dropped) {
      if (dropped.gateway == gateway.full_name()) return no("ServerDropped", dropped.reason);
    }
  }
  Verdict result{{"Programmed", "True", "Programmed",
                  "listens on " + std::to_string(pods.size()) + " gateway pod" +
                      (pods.size() == 1 ? "" : "s")},
                 std::nullopt};
  for (const auto& server : gateway.servers) {
    if (!carried_out(server)) {
      return no("UnsupportedTls", "server \"" + server.port_name +
                                      "\": Knit carries out SIMPLE, MUTUAL and ISTIO_MUTUAL");
    }
    if (server.credential.empty()) continue;
    auto verdict = judge_secret(world, mesh, server.credential);
    if (verdict.condition.status != "True") return verdict;
    if (!result.expires || *verdict.expires < *result.expires) result.expires = verdict.expires;
  }
  return result;
}

}  // namespace

bool is_plain_http(const mesh_model::GatewayServer& server) {
  return server.protocol == "HTTP" || server.protocol == "HTTP2" || server.protocol == "GRPC" ||
         server.protocol == "GRPC-WEB";
}

bool carried_out(const mesh_model::GatewayServer& server) {
  using enum mesh_model::TlsMode;
  return server.tls == None || server.tls == Simple || server.tls == Mutual ||
         server.tls == IstioMutual || (server.tls == Passthrough && is_plain_http(server));
}

std::vector<std::string> dropped_servers(const World& world,
                                         const mesh_model::GatewayView& gateway) {
  std::vector<std::string> out;
  const std::string mesh = mesh_of(world, gateway.ns);
  if (mesh.empty()) return out;
  auto gateways = gateways_of(world, mesh);
  std::erase_if(gateways, [&](const mesh_model::GatewayView& g) {
    return g.full_name() == gateway.full_name();
  });
  gateways.push_back(gateway);
  const auto services = services_in(world, mesh);
  for (const Json& pod : gateway_pods(world, mesh)) {
    const auto merge = mesh_model::merge_gateways(mesh_model::decode_pod(pod), services, gateways);
    for (const auto& dropped : merge.dropped) {
      if (dropped.gateway == gateway.full_name() &&
          std::find(out.begin(), out.end(), dropped.reason) == out.end()) {
        out.push_back(dropped.reason);
      }
    }
  }
  return out;
}

Plan plan_gateway_status(const World& world, const Key& key, Instant) {
  Plan plan;
  const ObjectPtr found = world.get(key);
  if (found == nullptr || found->deleting()) return plan;
  const Json gateway = found->parse();
  const Verdict verdict = judge(world, mesh_model::decode_gateway(gateway));
  plan.status(
      key, JsonObject{{"observedGeneration", json::i64(gateway, {"metadata", "generation"})},
                      {"conditions", conditions(gateway, {verdict.condition}, world.wall_now())}});
  if (verdict.expires && *verdict.expires > world.wall_now()) {
    plan.again_in(*verdict.expires - world.wall_now());
  }
  return plan;
}

reconcile::Planner gateway_status_planner() {
  reconcile::Planner p;
  p.name = "gateway-status";
  p.owns = res::gateways();
  p.plan = plan_gateway_status;
  const auto all = [](const World& world) {
    std::vector<Key> keys;
    for (const auto& g : world.list(res::gateways())) keys.push_back(g->key());
    return keys;
  };
  for (const auto resource : {res::gateways(), res::smcps()}) {
    p.triggers.push_back(reconcile::by_any(resource, res::gateways()));
  }
  p.triggers.push_back({res::namespaces(),
                        [all](const World& world, const ObjectPtr& before, const ObjectPtr& after) {
                          const auto of = [](const ObjectPtr& o) {
                            return o ? o->label("maistra.io/member-of") : std::string_view();
                          };
                          return of(before) == of(after) ? std::vector<Key>() : all(world);
                        }});
  p.triggers.push_back(
      {res::pods(), [all](const World& world, const ObjectPtr& before, const ObjectPtr& after) {
         const auto& pod = after ? after : before;
         if (pod->label("maistra.io/gateway").empty()) return std::vector<Key>();
         return all(world);
       }});
  p.triggers.push_back(
      {res::services(), [all](const World& world, const ObjectPtr& before, const ObjectPtr& after) {
         const auto& ns = (after ? after : before)->key().ns;
         if (world.list(res::smcps(), ns).empty()) return std::vector<Key>();
         return all(world);
       }});
  p.triggers.push_back(
      {res::secrets(), [](const World& world, const ObjectPtr& before, const ObjectPtr& after) {
         const auto& key = (after ? after : before)->key();
         std::vector<Key> keys;
         if (world.list(res::smcps(), key.ns).empty()) return keys;
         for (const auto& g : world.list(res::gateways())) {
           for (const auto& s : mesh_model::decode_gateway(g->parse()).servers) {
             if (s.credential == key.name) {
               keys.push_back(g->key());
               break;
             }
           }
         }
         return keys;
       }});
  return p;
}

}  // namespace knit::mesh
