#include "apiserver/registry.h"

#include <charconv>

#include "kube/names.h"
#include "kube/patch.h"
#include "kube/resources.h"
#include "kube/schema/strategic.h"

namespace knit::apiserver {
namespace {

using schema::FieldError;
using schema::Kind;
using schema::Operation;
using schema::Reason;

constexpr std::string_view kForeground = "foregroundDeletion";
constexpr std::string_view kOrphan = "orphan";

std::vector<std::string> strings(const Json& root, json::Path path) {
  std::vector<std::string> out;
  for (const Json& v : json::array(root, path)) {
    if (v.is_string()) out.emplace_back(std::string_view(v.get_string()));
  }
  return out;
}
bool contains(const std::vector<std::string>& list, std::string_view what) {
  return std::find(list.begin(), list.end(), what) != list.end();
}

void set_finalizers(Json& object, const std::vector<std::string>& finalizers) {
  if (finalizers.empty()) {
    json::erase(object, {"metadata", "finalizers"});
    return;
  }
  JsonArray list;
  for (const auto& f : finalizers) list.push_back(text(f));
  json::set(object, {"metadata", "finalizers"}, std::move(list));
}

bool is_namespace(const Kind& kind) { return kind.resource == kube::res::namespaces(); }
bool is_pod(const Kind& kind) { return kind.resource == kube::res::pods(); }

/// The kinds that PUT may create.
/// Source: kubernetes pkg/registry/*/strategy.go AllowCreateOnUpdate
bool create_on_update(const Kind& kind) {
  static constexpr std::string_view kKinds[] = {"events",
                                                "endpoints",
                                                "services",
                                                "limitranges",
                                                "leases.coordination.k8s.io",
                                                "roles.rbac.authorization.k8s.io",
                                                "rolebindings.rbac.authorization.k8s.io",
                                                "clusterroles.rbac.authorization.k8s.io",
                                                "clusterrolebindings.rbac.authorization.k8s.io"};
  return std::find(std::begin(kKinds), std::end(kKinds), kind.resource.name()) != std::end(kKinds);
}

/// 0: absent or empty; nullopt: not a number.
std::optional<std::uint64_t> parse_version(std::string_view s) {
  if (s.empty()) return 0;
  std::uint64_t v = 0;
  const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), v);
  if (error != std::errc() || end != s.data() + s.size()) return std::nullopt;
  return v;
}

bool must_go(const Kind& kind, const Json& object) {
  if (json::str(object, {"metadata", "deletionTimestamp"}).empty()) return false;
  if (!json::array(object, {"metadata", "finalizers"}).empty()) return false;
  if (is_namespace(kind)) return json::array(object, {"spec", "finalizers"}).empty();
  return json::i64(object, {"metadata", "deletionGracePeriodSeconds"}) == 0;
}

/// What the server owns in metadata, from `old`.
void keep_identity(Json& object, const Json& old) {
  for (const std::string_view field :
       {"uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
        "resourceVersion", "generation", "selfLink"}) {
    const Json* value = json::find(old, {"metadata", field});
    if (value != nullptr) {
      json::set(object, {"metadata", field}, *value);
    } else {
      json::erase(object, {"metadata", field});
    }
  }
}

Status patch_failed(const Error& e) {
  if (e.code() == Code::Conflict) {
    // Source: apiserver pkg/endpoints/handlers/patch.go applyJSPatch,
    // errors.NewGenericServerResponse
    JsonObject details{{"causes", JsonArray{JsonObject{{"reason", "UnexpectedServerResponse"},
                                                       {"message", text(e.message())}}}}};
    return {422, "Invalid", "the server rejected our request due to an error in our request",
            std::move(details)};
  }
  if (e.code() == Code::ResourceExhausted) {
    return {413, "RequestEntityTooLarge", e.message(), {}};
  }
  if (e.code() == Code::Unsupported) return {415, "UnsupportedMediaType", e.message(), {}};
  return bad_request_status(e.message());
}

}  // namespace

bool User::in(std::string_view group) const { return contains(groups, group); }

struct Registry::Step {
  const ObjectReader& state;
  const Write& write;
  const WriteOptions& options;
  const Kind& kind;
  Key key;

  StageResult fail(Status s) const { return {std::move(s), {}, {}}; }
};

