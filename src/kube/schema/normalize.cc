#include <algorithm>
#include <cmath>

#include "base/quantity.h"
#include "kube/schema/walk.h"

namespace knit::schema {

namespace {
std::string_view sv(const boost::json::string& s) { return {s.data(), s.size()}; }
std::string_view sv(boost::json::string_view s) { return {s.data(), s.size()}; }

std::string_view go_kind(const Json& v) {
  switch (v.kind()) {
    case boost::json::kind::string:
      return "string";
    case boost::json::kind::bool_:
      return "bool";
    case boost::json::kind::array:
      return "array";
    case boost::json::kind::object:
      return "object";
    case boost::json::kind::null:
      return "null";
    default:
      return "number";
  }
}

/// openapi's name of a value's type.
std::string_view api_type(const Json& v) {
  switch (v.kind()) {
    case boost::json::kind::string:
      return "string";
    case boost::json::kind::bool_:
      return "boolean";
    case boost::json::kind::array:
      return "array";
    case boost::json::kind::object:
      return "object";
    case boost::json::kind::null:
      return "null";
    case boost::json::kind::double_:
      return "number";
    default:
      return "integer";
  }
}

std::string_view go_type(const Field& f) {
  switch (f.type) {
    case Type::Int32:
      return "int32";
    case Type::Int64:
      return "int64";
    case Type::Bool:
      return "bool";
    case Type::Double:
      return "float64";
    case Type::Message:
      return f.message->name;
    default:
      return "string";
  }
}

bool integer_in(const Json& v, std::int64_t low, std::int64_t high) {
  if (const auto* i = v.if_int64()) return *i >= low && *i <= high;
  if (const auto* u = v.if_uint64()) return *u <= static_cast<std::uint64_t>(high);
  return false;
}

bool is_zero(const Json& v) {
  switch (v.kind()) {
    case boost::json::kind::null:
      return true;
    case boost::json::kind::bool_:
      return !v.get_bool();
    case boost::json::kind::int64:
      return v.get_int64() == 0;
    case boost::json::kind::uint64:
      return v.get_uint64() == 0;
    case boost::json::kind::double_:
      return v.get_double() == 0;
    case boost::json::kind::string:
      return v.get_string().empty();
    case boost::json::kind::array:
      return v.get_array().empty();
    case boost::json::kind::object:
      return v.get_object().empty();
  }
  return false;
}

/// "core.v1.PodSpec" → "PodSpec".
std::string_view short_name(std::string_view message) {
  return message.substr(message.rfind('.') + 1);
}

class Walk {
 public:
  explicit Walk(Findings& findings) : findings_(findings) {}

  // -------------------------------------------------------------- Go types

  void go_message(const Message& m, Json& value, const std::string& path) {
    auto* object = value.if_object();
    if (object == nullptr) return mismatch(value, short_name(m.name));
    std::vector<std::string> gone;
    for (auto& member : *object) {
      const std::string_view key = sv(member.key());
      const Field* f = find(m, key);
      if (f == nullptr) {
        unknown(join(path, key));
        gone.emplace_back(key);
        continue;
      }
      struct_ = short_name(m.name);
      if (!go_field(*f, member.value(), join(path, key))) gone.emplace_back(key);
      if (failed()) return;
    }
    for (const auto& key : gone) object->erase(key);
    complete(m, *object);
  }

  // -------------------------------------------------------------- custom resources

  void custom_root(const Message& m, Json& value) {
    auto* object = value.if_object();
    if (object == nullptr) return;
    std::vector<std::string> gone;
    for (auto& member : *object) {
      const std::string_view key = sv(member.key());
      const Field* f = m.find(key);
      if (f == nullptr) {
        unknown(std::string(key));
        gone.emplace_back(key);
      } else if (member.value().is_null()) {
        gone.emplace_back(key);
      } else if (key == "metadata") {
        go_message(*f->message, member.value(), "metadata");
        if (failed()) return;
      } else {
        custom_field(*f, member.value(), std::string(key));
      }
    }
    for (const auto& key : gone) object->erase(key);
  }

 private:
  static std::string join(const std::string& path, std::string_view key) {
    std::string out = path;
    if (!out.empty()) out += '.';
    out += key;
    return out;
  }
  bool failed() const { return !findings_.type_error.empty(); }
  void unknown(std::string path) {
    if (findings_.unknown.size() < kMaxFieldErrors) findings_.unknown.push_back(std::move(path));
  }

