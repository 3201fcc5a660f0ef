#include <algorithm>

#include "base/yaml.h"
#include "kube/schema/walk.h"

namespace knit::schema {

namespace {
std::string lower(std::string_view s) {
  std::string out(s);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

/// `Deployment in version "v1" cannot be handled as a Deployment: why`, 400.
Failure cannot_handle(std::string_view got, std::string_view version, std::string_view want,
                      std::string_view why) {
  std::string message = std::string(got) + " in version \"" + std::string(version) +
                        "\" cannot be handled as a " + std::string(want);
  if (!why.empty()) message += ": " + std::string(why);
  return bad_request(std::move(message));
}

Failure too_large(std::size_t bytes) {
  return {413,
          "RequestEntityTooLarge",
          "Request entity too large: limit is " + std::to_string(kMaxBodyBytes) + ", got " +
              std::to_string(bytes),
          {}};
}

/// Parses `body` into a DOM; strict findings (duplicate fields) go to `strict`.
Result<Json> parse_text(std::string_view body, ContentType type, std::vector<std::string>* strict) {
  if (type == ContentType::Json) {
    KNIT_TRY(Json dom, json::parse(body, {.max_bytes = kMaxBodyBytes, .max_depth = kMaxDepth}));
    if (strict != nullptr) {
      for (const std::string& path : json::duplicate_keys(body)) {
        strict->push_back("duplicate field \"" + path + "\"");
      }
    }
    return dom;
  }
  yaml::Limits limits;
  limits.max_bytes = kMaxBodyBytes;
  limits.max_depth = kMaxDepth;
  limits.max_nodes = 200'000;
  const yaml::Parsed parsed = yaml::parse(body, limits);
  if (!parsed.errors.empty()) {
    return Error(Code::InvalidArgument, "error converting YAML to JSON: yaml: line " +
                                            std::to_string(parsed.errors.front().mark.line) + ": " +
                                            parsed.errors.front().message);
  }
  for (const yaml::Document& document : parsed.documents) {
    if (document.root == nullptr) continue;
    if (strict != nullptr) {
      for (const auto& duplicate : document.duplicate_keys) {
        strict->push_back("line " + std::to_string(duplicate.mark.line) + ": " + duplicate.message);
      }
    }
    return yaml::to_json(*document.root);
  }
  return Error(Code::InvalidArgument, "the body holds no YAML document");
}

Decoded fail(Failure failure) {
  Decoded d;
  d.failure = std::move(failure);
  return d;
}

/// Common end: types, unknown fields, prune. `strict` holds what parsing found.
Decoded finish(const Kind& kind, std::string_view version, Json dom, FieldValidation validation,
               std::vector<std::string> strict) {
  if (!dom.is_object()) {
    return fail(bad_request("couldn't get version/kind; json parse error: json: cannot unmarshal " +
                            std::string(dom.is_array() ? "array" : "value") +
                            " into Go value of type struct { APIVersion string "
                            "\"json:\\\"apiVersion,omitempty\\\"\"; Kind string "
                            "\"json:\\\"kind,omitempty\\\"\" }"));
  }
  const std::string_view got_kind = json::str(dom, {"kind"});
  const std::string_view got_version = json::str(dom, {"apiVersion"});
  const std::string want_version = kind.api_version(version);
  if (!got_version.empty() && got_version != want_version) {
    return fail(bad_request("the API version in the data (" + std::string(got_version) +
                            ") does not match the expected API version (" + want_version + ")"));
  }
  if (!got_kind.empty() && got_kind != kind.kind) {
    return fail(cannot_handle(got_kind, version, kind.kind, {}));
  }
  Findings findings;
  if (kind.custom) {
    normalize_custom(*kind.message, dom, findings);
  } else {
    normalize_go(*kind.message, dom, findings);
  }
  if (!findings.type_error.empty()) {
    return fail(cannot_handle(kind.kind, version, kind.kind, findings.type_error));
  }
  for (const std::string& path : findings.unknown) {
    strict.push_back("unknown field \"" + path + "\"");
  }
  Decoded out;
  if (validation == FieldValidation::Strict && !strict.empty()) {
    std::string all;
    for (const auto& s : strict) all += (all.empty() ? "" : ", ") + s;
    return fail(cannot_handle(kind.kind, version, kind.kind, "strict decoding error: " + all));
  }
  if (validation == FieldValidation::Warn) out.warnings = std::move(strict);
  if (!findings.errors.empty()) {
    return fail(invalid(kind, json::str(dom, {"metadata", "name"}), std::move(findings.errors)));
  }
  JsonObject& object = dom.get_object();
  object["apiVersion"] = kind.api_version();
  object["kind"] = kind.kind;
  out.object = std::move(dom);
  return out;
}
}  // namespace

std::optional<ContentType> content_type(std::string_view header) {
  const auto semicolon = header.find(';');
  std::string_view type = header.substr(0, semicolon);
  while (!type.empty() && (type.back() == ' ' || type.back() == '\t')) type.remove_suffix(1);
  while (!type.empty() && (type.front() == ' ' || type.front() == '\t')) type.remove_prefix(1);
  const std::string name = lower(type);
  if (name.empty() || name == "application/json") return ContentType::Json;
  if (name == "application/yaml") return ContentType::Yaml;
  if (name == "application/vnd.kubernetes.protobuf") return ContentType::Protobuf;
  return std::nullopt;
}

std::optional<FieldValidation> field_validation(std::string_view parameter) {
  if (parameter.empty() || parameter == "Warn") return FieldValidation::Warn;
  if (parameter == "Ignore") return FieldValidation::Ignore;
  if (parameter == "Strict") return FieldValidation::Strict;
  return std::nullopt;
}

Decoded decode(const Kind& kind, std::string_view version, std::string_view body, ContentType type,
               FieldValidation validation) {
  if (body.size() > kMaxBodyBytes) return fail(too_large(body.size()));
  if (type == ContentType::Protobuf) {
    if (kind.custom) {
      return fail({415,
                   "UnsupportedMediaType",
                   "the body of the request was in an unknown format - accepted media types "
                   "include: application/json, application/yaml",
                   {}});
    }
    std::string api_version, kind_name;
    std::string_view raw;
    if (!open_envelope(body, &api_version, &kind_name, &raw)) {
      return fail(
          bad_request("provided data does not appear to be a protobuf message, expected "
                      "prefix \"k8s\\x00\""));
    }
    JsonObject object;
    if (!decode_message(*kind.message, raw, object, 0)) {
      return fail(cannot_handle(kind.kind, version, kind.kind, "proto: malformed message"));
    }
    if (!api_version.empty()) object["apiVersion"] = api_version;
    if (!kind_name.empty()) object["kind"] = kind_name;
    return finish(kind, version, Json(std::move(object)), FieldValidation::Ignore, {});
  }
  std::vector<std::string> strict;
  auto dom = parse_text(body, type, validation == FieldValidation::Ignore ? nullptr : &strict);
  if (!dom) {
    return fail(
        bad_request("error decoding " + std::string(kind.kind) + ": " + dom.error().message()));
  }
  return finish(kind, version, std::move(*dom), validation, std::move(strict));
}

Decoded decode_dom(const Kind& kind, std::string_view version, Json dom,
                   FieldValidation validation) {
  if (auto* object = dom.if_object()) {
    // A stored object carries the storage version whatever version is asked for.
    if (json::str(dom, {"apiVersion"}) == kind.api_version()) object->erase("apiVersion");
  }
  return finish(kind, version, std::move(dom), validation, {});
}

Decoded decode_options(std::string_view kind, std::string_view body, ContentType type) {
  Decoded out;
  out.object = JsonObject();
  const Message* message = Registry::get().message("meta.v1." + std::string(kind));
  KNIT_CHECK(message != nullptr);
  if (body.size() > kMaxBodyBytes) return fail(too_large(body.size()));
  if (body.empty()) return out;
  if (type == ContentType::Protobuf) {
    std::string api_version, kind_name;
    std::string_view raw;
    if (!open_envelope(body, &api_version, &kind_name, &raw) ||
        !decode_message(*message, raw, out.object.get_object(), 0)) {
      return fail(bad_request("the body is no protobuf " + std::string(kind)));
    }
    if (!kind_name.empty()) out.object.get_object()["kind"] = kind_name;
  } else {
    auto dom = parse_text(body, type, nullptr);
    if (!dom) return fail(bad_request(dom.error().message()));
    if (!dom->is_object()) return fail(bad_request("the body is no " + std::string(kind)));
    out.object = std::move(*dom);
  }
  const std::string_view got = json::str(out.object, {"kind"});
  if (!got.empty() && got != kind) {
    return fail(bad_request("the body is a " + std::string(got) + ", not a " + std::string(kind)));
  }
  Findings findings;
  normalize_go(*message, out.object, findings);
  if (!findings.type_error.empty()) return fail(bad_request(findings.type_error));
  return out;
}

std::optional<TypeMeta> protobuf_type(std::string_view body) {
  TypeMeta meta;
  std::string_view raw;
  if (!open_envelope(body, &meta.api_version, &meta.kind, &raw)) return std::nullopt;
  return meta;
}

std::vector<std::string> prune(const Kind& kind, Json& object) {
  Findings findings;
  if (kind.custom) normalize_custom(*kind.message, object, findings);
  return std::move(findings.unknown);
}

}  // namespace knit::schema
