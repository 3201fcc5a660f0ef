#include "events/delivery/dispatcher.h"

#include <algorithm>

#include "base/hash.h"

namespace knit::events {
namespace {

constexpr std::size_t kReadRecords = 64;
constexpr std::size_t kReadBytes = 256 << 10;
constexpr std::size_t kMaxAhead = 256;
constexpr std::size_t kMaxAheadBytes = 1 << 20;
constexpr std::size_t kFairHeld = 64 << 10;  // a subscriber may hold so much whatever others hold

std::uint64_t key_of(const Event& event) {
  const Extension* key = event.extension("partitionkey");
  return key == nullptr || key->value.empty() ? 0 : hash::fnv64a(key->value) | 1;
}

}  // namespace

struct Dispatcher::Link {
  Dispatcher* dispatcher = nullptr;
};

// Hands the task's value to `then` in a later turn of the loop, where the task may be destroyed.
template <class T, class F>
io::Task<void> Dispatcher::carry(io::Task<T> task, std::weak_ptr<Link> link, io::Loop* loop,
                                 F then) {
  auto value = std::make_shared<T>(co_await std::move(task));
  loop->post([value, link, then] {
    if (const auto alive = link.lock()) then(*alive->dispatcher, std::move(*value));
  });
}

Dispatcher::Dispatcher(io::Loop& loop, Stream& stream, Cursor& cursor, Sender& sender,
                       Shared& shared, Subscription subscription)
    : loop_(loop),
      stream_(stream),
      cursor_(cursor),
      sender_(sender),
      shared_(shared),
      sub_(std::move(subscription)),
      link_(std::make_shared<Link>(Link{this})),
      epoch_(loop.wall_now()),
      started_(loop.now()) {}

Dispatcher::~Dispatcher() {
  while (!flights_.empty()) {
    const Seq seq = flights_.begin()->first;
    Flight& flight = flights_.begin()->second;
    cursor_.hold({seq, Hold::Waiting, flight.attempts, now(), codec::encode(flight.note)});
    drop_flight(seq);
  }
  shared_.held_bytes -= held_seen_;
  stream_.touch();
}

void Dispatcher::start() {
  for (const Held& held : cursor_.held()) {
    const Note note = codec::decode<Note>(held.note).value_or(Note{});
    if (note.key != 0) keys_[note.key].insert(held.seq);
    if (note.phase == Phase::Queued) queued_.insert(held.seq);
    // A clock that was set back while nobody looked must not make a retry wait for ever.
    if (held.due != kNever && held.due > now() + note.wait && cursor_.claim_held(held.seq)) {
      Held sooner = held;
      sooner.due = now() + note.wait;
      cursor_.hold(std::move(sooner));
    }
  }
  for (const auto& [key, waiting] : keys_) {
    if (queued_.contains(*waiting.begin())) runnable_.insert(*waiting.begin());
  }
  track_held();
  looked_ = cursor_.position();
  caught_up_ = false;
  pump();
}

void Dispatcher::update(Subscription subscription) {
  sub_ = std::move(subscription);
  pump();
}

void Dispatcher::track_held() {
  shared_.held_bytes += cursor_.held_bytes();
  shared_.held_bytes -= held_seen_;
  held_seen_ = cursor_.held_bytes();
}

bool Dispatcher::room() const {
  const std::size_t limit = sub_.policy.order == Order::Ordered ? 1 : sub_.max_in_flight;
  return flights_.size() < limit &&
         (flights_.empty() || shared_.flight_bytes < shared_.max_flight_bytes);
}

// Whether an event that was never tried may be: what is held must stay within memory, and order may
// ask that what came before is finished.
bool Dispatcher::may_claim() const {
  if (!room()) return false;
  if (sub_.policy.order == Order::Ordered && (cursor_.in_flight() > 0 || held_seen_ > 0)) {
    return false;
  }
  return held_seen_ < kFairHeld || shared_.held_bytes < shared_.max_held_bytes;
}

void Dispatcher::offer(Seq seq, const std::shared_ptr<const StoredEvent>& event,
                       std::size_t bytes) {
  if (!caught_up_ || seq < looked_ || seq >= sub_.until) return;
  if (ahead_.size() >= kMaxAhead || ahead_bytes_ + bytes > kMaxAheadBytes) {
    caught_up_ = false;  // the log keeps it
    looked_ = seq;
    return;
  }
  ahead_.push_back({seq, event, bytes});
  ahead_bytes_ += bytes;
  looked_ = seq + 1;
}

void Dispatcher::settle(Seq next) {
  if (!caught_up_) return;
  looked_ = std::max(looked_, next);
  if (ahead_.empty()) cursor_.skip_to(looked_);
}

void Dispatcher::pump() {
  if (pumping_) return;
  pumping_ = true;
  bool more = true;
  while (more) {
    more = false;
    while (room()) {
      const auto due = cursor_.due(now(), 1);
      if (due.empty()) break;
      begin_held(due.front());
    }
    if (!runnable_.empty() && room()) more = start_queued();
    while (!ahead_.empty() && may_claim()) {
      Ready ready = std::move(ahead_.front());
      ahead_.pop_front();
      ahead_bytes_ -= ready.bytes;
      begin(std::move(ready));
      more = !runnable_.empty();
    }
    if (ahead_.empty() && !caught_up_ && !reading_) {
      cursor_.skip_to(looked_);
      looked_ = std::max(looked_, cursor_.position());
      if (looked_ >= stream_.next()) {
        caught_up_ = true;
        more = !runnable_.empty();
      } else if (may_claim()) {
        read_more();
      }
    }
  }
  pumping_ = false;
  arm();
}

void Dispatcher::arm() {
  due_.cancel();
  if (!room()) return;
  if (const auto next = cursor_.next_due()) {
    due_ = loop_.after(std::max(Duration(0), *next - now()), [this] { pump(); });
  }
}

void Dispatcher::read_more() {
  reading_ = true;
  const auto then = [](Dispatcher& d, Result<ReadResult> result) { d.looked(std::move(result)); };
  reader_ = loop_.spawn_scoped(
      carry(stream_.read(looked_, kReadRecords, kReadBytes), link_, &loop_, then));
}

void Dispatcher::looked(Result<ReadResult> result) {
  reading_ = false;
  if (!result) {  // the disk; it may come back
    due_ = loop_.after(std::chrono::seconds(1), [this] { pump(); });
    return;
  }
  for (const Record& record : result->records) {
    auto event = codec::decode<StoredEvent>(*record.payload);
    if (!event) {
      ++counts_.damaged;
      step(record.seq, Step::What::Damaged, 0, 0, event.error().message());
      continue;
    }
    if (record.seq >= sub_.until) continue;
    if (sub_.filter && !sub_.filter->matches(event->event)) continue;
    ahead_.push_back({record.seq, std::make_shared<const StoredEvent>(std::move(*event)),
                      record.payload->size()});
    ahead_bytes_ += record.payload->size();
  }
  looked_ = result->next;
  pump();
}

void Dispatcher::begin(Ready ready) {
  if (!cursor_.claim(ready.seq)) return;  // finished or held before a restart
  Flight flight;
  flight.event = std::move(ready.event);
  flight.bytes = ready.bytes;
  if (sub_.policy.order == Order::ByKey) flight.note.key = key_of(flight.event->event);
  if (const std::uint64_t key = flight.note.key; key != 0) {
    auto& waiting = keys_[key];
    waiting.insert(ready.seq);
    if (*waiting.begin() != ready.seq) {  // somebody of that key is not finished
      flight.note.phase = Phase::Queued;
      cursor_.hold({ready.seq, Hold::Waiting, 0, kNever, codec::encode(flight.note)});
      queued_.insert(ready.seq);
      stream_.touch();
      return track_held();
    }
  }
  shared_.flight_bytes += flight.bytes;
  launch(ready.seq, flights_.emplace(ready.seq, std::move(flight)).first->second);
}

// Starts one queued event that is the oldest of its key, now that nothing older can turn up.
bool Dispatcher::start_queued() {
  for (const Seq seq : runnable_) {
    if (seq >= cursor_.position()) break;
    const Held* held = cursor_.find_held(seq);
    const Note note = held == nullptr ? Note{} : codec::decode<Note>(held->note).value_or(Note{});
    const auto key = keys_.find(note.key);
    if (note.key != 0 && key != keys_.end() && *key->second.begin() != seq) continue;
    begin_held(seq);
    return true;
  }
  return false;
}

void Dispatcher::begin_held(Seq seq) {
  const auto held = cursor_.claim_held(seq);
  queued_.erase(seq);
  runnable_.erase(seq);
  if (!held) return;
  Flight flight;
  flight.note = codec::decode<Note>(held->note).value_or(Note{});
  if (flight.note.phase == Phase::Queued || flight.note.phase == Phase::Reply) {
    flight.note.phase = Phase::Subscriber;
  }
  flight.attempts = held->attempts;
  flight.turn = ++turns_;
  const auto then = [seq, turn = flight.turn](Dispatcher& d, Result<Record> record) {
    d.loaded(seq, turn, std::move(record));
  };
  Flight& placed = flights_.emplace(seq, std::move(flight)).first->second;
  placed.scope = loop_.spawn_scoped(carry(stream_.read_one(seq), link_, &loop_, then));
}

void Dispatcher::loaded(Seq seq, std::uint64_t turn, Result<Record> record) {
  const auto it = flights_.find(seq);
  if (it == flights_.end() || it->second.turn != turn) return;
  Flight& flight = it->second;
  if (!record && record.error().code() != Code::NotFound) {  // the disk; it may come back
    return hold(seq, Hold::Waiting, std::chrono::seconds(1));
  }
  auto event = record ? codec::decode<StoredEvent>(*record->payload)
                      : Result<StoredEvent>(std::move(record).error());
  if (!event) {
    ++counts_.damaged;
    return finish(seq, Step::What::Damaged);
  }
  flight.event = std::make_shared<const StoredEvent>(std::move(*event));
  flight.bytes = record->payload->size();
  shared_.flight_bytes += flight.bytes;
  launch(seq, flight);
}

void Dispatcher::launch(Seq seq, Flight& flight) {
  flight.turn = ++turns_;
  const auto then = [seq, turn = flight.turn](Dispatcher& d, Answer answer) {
    d.answered(seq, turn, std::move(answer));
  };
  OutMessage message;
  switch (flight.note.phase) {
    case Phase::Queued:
    case Phase::Subscriber:
      ++flight.attempts;
      ++counts_.attempts;
      message = subscriber_message(*flight.event, sub_.subscriber, sub_.policy.format, sub_.ns);
      break;
    case Phase::Reply:
      if (!sub_.reply_broker.empty()) {
        const auto to_answer = [seq, turn = flight.turn](Dispatcher& d, int status) {
          d.answered(seq, turn, {status, {}, {}, {}});
        };
        flight.scope = loop_.spawn_scoped(
            carry(shared_.reply(sub_.reply_broker, *flight.reply), link_, &loop_, to_answer));
        flight.timer.cancel();
        return;
      }
      if (!sub_.reply) return finish(seq, Step::What::Delivered);  // taken away meanwhile
      message = reply_message(*flight.reply, *sub_.reply, sub_.ns);
      break;
    case Phase::DeadLetter:
      if (!sub_.dead_letter) return finish(seq, Step::What::Undeliverable);  // taken away meanwhile
      message = dead_letter_message(*flight.event, flight.note.failure, *sub_.dead_letter,
                                    sub_.policy.format, sub_.ns);
      break;
  }
  flight.scope = loop_.spawn_scoped(carry(sender_.send(std::move(message)), link_, &loop_, then));
  flight.timer = loop_.after(sub_.policy.timeout, [this, seq, turn = flight.turn] {
    answered(seq, turn, {0, {}, {}, "no answer within " + go_duration(sub_.policy.timeout)});
  });
}

void Dispatcher::answered(Seq seq, std::uint64_t turn, Answer answer) {
  const auto it = flights_.find(seq);
  if (it == flights_.end() || it->second.turn != turn) return;
  Flight& flight = it->second;
  flight.scope.cancel();
  flight.timer.cancel();
  flight.turn = ++turns_;
  const auto what = flight.note.phase == Phase::Reply        ? Step::What::Reply
                    : flight.note.phase == Phase::DeadLetter ? Step::What::DeadLetter
                                                             : Step::What::Attempt;
  step(seq, what, flight.attempts, answer.status, answer.error);
  switch (flight.note.phase) {
    case Phase::Queued:
    case Phase::Subscriber:
      subscriber_answered(seq, flight, answer);
      break;
    case Phase::Reply:
      reply_answered(seq, flight, answer);
      break;
    case Phase::DeadLetter:
      dead_letter_answered(seq, flight, answer);
      break;
  }
  pump();
}

void Dispatcher::subscriber_answered(Seq seq, Flight& flight, const Answer& answer) {
  Verdict verdict = judge(answer.status);
  Failure failure;
  if (verdict == Verdict::Delivered) {
    auto reply = reply_in(answer, sub_.strict_replies, *flight.event, sub_.limits);
    if (reply) {
      const bool wanted = *reply && (sub_.reply || !sub_.reply_broker.empty());
      if (!wanted) return finish(seq, Step::What::Delivered);
      ++counts_.replies;
      flight.reply = std::make_shared<const StoredEvent>(std::move(**reply));
      flight.note.phase = Phase::Reply;
      flight.note.tries = 0;
      return launch(seq, flight);
    }
    // As MT filter's 502.
    verdict = Verdict::Retry;
    failure = failure_of(sub_.subscriber.url, {502, {}, reply.error().message(), {}});
  } else {
    failure = failure_of(sub_.subscriber.url, answer);
  }
  ++counts_.failures;
  if (verdict == Verdict::Failed || ++flight.note.tries > sub_.policy.retry) {
    return to_dead_letter(seq, flight, std::move(failure));
  }
  flight.note.failure = std::move(failure);
  hold(seq, Hold::Waiting,
       wait_before(sub_.policy, flight.note.tries, answer.status, answer.headers.get("Retry-After"),
                   now()));
}

void Dispatcher::reply_answered(Seq seq, Flight& flight, const Answer& answer) {
  const Verdict verdict = judge(answer.status);
  if (verdict == Verdict::Delivered) return finish(seq, Step::What::Delivered);
  if (verdict == Verdict::Failed || ++flight.note.tries > sub_.policy.retry) {
    const std::string url = sub_.reply ? sub_.reply->url : sub_.reply_broker;
    return to_dead_letter(seq, flight, failure_of(url, answer));
  }
  // Waited for in memory: the subscriber has done its part. A crash has it do that again.
  const Duration wait = wait_before(sub_.policy, flight.note.tries, answer.status,
                                    answer.headers.get("Retry-After"), now());
  flight.timer = loop_.after(std::max<Duration>(wait, std::chrono::milliseconds(10)),
                             [this, seq, turn = flight.turn] {
                               const auto it = flights_.find(seq);
                               if (it == flights_.end() || it->second.turn != turn) return;
                               launch(seq, it->second);
                             });
}

void Dispatcher::to_dead_letter(Seq seq, Flight& flight, Failure failure) {
  if (!sub_.dead_letter) return finish(seq, Step::What::Undeliverable);
  flight.note.phase = Phase::DeadLetter;
  flight.note.tries = 0;
  flight.note.failure = std::move(failure);
  flight.reply.reset();
  launch(seq, flight);
}

void Dispatcher::dead_letter_answered(Seq seq, Flight& flight, const Answer& answer) {
  const Verdict verdict = judge(answer.status);
  if (verdict == Verdict::Delivered) return finish(seq, Step::What::DeadLettered);
  if (verdict == Verdict::Retry && ++flight.note.tries <= sub_.policy.retry) {
    return hold(seq, Hold::Waiting,
                wait_before(sub_.policy, flight.note.tries, answer.status,
                            answer.headers.get("Retry-After"), now()));
  }
  // DIFFERS: upstream loses the event here.
  flight.note.tries = 0;
  ++flight.note.parks;
  step(seq, Step::What::Parked, flight.attempts, answer.status, answer.error);
  hold(seq, Hold::Parked, park_time(flight.note.parks));
}

void Dispatcher::hold(Seq seq, Hold how, Duration wait) {
  Flight& flight = flights_.at(seq);
  flight.note.wait = wait;
  if (how == Hold::Waiting) {
    step(seq, Step::What::Waiting, flight.attempts, 0, go_duration(wait));
  }
  cursor_.hold({seq, how, flight.attempts, now() + wait, codec::encode(flight.note)});
  drop_flight(seq);
  track_held();
  stream_.touch();
}

void Dispatcher::finish(Seq seq, Step::What what) {
  const Flight& flight = flights_.at(seq);
  const std::uint64_t key = flight.note.key;
  switch (what) {
    case Step::What::Delivered:
      ++counts_.delivered;
      break;
    case Step::What::DeadLettered:
      ++counts_.dead_lettered;
      break;
    case Step::What::Undeliverable:
      ++counts_.undeliverable;
      break;
    default:
      break;
  }
  step(seq, what, flight.attempts, 0, {});
  cursor_.done(seq);
  drop_flight(seq);
  if (key != 0) release_key(key, seq);
  track_held();
  stream_.touch();
}

void Dispatcher::drop_flight(Seq seq) {
  const auto it = flights_.find(seq);
  shared_.flight_bytes -= it->second.bytes;
  flights_.erase(it);
}

void Dispatcher::release_key(std::uint64_t key, Seq seq) {
  const auto it = keys_.find(key);
  if (it == keys_.end()) return;
  it->second.erase(seq);
  if (it->second.empty()) {
    keys_.erase(it);
  } else if (queued_.contains(*it->second.begin())) {
    runnable_.insert(*it->second.begin());
  }
}

std::size_t Dispatcher::redrive() {
  std::size_t n = 0;
  for (const Held& held : cursor_.held()) {
    if (held.hold != Hold::Parked || !cursor_.claim_held(held.seq)) continue;
    Held again = held;
    again.hold = Hold::Waiting;
    again.due = now();
    cursor_.hold(std::move(again));
    ++n;
  }
  stream_.touch();
  pump();
  return n;
}

void Dispatcher::step(Seq seq, Step::What what, std::uint32_t attempt, int status,
                      std::string text) const {
  if (!shared_.observe) return;
  shared_.observe({sub_.name, seq, what, attempt, status, std::move(text)});
}

DispatcherStats Dispatcher::stats() const {
  DispatcherStats out = counts_;
  out.in_flight = flights_.size();
  out.waiting = cursor_.waiting();
  out.parked = cursor_.parked();
  out.lag = stream_.next() - std::min(stream_.next(), cursor_.needed());
  return out;
}

}  // namespace knit::events
