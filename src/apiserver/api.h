// The Kubernetes API over HTTP: what a request means, against one store and one registry.
// Loop-bound; snapshots are read where the handler runs.
#pragma once

#include <memory>
#include <string>

#include "apiserver/access.h"
#include "apiserver/registry.h"
#include "apiserver/views.h"
#include "http/server.h"
#include "io/loop.h"
#include "io/stream.h"
#include "store/store.h"

namespace knit::apiserver {

/// Where the logs of containers are.
class LogSource {
 public:
  struct Request {
    Key pod;
    std::string uid, container;
    bool previous = false, follow = false, timestamps = false;
    std::optional<std::int64_t> tail_lines, limit_bytes, since_seconds;
    std::string since_time;  // RFC 3339
  };
  class Reader {
   public:
    virtual ~Reader() = default;
    /// The next text; empty at the end.
    virtual io::Task<Result<std::string>> read() = 0;
  };
  virtual ~LogSource() = default;
  virtual io::Task<Result<std::unique_ptr<Reader>>> open(Request request) = 0;
};

struct ApiDependencies {
  Random* random = nullptr;   // required
  Tokens* tokens = nullptr;   // null: no bearer token is accepted or issued
  LogSource* logs = nullptr;  // null: logs are refused by name
  /// Answers what is below /knit/events/ (paths without that prefix), for system:masters only; null:
  /// it is not there.
  std::function<io::Task<http::Response>(http::Request)> events;
  /// Why the server is not ready yet; empty: it is.
  std::function<std::string()> not_ready;
  std::string git_version = "v1.35.0+knit";
  std::string server_address;  // "10.0.0.1:6443", for /api
  Duration bookmark_every = std::chrono::seconds(60);
};

struct WriteOutcome {
  std::optional<Status> failure;
  Staged staged;           // `object` of what was stored
  kube::ObjectPtr object;  // as stored; null for a dry run
  std::vector<std::string> warnings;
  std::uint64_t version = 0;
};

class Api {
 public:
  Api(io::Loop& loop, store::Store& store, const Registry& registry, ApiDependencies dependencies);

  /// The handler for http::Server.
  http::Handler handler();
  /// The answers to what never becomes a request.
  static http::ErrorAnswer error_answer();

  /// Stages and commits one write, again after a conflict unless the write named a version.
  /// For processes inside the server; HTTP comes here too.
  io::Task<WriteOutcome> write(Write write, WriteOptions options);

  store::Store& store() { return store_; }

 private:
  struct Call;
  class Reply;
  using CallPtr = std::shared_ptr<Call>;
  static io::Task<void> handle(Api* api, http::Request request, http::Peer peer,
                               http::Responder& responder);
  io::Task<void> dispatch(CallPtr call);
  io::Task<void> non_resource(CallPtr call);
  io::Task<void> get(CallPtr call);
  io::Task<void> list(CallPtr call);
  io::Task<void> watch(CallPtr call);
  io::Task<void> create(CallPtr call);
  io::Task<void> update(CallPtr call);
  io::Task<void> patch(CallPtr call);
  io::Task<void> remove(CallPtr call);
  io::Task<void> remove_collection(CallPtr call);
  io::Task<void> subresource(CallPtr call);
  io::Task<void> logs(CallPtr call);
  io::Task<void> evict(CallPtr call);
  io::Task<void> issue_token(CallPtr call);
  io::Task<void> review(CallPtr call);

  io::Task<void> reply_status(CallPtr call, Status status);
  io::Task<void> reply_json(CallPtr call, int code, Json body);
  io::Task<void> reply_bytes(CallPtr call, int code, std::string body, std::string type);
  io::Task<void> reply_object(CallPtr call, int code, WriteOutcome outcome);
  View view_of(const Call& call) const;
  bool not_modified(const Call& call, const std::string& etag) const;

  io::Loop& loop_;
  store::Store& store_;
  const Registry& registry_;
  ApiDependencies deps_;
  CertificateUsers certificates_;
  std::string aggregated_[2], aggregated_etag_[2];
};

}  // namespace knit::apiserver
