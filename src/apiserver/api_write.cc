// create, update, patch, delete (kubeapi.md 1.5, 1.7–1.9, 1.11).
#include <charconv>

#include "apiserver/call.h"
#include "base/yaml.h"

namespace knit::apiserver {
namespace {

constexpr int kAttempts = 5;

struct Commit {
  std::optional<store::CommitResult> result;
  io::Event done;
};

Status unsupported_media(std::string_view type, std::string_view accepted) {
  return {415, "UnsupportedMediaType",
          "the body of the request was in an unknown format - accepted media types include: " +
              std::string(accepted),
          type.empty() ? Json() : Json(JsonObject())};
}

/// dryRun and fieldValidation of the query.
std::optional<Status> parse_options(const http::Query& q, std::string_view kind,
                                    WriteOptions& out) {
  for (const std::string& v : q.all("dryRun")) {
    if (v.empty()) continue;
    if (v != "All") {
      return invalid_options(kind, "dryRun",
                             "Unsupported value: \"" + v + "\": supported values: \"All\"",
                             schema::Reason::NotSupported);
    }
    out.dry_run = true;
  }
  const std::string_view validation = q.get("fieldValidation");
  const auto parsed = schema::field_validation(validation);
  if (!parsed) {
    return invalid_options(kind, "fieldValidation",
                           "Unsupported value: \"" + std::string(validation) +
                               "\": supported values: \"Ignore\", \"Strict\", \"Warn\"",
                           schema::Reason::NotSupported);
  }
  out.validation = *parsed;
  return std::nullopt;
}

Write make_write(Write::Op op, Key key) {
  Write w;
  w.op = op;
  w.key = std::move(key);
  return w;
}

}  // namespace

io::Task<WriteOutcome> Api::write(Write write, WriteOptions options) {
  WriteOutcome out;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const store::Snapshot head = store_.head();
    Transaction tx(registry_, head);
    StageResult staged = tx.stage(write, options);
    if (!staged.ok()) {
      out.failure = std::move(staged.failure);
      co_return out;
    }
    out.staged = std::move(staged.staged);
    out.warnings = std::move(staged.warnings);
    out.version = head.version();
    if (options.dry_run) co_return out;
    // A write without effect still waits for what it was judged against.
    auto mutations = tx.take();
    auto commit = std::make_shared<Commit>();
    store_.commit(std::move(mutations), on_loop(loop_), [commit](store::CommitResult r) {
      commit->result = std::move(r);
      commit->done.set();
    });
    co_await commit->done;
    store::CommitResult& result = *commit->result;
    if (result.ok()) {
      out.object =
          result.committed.objects.empty() ? out.staged.before : result.committed.objects.front();
      out.version = result.committed.version;
      co_return out;
    }
    const Error& error = result.failure->error;
    const bool again = error.code() == Code::Conflict || error.code() == Code::AlreadyExists ||
                       error.code() == Code::NotFound;
    if (!again) {
      out.failure = from_error(error);
      if (error.code() == Code::InvalidArgument) {
        out.failure = Status{413, "RequestEntityTooLarge", error.message(), {}};
      }
      co_return out;
    }
  }
  const schema::Kind* kind = schema::Registry::get().by_resource(write.key.resource);
  out.failure = object_modified(*kind, write.key.name);
  co_return out;
}

io::Task<void> Api::reply_object(CallPtr call, int code, WriteOutcome outcome) {
  for (auto& w : outcome.warnings) call->warnings.push_back(std::move(w));
  kube::ObjectPtr object = outcome.object;
  if (!object) {  // a dry run: what would have been stored, without what only storing gives
    Json dom = std::move(outcome.staged.object);
    if (!outcome.staged.before) json::erase(dom, {"metadata", "uid"});
    const std::uint64_t version =
        outcome.staged.before ? outcome.staged.before->version() : std::uint64_t{0};
    object = std::make_shared<const kube::Object>(outcome.staged.key, version, dom);
  }
  View view = view_of(*call);
  std::string body;
  if (call->info.subresource == "scale") {
    auto scale = schema::scale_of(*call->info.kind, object->parse());
    body = json::print(scale.value_or(Json()));
  } else {
    body = encode_object(view, *object);
  }
  if (call->accepted.pretty) {
    if (const auto dom = json::parse(body)) body = json::pretty(*dom);
  }
  if (body.back() != '\n') body += '\n';
  co_await reply_bytes(call, code, std::move(body), "application/json");
}