void Registry::add_mutator(std::string name, Mutator m) {
  mutators_.emplace_back(std::move(name), std::move(m));
}
void Registry::add_validator(std::string name, Validator v) {
  validators_.emplace_back(std::move(name), std::move(v));
}
void Registry::set_knative_config(
    std::function<std::shared_ptr<const Json>(const ObjectReader&, const schema::Kind&)> read) {
  knative_config_ = std::move(read);
}

StageResult Registry::stage(const ObjectReader& state, const Write& write,
                            const WriteOptions& options) const {
  const Kind* kind = schema::Registry::get().by_resource(write.key.resource);
  if (kind == nullptr || !kind->stored) {
    return {
        not_supported(404, "NotFound", "the server could not find the requested resource"), {}, {}};
  }
  const Step s{state, write, options, *kind, write.key};
  if (kind->resource == kube::res::crds() && !options.internal) return definition(s);
  switch (write.op) {
    case Write::Op::Create:
      return create(s, write.body);
    case Write::Op::Update: {
      const ObjectPtr before = state.get(s.key);
      if (write.subresource == "scale") {
        if (!before) return s.fail(not_found(*kind, s.key.name));
        return scale(s, before, write.body);
      }
      if (!before) {
        if (write.subresource.empty() && create_on_update(*kind) &&
            json::str(write.body, {"metadata", "resourceVersion"}).empty() &&
            json::str(write.body, {"metadata", "uid"}).empty()) {
          return create(s, write.body);
        }
        return s.fail(not_found(*kind, s.key.name));
      }
      return update(s, before, write.body);
    }
    case Write::Op::Merge:
    case Write::Op::JsonPatch:
    case Write::Op::Strategic:
      return patch(s);
    case Write::Op::Delete:
      return remove(s);
  }
  return s.fail(bad_request_status("unknown operation"));
}

/// A user's write of a CustomResourceDefinition: upstream's YAML of a built-in kind changes
/// nothing, another kind is refused by name.
StageResult Registry::definition(const Step& s) const {
  const Kind& kind = s.kind;
  std::string name = s.key.name;
  if (name.empty()) name = json::str(s.write.body, {"metadata", "name"});
  const ObjectPtr before = s.state.get({s.key.resource, {}, name});
  if (s.write.op == Write::Op::Create && before) return s.fail(already_exists(kind, name));
  if (s.write.op == Write::Op::Create) {
    return s.fail(forbidden_status(kind, name,
                                   "knit serves a fixed set of kinds; CustomResourceDefinitions of "
                                   "other kinds are not supported yet"));
  }
  if (!before) return s.fail(not_found(kind, name));
  if (s.write.op == Write::Op::Delete) {
    return s.fail(forbidden_status(kind, name, "the kind is built into knit"));
  }
  StageResult out;
  out.staged = {Staged::Effect::None, before->key(), before, before->parse()};
  return out;
}

std::optional<Status> Registry::namespace_accepts(const Step& s) const {
  if (!s.kind.namespaced) return std::nullopt;
  const Kind* namespaces = schema::Registry::get().by_resource(kube::res::namespaces());
  const ObjectPtr ns = s.state.get({kube::res::namespaces(), {}, s.key.ns});
  if (!ns) return not_found(*namespaces, s.key.ns);
  if (!ns->deleting()) return std::nullopt;
  Status status = forbidden_status(
      s.kind, s.key.name,
      "unable to create new content in namespace " + s.key.ns + " because it is being terminated");
  json::set(
      status.details, {"causes"},
      JsonArray{JsonObject{{"reason", "NamespaceTerminating"},
                           {"message", text("namespace " + s.key.ns + " is being terminated")},
                           {"field", "metadata.namespace"}}});
  return status;
}

