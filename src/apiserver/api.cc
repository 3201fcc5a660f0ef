#include "apiserver/api.h"

#include <strings.h>
#include <zlib.h>

#include "apiserver/call.h"
#include "apiserver/discovery.h"
#include "base/hash.h"
#include "base/log.h"

namespace knit::apiserver {
namespace {

constexpr std::string_view kLogModule = "apiserver";
constexpr std::size_t kGzipFrom = 128 << 10;

std::string quoted_warning(std::string_view text) {
  std::string out = "299 - \"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) ? ' ' : c;
  }
  return out + "\"";
}

bool wants_gzip(const http::Request& request) {
  return std::string_view(request.headers.get("Accept-Encoding")).find("gzip") !=
         std::string_view::npos;
}

http::Response text_answer(int status, std::string_view body) {
  return {status,
          {{"Content-Type", "text/plain; charset=utf-8"},
           {"Cache-Control", "no-cache, private"},
           {"X-Content-Type-Options", "nosniff"}},
          std::string(body)};
}

}  // namespace

std::string gzip(std::string_view data) {
  z_stream z{};
  if (deflateInit2(&z, 4, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) return {};
  std::string out(deflateBound(&z, data.size()), '\0');
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));
  z.avail_in = static_cast<uInt>(data.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  const bool ok = deflate(&z, Z_FINISH) == Z_STREAM_END;
  out.resize(z.total_out);
  deflateEnd(&z);
  return ok ? out : std::string();
}

http::Headers answer_headers(const std::string& audit_id, std::string type,
                             const std::vector<std::string>& warnings) {
  http::Headers headers{{"Audit-Id", audit_id}, {"Cache-Control", "no-cache, private"}};
  headers.add("Content-Type", std::move(type));
  for (const auto& w : warnings) headers.add("Warning", quoted_warning(w));
  return headers;
}

Status route_not_found() {
  return {404, "NotFound", "the server could not find the requested resource", JsonObject()};
}
Status method_not_allowed() {
  return {405, "MethodNotAllowed",
          "the server does not allow this method on the requested resource", JsonObject()};
}

Api::Api(io::Loop& loop, store::Store& store, const Registry& registry,
         ApiDependencies dependencies)
    : loop_(loop), store_(store), registry_(registry), deps_(std::move(dependencies)) {
  for (const bool core : {false, true}) {
    aggregated_[core] = json::print(aggregated_discovery(core));
    aggregated_etag_[core] = "\"" + hash::sha512_hex(aggregated_[core]) + "\"";
  }
}

http::Handler Api::handler() {
  return [this](http::Request request, http::Peer peer, http::Responder& responder) {
    return handle(this, std::move(request), std::move(peer), responder);
  };
}

http::ErrorAnswer Api::error_answer() {
  return [](int status, std::string_view why) {
    Status s{status, "BadRequest", std::string(why), {}};
    if (status == 413) s.reason = "RequestEntityTooLarge";
    if (status == 429) s.reason = "TooManyRequests";
    if (status >= 500) s.reason = "InternalError";
    return http::Response{
        status, {{"Content-Type", "application/json"}}, json::print(to_json(s)) + "\n"};
  };
}

io::Task<void> Api::handle(Api* api, http::Request request, http::Peer peer,
                           http::Responder& responder) {
  auto call = std::make_shared<Call>();
  call->responder = &responder;
  call->request = std::move(request);
  call->peer = std::move(peer);
  call->info = request_info(call->request);
  call->now = api->loop_.wall_now();
  call->audit_id = api->deps_.random->uuid();
  const SnapshotReader state(api->store_.snapshot());
  auto user = authenticate(call->peer, call->request.headers, api->deps_.tokens, state, call->now,
                           api->certificates_);
  if (!user) {
    co_await api->reply_status(call, {401, "Unauthorized", "Unauthorized", {}});
    co_return;
  }
  call->user = std::move(*user);
  const Attributes attributes = attributes_of(call->info, call->request.path);
  if (!authorized(call->user, attributes)) {
    co_await api->reply_status(call, denied(call->user, attributes));
    co_return;
  }
  for (const auto& [name, value] : call->request.headers.fields()) {
    if (name.size() > 12 && std::string_view(name).substr(0, 12) == "Impersonate-") {
      co_await api->reply_status(
          call, not_supported(501, "NotImplemented",
                              "impersonation (" + name + ") is not supported yet by knit"));
      co_return;
    }
  }
  co_await api->dispatch(call);
  KNIT_LOG(Debug, "request", KV("user", call->user.name), KV("verb", call->info.verb),
           KV("path", call->request.path));
}

