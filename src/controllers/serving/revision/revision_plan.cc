// Revision → Deployment, Images, PodAutoscaler; what they say becomes the Revision's conditions.
// Source: knative/serving pkg/reconciler/revision/{revision,reconcile_resources}.go,
// pkg/apis/serving/v1/revision_lifecycle.go, pkg/apis/serving/k8s_lifecycle.go
#include <algorithm>

#include "controllers/serving/revision/deployment.h"
#include "controllers/serving/serving.h"
#include "controllers/serving/subject.h"

namespace knit::serving {
namespace {
constexpr std::string_view kResources = "ResourcesAvailable";
constexpr std::string_view kContainer = "ContainerHealthy";
constexpr std::string_view kActive = "Active";
constexpr std::string_view kComponent = "revision-controller";
constexpr std::string_view kDeploying = "Deploying";
/// After so long a container that is not ready is worth a word.
constexpr Duration kPatience = std::chrono::seconds(10);

void copy_scale(Subject& s, const Json& pa, std::string_view from, std::string_view to) {
  const auto value = json::opt_i64(pa, {"status", from});
  if (value && *value >= 0) {
    json::set(s.status(), {to}, Json(*value));
  } else {
    json::erase(s.status(), {to});
  }
}

void propagate_autoscaler(Subject& s, const Json& pa) {
  auto& c = s.conditions();
  const bool bad = c.is_false(kResources) || c.is_false(kContainer);
  copy_scale(s, pa, "actualScale", "actualReplicas");
  copy_scale(s, pa, "desiredScale", "desiredReplicas");
  const auto ready = find_condition(pa, "Ready");
  if (!ready) {
    c.mark_unknown(kActive, kDeploying, "");
    if (!bad) c.mark_unknown(kResources, kDeploying, "");
    return;
  }
  const auto target = find_condition(pa, "ScaleTargetInitialized");
  const bool initialized = target && target->is_true();
  const bool named = !json::str(pa, {"status", "serviceName"}).empty();
  if (initialized && !bad) {
    c.mark_true(kResources);
    c.mark_true(kContainer);
  }
  if (c.is_true(kResources) && (!named || !initialized)) {
    c.mark_unknown(kResources, kDeploying, "");
  }
  if (ready->is_unknown()) c.mark_unknown(kActive, ready->reason, ready->message);
  if (ready->is_true()) c.mark_true(kActive);
  if (ready->is_false()) {
    // Only a missed deadline is a failure; a revision without traffic is just idle.
    if (!initialized && !bad && named && ready->reason == "TimedOut") {
      c.mark_false(kResources, "ProgressDeadlineExceeded", "Initial scale was never achieved");
    }
    c.mark_false(kActive, ready->reason, ready->message);
  }
}

void propagate_deployment(Subject& s, const Json& deployment) {
  auto& c = s.conditions();
  const auto progressing = find_condition(deployment, "Progressing");
  const auto failure = find_condition(deployment, "ReplicaFailure");
  if (progressing && progressing->is_false()) {
    c.mark_false(kResources, progressing->reason, progressing->message);
  } else if (failure && failure->is_true()) {
    c.mark_false(kResources, failure->reason, failure->message);
  } else if (!progressing || progressing->is_unknown()) {
    c.mark_unknown(kResources, progressing ? std::string_view(progressing->reason) : kDeploying,
                   progressing ? progressing->message : "");
  } else {
    c.mark_true(kResources);
  }
}

bool timed_out(const Json& deployment) {
  const auto progressing = find_condition(deployment, "Progressing");
  return progressing && progressing->is_false() &&
         progressing->reason == "ProgressDeadlineExceeded";
}

/// One pod of the revision, when none of them is available; else null.
Json unavailable_pod(const Subject& s, const Json& deployment) {
  if (json::i64(deployment, {"spec", "replicas"}, 1) <= 0 ||
      json::i64(deployment, {"status", "availableReplicas"}) != 0) {
    return {};
  }
  const auto pods =
      s.world().labelled(res::pods(), s.key().ns, label::kRevisionUid, uid_of(s.dom()));
  const auto it =
      std::find_if(pods.begin(), pods.end(), [](const ObjectPtr& pod) { return !pod->deleting(); });
  return it == pods.end() ? Json() : (*it)->parse();
}

const Json* user_container(const Subject& s, std::string_view name) {
  for (const auto& container : json::array(s.dom(), {"spec", "containers"})) {
    if (json::str(container, {"name"}, "user-container") == name) return &container;
  }
  return nullptr;
}

void detect_crash(Subject& s, const Json& pod, const Json& deployment,
                  const ServingConfig& config) {
  if (pod.is_null()) return;
  auto& c = s.conditions();
  if (const auto scheduled = find_condition(pod, "PodScheduled");
      scheduled && scheduled->is_false() && !config.deployment.always_schedulable) {
    c.mark_false(kResources, scheduled->reason, scheduled->message);
  }
  for (const auto& status : json::array(pod, {"status", "containerStatuses"})) {
    if (json::str(status, {"name"}) == "queue-proxy") continue;
    if (const Json* end = json::find(status, {"lastState", "terminated"})) {
      const auto code = json::i64(*end, {"exitCode"});
      std::string message(json::str(*end, {"message"}));
      if (message.empty() && code == 0) message = "container exited with no error";
      c.mark_false(kContainer, "ExitCode" + std::to_string(code),
                   "Container failed with: " + message);
    } else if (const Json* wait = json::find(status, {"state", "waiting"}); wait != nullptr) {
      const auto reason = json::str(*wait, {"reason"}), message = json::str(*wait, {"message"});
      // Upstream finds this when it resolves the tag, before there is a pod.
      if (const Json* container = user_container(s, json::str(status, {"name"}));
          container != nullptr && (reason == "ErrImagePull" || reason == "ImagePullBackOff")) {
        c.mark_false(kContainer, "ContainerMissing",
                     "Unable to fetch image \"" + std::string(json::str(*container, {"image"})) +
                         "\": " + std::string(message));
      }
      if (timed_out(deployment)) c.mark_false(kResources, reason, message);
    } else {
      continue;
    }
    break;
  }
}

/// The container that serves requests: the one with ports, else the first.
const Json* serving_container(const Subject& s) {
  const JsonArray& all = json::array(s.dom(), {"spec", "containers"});
  for (const auto& container : all) {
    if (!json::array(container, {"ports"}).empty()) return &container;
  }
  return all.empty() ? nullptr : &all.front();
}

/// Says why a revision is not ready yet: what a container waits for, or that all run and the probe
/// (which is the queue-proxy's) gets no answer. DIFFERS: upstream says "Deploying" until the
/// progress deadline, ten minutes.
void explain_waiting(Subject& s, const Json& pod) {
  auto& c = s.conditions();
  const Json* serving = serving_container(s);
  if (pod.is_null() || serving == nullptr || !c.is_unknown(kResources) || c.is_false(kContainer)) {
    return;
  }
  const std::string name(json::str(*serving, {"name"}, "user-container"));
  std::optional<WallTime> runs_since;
  for (const auto& status : json::array(pod, {"status", "containerStatuses"})) {
    const auto of = json::str(status, {"name"});
    if (user_container(s, of) == nullptr) continue;
    if (const Json* wait = json::find(status, {"state", "waiting"})) {
      const auto reason = json::str(*wait, {"reason"});
      if (reason == "ContainerCreating" || reason == "PodInitializing") return;
      c.mark_unknown(kResources, reason, json::str(*wait, {"message"}));
      return;
    }
    const auto begun = parse_rfc3339(json::str(status, {"state", "running", "startedAt"}));
    if (!begun) return;
    if (of == name) runs_since = *begun;
  }
  if (!runs_since) return;
  const Duration runs = s.world().wall_now() - *runs_since;
  if (runs < kPatience) {
    s.plan().again_in(kPatience - runs);
    return;
  }
  const JsonArray& ports = json::array(*serving, {"ports"});
  const auto port = ports.empty() ? 8080 : json::i64(ports.front(), {"containerPort"}, 8080);
  c.mark_unknown(
      kResources, "ContainersNotReady",
      "container \"" + name + "\" of pod " + std::string(name_of(pod)) +
          " runs, but its readiness probe has not succeeded yet: it must listen on port " +
          std::to_string(port) + " ($PORT) of every address, not only of localhost");
}

/// Fills containerStatuses. False while a digest is not known or cannot be.
bool resolve_digests(Subject& s, const Context& context, const ServingConfig& config) {
  const Json answers = context.settings.resolve_digests
                           ? s.world().signal(reconcile::Signal::Digest, s.key())
                           : Json();
  for (const auto& [list, field] : {std::pair{"containers", "containerStatuses"},
                                    std::pair{"initContainers", "initContainerStatuses"}}) {
    JsonArray statuses;
    for (const auto& container : json::array(s.dom(), {"spec", list})) {
      const std::string image(json::str(container, {"image"}));
      std::string digest = image_of(s.dom(), container);
      const auto& skip = config.deployment.skip_tag_resolving;
      const bool known = digest != image || image.find("@sha256:") != std::string::npos ||
                         std::find(skip.begin(), skip.end(), registry_of(image)) != skip.end() ||
                         !context.settings.resolve_digests;
      if (!known) {
        const auto error = json::str(answers, {image, "error"});
        if (!error.empty()) {
          s.conditions().mark_false(
              kContainer, "ContainerMissing",
              "Unable to fetch image \"" + image + "\": " + std::string(error));
          return false;
        }
        digest = json::str(answers, {image, "digest"});
        if (digest.empty()) {
          s.conditions().mark_unknown(kContainer, "ResolvingDigests", "");
          s.conditions().mark_unknown(kResources, "ResolvingDigests", "");
          return false;
        }
      }
      JsonObject status;
      status["name"] = json::str(container, {"name"});
      status["imageDigest"] = digest;
      statuses.push_back(std::move(status));
    }
    if (!statuses.empty()) json::set(s.status(), {field}, std::move(statuses));
  }
  return true;
}

std::string not_owned(std::string_view kind, std::string_view name) {
  return "There is an existing " + std::string(kind) + " \"" + std::string(name) +
         "\" that we do not own.";
}

void reconcile_revision(Subject& s, Context& context) {
  const World& world = s.world();
  const ServingConfig& config = context.configs.get(world);
  auto& c = s.conditions();
  const bool was_ready = is_ready(s.dom());
  if (!config.revision_url_template.empty()) {
    std::string url = config.revision_url_template;
    constexpr std::string_view kUid = "${REVISION_UID}";
    for (auto at = url.find(kUid); at != std::string::npos; at = url.find(kUid)) {
      url.replace(at, kUid.size(), uid_of(s.dom()));
    }
    json::set(s.status(), {"logUrl"}, Json(url));
  }
  if (!resolve_digests(s, context, config)) return;
  Json revision = s.dom();
  json::set(revision, {"status"}, s.status());

  const std::string deployment = deployment_name(revision);
  const Key deployment_key = s.sibling(res::deployments(), deployment);
  Json pod;
  const auto deployment_object = world.get(deployment_key);
  const Json deployment_dom = world.view(deployment_key);
  if (deployment_object == nullptr) {
    c.mark_unknown(kResources, kDeploying, "");
    c.mark_unknown(kContainer, kDeploying, "");
    s.ensure_child(deployment_key, make_deployment(revision, config));
  } else if (!controlled_by(deployment_object, s.dom())) {
    c.mark_false(kResources, "NotOwned", not_owned("Deployment", deployment));
    return;
  } else {
    Json want = make_deployment(revision, config);
    json::erase(want, {"spec", "replicas"});  // the autoscaler's
    json::erase(want, {"spec", "selector"});  // immutable
    s.ensure_child(deployment_key, std::move(want));
    // At zero the Deployment has nothing to say about whether it could run.
    if (!c.is_false(kActive)) propagate_deployment(s, deployment_dom);
    pod = unavailable_pod(s, deployment_dom);
    detect_crash(s, pod, deployment_dom, config);
    if (json::i64(deployment_dom, {"status", "readyReplicas"}) > 0) c.mark_true(kContainer);
  }
  for (auto& [name, image] : make_images(revision)) {
    const Key key = s.sibling(res::images(), name);
    if (!world.has(key)) s.ensure_child(key, std::move(image));  // upstream never updates them
  }
  const Key pa_key = s.sibling(res::podautoscalers(), s.key().name);
  const auto pa = world.get(pa_key);
  if (pa != nullptr && !controlled_by(pa, s.dom())) {
    c.mark_false(kResources, "NotOwned", not_owned("PodAutoscaler", s.key().name));
    return;
  }
  json::set(revision, {"status", "conditions"}, c.to_json());
  s.ensure_child(pa_key, make_pod_autoscaler(revision, deployment_dom));
  if (pa != nullptr) propagate_autoscaler(s, pa->parse());
  explain_waiting(s, pod);
  if (!was_ready && c.is_true("Ready")) {
    s.event("Normal", "RevisionReady", "Revision becomes ready upon all resources being ready");
  }
}

}  // namespace

reconcile::Planner revision_planner(ContextPtr context) {
  reconcile::Planner planner;
  planner.name = "revision";
  planner.owns = res::revisions();
  planner.plan = [context](const World& world, const Key& key, Instant) {
    const auto object = world.get(key);
    if (object == nullptr || object->deleting() || !installed(world)) return Plan{};
    Subject s(world, object, {std::string(kResources), std::string(kContainer)});
    reconcile_revision(s, *context);
    return s.finish(kComponent);
  };
  planner.triggers = {
      reconcile::by_owner(res::deployments(), res::revisions()),
      reconcile::by_owner(res::podautoscalers(), res::revisions()),
      reconcile::by_owner(res::images(), res::revisions()),
      // Pods, for crash detection.
      {res::pods(), [](const World&, const ObjectPtr& before, const ObjectPtr& after) {
         std::vector<Key> keys;
         const auto& pod = after != nullptr ? after : before;
         const auto revision = pod->label(label::kRevision);
         if (!revision.empty()) {
           keys.push_back({res::revisions(), pod->key().ns, std::string(revision)});
         }
         return keys;
       }}};
  planner.signals = {reconcile::Signal::Digest};
  add_config_triggers(planner);
  return planner;
}

}  // namespace knit::serving