std::optional<Status> Registry::admit(const Step& s, Operation operation, const Json* old,
                                      Json& object, std::vector<std::string>& warnings) const {
  std::shared_ptr<const Json> knative;
  schema::Context context;
  context.operation = operation;
  context.user = s.options.user.name;
  context.internal = s.options.internal;
  context.now = s.options.now;
  context.old = old;
  if (knative_config_) {
    knative = knative_config_(s.state, s.kind);
    context.knative_config = knative.get();
  }
  schema::apply_defaults(s.kind, object, context);
  const AdmissionRequest request{s.state,   operation,          s.kind, s.key, old,
                                 s.options, s.write.subresource};
  // Support is judged by what the user wrote, not by what a mutator adds.
  std::optional<Json> written;
  if (!mutators_.empty() && !s.options.internal) written = object;
  for (const auto& [name, mutator] : mutators_) {
    if (auto refused = mutator(request, object, warnings)) return refused;
  }
  if (!mutators_.empty()) schema::apply_defaults(s.kind, object, context);
  const auto take = [&](schema::Verdict verdict) -> std::optional<Status> {
    if (verdict.failure) return from_failure(*verdict.failure, s.kind, s.key.name);
    for (auto& w : verdict.warnings) warnings.push_back(std::move(w));
    return std::nullopt;
  };
  if (auto refused = take(schema::validate(s.kind, object, old, context))) return refused;
  if (!s.options.internal) {
    if (auto refused =
            take(schema::check_support(s.kind, written ? *written : object, old, context))) {
      return refused;
    }
  }
  for (const auto& [name, validator] : validators_) {
    if (auto refused = validator(request, object, warnings)) return refused;
  }
  return std::nullopt;
}

StageResult Registry::create(const Step& given, Json object) const {
  Step s = given;
  const Kind& kind = s.kind;
  if (!object.is_object()) return s.fail(bad_request_status("the body is not an object"));
  if (!json::find(object, "metadata")) json::set(object, {"metadata"}, JsonObject());
  json::set(object, {"apiVersion"}, text(kind.api_version(kind.storage_version)));
  json::set(object, {"kind"}, text(kind.kind));
  const std::string ns(json::str(object, {"metadata", "namespace"}));
  if (!ns.empty() && ns != s.key.ns) {
    return s.fail(bad_request_status(
        "the namespace of the provided object does not match the namespace sent on the request"));
  }
  if (kind.namespaced) json::set(object, {"metadata", "namespace"}, text(s.key.ns));
  std::string name(json::str(object, {"metadata", "name"}));
  if (!s.key.name.empty() && !name.empty() && name != s.key.name) {
    return s.fail(bad_request_status("the name of the object (" + name +
                                     ") does not match the name on the URL (" + s.key.name + ")"));
  }
  if (name.empty()) name = s.key.name;
  const std::string prefix(json::str(object, {"metadata", "generateName"}));
  if (!json::str(object, {"metadata", "resourceVersion"}).empty()) {
    return s.fail({500, "", "resourceVersion should not be set on objects to be created", {}});
  }
  if (name.empty() && !prefix.empty()) {
    // A collision is tried again, as upstream does since 1.30.
    for (int attempt = 0; attempt < 8; ++attempt) {
      name = kube::generated_name(prefix, random_);
      if (!s.state.get({s.key.resource, s.key.ns, name})) break;
    }
  }
  if (name.empty()) {
    return s.fail(invalid_status(
        kind, "",
        {{Reason::Required, "metadata.name", "Required value: name or generateName is required"}}));
  }
  s.key.name = name;
  json::set(object, {"metadata", "name"}, text(name));
  schema::prepare_create(kind, object);
  for (const std::string_view field : {"deletionTimestamp", "deletionGracePeriodSeconds",
                                       "selfLink", "generation", "managedFields"}) {
    json::erase(object, {"metadata", field});
  }
  json::set(object, {"metadata", "uid"}, text(random_.uuid()));
  json::set(object, {"metadata", "creationTimestamp"}, text(rfc3339(s.options.now)));
  if (schema::has_generation(kind)) json::set(object, {"metadata", "generation"}, 1);
  if (is_namespace(kind)) {
    if (json::array(object, {"spec", "finalizers"}).empty()) {
      json::set(object, {"spec", "finalizers"}, JsonArray{"kubernetes"});
    }
    json::set(object, {"status", "phase"}, "Active");
    json::set(object, {"metadata", "labels", "kubernetes.io/metadata.name"}, text(name));
  }
  if (is_pod(kind)) json::set(object, {"status", "phase"}, "Pending");
  if (auto refused = namespace_accepts(s)) return s.fail(std::move(*refused));
  StageResult out;
  if (auto refused = admit(s, Operation::Create, nullptr, object, out.warnings)) {
    return s.fail(std::move(*refused));
  }
  if (s.state.get(s.key)) return s.fail(already_exists(kind, name));
  out.staged = {Staged::Effect::Put, s.key, nullptr, std::move(object)};
  return out;
}