  /// Fields of inlined messages stand in the parent.
  static const Field* find(const Message& m, std::string_view key) {
    if (const Field* f = m.find(key); f != nullptr && !f->inlined) return f;
    for (const Field& f : m.fields) {
      if (f.inlined) {
        if (const Field* inner = find(*f.message, key)) return inner;
      }
    }
    return nullptr;
  }

  void mismatch(const Json& v, std::string_view type) { mismatch_at(v, type, path_); }
  void mismatch_at(const Json& v, std::string_view type, std::string_view path) {
    if (failed()) return;
    std::string what(go_kind(v));
    if (v.is_number()) what += " " + json::print(v);
    std::string names;  // encoding/json's paths have no indexes
    bool index = false;
    for (const char c : path) {
      if (c == '[') index = true;
      if (!index) names += c;
      if (c == ']') index = false;
    }
    findings_.type_error = "json: cannot unmarshal " + what + " into Go struct field " +
                           std::string(struct_) + "." + names + " of type " + std::string(type);
  }

  /// False when the field goes.
  bool go_field(const Field& f, Json& value, const std::string& path) {
    path_ = path;
    if (value.is_null()) return false;
    if (f.shape == Shape::List) {
      auto* array = value.if_array();
      if (array == nullptr) {
        mismatch(value, "[]" + std::string(go_type(f)));
        return true;
      }
      std::size_t i = 0;
      for (Json& item : *array) {
        const std::string at = path + "[" + std::to_string(i++) + "]";
        path_ = at;
        go_item(f, item, at);
        if (failed()) return true;
      }
      return !array->empty() || f.always || f.pointer;
    }
    if (f.shape == Shape::Map) {
      auto* object = value.if_object();
      if (object == nullptr) {
        mismatch(value, "map[string]" + std::string(go_type(f)));
        return true;
      }
      for (auto& member : *object) {
        const std::string at = join(path, sv(member.key()));
        path_ = at;
        go_item(f, member.value(), at);
        if (failed()) return true;
      }
      return !object->empty() || f.always || f.pointer;
    }
    go_value(f, value, path);
    if (failed() || f.pointer || f.always) return !value.is_null();
    return !is_zero(value);
  }

  void go_item(const Field& f, Json& value, const std::string& path) {
    if (value.is_null()) {
      if (f.type == Type::Any || f.type == Type::Raw) return;
      value = zero(f);
    }
    go_value(f, value, path);
  }

  static Json zero(const Field& f) {
    switch (f.type) {
      case Type::Int32:
      case Type::Int64:
      case Type::IntOrString:
        return 0;
      case Type::Double:
        return 0.0;
      case Type::Bool:
        return false;
      case Type::Quantity:
        return "0";
      case Type::Message:
      case Type::StringMap:
        return JsonObject();
      case Type::Strings:
        return JsonArray();
      default:
        return "";
    }
  }

  void go_value(const Field& f, Json& value, const std::string& path) {
    const auto want = [&](bool good) {
      if (!good) mismatch_at(value, go_type(f), path);
      return good;
    };
    switch (f.type) {
      case Type::String:
        want(value.is_string());
        return;
      case Type::Bool:
        want(value.is_bool());
        return;
      case Type::Int32:
        want(integer_in(value, INT32_MIN, INT32_MAX));
        return;
      case Type::Int64:
        want(integer_in(value, INT64_MIN, INT64_MAX));
        return;
      case Type::Double:
        if (want(value.is_number())) value = value.to_number<double>();
        return;
      case Type::Bytes: {
        if (!want(value.is_string())) return;
        const auto bytes = unbase64(sv(value.get_string()));
        if (!bytes) {
          findings_.type_error = "illegal base64 data in " + path;
          return;
        }
        value = base64(*bytes);
        return;
      }
      case Type::Quantity:
        if (value.is_number()) value = json::print(value);
        if (!want(value.is_string())) return;
        if (auto q = Quantity::parse(sv(value.get_string()))) {
          value = q->str();
        } else {
          findings_.type_error = q.error().message();
        }
        return;
      case Type::Time:
      case Type::MicroTime: {
        if (!want(value.is_string())) return;
        if (value.get_string().empty()) {
          value = nullptr;
          return;
        }
        const auto t = parse_rfc3339(sv(value.get_string()));
        if (!t) {
          findings_.type_error = "parsing time \"" + std::string(sv(value.get_string())) +
                                 "\" as \"2006-01-02T15:04:05Z07:00\": " + t.error().message();
          return;
        }
        value = f.type == Type::Time ? rfc3339(*t) : rfc3339_fraction(*t, 6);
        return;
      }
      case Type::Duration: {
        if (!want(value.is_string())) return;
        const auto d = parse_go_duration(sv(value.get_string()));
        if (!d) {
          findings_.type_error =
              "time: invalid duration \"" + std::string(sv(value.get_string())) + "\"";
          return;
        }
        value = go_duration(*d);
        return;
      }
      case Type::IntOrString:
        want(value.is_string() || integer_in(value, INT32_MIN, INT32_MAX));
        return;
      case Type::Raw:
      case Type::FieldsV1:
        want(value.is_object());
        return;
      case Type::StringMap:
        if (!want(value.is_object())) return;
        for (const auto& member : value.get_object()) {
          if (!member.value().is_string()) {
            mismatch_at(member.value(), "string", join(path, sv(member.key())));
          }
        }
        return;
      case Type::Strings:
        if (!want(value.is_array())) return;
        for (const Json& item : value.get_array()) {
          if (!item.is_string()) mismatch_at(item, "string", path);
        }
        return;
      case Type::SchemaOrArray:
      case Type::SchemaOrBool:
      case Type::SchemaOrStrings:
        schema_union(f, value, path);
        return;
      case Type::Any:
        return;
      case Type::Message: {
        const auto outer = struct_;
        path_ = path;
        go_message(*f.message, value, path);
        struct_ = outer;
        return;
      }
    }
  }

