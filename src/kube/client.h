// A Kubernetes API client over any stream: for Knit's processes, the command line and tests.
// Loop-bound. Errors carry the server's sentence and the Code of its reason.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "http/client.h"
#include "kube/object.h"

namespace knit::kube {

struct ClientOptions {
  std::string host = "knit";
  std::string token;  // bearer, or empty
  std::string user_agent = "knit";
  Duration timeout = std::chrono::seconds(60);
};

struct ListQuery {
  std::string ns;              // empty: every namespace
  std::string labels, fields;  // selectors
  std::size_t page = 500;
};

struct ObjectList {
  std::vector<ObjectPtr> objects;
  std::uint64_t version = 0;
};

struct WatchEvent {
  enum class Type { Added, Modified, Deleted, Bookmark };
  Type type = Type::Added;
  ObjectPtr object;  // null for a bookmark
  std::uint64_t version = 0;
  bool initial_end = false;  // of WatchList
};

class WatchStream {
 public:
  virtual ~WatchStream() = default;
  /// nullopt when the server ended the watch. Errors: Expired (list again), Unavailable.
  virtual io::Task<Result<std::optional<WatchEvent>>> next() = 0;
};

enum class PatchKind { Json, Merge, Strategic };

class Client {
 public:
  Client(io::Loop& loop, http::Connector connector, ClientOptions options = {});

  io::Task<Result<ObjectPtr>> get(Key key);
  /// All pages of one consistent list.
  io::Task<Result<ObjectList>> list(Resource resource, ListQuery query = {});
  /// `ns` empty for cluster-scoped kinds.
  io::Task<Result<ObjectPtr>> create(Resource resource, std::string ns, Json object);
  io::Task<Result<ObjectPtr>> update(Key key, Json object, std::string subresource = {});
  io::Task<Result<ObjectPtr>> patch(Key key, PatchKind kind, Json patch,
                                    std::string subresource = {});
  /// `options`: meta/v1 DeleteOptions fields, or null.
  io::Task<Result<void>> remove(Key key, Json options = {});
  /// Changes after `version`; 0: everything there is first.
  io::Task<Result<std::unique_ptr<WatchStream>>> watch(Resource resource, ListQuery query,
                                                       std::uint64_t version);
  /// POST to a subresource ("token", "eviction"); the answer as it is.
  io::Task<Result<Json>> post(Key key, std::string subresource, Json body);
  /// Any request; a status of 400 or more is an Error made from the Status object.
  io::Task<Result<http::Response>> raw(http::Request request);
  /// A streamed answer (pods/log).
  io::Task<Result<std::unique_ptr<http::ResponseStream>>> stream(http::Request request);

  /// Which version of a group to speak. Unknown groups are looked up once by discovery.
  void set_version(std::string group, std::string version);

 private:
  io::Task<Result<std::string>> base_path(Resource resource, std::string ns);
  io::Task<Result<std::string>> path(Key key, std::string subresource);
  io::Task<Result<ObjectPtr>> send_object(Resource resource, http::Request request);
  void decorate(http::Request& request) const;

  io::Loop& loop_;
  http::Client http_;
  ClientOptions options_;
  std::map<std::string, std::string, std::less<>> versions_;
};

/// The Error of an answer with a status of 400 or more.
Error status_error(int status, std::string_view body);
/// An object as the API sent it. Errors: InvalidArgument.
Result<ObjectPtr> parse_object(Resource resource, const Json& dom);

}  // namespace knit::kube
