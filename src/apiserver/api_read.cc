// get and list (kubeapi.md 1.5, 1.6).
#include <charconv>

#include "apiserver/call.h"
#include "base/hash.h"

namespace knit::apiserver {
namespace {

std::optional<std::uint64_t> number(std::string_view s) {
  std::uint64_t v = 0;
  const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), v);
  if (error != std::errc() || end != s.data() + s.size()) return std::nullopt;
  return v;
}

/// Source: apiserver pkg/storage/continue.go
std::string continue_token(std::int64_t version, const Key& last) {
  std::string start = last.ns.empty() ? last.name : last.ns + "/" + last.name;
  start += '\0';
  return hash::base64url(
      json::print(JsonObject{{"v", "meta.k8s.io/v1"}, {"rv", version}, {"start", text(start)}}));
}
struct Continue {
  std::int64_t version = 0;
  std::string ns, name;
};
std::optional<Continue> parse_continue(std::string_view token, bool namespaced) {
  const auto decoded = hash::decode_base64url(token);
  if (!decoded) return std::nullopt;
  const auto dom = json::parse(*decoded);
  if (!dom || json::str(*dom, {"v"}) != "meta.k8s.io/v1") return std::nullopt;
  Continue out;
  out.version = json::i64(*dom, {"rv"});
  std::string start(json::str(*dom, {"start"}));
  if (out.version == 0 || start.empty()) return std::nullopt;
  if (start.back() == '\0') start.pop_back();
  if (!namespaced) {
    out.name = start;
    return out;
  }
  const std::size_t slash = start.find('/');
  if (slash == std::string::npos) return std::nullopt;
  out.ns = start.substr(0, slash);
  out.name = start.substr(slash + 1);
  return out;
}

Status list_options_error(std::string_view field, std::string_view message,
                          schema::Reason reason = schema::Reason::Forbidden) {
  return invalid_options("ListOptions", field, message, reason);
}

}  // namespace

Status too_large_version(std::uint64_t asked, std::uint64_t now) {
  JsonObject details{{"causes", JsonArray{JsonObject{{"reason", "ResourceVersionTooLarge"},
                                                     {"message", "Too large resource version"}}}}};
  Status s{504, "Timeout",
           "Timeout: Too large resource version: " + std::to_string(asked) +
               ", current: " + std::to_string(now),
           std::move(details)};
  s.retry_after = 1;
  return s;
}