io::Task<void> Api::create(CallPtr call) {
  WriteOptions options;
  options.user = call->user;
  options.now = call->now;
  if (auto wrong = parse_options(call->request.query, "CreateOptions", options)) {
    co_await reply_status(call, std::move(*wrong));
    co_return;
  }
  const std::string_view type_text = call->request.headers.get("Content-Type");
  const auto type = schema::content_type(type_text);
  if (!type) {
    co_await reply_status(call, unsupported_media(type_text,
                                                  "application/json, application/yaml, "
                                                  "application/vnd.kubernetes.protobuf"));
    co_return;
  }
  auto decoded = schema::decode(*call->info.kind, call->info.version, call->request.body, *type,
                                options.validation);
  if (decoded.failure) {
    co_await reply_status(call, from_failure(*decoded.failure, *call->info.kind, ""));
    co_return;
  }
  Write w = make_write(Write::Op::Create, call->key());
  w.version = call->info.version;
  w.body = std::move(decoded.object);
  if (call->info.kind->group == "events.k8s.io") w.body = event_to_core(std::move(w.body));
  call->warnings = std::move(decoded.warnings);
  auto writing = write(std::move(w), std::move(options));
  WriteOutcome outcome = co_await writing;
  if (outcome.failure) {
    co_await reply_status(call, std::move(*outcome.failure));
    co_return;
  }
  co_await reply_object(call, 201, std::move(outcome));
}

io::Task<void> Api::update(CallPtr call) {
  WriteOptions options;
  options.user = call->user;
  options.now = call->now;
  if (auto wrong = parse_options(call->request.query, "UpdateOptions", options)) {
    co_await reply_status(call, std::move(*wrong));
    co_return;
  }
  const std::string_view type_text = call->request.headers.get("Content-Type");
  const auto type = schema::content_type(type_text);
  if (!type) {
    co_await reply_status(call, unsupported_media(type_text,
                                                  "application/json, application/yaml, "
                                                  "application/vnd.kubernetes.protobuf"));
    co_return;
  }
  const bool scaling = call->info.subresource == "scale";
  const schema::Kind* decode_as =
      scaling ? schema::Registry::get().by_kind("autoscaling", "v1", "Scale") : call->info.kind;
  auto decoded = schema::decode(*decode_as, scaling ? "v1" : call->info.version, call->request.body,
                                *type, options.validation);
  if (decoded.failure) {
    co_await reply_status(call, from_failure(*decoded.failure, *call->info.kind, call->info.name));
    co_return;
  }
  Write w = make_write(Write::Op::Update, call->key());
  w.version = call->info.version;
  w.subresource = call->info.subresource;
  w.body = std::move(decoded.object);
  if (call->info.kind->group == "events.k8s.io") w.body = event_to_core(std::move(w.body));
  call->warnings = std::move(decoded.warnings);
  auto writing = write(std::move(w), std::move(options));
  WriteOutcome outcome = co_await writing;
  if (outcome.failure) {
    co_await reply_status(call, std::move(*outcome.failure));
    co_return;
  }
  const int code = outcome.staged.before ? 200 : 201;
  co_await reply_object(call, code, std::move(outcome));
}

