#include "store/store.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <set>
#include <thread>

#include "base/log.h"
#include "store/disk.h"

namespace knit::store {
namespace {

constexpr std::string_view kLogModule = "store";
constexpr std::uint64_t kReserve = 65'536;
constexpr std::size_t kMaxGroup = 512;
constexpr std::size_t kChangeOverhead = 256;

using detail::State;
using StatePtr = std::shared_ptr<const State>;

/// What a subscription shares with the store's threads.
struct Watcher {
  std::optional<Resource> resource;
  Executor on;
  std::function<void()> wake;
  std::atomic<bool> notified{false};
  std::atomic<bool> alive{true};
};

void notify(const std::shared_ptr<Watcher>& w) {
  if (w->notified.exchange(true)) return;
  w->on([w] {
    w->notified = false;
    if (w->alive) w->wake();
  });
}

struct Pending {
  std::vector<Change> changes;
  StatePtr state;  // after it
  bool durable = false;
  Committed committed;
  Executor on;
  CommitCallback done;
};

std::size_t size_of(const Change& c) {
  return kChangeOverhead + (c.after ? c.after->bytes().size() : 0) +
         (c.last ? c.last->bytes().size() : 0);
}

class StoreImpl final : public Store {
 public:
  explicit StoreImpl(Options options) : options_(std::move(options)) {
    for (const auto& name : options_.volatile_resources) {
      volatile_.push_back(Resource::of(name));
    }
  }

  Result<void> start() {
    auto state = std::make_shared<State>();
    if (!options_.path.empty()) {
      KNIT_TRY(disk_, Disk::open(options_.path));
      KNIT_TRY_VOID(disk_->bound_pages(options_.max_pages));
      auto visit = [&](DiskRow row) -> Result<void> {
        KNIT_TRY(ObjectPtr object,
                 kube::Object::load(std::move(row.key), row.version, std::move(row.value)));
        const Resource resource = object->key().resource;
        const auto it = std::find_if(state->tables.begin(), state->tables.end(),
                                     [&](const auto& t) { return t.first == resource; });
        const detail::TablePtr before = it == state->tables.end() ? nullptr : it->second;
        state->put(resource, detail::replace(before, nullptr, object));
        return {};
      };
      KNIT_TRY_VOID(disk_->load(visit));
      next_ = std::max({disk_->reserved(), disk_->last(), std::uint64_t{1}});
      lost_after_ = disk_->last();
      compacted_ = disk_->compacted();
      reserved_ = disk_->reserved();
    } else {
      next_ = 1;
      lost_after_ = compacted_ = 1;
    }
    started_ = floor_ = next_;
    state->version = next_;
    visible_ = head_ = std::move(state);
    if (options_.writer_thread) writer_ = std::thread([this] { write_groups(); });
    return {};
  }

  ~StoreImpl() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    work_.notify_all();
    if (writer_.joinable()) writer_.join();
    writers_turn();
    if (disk_ && reserved_ > 0) {
      if (auto closed = disk_->close_cleanly(next_); !closed) {
        KNIT_LOG(Warn, "store not closed cleanly", KV("error", closed.error()));
      }
    }
  }

  Snapshot snapshot() const override {
    const std::lock_guard lock(mutex_);
    return Snapshot(visible_);
  }
  Snapshot head() const override {
    const std::lock_guard lock(mutex_);
    return Snapshot(head_);
  }

  Result<Snapshot> snapshot_at(std::uint64_t version, Resource resource) const override {
    std::vector<Change> undo;
    StatePtr now;
    {
      const std::lock_guard lock(mutex_);
      now = visible_;
      if (version > now->version) {
        return Error(Code::InvalidArgument, "resource version " + std::to_string(version) +
                                                " is newer than " + std::to_string(now->version));
      }
      if (version < floor_ && version != now->version) return expired(version, floor_);
      for (auto it = history_.rbegin(); it != history_.rend() && it->version > version; ++it) {
        if (it->key().resource == resource) undo.push_back(*it);
      }
    }
    auto state = std::make_shared<State>();
    state->version = version;
    const auto it = std::find_if(now->tables.begin(), now->tables.end(),
                                 [&](const auto& t) { return t.first == resource; });
    detail::TablePtr table = it == now->tables.end() ? nullptr : it->second;
    for (const Change& c : undo) table = detail::replace(table, c.after, c.before);
    if (table) state->put(resource, std::move(table));
    return Snapshot(std::move(state));
  }

