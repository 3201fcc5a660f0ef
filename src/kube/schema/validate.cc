#include <algorithm>

#include "kube/names.h"
#include "kube/schema/validation.h"
#include "kube/selector.h"

namespace knit::schema {

namespace {
using json::array;
using json::find;
using json::str;

constexpr std::size_t kMaxAnnotations = 256 * 1024;

enum class NameRule { Subdomain, Label, ServiceLabel, PathSegment };
NameRule name_rule(const Kind& kind) {
  if (kind.group == "rbac.authorization.k8s.io") return NameRule::PathSegment;
  if (kind.group.empty() && kind.kind == "Namespace") return NameRule::Label;
  if (kind.group.empty() && kind.kind == "Service") return NameRule::ServiceLabel;
  return NameRule::Subdomain;
}
std::vector<std::string> check_name(NameRule rule, std::string_view name) {
  switch (rule) {
    case NameRule::Label:
      return kube::check_dns1123_label(name);
    case NameRule::ServiceLabel:
      return kube::check_dns1035_label(name);
    case NameRule::PathSegment:
      return kube::check_path_segment(name);
    case NameRule::Subdomain:
      break;
  }
  return kube::check_dns1123_subdomain(name);
}

void validate_owners(const Json& object, Errors& errors) {
  const auto& owners = array(object, {"metadata", "ownerReferences"});
  std::string controller;
  for (std::size_t i = 0; i < owners.size(); ++i) {
    const std::string path = at("metadata.ownerReferences", i);
    for (const std::string_view key : {"apiVersion", "kind", "name", "uid"}) {
      if (str(owners[i], {key}).empty()) {
        errors.invalid(at(path, key), "", "must not be empty");
      }
    }
    if (!json::boolean(owners[i], {"controller"})) continue;
    const std::string name(str(owners[i], {"name"}));
    if (!controller.empty()) {
      errors.add(Reason::Invalid, "metadata.ownerReferences",
                 "Invalid value: " + json::print(Json(owners)) +
                     ": Only one reference can have Controller set to true. Found \"true\" in "
                     "references for " +
                     controller + " and " + name);
    }
    controller = name;
  }
}

/// Every string that has an enumeration holds one of its values. Only Go-typed kinds: those of
/// custom resources are judged while decoding.
void validate_enums(const Message& m, const Json& value, const std::string& path, Errors& errors,
                    int depth) {
  const auto* object = value.if_object();
  if (object == nullptr || depth > 64) return;
  for (const Field& f : m.fields) {
    if (f.inlined) {
      validate_enums(*f.message, value, path, errors, depth + 1);
      continue;
    }
    const Json* v = object->if_contains(f.name);
    if (v == nullptr || f.name == "status" || f.name == "metadata") continue;
    const std::string here = at(path, f.name);
    const auto one = [&](const Json& item, const std::string& where) {
      if (f.type == Type::Message) {
        validate_enums(*f.message, item, where, errors, depth + 1);
        return;
      }
      const auto* s = item.if_string();
      if (f.enumeration.empty() || s == nullptr || s->empty()) return;
      std::vector<std::string_view> supported;
      std::string_view rest = f.enumeration;
      while (!rest.empty()) {
        const auto bar = std::min(rest.find('|'), rest.size());
        supported.push_back(rest.substr(0, bar));
        if (supported.back() == std::string_view(s->data(), s->size())) return;
        rest.remove_prefix(std::min(bar + 1, rest.size()));
      }
      errors.not_supported(where, item, supported);
    };
    if (f.shape == Shape::List && v->is_array()) {
      for (std::size_t i = 0; i < v->get_array().size(); ++i) one(v->get_array()[i], at(here, i));
    } else if (f.shape == Shape::Map && v->is_object()) {
      for (const auto& member : v->get_object()) {
        one(member.value(),
            at_key(here, std::string_view(member.key().data(), member.key().size())));
      }
    } else if (f.shape == Shape::One) {
      one(*v, here);
    }
  }
}
}  // namespace

void validate_metadata(const Kind& kind, const Json& object, const Json* old,
                       const Context& context, Errors& errors) {
  const Json* metadata = find(object, "metadata");
  if (metadata == nullptr || !metadata->is_object()) {
    errors.required("metadata.name", "name or generateName is required");
    return;
  }
  const std::string_view name = str(*metadata, {"name"});
  const NameRule rule = name_rule(kind);
  if (name.empty()) {
    errors.required("metadata.name", "name or generateName is required");
  } else if (old == nullptr) {
    errors.all("metadata.name", name, check_name(rule, name));
  }
  if (std::string prefix(str(*metadata, {"generateName"})); !prefix.empty() && old == nullptr) {
    const std::string_view shown = str(*metadata, {"generateName"});
    if (rule != NameRule::PathSegment && prefix.back() == '-') prefix.back() = 'a';
    errors.all("metadata.generateName", shown, check_name(rule, prefix));
  }
  const std::string_view ns = str(*metadata, {"namespace"});
  if (kind.namespaced && ns.empty()) {
    errors.required("metadata.namespace");
  } else if (kind.namespaced && old == nullptr) {
    errors.all("metadata.namespace", ns, kube::check_dns1123_label(ns));
  } else if (!kind.namespaced && !ns.empty()) {
    errors.forbidden("metadata.namespace", "not allowed on this type");
  }
  for (const auto& [key, value] : json::string_map(*metadata, {"labels"})) {
    errors.all("metadata.labels", key, kube::check_qualified_name(key));
    errors.all("metadata.labels", value, kube::check_label_value(value));
  }
  std::size_t total = 0;
  for (const auto& [key, value] : json::string_map(*metadata, {"annotations"})) {
    std::string lower(key);
    for (char& c : lower) {
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    errors.all("metadata.annotations", key, kube::check_qualified_name(lower));
    total += key.size() + value.size();
  }
  if (total > kMaxAnnotations) errors.too_long("metadata.annotations", kMaxAnnotations);
  for (const Json& f : array(*metadata, {"finalizers"})) {
    const auto* s = f.if_string();
    const std::string_view text =
        s == nullptr ? std::string_view() : std::string_view(s->data(), s->size());
    errors.all("metadata.finalizers", f, kube::check_qualified_name(text));
    if (text.find('/') == std::string_view::npos && text != "orphan" &&
        text != "foregroundDeletion" && text != "kubernetes" && !kind.custom) {
      errors.invalid("metadata.finalizers", f,
                     "name is neither a standard finalizer name nor is it fully qualified");
    }
  }
  validate_owners(object, errors);
  if (old == nullptr) return;
  for (const std::string_view key : {"name", "namespace", "uid", "creationTimestamp",
                                     "deletionTimestamp", "deletionGracePeriodSeconds"}) {
    const Json* before = find(*old, {"metadata", key});
    const Json* after = find(*metadata, key);
    const bool same = before == nullptr ? after == nullptr : after != nullptr && *after == *before;
    if (!same && !(before == nullptr && key == "namespace")) {
      errors.invalid(at("metadata", key), after == nullptr ? Json("") : *after, kImmutable);
    }
  }
  if (find(*old, {"metadata", "deletionTimestamp"}) != nullptr) {
    const auto& before = array(*old, {"metadata", "finalizers"});
    for (const Json& f : array(*metadata, {"finalizers"})) {
      if (std::find(before.begin(), before.end(), f) == before.end()) {
        errors.forbidden("metadata.finalizers",
                         "no new finalizers can be added if the object is being deleted, found new "
                         "finalizers []string{" +
                             json::print(f) + "}");
      }
    }
  }
  if (kind.custom && context.operation == Operation::Update && !context.internal &&
      str(*metadata, {"resourceVersion"}).empty()) {
    errors.add(Reason::Invalid, "metadata.resourceVersion",
               "Invalid value: 0x0: must be specified for an update");
  }
}

Verdict validate(const Kind& kind, const Json& object, const Json* old, const Context& context) {
  Verdict verdict;
  const std::string_view name = str(object, {"metadata", "name"});
  Errors errors;
  if (kind.stored) validate_metadata(kind, object, old, context, errors);
  if (context.operation == Operation::UpdateStatus) {
    if (!errors.list.empty()) verdict.failure = invalid(kind, name, std::move(errors.list));
    return verdict;
  }
  if (!kind.custom) {
    validate_enums(*kind.message, object, {}, errors, 0);
    validate_builtin(kind, object, old, errors);
  }
  if (!errors.list.empty()) {
    verdict.failure = invalid(kind, name, std::move(errors.list));
    return verdict;
  }
  if (!kind.custom) return verdict;
  if (find(object, {"metadata", "deletionTimestamp"}) != nullptr) return verdict;
  if (kind.group.ends_with("knative.dev") && kind.group != "operator.knative.dev") {
    const bool eventing = is_eventing(kind);
    const auto messages = eventing
                              ? validate_eventing(kind, object, old, context)
                              : validate_knative(kind, object, old, context, &verdict.warnings);
    if (!messages.empty()) {
      std::string all;
      for (const auto& m : messages) all += (all.empty() ? "" : "\n") + m;
      const char* webhook = !eventing                        ? "webhook.serving"
                            : kind.kind == "InMemoryChannel" ? "inmemorychannel.eventing"
                                                             : "webhook.eventing";
      verdict.failure = bad_request("admission webhook \"validation." + std::string(webhook) +
                                    ".knative.dev\" denied the request: validation failed: " + all);
    }
    return verdict;
  }
  return validate_mesh(kind, object, old, context);
}

Verdict admit(const Kind& kind, Json& object, const Json* old, const Context& context) {
  Context with_old = context;
  with_old.old = old;
  if (context.operation == Operation::Create || context.operation == Operation::Update) {
    apply_defaults(kind, object, with_old);
  }
  Verdict verdict = validate(kind, object, old, with_old);
  if (!verdict.ok()) return verdict;
  Verdict support = check_support(kind, object, old, with_old);
  verdict.failure = std::move(support.failure);
  for (auto& w : support.warnings) verdict.warnings.push_back(std::move(w));
  return verdict;
}

}  // namespace knit::schema
