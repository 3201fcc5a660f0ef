// What Knit knows about every kind: names, fields, types, protobuf numbers, merge keys, columns and
// support, as data (tables/*.txt, embedded and parsed once); and the pure functions over it that
// an API server, the command line and `check` share. Thread-safe: the registry never changes.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/time.h"
#include "kube/object.h"

namespace knit::schema {

// ---------------------------------------------------------------- tables

/// What a field or kind does on Knit (design.md 4).
enum class Support : std::uint8_t {
  Effective,
  Inert,   // stored; documented as without meaning here
  Warn,    // stored, `Warning:` on write when it is set
  Refuse,  // a write that sets it is refused by name
};
std::string_view to_string(Support s);

enum class Type : std::uint8_t {
  String,
  Int32,
  Int64,
  Bool,
  Double,
  Bytes,
  Quantity,
  Time,
  MicroTime,
  Duration,
  IntOrString,
  Raw,        // RawExtension: any JSON object
  Any,        // any JSON value
  FieldsV1,   // managedFields
  Strings,    // a protobuf message {1: repeated string}: ExtraValue
  StringMap,  // an object of strings
  SchemaOrArray,
  SchemaOrBool,
  SchemaOrStrings,  // apiextensions' unions
  Message,
};
enum class Shape : std::uint8_t { One, List, Map };  // Map: string keys

struct Message;

struct Field {
  std::string_view name;     // JSON name
  std::uint16_t number = 0;  // protobuf; 0: none
  Type type = Type::String;
  Shape shape = Shape::One;
  Support support = Support::Warn;
  bool pointer = false;      // zero values are kept (presence matters)
  bool always = false;       // Go prints it even when zero
  bool inlined = false;      // a protobuf message whose fields stand in the parent in JSON
  bool merge = false;        // strategic merge: patchStrategy "merge"
  bool retain_keys = false;  // "retainKeys"
  bool replace = false;      // "replace"
  bool set = false;          // x-kubernetes-list-type: set
  bool required = false;
  std::string_view merge_key;    // patchMergeKey
  std::string_view map_keys;     // x-kubernetes-list-map-keys, comma separated
  std::string_view enumeration;  // allowed strings, '|' separated; empty: any
  std::string_view oneof;        // at most one field of this name may be set (Istio)
  std::string_view harmless;     // values that need no warning or refusal, '|' separated
  std::string_view note;         // why it is inert, warned about or refused
  const Message* message = nullptr;
};

struct Message {
  std::string_view name;  // "core.v1.PodSpec"
  bool open = false;      // unknown fields are kept (x-kubernetes-preserve-unknown-fields)
  Support unknown = Support::Effective;  // what those do
  std::span<const Field> fields;         // sorted by name
  const Field* find(std::string_view json_name) const;
  const Field* by_number(std::uint32_t number) const;
};

struct Column {
  std::string_view name, type, format, description;
  int priority = 0;            // > 0: only with -o wide
  std::string_view json_path;  // custom resources; empty: computed by code
};

struct Kind {
  std::string_view group, kind, list_kind, plural, singular;
  std::vector<std::string_view> versions;  // served, preferred first
  std::string_view storage_version;
  std::vector<std::string_view> short_names, categories, verbs, subresources;
  bool namespaced = false;
  bool custom = false;  // custom-resource semantics: no strategic merge, no protobuf,
                        // 422 for wrong types, resourceVersion required on PUT
  bool stored = true;   // false: SubjectAccessReview, TokenReview, Scale, DeleteOptions…
  Support support = Support::Effective;
  std::string_view note;  // the sentence for a kind that is refused or warned about
  std::string_view replicas_path, status_replicas_path, selector_path;  // scale; ".spec.replicas"
  std::vector<Column> columns;
  const Message* message = nullptr;
  kube::Resource resource;