StageResult Registry::update(const Step& s, const ObjectPtr& before, Json object) const {
  const Kind& kind = s.kind;
  if (!object.is_object()) return s.fail(bad_request_status("the body is not an object"));
  if (!json::find(object, "metadata")) json::set(object, {"metadata"}, JsonObject());
  const Json old = before->parse();
  const std::string name(json::str(object, {"metadata", "name"}));
  if (name.empty()) {
    json::set(object, {"metadata", "name"}, text(s.key.name));
  } else if (name != s.key.name) {
    return s.fail(bad_request_status("the name of the object (" + name +
                                     ") does not match the name on the URL (" + s.key.name + ")"));
  }
  const std::string ns(json::str(object, {"metadata", "namespace"}));
  if (!ns.empty() && ns != s.key.ns) {
    return s.fail(bad_request_status(
        "the namespace of the provided object does not match the namespace sent on the request"));
  }
  if (kind.namespaced) json::set(object, {"metadata", "namespace"}, text(s.key.ns));
  const std::string uid(json::str(object, {"metadata", "uid"}));
  if (!uid.empty() && uid != before->uid()) {
    return s.fail(conflict(kind, s.key.name,
                           "Precondition failed: UID in precondition: " + uid +
                               ", UID in object meta: " + before->uid()));
  }
  const std::string version_text(json::str(object, {"metadata", "resourceVersion"}));
  const auto version = parse_version(version_text);
  if (!version) {
    return s.fail(bad_request_status("metadata.resourceVersion: Invalid value: \"" + version_text +
                                     "\": must be an unsigned integer"));
  }
  if (*version == 0 && kind.custom && s.write.op == Write::Op::Update) {
    return s.fail(invalid_status(kind, s.key.name,
                                 {{Reason::Invalid, "metadata.resourceVersion",
                                   "Invalid value: 0x0: must be specified for an update"}}));
  }
  if (*version != 0 && *version != before->version()) {
    return s.fail(object_modified(kind, s.key.name));
  }
  json::set(object, {"apiVersion"}, text(kind.api_version(kind.storage_version)));
  json::set(object, {"kind"}, text(kind.kind));
  Operation operation = Operation::Update;
  if (s.write.subresource == "status") {
    operation = Operation::UpdateStatus;
    schema::prepare_status_update(kind, object, old);
  } else if (s.write.subresource == "finalize") {
    Json next = old;
    json::set(next, {"spec", "finalizers"}, json::array(object, {"spec", "finalizers"}));
    object = std::move(next);
  } else {
    schema::prepare_update(kind, object, old);
    if (is_namespace(kind)) {  // spec.finalizers change through /finalize only
      json::set(object, {"spec", "finalizers"}, json::array(old, {"spec", "finalizers"}));
    }
  }
  keep_identity(object, old);
  json::erase(object, {"metadata", "managedFields"});
  StageResult out;
  if (before->deleting()) {
    const auto had = strings(old, {"metadata", "finalizers"});
    std::string added;
    for (const auto& f : strings(object, {"metadata", "finalizers"})) {
      if (!contains(had, f)) added += (added.empty() ? "\"" : ", \"") + f + "\"";
    }
    if (!added.empty()) {
      return s.fail(
          invalid_status(kind, s.key.name,
                         {{Reason::Forbidden, "metadata.finalizers",
                           "Forbidden: no new finalizers can be added if the object is being "
                           "deleted, found new finalizers []string{" +
                               added + "}"}}));
    }
  }
  if (s.write.subresource != "finalize") {
    if (auto refused = admit(s, operation, &old, object, out.warnings)) {
      return s.fail(std::move(*refused));
    }
    keep_identity(object, old);
  }
  if (operation == Operation::Update && schema::has_generation(kind) &&
      schema::generation_changes(kind, old, object)) {
    json::set(object, {"metadata", "generation"}, json::i64(old, {"metadata", "generation"}) + 1);
  }
  Staged& staged = out.staged;
  staged = {Staged::Effect::Put, s.key, before, std::move(object)};
  if (must_go(kind, staged.object)) {
    staged.effect = Staged::Effect::Remove;
  } else if (json::canonical(staged.object) == before->bytes()) {
    staged.effect = Staged::Effect::None;
  }
  return out;
}