  void commit(std::vector<Mutation> batch, Executor on, CommitCallback done) override {
    std::unique_lock lock(mutex_);
    Pending pending;
    if (auto failed = accept(batch, pending)) {
      lock.unlock();
      on([done = std::move(done), failure = std::move(*failed)]() mutable {
        done(CommitResult{std::move(failure), {}});
      });
      return;
    }
    pending.on = std::move(on);
    pending.done = std::move(done);
    ++stats_.commits;
    queue_.push_back(std::move(pending));
    if (options_.writer_thread) {
      lock.unlock();
      work_.notify_one();
    } else if (!options_.writer) {
      write_group(take_group(), lock);
    } else if (!std::exchange(turn_asked_, true)) {
      lock.unlock();
      options_.writer([this, alive = std::weak_ptr<int>(alive_)] {
        if (!alive.expired()) writers_turn();
      });
    }
  }

  Result<std::unique_ptr<Subscription>> subscribe(std::uint64_t from,
                                                  std::optional<Resource> resource, Executor on,
                                                  std::function<void()> wake) override;

  Result<void> compact(std::uint64_t version) override {
    {
      const std::lock_guard lock(mutex_);
      version = std::min(version, visible_->version);
      if (version <= compacted_) return {};
      compacted_ = version;  // first: a reader that comes too late must notice
    }
    return disk_ ? disk_->compact(version) : Result<void>();
  }

  Stats stats() const override {
    const std::lock_guard lock(mutex_);
    Stats s = stats_;
    s.version = visible_->version;
    s.compacted = compacted_;
    s.history_bytes = history_bytes_;
    s.history_changes = history_.size();
    s.pending = queue_.size();
    return s;
  }

  Result<Subscription::Batch> poll(std::uint64_t& cursor, const std::optional<Resource>& resource,
                                   std::size_t max);
  bool behind_memory(std::uint64_t cursor) const {
    const std::lock_guard lock(mutex_);
    return cursor < floor_;
  }
  void forget(const std::shared_ptr<Watcher>& w) {
    const std::lock_guard lock(mutex_);
    std::erase(watchers_, w);
  }

 private:
  static Error expired(std::uint64_t version, std::uint64_t oldest) {
    return Error(Code::Expired, "too old resource version: " + std::to_string(version) + " (" +
                                    std::to_string(oldest) + ")");
  }
  bool is_volatile(const Resource& r) const {
    return std::find(volatile_.begin(), volatile_.end(), r) != volatile_.end();
  }

  /// Checks `batch` against head_ and numbers it. Leaves head_ alone when it fails.
  std::optional<CommitError> accept(std::vector<Mutation>& batch, Pending& out) {
    if (queue_.size() >= options_.max_pending) {
      return CommitError{
          Error(Code::ResourceExhausted, "store: too many writes wait for the disk; retry"), {}};
    }
    std::vector<ObjectPtr> before(batch.size());
    std::set<Key> keys;
    const Snapshot now(head_);
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const Mutation& m = batch[i];
      if (!keys.insert(m.key).second) {
        return CommitError{
            Error(Code::InvalidArgument, to_string(m.key) + " occurs twice in one commit"), m.key};
      }
      before[i] = now.get(m.key);
      if (m.expected) {
        if (*m.expected == 0 && before[i]) {
          return CommitError{Error(Code::AlreadyExists, to_string(m.key) + " already exists"),
                             m.key};
        }
        if (*m.expected != 0 && !before[i]) {
          return CommitError{Error(Code::NotFound, to_string(m.key) + " not found"), m.key};
        }
        if (*m.expected != 0 && before[i]->version() != *m.expected) {
          return CommitError{Error(Code::Conflict, to_string(m.key) + " has been modified"), m.key};
        }
      } else if (!m.object && !before[i]) {
        return CommitError{Error(Code::NotFound, to_string(m.key) + " not found"), m.key};
      }
    }
    auto state = std::make_shared<State>(*head_);
    for (std::size_t i = 0; i < batch.size(); ++i) {
      Mutation& m = batch[i];
      Change change;
      change.version = ++next_;
      change.before = std::move(before[i]);
      Json dom = m.object ? std::move(*m.object) : change.before->parse();
      json::set(dom, {"metadata", "resourceVersion"},
                boost::json::string(std::to_string(change.version)));
      auto object = std::make_shared<const kube::Object>(m.key, change.version, dom);
      if (m.object && object->bytes().size() > options_.max_object_bytes) {
        return CommitError{Error(Code::InvalidArgument,
                                 to_string(m.key) + " is " +
                                     std::to_string(object->bytes().size()) + " bytes; at most " +
                                     std::to_string(options_.max_object_bytes) + " are stored"),
                           m.key};
      }
      out.committed.objects.push_back(object);
      (m.object ? change.after : change.last) = std::move(object);
      const auto it = std::find_if(state->tables.begin(), state->tables.end(),
                                   [&](const auto& t) { return t.first == m.key.resource; });
      const detail::TablePtr table = it == state->tables.end() ? nullptr : it->second;
      state->put(m.key.resource, detail::replace(table, change.before, change.after));
      if (!is_volatile(m.key.resource)) out.durable = true;
      out.changes.push_back(std::move(change));
    }
    state->version = next_;
    out.committed.version = next_;
    head_ = state;
    out.state = std::move(state);
    return std::nullopt;
  }

