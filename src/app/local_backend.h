// Plans land in the local store: staged by the API server's registry, committed as one batch.
#pragma once

#include "apiserver/registry.h"
#include "io/loop.h"
#include "reconcile/backend.h"

namespace knit::app {

/// A store snapshot, with the signals, as planners see it.
class StoreWorld final : public reconcile::World {
 public:
  StoreWorld(store::Snapshot snapshot, const reconcile::Signals& signals, WallTime now)
      : snapshot_(std::move(snapshot)), signals_(signals), now_(now) {}

  kube::ObjectPtr get(const kube::Key& key) const override { return snapshot_.get(key); }
  std::vector<kube::ObjectPtr> list(kube::Resource resource, std::string_view ns) const override {
    return snapshot_.list(resource, ns);
  }
  std::vector<kube::ObjectPtr> labelled(kube::Resource resource, std::string_view ns,
                                        std::string_view key,
                                        std::string_view value) const override {
    return snapshot_.labelled(resource, ns, key, value);
  }
  std::vector<kube::ObjectPtr> owned(kube::Resource resource, std::string_view ns,
                                     std::string_view uid) const override {
    return snapshot_.owned(resource, ns, uid);
  }
  std::vector<kube::Resource> resources() const override { return snapshot_.resources(); }
  kube::ObjectPtr by_uid(std::string_view uid) const override { return snapshot_.by_uid(uid); }
  std::vector<kube::ObjectPtr> dependents(std::string_view uid) const override {
    return snapshot_.dependents(uid);
  }
  Json signal(reconcile::Signal kind, const kube::Key& key) const override {
    return signals_.get(kind, key);
  }
  WallTime wall_now() const override { return now_; }
  const store::Snapshot& snapshot() const { return snapshot_; }

 private:
  store::Snapshot snapshot_;
  const reconcile::Signals& signals_;
  WallTime now_;
};

class LocalBackend final : public reconcile::Backend {
 public:
  LocalBackend(io::Loop& loop, store::Store& store, const apiserver::Registry& registry,
               std::string user);

  std::shared_ptr<const reconcile::World> snapshot() const override;
  Result<reconcile::Effect> stage(const reconcile::World& seen,
                                  const reconcile::Write& write) override;
  void commit(std::vector<reconcile::Change> changes,
              std::function<void(Result<void>)> done) override;
  void subscribe(std::function<void(const reconcile::Change&)> feed) override;

 private:
  void drain();
  io::Loop& loop_;
  store::Store& store_;
  const apiserver::Registry& registry_;
  std::string user_;
  std::vector<std::function<void(const reconcile::Change&)>> feeds_;
  std::unique_ptr<store::Subscription> subscription_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace knit::app
