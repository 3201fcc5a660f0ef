// A small working model of store and API for controllers' tests: everything in memory, commits
// on the next turn of the loop. Owner collection is a controller's (controllers/core).
#pragma once

#include "base/random.h"
#include "io/loop.h"
#include "reconcile/stage.h"

namespace knit::reconcile {

class FakeBackend final : public Backend {
 public:
  explicit FakeBackend(io::Loop& loop);

  std::shared_ptr<const World> snapshot() const override;
  Result<Effect> stage(const World& seen, const Write& write) override;
  void commit(std::vector<Change> changes, std::function<void(Result<void>)> done) override;
  void subscribe(std::function<void(const Change&)> feed) override;

  /// Admission for every create and merge (StageRules::admit).
  void set_admit(decltype(StageRules::admit) admit) { admit_ = std::move(admit); }

  // What users and the node do: staged and committed at once, feeds told at once.
  Result<ObjectPtr> write(const Write& write);
  /// Creates or merges a manifest, as `kubectl apply` would; its status is written too. The key
  /// comes from `resource` and metadata.
  Result<ObjectPtr> apply(Resource resource, const Json& manifest);
  Result<ObjectPtr> apply(Resource resource, std::string_view manifest_json);
  Result<ObjectPtr> apply(Resource resource, const char* manifest_json) {
    return apply(resource, std::string_view(manifest_json));
  }
  Result<void> merge(const Key& key, std::string_view patch_json);
  Result<void> status(const Key& key, Json status);
  /// grace as in Write; 0 is what a node does last.
  Result<void> remove(const Key& key, std::int64_t grace = -1);

  ObjectPtr get(const Key& key) const { return snapshot()->get(key); }
  /// null JSON when absent.
  Json view(const Key& key) const { return snapshot()->view(key); }
  std::vector<ObjectPtr> list(Resource resource, std::string_view ns = {}) const {
    return snapshot()->list(resource, ns);
  }
  std::uint64_t commits() const { return commits_; }
  /// The next `n` commits of drivers fail as conflicts.
  void fail_commits(int n) { failing_ = n; }

 private:
  struct Snapshot;
  using Objects = std::map<Key, ObjectPtr>;
  Result<std::vector<Change>> put(std::vector<Change> changes);
  StageRules rules() const;

  io::Loop& loop_;
  std::unique_ptr<Random> random_;
  std::map<Resource, std::shared_ptr<const Objects>> objects_;
  std::uint64_t version_ = 100;
  std::uint64_t commits_ = 0;
  int failing_ = 0;
  decltype(StageRules::admit) admit_;
  std::vector<std::function<void(const Change&)>> feeds_;
};

}  // namespace knit::reconcile
