#include "kube/informer.h"
#include "node/api.h"

namespace knit::node {

namespace {

io::Task<Result<Json>> parsed(io::Task<Result<kube::ObjectPtr>> task) {
  KNIT_CO_TRY(const kube::ObjectPtr object, co_await task);
  co_return object->parse();
}

class KubeApi final : public Api {
 public:
  KubeApi(io::Loop& loop, kube::Client& client) : loop_(loop), client_(client) {}

  void watch_pods(const std::string& node, PodHandlers handlers) override {
    kube::InformerHandlers h;
    h.added = [f = handlers.changed](const kube::ObjectPtr& o) { f(o->parse()); };
    h.updated = [f = handlers.changed, gone = handlers.deleted](const kube::ObjectPtr& before,
                                                                const kube::ObjectPtr& after) {
      // The same name with another uid: the first one went while nobody looked.
      if (before && before->uid() != after->uid()) gone(before->uid());
      f(after->parse());
    };
    h.deleted = [f = handlers.deleted](const kube::ObjectPtr& o) { f(o->uid()); };
    h.synced = handlers.synced;
    kube::ListQuery query;
    query.fields = "spec.nodeName=" + node;
    informer_ = std::make_unique<kube::Informer>(loop_, client_, kube::Resource::of("pods"),
                                                 std::move(query), std::move(h));
    informer_->start();
  }
  io::Task<Result<Json>> get(kube::Key key) override { return parsed(client_.get(std::move(key))); }
  io::Task<Result<Json>> create(kube::Resource resource, std::string ns, Json object) override {
    return parsed(client_.create(resource, std::move(ns), std::move(object)));
  }
  io::Task<Result<Json>> patch(kube::Key key, Json patch, std::string subresource) override {
    return parsed(client_.patch(std::move(key), kube::PatchKind::Merge, std::move(patch),
                                std::move(subresource)));
  }
  io::Task<Result<void>> remove(kube::Key key, Json options) override {
    return client_.remove(std::move(key), std::move(options));
  }
  io::Task<Result<Json>> token(kube::Key service_account, Json request) override {
    return client_.post(std::move(service_account), "token", std::move(request));
  }

 private:
  io::Loop& loop_;
  kube::Client& client_;
  std::unique_ptr<kube::Informer> informer_;
};

}  // namespace

std::unique_ptr<Api> kube_api(io::Loop& loop, kube::Client& client) {
  return std::make_unique<KubeApi>(loop, client);
}

}  // namespace knit::node
