#include "kube/client.h"

#include <charconv>

namespace knit::kube {
namespace {

struct ReasonRow {
  std::string_view reason;
  Code code;
};
constexpr ReasonRow kReasons[] = {
    {"Unauthorized", Code::Unauthenticated},
    {"Forbidden", Code::PermissionDenied},
    {"NotFound", Code::NotFound},
    {"AlreadyExists", Code::AlreadyExists},
    {"Conflict", Code::Conflict},
    {"Gone", Code::Expired},
    {"Expired", Code::Expired},
    {"Invalid", Code::InvalidArgument},
    {"BadRequest", Code::InvalidArgument},
    {"RequestEntityTooLarge", Code::InvalidArgument},
    {"Timeout", Code::DeadlineExceeded},
    {"ServerTimeout", Code::DeadlineExceeded},
    {"TooManyRequests", Code::ResourceExhausted},
    {"ServiceUnavailable", Code::Unavailable},
    {"MethodNotAllowed", Code::Unsupported},
    {"NotAcceptable", Code::Unsupported},
    {"UnsupportedMediaType", Code::Unsupported},
    {"NotImplemented", Code::Unsupported},
};

Error error_of(const Json& status, int code) {
  const std::string_view reason = json::str(status, {"reason"});
  std::string message(json::str(status, {"message"}));
  if (message.empty()) message = "the server answered " + std::to_string(code);
  for (const ReasonRow& row : kReasons) {
    if (row.reason == reason) return Error(row.code, std::move(message));
  }
  Code fallback = Code::Internal;
  if (code == 404) fallback = Code::NotFound;
  if (code == 400 || code == 413 || code == 422) fallback = Code::InvalidArgument;
  if (code == 401) fallback = Code::Unauthenticated;
  if (code == 403) fallback = Code::PermissionDenied;
  if (code == 410) fallback = Code::Expired;
  if (code == 429) fallback = Code::ResourceExhausted;
  if (code == 503) fallback = Code::Unavailable;
  return Error(fallback, std::move(message));
}

std::uint64_t version_of(const Json& dom) {
  const std::string_view text = json::str(dom, {"metadata", "resourceVersion"});
  std::uint64_t v = 0;
  std::from_chars(text.data(), text.data() + text.size(), v);
  return v;
}

/// Versions of groups that need no discovery.
constexpr std::pair<std::string_view, std::string_view> kVersions[] = {
    {"", "v1"},
    {"apps", "v1"},
    {"authentication.k8s.io", "v1"},
    {"authorization.k8s.io", "v1"},
    {"apiextensions.k8s.io", "v1"},
    {"coordination.k8s.io", "v1"},
    {"discovery.k8s.io", "v1"},
    {"events.k8s.io", "v1"},
    {"networking.k8s.io", "v1"},
    {"policy", "v1"},
    {"rbac.authorization.k8s.io", "v1"},
    {"serving.knative.dev", "v1"},
};

}  // namespace

Error status_error(int status, std::string_view body) {
  const auto dom = json::parse(body);
  return error_of(dom && json::str(*dom, {"kind"}) == "Status" ? *dom : Json(), status);
}

Result<ObjectPtr> parse_object(Resource resource, const Json& dom) {
  if (json::str(dom, {"metadata", "name"}).empty()) {
    return Error(Code::InvalidArgument, "the server sent an object without a name");
  }
  Key key{resource, std::string(json::str(dom, {"metadata", "namespace"})),
          std::string(json::str(dom, {"metadata", "name"}))};
  return ObjectPtr(std::make_shared<const Object>(std::move(key), version_of(dom), dom));
}

Client::Client(io::Loop& loop, http::Connector connector, ClientOptions options)
    : loop_(loop),
      http_(loop, std::move(connector),
            http::ClientSettings{.host = options.host, .timeout = options.timeout}),
      options_(std::move(options)) {
  for (const auto& [group, version] : kVersions) versions_.emplace(group, version);
}

void Client::set_version(std::string group, std::string version) {
  versions_[std::move(group)] = std::move(version);
}

void Client::decorate(http::Request& request) const {
  if (!options_.token.empty()) {
    request.headers.set("Authorization", "Bearer " + options_.token);
  }
  request.headers.set("User-Agent", options_.user_agent);
  if (!request.headers.has("Accept")) request.headers.add("Accept", "application/json");
  if (!request.body.empty() && !request.headers.has("Content-Type")) {
    request.headers.add("Content-Type", "application/json");
  }
}

io::Task<Result<http::Response>> Client::raw(http::Request request) {
  decorate(request);
  auto sending = http_.send(std::move(request));
  auto response = co_await sending;
  if (response && response->status >= 400) {
    co_return status_error(response->status, response->body);
  }
  co_return response;
}

io::Task<Result<std::unique_ptr<http::ResponseStream>>> Client::stream(http::Request request) {
  decorate(request);
  auto opening = http_.open(std::move(request));
  auto opened = co_await opening;
  if (!opened) co_return std::move(opened).error();
  auto answer = std::move(opened).value();
  if (answer->status() < 400) co_return std::move(answer);
  std::string body;
  while (body.size() < (1u << 20)) {
    auto piece = co_await answer->read();
    if (!piece || piece->empty()) break;
    body += *piece;
  }
  co_return status_error(answer->status(), body);
}

io::Task<Result<std::string>> Client::base_path(Resource resource, std::string ns) {
  const std::string group(resource.group());
  auto it = versions_.find(group);
  if (it == versions_.end()) {
    http::Request request;
    request.path = "/apis/" + group;
    auto asking = raw(std::move(request));
    auto response = co_await asking;
    if (!response) co_return std::move(response).error().within("look up group " + group);
    const auto dom = json::parse(response->body);
    const std::string version(dom ? json::str(*dom, {"preferredVersion", "version"})
                                  : std::string_view());
    if (version.empty()) {
      co_return Error(Code::NotFound, "the server does not serve the group " + group);
    }
    it = versions_.emplace(group, version).first;
  }
  std::string out = group.empty() ? "/api/" + it->second : "/apis/" + group + "/" + it->second;
  if (!ns.empty()) out += "/namespaces/" + ns;
  out += "/" + std::string(resource.plural());
  co_return out;
}

io::Task<Result<std::string>> Client::path(Key key, std::string subresource) {
  auto finding = base_path(key.resource, key.ns);
  auto base = co_await finding;
  if (!base) co_return base;
  std::string out = *base + "/" + key.name;
  if (!subresource.empty()) out += "/" + subresource;
  co_return out;
}

io::Task<Result<ObjectPtr>> Client::send_object(Resource resource, http::Request request) {
  auto sending = raw(std::move(request));
  auto response = co_await sending;
  if (!response) co_return std::move(response).error();
  auto dom = json::parse(response->body);
  if (!dom) co_return std::move(dom).error().within("answer of the API");
  co_return parse_object(resource, *dom);
}

io::Task<Result<ObjectPtr>> Client::get(Key key) {
  auto finding = path(key, {});
  auto where = co_await finding;
  if (!where) co_return std::move(where).error();
  http::Request request;
  request.path = std::move(*where);
  auto sending = send_object(key.resource, std::move(request));
  auto sent = co_await sending;
  co_return sent;
}

io::Task<Result<ObjectList>> Client::list(Resource resource, ListQuery query) {
  auto finding = base_path(resource, query.ns);
  auto where = co_await finding;
  if (!where) co_return std::move(where).error();
  ObjectList out;
  std::string next;
  do {
    http::Request request;
    request.path = *where;
    if (!query.labels.empty()) request.query.add("labelSelector", query.labels);
    if (!query.fields.empty()) request.query.add("fieldSelector", query.fields);
    if (query.page != 0) request.query.add("limit", std::to_string(query.page));
    if (!next.empty()) request.query.add("continue", next);
    auto sending = raw(std::move(request));
    auto response = co_await sending;
    if (!response) co_return std::move(response).error();
    const json::Limits limits{.max_bytes = 64 << 20};
    auto dom = json::parse(response->body, limits);
    if (!dom) co_return std::move(dom).error().within("answer of the API");
    std::string kind(json::str(*dom, {"kind"}));
    if (kind.ends_with("List")) kind.resize(kind.size() - 4);
    const std::string api_version(json::str(*dom, {"apiVersion"}));
    if (auto* items = json::find(*dom, "items"); items != nullptr && items->is_array()) {
      for (Json& item : items->get_array()) {
        if (json::find(item, "kind") == nullptr) {
          json::set(item, {"kind"}, boost::json::string(kind));
          json::set(item, {"apiVersion"}, boost::json::string(api_version));
        }
        auto object = parse_object(resource, item);
        if (!object) co_return std::move(object).error();
        out.objects.push_back(std::move(*object));
      }
    }
    out.version = version_of(*dom);
    next = json::str(*dom, {"metadata", "continue"});
  } while (!next.empty());
  co_return out;
}

io::Task<Result<ObjectPtr>> Client::create(Resource resource, std::string ns, Json object) {
  auto finding = base_path(resource, std::move(ns));
  auto where = co_await finding;
  if (!where) co_return std::move(where).error();
  http::Request request;
  request.method = "POST";
  request.path = std::move(*where);
  request.body = json::print(object);
  auto sending = send_object(resource, std::move(request));
  auto sent = co_await sending;
  co_return sent;
}

io::Task<Result<ObjectPtr>> Client::update(Key key, Json object, std::string subresource) {
  auto finding = path(key, std::move(subresource));
  auto where = co_await finding;
  if (!where) co_return std::move(where).error();
  http::Request request;
  request.method = "PUT";
  request.path = std::move(*where);
  request.body = json::print(object);
  auto sending = send_object(key.resource, std::move(request));
  auto sent = co_await sending;
  co_return sent;
}

io::Task<Result<ObjectPtr>> Client::patch(Key key, PatchKind kind, Json patch,
                                          std::string subresource) {
  auto finding = path(key, std::move(subresource));
  auto where = co_await finding;
  if (!where) co_return std::move(where).error();
  http::Request request;
  request.method = "PATCH";
  request.path = std::move(*where);
  request.headers.add("Content-Type", kind == PatchKind::Json ? "application/json-patch+json"
                                      : kind == PatchKind::Merge
                                          ? "application/merge-patch+json"
                                          : "application/strategic-merge-patch+json");
  request.body = json::print(patch);
  auto sending = send_object(key.resource, std::move(request));
  auto sent = co_await sending;
  co_return sent;
}

io::Task<Result<void>> Client::remove(Key key, Json options) {
  auto finding = path(key, {});
  auto where = co_await finding;
  if (!where) co_return std::move(where).error();
  http::Request request;
  request.method = "DELETE";
  request.path = std::move(*where);
  if (options.is_object()) {
    json::set(options, {"apiVersion"}, "v1");
    json::set(options, {"kind"}, "DeleteOptions");
    request.body = json::print(options);
  }
  auto sending = raw(std::move(request));
  auto response = co_await sending;
  if (!response) co_return std::move(response).error();
  co_return Result<void>();
}

io::Task<Result<Json>> Client::post(Key key, std::string subresource, Json body) {
  auto finding = path(key, std::move(subresource));
  auto where = co_await finding;
  if (!where) co_return std::move(where).error();
  http::Request request;
  request.method = "POST";
  request.path = std::move(*where);
  request.body = json::print(body);
  auto sending = raw(std::move(request));
  auto response = co_await sending;
  if (!response) co_return std::move(response).error();
  co_return json::parse(response->body);
}

namespace {

class WatchStreamImpl final : public WatchStream {
 public:
  WatchStreamImpl(Resource resource, std::unique_ptr<http::ResponseStream> stream)
      : resource_(resource), stream_(std::move(stream)) {}