  void write_groups() {
    std::unique_lock lock(mutex_);
    while (true) {
      work_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (queue_.empty()) return;
      write_group(take_group(), lock);
      lock.lock();
    }
  }
  /// All that waits, without a thread.
  void writers_turn() {
    std::unique_lock lock(mutex_);
    turn_asked_ = false;
    while (!queue_.empty()) {
      write_group(take_group(), lock);
      lock.lock();
    }
  }
  std::vector<Pending> take_group() {
    std::vector<Pending> group;
    while (!queue_.empty() && group.size() < kMaxGroup) {
      group.push_back(std::move(queue_.front()));
      queue_.pop_front();
    }
    return group;
  }

  /// Makes a group durable and visible. Leaves with the lock released.
  void write_group(std::vector<Pending> group, std::unique_lock<std::mutex>& lock) {
    std::vector<DiskWrite> rows;
    bool durable = false;
    for (const Pending& p : group) {
      durable = durable || p.durable;
      for (const Change& c : p.changes) {
        rows.push_back({c.version, &c.key(), c.after == nullptr,
                        c.after ? c.after->bytes() : c.last->bytes()});
      }
    }
    const std::uint64_t last = group.back().state->version;
    // A number past the reserved ones could be used twice after a crash: reserve more first.
    durable = durable || last >= reserved_;
    Result<void> written;
    if (disk_ && !rows.empty()) {
      if (options_.writer_thread) lock.unlock();
      if (options_.before_write) written = options_.before_write();
      if (written) written = disk_->write(rows, durable, last + kReserve);
      if (options_.writer_thread) lock.lock();
    }
    if (!written) return fail(std::move(group), written.error(), lock);
    if (!rows.empty()) {
      ++stats_.groups;
      if (durable) {
        ++stats_.syncs;
        reserved_ = last + kReserve;
      }
    }
    publish(group);
    std::vector<std::shared_ptr<Watcher>> wake;
    for (const auto& w : watchers_) {
      if (interested(*w, group)) wake.push_back(w);
    }
    lock.unlock();
    for (const auto& w : wake) notify(w);
    for (Pending& p : group) {
      auto on = std::move(p.on);
      on([done = std::move(p.done), committed = std::move(p.committed)]() mutable {
        done(CommitResult{std::nullopt, std::move(committed)});
      });
    }
  }

  void publish(const std::vector<Pending>& group) {
    for (const Pending& p : group) {
      for (const Change& c : p.changes) {
        history_bytes_ += size_of(c);
        history_.push_back(c);
      }
    }
    visible_ = group.back().state;
    while (history_bytes_ > options_.history_bytes && !history_.empty()) {
      floor_ = history_.front().version;
      history_bytes_ -= size_of(history_.front());
      history_.pop_front();
    }
  }

  static bool interested(const Watcher& w, const std::vector<Pending>& group) {
    for (const Pending& p : group) {
      for (const Change& c : p.changes) {
        if (!w.resource || *w.resource == c.key().resource) return true;
      }
    }
    return false;
  }

  /// The disk refused: what was decided on top of these writes is void too.
  void fail(std::vector<Pending> group, const Error& error, std::unique_lock<std::mutex>& lock) {
    KNIT_LOG(Error, "write to the store failed", KV("error", error));
    while (!queue_.empty()) {
      group.push_back(std::move(queue_.front()));
      queue_.pop_front();
    }
    head_ = visible_;
    lock.unlock();
    for (Pending& p : group) {
      auto on = std::move(p.on);
      on([done = std::move(p.done), error]() mutable {
        done(CommitResult{CommitError{error, std::nullopt}, {}});
      });
    }
  }

  Result<Change> change_of(DiskRow row) const {
    Change c;
    c.version = row.version;
    if (row.before_version != 0) {
      KNIT_TRY(c.before, kube::Object::load(row.key, row.before_version, std::move(row.before)));
    }
    KNIT_TRY(ObjectPtr object,
             kube::Object::load(std::move(row.key), row.version, std::move(row.value)));
    (row.deleted ? c.last : c.after) = std::move(object);
    return c;
  }

