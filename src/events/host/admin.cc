#include "events/host/admin.h"

#include <charconv>

namespace knit::events {
namespace {

http::Response told(int status, const Json& body) {
  return {status, {{"Content-Type", "application/json"}}, json::print(body) + "\n"};
}
http::Response refused(const Error& error) {
  const int status = error.code() == Code::NotFound            ? 404
                     : error.code() == Code::ResourceExhausted ? 429
                     : error.code() == Code::InvalidArgument   ? 400
                                                               : 503;
  return admin_error(status, error.message());
}

std::optional<StreamKind> kind_of(const http::Query& query) {
  const auto kind = query.get("kind");
  if (kind.empty() || kind == "broker") return StreamKind::Broker;
  if (kind == "channel" || kind == "inmemorychannel") return StreamKind::Channel;
  return std::nullopt;
}

std::optional<std::uint64_t> number(const http::Query& query, std::string_view name,
                                    std::uint64_t otherwise) {
  const auto text = query.get(name);
  if (text.empty()) return otherwise;
  std::uint64_t n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return n;
}

io::Task<http::Response> answer_to(Engine* engine, http::Request request) {
  const http::Query& q = request.query;
  const bool get = request.method == "GET", post = request.method == "POST";
  const std::string ns(q.get("namespace")), name(q.get("name"));
  const auto kind = kind_of(q);
  const auto from = number(q, "from", UINT64_MAX);
  const auto limit = number(q, "limit", 20);
  if (!kind) co_return admin_error(400, "kind is broker or channel");
  if (!from || !limit) co_return admin_error(400, "from and limit are numbers");
  if (get && request.path == "/stat") co_return told(200, engine->overview());
  if (get && request.path == "/trace") {
    std::string id(q.get("id"));
    if (id.empty()) co_return admin_error(400, "which event? id is missing");
    const Json trace = co_await engine->trace(std::move(id));
    co_return told(200, trace);
  }
  if (get && request.path == "/recent") {
    const auto most = static_cast<std::size_t>(std::min<std::uint64_t>(*limit, 1000));
    const auto events = co_await engine->recent(*kind, ns, name, *from, most);
    if (!events) co_return refused(events.error());
    co_return told(200, *events);
  }
  if (get && request.path == "/dlq") {
    const Json parked = co_await engine->parked();
    co_return told(200, parked);
  }
  if (post && request.path == "/redrive") {
    const auto n = engine->redrive(std::string(q.get("subscriber")));
    Json body = JsonObject();
    json::set(body, {"redriven"}, Json(static_cast<std::int64_t>(n)));
    co_return told(200, body);
  }
  if (post && request.path == "/replay") {
    if (*from == UINT64_MAX) co_return admin_error(400, "from where? from is missing");
    const auto replay = engine->replay(*kind, ns, name, std::string(q.get("subscriber")), *from);
    if (!replay) co_return refused(replay.error());
    co_return told(200, *replay);
  }
  if (post && request.path == "/send") {
    request.path = "/" + ns + "/" + name;
    request.query = {};
    const Door door = *kind == StreamKind::Broker ? Door::Broker : Door::ChannelByPath;
    co_return co_await engine->ingest(door, std::move(request), {});
  }
  co_return admin_error(404, "nothing is there: " + request.method + " " + request.path);
}

}  // namespace

http::Response admin_error(int status, std::string_view text) {
  Json body = JsonObject();
  json::set(body, {"error"}, Json(text));
  return told(status, body);
}

io::Task<void> administer(Engine* engine, http::Request request, http::Responder* responder) {
  http::Response response = co_await answer_to(engine, std::move(request));
  (void)co_await responder->send(std::move(response));
}

}  // namespace knit::events
