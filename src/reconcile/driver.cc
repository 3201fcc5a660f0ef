#include "reconcile/driver.h"

#include <algorithm>

#include "base/log.h"
#include "reconcile/event_recorder.h"

namespace knit::reconcile {
namespace {
constexpr std::string_view kLogModule = "reconcile";

struct Item {
  std::size_t planner;
  Key key;
  auto operator<=>(const Item&) const = default;
};
}  // namespace

struct Driver::State : std::enable_shared_from_this<Driver::State> {
  State(io::Loop& l, Backend& b, DriverSettings s)
      : loop(l), backend(b), settings(s), recorder(s.max_event_series) {}

  io::Loop& loop;
  Backend& backend;
  DriverSettings settings;
  EventRecorder recorder;
  std::vector<Planner> planners;
  std::function<void(const std::vector<Change>&)> hook;
  std::map<std::string, PlannerStats> stats;
  std::set<Item> dirty;
  bool started = false, posted = false, committing = false;
  int conflicts = 0;           // of commits, one after the other
  io::Loop::Timer pause;       // set: settles wait for it
  std::map<Item, int> fights;  // how often in a row an item was left when the rounds were used up
  struct Retry {
    int failures = 0;
    io::Loop::Timer timer;
  };
  std::map<Item, Retry> retries;
  std::map<Item, io::Loop::Timer> again;
  // What the commit in flight will bring back through the feed. Its consequences were planned in
  // the settle that made it, so they need not be planned twice.
  struct Own {
    std::uint64_t before = 0;  // version; 0: created
    std::string uid;           // afterwards; "": removed
  };
  std::map<Key, Own> own;

  void add_dirty(Item item) {
    dirty.insert(std::move(item));
    schedule();
  }
  void schedule() {
    if (posted || committing || pause || dirty.empty() || !started) return;
    posted = true;
    loop.post([weak = weak_from_this()] {
      if (const auto self = weak.lock()) {
        self->posted = false;
        self->settle();
      }
    });
  }

  // Which items a change concerns, appended to `into`.
  void concerned(const World& world, const Change& change, std::set<Item>& into) const {
    const Resource resource = change.key().resource;
    for (std::size_t i = 0; i < planners.size(); ++i) {
      const Planner& planner = planners[i];
      if (planner.every_kind || planner.owns == resource) into.insert({i, change.key()});
      for (const auto& trigger : planner.triggers) {
        if (trigger.resource != Resource() && trigger.resource != resource) continue;
        for (auto& key : trigger.keys(world, change.before, change.after)) {
          into.insert({i, std::move(key)});
        }
      }
    }
  }

  bool is_own(const Change& change) {
    const auto it = own.find(change.key());
    if (it == own.end()) return false;
    const Own& expected = it->second;
    if (expected.before != (change.before ? change.before->version() : 0) ||
        expected.uid != (change.after ? change.after->uid() : std::string())) {
      return false;
    }
    own.erase(it);
    return true;
  }
  void on_change(const Change& change) {
    if (is_own(change)) return;
    concerned(*backend.snapshot(), change, dirty);
    schedule();
  }
  void on_signal(Signal kind, const Key& key) {
    for (std::size_t i = 0; i < planners.size(); ++i) {
      const auto& wanted = planners[i].signals;
      if (std::find(wanted.begin(), wanted.end(), kind) == wanted.end()) continue;
      dirty.insert({i, Key{planners[i].owns, key.ns, key.name}});
    }
    schedule();
  }

  void failed(const Item& item, const Error& error) {
    auto& planner_stats = stats[planners[item.planner].name];
    ++planner_stats.errors;
    planner_stats.last_error = kube::to_string(item.key) + ": " + error.message();
    Retry& retry = retries[item];
    Duration delay = settings.retry_last;
    if (retry.failures < 28) {
      delay = std::min(delay, settings.retry_first * (std::int64_t{1} << retry.failures));
    }
    ++retry.failures;
    if (retry.failures == 1 || retry.failures % 8 == 0) {
      KNIT_LOG(Warn, "plan refused, will be tried again",
               KV("planner", planners[item.planner].name), KV("object", item.key),
               KV("failures", retry.failures), KV("error", error));
    }
    retry.timer = loop.after(delay, [weak = weak_from_this(), item] {
      if (const auto self = weak.lock()) self->add_dirty(item);
    });
  }

