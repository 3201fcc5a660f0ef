// What a rule says: a stable record (knit.dev/v1 CheckReport) that every output prints from.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "check/objects.h"

namespace knit::check {

enum class Severity { Info, Warning, Error };
std::string_view to_string(Severity s);  // "info", "warning", "error"

enum class Confidence { Proven, Likely, Unknown };
std::string_view to_string(Confidence c);

/// One change of one object in the input.
struct Edit {
  enum class Op { Set, Remove };
  Op op = Op::Set;
  ItemPtr object;
  yaml::Path path;
  Json value;
};
struct Fix {
  enum class Type { None, Patch, Command, Manual };
  Type type = Type::None;
  std::vector<Edit> edits;  // Patch
  std::string text;         // Command or Manual
};
struct Evidence {
  std::string object;  // "Gateway a/b"
  std::string fact;    // "created 2025-03-01T00:00:00Z, wins"
};

struct Finding {
  std::string code;  // "K201"
  Severity severity = Severity::Error;
  Confidence confidence = Confidence::Proven;  // Unknown: the rule could not decide
  std::string title;                           // the rule's affirmative sentence
  std::string message;                         // what is wrong here: object, field, value
  ItemPtr object;                              // may be null (a whole set)
  yaml::Path path;
  Place place;
  std::vector<Evidence> evidence;
  Fix fix;
  // Suppression
  bool suppressed = false;
  std::string reason;

  bool unknown() const { return confidence == Confidence::Unknown; }
};

}  // namespace knit::check
