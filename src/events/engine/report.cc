// What the engine tells people: counts, traces, parked events, replays.
#include <algorithm>

#include "events/engine/engine.h"

namespace knit::events {
namespace {

constexpr std::size_t kScanRecords = 256;
constexpr std::size_t kScanBytes = 1 << 20;
constexpr std::size_t kMaxFound = 100;     // events of one id
constexpr std::size_t kMaxParked = 1'000;  // listed
constexpr std::size_t kMaxReplays = 16;    // of one stream at a time

Json number(std::uint64_t n) { return Json(static_cast<std::int64_t>(n)); }
std::string_view kind_of(StreamKind kind) {
  return kind == StreamKind::Broker ? "broker" : "channel";
}

Json context_of(const Event& event) {
  Json out = JsonObject();
  json::set(out, {"id"}, Json(event.id));
  json::set(out, {"source"}, Json(event.source));
  json::set(out, {"type"}, Json(event.type));
  if (!event.subject.empty()) json::set(out, {"subject"}, Json(event.subject));
  return out;
}

bool names(const Subscription& s, const std::string& text) {
  return s.name == text || s.label == text;
}

/// How one event stands with one subscriber.
Json state_of(const Cursor* cursor, Seq seq) {
  Json out = JsonObject();
  if (cursor == nullptr) return out;
  if (const Held* held = cursor->find_held(seq)) {
    json::set(out, {"state"}, Json(held->hold == Hold::Parked ? "parked" : "waiting"));
    json::set(out, {"attempts"}, number(held->attempts));
    if (held->due != kNever) json::set(out, {"due"}, Json(rfc3339_fraction(held->due, 6)));
  } else {
    json::set(out, {"state"}, Json(seq < cursor->low() ? "finished" : "under way"));
  }
  return out;
}

}  // namespace

Json Engine::overview() {
  JsonArray streams;
  for (auto& [name, entry] : streams_) {
    end_replays(entry);
    const StreamStats stats = entry.hub->stream().stats();
    Json out = JsonObject();
    json::set(out, {"kind"}, Json(kind_of(entry.key.kind)));
    json::set(out, {"namespace"}, Json(entry.key.ns));
    json::set(out, {"name"}, Json(entry.key.name));
    json::set(out, {"first"}, number(stats.first));
    json::set(out, {"next"}, number(stats.next));
    json::set(out, {"bytes"}, number(stats.bytes));
    json::set(out, {"refused"}, number(stats.refused));
    json::set(out, {"expired"}, number(stats.expired));
    JsonArray subscribers;
    for (const auto& [uid, d] : entry.hub->stats()) {
      const Dispatcher* dispatcher = entry.hub->find(uid);
      Json s = JsonObject();
      json::set(s, {"uid"}, Json(uid));
      json::set(s, {"label"}, Json(dispatcher->subscription().label));
      json::set(s, {"url"}, Json(dispatcher->subscription().subscriber.url));
      const std::pair<std::string_view, std::uint64_t> counts[] = {
          {"delivered", d.delivered},
          {"deadLettered", d.dead_lettered},
          {"undeliverable", d.undeliverable},
          {"attempts", d.attempts},
          {"failures", d.failures},
          {"replies", d.replies},
          {"damaged", d.damaged},
          {"inFlight", d.in_flight},
          {"waiting", d.waiting},
          {"parked", d.parked},
          {"lag", d.lag},
      };
      for (const auto& [key, n] : counts) json::set(s, {key}, number(n));
      subscribers.push_back(std::move(s));
    }
    json::set(out, {"subscribers"}, std::move(subscribers));
    streams.push_back(std::move(out));
  }
  Json out = JsonObject();
  json::set(out, {"accepted"}, number(stats_.accepted));
  json::set(out, {"refused"}, number(stats_.refused));
  json::set(out, {"streams"}, std::move(streams));
  return out;
}

Json Engine::describe(const Entry& entry, const Record& record, const StoredEvent& event) {
  const std::string stream =
      std::string(kind_of(entry.key.kind)) + " " + entry.key.ns + "/" + entry.key.name;
  Json out = JsonObject();
  json::set(out, {"stream"}, Json(stream));
  json::set(out, {"seq"}, number(record.seq));
  json::set(out, {"accepted"}, Json(rfc3339_fraction(record.time, 6)));
  json::set(out, {"event"}, context_of(event.event));
  const Tracer::Entry* traced = tracer_.find(stream, record.seq);
  JsonArray subscribers;
  const auto add = [&](const Subscription& s) {
    const bool passes = !s.filter || s.filter->matches(event.event);
    Json one = JsonObject();
    if (passes) one = state_of(entry.hub->stream().find(s.name), record.seq);
    json::set(one, {"uid"}, Json(s.name));
    json::set(one, {"label"}, Json(s.label));
    json::set(one, {"url"}, Json(s.subscriber.url));
    json::set(one, {"filter"}, Json(passes));
    JsonArray steps;
    for (const auto& taken : traced == nullptr ? std::vector<Tracer::Taken>() : traced->steps) {
      if (taken.step.subscriber != s.name) continue;
      Json step = JsonObject();
      json::set(step, {"at"}, Json(rfc3339_fraction(taken.at, 6)));
      json::set(step, {"what"}, Json(to_string(taken.step.what)));
      if (taken.step.attempt != 0) json::set(step, {"attempt"}, number(taken.step.attempt));
      if (taken.step.status != 0) json::set(step, {"status"}, Json(taken.step.status));
      if (!taken.step.text.empty()) json::set(step, {"text"}, Json(taken.step.text));
      steps.push_back(std::move(step));
    }
    json::set(one, {"steps"}, std::move(steps));
    subscribers.push_back(std::move(one));
  };
  for (const Subscription& s : entry.subscriptions) add(s);
  for (const Subscription& s : entry.replays) {
    if (s.from.value_or(0) <= record.seq && record.seq < s.until) add(s);
  }
  json::set(out, {"subscribers"}, std::move(subscribers));
  return out;
}

io::Task<Json> Engine::trace(std::string id) {
  // What memory knows says where to look; an id that it does not know is looked for everywhere.
  std::map<Name, std::set<Seq>> where;
  for (const Tracer::Entry* e : tracer_.find(id)) {
    for (const auto& [name, entry] : streams_) {
      const std::string stream =
          std::string(kind_of(entry.key.kind)) + " " + entry.key.ns + "/" + entry.key.name;
      if (stream == e->stream) where[name].insert(e->seq);
    }
  }
  JsonArray found;
  const bool known = !where.empty();
  std::vector<Name> order;
  for (const auto& [name, entry] : streams_) order.push_back(name);
  for (const Name& name : order) {
    if (known && !where.contains(name)) continue;
    Seq next = known ? *where.at(name).begin() : 0;
    const Seq last = known ? *where.at(name).rbegin() + 1 : UINT64_MAX;
    while (found.size() < kMaxFound) {
      auto it = streams_.find(name);  // a broker may go while we read
      if (it == streams_.end() || next >= std::min(last, it->second.hub->stream().next())) break;
      const auto read = co_await it->second.hub->stream().read(next, kScanRecords, kScanBytes);
      it = streams_.find(name);
      if (!read || it == streams_.end() || read->next <= next) break;
      for (const Record& record : read->records) {
        if (record.payload->find(id) == std::string::npos) continue;
        const auto event = codec::decode<StoredEvent>(*record.payload);
        if (!event || event->event.id != id || found.size() >= kMaxFound) continue;
        found.push_back(describe(it->second, record, *event));
      }
      next = read->next;
    }
  }
  Json out = JsonObject();
  json::set(out, {"id"}, Json(id));
  json::set(out, {"events"}, std::move(found));
  co_return out;
}

io::Task<Result<Json>> Engine::recent(StreamKind kind, std::string ns, std::string name, Seq from,
                                      std::size_t limit) {
  const Name key(kind, ns, name);
  auto it = streams_.find(key);
  if (it == streams_.end()) co_return Error(Code::NotFound, "no such stream: " + ns + "/" + name);
  const Seq end = it->second.hub->stream().next();
  if (from == UINT64_MAX) from = end > limit ? end - limit : 0;
  const auto read = co_await it->second.hub->stream().read(from, limit, 4 * kScanBytes);
  it = streams_.find(key);
  if (!read) co_return Error(read.error());
  if (it == streams_.end()) co_return Error(Code::NotFound, "the stream was removed");
  JsonArray events;
  for (const Record& record : read->records) {
    const auto event = codec::decode<StoredEvent>(*record.payload);
    if (event) events.push_back(describe(it->second, record, *event));
  }
  Json out = JsonObject();
  json::set(out, {"next"}, number(std::max(from, read->next)));
  json::set(out, {"events"}, std::move(events));
  co_return out;
}

io::Task<Json> Engine::parked() {
  struct Found {
    Name stream;
    std::string uid, label, url;
    Held held;
  };
  std::vector<Found> all;
  for (auto& [name, entry] : streams_) {
    for (const Subscription& s : entry.subscriptions) {
      const Cursor* cursor = entry.hub->stream().find(s.name);
      if (cursor == nullptr) continue;
      for (const Held& held : cursor->held()) {
        if (held.hold != Hold::Parked || all.size() >= kMaxParked) continue;
        all.push_back({name, s.name, s.label, s.dead_letter ? s.dead_letter->url : "", held});
      }
    }
  }
  JsonArray events;
  for (const Found& f : all) {
    Json out = JsonObject();
    json::set(out, {"stream"},
              Json(std::string(kind_of(std::get<0>(f.stream))) + " " + std::get<1>(f.stream) + "/" +
                   std::get<2>(f.stream)));
    json::set(out, {"seq"}, number(f.held.seq));
    json::set(out, {"uid"}, Json(f.uid));
    json::set(out, {"label"}, Json(f.label));
    json::set(out, {"deadLetterSink"}, Json(f.url));
    json::set(out, {"attempts"}, number(f.held.attempts));
    if (f.held.due != kNever) json::set(out, {"due"}, Json(rfc3339_fraction(f.held.due, 6)));
    const auto it = streams_.find(f.stream);
    if (it != streams_.end()) {
      const auto record = co_await it->second.hub->stream().read_one(f.held.seq);
      const auto event = record ? codec::decode<StoredEvent>(*record->payload)
                                : Result<StoredEvent>(record.error());
      if (event) json::set(out, {"event"}, context_of(event->event));
    }
    events.push_back(std::move(out));
  }
  Json out = JsonObject();
  json::set(out, {"events"}, std::move(events));
  co_return out;
}

std::size_t Engine::redrive(const std::string& subscriber) {
  std::size_t n = 0;
  for (auto& [name, entry] : streams_) {
    for (const Subscription& s : entry.subscriptions) {
      if (!subscriber.empty() && !names(s, subscriber)) continue;
      if (Dispatcher* d = entry.hub->find(s.name)) n += d->redrive();
    }
  }
  return n;
}

Result<Json> Engine::replay(StreamKind kind, const std::string& ns, const std::string& name,
                            const std::string& subscriber, Seq from) {
  const auto it = streams_.find(Name(kind, ns, name));
  if (it == streams_.end()) return Error(Code::NotFound, "no such stream: " + ns + "/" + name);
  Entry& entry = it->second;
  end_replays(entry);
  const auto s = std::find_if(entry.subscriptions.begin(), entry.subscriptions.end(),
                              [&](const Subscription& x) { return names(x, subscriber); });
  if (s == entry.subscriptions.end()) {
    return Error(Code::NotFound, "no subscriber \"" + subscriber + "\" there");
  }
  if (entry.replays.size() >= kMaxReplays) {
    return Error(Code::ResourceExhausted, "so many replays are under way already");
  }
  const Stream& stream = entry.hub->stream();
  Subscription again = *s;
  again.name = "replay-" + std::to_string(++replays_) + "-" + s->name;
  again.label = "replay of " + s->label;
  again.from = std::max(from, stream.first());
  again.until = stream.next();
  Json out = JsonObject();
  json::set(out, {"label"}, Json(again.label));
  json::set(out, {"from"}, number(*again.from));
  json::set(out, {"until"}, number(again.until));
  entry.replays.push_back(std::move(again));
  subscribe(entry);
  return out;
}

void Engine::end_replays(Entry& entry) {
  const auto through = [&](const Subscription& s) {
    const Cursor* cursor = entry.hub->stream().find(s.name);
    return cursor == nullptr || (cursor->low() >= s.until && cursor->in_flight() == 0 &&
                                 cursor->waiting() == 0 && cursor->parked() == 0);
  };
  const auto before = entry.replays.size();
  std::erase_if(entry.replays, through);
  if (entry.replays.size() != before) subscribe(entry);
}

/// Gives the hub what is subscribed now.
void Engine::subscribe(Entry& entry) {
  forget(entry);
  std::vector<Subscription> all = entry.subscriptions;
  all.insert(all.end(), entry.replays.begin(), entry.replays.end());
  const std::string stream =
      std::string(kind_of(entry.key.kind)) + " " + entry.key.ns + "/" + entry.key.name;
  for (const Subscription& s : all) {
    stream_of_[s.name] = stream;
    entry.known.push_back(s.name);
  }
  entry.hub->set_subscriptions(std::move(all));
}

void Engine::forget(Entry& entry) {
  for (const std::string& name : entry.known) stream_of_.erase(name);
  entry.known.clear();
}

}  // namespace knit::events