  io::Task<Result<std::optional<WatchEvent>>> next() override {
    constexpr std::size_t kMaxLine = 8 << 20;
    while (true) {
      if (const std::size_t end = buffer_.find('\n', scanned_); end != std::string::npos) {
        const std::string line = buffer_.substr(0, end);
        buffer_.erase(0, end + 1);
        scanned_ = 0;
        if (line.empty()) continue;
        co_return parse(line);
      }
      scanned_ = buffer_.size();
      if (buffer_.size() > kMaxLine) {
        co_return Error(Code::ResourceExhausted, "a watch event is larger than 8 MiB");
      }
      auto piece = co_await stream_->read();
      if (!piece) co_return std::move(piece).error();
      if (piece->empty()) co_return std::optional<WatchEvent>();
      buffer_ += *piece;
    }
  }

 private:
  Result<std::optional<WatchEvent>> parse(const std::string& line) const {
    const json::Limits limits{.max_bytes = 8 << 20};
    auto dom = json::parse(line, limits);
    if (!dom) return std::move(dom).error().within("watch event");
    const std::string_view type = json::str(*dom, {"type"});
    const Json* object = json::find(*dom, "object");
    if (object == nullptr) return Error(Code::InvalidArgument, "watch event without an object");
    if (type == "ERROR") {
      return error_of(*object, static_cast<int>(json::i64(*object, {"code"}, 500)));
    }
    WatchEvent event;
    event.version = version_of(*object);
    if (type == "BOOKMARK") {
      event.type = WatchEvent::Type::Bookmark;
      event.initial_end =
          json::str(*object, {"metadata", "annotations", "k8s.io/initial-events-end"}) == "true";
      return std::optional<WatchEvent>(std::move(event));
    }
    if (type == "MODIFIED") {
      event.type = WatchEvent::Type::Modified;
    } else if (type == "DELETED") {
      event.type = WatchEvent::Type::Deleted;
    } else if (type != "ADDED") {
      return Error(Code::InvalidArgument, "watch event of type \"" + std::string(type) + "\"");
    }
    KNIT_TRY(event.object, parse_object(resource_, *object));
    return std::optional<WatchEvent>(std::move(event));
  }

  Resource resource_;
  std::unique_ptr<http::ResponseStream> stream_;
  std::string buffer_;
  std::size_t scanned_ = 0;
};

}  // namespace

io::Task<Result<std::unique_ptr<WatchStream>>> Client::watch(Resource resource, ListQuery query,
                                                             std::uint64_t version) {
  auto finding = base_path(resource, query.ns);
  auto where = co_await finding;
  if (!where) co_return std::move(where).error();
  http::Request request;
  request.path = std::move(*where);
  request.query.add("watch", "true");
  request.query.add("allowWatchBookmarks", "true");
  if (version != 0) request.query.add("resourceVersion", std::to_string(version));
  if (!query.labels.empty()) request.query.add("labelSelector", query.labels);
  if (!query.fields.empty()) request.query.add("fieldSelector", query.fields);
  auto opening = stream(std::move(request));
  auto opened = co_await opening;
  if (!opened) co_return std::move(opened).error();
  co_return std::unique_ptr<WatchStream>(
      std::make_unique<WatchStreamImpl>(resource, std::move(opened).value()));
}

}  // namespace knit::kube
