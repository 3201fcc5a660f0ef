// PodAutoscaler → Metric, ServerlessService and the Deployment's scale.
// Source: knative/serving pkg/reconciler/autoscaling/kpa/{kpa,scaler}.go
#include "autoscaler/scale.h"
#include "controllers/serving/exact.h"
#include "controllers/serving/revision/deployment.h"
#include "controllers/serving/scale/kpa_spec.h"
#include "controllers/serving/serving.h"

namespace knit::serving {
namespace {
using autoscaler::Activity;
constexpr std::string_view kActive = "Active";
constexpr std::string_view kInitialized = "ScaleTargetInitialized";
constexpr std::string_view kSksReady = "SKSReady";
constexpr std::string_view kComponent = "kpa-class-podautoscaler-controller";
constexpr Duration kActivationBuffer = std::chrono::seconds(30);

Activity activity_of(const Conditions& c) {
  if (c.is_true(kActive)) return Activity::Active;
  if (c.is_false(kActive)) return Activity::Inactive;
  return c.is_unknown(kActive) ? Activity::Activating : Activity::Unset;
}

void ensure_sks(Subject& s, autoscaler::SksMode mode, int activators) {
  Json sks = JsonObject();
  json::set(sks, {"apiVersion"}, Json("networking.internal.knative.dev/v1alpha1"));
  json::set(sks, {"kind"}, Json("ServerlessService"));
  json::set(sks, {"metadata", "labels"}, to_json(labels_of(s.dom())));
  json::set(sks, {"metadata", "annotations"}, to_json(annotations_of(s.dom())));
  json::set(sks, {"spec", "mode"}, Json(mode == autoscaler::SksMode::Serve ? "Serve" : "Proxy"));
  json::set(sks, {"spec", "numActivators"}, Json(activators));
  if (const Json* ref = json::find(s.dom(), {"spec", "scaleTargetRef"})) {
    json::set(sks, {"spec", "objectRef"}, *ref);
  }
  json::set(sks, {"spec", "protocolType"},
            Json(json::str(s.dom(), {"spec", "protocolType"}, "http1")));
  s.ensure_child(s.sibling(res::sks(), s.key().name), std::move(sks));
}

void ensure_metric(Subject& s, const autoscaler::Spec& spec, std::string_view scrape_target) {
  Json metric = JsonObject();
  json::set(metric, {"apiVersion"}, Json("autoscaling.internal.knative.dev/v1alpha1"));
  json::set(metric, {"kind"}, Json("Metric"));
  json::set(metric, {"metadata", "labels"}, to_json(labels_of(s.dom())));
  json::set(metric, {"metadata", "annotations"}, to_json(annotations_of(s.dom())));
  json::set(metric, {"spec", "panicWindow"}, Json(spec.panic_window.count()));
  json::set(metric, {"spec", "scrapeTarget"}, Json(scrape_target));
  json::set(metric, {"spec", "stableWindow"}, Json(spec.stable_window.count()));
  s.ensure_child(s.sibling(res::metrics(), s.key().name), std::move(metric));
}

void apply_activity(Subject& s, const autoscaler::PaState& state) {
  auto& c = s.conditions();
  if (state.initialized) c.mark_true(kInitialized);
  switch (state.activity) {
    case Activity::Active:
      c.mark_true(kActive);
      break;
    case Activity::Inactive:
      if (state.timed_out) {
        c.mark_false(kActive, "TimedOut", "The target could not be activated.");
      } else {
        c.mark_false(kActive, "NoTraffic", "The target is not receiving traffic.");
      }
      break;
    case Activity::Activating:
    case Activity::Unset:
      c.mark_unknown(kActive, "Queued",
                     "Requests to the target are being buffered as resources are provisioned.");
  }
}

void compute_status(Subject& s, int want, int ready, autoscaler::Bounds bounds,
                    const autoscaler::Spec& spec, Activity before) {
  json::set(s.status(), {"actualScale"}, Json(ready));
  const auto known = json::i64(s.status(), {"desiredScale"}, -1);
  if (!(want < 0 && known >= 0)) json::set(s.status(), {"desiredScale"}, Json(want));
  const bool named = !json::str(s.status(), {"serviceName"}).empty();
  apply_activity(s, autoscaler::pa_state(want, ready, bounds.min, spec.initial_scale,
                                         s.conditions().is_true(kInitialized), named, before));
}

void reconcile_kpa(Subject& s, Context& context) {
  const World& world = s.world();
  const ServingConfig& config = context.configs.get(world);
  auto& c = s.conditions();
  const StringMap annotations = annotations_of(s.dom());
  const autoscaler::Spec spec = kpa_spec(s.dom(), config);
  const auto bounds = pa_bounds(s.dom(), config.autoscaler);
  // A new PodAutoscaler has Active Unknown from initialising; that is "activating", as upstream's.
  const Activity before = activity_of(c);
  const int ready = count_pods(world, s.key().ns, s.key().name).ready;

  const Key sks_key = s.sibling(res::sks(), s.key().name);
  const auto sks_object = world.get(sks_key);
  if (sks_object != nullptr && !controlled_by(sks_object, s.dom())) {
    c.mark_false(
        kActive, "NotOwned",
        "There is an existing ServerlessService \"" + s.key().name + "\" that we do not own.");
    return;
  }
  const Json sks = world.view(sks_key);
  const auto private_name = json::str(sks, {"status", "privateServiceName"});
  if (private_name.empty()) {
    ensure_sks(s, autoscaler::SksMode::Proxy, autoscaler::activators_for(spec, 0));
    c.mark_unknown(kSksReady, "NotReady", "No Private Service Name");
    compute_status(s, -1, ready, bounds, spec, before);
    return;
  }
  json::set(s.status(), {"metricsServiceName"}, Json(private_name));
  ensure_metric(s, spec, spec.target_burst_capacity == -1 ? std::string_view() : private_name);

  const Json signal = world.signal(reconcile::Signal::Decision, s.key());
  const auto initial = autoscaler::initial_decision(spec);
  const int desired = static_cast<int>(json::i64(signal, {"desired"}, initial.desired));
  const double excess = json::opt_number(signal, {"excessBurst"}).value_or(initial.excess_burst);
  const int activators = autoscaler::activators_for(spec, ready);

  autoscaler::ScaleInput in;
  in.desired = desired;
  in.bounds = bounds;
  in.initial_scale = spec.initial_scale;
  in.initialized = c.is_true(kInitialized);
  in.unreachable = !spec.reachable;
  in.activity = before;
  in.in_activity = c.since_change(kActive);
  in.enable_scale_to_zero = config.autoscaler.enable_scale_to_zero;
  in.activation_timeout = progress_deadline(annotations, config.deployment) + kActivationBuffer;
  in.stable_window = spec.stable_window;
  in.grace_period = config.autoscaler.grace_period;
  in.pod_retention = pod_retention(annotations, config.autoscaler);
  in.target_burst_capacity = spec.target_burst_capacity;
  in.sks_proxy = json::str(sks, {"spec", "mode"}) == "Proxy";
  in.activator_confirmed =
      json::boolean(world.signal(reconcile::Signal::Activator, s.key()), {"confirmed"});
  {
    // The clock of the grace period is the condition's last transition.
    Conditions sks_conditions(
        json::find(sks, "status") != nullptr ? *json::find(sks, "status") : Json(JsonObject()), {},
        world.wall_now());
    if (sks_conditions.is_true("ActivatorEndpointsPopulated")) {
      in.proxy_for = sks_conditions.since_change("ActivatorEndpointsPopulated");
    }
  }
  const auto result = autoscaler::decide_scale(in);
  if (result.again) s.plan().again_in(*result.again);
  if (result.apply) {
    const std::string target(json::str(s.dom(), {"spec", "scaleTargetRef", "name"}));
    const Key deployment = s.sibling(res::deployments(), target);
    const Json have = world.view(deployment);
    if (have.is_object() && json::i64(have, {"spec", "replicas"}, 1) != result.want) {
      Json patch = JsonObject();
      json::set(patch, {"spec", "replicas"}, Json(result.want));
      s.plan().merge(deployment, std::move(patch));
    }
  }
  const bool inactive = before == Activity::Inactive;
  ensure_sks(s, autoscaler::sks_mode(result.want, excess, inactive), activators);
  if (const auto name = json::str(sks, {"status", "serviceName"}); !name.empty()) {
    json::set(s.status(), {"serviceName"}, Json(name));
  }
  if (is_ready(sks)) {
    c.mark_true(kSksReady);
  } else {
    const auto sks_ready = find_condition(sks, "Ready");
    c.mark_unknown(kSksReady, "NotReady", sks_ready ? sks_ready->message : "");
  }
  compute_status(s, result.want, ready, bounds, spec, before);
}

}  // namespace

reconcile::Planner pod_autoscaler_planner(ContextPtr context) {
  reconcile::Planner planner;
  planner.name = "podautoscaler";
  planner.owns = res::podautoscalers();
  planner.plan = [context](const World& world, const Key& key, Instant) {
    const auto object = world.get(key);
    if (object == nullptr || object->deleting() || !installed(world)) return Plan{};
    Subject s(world, object,
              {std::string(kActive), std::string(kInitialized), std::string(kSksReady)});
    const auto scaler = scaler_class(s.dom());
    if (scaler == kKpaClass) {
      reconcile_kpa(s, *context);
    } else if (scaler == kHpaClass) {
      s.conditions().mark_false(
          kActive, "UnsupportedClass",
          "The autoscaler class \"" + scaler +
              "\" is not supported yet: set the annotation autoscaling.knative.dev/class to \"" +
              std::string(kKpaClass) + "\".");
    } else {
      return Plan{};  // a foreign class has its own controller
    }
    return s.finish(kComponent);
  };
  const auto by_revision_label = [](const World&, const ObjectPtr& before, const ObjectPtr& after) {
    std::vector<Key> keys;
    const auto& object = after != nullptr ? after : before;
    const auto revision = object->label(label::kRevision);
    if (!revision.empty()) {
      keys.push_back({res::podautoscalers(), object->key().ns, std::string(revision)});
    }
    return keys;
  };
  planner.triggers = {reconcile::by_owner(res::sks(), res::podautoscalers()),
                      reconcile::by_owner(res::metrics(), res::podautoscalers()),
                      {res::pods(), by_revision_label},
                      {res::deployments(), by_revision_label}};
  planner.signals = {reconcile::Signal::Decision, reconcile::Signal::Activator};
  add_config_triggers(planner);
  return planner;
}

reconcile::Planner metric_planner(ContextPtr context) {
  reconcile::Planner planner;
  planner.name = "metric";
  planner.owns = res::metrics();
  planner.plan = [context](const World& world, const Key& key, Instant) {
    const auto object = world.get(key);
    if (object == nullptr || object->deleting() || !installed(world)) return Plan{};
    // The proxy's reports need no scraping: a Metric is ready as soon as there is something to
    // measure.
    Subject s(world, object, {});
    if (count_pods(world, key.ns, key.name).ready > 0 ||
        json::str(s.dom(), {"spec", "scrapeTarget"}).empty()) {
      s.conditions().mark_true("Ready");
    } else if (!s.conditions().is_true("Ready")) {
      s.conditions().mark_unknown("Ready", "NoEndpoints", "");
    }
    return s.finish("metric-controller");
  };
  planner.triggers = {
      {res::pods(), [](const World&, const ObjectPtr& before, const ObjectPtr& after) {
         std::vector<Key> keys;
         const auto& pod = after != nullptr ? after : before;
         const auto revision = pod->label(label::kRevision);
         if (!revision.empty()) {
           keys.push_back({res::metrics(), pod->key().ns, std::string(revision)});
         }
         return keys;
       }}};
  add_config_triggers(planner);
  return planner;
}

}  // namespace knit::serving