io::Task<void> Api::dispatch(CallPtr call) {
  const RequestInfo& info = call->info;
  if (!info.resource || info.plural.empty()) {
    co_await non_resource(call);
    co_return;
  }
  if (info.kind == nullptr) {
    http::Response response = text_answer(404, "404 page not found\n");
    (void)co_await call->responder->send(std::move(response));
    co_return;
  }
  const auto accepted = negotiate(call->request);
  if (!accepted || accepted->form == Form::Discovery) {
    co_await reply_status(call, not_acceptable());
    co_return;
  }
  call->accepted = *accepted;
  if (!info.subresource.empty()) {
    co_await subresource(call);
    co_return;
  }
  if (!info.kind->stored) {
    co_await review(call);
    co_return;
  }
  const auto& verbs = info.kind->verbs;
  const bool served = std::find(verbs.begin(), verbs.end(), info.verb) != verbs.end();
  const bool needs_ns =
      info.kind->namespaced && info.ns.empty() && (info.verb != "list" && info.verb != "watch");
  if (!served || needs_ns || (info.verb == "create" && !info.name.empty()) ||
      ((info.verb == "update" || info.verb == "patch") && info.name.empty())) {
    co_await reply_status(call, method_not_allowed());
    co_return;
  }
  if (info.verb == "get") {
    co_await get(call);
  } else if (info.verb == "list") {
    co_await list(call);
  } else if (info.verb == "watch") {
    co_await watch(call);
  } else if (info.verb == "create") {
    co_await create(call);
  } else if (info.verb == "update") {
    co_await update(call);
  } else if (info.verb == "patch") {
    co_await patch(call);
  } else if (info.verb == "delete") {
    co_await remove(call);
  } else {
    co_await remove_collection(call);
  }
}

View Api::view_of(const Call& call) const {
  View view;
  view.kind = call.info.kind;
  view.version = call.info.version;
  view.accepted = call.accepted;
  view.now = call.now;
  const std::string_view include = call.request.query.get("includeObject");
  if (include == "None") view.include = View::Include::None;
  if (include == "Object") view.include = View::Include::Object;
  return view;
}

io::Task<void> Api::reply_bytes(CallPtr call, int code, std::string body, std::string type) {
  http::Response response;
  response.status = code;
  response.headers = answer_headers(call->audit_id, std::move(type), call->warnings);
  if (body.size() > kGzipFrom && wants_gzip(call->request)) {
    if (std::string small = gzip(body); !small.empty()) {
      body = std::move(small);
      response.headers.add("Content-Encoding", "gzip");
      response.headers.add("Vary", "Accept-Encoding");
    }
  }
  response.body = std::move(body);
  (void)co_await call->responder->send(std::move(response));
}

io::Task<void> Api::reply_json(CallPtr call, int code, Json body) {
  std::string out = call->accepted.pretty ? json::pretty(body) : json::print(body);
  if (out.empty() || out.back() != '\n') out += '\n';
  co_await reply_bytes(call, code, std::move(out), "application/json");
}

io::Task<void> Api::reply_status(CallPtr call, Status status) {
  if (const auto accepted = negotiate(call->request)) call->accepted.pretty = accepted->pretty;
  if (status.retry_after > 0) {
    http::Response response;
    response.status = status.code;
    response.headers = answer_headers(call->audit_id, "application/json", call->warnings);
    response.headers.add("Retry-After", std::to_string(status.retry_after));
    response.body = json::print(to_json(status)) + "\n";
    (void)co_await call->responder->send(std::move(response));
    co_return;
  }
  Json body = to_json(status);
  co_await reply_json(call, status.code, std::move(body));
}

bool Api::not_modified(const Call& call, const std::string& etag) const {
  const std::string_view given = call.request.headers.get("If-None-Match");
  return given == "*" || given.find(etag) != std::string_view::npos;
}

