// Subresources and reviews (kubeapi.md 1.12, 1.16, 1.19).
#include <charconv>

#include "apiserver/call.h"
#include "kube/resources.h"

namespace knit::apiserver {
namespace {

Json user_info(const User& user) {
  JsonObject out{{"username", text(user.name)}};
  if (!user.uid.empty()) out["uid"] = text(user.uid);
  JsonArray groups;
  for (const auto& g : user.groups) groups.push_back(text(g));
  out["groups"] = std::move(groups);
  JsonObject extra;
  for (const auto& [key, values] : user.extra) {
    JsonArray list;
    for (const auto& v : values) list.push_back(text(v));
    extra[key] = std::move(list);
  }
  if (!extra.empty()) out["extra"] = std::move(extra);
  return out;
}

std::vector<std::string> string_list(const Json& root, json::Path path) {
  std::vector<std::string> out;
  for (const Json& v : json::array(root, path)) {
    if (v.is_string()) out.emplace_back(std::string_view(v.get_string()));
  }
  return out;
}

Attributes review_attributes(const Json& spec) {
  Attributes a;
  if (const Json* r = json::find(spec, "resourceAttributes"); r != nullptr && r->is_object()) {
    a.verb = json::str(*r, {"verb"});
    a.group = json::str(*r, {"group"});
    a.resource = json::str(*r, {"resource"});
    a.subresource = json::str(*r, {"subresource"});
    a.ns = json::str(*r, {"namespace"});
    a.name = json::str(*r, {"name"});
  } else {
    a.verb = json::str(spec, {"nonResourceAttributes", "verb"});
    a.path = json::str(spec, {"nonResourceAttributes", "path"});
  }
  return a;
}

JsonObject access_status(const User& user, const Attributes& a) {
  const bool allowed = authorized(user, a);
  JsonObject status{{"allowed", allowed}};
  if (!allowed && user.name.starts_with("system:serviceaccount:")) {
    status["reason"] = "knit authorizes no ServiceAccount yet";
  }
  return status;
}

/// What a pod's container is, or why its log cannot be read.
struct LogTarget {
  std::optional<Status> failure;
  std::string container;
};
/// Source: kubernetes pkg/registry/core/pod/strategy.go LogLocation, validateContainer
LogTarget log_target(const Json& pod, const std::string& name, std::string container) {
  LogTarget out;
  std::vector<std::string> regular, all;
  for (const char* list : {"containers", "initContainers", "ephemeralContainers"}) {
    for (const Json& c : json::array(pod, {"spec", list})) {
      all.emplace_back(json::str(c, {"name"}));
      if (std::string_view(list) == "containers") regular.push_back(all.back());
    }
  }
  if (container.empty()) {
    container =
        json::str(pod, {"metadata", "annotations", "kubectl.kubernetes.io/default-container"});
  }
  if (container.empty()) {
    if (regular.size() == 1) {
      out.container = regular.front();
      return out;
    }
    std::string names;
    for (const auto& n : regular) names += (names.empty() ? "" : " ") + n;
    out.failure = bad_request_status("a container name must be specified for pod " + name +
                                     ", choose one of: [" + names + "]");
    return out;
  }
  if (std::find(all.begin(), all.end(), container) == all.end()) {
    out.failure = bad_request_status("container " + container + " is not valid for pod " + name);
  }
  out.container = container;
  return out;
}

/// Why a container has no log yet; empty: it has one.
/// Source: kubernetes pkg/kubelet/kubelet_pods.go validateContainerLogStatus
std::string no_log_yet(const Json& pod, const std::string& name, const std::string& container,
                       bool previous) {
  const std::string which = "container \"" + container + "\" in pod \"" + name + "\"";
  const Json* status = nullptr;
  for (const char* list :
       {"containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"}) {
    for (const Json& c : json::array(pod, {"status", list})) {
      if (json::str(c, {"name"}) == container) status = &c;
    }
  }
  if (status == nullptr) return which + " is not available";
  const bool ended_before = json::find(*status, {"lastState", "terminated"}) != nullptr;
  if (previous) return ended_before ? std::string() : "previous terminated " + which + " not found";
  if (json::find(*status, {"state", "running"}) != nullptr ||
      json::find(*status, {"state", "terminated"}) != nullptr || ended_before) {
    return {};
  }
  const std::string_view reason = json::str(*status, {"state", "waiting", "reason"});
  if (reason == "ErrImagePull") return which + " is waiting to start: image can't be pulled";
  if (reason == "ImagePullBackOff") {
    return which + " is waiting to start: trying and failing to pull image";
  }
  if (reason.empty()) return which + " is waiting to start - no logs yet";
  return which + " is waiting to start: " + std::string(reason);
}

std::optional<std::int64_t> int_option(const http::Query& q, std::string_view name) {
  const std::string_view v = q.get(name);
  std::int64_t n = 0;
  const auto [end, error] = std::from_chars(v.data(), v.data() + v.size(), n);
  if (v.empty() || error != std::errc() || end != v.data() + v.size()) return std::nullopt;
  return n;
}

}  // namespace

io::Task<void> Api::subresource(CallPtr call) {
  const RequestInfo& info = call->info;
  const std::string& sub = info.subresource;
  if (info.plural == "pods" && info.group.empty()) {
    for (const std::string_view refused :
         {"exec", "attach", "portforward", "proxy", "binding", "ephemeralcontainers", "resize"}) {
      if (sub == refused || sub.starts_with(std::string(refused) + "/")) {
        co_await reply_status(call, not_supported(501, "NotImplemented",
                                                  "pods/" + std::string(refused) + " \"" +
                                                      info.name + "\": not supported yet by knit"));
        co_return;
      }
    }
  }
  if (!info.kind->has(sub) || info.name.empty()) {
    co_await reply_status(call, route_not_found());
    co_return;
  }
  if (sub == "log") {
    co_await logs(call);
  } else if (sub == "eviction") {
    co_await evict(call);
  } else if (sub == "token") {
    co_await issue_token(call);
  } else if (info.verb == "get" && (sub == "status" || sub == "scale")) {
    if (sub == "status") {
      co_await get(call);
      co_return;
    }
    const auto object = store_.snapshot().get(call->key());
    auto scale = object ? schema::scale_of(*info.kind, object->parse()) : std::nullopt;
    if (!scale) {
      co_await reply_status(call, not_found(*info.kind, info.name));
      co_return;
    }
    co_await reply_json(call, 200, std::move(*scale));
  } else if (info.verb == "update" && (sub == "status" || sub == "scale" || sub == "finalize")) {
    co_await update(call);
  } else if (info.verb == "patch" && (sub == "status" || sub == "scale")) {
    co_await patch(call);
  } else {
    co_await reply_status(call, method_not_allowed());
  }
}

io::Task<void> Api::logs(CallPtr call) {
  const RequestInfo& info = call->info;
  const http::Query& q = call->request.query;
  if (info.verb != "get") {
    co_await reply_status(call, method_not_allowed());
    co_return;
  }
  const auto object = store_.snapshot().get(call->key());
  if (!object) {
    co_await reply_status(call, not_found(*info.kind, info.name));
    co_return;
  }
  const Json pod = object->parse();
  LogTarget target = log_target(pod, info.name, std::string(q.get("container")));
  if (target.failure) {
    co_await reply_status(call, std::move(*target.failure));
    co_return;
  }
  if (deps_.logs == nullptr) {
    co_await reply_status(
        call, not_supported(501, "NotImplemented",
                            "pods/log \"" + info.name + "\": no node serves logs here"));
    co_return;
  }
  const bool previous = query_flag(q, "previous");
  if (std::string why = no_log_yet(pod, info.name, target.container, previous); !why.empty()) {
    co_await reply_status(call, bad_request_status(std::move(why)));
    co_return;
  }
  LogSource::Request request;
  request.pod = call->key();
  request.uid = object->uid();
  request.container = target.container;
  request.previous = previous;
  request.follow = query_flag(q, "follow");
  request.timestamps = query_flag(q, "timestamps");
  request.tail_lines = int_option(q, "tailLines");
  request.limit_bytes = int_option(q, "limitBytes");
  request.since_seconds = int_option(q, "sinceSeconds");
  request.since_time = q.get("sinceTime");
  for (const auto& option : {request.tail_lines, request.limit_bytes, request.since_seconds}) {
    if (option && *option < 0) {
      co_await reply_status(call, bad_request_status("log options must not be negative"));
      co_return;
    }
  }
  auto opening = deps_.logs->open(std::move(request));
  auto opened = co_await opening;
  if (!opened) {
    co_await reply_status(call, from_error(opened.error()));
    co_return;
  }
  const auto reader = std::move(opened).value();
  http::Headers headers = answer_headers(call->audit_id, "text/plain", {});
  if (!(co_await call->responder->begin(200, std::move(headers)))) co_return;
  // Whichever comes first: text, or the end of the reader's interest.
  struct Race {
    io::Event event;
    std::optional<Result<std::string>> text;
    bool closed = false;
  };
  const auto race = std::make_shared<Race>();
  call->responder->on_close([race] {
    race->closed = true;
    race->event.set();
  });
  struct Reading {
    static io::Task<void> run(io::Loop* loop, LogSource::Reader* from, std::shared_ptr<Race> to) {
      to->text = co_await from->read();
      loop->post([to] { to->event.set(); });
    }
  };
  while (!race->closed) {
    race->text.reset();
    race->event.reset();
    const auto scope = loop_.spawn_scoped(Reading::run(&loop_, reader.get(), race));
    while (!race->text && !race->closed) {
      race->event.reset();
      co_await race->event;
    }
    if (!race->text || !*race->text || (*race->text)->empty()) break;
    std::string piece = std::move(**race->text);
    if (!(co_await call->responder->write(std::move(piece)))) co_return;
  }
  (void)co_await call->responder->end();
}

io::Task<void> Api::evict(CallPtr call) {
  if (call->info.verb != "create") {
    co_await reply_status(call, method_not_allowed());
    co_return;
  }
  const schema::Kind* kind = schema::Registry::get().by_kind("policy", "v1", "Eviction");
  const auto type = schema::content_type(call->request.headers.get("Content-Type"));
  if (kind == nullptr || !type) {
    co_await reply_status(call, {415, "UnsupportedMediaType", "Content-Type is not supported", {}});
    co_return;
  }
  auto decoded =
      schema::decode(*kind, "v1", call->request.body, *type, schema::FieldValidation::Ignore);
  if (decoded.failure) {
    co_await reply_status(call, from_failure(*decoded.failure, *kind, call->info.name));
    co_return;
  }
  Write w;
  w.op = Write::Op::Delete;
  w.key = call->key();
  w.remove.grace = json::opt_i64(decoded.object, {"deleteOptions", "gracePeriodSeconds"});
  WriteOptions options;
  options.user = call->user;
  options.now = call->now;
  options.dry_run = !json::array(decoded.object, {"deleteOptions", "dryRun"}).empty();
  auto writing = write(std::move(w), std::move(options));
  WriteOutcome outcome = co_await writing;
  if (outcome.failure) {
    co_await reply_status(call, std::move(*outcome.failure));
    co_return;
  }
  Json body = JsonObject{{"kind", "Status"},
                         {"apiVersion", "v1"},
                         {"metadata", JsonObject()},
                         {"status", "Success"},
                         {"code", 201}};
  co_await reply_json(call, 201, std::move(body));
}

io::Task<void> Api::issue_token(CallPtr call) {
  if (call->info.verb != "create") {
    co_await reply_status(call, method_not_allowed());
    co_return;
  }
  const SnapshotReader state(store_.snapshot());
  const auto account = state.get(call->key());
  if (!account) {
    co_await reply_status(call, not_found(*call->info.kind, call->info.name));
    co_return;
  }
  const schema::Kind* kind =
      schema::Registry::get().by_kind("authentication.k8s.io", "v1", "TokenRequest");
  const auto type = schema::content_type(call->request.headers.get("Content-Type"));
  if (kind == nullptr || !type || deps_.tokens == nullptr) {
    co_await reply_status(call, not_supported(501, "NotImplemented",
                                              "serviceaccounts/token: no token key is loaded"));
    co_return;
  }
  auto decoded =
      schema::decode(*kind, "v1", call->request.body, *type, schema::FieldValidation::Ignore);
  if (decoded.failure) {
    co_await reply_status(call, from_failure(*decoded.failure, *kind, call->info.name));
    co_return;
  }
  Json& request = decoded.object;
  Tokens::Issue issue;
  issue.account = call->key();
  issue.account_uid = account->uid();
  issue.audiences = string_list(request, {"spec", "audiences"});
  issue.seconds = json::i64(request, {"spec", "expirationSeconds"}, 3600);
  if (issue.seconds < 600) {
    co_await reply_status(
        call, invalid_status(*kind, "",
                             {{schema::Reason::Invalid, "spec.expirationSeconds",
                               "Invalid value: " + std::to_string(issue.seconds) +
                                   ": may not specify a duration less than 10 minutes"}}));
    co_return;
  }
  issue.seconds = std::min<std::int64_t>(issue.seconds, std::int64_t{1} << 32);
  if (const Json* bound = json::find(request, {"spec", "boundObjectRef"})) issue.bound = *bound;
  auto token = deps_.tokens->issue(issue, state, call->now);
  if (!token) {
    co_await reply_status(call, from_error(token.error()));
    co_return;
  }
  json::set(request, {"metadata", "name"}, text(call->info.name));
  json::set(request, {"metadata", "namespace"}, text(call->info.ns));
  json::set(request, {"metadata", "creationTimestamp"}, text(rfc3339(call->now)));
  json::set(request, {"spec", "expirationSeconds"}, issue.seconds);
  json::set(request, {"status", "token"}, text(token->token));
  json::set(request, {"status", "expirationTimestamp"}, text(rfc3339(token->expires)));
  Json body = std::move(request);
  co_await reply_json(call, 201, std::move(body));
}

io::Task<void> Api::review(CallPtr call) {
  const schema::Kind& kind = *call->info.kind;
  const bool served = std::find(kind.verbs.begin(), kind.verbs.end(), "create") != kind.verbs.end();
  if (call->info.verb != "create" || !served) {
    co_await reply_status(call, served ? method_not_allowed() : route_not_found());
    co_return;
  }
  const auto type = schema::content_type(call->request.headers.get("Content-Type"));
  if (!type) {
    co_await reply_status(call, {415, "UnsupportedMediaType", "Content-Type is not supported", {}});
    co_return;
  }
  auto decoded = schema::decode(kind, call->info.version, call->request.body, *type,
                                schema::FieldValidation::Ignore);
  if (decoded.failure) {
    co_await reply_status(call, from_failure(*decoded.failure, kind, ""));
    co_return;
  }
  Json object = std::move(decoded.object);
  const Json* spec_found = json::find(object, "spec");
  const Json spec = spec_found == nullptr ? Json(JsonObject()) : *spec_found;
  json::set(object, {"metadata", "creationTimestamp"}, nullptr);
  if (kind.kind == "SelfSubjectReview") {
    json::set(object, {"metadata", "creationTimestamp"}, text(rfc3339(call->now)));
    json::set(object, {"status", "userInfo"}, user_info(call->user));
  } else if (kind.kind == "SelfSubjectAccessReview") {
    json::set(object, {"status"}, access_status(call->user, review_attributes(spec)));
  } else if (kind.kind == "SubjectAccessReview" || kind.kind == "LocalSubjectAccessReview") {
    User user;
    user.name = json::str(spec, {"user"});
    user.groups = string_list(spec, {"groups"});
    if (user.name.empty() && user.groups.empty()) {
      co_await reply_status(
          call, invalid_status(kind, "",
                               {{schema::Reason::Invalid, "spec.user",
                                 "Invalid value: \"\": at least one of user or group must be "
                                 "specified"}}));
      co_return;
    }
    json::set(object, {"status"}, access_status(user, review_attributes(spec)));
  } else if (kind.kind == "SelfSubjectRulesReview") {
    const bool all = call->user.in(kMasters);
    JsonArray rules, paths;
    const auto strings = [](std::initializer_list<const char*> list) {
      JsonArray out;
      for (const char* s : list) out.push_back(s);
      return out;
    };
    if (all) {
      rules.push_back(JsonObject{
          {"verbs", strings({"*"})}, {"apiGroups", strings({"*"})}, {"resources", strings({"*"})}});
      paths.push_back(JsonObject{{"verbs", strings({"*"})}, {"nonResourceURLs", strings({"*"})}});
    } else {
      rules.push_back(JsonObject{
          {"verbs", strings({"create"})},
          {"apiGroups", strings({"authorization.k8s.io"})},
          {"resources", strings({"selfsubjectaccessreviews", "selfsubjectrulesreviews"})}});
      rules.push_back(JsonObject{{"verbs", strings({"create"})},
                                 {"apiGroups", strings({"authentication.k8s.io"})},
                                 {"resources", strings({"selfsubjectreviews"})}});
      paths.push_back(
          JsonObject{{"verbs", strings({"get"})},
                     {"nonResourceURLs",
                      strings({"/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez",
                               "/openapi", "/openapi/*", "/readyz", "/version", "/version/"})}});
    }
    json::set(object, {"status"},
              JsonObject{{"resourceRules", std::move(rules)},
                         {"nonResourceRules", std::move(paths)},
                         {"incomplete", !all}});
  } else if (kind.kind == "TokenReview") {
    JsonObject status{{"authenticated", false}};
    const SnapshotReader state(store_.snapshot());
    const auto audiences = string_list(spec, {"audiences"});
    if (deps_.tokens != nullptr) {
      auto user =
          deps_.tokens->authenticate(json::str(spec, {"token"}), audiences, state, call->now);
      if (user) {
        status["authenticated"] = true;
        user->groups.emplace_back("system:authenticated");
        status["user"] = user_info(*user);
        JsonArray list;
        for (const auto& a : audiences) list.push_back(text(a));
        if (!list.empty()) status["audiences"] = std::move(list);
      } else {
        status["user"] = JsonObject();
        status["error"] = text(user.error().message());
      }
    }
    json::set(object, {"status"}, std::move(status));
  } else {
    co_await reply_status(call, route_not_found());
    co_return;
  }
  co_await reply_json(call, 201, std::move(object));
}

}  // namespace knit::apiserver