io::Task<void> Api::patch(CallPtr call) {
  WriteOptions options;
  options.user = call->user;
  options.now = call->now;
  if (auto wrong = parse_options(call->request.query, "PatchOptions", options)) {
    co_await reply_status(call, std::move(*wrong));
    co_return;
  }
  std::string_view type = call->request.headers.get("Content-Type");
  type = type.substr(0, type.find(';'));
  const bool custom = call->info.kind->custom;
  Write w = make_write(Write::Op::Merge, call->key());
  w.version = call->info.version;
  w.subresource = call->info.subresource;
  if (type == "application/json-patch+json") {
    w.op = Write::Op::JsonPatch;
  } else if (type == "application/merge-patch+json") {
    w.op = Write::Op::Merge;
  } else if (type == "application/strategic-merge-patch+json" && !custom) {
    w.op = Write::Op::Strategic;
  } else if (type.starts_with("application/apply-patch+")) {
    co_await reply_status(
        call, not_supported(415, "UnsupportedMediaType",
                            "server-side apply is not supported yet by knit; use client-side "
                            "apply (kubectl apply --server-side=false, helm --server-side=false)"));
    co_return;
  } else {
    co_await reply_status(
        call,
        unsupported_media(type, custom ? "application/json-patch+json, application/merge-patch+json"
                                       : "application/json-patch+json, "
                                         "application/merge-patch+json, "
                                         "application/strategic-merge-patch+json"));
    co_return;
  }
  auto body = json::parse(call->request.body);
  if (!body) {
    co_await reply_status(call,
                          bad_request_status("error decoding patch: " + body.error().message()));
    co_return;
  }
  w.body = std::move(*body);
  if (call->info.kind->group == "events.k8s.io" && w.op != Write::Op::JsonPatch) {
    w.body = event_to_core(std::move(w.body));
    json::erase(w.body, {"apiVersion"});
  }
  auto writing = write(std::move(w), std::move(options));
  WriteOutcome outcome = co_await writing;
  if (outcome.failure) {
    co_await reply_status(call, std::move(*outcome.failure));
    co_return;
  }
  co_await reply_object(call, 200, std::move(outcome));
}

namespace {

struct ParsedDelete {
  std::optional<Status> failure;
  DeleteOptions options;
  bool dry_run = false;
};

/// From the body, else the query.
/// Source: apiserver pkg/endpoints/handlers/delete.go; apimachinery pkg/apis/meta/v1/validation
ParsedDelete parse_delete(const http::Request& request, std::string_view body,
                          std::string_view content_type) {
  ParsedDelete out;
  Json options;
  if (!body.empty()) {
    const auto type = schema::content_type(content_type);
    if (!type) {
      out.failure = unsupported_media(content_type,
                                      "application/json, application/yaml, "
                                      "application/vnd.kubernetes.protobuf");
      return out;
    }
    auto decoded = schema::decode_options("DeleteOptions", body, *type);
    if (decoded.failure) {
      out.failure =
          Status{decoded.failure->code, decoded.failure->reason, decoded.failure->message, {}};
      return out;
    }
    options = std::move(decoded.object);
  } else {
    JsonObject o;
    const http::Query& q = request.query;
    if (q.has("gracePeriodSeconds")) {
      std::int64_t n = 0;
      const std::string_view v = q.get("gracePeriodSeconds");
      const auto [end, error] = std::from_chars(v.data(), v.data() + v.size(), n);
      if (error != std::errc() || end != v.data() + v.size()) {
        out.failure =
            bad_request_status("gracePeriodSeconds: \"" + std::string(v) + "\" is not an integer");
        return out;
      }
      o["gracePeriodSeconds"] = n;
    }
    if (q.has("propagationPolicy")) o["propagationPolicy"] = text(q.get("propagationPolicy"));
    if (q.has("orphanDependents")) o["orphanDependents"] = query_flag(q, "orphanDependents");
    if (q.has("dryRun")) o["dryRun"] = JsonArray{text(q.get("dryRun"))};
    options = std::move(o);
  }
  out.options.grace = json::opt_i64(options, {"gracePeriodSeconds"});
  out.options.propagation = json::str(options, {"propagationPolicy"});
  const std::string& p = out.options.propagation;
  if (!p.empty() && p != "Background" && p != "Foreground" && p != "Orphan") {
    out.failure = invalid_options("DeleteOptions", "propagationPolicy",
                                  "Unsupported value: \"" + p +
                                      "\": supported values: \"Background\", \"Foreground\", "
                                      "\"Orphan\", \"nil\"",
                                  schema::Reason::NotSupported);
  }
  if (const Json* orphan = json::find(options, "orphanDependents");
      orphan != nullptr && orphan->is_bool() && p.empty()) {
    out.options.propagation = orphan->get_bool() ? "Orphan" : "Background";
  }
  out.options.uid = json::str(options, {"preconditions", "uid"});
  const std::string_view version = json::str(options, {"preconditions", "resourceVersion"});
  if (!version.empty()) {
    std::uint64_t n = 0;
    std::from_chars(version.data(), version.data() + version.size(), n);
    out.options.version = n;
  }
  for (const Json& v : json::array(options, {"dryRun"})) {
    if (v.is_string() && v.get_string() == "All") {
      out.dry_run = true;
    } else {
      out.failure =
          invalid_options("DeleteOptions", "dryRun",
                          "Unsupported value: " + json::print(v) + ": supported values: \"All\"",
                          schema::Reason::NotSupported);
    }
  }
  return out;
}

}  // namespace

