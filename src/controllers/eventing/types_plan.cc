// EventTypes and EventPolicies.
// Source: knative/eventing pkg/reconciler/{eventtype,eventpolicy}
#include "base/hash.h"
#include "controllers/eventing/config.h"
#include "controllers/eventing/destination.h"
#include "controllers/eventing/eventing.h"

namespace knit::eventing {

std::string event_type_name(std::string_view type, std::string_view source, std::string_view ns,
                            std::string_view reference) {
  std::string all(type);
  all.append(source).append(ns).append(reference);
  return "et-" + std::string(reference) + "-" + hash::md5_hex(all);
}

Planner event_type_planner(EventingSettings) {
  Planner planner;
  planner.name = "eventtype";
  planner.owns = res::eventtypes();
  planner.plan = [](const World& world, const Key& key, Instant) {
    const auto object = world.get(key);
    if (object == nullptr || object->deleting() || !installed(world)) return Plan{};
    Subject s(world, object, {"ReferenceExists"});
    Json reference = JsonObject();
    if (const Json* r = json::find(s.dom(), {"spec", "reference"}); r != nullptr) {
      reference = *r;
    } else if (const auto b = json::str(s.dom(), {"spec", "broker"}); !b.empty()) {
      json::set(reference, {"apiVersion"}, Json("eventing.knative.dev/v1"));
      json::set(reference, {"kind"}, Json("Broker"));
      json::set(reference, {"name"}, Json(b));
    }
    const auto target = key_of(reference, key.ns);
    if (reference.get_object().empty()) {
      s.conditions().mark_true("ReferenceExists", "ReferenceNotSet", "");
    } else if (target && world.has(*target)) {
      s.conditions().mark_true("ReferenceExists");
    } else {
      s.conditions().mark_false(
          "ReferenceExists", "ResourceDoesNotExist",
          "failed to get reference: " + std::string(json::str(reference, {"kind"})) + " \"" +
              std::string(json::str(reference, {"name"})) + "\" not found");
    }
    return s.finish("eventtype-controller");
  };
  replan_all(planner,
             {res::brokers(), res::channels(), res::imcs(), res::sequences(), res::parallels()});
  return planner;
}

Planner event_policy_planner(EventingSettings) {
  Planner planner;
  planner.name = "eventpolicy";
  planner.owns = res::eventpolicies();
  planner.plan = [](const World& world, const Key& key, Instant) {
    const auto object = world.get(key);
    if (object == nullptr || object->deleting() || !installed(world)) return Plan{};
    Subject s(world, object, {"AuthenticationEnabled", "SubjectsResolved"});
    // OIDC is not in effect whatever the map says: a policy never looks enforced.
    s.conditions().mark_false(
        "AuthenticationEnabled", "OIDCAuthenticationDisabled",
        feature(world, "authentication-oidc")
            ? "authentication-oidc is enabled but not supported: no policy is enforced"
            : "Feature \"authentication-oidc\" must be enabled to support Authorization");
    return s.finish("eventpolicy-controller");
  };
  replan_all(planner, {});
  return planner;
}

}  // namespace knit::eventing
