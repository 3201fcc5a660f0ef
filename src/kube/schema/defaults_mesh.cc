#include "kube/schema/defaults.h"

namespace knit::schema {

namespace {
/// Source: maistra/istio-operator pkg/controller/mutation/controlplane.go
void default_control_plane(JsonObject& object, const Context& context) {
  JsonObject& spec = need(object, "spec");
  set_default(spec, "version", "v2.5");
  if (spec["version"] == "") spec["version"] = "v2.5";
  if (context.operation != Operation::Create) return;
  set_default(spec, "profiles", JsonArray{"default"});
  // From v2.5 on, a Route per Gateway host is made only when asked for.
  set_default(need(need(spec, "gateways"), "openshiftRoute"), "enabled", false);
}

/// Source: openshift/api route/v1/defaults.go
void default_route(JsonObject& object) {
  JsonObject& spec = need(object, "spec");
  set_default(spec, "wildcardPolicy", "None");
  const auto target = [](JsonObject& t) {
    set_default(t, "kind", "Service");
    set_default(t, "weight", 100);
  };
  target(need(spec, "to"));
  if (JsonArray* others = children(spec, "alternateBackends")) {
    for (Json& b : *others) {
      if (auto* t = b.if_object()) target(*t);
    }
  }
  if (JsonObject* tls = child(spec, "tls")) set_default(*tls, "termination", "edge");
}
}  // namespace

void default_mesh(const Kind& kind, JsonObject& object, const Context& context) {
  if (kind.kind == "ServiceMeshControlPlane") default_control_plane(object, context);
  if (kind.kind == "Route" && kind.group == "route.openshift.io") default_route(object);
}

}  // namespace knit::schema
