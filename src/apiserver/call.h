// One request under way. Private to the api_*.cc files.
#pragma once

#include "apiserver/api.h"

namespace knit::apiserver {

struct Api::Call {
  http::Request request;
  http::Peer peer;
  http::Responder* responder = nullptr;
  RequestInfo info;
  User user;
  Accepted accepted;
  WallTime now;
  std::string audit_id;
  std::vector<std::string> warnings;

  Key key() const { return {stored_resource(*info.kind), info.ns, info.name}; }
};

/// Runs on the loop that owns the API.
inline store::Executor on_loop(io::Loop& loop) {
  return [l = &loop](std::function<void()> f) { l->post(std::move(f)); };
}

http::Headers answer_headers(const std::string& audit_id, std::string type,
                             const std::vector<std::string>& warnings);
Status route_not_found();
Status method_not_allowed();
std::string gzip(std::string_view data);

/// Query options of a write ("CreateOptions", "PatchOptions", …).
struct ParsedOptions {
  std::optional<Status> failure;
  WriteOptions options;
};

}  // namespace knit::apiserver
