// One immutable state of all objects. Copies are one pointer; any thread may read any copy.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kube/object.h"
#include "store/persistent_map.h"

namespace knit::store {

using kube::Key;
using kube::ObjectPtr;
using kube::Resource;

namespace detail {

/// Where an object stands in its collection: namespace, then name.
struct Place {
  std::string_view ns, name;
};
struct ObjectTraits {
  static Place key(const ObjectPtr& o) { return {o->key().ns, o->key().name}; }
  static int compare(const Place& a, const Place& b);
  static std::uint64_t hash(const Place& p);
};
/// Index entries are strings: value NUL ns NUL name.
struct StringTraits {
  static const std::string& key(const std::string& s) { return s; }
  static int compare(const std::string& a, const std::string& b) { return a.compare(b); }
  static std::uint64_t hash(const std::string& s);
};
using ObjectMap = PersistentMap<Place, ObjectPtr, ObjectTraits>;
using IndexMap = PersistentMap<std::string, std::string, StringTraits>;

struct Table {
  ObjectMap objects;
  IndexMap labels;  // key '=' value NUL ns NUL name
  IndexMap owners;  // uid NUL ns NUL name, of the owner
  IndexMap uids;    // uid NUL ns NUL name, of the object
};
using TablePtr = std::shared_ptr<const Table>;

/// The table with `after` in the place of `before` (either may be null).
TablePtr replace(const TablePtr& table, const ObjectPtr& before, const ObjectPtr& after);

struct State {
  std::uint64_t version = 0;
  std::vector<std::pair<Resource, TablePtr>> tables;  // sorted by resource

  const Table* find(Resource resource) const;
  void put(Resource resource, TablePtr table);
};

}  // namespace detail

class Snapshot {
 public:
  Snapshot() = default;
  explicit Snapshot(std::shared_ptr<const detail::State> state) : state_(std::move(state)) {}

  /// Everything up to this version is in it; 0 for an empty one.
  std::uint64_t version() const { return state_ ? state_->version : 0; }

  /// nullptr when absent.
  ObjectPtr get(const Key& key) const;
  /// In key order (namespace, name); `ns` empty lists every namespace.
  std::vector<ObjectPtr> list(Resource resource, std::string_view ns = {}) const;
  std::vector<ObjectPtr> labelled(Resource resource, std::string_view ns, std::string_view key,
                                  std::string_view value) const;
  /// Objects of `resource` with an ownerReference to `uid`.
  std::vector<ObjectPtr> owned(Resource resource, std::string_view ns, std::string_view uid) const;
  /// The object with this uid, whatever its kind, or nullptr.
  ObjectPtr by_uid(std::string_view uid) const;
  /// Objects of any kind with an ownerReference to `uid`.
  std::vector<ObjectPtr> dependents(std::string_view uid) const;
  /// Collections that hold an object.
  std::vector<Resource> resources() const;
  std::size_t count(Resource resource, std::string_view ns = {}) const;

  struct Page {
    std::vector<ObjectPtr> objects;
    bool more = false;
    std::size_t remaining = 0;  // after this page
  };
  /// Up to `limit` (0: all) objects after `after` (exclusive; both empty: from the start).
  Page page(Resource resource, std::string_view ns, std::string_view after_ns,
            std::string_view after_name, std::size_t limit) const;

 private:
  std::shared_ptr<const detail::State> state_;
};

}  // namespace knit::store