/// Source: apimachinery pkg/apis/meta/internalversion/validation/validation.go
std::optional<Status> check_list_options(const http::Query& q, bool watching) {
  const std::string_view version = q.get("resourceVersion");
  const std::string_view match = q.get("resourceVersionMatch");
  const bool initial = q.has("sendInitialEvents");
  if (!version.empty() && !number(version)) {
    return bad_request_status("resourceVersion: Invalid value: \"" + std::string(version) +
                              "\": must be an unsigned integer");
  }
  if (watching) {
    if (initial && match != "NotOlderThan") {
      return list_options_error(
          "resourceVersionMatch",
          "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
    }
    if (!initial && !match.empty()) {
      return list_options_error("resourceVersionMatch",
                                "Forbidden: resourceVersionMatch is forbidden for watch unless "
                                "sendInitialEvents is provided");
    }
    return std::nullopt;
  }
  if (initial) {
    return list_options_error("sendInitialEvents",
                              "Forbidden: sendInitialEvents is forbidden for list");
  }
  if (match.empty()) return std::nullopt;
  if (version.empty()) {
    return list_options_error("resourceVersionMatch",
                              "Forbidden: resourceVersionMatch is forbidden unless "
                              "resourceVersion is provided");
  }
  if (!q.get("continue").empty()) {
    return list_options_error("resourceVersionMatch",
                              "Forbidden: resourceVersionMatch is forbidden when continue is "
                              "provided");
  }
  if (match != "Exact" && match != "NotOlderThan") {
    return list_options_error("resourceVersionMatch",
                              "Unsupported value: \"" + std::string(match) +
                                  "\": supported values: \"Exact\", \"NotOlderThan\"",
                              schema::Reason::NotSupported);
  }
  if (match == "Exact" && version == "0") {
    return list_options_error(
        "resourceVersionMatch",
        "Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
  }
  return std::nullopt;
}

io::Task<void> Api::get(CallPtr call) {
  const store::Snapshot state = store_.snapshot();
  const std::string_view version = call->request.query.get("resourceVersion");
  if (!version.empty()) {
    const auto asked = number(version);
    if (!asked) {
      co_await reply_status(call, bad_request_status("resourceVersion: Invalid value: \"" +
                                                     std::string(version) + "\""));
      co_return;
    }
    if (*asked > state.version()) {
      co_await reply_status(call, too_large_version(*asked, state.version()));
      co_return;
    }
  }
  const kube::ObjectPtr object = state.get(call->key());
  if (!object) {
    co_await reply_status(call, not_found(*call->info.kind, call->info.name));
    co_return;
  }
  std::string body = encode_object(view_of(*call), *object);
  if (call->accepted.pretty) {
    if (const auto dom = json::parse(body)) body = json::pretty(*dom);
  }
  if (body.back() != '\n') body += '\n';
  co_await reply_bytes(call, 200, std::move(body), "application/json");
}

io::Task<void> Api::list(CallPtr call) {
  const http::Query& q = call->request.query;
  const schema::Kind& kind = *call->info.kind;
  if (auto wrong = check_list_options(q, false)) {
    co_await reply_status(call, std::move(*wrong));
    co_return;
  }
  FilterResult made =
      make_filter(kind, call->info.ns, q.get("labelSelector"), q.get("fieldSelector"));
  if (made.failure) {
    co_await reply_status(call, std::move(*made.failure));
    co_return;
  }
  const Filter& filter = made.filter;
  const auto limit_value = number(q.get("limit").empty() ? "0" : q.get("limit"));
  if (!limit_value) {
    co_await reply_status(
        call, bad_request_status("limit: Invalid value: \"" + std::string(q.get("limit")) + "\""));
    co_return;
  }
  const std::size_t limit = *limit_value;
  const kube::Resource resource = stored_resource(kind);
  store::Snapshot state = store_.snapshot();
  Key after;
  const std::uint64_t asked = number(q.get("resourceVersion")).value_or(0);
  const std::string token(q.get("continue"));
  if (!token.empty()) {
    if (asked != 0) {
      co_await reply_status(
          call,
          bad_request_status("specifying resource version is not allowed when using continue"));
      co_return;
    }
    const auto from = parse_continue(token, kind.namespaced);
    if (!from) {
      co_await reply_status(call, bad_request_status("continue key is not valid: not decodable"));
      co_return;
    }
    after.ns = from->ns;
    after.name = from->name;
    if (from->version > 0) {
      auto old = store_.snapshot_at(static_cast<std::uint64_t>(from->version), resource);
      if (!old) {
        Status s{410,
                 "Expired",
                 "The provided continue parameter is too old to display a consistent list result. "
                 "You can start a new list without the continue parameter, or use the continue "
                 "token in this response to retrieve the remainder of the results. Continuing with "
                 "the provided token results in an inconsistent list - objects that were created, "
                 "modified, or deleted between the time the first chunk was returned and now may "
                 "show up in the list.",
                 {}};
        s.next = continue_token(-1, after);
        co_await reply_status(call, std::move(s));
        co_return;
      }
      state = std::move(*old);
    }
  } else if (asked > state.version()) {
    co_await reply_status(call, too_large_version(asked, state.version()));
    co_return;
  } else if (asked != 0 && (q.get("resourceVersionMatch") == "Exact" ||
                            (q.get("resourceVersionMatch").empty() && limit != 0))) {
    auto old = store_.snapshot_at(asked, resource);
    if (!old) {
      co_await reply_status(call, {410, "Expired", old.error().message(), {}});
      co_return;
    }
    state = std::move(*old);
  }
  std::vector<kube::ObjectPtr> objects;
  ListMeta meta;
  meta.version = state.version();
  if (!filter.name.empty() && !filter.ns.empty() && token.empty()) {  // one object
    const auto object = state.get({resource, filter.ns, filter.name});
    if (object && filter.matches(*object)) objects.push_back(object);
  } else if (filter.everything() || limit == 0) {
    auto page =
        state.page(resource, filter.ns, after.ns, after.name, filter.everything() ? limit : 0);
    if (filter.everything()) {
      objects = std::move(page.objects);
      if (page.more) {
        meta.next =
            continue_token(static_cast<std::int64_t>(state.version()), objects.back()->key());
        meta.remaining = static_cast<std::int64_t>(page.remaining);
      }
    } else {
      for (const auto& o : page.objects) {
        if (filter.matches(*o)) objects.push_back(o);
      }
    }
  } else {
    const auto page = state.page(resource, filter.ns, after.ns, after.name, 0);
    for (const auto& o : page.objects) {
      if (!filter.matches(*o)) continue;
      if (objects.size() == limit) {
        meta.next =
            continue_token(static_cast<std::int64_t>(state.version()), objects.back()->key());
        break;
      }
      objects.push_back(o);
    }
  }
  std::string body = encode_list(view_of(*call), objects, meta);
  if (call->accepted.pretty) {
    const json::Limits limits{.max_bytes = 256 << 20};
    if (const auto dom = json::parse(body, limits)) body = json::pretty(*dom);
  }
  if (body.back() != '\n') body += '\n';
  co_await reply_bytes(call, 200, std::move(body), "application/json");
}

}  // namespace knit::apiserver
