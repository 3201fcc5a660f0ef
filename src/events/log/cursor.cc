#include "events/log/cursor.h"

#include <algorithm>

namespace knit::events {

namespace {
constexpr std::size_t kHeldBytes = 160;  // of one held event, without its note
}  // namespace

Cursor::Cursor(std::uint32_t id, std::string name, Seq from)
    : id_(id), name_(std::move(name)), low_(from), position_(from) {}

Cursor::Cursor(CursorState state)
    : id_(state.id),
      name_(std::move(state.name)),
      low_(state.low),
      position_(state.low),
      number_(state.number) {
  for (auto& h : state.held) add_held(std::move(h));
  for (const Interval& i : state.finished) finish(i.from, i.to);
  advance();
}

void Cursor::index(const Item& item) {
  if (!item.in_flight && item.held.due != kNever) due_.emplace(item.held.due, item.held.seq);
}
void Cursor::unindex(const Item& item) { due_.erase({item.held.due, item.held.seq}); }

void Cursor::add_held(Held held) {
  const Seq seq = held.seq;
  if (const auto it = held_.find(seq); it != held_.end()) drop_held(it);
  if (held.note.size() > kMaxNote) held.note.resize(kMaxNote);
  if (held.hold == Hold::Parked) ++parked_;
  held_bytes_ += kHeldBytes + held.note.size();
  index(held_.emplace(seq, Item{std::move(held), false}).first->second);
}

bool Cursor::finished(Seq seq) const {
  if (seq < low_) return !held_.contains(seq);
  auto it = finished_.upper_bound(seq);
  return it != finished_.begin() && std::prev(it)->second > seq;
}

Seq Cursor::needed() const { return held_.empty() ? low_ : std::min(low_, held_.begin()->first); }

void Cursor::finish(Seq from, Seq to) {
  from = std::max(from, low_);
  if (from >= to) return;
  auto it = finished_.upper_bound(from);
  if (it != finished_.begin() && std::prev(it)->second >= from) {
    --it;
    from = it->first;
  }
  while (it != finished_.end() && it->first <= to) {
    to = std::max(to, it->second);
    it = finished_.erase(it);
  }
  finished_.emplace(from, to);
}

void Cursor::advance() {
  while (true) {
    if (!finished_.empty() && finished_.begin()->first <= low_) {
      low_ = std::max(low_, finished_.begin()->second);
      finished_.erase(finished_.begin());
    } else if (held_.contains(low_)) {
      ++low_;
    } else {
      break;
    }
  }
  position_ = std::max(position_, low_);
}

void Cursor::skip_to(Seq seq) {
  if (seq <= position_) return;
  for (Seq at = position_; at < seq;) {  // what is held or in flight stays so
    const auto held = held_.lower_bound(at);
    const Seq stop = held == held_.end() ? seq : std::min(seq, held->first);
    finish(at, stop);
    at = stop < seq ? stop + 1 : seq;
  }
  position_ = seq;
  advance();
}

bool Cursor::claim(Seq seq) {
  if (seq < position_) return false;
  skip_to(seq);
  position_ = std::max(position_, seq + 1);
  if (finished(seq) || held_.contains(seq)) {
    advance();
    return false;
  }
  first_tries_[seq] = true;
  return true;
}

std::optional<Held> Cursor::claim_held(Seq seq) {
  const auto it = held_.find(seq);
  if (it == held_.end() || it->second.in_flight) return std::nullopt;
  unindex(it->second);
  it->second.in_flight = true;
  ++retries_in_flight_;
  return it->second.held;
}

void Cursor::release(Seq seq) {
  if (const auto it = held_.find(seq); it != held_.end()) {
    if (!it->second.in_flight) return;
    it->second.in_flight = false;
    --retries_in_flight_;
    index(it->second);
    return;
  }
  if (first_tries_.erase(seq) == 0) return;
  // Looking starts again at the smallest event that nobody has; what is in flight beyond it is
  // not claimed twice, because it becomes held, waiting for now.
  Held again;
  again.seq = seq;
  add_held(again);
  touched_[seq] = true;
  advance();
}

void Cursor::drop_held(std::map<Seq, Item>::iterator it) {
  unindex(it->second);
  if (it->second.in_flight) --retries_in_flight_;
  if (it->second.held.hold == Hold::Parked) --parked_;
  held_bytes_ -= kHeldBytes + it->second.held.note.size();
  touched_.erase(it->first);
  held_.erase(it);
}

bool Cursor::done(Seq seq) {
  if (const auto it = held_.find(seq); it != held_.end()) {
    if (!it->second.in_flight) return false;
    drop_held(it);
  } else if (first_tries_.erase(seq) == 0) {
    return false;
  }
  if (!fresh_.empty() && fresh_.back().to == seq) {
    ++fresh_.back().to;
  } else {
    fresh_.push_back({seq, seq + 1});
  }
  finish(seq, seq + 1);
  advance();
  return true;
}

bool Cursor::hold(Held held) {
  const Seq seq = held.seq;
  if (const auto it = held_.find(seq); it != held_.end()) {
    if (!it->second.in_flight) return false;
  } else if (first_tries_.erase(seq) == 0) {
    return false;
  }
  add_held(std::move(held));
  touched_[seq] = true;
  advance();
  return true;
}

std::vector<Seq> Cursor::due(WallTime now, std::size_t limit) const {
  std::vector<Seq> out;
  for (const auto& [when, seq] : due_) {
    if (when > now || out.size() >= limit) break;
    out.push_back(seq);
  }
  return out;
}

std::optional<WallTime> Cursor::next_due() const {
  return due_.empty() ? std::nullopt : std::optional(due_.begin()->first);
}

std::size_t Cursor::redrive(WallTime now) {
  std::size_t n = 0;
  for (auto& [seq, item] : held_) {
    if (item.held.hold != Hold::Parked || item.in_flight) continue;
    unindex(item);
    item.held.hold = Hold::Waiting;
    item.held.due = now;
    item.held.attempts = 0;
    --parked_;
    index(item);
    touched_[seq] = true;
    ++n;
  }
  return n;
}

std::size_t Cursor::expire_below(Seq seq, const std::set<Seq>& kept) {
  std::size_t n = 0;
  for (auto it = held_.begin(); it != held_.end() && it->first < seq;) {
    const auto item = it++;
    if (kept.contains(item->first)) continue;
    fresh_.push_back({item->first, item->first + 1});
    drop_held(item);
    ++n;
  }
  while (!first_tries_.empty() && first_tries_.begin()->first < seq) {
    first_tries_.erase(first_tries_.begin());
    ++n;
  }
  if (seq > position_) n += seq - position_;
  for (Seq at = low_; at < seq;) {  // around what is kept
    const auto held = held_.lower_bound(at);
    const Seq stop = held == held_.end() ? seq : std::min(seq, held->first);
    if (at < stop) {
      fresh_.push_back({at, stop});
      finish(at, stop);
    }
    at = stop < seq ? stop + 1 : seq;
  }
  advance();
  return n;
}

std::vector<Seq> Cursor::held_in(Seq from, Seq to) const {
  std::vector<Seq> out;
  for (auto it = held_.lower_bound(from); it != held_.end() && it->first < to; ++it) {
    out.push_back(it->first);
  }
  return out;
}

const Held* Cursor::find_held(Seq seq) const {
  const auto it = held_.find(seq);
  return it == held_.end() ? nullptr : &it->second.held;
}
std::vector<Held> Cursor::held() const {
  std::vector<Held> out;
  out.reserve(held_.size());
  for (const auto& [seq, item] : held_) out.push_back(item.held);
  return out;
}

Progress Cursor::take_progress() {
  Progress out{id_, ++number_, low_, std::move(fresh_), {}};
  fresh_.clear();
  for (const auto& [seq, unused] : touched_) out.held.push_back(held_.at(seq).held);
  touched_.clear();
  return out;
}

CursorState Cursor::state() const {
  CursorState out{id_, name_, number_, low_, {}, held()};
  for (const auto& [from, to] : finished_) out.finished.push_back({from, to});
  return out;
}

void Cursor::apply(const Progress& progress) {
  if (progress.number <= number_) return;  // said by the state that it is applied to
  if (progress.number != number_ + 1) chained_ = false;
  number_ = progress.number;
  for (const Interval& i : progress.finished) {
    for (auto it = held_.lower_bound(i.from); it != held_.end() && it->first < i.to;) {
      drop_held(it++);
    }
    finish(i.from, i.to);
  }
  for (const Held& h : progress.held) add_held(h);
  if (chained_) finish(low_, progress.low);
  advance();
}

void Cursor::start_at(Seq first, const std::set<Seq>& kept) {
  expire_below(first, kept);
  fresh_.clear();
  touched_.clear();
  position_ = low_;
}

}  // namespace knit::events
