// What a request is about, from its method, path and query.
#pragma once

#include <string>
#include <string_view>

#include "http/message.h"
#include "kube/schema/schema.h"

namespace knit::apiserver {

struct RequestInfo {
  bool resource = false;  // else a path like /version
  std::string verb;       // get list watch create update patch delete deletecollection, or "get"
                          // and so on of a path
  std::string group, version, plural, ns, name, subresource;
  const schema::Kind* kind = nullptr;  // null: no such resource is served
};

/// Source: apiserver pkg/endpoints/request/requestinfo.go
RequestInfo request_info(const http::Request& request);

/// "a/b/c" of "/a//b/c/".
std::vector<std::string> path_parts(std::string_view path);
/// A query parameter of Go's strconv kind: absent false; "", "1", "t", "true"… true.
bool query_flag(const http::Query& query, std::string_view name);

}  // namespace knit::apiserver