  const Options options_;
  std::vector<Resource> volatile_;
  std::unique_ptr<Disk> disk_;

  mutable std::mutex mutex_;
  std::condition_variable work_;
  StatePtr head_, visible_;
  std::uint64_t next_ = 0;        // the last number given
  std::uint64_t started_ = 0;     // next_ when it was opened
  std::uint64_t lost_after_ = 0;  // volatile changes in (lost_after_, started_] may be lost
  std::uint64_t reserved_ = 0;
  std::uint64_t compacted_ = 0;
  std::uint64_t floor_ = 0;  // history_ has every change after it
  std::deque<Change> history_;
  std::size_t history_bytes_ = 0;
  std::deque<Pending> queue_;
  std::vector<std::shared_ptr<Watcher>> watchers_;
  Stats stats_;
  bool stopping_ = false;
  bool turn_asked_ = false;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
  std::thread writer_;
};

class SubscriptionImpl final : public Subscription {
 public:
  SubscriptionImpl(StoreImpl& store, std::uint64_t from, std::shared_ptr<Watcher> watcher)
      : store_(store), cursor_(from), watcher_(std::move(watcher)) {}
  ~SubscriptionImpl() override {
    watcher_->alive = false;
    store_.forget(watcher_);
  }
  Result<Batch> poll(std::size_t max) override {
    return store_.poll(cursor_, watcher_->resource, max);
  }
  bool behind_memory() const override { return store_.behind_memory(cursor_); }

 private:
  StoreImpl& store_;
  std::uint64_t cursor_;
  std::shared_ptr<Watcher> watcher_;
};

Result<std::unique_ptr<Subscription>> StoreImpl::subscribe(std::uint64_t from,
                                                           std::optional<Resource> resource,
                                                           Executor on,
                                                           std::function<void()> wake) {
  auto watcher = std::make_shared<Watcher>();
  watcher->resource = resource;
  watcher->on = std::move(on);
  watcher->wake = std::move(wake);
  bool now = false;
  {
    const std::lock_guard lock(mutex_);
    if (from > visible_->version) {
      return Error(Code::InvalidArgument, "resource version " + std::to_string(from) +
                                              " is newer than " +
                                              std::to_string(visible_->version));
    }
    const bool may_miss = !resource || is_volatile(*resource);
    if (may_miss && from > lost_after_ && from < started_) return expired(from, started_);
    if (from < compacted_ && from < floor_) return expired(from, std::min(compacted_, floor_));
    watchers_.push_back(watcher);
    now = from < visible_->version;
  }
  if (now) notify(watcher);
  return std::unique_ptr<Subscription>(
      std::make_unique<SubscriptionImpl>(*this, from, std::move(watcher)));
}

Result<Subscription::Batch> StoreImpl::poll(std::uint64_t& cursor,
                                            const std::optional<Resource>& resource,
                                            std::size_t max) {
  Subscription::Batch out;
  std::uint64_t floor = 0;
  {
    const std::lock_guard lock(mutex_);
    if (cursor >= floor_) {
      auto it = std::upper_bound(history_.begin(), history_.end(), cursor,
                                 [](std::uint64_t v, const Change& c) { return v < c.version; });
      for (; it != history_.end(); ++it) {
        if (resource && it->key().resource != *resource) continue;
        if (out.changes.size() == max) {
          out.more = true;
          break;
        }
        out.changes.push_back(*it);
      }
      cursor = out.more ? out.changes.back().version : visible_->version;
      out.upto = cursor;
      return out;
    }
    floor = floor_;
    if (!disk_ || cursor < compacted_) return expired(cursor, std::min(compacted_, floor_));
  }
  KNIT_TRY(auto rows, disk_->read_changes(cursor, floor, resource, max));
  {
    const std::lock_guard lock(mutex_);
    if (cursor < compacted_) return expired(cursor, compacted_);
  }
  const bool all = rows.size() < max;
  for (DiskRow& row : rows) {
    KNIT_TRY(Change c, change_of(std::move(row)));
    out.changes.push_back(std::move(c));
  }
  cursor = all ? floor : out.changes.back().version;
  out.upto = cursor;
  out.more = true;
  return out;
}

}  // namespace

Result<std::unique_ptr<Store>> Store::open(Options options) {
  auto store = std::make_unique<StoreImpl>(std::move(options));
  KNIT_TRY_VOID(store->start());
  return std::unique_ptr<Store>(std::move(store));
}

}  // namespace knit::store
