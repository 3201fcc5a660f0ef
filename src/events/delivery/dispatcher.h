// Delivers one stream to one subscriber: claims events, sends, retries, replies, dead-letters. The
// cursor in the log is its memory; whatever it forgets in a crash is delivered again.
//
//   seen -> in flight -> done
//              |  `-> reply in flight -> done
//              |-> waiting (retry k, due) -> in flight
//              `-> dead letter in flight -> done, or waiting, or parked (due) -> dead letter ...
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>

#include "events/delivery/message.h"
#include "events/filter/filter.h"
#include "events/log/stream.h"
#include "io/loop.h"

namespace knit::events {

/// Sends one request. The host decides how: proxy, identity, tokens. An answer is never longer than
/// the limits that reply_in() gets; what is longer is an error.
class Sender {
 public:
  virtual ~Sender() = default;
  /// Destroying the task cancels the request.
  virtual io::Task<Answer> send(OutMessage message) = 0;
};

struct Subscription {
  std::string name;                      // of the cursor; an object's uid
  std::string label;                     // for people: "trigger t"
  std::shared_ptr<const Filter> filter;  // null: everything
  Endpoint subscriber;
  std::optional<Endpoint> reply;
  std::string reply_broker;  // "ns/name": replies go to Shared::reply, not to `reply`
  std::optional<Endpoint> dead_letter;
  Policy policy;
  std::string ns;               // Kn-Namespace
  bool strict_replies = false;  // brokers: a body that is no event is a failure
  std::size_t max_in_flight = 64;
  Limits limits;  // of replies
  std::optional<Seq> from = {};  // where a new cursor starts; none: with the next event
  Seq until = UINT64_MAX;        // events from here on are of no interest
};

/// One step in the life of an event with one subscriber, for traces and metrics.
struct Step {
  enum class What {
    Attempt,     // status, 0 without an answer; text: its error
    Reply,       // status
    DeadLetter,  // status
    Waiting,     // text: how long
    Parked,
    Delivered,
    DeadLettered,
    Undeliverable,  // retries used up and no dead letter sink
    Damaged,        // the log no longer has it
  };
  std::string subscriber;
  Seq seq = 0;
  What what = What::Attempt;
  std::uint32_t attempt = 0;
  int status = 0;
  std::string text;
};

/// What the dispatchers of a process share.
struct Shared {
  std::size_t max_flight_bytes = 32 << 20;
  std::size_t max_held_bytes = 16 << 20;
  std::size_t flight_bytes = 0, held_bytes = 0;  // kept by the dispatchers
  /// Puts a broker's reply into its stream; gives the status that the ingress would answer.
  std::function<io::Task<int>(std::string broker, StoredEvent)> reply;
  std::function<void(const Step&)> observe;  // may be empty
};

struct DispatcherStats {
  std::uint64_t delivered = 0, dead_lettered = 0, undeliverable = 0, attempts = 0, failures = 0;
  std::uint64_t replies = 0, damaged = 0;
  std::size_t in_flight = 0, waiting = 0, parked = 0;
  std::uint64_t lag = 0;  // numbers between the oldest unfinished event and the newest
};

class Dispatcher {
 public:
  /// `cursor` is the stream's for `subscription.name`. All references outlive the dispatcher.
  Dispatcher(io::Loop& loop, Stream& stream, Cursor& cursor, Sender& sender, Shared& shared,
             Subscription subscription);
  /// What is in flight is given back to the cursor.
  ~Dispatcher();
  Dispatcher(const Dispatcher&) = delete;
  Dispatcher& operator=(const Dispatcher&) = delete;

  void start();
  /// New settings; what is in flight goes on with the old ones.
  void update(Subscription subscription);
  const Subscription& subscription() const { return sub_; }

