// A CloudEvent as a value: context attributes, extensions, data bytes.
// Source: cloudevents/spec cloudevents/spec.md (1.0.2); spec/eventing.md 2.4.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/codec.h"
#include "base/result.h"

namespace knit::events {

/// Bounds of one event, from outside or from ourselves.
struct Limits {
  std::size_t max_data_bytes = 8 << 20;        // 413 beyond, naming it
  std::size_t max_attribute_bytes = 64 << 10;  // names and values together
  std::size_t max_extensions = 128;
  std::size_t max_batch_events = 1000;
  std::size_t max_batch_bytes = 16 << 20;
};

enum class ValueType { String, Integer, Boolean };

/// An extension attribute. `value` is the canonical string form whatever the type ("true", "-5"):
/// HTTP headers carry only that, JSON keeps the type.
struct Extension {
  std::string name;
  ValueType type = ValueType::String;
  std::string value;

  bool operator==(const Extension&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(1, s.name);
    v(2, s.type);
    v(3, s.value);
  }
};

/// Absent optional attributes are empty strings (the specification forbids empty values).
/// `extensions` is sorted by name. `data` is decoded (never base64), absent differs from empty.
struct Event {
  std::string specversion = "1.0";  // or "0.3"
  std::string id;
  std::string source;
  std::string type;
  std::string datacontenttype;
  std::string dataschema;           // "schemaurl" in 0.3
  std::string datacontentencoding;  // 0.3 only: "base64" or empty
  std::string subject;
  std::string time;  // RFC 3339, as it came
  std::vector<Extension> extensions;
  std::optional<std::string> data;

  bool operator==(const Event&) const = default;

  /// An extension's string form, or nothing.
  const Extension* extension(std::string_view name) const;
  /// Adds or replaces; `name` has been checked by valid_name().
  void set_extension(std::string_view name, std::string value,
                     ValueType value_type = ValueType::String);
  void erase_extension(std::string_view name);

  /// Any attribute by name as a string, as filters see it; nothing when absent. Knows specversion,
  /// type, source, subject, id, time, dataschema or schemaurl (by version), datacontenttype,
  /// datamediatype (the content type without parameters), datacontentencoding, and extensions.
  std::optional<std::string_view> attribute(std::string_view name) const;

  /// Sum of names and values.
  std::size_t attribute_bytes() const;

  /// The form of the log: codec::encode/decode.
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(1, s.specversion);
    v(2, s.id);
    v(3, s.source);
    v(4, s.type);
    v(5, s.datacontenttype);
    v(6, s.dataschema);
    v(7, s.datacontentencoding);
    v(8, s.subject);
    v(9, s.time);
    v(10, s.extensions);
    v(11, s.data);
  }
};

/// [a-z0-9]+
bool valid_name(std::string_view name);
/// The names that are not extensions in that version, "data" and "data_base64" included.
bool reserved_name(std::string_view name, std::string_view specversion);
bool valid_utf8(std::string_view text);
/// Valid UTF-8 without the control characters that the String type forbids.
bool valid_string(std::string_view text);
/// The content type in lower case without parameters.
std::string media_type(std::string_view content_type);
/// application/json, text/json, anything ending in +json; and the empty one.
bool is_json_type(std::string_view content_type);

/// Checks everything the specification demands of a received event. Errors: InvalidArgument naming
/// the attribute, ResourceExhausted past a limit.
Result<void> validate(const Event& event, const Limits& limits);

}  // namespace knit::events
