#include <algorithm>

#include "base/log.h"
#include "events/log/stream_core.h"

namespace knit::events {
namespace {

constexpr std::string_view kLogModule = "events";
constexpr std::size_t kOpenFiles = 4;  // sealed segments whose file stays open
constexpr Duration kLookAgain = std::chrono::seconds(30);

// What a reading turn of the pool needs of a segment.
struct Place {
  std::shared_ptr<LogDisk> disk;
  std::string path;
  std::shared_ptr<LogFile> file;
  std::uint64_t offset = 0, limit = 0;
  std::uint32_t seed = 0;
};

Result<void> open_place(Place& place) {
  if (!place.file) {
    KNIT_TRY(place.file, place.disk->open(place.path, LogDisk::Open::Existing));
  }
  return {};
}

}  // namespace

Segment* Stream::Core::segment_of(Seq first) {
  for (Segment& s : segments) {
    if (s.first == first) return &s;
  }
  return nullptr;
}

void Stream::Core::opened(Seq first, std::shared_ptr<LogFile> file) {
  Segment* segment = segment_of(first);
  if (segment == nullptr || segment == &segments.back()) return;
  segment->file = std::move(file);
  std::erase(open_files, first);
  open_files.push_back(first);
  while (open_files.size() > kOpenFiles) {
    if (Segment* old = segment_of(open_files.front())) old->file.reset();
    open_files.pop_front();
  }
}

io::Task<Result<ReadResult>> Stream::read(Seq from, std::size_t max_records,
                                          std::size_t max_bytes) {
  const std::shared_ptr<Core> c = core_;
  from = std::max(from, c->segments.front().first);
  ReadResult out;
  out.next = std::min(from, c->next);
  if (from >= c->next) co_return out;
  std::size_t size = 0;
  if (!c->tail.empty() && from >= c->tail.front().seq) {
    for (std::size_t i = from - c->tail.front().seq; i < c->tail.size(); ++i) {
      const Record& r = c->tail[i];
      size += r.payload->size();
      if (out.records.size() >= max_records || (size > max_bytes && !out.records.empty())) break;
      out.records.push_back(r);
    }
    out.next = out.records.back().seq + 1;
    co_return out;
  }
  auto segment = std::upper_bound(c->segments.begin(), c->segments.end(), from,
                                  [](Seq s, const Segment& g) { return s < g.first; });
  const Seq end = segment == c->segments.end() ? c->next : segment->first;
  --segment;
  struct Job {
    Place place;
    ReadResult found;
    std::vector<std::pair<Seq, std::uint64_t>> index;
    bool stopped = false;
  };
  const Seq first = segment->first;
  const bool indexed = !segment->index.empty();
  Place place{c->disk,        c->path_of(first), segment->file,
              segment->start, segment->size,     segment->seed};
  if (indexed) {
    const auto at = std::upper_bound(segment->index.begin(), segment->index.end(), from,
                                     [](Seq s, const auto& e) { return s < e.first; });
    if (at != segment->index.begin()) place.offset = std::prev(at)->second;
  }
  const auto work = [place, first, from, end, max_records, max_bytes, indexed]() -> Result<Job> {
    Job job;
    job.place = place;
    KNIT_TRY_VOID(open_place(job.place));
    std::size_t total = 0;
    Seq expected = first;
    const auto visit = [&](const RawRecord& r) {
      if (r.kind != Kind::Event) return true;
      Seq seq = 0;
      WallTime time;
      std::string_view payload;
      if (!split_event(r.body, seq, time, payload) || seq < expected) return true;
      if (seq >= end) return false;
      expected = seq + 1;
      if (!indexed && (job.index.empty() || r.offset >= job.index.back().second + kIndexEvery)) {
        job.index.emplace_back(seq, r.offset);
      }
      if (seq < from || job.stopped) return true;
      total += payload.size();
      if (job.found.records.size() >= max_records ||
          (total > max_bytes && !job.found.records.empty())) {
        job.stopped = true;
        return !indexed;  // the first read of a segment walks it whole, for its index
      }
      job.found.records.push_back({seq, time, std::make_shared<const std::string>(payload)});
      return true;
    };
    KNIT_TRY_VOID(scan(*job.place.file, place.offset, place.limit, place.seed, visit));
    return job;
  };
  auto done = co_await io::blocking<Result<Job>>(c->loop, work);
  if (!done && done.error().code() != Code::NotFound) {
    co_return std::move(done).error().within("read the event log of " + c->name);
  }
  Job job = done ? std::move(*done) : Job{};
  if (Segment* s = c->segment_of(first)) {  // it may have been removed meanwhile
    if (s->index.empty()) s->index = std::move(job.index);
    if (job.place.file) c->opened(first, std::move(job.place.file));
  }
  out = std::move(job.found);
  out.next = out.records.empty() ? from : out.records.back().seq + 1;
  if (!job.stopped && out.next < end) out.next = end;  // what is missing there is damaged or gone
  co_return out;
}

io::Task<Result<Record>> Stream::read_one(Seq seq) {
  const std::shared_ptr<Core> c = core_;
  const auto it = c->kept.find(seq);
  if (it == c->kept.end()) {
    auto found = co_await read(seq, 1, 0);
    if (!found) co_return std::move(found).error();
    if (!found->records.empty() && found->records.front().seq == seq) {
      co_return std::move(found->records.front());
    }
    co_return Error(Code::NotFound,
                    "event " + std::to_string(seq) + " of " + c->name + " is no longer in the log");
  }
  const KeptAt where = it->second;
  Place place{c->disk, c->path_of(where.segment), nullptr, where.offset, 0, 0};
  if (const Segment* s = c->segment_of(where.segment)) {
    place.file = s->file;
    place.seed = s->seed;
    place.limit = s->size;
  }
  const auto work = [place, seq, name = c->name]() mutable -> Result<Record> {
    KNIT_TRY_VOID(open_place(place));
    std::optional<Record> out;
    KNIT_TRY_VOID(scan(*place.file, place.offset, place.limit, place.seed, [&](const RawRecord& r) {
      Seq s = 0;
      WallTime time;
      std::string_view payload;
      if (r.kind == Kind::Kept && split_event(r.body, s, time, payload) && s == seq) {
        out = Record{s, time, std::make_shared<const std::string>(payload)};
      }
      return false;
    }));
    if (!out)
      return Error(Code::NotFound, "event " + std::to_string(seq) + " of " + name + " is damaged");
    return std::move(*out);
  };
  co_return co_await io::blocking<Result<Record>>(c->loop, work);
}

void Stream::Core::maintain() {
  if (removing || reading_held || !keeping.empty()) return;
  const WallTime now = std::max(last_time, loop.wall_now());
  std::vector<Seq> firsts;
  bool expired = false;
  while (segments.size() > 1) {
    const Segment& oldest = segments.front();
    const Seq end = segments[1].first;
    const Duration age = now - segments[1].created;  // of its youngest event, at most
    const bool expires = options.expire_age > Duration(0) && age >= options.expire_age;
    const bool retained = age < options.retain_age && bytes() <= options.retain_bytes;
    const bool unseen = std::any_of(cursors.begin(), cursors.end(),
                                    [&](const auto& c) { return c.second->low() < end; });
    if (!expires && (unseen || retained)) break;
    if (expires) {
      std::erase_if(kept, [&](const auto& k) { return k.second.segment == oldest.first; });
      std::set<Seq> elsewhere;
      for (const auto& [seq, where] : kept) elsewhere.insert(seq);
      for (auto& [n, c] : cursors) counts.expired += c->expire_below(end, elsewhere);
      expired = true;
    } else if (keep_held(oldest, end)) {
      break;
    }
    firsts.push_back(oldest.first);
    sealed_bytes -= oldest.size;
    std::erase(open_files, oldest.first);
    segments.erase(segments.begin());
  }
  while (!tail.empty() && tail.front().seq < segments.front().first) {
    tail_bytes -= tail.front().payload->size();
    tail.pop_front();
  }
  if (expired) schedule();
  if (!firsts.empty()) remove_segments(std::move(firsts));
}

// Whether the segment still has events that subscribers hold and that stand nowhere else. Starts to
// copy them to the newest segment when that frees more than half of it.
bool Stream::Core::keep_held(const Segment& oldest, Seq end) {
  std::map<Seq, std::uint64_t> wanted;  // -> offset of a Kept record, or 0
  std::set<Seq> held;
  for (const auto& [n, c] : cursors) {
    for (const Seq seq : c->held_in(0, end)) held.insert(seq);
  }
  std::erase_if(kept, [&](const auto& k) { return !held.contains(k.first); });
  for (const Seq seq : held) {
    const auto it = kept.find(seq);
    if (it == kept.end()) {
      wanted.emplace(seq, 0);
    } else if (it->second.segment == oldest.first) {
      wanted.emplace(seq, it->second.offset);
    }
  }
  if (wanted.empty()) return false;
  if (too_dense == oldest.first + 1 && loop.now() < dense_until) return true;
  reading_held = true;
  struct Job {
    Place place;
    std::map<Seq, std::uint64_t> wanted;
    std::vector<Record> found;
    bool dense = false;
    Result<void> result;
  };
  auto job = std::make_shared<Job>();
  job->place = {disk, path_of(oldest.first), oldest.file, oldest.start, oldest.size, oldest.seed};
  job->wanted = std::move(wanted);
  const auto work = [job] {
    job->result = open_place(job->place);
    if (!job->result) return;
    std::uint64_t total = 0;
    auto end_of =
        scan(*job->place.file, job->place.offset, job->place.limit, job->place.seed,
             [&](const RawRecord& r) {
               Seq seq = 0;
               WallTime time;
               std::string_view payload;
               if ((r.kind != Kind::Event && r.kind != Kind::Kept) ||
                   !split_event(r.body, seq, time, payload)) {
                 return true;
               }
               const auto it = job->wanted.find(seq);
               if (it == job->wanted.end()) return true;
               if (r.kind == Kind::Kept && it->second != r.offset) return true;
               total += payload.size();
               job->dense = total > job->place.limit / 2;
               job->found.push_back({seq, time, std::make_shared<const std::string>(payload)});
               job->wanted.erase(it);
               return !job->dense;
             });
    if (!end_of) job->result = std::move(end_of).error();
  };
  loop.offload(work, [job, first = oldest.first, weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self) return;
    self->reading_held = false;
    if (!job->result || job->dense) {
      self->too_dense = first + 1;
      self->dense_until = self->loop.now() + kLookAgain;
      return;
    }
    // What is damaged can be kept by nobody: readers are told when they ask for it.
    for (const auto& [seq, offset] : job->wanted) self->kept[seq] = {seq, UINT64_MAX, 0};
    self->keeping = std::move(job->found);
    if (self->keeping.empty()) return self->maintain();
    self->schedule();
  });
  return true;
}

void Stream::Core::remove_segments(std::vector<Seq> firsts) {
  removing = true;
  auto result = std::make_shared<Result<void>>();
  loop.offload(
      [d = disk, dir = directory, firsts, result] {
        for (const Seq first : firsts) {
          if (auto r = d->remove(dir + "/" + segment_name(first)); !r) *result = std::move(r);
        }
        if (auto r = d->sync_directory(dir); !r) *result = std::move(r);
      },
      [weak = weak_from_this(), result] {
        const auto self = weak.lock();
        if (!self) return;
        self->removing = false;
        if (!*result) {
          KNIT_LOG(Error, "old segments of the event log were not removed",
                   KV("stream", self->name), KV("error", result->error().message()));
        }
      });
}

}  // namespace knit::events
