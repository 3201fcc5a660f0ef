#include "app/admission.h"

#include "app/check_warnings.h"
#include "controllers/core/register.h"
#include "controllers/eventing/eventing.h"
#include "controllers/mesh/admission.h"
#include "controllers/serving/config.h"
#include "kube/resources.h"

namespace knit::app {
namespace {

/// A registry's state as planners' functions read it.
class ReaderWorld final : public reconcile::World {
 public:
  ReaderWorld(const apiserver::ObjectReader& reader, const reconcile::Signals* signals, WallTime now)
      : reader_(reader), signals_(signals), now_(now) {}
  kube::ObjectPtr get(const kube::Key& key) const override { return reader_.get(key); }
  std::vector<kube::ObjectPtr> list(kube::Resource resource, std::string_view ns) const override {
    return reader_.list(resource, ns);
  }
  Json signal(reconcile::Signal kind, const kube::Key& key) const override {
    return signals_ != nullptr ? signals_->get(kind, key) : Json();
  }
  WallTime wall_now() const override { return now_; }

 private:
  const apiserver::ObjectReader& reader_;
  const reconcile::Signals* signals_;
  WallTime now_;
};

bool is_operator_kind(const schema::Kind& kind) {
  return kind.group == "serving.knative.dev" || schema::is_eventing(kind);
}

serving::StringMap strings(const Json& object, json::Path path) {
  serving::StringMap out;
  for (auto& [key, value] : json::string_map(object, path)) out[key] = std::move(value);
  return out;
}

apiserver::Status denied(const std::string& webhook, const std::string& why) {
  return apiserver::from_error(Error(
      Code::InvalidArgument, "admission webhook \"" + webhook + "\" denied the request: " + why));
}

}  // namespace

void Admission::install(apiserver::Registry& registry) {
  registry.add_mutator(
      "core", [this](const apiserver::AdmissionRequest& request, Json& object,
                     std::vector<std::string>&) -> std::optional<apiserver::Status> {
        if (!request.subresource.empty()) return std::nullopt;
        const ReaderWorld world(request.state, signals_, loop_.wall_now());
        const auto r = controllers::core::admit_core(world, request.key, object, request.old, core_);
        if (!r) return apiserver::from_error(r.error());
        return std::nullopt;
      });
  registry.add_mutator(
      "sinkbinding", [this](const apiserver::AdmissionRequest& request, Json& object,
                            std::vector<std::string>&) -> std::optional<apiserver::Status> {
        if (!request.subresource.empty() || request.operation == schema::Operation::Delete) {
          return std::nullopt;
        }
        const ReaderWorld world(request.state, signals_, loop_.wall_now());
        eventing::admit_sink_bindings(world, request.key, object);
        return std::nullopt;
      });
  registry.add_validator(
      "mesh", [this](const apiserver::AdmissionRequest& request, const Json& object,
                     std::vector<std::string>& warnings) -> std::optional<apiserver::Status> {
        if (request.operation == schema::Operation::Delete || !request.subresource.empty() ||
            request.options.internal) {
          return std::nullopt;
        }
        const ReaderWorld world(request.state, signals_, loop_.wall_now());
        const auto verdict = mesh::admit_mesh_object(world, request.key, object, request.old);
        warnings.insert(warnings.end(), verdict.warnings.begin(), verdict.warnings.end());
        if (verdict.errors.empty()) return std::nullopt;
        std::string text;
        for (const auto& e : verdict.errors) text += (text.empty() ? "" : "; ") + e;
        return denied("validation.mesh.knit.dev", text);
      });
  registry.add_validator(
      "installed", [](const apiserver::AdmissionRequest& request, const Json&,
                      std::vector<std::string>& warnings) -> std::optional<apiserver::Status> {
        if (request.operation != schema::Operation::Create || request.options.internal ||
            !is_operator_kind(request.kind)) {
          return std::nullopt;
        }
        const bool serving = request.kind.group == "serving.knative.dev";
        const auto installed =
            serving ? kube::res::knativeservings() : kube::res::knativeeventings();
        if (request.state.list(installed, {}).empty()) {
          const std::string kind = serving ? "KnativeServing" : "KnativeEventing";
          const std::string ns = serving ? "knative-serving" : "knative-eventing";
          warnings.push_back("no " + kind + " exists yet: the object is stored, and carried out once one is "
                             "applied in namespace " + ns);
        }
        return std::nullopt;
      });
  registry.add_validator(
      "config", [](const apiserver::AdmissionRequest& request, const Json& object,
                   std::vector<std::string>&) -> std::optional<apiserver::Status> {
        if (request.operation == schema::Operation::Delete || !request.subresource.empty() ||
            request.options.internal || request.key.ns != "knative-serving") {
          return std::nullopt;
        }
        if (request.key.resource == kube::res::configmaps()) {
          const auto checked =
              serving::check_config(request.key.name, strings(object, {"data"}));
          if (checked) return std::nullopt;
          return denied("config.webhook.serving.knative.dev",
                        "validation failed: " + checked.error().message());
        }
        if (request.key.resource != kube::res::knativeservings()) return std::nullopt;
        // DIFFERS: upstream stores it, and its operator fails at the ConfigMap.
        for (const auto& entry : json::object(object, {"spec", "config"})) {
          const std::string_view name(entry.key().data(), entry.key().size());
          const std::string map =
              name.starts_with("config-") ? std::string(name) : "config-" + std::string(name);
          const auto checked =
              serving::check_config(map, strings(object, {"spec", "config", name}));
          if (checked) continue;
          const std::string& why = checked.error().message();
          return denied("validation.operator.knit.dev",
                        "spec.config." + std::string(name) + ": " + why +
                            (why.find('<') == std::string::npos ? "" : "; fill the placeholder"));
        }
        return std::nullopt;
      });
  registry.add_validator(
      "check", [this](const apiserver::AdmissionRequest& request, const Json& object,
                      std::vector<std::string>& warnings) -> std::optional<apiserver::Status> {
        if (request.operation == schema::Operation::Delete || !request.subresource.empty() ||
            request.options.internal || !is_checked(request.kind)) {
          return std::nullopt;
        }
        for (auto& w :
             check_warnings(request.state, request.kind, request.key, object, loop_.wall_now())) {
          warnings.push_back(std::move(w));
        }
        return std::nullopt;
      });
  // Asked for by every write; decoded only when one of the objects is another.
  struct Config {
    std::vector<kube::ObjectPtr> from;
    std::shared_ptr<const Json> data = std::make_shared<const Json>(JsonObject());
  };
  registry.set_knative_config(
      [serving = Config(), eventing = Config()](const apiserver::ObjectReader& state,
                                                const schema::Kind& kind) mutable {
        const bool of_eventing = schema::is_eventing(kind);
        Config& config = of_eventing ? eventing : serving;
        auto now = state.list(kube::res::configmaps(),
                              of_eventing ? "knative-eventing" : "knative-serving");
        if (now == config.from) return config.data;
        JsonObject out;
        for (const auto& object : now) {
          out[object->key().name] = json::object(object->parse(), {"data"});
        }
        config.from = std::move(now);
        config.data = std::make_shared<const Json>(std::move(out));
        return config.data;
      });
}

}  // namespace knit::app
