#include "apiserver/request_info.h"

namespace knit::apiserver {

std::vector<std::string> path_parts(std::string_view path) {
  std::vector<std::string> out;
  while (!path.empty()) {
    const std::size_t slash = path.find('/');
    if (slash != 0) out.emplace_back(path.substr(0, slash));
    path = slash == std::string_view::npos ? std::string_view() : path.substr(slash + 1);
  }
  return out;
}

bool query_flag(const http::Query& query, std::string_view name) {
  if (!query.has(name)) return false;
  const std::string_view v = query.get(name);
  return v != "0" && v != "f" && v != "F" && v != "false" && v != "False" && v != "FALSE";
}

RequestInfo request_info(const http::Request& request) {
  RequestInfo info;
  const std::string& m = request.method;
  info.verb = m == "POST"     ? "create"
              : m == "PUT"    ? "update"
              : m == "PATCH"  ? "patch"
              : m == "DELETE" ? "delete"
                              : "get";
  auto parts = path_parts(request.path);
  std::size_t at = 0;
  if (parts.size() >= 3 && parts[0] == "api") {
    info.version = parts[1];
    at = 2;
  } else if (parts.size() >= 4 && parts[0] == "apis") {
    info.group = parts[1];
    info.version = parts[2];
    at = 3;
  } else {
    return info;
  }
  info.resource = true;
  bool watch = query_flag(request.query, "watch");
  if (parts[at] == "watch" && parts.size() > at + 1 && info.verb == "get") {
    watch = true;
    ++at;
  }
  if (parts[at] == "namespaces") {
    const std::size_t rest = parts.size() - at;
    const bool own = rest <= 2 || parts[at + 2] == "status" || parts[at + 2] == "finalize";
    if (!own || (rest == 2 && !info.group.empty())) {
      info.ns = parts[at + 1];
      at += 2;
    }
  }
  if (at < parts.size()) info.plural = parts[at];
  if (at + 1 < parts.size()) info.name = parts[at + 1];
  for (std::size_t i = at + 2; i < parts.size(); ++i) {
    info.subresource += (info.subresource.empty() ? "" : "/") + parts[i];
  }
  if (info.name.empty() && info.verb == "get") info.verb = watch ? "watch" : "list";
  if (info.name.empty() && info.verb == "delete") info.verb = "deletecollection";
  info.kind = schema::Registry::get().by_plural(info.group, info.version, info.plural);
  if (info.kind != nullptr && !info.kind->namespaced && !info.ns.empty()) info.kind = nullptr;
  return info;
}

}  // namespace knit::apiserver