  bool has(std::string_view subresource) const;
  bool serves(std::string_view version) const;
  bool has_status() const { return has("status"); }
  /// "deployments.apps", "pods": as Status messages name it.
  std::string group_resource() const;
  /// "apps/v1", "v1".
  std::string api_version(std::string_view version = {}) const;
};

class Registry {
 public:
  /// Parsed on first use; a malformed table aborts (a test parses all).
  static const Registry& get();
  /// nullptr when unknown or the version is not served. `plural` also takes no short names.
  const Kind* by_plural(std::string_view group, std::string_view version,
                        std::string_view plural) const;
  const Kind* by_kind(std::string_view group, std::string_view version,
                      std::string_view kind) const;
  /// By "apps/v1" and kind, as objects carry them.
  const Kind* by_api_version(std::string_view api_version, std::string_view kind) const;
  const Kind* by_resource(kube::Resource resource) const;
  /// All, in discovery order: groups by priority, kinds by plural. Unstored kinds too.
  std::span<const Kind> kinds() const { return kinds_; }
  const Message* message(std::string_view name) const;
  std::span<const Message> messages() const { return messages_; }

  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

 private:
  Registry();
  friend class Loader;
  std::vector<Kind> kinds_;
  std::deque<std::string> names_;  // what was made for kinds: singular names, list kinds
  std::vector<Message> messages_;  // sorted by name
  std::vector<Field> fields_;
};

// ---------------------------------------------------------------- errors

enum class Reason {
  Invalid,
  Required,
  Forbidden,
  NotSupported,
  Duplicate,
  TooLong,
  TooMany,
  TypeInvalid,
  NotFound,
  Internal,
};
/// "FieldValueInvalid", as Status causes have it.
std::string_view cause_reason(Reason r);

/// One field.Error of upstream.
struct FieldError {
  Reason reason = Reason::Invalid;
  std::string field;    // "spec.containers[0].name"
  std::string message;  // "Invalid value: \"x\": must be …" (without the field)
  bool operator==(const FieldError&) const = default;
};
std::string to_string(const FieldError& e);  // "field: message"

/// Everything a Status needs. `reason` is upstream's ("Invalid", "BadRequest", …).
struct Failure {
  int code = 400;
  std::string reason = "BadRequest";
  std::string message;
  std::vector<FieldError> causes;
  std::string name = {};  // of the object, when the failure says so
  bool operator==(const Failure&) const = default;
};
Failure bad_request(std::string message);
/// 422: `Kind.group "name" is invalid: <errors>`, with causes.
Failure invalid(const Kind& kind, std::string_view name, std::vector<FieldError> errors);
/// 403 Forbidden: `plural.group "name" is forbidden: why`.
Failure forbidden(const Kind& kind, std::string_view name, std::string_view why);

// ---------------------------------------------------------------- decoding

enum class ContentType { Json, Yaml, Protobuf };
/// From a Content-Type header (parameters ignored; empty is JSON). nullopt: 415.
std::optional<ContentType> content_type(std::string_view header);

enum class FieldValidation { Ignore, Warn, Strict };
/// From the query parameter; empty is Warn. nullopt: 422 by the caller.
std::optional<FieldValidation> field_validation(std::string_view parameter);

struct Decoded {
  std::optional<Failure> failure;
  Json object;                        // with apiVersion and kind
  std::vector<std::string> warnings;  // field validation "Warn"
};

/// Decodes a body that should hold `kind` in `version`: parses, checks apiVersion and kind (both
/// may be absent), types and unknown fields, brings Go-typed kinds into the form Go would print
/// (nulls and empty optional values dropped, struct values present), prunes custom resources. YAML
/// takes the first document. Bounds: 3 MiB, depth 64.
Decoded decode(const Kind& kind, std::string_view version, std::string_view body, ContentType type,
               FieldValidation validation);
/// The same from a DOM (the result of a patch).
Decoded decode_dom(const Kind& kind, std::string_view version, Json dom,
                   FieldValidation validation);
/// meta/v1 options ("DeleteOptions", "PatchOptions"…) from JSON, YAML or protobuf; an empty body
/// gives an empty object.
Decoded decode_options(std::string_view kind, std::string_view body, ContentType type);

/// Only the protobuf envelope: apiVersion and kind. nullopt when malformed.
struct TypeMeta {
  std::string api_version, kind;
};
std::optional<TypeMeta> protobuf_type(std::string_view body);
/// Encodes (tests, clients). Errors: InvalidArgument for values that do not fit.
Result<std::string> encode_protobuf(const Kind& kind, const Json& object);

// ---------------------------------------------------------------- defaults, validation, support

enum class Operation { Create, Update, UpdateStatus, Delete };

/// What decisions need beside the object. Everything optional has upstream's default.
struct Context {
  Operation operation = Operation::Create;
  std::string user;           // for creator/lastModifier annotations
  const Json* old = nullptr;  // the stored object on an update (lastModifier)
  bool internal = false;      // one of Knit's controllers writes: no support refusals or warnings
  WallTime now;
  bool upstream_strict = false;  // compatibility: upstream
  /// Knative's ConfigMap data ("config-defaults", …): name → {key: value}; may be null. Of
  /// knative-eventing for Eventing's kinds (is_eventing), of knative-serving for all others.
  const Json* knative_config = nullptr;
};

/// Upstream's defaults (kubeapi.md 1.7, serving.md 1.9, mesh.md 2). Idempotent.
void apply_defaults(const Kind& kind, Json& object, const Context& context);

/// A kind of knative-eventing's webhook: Brokers, channels, flows, sources.
bool is_eventing(const Kind& kind);

struct Verdict {
  std::optional<Failure> failure;
  std::vector<std::string> warnings;
  bool ok() const { return !failure; }
};
/// Checks the object after defaults; `old` is null on create. Knative kinds fail as their webhook
/// does (400 "admission webhook … denied the request: validation failed: …").
Verdict validate(const Kind& kind, const Json& object, const Json* old, const Context& context);
/// Walks every field that is set (or changed against `old`): warnings and refusals by the tables.
Verdict check_support(const Kind& kind, const Json& object, const Json* old,
                      const Context& context);
/// Removes from a custom resource what its schema does not know. Paths of what was removed.
std::vector<std::string> prune(const Kind& kind, Json& object);

/// defaults + validate + support, in the order upstream has them.
Verdict admit(const Kind& kind, Json& object, const Json* old, const Context& context);

// ---------------------------------------------------------------- update rules

/// What a write through the main resource may not change: status (when it is a subresource), uid,
/// creationTimestamp, deletionTimestamp, generation come from `old`; on create status is dropped.
void prepare_create(const Kind& kind, Json& object);
void prepare_update(const Kind& kind, Json& object, const Json& old);
/// A write to /status: everything but status (and metadata.{resourceVersion,managedFields}) is
/// old's.
void prepare_status_update(const Kind& kind, Json& object, const Json& old);
/// True when metadata.generation must go up: anything but metadata and status differs.
bool generation_changes(const Kind& kind, const Json& before, const Json& after);
/// Whether the kind has metadata.generation at all (kinds with a spec; custom resources).
bool has_generation(const Kind& kind);

// ---------------------------------------------------------------- scale

/// autoscaling/v1 Scale of an object that has the subresource; nullopt when it has not.
std::optional<Json> scale_of(const Kind& kind, const Json& object);
/// Writes scale.spec.replicas into the object.
void apply_scale(const Kind& kind, Json& object, const Json& scale);

// ---------------------------------------------------------------- tables (kubectl get)

/// metav1.Table.columnDefinitions.
JsonArray column_definitions(const Kind& kind);
struct Row {
  JsonArray cells;
  JsonArray conditions;  // [{"type":"Completed","status":"True",…}] for finished pods
};
Row table_row(const Kind& kind, const Json& object, WallTime now);
/// "18m", "4h2m", "5d": kubectl's short duration (apimachinery duration.HumanDuration).
std::string human_duration(Duration d);

// ---------------------------------------------------------------- field selectors

/// The labels this kind supports beside metadata.name and metadata.namespace.
std::vector<std::string_view> field_labels(const Kind& kind);
/// The value of a supported label ("" when unset); nullopt when the label is not supported.
std::optional<std::string> field_value(const Kind& kind, const Json& object,
                                       std::string_view label);

// ---------------------------------------------------------------- documents

/// docs/support.md: every kind and field with its support.
std::string support_markdown();
/// The CustomResourceDefinition object under which a built-in custom kind is listed.
Json crd_object(const Kind& kind);

}  // namespace knit::schema
