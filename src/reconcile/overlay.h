// A snapshot with planned writes laid over it.
#pragma once

#include <map>

#include "reconcile/backend.h"

namespace knit::reconcile {

class Overlay final : public World {
 public:
  explicit Overlay(std::shared_ptr<const World> base) : base_(std::move(base)) {}

  ObjectPtr get(const Key& key) const override;
  std::vector<ObjectPtr> list(Resource resource, std::string_view ns) const override;
  std::vector<ObjectPtr> labelled(Resource resource, std::string_view ns, std::string_view key,
                                  std::string_view value) const override;
  std::vector<ObjectPtr> owned(Resource resource, std::string_view ns,
                               std::string_view uid) const override;
  std::vector<Resource> resources() const override;
  ObjectPtr by_uid(std::string_view uid) const override;
  std::vector<ObjectPtr> dependents(std::string_view uid) const override;
  Json signal(Signal kind, const Key& key) const override { return base_->signal(kind, key); }
  WallTime wall_now() const override { return base_->wall_now(); }

  const World& base() const { return *base_; }
  /// `object` null: removed.
  void put(const Key& key, ObjectPtr object);
  /// Forgets what was laid over `key` from `mark` on (an undone plan).
  struct Saved {
    Key key;
    bool had = false;
    ObjectPtr object;
  };
  Saved save(const Key& key) const;
  void restore(Saved saved);
  std::size_t size() const { return laid_.size(); }
  /// The snapshot has `key` and it was removed since. Making it again must wait for a commit: a
  /// batch holds a key once, and watchers must see one object go before another comes.
  bool removed(const Key& key) const;
  /// Net changes against the snapshot, in key order.
  std::vector<Change> changes() const;

 private:
  template <class Keep>
  std::vector<ObjectPtr> merge(std::vector<ObjectPtr> base, Resource resource, std::string_view ns,
                               const Keep& keep) const;
  std::shared_ptr<const World> base_;
  std::map<Key, ObjectPtr> laid_;
};

}  // namespace knit::reconcile