  /// True when it has looked at everything but what offer() brings.
  bool caught_up() const { return caught_up_; }
  /// An event that was just appended and passes the filter. Only while caught_up().
  void offer(Seq seq, const std::shared_ptr<const StoredEvent>& event, std::size_t bytes);
  /// While caught up: nothing below `next` but what was offered is of interest.
  void settle(Seq next);
  /// There may be something to do: events, room, time.
  void pump();
  /// Parked events are tried again now. The number.
  std::size_t redrive();
  DispatcherStats stats() const;

 private:
  enum class Phase : std::uint8_t { Subscriber, Reply, DeadLetter, Queued };
  // What the cursor keeps of a held event.
  struct Note {
    Phase phase = Phase::Subscriber;
    std::uint32_t tries = 0;  // failed in this phase
    std::uint32_t parks = 0;
    Duration wait{0};       // that `due` was set from
    std::uint64_t key = 0;  // ByKey; 0: none
    Failure failure;
    template <class V, class S>
    static void fields(V& v, S& s) {
      v(1, s.phase);
      v(2, s.tries);
      v(3, s.parks);
      v(4, s.wait);
      v(5, s.key);
      v(6, s.failure);
    }
  };
  struct Flight {
    std::shared_ptr<const StoredEvent> event;
    std::shared_ptr<const StoredEvent> reply;
    Note note;
    std::uint32_t attempts = 0;
    std::size_t bytes = 0;
    std::uint64_t turn = 0;  // answers of earlier turns are stale
    io::Loop::Scope scope;
    io::Loop::Timer timer;
  };
  struct Ready {
    Seq seq = 0;
    std::shared_ptr<const StoredEvent> event;
    std::size_t bytes = 0;
  };
  struct Link;  // lets callbacks find the dispatcher while it lives

  WallTime now() const { return epoch_ + (loop_.now() - started_); }
  bool room() const;
  bool may_claim() const;
  void read_more();
  void looked(Result<ReadResult> result);
  void begin(Ready ready);
  void begin_held(Seq seq);
  void loaded(Seq seq, std::uint64_t turn, Result<Record> record);
  void launch(Seq seq, Flight& flight);
  void answered(Seq seq, std::uint64_t turn, Answer answer);
  void subscriber_answered(Seq seq, Flight& flight, const Answer& answer);
  void reply_answered(Seq seq, Flight& flight, const Answer& answer);
  void dead_letter_answered(Seq seq, Flight& flight, const Answer& answer);
  void to_dead_letter(Seq seq, Flight& flight, Failure failure);
  void hold(Seq seq, Hold how, Duration wait);
  void finish(Seq seq, Step::What what);
  void drop_flight(Seq seq);
  void release_key(std::uint64_t key, Seq seq);
  bool start_queued();
  void arm();
  void track_held();
  void step(Seq seq, Step::What what, std::uint32_t attempt, int status, std::string text) const;
  template <class T, class F>
  static io::Task<void> carry(io::Task<T> task, std::weak_ptr<Link> link, io::Loop* loop, F then);

  io::Loop& loop_;
  Stream& stream_;
  Cursor& cursor_;
  Sender& sender_;
  Shared& shared_;
  Subscription sub_;
  std::shared_ptr<Link> link_;
  WallTime epoch_;  // a wall clock that only goes forward: epoch_ + (now - started_)
  Instant started_;
  std::unordered_map<Seq, Flight> flights_;
  std::deque<Ready> ahead_;  // passed the filter, not claimed yet
  std::size_t ahead_bytes_ = 0;
  Seq looked_ = 0;  // everything below was looked at
  bool caught_up_ = false, reading_ = false, pumping_ = false;
  std::map<std::uint64_t, std::set<Seq>> keys_;  // ByKey: unfinished events
  std::set<Seq> queued_;                         // held with Phase::Queued
  std::set<Seq> runnable_;                       // of those: the oldest of their keys
  std::uint64_t turns_ = 0;
  std::size_t held_seen_ = 0;
  io::Loop::Scope reader_;
  io::Loop::Timer due_;
  DispatcherStats counts_;
};

}  // namespace knit::events
