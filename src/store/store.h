// Versioned objects and their watch history, durable in one SQLite file, read from memory.
//
// One counter numbers every change of every kind; a number is never used twice, also not after a
// crash. A commit is checked against the newest accepted state at once, made durable together with
// all others that wait (one fsync), and only then visible in snapshot(), to subscriptions and to
// its callback. Events and Leases are not fsynced: a crash of the machine may lose the last ones.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "store/snapshot.h"

namespace knit::store {

/// Runs a function soon, on the thread that owns the receiver (Loop::post).
using Executor = std::function<void(std::function<void()>)>;  // outlives the store

/// One key of a commit.
struct Mutation {
  Key key;
  /// 0: must not exist; nullopt: whatever it is.
  std::optional<std::uint64_t> expected;
  /// The whole object; nullopt removes the key. metadata.resourceVersion is set by the store.
  std::optional<Json> object;
};

struct CommitError {
  Error error;             // Conflict, AlreadyExists, NotFound, ResourceExhausted (disk full), …
  std::optional<Key> key;  // the key whose expectation failed
};

struct Committed {
  std::uint64_t version = 0;       // of the last change; the state's version if there was none
  std::vector<ObjectPtr> objects;  // one for each mutation; a removal gives the last state with
                                   // the version of the removal
};

/// Exactly one of the two.
struct CommitResult {
  std::optional<CommitError> failure;
  Committed committed;
  bool ok() const { return !failure; }
};
using CommitCallback = std::function<void(CommitResult)>;

struct Change {
  std::uint64_t version = 0;
  ObjectPtr before;  // null: created
  ObjectPtr after;   // null: deleted
  ObjectPtr last;    // of a deletion: `before` with the version of the deletion
  const Key& key() const { return after ? after->key() : last->key(); }
};

class Store;

/// A cursor over the changes after a version, in order and without gaps. Used on one thread.
class Subscription {
 public:
  struct Batch {
    std::vector<Change> changes;
    std::uint64_t upto = 0;  // every matching change up to this version has been delivered
    bool more = false;       // call poll() again
  };
  virtual ~Subscription() = default;
  /// Up to `max` changes. Errors: Expired when the history after the cursor is gone.
  virtual Result<Batch> poll(std::size_t max = 256) = 0;
  /// The next poll() reads the change table (blocking, bounded): do it off the loop.
  virtual bool behind_memory() const = 0;
};

struct Options {
  /// The database file; empty: in memory only (tests, simulations).
  std::string path;
  /// False: without a thread (simulated time); see `writer`.
  bool writer_thread = true;
  /// Without a thread: runs the writer's next turn, later (a disk that takes its time). Empty:
  /// commit() writes and publishes before it returns.
  Executor writer;
  /// For simulations: an error is what the disk says to the group that is about to be written.
  std::function<Result<void>()> before_write;
  std::size_t history_bytes = 32 << 20;
  /// Collections that are not fsynced.
  std::vector<std::string> volatile_resources = {"events", "leases.coordination.k8s.io"};
  /// Commits that wait for the disk; more are refused with ResourceExhausted.
  std::size_t max_pending = 10'000;
  /// A larger object is refused with InvalidArgument.
  std::size_t max_object_bytes = 3 << 19;  // 1.5 MiB
  /// The file may not grow past this many pages of 4 KiB; 0: no bound.
  std::uint64_t max_pages = 0;
};

class Store {
 public:
  /// Recovers what was committed. Errors: Unavailable (cannot open, another process has it),
  /// ResourceExhausted (disk full), Internal (damaged file, named).
  static Result<std::unique_ptr<Store>> open(Options options);
  /// Waits for what was accepted to be durable. Callbacks still run.
  virtual ~Store() = default;

  // Everything below: from any thread.

  /// What is durable.
  virtual Snapshot snapshot() const = 0;
  /// The newest accepted state: what the next commit is checked against. Not yet durable; what is
  /// decided from it may be told only after a later commit (an empty one serves) succeeded.
  virtual Snapshot head() const = 0;
  /// One collection at an older version. Errors: Expired, InvalidArgument (newer than now).
  virtual Result<Snapshot> snapshot_at(std::uint64_t version, Resource resource) const = 0;

  /// All of `batch` or nothing; an empty one waits for what was accepted before. A key may occur
  /// once. `done` runs on `on`, after the batch is durable and visible.
  virtual void commit(std::vector<Mutation> batch, Executor on, CommitCallback done) = 0;

  /// Changes after `from` of `resource` (nullopt: of all). `wake` runs on `on` when poll() would
  /// give more, also when there already is something. Errors: Expired; InvalidArgument when
  /// `from` is newer than now.
  virtual Result<std::unique_ptr<Subscription>> subscribe(std::uint64_t from,
                                                          std::optional<Resource> resource,
                                                          Executor on,
                                                          std::function<void()> wake) = 0;

  /// Forgets the history up to `version`. Watches from before it then get Expired once memory
  /// does not reach back as far either. Blocking.
  virtual Result<void> compact(std::uint64_t version) = 0;

  struct Stats {
    std::uint64_t version = 0, compacted = 0, commits = 0, groups = 0, syncs = 0;
    std::size_t history_bytes = 0, history_changes = 0, pending = 0;
  };
  virtual Stats stats() const = 0;
};

}  // namespace knit::store
