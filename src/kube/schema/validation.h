// Validation, one function per family. Internal to kube/schema.
#pragma once

#include "kube/schema/schema.h"

namespace knit::schema {

/// A value as an error shows it; converts from everything JSON can be made of.
struct Shown {
  template <class T>
  Shown(const T& v) : value(v) {}  // NOLINT: converts
  Json value;
};

/// Collects field errors in upstream's words.
class Errors {
 public:
  std::vector<FieldError> list;

  void add(Reason reason, std::string field, std::string message) {
    if (list.size() < 100) list.push_back({reason, std::move(field), std::move(message)});
  }
  void required(std::string field, std::string_view why = {}) {
    add(Reason::Required, std::move(field),
        why.empty() ? std::string("Required value") : "Required value: " + std::string(why));
  }
  void invalid(std::string field, const Shown& value, std::string_view why) {
    add(Reason::Invalid, std::move(field),
        "Invalid value: " + json::print(value.value) +
            (why.empty() ? "" : ": " + std::string(why)));
  }
  void forbidden(std::string field, std::string_view why) {
    add(Reason::Forbidden, std::move(field), "Forbidden: " + std::string(why));
  }
  void duplicate(std::string field, const Shown& value) {
    add(Reason::Duplicate, std::move(field), "Duplicate value: " + json::print(value.value));
  }
  void not_found(std::string field, const Shown& value) {
    add(Reason::NotFound, std::move(field), "Not found: " + json::print(value.value));
  }
  void too_long(std::string field, std::size_t max) {
    add(Reason::TooLong, std::move(field),
        "Too long: may not be more than " + std::to_string(max) + " bytes");
  }
  /// `supported` in the order to print.
  void not_supported(std::string field, const Shown& value,
                     const std::vector<std::string_view>& supported) {
    std::string names;
    for (const auto s : supported) {
      names += (names.empty() ? "\"" : ", \"") + std::string(s) + "\"";
    }
    add(Reason::NotSupported, std::move(field),
        "Unsupported value: " + json::print(value.value) + ": supported values: " + names);
  }
  void all(std::string_view field, const Shown& value, const std::vector<std::string>& whys) {
    for (const auto& why : whys) invalid(std::string(field), value, why);
  }
};

inline std::string at(std::string_view path, std::string_view name) {
  return path.empty() ? std::string(name) : std::string(path) + "." + std::string(name);
}
inline std::string at(std::string_view path, std::size_t index) {
  return std::string(path) + "[" + std::to_string(index) + "]";
}
inline std::string at_key(std::string_view path, std::string_view key) {
  return std::string(path) + "[" + std::string(key) + "]";
}

constexpr std::string_view kImmutable = "field is immutable";
constexpr std::string_view kNotNegative = "must be greater than or equal to 0";
constexpr std::string_view kPortRange = "must be between 1 and 65535, inclusive";

void validate_metadata(const Kind& kind, const Json& object, const Json* old,
                       const Context& context, Errors& errors);
void validate_pod_spec(const Json& spec, const std::string& path, Errors& errors);
void validate_pod_update(const Json& object, const Json& old, Errors& errors);
void validate_container_resources(const Json& resources, const std::string& path, Errors& errors);
/// Kubernetes' own kinds.
void validate_builtin(const Kind& kind, const Json& object, const Json* old, Errors& errors);
/// Knative's kinds: messages as their webhook has them, sorted; empty when valid.
std::vector<std::string> validate_knative(const Kind& kind, const Json& object, const Json* old,
                                          const Context& context,
                                          std::vector<std::string>* warnings);
/// Eventing's kinds, in the same form.
std::vector<std::string> validate_eventing(const Kind& kind, const Json& object, const Json* old,
                                           const Context& context);
/// Maistra, Istio, the operators, OpenShift: how their webhooks or CRDs answer.
Verdict validate_mesh(const Kind& kind, const Json& object, const Json* old,
                      const Context& context);

}  // namespace knit::schema
