#include "apiserver/server.h"

#include "base/log.h"
#include "kube/resources.h"

namespace knit::apiserver {
namespace {
constexpr std::string_view kLogModule = "apiserver";
}  // namespace

ApiServer::ApiServer(io::Loop& loop, store::Store& store, const Registry& registry,
                     ApiDependencies dependencies, http::ServerSettings settings)
    : loop_(loop),
      api_(loop, store, registry, std::move(dependencies)),
      http_(loop, settings, api_.handler(), Api::error_answer()) {}

void ApiServer::accepted(std::unique_ptr<io::Stream> raw) {
  if (!tls_) {
    KNIT_LOG(Warn, "connection refused: no certificate yet");
    return;
  }
  http_.serve(io::tls_accept(loop_, std::move(raw), tls_));
}

Result<io::Endpoint> ApiServer::listen(const io::Endpoint& at) {
  KNIT_TRY(auto listener, io::Listener::tcp(loop_, at, [this](std::unique_ptr<io::Stream> raw) {
             accepted(std::move(raw));
           }));
  listeners_.push_back(std::move(listener));
  return listeners_.back()->local();
}

void ApiServer::listen(Fd bound) {
  auto listener =
      io::Listener::adopt(loop_, std::move(bound),
                          [this](std::unique_ptr<io::Stream> raw) { accepted(std::move(raw)); });
  if (!listener) {
    KNIT_LOG(Error, "listener not adopted", KV("error", listener.error()));
    return;
  }
  listeners_.push_back(std::move(*listener));
}

Result<io::Endpoint> ApiServer::listen_plain(const io::Endpoint& at) {
  KNIT_TRY(auto listener, io::Listener::tcp(loop_, at, [this](std::unique_ptr<io::Stream> raw) {
             http_.serve(std::move(raw));
           }));
  listeners_.push_back(std::move(listener));
  return listeners_.back()->local();
}

void ApiServer::serve_as(std::unique_ptr<io::Stream> stream, std::string_view user) {
  http_.serve(std::move(stream), "user:" + std::string(user));
}

io::Task<Result<void>> bootstrap(Api& api, std::vector<std::string> namespaces, WallTime now) {
  std::vector<Write> writes;
  for (const std::string& name : namespaces) {
    Write w;
    w.key = {kube::res::namespaces(), {}, name};
    w.body = JsonObject{{"apiVersion", "v1"}, {"kind", "Namespace"}};
    writes.push_back(std::move(w));
  }
  for (const schema::Kind& kind : schema::Registry::get().kinds()) {
    if (!kind.custom || !kind.stored) continue;
    Write w;
    w.body = schema::crd_object(kind);
    w.key = {kube::res::crds(), {}, std::string(json::str(w.body, {"metadata", "name"}))};
    writes.push_back(std::move(w));
  }
  for (Write& w : writes) {
    if (api.store().head().get(w.key)) continue;
    const std::string what = to_string(w.key);
    WriteOptions options;
    options.internal = true;
    options.user.name = "system:apiserver";
    options.now = now;
    const Json status_found =
        json::find(w.body, "status") != nullptr ? *json::find(w.body, "status") : Json();
    const Key key = w.key;
    auto writing = api.write(std::move(w), options);
    WriteOutcome outcome = co_await writing;
    if (outcome.failure && outcome.failure->reason != "AlreadyExists") {
      co_return to_error(*outcome.failure).within("create " + what);
    }
    if (!status_found.is_object()) continue;
    Write status;  // a create drops it
    status.op = Write::Op::Merge;
    status.key = key;
    status.subresource = "status";
    status.body = JsonObject{{"status", status_found}};
    auto again = api.write(std::move(status), options);
    WriteOutcome done = co_await again;
    if (done.failure) co_return to_error(*done.failure).within("status of " + what);
  }
  co_return Result<void>();
}

}  // namespace knit::apiserver