  void schema_union(const Field& f, Json& value, const std::string& path) {
    static const Message& schema = *Registry::get().message("apiextensions.v1.JSONSchemaProps");
    if (value.is_object()) return go_message(schema, value, path);
    if (f.type == Type::SchemaOrBool && value.is_bool()) return;
    if (f.type == Type::SchemaOrArray && value.is_array()) {
      for (Json& item : value.get_array()) go_message(schema, item, path);
      return;
    }
    if (f.type == Type::SchemaOrStrings && value.is_array()) {
      for (const Json& item : value.get_array()) {
        if (!item.is_string()) mismatch_at(item, "string", path);
      }
      return;
    }
    mismatch_at(value, "JSONSchemaProps", path);
  }

  /// Adds what Go always prints.
  static void complete(const Message& m, JsonObject& object) {
    for (const Field& f : m.fields) {
      if (f.inlined) {
        complete(*f.message, object);
      } else if (f.always && f.shape == Shape::One && !object.contains(f.name)) {
        Json value = zero(f);
        if (f.type == Type::Message) complete(*f.message, value.get_object());
        object[f.name] = std::move(value);
      }
    }
  }

  void type_error(const Json& v, std::string_view type, const std::string& path) {
    if (findings_.errors.size() >= kMaxFieldErrors) return;
    const std::string got(api_type(v));
    findings_.errors.push_back({Reason::TypeInvalid, path,
                                "Invalid value: \"" + got + "\": " + path +
                                    " in body must be of type " + std::string(type) + ": \"" + got +
                                    "\""});
  }

  void custom_field(const Field& f, Json& value, const std::string& path) {
    if (f.shape == Shape::List) {
      auto* array = value.if_array();
      if (array == nullptr) return type_error(value, "array", path);
      std::size_t i = 0;
      for (Json& item : *array) custom_value(f, item, path + "[" + std::to_string(i++) + "]");
    } else if (f.shape == Shape::Map) {
      auto* object = value.if_object();
      if (object == nullptr) return type_error(value, "object", path);
      for (auto& member : *object) {
        custom_value(f, member.value(), join(path, sv(member.key())));
      }
    } else {
      custom_value(f, value, path);
    }
  }

  void custom_message(const Message& m, JsonObject& object, const std::string& path) {
    std::vector<std::string> gone;
    for (auto& member : object) {
      const std::string_view key = sv(member.key());
      const Field* f = find(m, key);
      if (f == nullptr) {
        if (m.open) continue;
        unknown(join(path, key));
        gone.emplace_back(key);
      } else if (member.value().is_null()) {
        gone.emplace_back(key);
      } else {
        custom_field(*f, member.value(), join(path, key));
      }
    }
    for (const auto& key : gone) object.erase(key);
    required(m, object, path);
  }

