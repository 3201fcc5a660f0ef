// The API server as a process part: listeners, TLS, adopted streams, first objects.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "apiserver/api.h"
#include "http/server.h"
#include "io/stream.h"

namespace knit::apiserver {

class ApiServer {
 public:
  ApiServer(io::Loop& loop, store::Store& store, const Registry& registry,
            ApiDependencies dependencies, http::ServerSettings settings = {});

  /// Serves TLS; `set_tls` before the first connection, and again to rotate certificates.
  Result<io::Endpoint> listen(const io::Endpoint& at);
  void listen(Fd bound);  // a bound socket that the supervisor passed on
  void set_tls(std::shared_ptr<io::TlsServerContext> context) { tls_ = std::move(context); }
  /// Without TLS: everybody is anonymous unless a token says otherwise. Tests.
  Result<io::Endpoint> listen_plain(const io::Endpoint& at);
  /// One connection of a process of Knit, as that user ("system:knit:node"), without TLS.
  void serve_as(std::unique_ptr<io::Stream> stream, std::string_view user);

  Api& api() { return api_; }
  void drain() { http_.drain(); }

 private:
  void accepted(std::unique_ptr<io::Stream> raw);

  io::Loop& loop_;
  Api api_;
  http::Server http_;
  std::shared_ptr<io::TlsServerContext> tls_;
  std::vector<std::unique_ptr<io::Listener>> listeners_;
};

/// What every installation starts with: namespaces and the CustomResourceDefinition objects of the
/// built-in kinds. Writes nothing that is there already.
io::Task<Result<void>> bootstrap(Api& api, std::vector<std::string> namespaces, WallTime now);
inline const std::vector<std::string> kFirstNamespaces = {
    "default",      "kube-system",     "kube-public",     "kube-node-lease",
    "istio-system", "knative-serving", "knative-eventing"};

}  // namespace knit::apiserver