  // Left over after the last round. A long chain goes on after the commit; planners that answer
  // each other's writes for ever are slowed down.
  void unsettled(const Item& item) {
    const int times = ++fights[item];
    if (times <= settings.max_unsettled) {
      dirty.insert(item);
      return;
    }
    auto& planner_stats = stats[planners[item.planner].name];
    ++planner_stats.errors;
    planner_stats.last_error = kube::to_string(item.key) + ": plans do not settle";
    KNIT_LOG(Warn, "plans do not settle: they answer each other's writes",
             KV("planner", planners[item.planner].name), KV("object", item.key),
             KV("times", times));
    const int doublings = std::min(times - settings.max_unsettled - 1, 28);
    retries[item].timer = loop.after(
        std::min(settings.retry_last, settings.retry_first * (std::int64_t{1} << doublings)),
        [weak = weak_from_this(), item] {
          if (const auto self = weak.lock()) self->add_dirty(item);
        });
  }

  // A commit that others were faster than is planned again on a newer snapshot: at once, then after
  // pauses that grow to 16 ms (what was accepted before may still be on its way to the disk).
  void refused(const std::set<Item>& touched, const Error& error) {
    const auto code = error.code();
    if (code != Code::Conflict && code != Code::AlreadyExists && code != Code::NotFound) {
      for (const auto& item : touched) failed(item, error);
      return;
    }
    for (const auto& item : touched) dirty.insert(item);
    if (++conflicts == 1) return;
    const int doublings = std::min(conflicts - 2, 4);
    pause = loop.after(std::chrono::milliseconds(1) * (1 << doublings), [weak = weak_from_this()] {
      if (const auto self = weak.lock()) {
        self->pause.cancel();
        self->schedule();
      }
    });
  }

  void set_again(const Item& item, const std::optional<Duration>& delay) {
    if (!delay) {
      again.erase(item);
      return;
    }
    again[item] = loop.after(*delay, [weak = weak_from_this(), item] {
      if (const auto self = weak.lock()) self->add_dirty(item);
    });
  }

  struct Outcome {
    bool effective = false;
    bool deferred = false;  // makes a key again that this settle removed
    std::optional<Error> error;
  };
  // Lays the writes of one plan over `overlay`; all or nothing.
  Outcome apply(Overlay& overlay, const Plan& plan, std::vector<Change>& changes) {
    Outcome outcome;
    std::vector<Overlay::Saved> undo;
    const std::size_t first = changes.size();
    const auto take_back = [&] {
      for (auto it = undo.rbegin(); it != undo.rend(); ++it) overlay.restore(std::move(*it));
      changes.resize(first);
      outcome.effective = false;
    };
    for (const auto& write : plan.writes) {
      if (write.op == Write::Op::Create && overlay.removed(write.key)) {
        take_back();
        outcome.deferred = true;
        return outcome;
      }
      auto effect = backend.stage(overlay, write);
      if (!effect) {
        take_back();
        outcome.error = std::move(effect).error();
        return outcome;
      }
      if (effect->kind == Effect::Kind::None) continue;
      undo.push_back(overlay.save(write.key));
      Change change{overlay.get(write.key), effect->object};
      overlay.put(write.key, effect->object);
      changes.push_back(std::move(change));
      outcome.effective = true;
    }
    return outcome;
  }

  void settle() {
    if (committing || dirty.empty()) return;
    auto overlay = std::make_shared<Overlay>(backend.snapshot());
    std::set<Item> todo;
    while (!dirty.empty() && todo.size() < settings.max_batch) {
      todo.insert(dirty.extract(dirty.begin()));
    }
    std::set<Item> touched, deferred;
    std::vector<EventNote> notes;
    const Instant now = loop.now();
    int round = 0;
    for (; round < settings.max_rounds && !todo.empty() && overlay->size() < settings.max_changes;
         ++round) {
      std::set<Item> next;
      for (const Item& item : todo) {
        const Planner& planner = planners[item.planner];
        auto& planner_stats = stats[planner.name];
        ++planner_stats.plans;
        Plan plan = planner.plan(*overlay, item.key, now);
        std::vector<Change> changes;
        const Outcome outcome = apply(*overlay, plan, changes);
        if (outcome.error) {
          failed(item, *outcome.error);
          continue;
        }
        if (outcome.deferred) {
          deferred.insert(item);
          continue;
        }
        retries.erase(item);
        set_again(item, plan.again);
        touched.insert(item);
        planner_stats.writes += changes.size();
        for (const auto& change : changes) concerned(*overlay, change, next);
        if (outcome.effective) {
          for (auto& note : plan.events) notes.push_back(std::move(note));
        }
      }
      todo = std::move(next);
    }
    if (todo.empty()) {
      for (const Item& item : touched) fights.erase(item);
    } else if (round < settings.max_rounds) {
      dirty.merge(todo);  // the commit is large enough
    } else {
      for (const Item& item : todo) unsettled(item);
    }
    dirty.merge(deferred);
    commit(overlay, std::move(touched), std::move(notes));
  }

