// Revisions: what activator and queue-proxy need to know.
#include <algorithm>

#include "base/hash.h"
#include "controllers/core/workloads/pod_admission.h"
#include "controllers/mesh/compile/compile.h"

namespace knit::mesh {
namespace {
namespace res = kube::res;
namespace pc = proxy_config;

std::string queue_env(const Json& pod_spec, std::string_view variable) {
  for (const Json& c : json::array(pod_spec, {"containers"})) {
    if (json::str(c, {"name"}) != "queue-proxy") continue;
    for (const Json& e : json::array(c, {"env"})) {
      if (json::str(e, {"name"}) == variable) return text(e, {"value"});
    }
  }
  return {};
}

/// A setting as queue-proxy gets it: from the Deployment, which a revision owns.
std::string queue_setting(const World& world, const std::string& ns, const Json& revision,
                          std::string_view variable) {
  for (const ObjectPtr& d :
       world.owned(res::deployments(), ns, json::str(revision, {"metadata", "uid"}))) {
    const Json deployment = d->parse();
    const Json* spec = json::find(deployment, {"spec", "template", "spec"});
    if (spec == nullptr) continue;
    if (auto value = queue_env(*spec, variable); !value.empty()) return value;
  }
  return {};
}

/// What the revision's Deployment makes next: its template as admission will turn it out.
std::optional<pc::Workload> next_pod(const World& world, const std::string& ns,
                                     const Json& revision) {
  for (const ObjectPtr& d :
       world.owned(res::deployments(), ns, json::str(revision, {"metadata", "uid"}))) {
    if (d->deleting()) continue;
    const Json deployment = d->parse();
    const Json* pod_template = json::find(deployment, {"spec", "template"});
    if (pod_template == nullptr) continue;
    Json pod = *pod_template;
    json::set(pod, {"metadata", "namespace"}, Json(ns));
    // A missing service account keeps pods from being made at all: the Revision says so.
    static_cast<void>(controllers::core::admit_pod(world, pod, {}));
    pc::Workload out = workload_of(pod, world);
    out.workload_name.clear();
    return out;
  }
  return std::nullopt;
}

Duration seconds(const Json& revision, std::string_view field) {
  const std::int64_t s = json::i64(revision, {"spec", field});
  return std::chrono::seconds(std::clamp<std::int64_t>(s, 0, 1'000'000));
}

}  // namespace

std::optional<pc::Revision> compile_revision(const std::string& full, const World& world) {
  const auto [ns, name] = split_name(full);
  const Json revision = world.view(key_of(res::revisions(), ns, name));
  if (revision.is_null()) return std::nullopt;
  pc::Revision out;
  out.service = text(revision, {"metadata", "labels", "serving.knative.dev/service"});
  out.configuration = text(revision, {"metadata", "labels", "serving.knative.dev/configuration"});
  out.container_concurrency = static_cast<std::uint32_t>(
      std::clamp<std::int64_t>(json::i64(revision, {"spec", "containerConcurrency"}), 0, 1000));
  out.timeout = seconds(revision, "timeoutSeconds");
  out.response_start_timeout = seconds(revision, "responseStartTimeoutSeconds");
  out.idle_timeout = seconds(revision, "idleTimeoutSeconds");
  for (const Json& c : json::array(revision, {"spec", "containers"})) {
    const JsonArray& ports = json::array(c, {"ports"});
    if (ports.empty()) continue;
    const std::int64_t port = json::i64(ports[0], {"containerPort"});
    if (port > 0 && port <= 65535) out.user_port = static_cast<std::uint16_t>(port);
    out.h2c = json::str(ports[0], {"name"}) == "h2c";
    break;
  }
  const Json sks = world.view(key_of(res::sks(), ns, name));
  out.proxy_mode = json::str(sks, {"spec", "mode"}, "Proxy") != "Serve";
  for (const ObjectPtr& pod :
       world.labelled(res::pods(), ns, "serving.knative.dev/revision", name)) {
    if (!pod->deleting()) out.pods.push_back(pod->uid());
  }
  std::sort(out.pods.begin(), out.pods.end());
  out.sks_hash = hash::hex(hash::sha256(text(sks, {"metadata", "uid"}) + "/" +
                                        std::to_string(json::i64(sks, {"metadata", "generation"})) +
                                        (out.proxy_mode ? "/Proxy" : "/Serve"))
                               .substr(0, 8));
  out.readiness_probe_json = queue_setting(world, ns, revision, "SERVING_READINESS_PROBE");
  // Source: spec/serving.md 3, config-observability.
  const auto observability =
      json::parse(queue_setting(world, ns, revision, "OBSERVABILITY_CONFIG"));
  if (observability && json::str(*observability, {"logging.enable-request-log"}) == "true") {
    out.request_log_template = json::str(*observability, {"logging.request-log-template"});
  }
  out.next_pod = next_pod(world, ns, revision);
  return out;
}

}  // namespace knit::mesh
