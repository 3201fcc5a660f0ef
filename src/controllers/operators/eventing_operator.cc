#include "controllers/operators/eventing_operator.h"

#include "controllers/operators/eventing_manifest.h"
#include "controllers/operators/installation.h"

namespace knit::controllers::operators {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  return out;
}
}  // namespace

std::string eventing_refusal(const Json& eventing) {
  if (json::str(eventing, {"metadata", "namespace"}) != kEventingNamespace) {
    return "Knative Eventing must be installed into the namespace \"" +
           std::string(kEventingNamespace) + "\"";
  }
  for (const auto field : {"manifests", "additionalManifests"}) {
    if (!json::array(eventing, {"spec", field}).empty()) {
      return "spec." + std::string(field) +
             ": manifests from elsewhere are not supported; remove the field";
    }
  }
  for (const auto source : {"ceph", "github", "gitlab", "kafka", "rabbitmq", "redis"}) {
    if (json::boolean(eventing, {"spec", "source", source, "enabled"})) {
      return "spec.source." + std::string(source) +
             ".enabled: this source is not built into Knit; remove it";
    }
  }
  // Security and addressing that would be stored and not be in effect.
  const Json features = config_of(json::object(eventing, {"spec"}), "features");
  const struct {
    std::string_view key, harmless, what;
  } refused[] = {
      {"authentication-oidc", "disabled", "events are not authenticated by OIDC"},
      {"transport-encryption", "disabled", "event endpoints speak TLS through the mesh only"},
      {"cross-namespace-event-links", "disabled", "links stay within their namespace"},
      {"kreference-group", "disabled", "references need apiVersion"},
      {"kreference-mapping", "disabled", "references are not mapped"},
  };
  for (const auto& row : refused) {
    const auto value = json::str(features, {row.key});
    if (value.empty() || lower(value) == row.harmless) continue;
    return "spec.config.features." + std::string(row.key) + ": " + std::string(value) +
           " is not built into Knit (" + std::string(row.what) + "); remove it";
  }
  const auto mode = json::str(eventing, {"spec", "sinkBindingSelectionMode"});
  if (!mode.empty() && mode != "exclusion" && mode != "inclusion") {
    return "spec.sinkBindingSelectionMode: \"" + std::string(mode) +
           "\" is neither \"exclusion\" nor \"inclusion\"";
  }
  return {};
}

reconcile::Planner knative_eventing_planner(const OperatorSettings& settings) {
  Installation what;
  what.name = "knativeeventing";
  what.resource = res::knativeeventings();
  what.ns = kEventingNamespace;
  what.finalizer = "knativeeventings.operator.knative.dev";
  what.version = kEventingVersion;
  what.part_of = "knative-eventing";
  what.manifest = [settings](const World&, const Json& eventing, std::vector<std::string>* notes) {
    return eventing_manifest(eventing, settings, notes);
  };
  what.refusal = eventing_refusal;
  return installation_planner(std::move(what));
}

}  // namespace knit::controllers::operators
