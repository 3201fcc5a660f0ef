// Where one subscriber stands in a stream: what it has seen, what is in flight, what waits for a
// retry, what is parked. A value without I/O; the stream keeps it and writes it down.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/codec.h"
#include "base/time.h"

namespace knit::events {

using Seq = std::uint64_t;

/// [from, to)
struct Interval {
  Seq from = 0;
  Seq to = 0;
  bool operator==(const Interval&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(1, s.from);
    v(2, s.to);
  }
};

enum class Hold {
  Waiting,  // for the next try
  Parked,   // the dead letter sink failed too, or there is none: kept, tried again when due
};
inline constexpr WallTime kNever{INT64_MAX};  // due only when redriven

/// An event that a subscriber has tried and not finished.
struct Held {
  Seq seq = 0;
  Hold hold = Hold::Waiting;
  std::uint32_t attempts = 0;  // made so far
  WallTime due;                // when to try again
  std::string note;            // the caller's, at most kMaxNote bytes (what the last try answered)

  bool operator==(const Held&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(1, s.seq);
    v(2, s.hold);
    v(3, s.attempts);
    v(4, s.due);
    v(5, s.note);
  }
};
inline constexpr std::size_t kMaxNote = 4096;

/// What changed since the last record; applying it twice is fine. Records of one cursor are
/// numbered: after a gap `low` says nothing, for what it steps over may be held by the lost record.
struct Progress {
  std::uint32_t id = 0;
  std::uint64_t number = 0;
  Seq low = 0;
  std::vector<Interval> finished;
  std::vector<Held> held;
  bool operator==(const Progress&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(1, s.id);
    v(2, s.low);
    v(3, s.finished);
    v(4, s.held);
    v(5, s.number);
  }
};

struct CursorState {
  std::uint32_t id = 0;
  std::string name;
  std::uint64_t number = 0;  // of the last Progress
  Seq low = 0;
  std::vector<Interval> finished;
  std::vector<Held> held;
  bool operator==(const CursorState&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(1, s.id);
    v(2, s.name);
    v(3, s.low);
    v(4, s.finished);
    v(5, s.held);
    v(6, s.number);
  }
};

/// Every event is unseen (at or past position()), in flight, held, or finished. low() is the
/// smallest that is neither held nor finished. Thread-compatible.
class Cursor {
 public:
  Cursor(std::uint32_t id, std::string name, Seq from);
  explicit Cursor(CursorState state);

  std::uint32_t id() const { return id_; }
  const std::string& name() const { return name_; }
  Seq low() const { return low_; }
  /// The next event to look at. Events finished or held before a restart are stepped over.
  Seq position() const { return position_; }
  /// The smallest event that is still needed: low(), or one held below it.
  Seq needed() const;

  /// Looks past [position(), seq): whatever of it was not claimed is of no interest (the filter
  /// said no). Not written down by itself: after a restart the filter says no again.
  void skip_to(Seq seq);
  /// Hands out the event `seq`, which is at or past position(): in flight. Skips up to it. False
  /// when it is finished or held already.
  bool claim(Seq seq);
  /// Hands out a held event again; nothing when it is not held or in flight already.
  std::optional<Held> claim_held(Seq seq);
  /// Gives an event in flight back untouched (the dispatcher stops). It is handed out again.
  void release(Seq seq);

  /// The subscriber, or its dead letter sink, has it. False when it was not in flight.
  bool done(Seq seq);
  /// In flight until now; held from now on. False when it was not in flight.
  bool hold(Held held);

  /// Held events that are due and not in flight, at most `limit`, soonest first.
  std::vector<Seq> due(WallTime now, std::size_t limit) const;
  /// When the next held event is due, if any is not in flight.
  std::optional<WallTime> next_due() const;
  /// Makes every parked event due at `now`, its tries counted from 0. The number.
  std::size_t redrive(WallTime now);
  /// Forgets everything below `seq` but what is held and in `kept`: the number of events that were
  /// neither finished nor skipped.
  std::size_t expire_below(Seq seq, const std::set<Seq>& kept = {});

  std::size_t in_flight() const { return first_tries_.size() + retries_in_flight_; }
  std::size_t waiting() const { return held_.size() - parked_; }
  std::size_t parked() const { return parked_; }
  /// What the held events take in memory and in a checkpoint, roughly.
  std::size_t held_bytes() const { return held_bytes_; }
  /// The held events of [from, to), in order.
  std::vector<Seq> held_in(Seq from, Seq to) const;
  const Held* find_held(Seq seq) const;
  std::vector<Held> held() const;

  /// True when there is something to write down.
  bool dirty() const { return !fresh_.empty() || !touched_.empty(); }
  Progress take_progress();
  CursorState state() const;
  /// The other end of take_progress(), at recovery.
  void apply(const Progress& progress);
  /// After recovery: looking starts at low(), or at the stream's first event; of what is held below
  /// that only `kept` is still there.
  void start_at(Seq first, const std::set<Seq>& kept = {});

 private:
  struct Item {
    Held held;
    bool in_flight = false;
  };
  bool finished(Seq seq) const;
  void finish(Seq from, Seq to);
  void advance();
  void index(const Item& item);
  void unindex(const Item& item);
  void drop_held(std::map<Seq, Item>::iterator it);
  void add_held(Held held);

  std::uint32_t id_ = 0;
  std::string name_;
  Seq low_ = 0;
  Seq position_ = 0;
  std::map<Seq, Seq> finished_;  // from -> to, disjoint, not touching, above low_
  std::map<Seq, Item> held_;
  std::set<std::pair<WallTime, Seq>> due_;  // held and not in flight
  std::map<Seq, bool> first_tries_;         // in flight for the first time
  std::size_t retries_in_flight_ = 0, parked_ = 0, held_bytes_ = 0;
  std::uint64_t number_ = 0;  // of the last Progress taken or applied
  bool chained_ = true;       // at recovery: no Progress is missing
  std::vector<Interval> fresh_;
  std::map<Seq, bool> touched_;  // held entries to write down
};

}  // namespace knit::events
