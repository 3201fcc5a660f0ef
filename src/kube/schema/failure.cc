#include <algorithm>

#include "kube/schema/schema.h"

namespace knit::schema {

std::string_view cause_reason(Reason r) {
  switch (r) {
    case Reason::Invalid:
      return "FieldValueInvalid";
    case Reason::Required:
      return "FieldValueRequired";
    case Reason::Forbidden:
      return "FieldValueForbidden";
    case Reason::NotSupported:
      return "FieldValueNotSupported";
    case Reason::Duplicate:
      return "FieldValueDuplicate";
    case Reason::TooLong:
      return "FieldValueTooLong";
    case Reason::TooMany:
      return "FieldValueTooMany";
    case Reason::TypeInvalid:
      return "FieldValueTypeInvalid";
    case Reason::NotFound:
      return "FieldValueNotFound";
    case Reason::Internal:
      return "InternalError";
  }
  return "";
}

std::string to_string(const FieldError& e) { return e.field + ": " + e.message; }

Failure bad_request(std::string message) { return {400, "BadRequest", std::move(message), {}}; }

Failure invalid(const Kind& kind, std::string_view name, std::vector<FieldError> errors) {
  // Source: apimachinery pkg/api/errors/errors.go NewInvalid, utilerrors.NewAggregate (equal
  // messages once).
  Failure f{422, "Invalid", {}, {}};
  std::vector<std::string> texts;
  for (FieldError& e : errors) {
    std::string text = to_string(e);
    if (std::find(texts.begin(), texts.end(), text) != texts.end()) continue;
    texts.push_back(std::move(text));
    f.causes.push_back(std::move(e));
  }
  std::string all;
  for (const auto& t : texts) all += (all.empty() ? "" : ", ") + t;
  if (texts.size() > 1) all = "[" + all + "]";
  f.message = std::string(kind.kind);
  if (!kind.group.empty()) f.message += "." + std::string(kind.group);
  f.name = name;
  f.message += " \"" + std::string(name) + "\" is invalid: " + all;
  return f;
}

Failure forbidden(const Kind& kind, std::string_view name, std::string_view why) {
  return {
      403,
      "Forbidden",
      kind.group_resource() + " \"" + std::string(name) + "\" is forbidden: " + std::string(why),
      {}};
}

}  // namespace knit::schema