io::Task<void> Api::non_resource(CallPtr call) {
  const std::string& path = call->request.path;
  const auto parts = path_parts(path);
  constexpr std::string_view kEvents = "/knit/events/";
  if (deps_.events && path.starts_with(kEvents)) {
    http::Request request;  // without the headers that say who asks
    request.method = call->request.method;
    request.path = path.substr(kEvents.size() - 1);
    request.query = call->request.query;
    for (const auto& [name, value] : call->request.headers.fields()) {
      const bool event = ::strncasecmp(name.c_str(), "ce-", 3) == 0 ||
                         ::strcasecmp(name.c_str(), "content-type") == 0;
      if (event) request.headers.add(name, value);
    }
    request.body = std::move(call->request.body);
    auto answering = deps_.events(std::move(request));
    http::Response response = co_await answering;
    (void)co_await call->responder->send(std::move(response));
    co_return;
  }
  const bool reading = call->request.method == "GET" || call->request.method == "HEAD";
  if (!reading) {
    http::Response response = text_answer(404, "404 page not found\n");
    (void)co_await call->responder->send(std::move(response));
    co_return;
  }
  const std::string first = parts.empty() ? std::string() : parts[0];
  if (first == "healthz" || first == "livez" || first == "readyz") {
    const std::string why = first == "readyz" && deps_.not_ready ? deps_.not_ready() : "";
    std::string body = why.empty() ? "ok" : why;
    if (call->request.query.has("verbose") || !why.empty()) {
      body = "[+]ping ok\n";
      body += why.empty() ? "[+]controllers ok\n" : "[-]controllers failed: " + why + "\n";
      body += first + (why.empty() ? " check passed\n" : " check failed\n");
    }
    http::Response response = text_answer(why.empty() ? 200 : 500, body);
    (void)co_await call->responder->send(std::move(response));
    co_return;
  }
  const auto accepted = negotiate(call->request);
  call->accepted = accepted.value_or(Accepted{});
  if (path == "/version" || path == "/version/") {
    Json body = version_document(deps_.git_version);
    co_await reply_json(call, 200, std::move(body));
    co_return;
  }
  if (first == "openapi" && parts.size() == 2 && parts[1] == "v2") {
    // Only the protobuf form is asked for by clients; people get the same document as JSON.
    const bool protobuf = std::string_view(call->request.headers.get("Accept")).find("protobuf") !=
                          std::string_view::npos;
    std::string body = protobuf
                           ? openapi_v2_stub()
                           : "{\"swagger\":\"2.0\",\"info\":{\"title\":\"k\",\"version\":\"1\"},"
                             "\"paths\":{}}\n";
    std::string type = protobuf ? "application/octet-stream" : "application/json";
    co_await reply_bytes(call, 200, std::move(body), std::move(type));
    co_return;
  }
  if (!accepted) {
    co_await reply_status(call, not_acceptable());
    co_return;
  }
  if (accepted->form == Form::Discovery && parts.size() == 1 &&
      (first == "api" || first == "apis")) {
    const bool core = first == "api";
    http::Response response;
    response.headers = answer_headers(call->audit_id, std::string(kAggregatedType), {});
    response.headers.add("ETag", aggregated_etag_[core]);
    response.headers.add("Vary", "Accept");
    if (not_modified(*call, aggregated_etag_[core])) {
      response.status = 304;
    } else {
      response.body = aggregated_[core];
      if (response.body.size() > kGzipFrom && wants_gzip(call->request)) {
        response.body = gzip(response.body);
        response.headers.add("Content-Encoding", "gzip");
      }
    }
    (void)co_await call->responder->send(std::move(response));
    co_return;
  }
  if (parts.empty()) {
    JsonArray paths{"/api", "/api/v1", "/apis"};
    Json groups = *legacy_discovery("/apis", deps_.server_address);
    for (const Json& g : json::array(groups, {"groups"})) {
      const std::string base = "/apis/" + std::string(json::str(g, {"name"}));
      paths.push_back(text(base));
      for (const Json& v : json::array(g, {"versions"})) {
        paths.push_back(text("/apis/" + std::string(json::str(v, {"groupVersion"}))));
      }
    }
    for (const char* p : {"/healthz", "/livez", "/openapi/v2", "/readyz", "/version"}) {
      paths.push_back(p);
    }
    Json body = JsonObject{{"paths", std::move(paths)}};
    co_await reply_json(call, 200, std::move(body));
    co_return;
  }
  if (auto document = legacy_discovery(path, deps_.server_address)) {
    co_await reply_json(call, 200, std::move(*document));
    co_return;
  }
  http::Response response = text_answer(404, "404 page not found\n");
  (void)co_await call->responder->send(std::move(response));
}

}  // namespace knit::apiserver
