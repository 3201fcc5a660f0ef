// A simulated world with the mesh controllers, the compiler, and the least of Kubernetes that they
// need: one pod per Deployment. For tests.
#pragma once

#include <fstream>
#include <sstream>

#include "base/yaml.h"
#include "controllers/mesh/admission.h"
#include "controllers/mesh/compile/compiler.h"
#include "controllers/mesh/register.h"
#include "reconcile/sim_world.h"

namespace knit::mesh {

/// Deployment NAME → Pod NAME-0, bound to the node; availableReplicas follow its readiness.
inline reconcile::Planner one_pod_per_deployment() {
  namespace res = kube::res;
  reconcile::Planner p;
  p.name = "test-deployment";
  p.owns = res::deployments();
  p.plan = [](const World& world, const Key& key, Instant) {
    Plan plan;
    const Key pod_key = key_of(res::pods(), key.ns, key.name + "-0");
    const ObjectPtr pod = world.get(pod_key);
    const ObjectPtr object = world.get(key);
    const Json deployment = object ? object->parse() : Json();
    const bool gone = object == nullptr || object->deleting();
    const bool foreign =
        pod && !gone && (pod->controller() == nullptr || pod->controller()->uid != object->uid());
    if (gone || foreign || json::i64(deployment, {"spec", "replicas"}, 1) == 0) {
      if (pod && !pod->deleting()) plan.remove(pod, 0);
    } else if (!pod) {
      JsonObject want = mesh::object("v1", "Pod", {key.ns, pod_key.name, {}, {}, &deployment});
      for (const char* field : {"labels", "annotations"}) {
        want["metadata"].get_object()[field] =
            json::object(deployment, {"spec", "template", "metadata", field});
      }
      want["spec"] = json::object(deployment, {"spec", "template", "spec"});
      want["spec"].get_object()["nodeName"] = "knit";
      plan.create(pod_key, std::move(want));
    }
    if (!gone) {
      const bool ready = pod && !foreign && condition_status(pod->parse(), "Ready") == "True";
      plan.status(
          key, JsonObject{{"observedGeneration", json::i64(deployment, {"metadata", "generation"})},
                          {"availableReplicas", ready ? 1 : 0}});
    }
    return plan;
  };
  p.triggers.push_back(
      {res::pods(), [](const World&, const ObjectPtr& before, const ObjectPtr& after) {
         Key key = (after ? after : before)->key();
         key.resource = res::deployments();
         if (key.name.ends_with("-0")) key.name.resize(key.name.size() - 2);
         return std::vector<Key>{key};
       }});
  return p;
}

struct MeshWorld : reconcile::SimWorld {
  MeshSettings settings;
  std::vector<ConfigDelta> deltas;
  std::unique_ptr<Compiler> compiler;

  MeshWorld() {
    settings.apps_domain = "apps.openshift.example.com";
    settings.mesh_root_pem = [](const std::string& mesh) { return "root of " + mesh; };
    backend.set_admit(
        [](const World& seen, const Key& key, Json& object, const Json* before) -> Result<void> {
          const auto admission = admit_mesh_object(seen, key, object, before);
          if (!admission.errors.empty()) {
            return Error(Code::InvalidArgument, admission.errors.front());
          }
          return {};
        });
    register_mesh(driver, settings);
    driver.add(one_pod_per_deployment());
    compiler =
        std::make_unique<Compiler>(settings, [this](const ConfigDelta& d) { deltas.push_back(d); });
  }
  /// The node's objects, planners, the compiler and some namespaces.
  void begin(const std::vector<std::string>& namespaces = {"istio-system", "default",
                                                           "knative-serving", "knative-eventing"}) {
    start();
    backend.subscribe([this](const reconcile::Change& change) {
      compiler->changed(*backend.snapshot(), change);
      if (!flushing_)
        loop.post([this] {
          flushing_ = false;
          compiler->flush(*backend.snapshot());
        });
      flushing_ = true;
    });
    compiler->start(*backend.snapshot());
    for (const auto& ns : namespaces) make_namespace(ns);
  }
  void make_namespace(const std::string& ns) {
    const auto made =
        apply(kube::res::namespaces(), Json(object("v1", "Namespace", {"", ns, {}, {}, nullptr})));
    KNIT_CHECK(made.has_value());
  }
  void apply_ok(kube::Resource resource, const Json& manifest) {
    const auto r = apply(resource, manifest);
    if (!r) ADD_FAILURE() << r.error().message();
    run(std::chrono::seconds(1));
  }
  void apply_ok(kube::Resource resource, const char* manifest) {
    apply_ok(resource, json::parse(manifest).value());
  }
  /// One file of tests/seed with its placeholders filled.
  static std::vector<Json> seed(const std::string& file) {
    std::ifstream in("tests/seed/" + file);
    EXPECT_TRUE(in.good()) << file;
    std::stringstream text;
    text << in.rdbuf();
    std::string filled = text.str();
    const std::pair<std::string, std::string> placeholders[] = {
        {"<wildcard_certs>", "wildcard-certs"},
        {"<your-istio-namespace>", "istio-system"},
        {"your-OpenShift-projects", "default"}};
    for (const auto& [from, to] : placeholders) {
      for (auto at = filled.find(from); at != std::string::npos; at = filled.find(from, at)) {
        filled.replace(at, from.size(), to);
      }
    }
    std::vector<Json> out;
    for (const auto& document : yaml::parse(filled).documents) {
      if (document.root) out.push_back(yaml::to_json(*document.root).value());
    }
    return out;
  }
  void apply_seed_mesh() {
    namespace res = kube::res;
    apply_ok(res::smcps(), seed("smcp.yaml")[0]);
    apply_ok(res::smmrs(), seed("servicemesh-member-roll.yaml")[0]);
    const auto gateways = seed("istio-knative-gateways.yaml");
    apply_ok(res::gateways(), gateways[0]);
    apply_ok(res::gateways(), gateways[1]);
    apply_ok(res::services(), gateways[2]);
  }
  std::string uid(kube::Resource resource, const std::string& ns, const std::string& name) {
    const auto o = backend.get(key_of(resource, ns, name));
    return o ? o->uid() : std::string();
  }
  Json view_of(kube::Resource resource, const std::string& ns, const std::string& name) {
    return backend.view(key_of(resource, ns, name));
  }
  int gateways_in_config() const {
    int n = 0;
    for (const auto& [ref, resource] : compiler->current()) {
      n += ref.type == proxy_config::Type::Gateway ? 1 : 0;
    }
    return n;
  }
  std::vector<std::string> list_names(kube::Resource resource, const std::string& ns) {
    std::vector<std::string> out;
    for (const auto& o : backend.list(resource, ns)) out.push_back(o->key().name);
    return out;
  }
  /// The reason of a condition: "True Configured".
  std::string condition(kube::Resource resource, const std::string& ns, const std::string& name,
                        std::string_view type) {
    const Json o = view_of(resource, ns, name);
    for (const Json& c : json::array(o, {"status", "conditions"})) {
      if (json::str(c, {"type"}) == type) {
        return text(c, {"status"}) + " " + text(c, {"reason"});
      }
    }
    return "absent";
  }
  template <class T>
  std::optional<T> config(proxy_config::Type type, const std::string& name) {
    const auto it = compiler->current().find({type, name});
    if (it == compiler->current().end()) return std::nullopt;
    return codec::decode<T>(it->second.body).value();
  }

 private:
  bool flushing_ = false;
};

}  // namespace knit::mesh
