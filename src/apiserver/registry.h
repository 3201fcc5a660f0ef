// What a write means, without HTTP and without a disk: names, uid, generation, preconditions,
// finalizers, deletion, subresources, no-op writes, namespaces and admission. Pure given the state,
// the clock and the random source. The REST handlers and the reconcile driver both write through
// it, so one set of rules holds for users and controllers.
//
// A caller stages one or several writes on a Transaction, each seeing those before it, and commits
// its mutations as one store batch:
//   Transaction tx(registry, store.head());
//   auto r = tx.stage({.op = Write::Op::Merge, .key = key, .body = patch}, options);
//   if (!r.ok()) … r.failure …
//   store.commit(tx.take(), executor, callback);   // Conflict → stage again on a newer head
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "apiserver/status.h"
#include "base/random.h"
#include "kube/object.h"
#include "kube/schema/schema.h"
#include "store/store.h"

namespace knit::apiserver {

using kube::Key;
using kube::ObjectPtr;
using kube::Resource;

/// The state a write is judged against: a snapshot, or one with staged writes over it.
class ObjectReader {
 public:
  virtual ~ObjectReader() = default;
  /// nullptr when absent.
  virtual ObjectPtr get(const Key& key) const = 0;
  /// In key order; `ns` empty lists every namespace.
  virtual std::vector<ObjectPtr> list(Resource resource, std::string_view ns) const = 0;
};

struct User {
  std::string name, uid;
  std::vector<std::string> groups;
  std::map<std::string, std::vector<std::string>> extra;
  bool in(std::string_view group) const;
};

struct WriteOptions {
  User user;
  bool internal = false;  // one of Knit's controllers: no support refusals, no warnings
  bool dry_run = false;
  schema::FieldValidation validation = schema::FieldValidation::Warn;
  WallTime now;
};

struct DeleteOptions {
  std::optional<std::int64_t> grace;  // gracePeriodSeconds
  std::string propagation;            // "", Background, Foreground, Orphan
  std::string uid;                    // preconditions
  std::optional<std::uint64_t> version;
};

enum class PatchType { Json, Merge, Strategic };

/// One write. `version` is the API version of `body` ("v1beta1"); empty: the storage version.
struct Write {
  enum class Op {
    Create,     // body: the object; key.name empty with metadata.generateName
    Update,     // body: the object
    Merge,      // body: RFC 7386 patch
    JsonPatch,  // body: RFC 6902 patch
    Strategic,  // body: strategic merge patch
    Delete,     // remove: how
  };
  Op op = Op::Create;
  Key key;
  Json body;
  std::string subresource;  // "", "status", "scale", "finalize"
  std::string version;
  DeleteOptions remove;
};

/// What a staged write does to the store and what its answer shows.
struct Staged {
  enum class Effect { None, Put, Remove };  // None: a write that changes nothing
  Effect effect = Effect::None;
  Key key;
  ObjectPtr before;  // null: created
  Json object;       // the object after the write (of a removal: the last state), storage version
};

struct StageResult {
  std::optional<Status> failure;
  Staged staged;
  std::vector<std::string> warnings;
  bool ok() const { return !failure; }
};

struct AdmissionRequest {
  const ObjectReader& state;
  schema::Operation operation;
  const schema::Kind& kind;
  const Key& key;
  const Json* old;  // null on create
  const WriteOptions& options;
  std::string_view subresource;
};
/// Changes or refuses an object after defaults and before validation. Pure.
using Mutator = std::function<std::optional<Status>(const AdmissionRequest& request, Json& object,
                                                    std::vector<std::string>& warnings)>;
/// Refuses an object after validation; on Delete `object` is the stored one.
using Validator = std::function<std::optional<Status>(
    const AdmissionRequest& request, const Json& object, std::vector<std::string>& warnings)>;

class Registry {
 public:
  explicit Registry(Random& random) : random_(random) {}

  /// Runs for every kind, in the order of registration. Before the first write only.
  void add_mutator(std::string name, Mutator m);
  void add_validator(std::string name, Validator v);
  /// What decisions of the schema need beside the object: Knative's ConfigMap data, by state and
  /// kind (schema::Context::knative_config).
  void set_knative_config(
      std::function<std::shared_ptr<const Json>(const ObjectReader&, const schema::Kind&)> read);

  /// Decides one write against `state`. Never touches a store.
  StageResult stage(const ObjectReader& state, const Write& write,
                    const WriteOptions& options) const;

 private:
  struct Step;
  StageResult create(const Step& s, Json object) const;
  StageResult update(const Step& s, const ObjectPtr& before, Json object) const;
  StageResult patch(const Step& s) const;
  StageResult remove(const Step& s) const;
  StageResult definition(const Step& s) const;
  StageResult scale(const Step& s, const ObjectPtr& before, const Json& scale_object) const;
  std::optional<Status> namespace_accepts(const Step& s) const;
  std::optional<Status> admit(const Step& s, schema::Operation operation, const Json* old,
                              Json& object, std::vector<std::string>& warnings) const;

  Random& random_;
  std::vector<std::pair<std::string, Mutator>> mutators_;
  std::vector<std::pair<std::string, Validator>> validators_;
  std::function<std::shared_ptr<const Json>(const ObjectReader&, const schema::Kind&)>
      knative_config_;
};

/// Reads a store snapshot.
class SnapshotReader final : public ObjectReader {
 public:
  explicit SnapshotReader(store::Snapshot snapshot) : snapshot_(std::move(snapshot)) {}
  ObjectPtr get(const Key& key) const override { return snapshot_.get(key); }
  std::vector<ObjectPtr> list(Resource resource, std::string_view ns) const override {
    return snapshot_.list(resource, ns);
  }
  const store::Snapshot& snapshot() const { return snapshot_; }

 private:
  store::Snapshot snapshot_;
};

/// Several writes on one snapshot, each seeing those before it, for one commit.
class Transaction final : public ObjectReader {
 public:
  Transaction(const Registry& registry, store::Snapshot base)
      : registry_(registry), base_(std::move(base)) {}

  /// Stages a write; a failed one leaves the transaction as it was.
  StageResult stage(const Write& write, const WriteOptions& options);

  ObjectPtr get(const Key& key) const override;
  std::vector<ObjectPtr> list(Resource resource, std::string_view ns) const override;
  const store::Snapshot& base() const { return base_; }

  /// One mutation for each key that really changes, with the base's version as its expectation.
  std::vector<store::Mutation> take();

 private:
  const Registry& registry_;
  struct Written {
    std::optional<Json> dom;    // nullopt: removed
    std::uint64_t version = 0;  // of the object that it was made from; 0: new
    mutable ObjectPtr object;   // made when somebody reads it
  };
  static ObjectPtr materialise(const Key& key, const Written& w);
  store::Snapshot base_;
  std::map<Key, Written> written_;
};

}  // namespace knit::apiserver
