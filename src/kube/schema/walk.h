// The typed walk over a DOM: what decode.cc and protobuf.cc share. Internal to kube/schema.
#pragma once

#include "kube/schema/schema.h"

namespace knit::schema {

inline constexpr std::size_t kMaxDepth = 64;
inline constexpr std::size_t kMaxBodyBytes = 3 << 20;
inline constexpr std::size_t kMaxFieldErrors = 100;

/// What a walk found.
struct Findings {
  std::vector<std::string> unknown;  // paths
  std::string type_error;            // Go-typed kinds: the first one, as encoding/json says it
  std::vector<FieldError> errors;    // custom resources
};

/// Brings `value` into the form in which Go would print it after decoding into the type: unknown
/// fields, nulls and empty optional values go, struct values and values that are always printed
/// come, quantities and times are canonical.
void normalize_go(const Message& message, Json& value, Findings& findings);
/// The object of a custom resource: metadata as above; elsewhere types are checked, unknown fields
/// and nulls go, nothing comes.
void normalize_custom(const Message& message, Json& value, Findings& findings);

/// Decodes the message `in` into the object `into`. False when malformed. What Go's encoder always
/// writes (zero values) comes too; normalize_go() removes it.
bool decode_message(const Message& message, std::string_view in, JsonObject& into, int depth);

/// The envelope "k8s\0" + Unknown. False when malformed.
bool open_envelope(std::string_view body, std::string* api_version, std::string* kind,
                   std::string_view* raw);

bool valid_utf8(std::string_view s);
std::string base64(std::string_view bytes);
/// nullopt when it is none; line breaks are skipped, as Go does.
std::optional<std::string> unbase64(std::string_view text);

}  // namespace knit::schema