  void required(const Message& m, const JsonObject& object, const std::string& path) {
    // Only Knit's own tables say what a custom resource requires; Go's "req" means no omitempty.
    if (m.name.starts_with("core.") || m.name.starts_with("meta.")) return;
    for (const Field& f : m.fields) {
      if (f.required && !object.contains(f.name)) {
        findings_.errors.push_back({Reason::Required, join(path, f.name), "Required value"});
      }
    }
  }

  void custom_value(const Field& f, Json& value, const std::string& path) {
    switch (f.type) {
      case Type::String:
      case Type::Time:
      case Type::MicroTime:
      case Type::Duration:
      case Type::Bytes:
        if (!value.is_string()) return type_error(value, "string", path);
        if (f.type == Type::Duration && !parse_go_duration(sv(value.get_string()))) {
          findings_.errors.push_back({Reason::Invalid, path,
                                      "Invalid value: \"" + std::string(sv(value.get_string())) +
                                          "\": must be a duration such as 1h/1m/1s/1ms"});
        }
        if (!f.enumeration.empty()) enumeration(f, sv(value.get_string()), path);
        return;
      case Type::Int32:
      case Type::Int64: {
        if (const auto* d = value.if_double();
            d != nullptr && std::floor(*d) == *d && std::fabs(*d) < 9e15) {
          value = static_cast<std::int64_t>(*d);  // 1.0 is an integer in JSON schema
        }
        const bool narrow = f.type == Type::Int32;
        if (!value.is_int64() && !value.is_uint64()) return type_error(value, "integer", path);
        if (!integer_in(value, narrow ? INT32_MIN : INT64_MIN, narrow ? INT32_MAX : INT64_MAX)) {
          findings_.errors.push_back(
              {Reason::Invalid, path,
               "Invalid value: " + json::print(value) + ": " + path + " in body must be of type " +
                   (narrow ? "int32" : "int64") + ": " + json::print(value)});
        }
        return;
      }
      case Type::Bool:
        if (!value.is_bool()) type_error(value, "boolean", path);
        return;
      case Type::Double:
        if (!value.is_number()) type_error(value, "number", path);
        return;
      case Type::Quantity:
      case Type::IntOrString:
        if (!value.is_string() && !value.is_number()) {
          return type_error(value, "integer,string", path);
        }
        if (f.type == Type::Quantity &&
            !Quantity::parse(value.is_string() ? std::string(sv(value.get_string()))
                                               : json::print(value))) {
          findings_.errors.push_back(
              {Reason::Invalid, path,
               "Invalid value: " + json::print(value) + ": " + path +
                   " in body should match '^(\\+|-)?(([0-9]+(\\.[0-9]*)?)|(\\.[0-9]+))(([KMGTPE]i)|"
                   "[numkMGTPE]|([eE](\\+|-)?(([0-9]+(\\.[0-9]*)?)|(\\.[0-9]+))))?$'"});
        }
        return;
      case Type::Raw:
      case Type::FieldsV1:
        if (!value.is_object()) type_error(value, "object", path);
        return;
      case Type::StringMap:
        if (!value.is_object()) return type_error(value, "object", path);
        for (const auto& member : value.get_object()) {
          if (!member.value().is_string()) {
            type_error(member.value(), "string", join(path, sv(member.key())));
          }
        }
        return;
      case Type::Message:
        if (!value.is_object()) return type_error(value, "object", path);
        custom_message(*f.message, value.get_object(), path);
        return;
      case Type::Any:
      case Type::Strings:
      case Type::SchemaOrArray:
      case Type::SchemaOrBool:
      case Type::SchemaOrStrings:
        return;
    }
  }

  void enumeration(const Field& f, std::string_view value, const std::string& path) {
    std::string supported;
    std::string_view rest = f.enumeration;
    while (!rest.empty()) {
      const auto bar = std::min(rest.find('|'), rest.size());
      if (rest.substr(0, bar) == value) return;
      supported += (supported.empty() ? "\"" : ", \"") + std::string(rest.substr(0, bar)) + "\"";
      rest.remove_prefix(std::min(bar + 1, rest.size()));
    }
    findings_.errors.push_back(
        {Reason::NotSupported, path,
         "Unsupported value: \"" + std::string(value) + "\": supported values: " + supported});
  }

  Findings& findings_;
  std::string_view struct_;  // the innermost Go struct, for messages
  std::string path_;
};
}  // namespace

void normalize_go(const Message& message, Json& value, Findings& findings) {
  Walk(findings).go_message(message, value, {});
}

void normalize_custom(const Message& message, Json& value, Findings& findings) {
  Walk(findings).custom_root(message, value);
}

}  // namespace knit::schema
