#include "reconcile/fake_backend.h"

#include <set>

namespace knit::reconcile {

struct FakeBackend::Snapshot final : World {
  Snapshot(std::map<Resource, std::shared_ptr<const Objects>> o, const Signals* s, io::Loop* l)
      : objects(std::move(o)), live_signals(s), loop(l) {}
  ObjectPtr get(const Key& key) const override {
    const auto kind = objects.find(key.resource);
    if (kind == objects.end()) return nullptr;
    const auto it = kind->second->find(key);
    return it == kind->second->end() ? nullptr : it->second;
  }
  std::vector<ObjectPtr> list(Resource resource, std::string_view ns) const override {
    std::vector<ObjectPtr> out;
    const auto kind = objects.find(resource);
    if (kind == objects.end()) return out;
    for (auto it = kind->second->lower_bound(Key{resource, std::string(ns), {}});
         it != kind->second->end() && (ns.empty() || it->first.ns == ns); ++it) {
      out.push_back(it->second);
    }
    return out;
  }
  std::vector<Resource> resources() const override {
    std::vector<Resource> out;
    for (const auto& [resource, all] : objects) out.push_back(resource);
    return out;
  }
  Json signal(Signal kind, const Key& key) const override { return live_signals->get(kind, key); }
  WallTime wall_now() const override { return loop->wall_now(); }

  std::map<Resource, std::shared_ptr<const Objects>> objects;
  const Signals* live_signals;
  io::Loop* loop;
};

FakeBackend::FakeBackend(io::Loop& loop) : loop_(loop), random_(seeded_random(1)) {}

std::shared_ptr<const World> FakeBackend::snapshot() const {
  return std::make_shared<Snapshot>(objects_, &signals(), &loop_);
}

StageRules FakeBackend::rules() const {
  return {loop_.wall_now(), [this] { return random_->uuid(); }, admit_};
}

Result<Effect> FakeBackend::stage(const World& seen, const Write& write) {
  return stage_write(seen, write, rules());
}

Result<std::vector<Change>> FakeBackend::put(std::vector<Change> changes) {
  std::set<Key> keys;
  for (const auto& change : changes) {
    KNIT_CHECK(keys.insert(change.key()).second);
    const auto now = get(change.key());
    const bool same = change.before == nullptr
                          ? now == nullptr
                          : now != nullptr && now->version() == change.before->version();
    if (!same) return Error(Code::Conflict, kube::to_string(change.key()) + " has changed");
  }
  for (auto& change : changes) {
    const Key key = change.key();
    auto& kind = objects_[key.resource];
    auto copy = kind ? std::make_shared<Objects>(*kind) : std::make_shared<Objects>();
    ++version_;
    if (change.after == nullptr) {
      copy->erase(key);
    } else {
      Json dom = change.after->parse();
      json::set(dom, {"metadata", "resourceVersion"}, Json(std::to_string(version_)));
      change.after = std::make_shared<const kube::Object>(key, version_, dom);
      (*copy)[key] = change.after;
    }
    kind = std::move(copy);
  }
  return changes;
}

void FakeBackend::commit(std::vector<Change> changes, std::function<void(Result<void>)> done) {
  loop_.post([this, changes = std::move(changes), done = std::move(done)]() mutable {
    if (failing_ > 0) {
      --failing_;
      done(Error(Code::Conflict, "asked to fail"));
      return;
    }
    auto stored = put(std::move(changes));
    if (!stored) {
      done(std::move(stored).error());
      return;
    }
    ++commits_;
    done({});
    for (const auto& change : *stored) {
      for (std::size_t i = 0; i < feeds_.size(); ++i) feeds_[i](change);
    }
  });
}

void FakeBackend::subscribe(std::function<void(const Change&)> feed) {
  feeds_.push_back(std::move(feed));
}

Result<ObjectPtr> FakeBackend::write(const Write& write) {
  const auto seen = snapshot();
  KNIT_TRY(Effect effect, stage(*seen, write));
  if (effect.kind == Effect::Kind::None) return seen->get(write.key);
  std::vector<Change> changes;
  changes.push_back({seen->get(write.key), effect.object});
  if (changes.front().before == nullptr && changes.front().after == nullptr) return ObjectPtr();
  KNIT_TRY(const auto stored, put(std::move(changes)));
  for (const auto& change : stored) {
    for (std::size_t i = 0; i < feeds_.size(); ++i) feeds_[i](change);
  }
  return stored.front().after;
}

Result<ObjectPtr> FakeBackend::apply(Resource resource, const Json& manifest) {
  const Key key{resource, std::string(json::str(manifest, {"metadata", "namespace"})),
                std::string(json::str(manifest, {"metadata", "name"}))};
  if (key.name.empty()) return Error(Code::InvalidArgument, "manifest has no metadata.name");
  const auto op = get(key) == nullptr ? Write::Op::Create : Write::Op::Merge;
  KNIT_TRY(auto object, write({op, key, manifest, {}, -1}));
  if (const Json* wanted = json::find(manifest, "status")) {
    KNIT_TRY_VOID(status(key, *wanted));
    object = get(key);
  }
  return object;
}
Result<ObjectPtr> FakeBackend::apply(Resource resource, std::string_view manifest_json) {
  KNIT_TRY(const Json manifest, json::parse(manifest_json));
  return apply(resource, manifest);
}
Result<void> FakeBackend::merge(const Key& key, std::string_view patch_json) {
  KNIT_TRY(const Json patch, json::parse(patch_json));
  auto result = write({Write::Op::Merge, key, patch, {}, -1});
  if (!result) return std::move(result).error();
  return {};
}
Result<void> FakeBackend::status(const Key& key, Json status) {
  JsonObject body;
  body["status"] = std::move(status);
  auto result = write({Write::Op::Status, key, std::move(body), {}, -1});
  if (!result) return std::move(result).error();
  return {};
}
Result<void> FakeBackend::remove(const Key& key, std::int64_t grace) {
  if (get(key) == nullptr) return Error(Code::NotFound, kube::to_string(key) + " not found");
  auto result = write({Write::Op::Delete, key, nullptr, {}, grace});
  if (!result) return std::move(result).error();
  return {};
}

}  // namespace knit::reconcile