  void commit(const std::shared_ptr<Overlay>& overlay, std::set<Item> touched,
              std::vector<EventNote> notes) {
    own.clear();
    for (const auto& change : overlay->changes()) {
      own[change.key()] = {change.before ? change.before->version() : 0,
                           change.after ? change.after->uid() : std::string()};
    }
    for (const auto& note : notes) {
      const auto write = recorder.record(*overlay, note, loop.now());
      if (!write) continue;
      auto effect = backend.stage(*overlay, *write);
      if (!effect) {
        KNIT_LOG(Debug, "event not recorded", KV("object", note.about),
                 KV("error", effect.error()));
      } else if (effect->kind == Effect::Kind::Put) {
        overlay->put(write->key, effect->object);
      }
    }
    auto changes = overlay->changes();
    if (changes.empty()) {
      schedule();
      return;
    }
    if (hook) hook(changes);
    committing = true;
    backend.commit(std::move(changes),
                   [weak = weak_from_this(), touched = std::move(touched)](Result<void> done) {
                     const auto self = weak.lock();
                     if (self == nullptr) return;
                     self->committing = false;
                     if (!done) {
                       self->own.clear();
                       self->refused(touched, done.error());
                     } else {
                       self->conflicts = 0;
                     }
                     self->schedule();
                   });
  }

  std::vector<Item> every_item() const {
    std::vector<Item> items;
    const auto world = backend.snapshot();
    for (std::size_t i = 0; i < planners.size(); ++i) {
      for (const auto& key : planners[i].always) items.push_back({i, key});
      if (planners[i].every_kind) {
        for (const Resource resource : world->resources()) {
          for (const auto& object : world->list(resource)) items.push_back({i, object->key()});
        }
      } else {
        for (const auto& object : world->list(planners[i].owns)) {
          items.push_back({i, object->key()});
        }
      }
    }
    return items;
  }
};

Driver::Driver(io::Loop& loop, Backend& backend, DriverSettings settings)
    : state_(std::make_shared<State>(loop, backend, settings)) {}
Driver::~Driver() = default;

void Driver::add(Planner planner) {
  KNIT_CHECK(!state_->started);
  state_->stats[planner.name];
  state_->planners.push_back(std::move(planner));
}

void Driver::start() {
  KNIT_CHECK(!state_->started);
  state_->started = true;
  std::weak_ptr<State> weak = state_;
  state_->backend.subscribe([weak](const Change& change) {
    if (const auto self = weak.lock()) self->on_change(change);
  });
  state_->backend.signals().subscribe([weak](Signal kind, const Key& key) {
    if (const auto self = weak.lock()) self->on_signal(kind, key);
  });
  for (auto& item : state_->every_item()) state_->dirty.insert(std::move(item));
  state_->schedule();
}

void Driver::enqueue(std::string_view name, const Key& key) {
  for (std::size_t i = 0; i < state_->planners.size(); ++i) {
    if (state_->planners[i].name == name) state_->add_dirty({i, key});
  }
}

bool Driver::idle() const {
  return state_->dirty.empty() && !state_->committing && !state_->posted;
}

void Driver::before_commit(std::function<void(const std::vector<Change>&)> hook) {
  state_->hook = std::move(hook);
}

const std::map<std::string, PlannerStats>& Driver::stats() const { return state_->stats; }

std::vector<std::string> Driver::pending_plans() const {
  std::vector<std::string> out;
  for (const auto& item : state_->every_item()) {
    Overlay overlay(state_->backend.snapshot());
    const Planner& planner = state_->planners[item.planner];
    const Plan plan = planner.plan(overlay, item.key, state_->loop.now());
    std::vector<Change> changes;
    const auto outcome = state_->apply(overlay, plan, changes);
    if (outcome.error || outcome.effective) {
      out.push_back(planner.name + " of " + kube::to_string(item.key) + ":\n" + to_string(plan));
      if (outcome.error) out.back() += "error " + outcome.error->message() + '\n';
    }
  }
  return out;
}

}  // namespace knit::reconcile
