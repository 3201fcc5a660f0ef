// Source: knative/serving pkg/apis/serving/v1/{service,route,configuration,revision}_validation.go,
// pkg/apis/serving/metadata_validation.go, knative/networking pkg/apis/networking/v1alpha1.
#include "kube/names.h"
#include "kube/schema/knative_errors.h"

namespace knit::schema {

namespace {
using json::array;
using json::find;
using json::i64;
using json::str;

std::string quoted_list(const std::vector<std::string>& messages) {
  std::string out = "[";
  for (const auto& m : messages) out += (out.size() == 1 ? "" : " ") + m;
  return out + "]";
}

void validate_name(const Json& object, KnativeErrors& errors) {
  const std::string_view name = str(object, {"metadata", "name"});
  const auto messages = kube::check_dns1035_label(name);
  if (!messages.empty()) {
    errors.add("not a DNS 1035 label: " + quoted_list(messages), "metadata.name");
  }
}

void validate_object_annotations(const Json& object, const Json* old, const Context& context,
                                 KnativeErrors& errors) {
  for (const auto& [key, value] : json::string_map(object, {"metadata", "annotations"})) {
    const std::string path = "metadata.annotations." + key;
    if (key.starts_with("autoscaling.knative.dev/")) {
      errors.key(key, "metadata.annotations",
                 "autoscaling annotations must be put under "
                 "\"spec.template.metadata.annotations\" to work");
    }
    if (key == "serving.knative.dev/rollout-duration" ||
        key == "serving.knative.dev/rolloutDuration") {
      const auto d = parse_go_duration(value);
      if (!d || d->count() < 0 || d->count() % 1'000'000'000 != 0) errors.invalid(value, path);
    }
  }
  if (old == nullptr || context.internal) return;
  const std::string_view creator = "serving.knative.dev/creator";
  const std::string_view before = str(*old, {"metadata", "annotations", creator});
  if (!before.empty() && str(object, {"metadata", "annotations", creator}) != before) {
    errors.add("annotation value is immutable", "metadata.annotations." + std::string(creator));
  }
}

void validate_template(const Json& object, const Context& context, KnativeErrors& errors,
                       std::vector<std::string>* warnings) {
  const Json* t = find(object, {"spec", "template"});
  if (t == nullptr || !t->is_object() || find(*t, "spec") == nullptr) {
    errors.missing("spec.template.spec");
    return;
  }
  validate_revision_spec(*find(*t, "spec"), "spec.template.spec", context, errors);
  const Json* metadata = find(*t, "metadata");
  if (metadata == nullptr) return;
  validate_template_annotations(*metadata, "spec.template.metadata", context, errors, warnings);
  const std::string_view name = str(*metadata, {"name"});
  if (name.empty()) return;
  const std::string prefix = std::string(str(object, {"metadata", "name"})) + "-";
  const auto messages = kube::check_dns1035_label(name);
  if (!messages.empty()) {
    errors.add("not a DNS 1035 label: " + quoted_list(messages), "spec.template.metadata.name");
  } else if (!name.starts_with(prefix)) {
    errors.invalid(name, "spec.template.metadata.name",
                   "\"" + std::string(name) + "\" must have prefix \"" + prefix + "\"");
  }
}

std::string difference(const Json& before, const Json& after) {
  return "\t-: " + json::canonical(before) + "\n\t+: " + json::canonical(after) + "\n";
}

/// A template that keeps its name may not change.
void verify_name_change(const Json& object, const Json& old, KnativeErrors& errors) {
  const Json* before = find(old, {"spec", "template"});
  const Json* after = find(object, {"spec", "template"});
  if (before == nullptr || after == nullptr) return;
  const std::string_view name = str(*after, {"metadata", "name"});
  if (name.empty() || name != str(*before, {"metadata", "name"}) || *before == *after) return;
  errors.add("Saw the following changes without a name change (-old +new)",
             "spec.template.metadata.name", difference(*before, *after));
}

void validate_traffic(const Json& object, bool of_service, KnativeErrors& errors) {
  const auto& traffic = array(object, {"spec", "traffic"});
  std::int64_t sum = 0;
  std::map<std::string_view, std::size_t> tags;
  for (std::size_t i = 0; i < traffic.size(); ++i) {
    const Json& t = traffic[i];
    const std::string path = at("spec.traffic", i);
    const std::string_view revision = str(t, {"revisionName"});
    const std::string_view configuration = str(t, {"configurationName"});
    if (of_service) {
      if (!configuration.empty()) errors.disallowed(at(path, "configurationName"));
    } else if (!revision.empty() && !configuration.empty()) {
      errors.both(path, {"revisionName", "configurationName"});
    } else if (revision.empty() && configuration.empty()) {
      errors.neither(path, {"revisionName", "configurationName"});
    }
    if (const Json* latest = find(t, "latestRevision");
        latest != nullptr && latest->is_bool() && latest->get_bool() != revision.empty()) {
      errors.add("may not set revisionName \"" + std::string(revision) +
                     "\" when latestRevision is " + (latest->get_bool() ? "true" : "false"),
                 at(path, "latestRevision"));
    }
    const auto percent = i64(t, {"percent"});
    if (percent < 0 || percent > 100) {
      errors.out_of_bounds(std::to_string(percent), "0", "100", at(path, "percent"));
    }
    sum += percent;
    if (!str(t, {"url"}).empty()) errors.disallowed(at(path, "url"));
    const std::string_view tag = str(t, {"tag"});
    if (tag.empty()) continue;
    const auto messages = kube::check_dns1035_label(tag);
    if (!messages.empty()) {
      errors.add("not a DNS 1035 label: " + quoted_list(messages), at(path, "tag"));
    }
    const auto [it, fresh] = tags.emplace(tag, i);
    if (!fresh) {
      const std::string message = "Multiple definitions for \"" + std::string(tag) + "\"";
      errors.add(message, at(at("spec.traffic", it->second), "tag"));
      errors.add(message, at(path, "tag"));
    }
  }
  if (!traffic.empty() && sum != 100) {
    errors.add("Traffic targets sum to " + std::to_string(sum) + ", want 100", "spec.traffic");
  }
  if (traffic.empty() && !of_service) errors.missing("spec.traffic");
}

void validate_ingress(const Json& object, KnativeErrors& errors) {
  const auto& rules = array(object, {"spec", "rules"});
  if (rules.empty()) errors.missing("spec.rules");
  const std::string_view ns = str(object, {"metadata", "namespace"});
  for (std::size_t i = 0; i < rules.size(); ++i) {
    const std::string path = at("spec.rules", i);
    if (array(rules[i], {"hosts"}).empty()) errors.missing(at(path, "hosts"));
    const auto& paths = array(rules[i], {"http", "paths"});
    if (paths.empty()) errors.missing(at(path, "http.paths"));
    for (std::size_t j = 0; j < paths.size(); ++j) {
      const std::string here = at(at(path, "http.paths"), j);
      const auto& splits = array(paths[j], {"splits"});
      if (splits.empty()) errors.missing(at(here, "splits"));
      std::int64_t sum = 0;
      for (std::size_t k = 0; k < splits.size(); ++k) {
        const std::string split = at(at(here, "splits"), k);
        const auto percent = i64(splits[k], {"percent"});
        if (percent < 0 || percent > 100) {
          errors.invalid(std::to_string(percent), at(split, "percent"));
        }
        sum += percent;
        if (str(splits[k], {"serviceName"}).empty()) errors.missing(at(split, "serviceName"));
        const std::string_view target = str(splits[k], {"serviceNamespace"});
        if (target.empty()) {
          errors.missing(at(split, "serviceNamespace"));
        } else if (target != ns) {
          errors.add("service namespace does not match the Ingress's",
                     at(split, "serviceNamespace"));
        }
        if (find(splits[k], "servicePort") == nullptr) errors.missing(at(split, "servicePort"));
      }
      if (!splits.empty() && sum != 100) {
        errors.add("traffic split percentage must total to 100, but was " + std::to_string(sum),
                   at(here, "splits"));
      }
    }
  }
  const auto& tls = array(object, {"spec", "tls"});
  for (std::size_t i = 0; i < tls.size(); ++i) {
    const std::string path = at("spec.tls", i);
    if (array(tls[i], {"hosts"}).empty()) errors.missing(at(path, "hosts"));
    if (str(tls[i], {"secretName"}).empty()) errors.missing(at(path, "secretName"));
  }
}
}  // namespace

bool feature(const Context& context, std::string_view key, std::string_view otherwise) {
  std::string value(context.knative_config == nullptr
                        ? otherwise
                        : str(*context.knative_config, {"config-features", key}, otherwise));
  for (char& c : value) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return value == "enabled" || value == "allowed";
}

std::vector<std::string> validate_knative(const Kind& kind, const Json& object, const Json* old,
                                          const Context& context,
                                          std::vector<std::string>* warnings) {
  KnativeErrors errors;
  const Json* spec = find(object, "spec");
  if (kind.group == "serving.knative.dev") {
    validate_name(object, errors);
    const Json* metadata = find(object, "metadata");
    if (kind.kind == "Revision" && metadata != nullptr) {
      validate_template_annotations(*metadata, "metadata", context, errors, warnings);
    } else {
      validate_object_annotations(object, old, context, errors);
    }
    if (kind.kind == "Service" || kind.kind == "Configuration") {
      validate_template(object, context, errors, warnings);
      if (old != nullptr) verify_name_change(object, *old, errors);
    }
    if (kind.kind == "Service" || kind.kind == "Route") {
      validate_traffic(object, kind.kind == "Service", errors);
    }
    if (kind.kind == "Revision" && spec != nullptr) {
      validate_revision_spec(*spec, "spec", context, errors);
      const Json* before = old == nullptr ? nullptr : find(*old, "spec");
      if (before != nullptr && !(*before == *spec)) {
        errors.add("Immutable fields changed (-old +new)", "spec", difference(*before, *spec));
      }
    }
  } else if (kind.group == "networking.internal.knative.dev") {
    if (kind.kind == "Ingress") validate_ingress(object, errors);
    if (kind.kind == "ServerlessService") {
      const std::string_view mode = str(object, {"spec", "mode"});
      if (mode.empty()) {
        errors.missing("spec.mode");
      } else if (mode != "Serve" && mode != "Proxy") {
        errors.invalid(mode, "spec.mode");
      }
      if (i64(object, {"spec", "numActivators"}) < 0) {
        errors.invalid(std::to_string(i64(object, {"spec", "numActivators"})),
                       "spec.numActivators");
      }
    }
  } else if (kind.kind == "PodAutoscaler") {
    if (str(object, {"spec", "scaleTargetRef", "name"}).empty()) {
      errors.missing("spec.scaleTargetRef.name");
    }
    if (const Json* metadata = find(object, "metadata")) {
      validate_template_annotations(*metadata, "metadata", context, errors, warnings);
    }
  } else if (kind.kind == "Image" && str(object, {"spec", "image"}).empty()) {
    errors.missing("spec.image");
  }
  return errors.print();
}

}  // namespace knit::schema