io::Task<void> Api::remove(CallPtr call) {
  ParsedDelete parsed =
      parse_delete(call->request, call->request.body, call->request.headers.get("Content-Type"));
  if (parsed.failure) {
    co_await reply_status(call, std::move(*parsed.failure));
    co_return;
  }
  WriteOptions options;
  options.user = call->user;
  options.now = call->now;
  options.dry_run = parsed.dry_run || call->request.query.get("dryRun") == "All";
  Write w = make_write(Write::Op::Delete, call->key());
  w.remove = std::move(parsed.options);
  auto writing = write(std::move(w), std::move(options));
  WriteOutcome outcome = co_await writing;
  if (outcome.failure) {
    co_await reply_status(call, std::move(*outcome.failure));
    co_return;
  }
  if (outcome.staged.effect == Staged::Effect::Remove) {
    const std::string uid(json::str(outcome.staged.object, {"metadata", "uid"}));
    call->warnings = std::move(outcome.warnings);
    Json body = success(*call->info.kind, call->info.name, uid);
    co_await reply_json(call, 200, std::move(body));
    co_return;
  }
  co_await reply_object(call, 200, std::move(outcome));
}

io::Task<void> Api::remove_collection(CallPtr call) {
  const http::Query& q = call->request.query;
  ParsedDelete parsed =
      parse_delete(call->request, call->request.body, call->request.headers.get("Content-Type"));
  FilterResult made =
      make_filter(*call->info.kind, call->info.ns, q.get("labelSelector"), q.get("fieldSelector"));
  if (!parsed.failure) parsed.failure = std::move(made.failure);
  if (parsed.failure) {
    co_await reply_status(call, std::move(*parsed.failure));
    co_return;
  }
  const store::Snapshot state = store_.snapshot();
  std::vector<kube::ObjectPtr> gone;
  ListMeta meta;
  meta.version = state.version();
  for (const auto& o : state.list(stored_resource(*call->info.kind), call->info.ns)) {
    if (!made.filter.matches(*o)) continue;
    WriteOptions options;
    options.user = call->user;
    options.now = call->now;
    options.dry_run = parsed.dry_run || q.get("dryRun") == "All";
    Write w = make_write(Write::Op::Delete, o->key());
    w.remove = parsed.options;
    auto writing = write(std::move(w), std::move(options));
    WriteOutcome outcome = co_await writing;
    if (outcome.failure) {
      if (outcome.failure->code == 404) continue;  // somebody else was faster
      co_await reply_status(call, std::move(*outcome.failure));
      co_return;
    }
    gone.push_back(outcome.object ? outcome.object : o);
    meta.version = std::max(meta.version, outcome.version);
  }
  std::string body = encode_list(view_of(*call), gone, meta) + "\n";
  co_await reply_bytes(call, 200, std::move(body), "application/json");
}

}  // namespace knit::apiserver