StageResult Registry::patch(const Step& s) const {
  const Kind& kind = s.kind;
  const ObjectPtr before = s.state.get(s.key);
  if (!before) return s.fail(not_found(kind, s.key.name));
  Json target = before->parse();
  // What controllers say again and again (a status, mostly) needs no look at the schema.
  if (s.options.internal && s.write.op == Write::Op::Merge && !before->deleting() &&
      s.write.subresource != "scale" && s.write.body.is_object() &&
      kube::merges_nothing(target, s.write.body)) {
    StageResult out;
    out.staged = {Staged::Effect::None, s.key, before, std::move(target)};
    return out;
  }
  const std::string version =
      s.write.version.empty() ? std::string(kind.storage_version) : s.write.version;
  const Kind* decoded_as = &kind;
  std::string decoded_version = version;
  const bool scaling = s.write.subresource == "scale";
  if (scaling) {
    auto current = schema::scale_of(kind, target);
    if (!current) return s.fail(not_found(kind, s.key.name));
    target = std::move(*current);
    decoded_as = schema::Registry::get().by_kind("autoscaling", "v1", "Scale");
    decoded_version = "v1";
  } else {
    json::set(target, {"apiVersion"}, text(kind.api_version(version)));
  }
  switch (s.write.op) {
    case Write::Op::JsonPatch: {
      auto patched = kube::json_patch(target, s.write.body);
      if (!patched) return s.fail(patch_failed(patched.error()));
      target = std::move(*patched);
      break;
    }
    case Write::Op::Strategic: {
      auto patched =
          schema::strategic_merge(scaling ? *decoded_as : kind, std::move(target), s.write.body);
      if (!patched) return s.fail(patch_failed(patched.error()));
      target = std::move(*patched);
      break;
    }
    default:
      if (!s.write.body.is_object()) {
        return s.fail(bad_request_status("the patch is not a JSON object"));
      }
      json::merge_patch(target, s.write.body);
  }
  if (decoded_as != nullptr) {
    auto decoded =
        schema::decode_dom(*decoded_as, decoded_version, std::move(target), s.options.validation);
    if (decoded.failure) return s.fail(from_failure(*decoded.failure, kind, s.key.name));
    StageResult out =
        scaling ? scale(s, before, decoded.object) : update(s, before, std::move(decoded.object));
    out.warnings.insert(out.warnings.begin(), decoded.warnings.begin(), decoded.warnings.end());
    return out;
  }
  return scale(s, before, target);
}

StageResult Registry::scale(const Step& s, const ObjectPtr& before, const Json& body) const {
  Json object = before->parse();
  if (!schema::scale_of(s.kind, object)) {
    return s.fail(
        not_supported(404, "NotFound", "the server could not find the requested resource"));
  }
  const std::int64_t replicas = json::i64(body, {"spec", "replicas"});
  if (replicas < 0) {
    const Kind* scale_kind = schema::Registry::get().by_kind("autoscaling", "v1", "Scale");
    return s.fail(invalid_status(
        scale_kind != nullptr ? *scale_kind : s.kind, s.key.name,
        {{Reason::Invalid, "spec.replicas",
          "Invalid value: " + std::to_string(replicas) + ": must be greater than or equal to 0"}}));
  }
  const std::string version(json::str(body, {"metadata", "resourceVersion"}));
  if (!version.empty() && version != std::to_string(before->version())) {
    return s.fail(object_modified(s.kind, s.key.name));
  }
  schema::apply_scale(s.kind, object, body);
  Write main = s.write;
  main.op = Write::Op::Merge;  // no resourceVersion is asked for
  main.subresource.clear();
  const Step step{s.state, main, s.options, s.kind, s.key};
  return update(step, before, std::move(object));
}

