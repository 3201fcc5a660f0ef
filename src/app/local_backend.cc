#include "app/local_backend.h"

#include "base/log.h"
#include "kube/resources.h"

namespace knit::app {
namespace {
constexpr std::string_view kLogModule = "backend";

/// A planner's world as the registry reads it.
class WorldReader final : public apiserver::ObjectReader {
 public:
  explicit WorldReader(const reconcile::World& world) : world_(world) {}
  kube::ObjectPtr get(const kube::Key& key) const override { return world_.get(key); }
  std::vector<kube::ObjectPtr> list(kube::Resource resource, std::string_view ns) const override {
    return world_.list(resource, ns);
  }

 private:
  const reconcile::World& world_;
};
}  // namespace

LocalBackend::LocalBackend(io::Loop& loop, store::Store& store,
                           const apiserver::Registry& registry, std::string user)
    : loop_(loop), store_(store), registry_(registry), user_(std::move(user)) {}

std::shared_ptr<const reconcile::World> LocalBackend::snapshot() const {
  return std::make_shared<StoreWorld>(store_.snapshot(), signals(), loop_.wall_now());
}

Result<reconcile::Effect> LocalBackend::stage(const reconcile::World& seen,
                                              const reconcile::Write& write) {
  using Op = reconcile::Write::Op;
  apiserver::Write w;
  w.key = write.key;
  w.body = write.body;
  switch (write.op) {
    case Op::Create: w.op = apiserver::Write::Op::Create; break;
    case Op::Merge: w.op = apiserver::Write::Op::Merge; break;
    case Op::Status:
      w.op = apiserver::Write::Op::Merge;
      w.subresource = "status";
      break;
    case Op::Delete:
      w.op = apiserver::Write::Op::Delete;
      // No propagation: one that a user asked for (a finalizer) stays.
      w.remove.uid = write.uid;
      if (write.grace >= 0) w.remove.grace = write.grace;
      if (!seen.has(write.key)) return reconcile::Effect{};
      break;
  }
  // A namespace's spec.finalizers change through its subresource only.
  if (write.op == Op::Merge && write.key.resource == kube::res::namespaces() &&
      json::find(write.body, {"spec", "finalizers"}) != nullptr) {
    w.subresource = "finalize";
  }
  apiserver::WriteOptions options;
  options.user = {user_, {}, {"system:masters", "system:authenticated"}, {}};
  options.internal = true;
  options.validation = schema::FieldValidation::Ignore;
  options.now = loop_.wall_now();
  const auto result = registry_.stage(WorldReader(seen), w, options);
  if (result.failure) return apiserver::to_error(*result.failure);
  reconcile::Effect effect;
  switch (result.staged.effect) {
    case apiserver::Staged::Effect::None: return effect;
    case apiserver::Staged::Effect::Remove: effect.kind = reconcile::Effect::Kind::Removed; return effect;
    case apiserver::Staged::Effect::Put: break;
  }
  effect.kind = reconcile::Effect::Kind::Put;
  effect.object = std::make_shared<kube::Object>(
      result.staged.key, result.staged.before ? result.staged.before->version() : 0,
      result.staged.object);
  return effect;
}

void LocalBackend::commit(std::vector<reconcile::Change> changes,
                          std::function<void(Result<void>)> done) {
  std::vector<store::Mutation> batch;
  batch.reserve(changes.size());
  for (const auto& change : changes) {
    store::Mutation m;
    m.key = change.key();
    m.expected = change.before ? change.before->version() : 0;
    if (change.after) m.object = change.after->parse();
    batch.push_back(std::move(m));
  }
  store_.commit(
      // The store may outlive this object and hand in results at its end: they need the loop alone.
      std::move(batch), [&loop = loop_](std::function<void()> work) { loop.post(std::move(work)); },
      [done = std::move(done)](store::CommitResult result) {
        if (result.ok()) {
          done({});
          return;
        }
        Error error = result.failure->error;
        if (result.failure->key) error = std::move(error).within(to_string(*result.failure->key));
        done(std::move(error));
      });
}

void LocalBackend::subscribe(std::function<void(const reconcile::Change&)> feed) {
  feeds_.push_back(std::move(feed));
  if (subscription_) return;
  const std::weak_ptr<int> alive = alive_;
  auto subscription = store_.subscribe(
      store_.snapshot().version(), std::nullopt,
      [&loop = loop_](std::function<void()> work) { loop.post(std::move(work)); },
      [this, alive] {
        if (!alive.expired()) drain();
      });
  KNIT_CHECK(subscription.has_value());  // from the newest version: its history is always there
  subscription_ = std::move(*subscription);
}

void LocalBackend::drain() {
  bool more = true;
  while (more) {
    auto batch = subscription_->poll();
    if (!batch) {
      // The driver lives on the writer's loop and never falls 32 MiB behind; if it did, planning
      // everything again is the way back, and a restart does that.
      KNIT_LOG(Error, "change feed lost", KV("error", batch.error()));
      KNIT_CHECK(batch.has_value());
    }
    for (const auto& change : batch->changes) {
      const reconcile::Change c{change.before, change.after};
      for (const auto& feed : feeds_) feed(c);
    }
    more = batch->more;
  }
}

}  // namespace knit::app
