#include "events/log/stream.h"

#include <algorithm>

#include "base/log.h"
#include "events/log/stream_core.h"

namespace knit::events {
namespace {

constexpr std::string_view kLogModule = "events";

Error closed() { return Error(Code::Unavailable, "the event log is closed"); }

template <class T>
struct Waiter {
  io::Event event;
  std::optional<T> result;
};

}  // namespace

// Repair if the turn before failed, then one write and at most one sync.
struct Stream::Core::Job {
  std::shared_ptr<LogDisk> disk;
  std::string directory;
  std::shared_ptr<LogFile> file;
  std::uint64_t offset = 0;
  std::string bytes;
  bool sync = false;
  bool repair = false;
  std::vector<Seq> leftovers;  // half-made segments to remove first
  std::optional<Seq> roll;     // a new segment that starts here
  Result<void> result;
  bool repaired = false;

  // Back on the loop:
  std::vector<Append> appends;
  std::vector<std::size_t> offsets;  // of the events in `bytes`
  std::vector<KeptAt> kept;          // their offsets within `bytes`
  WallTime time;
  std::uint32_t seed = 0;
  std::uint64_t base = 0;  // where a new segment's own records start
  std::vector<std::function<void(Result<void>)>> flushes;

  Result<void> run() {
    if (repair) {
      for (const Seq first : leftovers) {
        KNIT_TRY_VOID(disk->remove(directory + "/" + segment_name(first)));
      }
      if (!leftovers.empty()) KNIT_TRY_VOID(disk->sync_directory(directory));
      KNIT_TRY_VOID(file->truncate(offset));
      KNIT_TRY_VOID(file->sync());
      repaired = true;
    }
    if (roll) {
      KNIT_TRY(file, create_segment(*disk, directory, *roll, bytes));
      return {};
    }
    if (!bytes.empty()) KNIT_TRY_VOID(file->write(offset, bytes));
    if (sync) KNIT_TRY_VOID(file->sync());
    return {};
  }
};

void Stream::Core::schedule() {
  if (flushing || posted) return;
  posted = true;
  loop.post([weak = weak_from_this()] {
    if (const auto self = weak.lock()) {
      self->posted = false;
      self->kick();
    }
  });
}

bool Stream::Core::dirty() const {
  return needs_checkpoint || !operations.empty() || !keeping.empty() ||
         std::any_of(cursors.begin(), cursors.end(),
                     [](const auto& c) { return c.second->dirty(); });
}

std::pair<Checkpoint, std::vector<CursorState>> Stream::Core::take_checkpoint() {
  std::pair<Checkpoint, std::vector<CursorState>> out;
  out.first = {next_id, static_cast<std::uint32_t>(cursors.size()), {}, next};
  for (const auto& [seq, where] : kept) out.first.kept.push_back(where);
  for (auto& [n, c] : cursors) {
    c->take_progress();  // the checkpoint says it
    out.second.push_back(c->state());
  }
  operations.clear();
  needs_checkpoint = false;
  return out;
}

void Stream::Core::put_state(Job& job) {
  if (needs_checkpoint) {
    const auto [head, states] = take_checkpoint();
    put_checkpoint(job.bytes, job.seed, head, states);
  }
  for (const auto& [kind, body] : operations) {
    for (int copy = 0; copy < 2; ++copy) put_record(job.bytes, job.seed, kind, body);
  }
  operations.clear();
  for (auto& [n, c] : cursors) {
    if (c->dirty()) {
      put_record(job.bytes, job.seed, Kind::Progress, codec::encode(c->take_progress()));
    }
  }
}

void Stream::Core::add_operation(Kind kind, const SubscribeRecord& record) {
  operations.emplace_back(kind, codec::encode(record));
}

// Segments are named by their first number, so two of them need one between them.
void Stream::Core::burn_number() {
  for (auto& [n, c] : cursors) {
    if (c->position() == next) c->skip_to(next + 1);
  }
  ++next;
  tail.clear();
  tail_bytes = 0;
}

void Stream::Core::kick() {
  if (flushing) return;
  if (pending.empty() && flushes.empty() && !dirty()) return;
  auto job = std::make_shared<Job>();
  job->disk = disk;
  job->directory = directory;
  job->file = segments.back().file;
  job->offset = segments.back().size;
  job->repair = needs_repair;
  job->leftovers = leftovers;
  job->flushes = std::exchange(flushes, {});
  std::size_t size = 0;
  for (const Record& r : keeping) size += r.payload->size() + kFrameBytes + kEventHeadBytes;
  while (!pending.empty() && (job->appends.empty() || size < options.max_batch_bytes)) {
    size += pending.front().payload.size() + kFrameBytes + kEventHeadBytes;
    job->appends.push_back(std::move(pending.front()));
    pending.pop_front();
  }
  job->time = std::max(last_time, loop.wall_now());  // a clock set back does not reorder
  const Segment& active = segments.back();
  if (active.size > active.base && active.size - active.base + size > options.segment_bytes) {
    if (next == active.first) burn_number();  // a segment of state only
    job->roll = next;
    const auto [head, states] = take_checkpoint();
    job->bytes =
        segment_start({SegmentHeader().magic, name, next, job->time}, head, states, job->seed);
    job->base = job->bytes.size();
  } else {
    job->seed = segments.back().seed;
    job->bytes.reserve(size + 512);
    put_state(*job);
  }
  job->bytes.reserve(job->bytes.size() + size);
  for (const Record& r : std::exchange(keeping, {})) {
    job->kept.push_back({r.seq, job->roll.value_or(segments.back().first), job->bytes.size()});
    put_event(job->bytes, job->seed, Kind::Kept, r.seq, r.time, *r.payload);
  }
  Seq seq = next;
  job->offsets.reserve(job->appends.size());
  for (const Append& a : job->appends) {
    job->offsets.push_back(job->bytes.size());
    put_event(job->bytes, job->seed, Kind::Event, seq++, job->time, a.payload);
  }
  // What is kept must be on the disk before its old place goes.
  job->sync =
      (options.sync && !job->appends.empty()) || !job->flushes.empty() || !job->kept.empty();
  flushing = true;
  loop.offload([job] { job->result = job->run(); },
               [job, weak = weak_from_this()] {
                 if (const auto self = weak.lock()) return self->finished(*job);
                 for (auto& a : job->appends) a.done(closed());
                 for (auto& f : job->flushes) f(closed());
               });
}

void Stream::Core::finished(Job& job) {
  if (job.repaired) {
    needs_repair = false;
    leftovers.clear();
  }
  for (const Append& a : job.appends) pending_bytes -= a.payload.size();
  flushing = false;
  if (!job.result) {
    fail(job);
  } else {
    succeed(job);
  }
  if (!pending.empty() || !flushes.empty() || (job.result && dirty())) schedule();
}

void Stream::Core::fail(Job& job) {
  ++counts.failed_writes;
  if (!needs_repair) {  // the first in a row
    KNIT_LOG(Error, "the event log was not written", KV("stream", name),
             KV("error", job.result.error().message()));
  }
  needs_repair = true;
  needs_checkpoint = true;
  if (job.roll) leftovers.push_back(*job.roll);
  const Error error(Code::Unavailable,
                    "the event log cannot be written: " + job.result.error().message());
  later = loop.after(std::chrono::seconds(1), [this] { schedule(); });
  for (auto& a : job.appends) a.done(error);
  for (auto& f : job.flushes) f(error);
}

void Stream::Core::succeed(Job& job) {
  ++counts.batches;
  if (job.roll) {
    sealed_bytes += segments.back().size;
    Segment& full = segments.back();
    const Seq first = full.first;
    std::shared_ptr<LogFile> file = std::move(full.file);
    segments.push_back({*job.roll, job.time, 0, job.seed, job.base, job.base, {}, job.file});
    opened(first, std::move(file));
  }
  Segment& segment = segments.back();
  const std::uint64_t base = segment.size;
  segment.size += job.bytes.size();
  if (job.sync || job.roll) {
    ++counts.syncs;
    unsynced = false;
  } else if (!job.bytes.empty() && !unsynced) {
    unsynced = true;
    later = loop.after(options.state_sync, [this] {
      if (!unsynced) return;
      flushes.emplace_back([](const Result<void>&) {});
      schedule();
    });
  }
  last_time = job.time;
  for (KeptAt k : job.kept) {
    k.offset += base;
    kept[k.seq] = k;
  }
  for (std::size_t i = 0; i < job.appends.size(); ++i) {
    const std::uint64_t offset = base + job.offsets[i];
    if (segment.index.empty() || offset >= segment.index.back().second + kIndexEvery) {
      segment.index.emplace_back(next, offset);
    }
    auto payload = std::make_shared<const std::string>(std::move(job.appends[i].payload));
    tail_bytes += payload->size();
    tail.push_back({next, job.time, std::move(payload)});
    ++next;
  }
  while (tail_bytes > options.tail_bytes && tail.size() > 1) {
    tail_bytes -= tail.front().payload->size();
    tail.pop_front();
  }
  counts.appended += job.appends.size();
  if (job.roll || !job.kept.empty()) maintain();
  Seq seq = next - job.appends.size();
  for (auto& a : job.appends) a.done(seq++);
  for (auto& f : job.flushes) f({});
  if (!job.appends.empty() && appended) appended();
}

Stream::Stream(std::shared_ptr<Core> core) : core_(std::move(core)) {}
Stream::~Stream() {
  core_->later.cancel();
  core_->loop.post([appends = std::move(core_->pending), flushes = std::move(core_->flushes)] {
    for (const auto& a : appends) a.done(closed());
    for (const auto& f : flushes) f(closed());
  });
}

io::Task<Result<std::unique_ptr<Stream>>> Stream::open(io::Loop& loop,
                                                       std::shared_ptr<LogDisk> disk,
                                                       std::string directory, std::string name,
                                                       StreamOptions options) {
  auto core = std::make_shared<Core>(loop, disk, directory, name, options);
  const WallTime now = loop.wall_now();
  auto found = co_await io::blocking<Result<Recovered>>(
      loop, [disk, directory, name, now] { return recover(*disk, directory, name, now); });
  if (!found) co_return std::move(found).error().within("open the event log of " + name);
  core->segments = std::move(found->segments);
  core->next_id = found->next_id;
  core->next = found->next;
  core->last_time = found->last_time;
  core->kept = std::move(found->kept);
  core->counts.damaged = found->damaged_bytes;
  for (std::size_t i = 0; i + 1 < core->segments.size(); ++i) {
    core->sealed_bytes += core->segments[i].size;
  }
  for (Cursor& c : found->cursors) {
    const std::string key = c.name();
    core->cursors.emplace(key, std::make_unique<Cursor>(std::move(c)));
  }
  co_return std::unique_ptr<Stream>(new Stream(std::move(core)));
}

io::Task<Result<void>> Stream::remove(io::Loop& loop, std::shared_ptr<LogDisk> disk,
                                      std::string directory) {
  co_return co_await io::blocking<Result<void>>(
      loop, [disk, directory] { return disk->remove_directory(directory); });
}

const std::string& Stream::name() const { return core_->name; }
Seq Stream::first() const { return core_->segments.front().first; }
Seq Stream::next() const { return core_->next; }

void Stream::append(std::string payload, std::function<void(Result<Seq>)> done) {
  Core& c = *core_;
  const std::size_t limit = std::min(c.options.max_event_bytes, kMaxBody - kEventHeadBytes);
  if (payload.size() > limit) {
    ++c.counts.refused;
    return done(Error(Code::ResourceExhausted, "an event of " + std::to_string(payload.size()) +
                                                   " bytes is larger than the limit of " +
                                                   std::to_string(limit) + " bytes"));
  }
  if (c.pending_bytes + payload.size() > c.options.max_pending_bytes && c.pending_bytes > 0) {
    ++c.counts.refused;
    return done(Error(Code::Unavailable, "too many events wait for the disk"));
  }
  const std::uint64_t need = payload.size() + kFrameBytes + kEventHeadBytes;
  if (c.bytes() + c.pending_bytes + need > c.options.max_bytes) {
    ++c.counts.refused;
    return done(Error(Code::Unavailable, "the event log of " + c.name +
                                             " is full: " + std::to_string(c.bytes()) + " of " +
                                             std::to_string(c.options.max_bytes) + " bytes"));
  }
  c.pending_bytes += payload.size();
  c.pending.push_back({std::move(payload), std::move(done)});
  c.schedule();
}

io::Task<Result<Seq>> Stream::append(std::string payload) {
  auto waiter = std::make_shared<Waiter<Result<Seq>>>();
  append(std::move(payload), [waiter](Result<Seq> r) {
    waiter->result.emplace(std::move(r));
    waiter->event.set();
  });
  co_await waiter->event;
  co_return std::move(*waiter->result);
}

io::Task<Result<void>> Stream::flush() {
  auto waiter = std::make_shared<Waiter<Result<void>>>();
  core_->flushes.emplace_back([waiter](Result<void> r) {
    waiter->result.emplace(std::move(r));
    waiter->event.set();
  });
  core_->schedule();
  co_await waiter->event;
  co_return std::move(*waiter->result);
}

Cursor* Stream::subscribe(const std::string& name, Seq from) {
  if (Cursor* known = find(name)) return known;
  const std::uint32_t id = core_->next_id++;
  from = std::clamp(from, first(), next());
  auto cursor = std::make_unique<Cursor>(id, name, from);
  Cursor* out = cursor.get();
  core_->cursors.emplace(name, std::move(cursor));
  core_->add_operation(Kind::Subscribe, {id, name, from});
  core_->schedule();
  return out;
}

Cursor* Stream::find(const std::string& name) {
  const auto it = core_->cursors.find(name);
  return it == core_->cursors.end() ? nullptr : it->second.get();
}

void Stream::unsubscribe(const std::string& name) {
  const auto it = core_->cursors.find(name);
  if (it == core_->cursors.end()) return;
  core_->add_operation(Kind::Unsubscribe, {it->second->id(), name, 0});
  core_->cursors.erase(it);
  core_->schedule();
}

std::vector<Cursor*> Stream::cursors() {
  std::vector<Cursor*> out;
  for (auto& [name, cursor] : core_->cursors) out.push_back(cursor.get());
  return out;
}

void Stream::touch() { core_->schedule(); }
void Stream::on_appended(std::function<void()> callback) { core_->appended = std::move(callback); }
void Stream::set_options(StreamOptions options) { core_->options = options; }
void Stream::maintain() { core_->maintain(); }

StreamStats Stream::stats() const {
  StreamStats out = core_->counts;
  out.first = first();
  out.next = next();
  out.bytes = core_->bytes();
  out.segments = core_->segments.size();
  for (const Segment& s : core_->segments) out.index_entries += s.index.size();
  out.tail_bytes = core_->tail_bytes;
  out.kept = core_->kept.size();
  return out;
}

}  // namespace knit::events