StageResult Registry::remove(const Step& s) const {
  const Kind& kind = s.kind;
  const DeleteOptions& how = s.write.remove;
  const ObjectPtr before = s.state.get(s.key);
  if (!before) return s.fail(not_found(kind, s.key.name));
  if (!how.uid.empty() && how.uid != before->uid()) {
    return s.fail(conflict(kind, s.key.name,
                           "the UID in the precondition (" + how.uid +
                               ") does not match the UID in record (" + before->uid() +
                               "). The object might have been deleted and then recreated"));
  }
  if (how.version && *how.version != before->version()) {
    return s.fail(
        conflict(kind, s.key.name,
                 "the ResourceVersion in the precondition (" + std::to_string(*how.version) +
                     ") does not match the ResourceVersion in record (" +
                     std::to_string(before->version()) + "). The object might have been modified"));
  }
  const Json old = before->parse();
  if (is_namespace(kind) &&
      (s.key.name == "default" || s.key.name == "kube-system" || s.key.name == "kube-public")) {
    return s.fail(forbidden_status(kind, s.key.name, "this namespace may not be deleted"));
  }
  StageResult out;
  const AdmissionRequest request{s.state, Operation::Delete, kind, s.key, &old, s.options, {}};
  for (const auto& [name, validator] : validators_) {
    if (auto refused = validator(request, old, out.warnings)) return s.fail(std::move(*refused));
  }
  Json object = old;
  // Source: apiserver pkg/registry/rest/delete.go BeforeDelete; core/pod/strategy.go
  // CheckGracefulDelete
  std::int64_t grace = 0;
  if (is_pod(kind)) {
    grace = how.grace ? *how.grace : json::i64(old, {"spec", "terminationGracePeriodSeconds"}, 30);
    const std::string_view phase = json::str(old, {"status", "phase"});
    if (json::str(old, {"spec", "nodeName"}).empty() || phase == "Failed" || phase == "Succeeded") {
      grace = 0;
    }
    grace = std::max<std::int64_t>(grace, 0);
  }
  auto finalizers = strings(old, {"metadata", "finalizers"});
  const auto want = [&](std::string_view finalizer, bool on) {
    std::erase(finalizers, std::string(finalizer));
    if (on) finalizers.emplace_back(finalizer);
  };
  if (!how.propagation.empty()) {
    want(kForeground, how.propagation == "Foreground");
    want(kOrphan, how.propagation == "Orphan");
  }
  if (finalizers != strings(old, {"metadata", "finalizers"})) set_finalizers(object, finalizers);

  const bool held = !finalizers.empty() ||
                    (is_namespace(kind) && !json::array(old, {"spec", "finalizers"}).empty());
  if (!before->deleting()) {
    if (grace == 0 && !held) {
      out.staged = {Staged::Effect::Remove, s.key, before, std::move(object)};
      return out;
    }
    json::set(object, {"metadata", "deletionTimestamp"},
              text(rfc3339(s.options.now + std::chrono::seconds(grace))));
    json::set(object, {"metadata", "deletionGracePeriodSeconds"}, grace);
    if (const auto generation = json::opt_i64(old, {"metadata", "generation"})) {
      if (*generation > 0) json::set(object, {"metadata", "generation"}, *generation + 1);
    }
    if (is_namespace(kind)) json::set(object, {"status", "phase"}, "Terminating");
    out.staged = {Staged::Effect::Put, s.key, before, std::move(object)};
    return out;
  }
  // Already going: the grace period can only become shorter.
  const std::int64_t left = json::i64(old, {"metadata", "deletionGracePeriodSeconds"});
  if (is_pod(kind) && grace < left) {
    const auto planned = parse_rfc3339(json::str(old, {"metadata", "deletionTimestamp"}));
    if (planned) {
      const WallTime asked = *planned - std::chrono::seconds(left);
      json::set(object, {"metadata", "deletionTimestamp"},
                text(rfc3339(asked + std::chrono::seconds(grace))));
    }
    json::set(object, {"metadata", "deletionGracePeriodSeconds"}, grace);
  }
  Staged::Effect effect = Staged::Effect::Put;
  if (must_go(kind, object)) {
    effect = Staged::Effect::Remove;
  } else if (json::canonical(object) == before->bytes()) {
    effect = Staged::Effect::None;
  }
  out.staged = {effect, s.key, before, std::move(object)};
  return out;
}

}  // namespace knit::apiserver
