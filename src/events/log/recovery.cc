#include "events/log/recovery.h"

#include <algorithm>

#include "base/log.h"

namespace knit::events {
namespace {

constexpr std::string_view kLogModule = "events";

// Applies the records of segments, in order.
class Replay {
 public:
  explicit Replay(Recovered& out) : out_(out) {}

  void enter(Segment& segment) {
    segment_ = &segment;
    next_ = std::max(next_, segment.first);
  }

  void operator()(const RawRecord& r) {
    if (r.kind != Kind::Subscriber) awaited_ = 0;  // a checkpoint that is not whole counts nothing
    switch (r.kind) {
      case Kind::Header:
      case Kind::Padding:
        return;
      case Kind::Checkpoint: {
        auto state = codec::decode<Checkpoint>(r.body);
        if (!state) return;
        pending_ = std::move(*state);
        arrived_.clear();
        awaited_ = pending_.cursors;
        if (awaited_ == 0) adopt();
        return;
      }
      case Kind::Subscriber: {
        auto state = codec::decode<CursorState>(r.body);
        if (!state || awaited_ == 0) return;
        mention(*state);
        const std::uint32_t id = state->id;
        arrived_.insert_or_assign(id, Cursor(std::move(*state)));
        if (--awaited_ == 0) adopt();
        return;
      }
      case Kind::Event: {
        Seq seq = 0;
        WallTime time;
        std::string_view payload;
        // Numbers may have gaps; one that went before is what a repaired write has left.
        if (!split_event(r.body, seq, time, payload) || seq < next_) return;
        next_ = seq + 1;
        out_.last_time = std::max(out_.last_time, time);
        auto& index = segment_->index;
        if (index.empty() || r.offset >= index.back().second + kIndexEvery) {
          index.emplace_back(seq, r.offset);
        }
        return;
      }
      case Kind::Kept: {
        Seq seq = 0;
        WallTime time;
        std::string_view payload;
        if (split_event(r.body, seq, time, payload)) {
          out_.kept[seq] = {seq, segment_->first, r.offset};
        }
        return;
      }
      case Kind::Progress: {
        const auto progress = codec::decode<Progress>(r.body);
        if (!progress) return;
        mentioned_ = std::max(mentioned_, progress->low);
        for (const Interval& i : progress->finished) mentioned_ = std::max(mentioned_, i.to);
        for (const Held& h : progress->held) mentioned_ = std::max(mentioned_, h.seq + 1);
        const auto it = cursors_.find(progress->id);
        if (it != cursors_.end()) it->second.apply(*progress);
        return;
      }
      case Kind::Subscribe: {
        const auto s = codec::decode<SubscribeRecord>(r.body);
        if (!s) return;
        cursors_.emplace(s->id, Cursor(s->id, s->name, s->from));
        out_.next_id = std::max(out_.next_id, s->id + 1);
        return;
      }
      case Kind::Unsubscribe: {
        const auto s = codec::decode<SubscribeRecord>(r.body);
        if (s) cursors_.erase(s->id);
        return;
      }
    }
    // A kind of a later version: its meaning is not needed to deliver events.
  }

  /// True when the records do not tell that numbers below out.next are given away.
  bool forgets() const { return std::max(next_, mentioned_) < out_.next; }

  void finish() {
    // A number that a subscriber has seen is never given to another event.
    out_.next = std::max({out_.next, next_, mentioned_});
    std::set<Seq> kept;
    for (const auto& [seq, where] : out_.kept) kept.insert(seq);
    for (auto& [id, cursor] : cursors_) {
      cursor.start_at(out_.segments.front().first, kept);
      out_.cursors.push_back(std::move(cursor));
    }
  }

 private:
  void mention(const CursorState& state) {
    mentioned_ = std::max(mentioned_, state.low);
    for (const Interval& i : state.finished) mentioned_ = std::max(mentioned_, i.to);
  }
  void adopt() {
    cursors_ = std::move(arrived_);
    arrived_.clear();
    out_.next_id = std::max(out_.next_id, pending_.next_id);
    mentioned_ = std::max(mentioned_, pending_.next);
    out_.kept.clear();
    for (const KeptAt& k : pending_.kept) out_.kept[k.seq] = k;
  }

  Recovered& out_;
  Segment* segment_ = nullptr;
  std::map<std::uint32_t, Cursor> cursors_, arrived_;
  Checkpoint pending_;
  std::uint32_t awaited_ = 0;
  Seq next_ = 0, mentioned_ = 0;
};

enum class Start { Whole, NoCheckpoint, Nothing };

// Whether the file starts as a segment must. A crash while it was made leaves less (Nothing),
// damage later may have taken both copies of the checkpoint (NoCheckpoint).
Result<Start> judge_start(const LogFile& file, const Segment& segment) {
  std::uint32_t awaited = 0;
  Start out = Start::Nothing;
  const auto visit = [&](const RawRecord& r) {
    if (r.kind == Kind::Padding) return true;
    if (r.kind == Kind::Checkpoint) {
      const auto state = codec::decode<Checkpoint>(r.body);
      awaited = state ? state->cursors : 0;
      if (state && awaited == 0) out = Start::Whole;
      return out != Start::Whole;
    }
    if (r.kind == Kind::Subscriber) {
      if (awaited > 0 && --awaited == 0) out = Start::Whole;
      return out != Start::Whole;
    }
    awaited = 0;
    out = Start::NoCheckpoint;
    return r.kind != Kind::Event;
  };
  KNIT_TRY_VOID(scan(file, segment.start, segment.size, segment.seed, visit));
  return out;
}

Result<void> create_first(LogDisk& disk, const std::string& directory, const std::string& name,
                          WallTime now, Seq first, Recovered& out) {
  Segment segment{first, now, 0, 0, 0, 0, {}, nullptr};
  const std::string bytes =
      segment_start({SegmentHeader().magic, name, first, now}, {}, {}, segment.seed);
  segment.size = segment.base = bytes.size();
  KNIT_TRY(segment.file, create_segment(disk, directory, first, bytes));
  out.segments.push_back(std::move(segment));
  out.next = first;
  out.last_time = now;
  return {};
}

Result<void> write_checkpoint(Recovered& out) {
  Checkpoint head{out.next_id, static_cast<std::uint32_t>(out.cursors.size()), {}, out.next};
  for (const auto& [seq, where] : out.kept) head.kept.push_back(where);
  std::vector<CursorState> states;
  for (const Cursor& c : out.cursors) states.push_back(c.state());
  Segment& active = out.segments.back();
  std::string bytes;
  put_checkpoint(bytes, active.seed, head, states);
  KNIT_TRY_VOID(active.file->write(active.size, bytes));
  KNIT_TRY_VOID(active.file->sync());
  active.size += bytes.size();
  return {};
}

}  // namespace

Result<std::shared_ptr<LogFile>> create_segment(LogDisk& disk, const std::string& directory,
                                                Seq first, std::string_view bytes) {
  KNIT_TRY(auto file, disk.open(directory + "/" + segment_name(first), LogDisk::Open::Fresh));
  KNIT_TRY_VOID(file->write(0, bytes));
  KNIT_TRY_VOID(file->sync());
  KNIT_TRY_VOID(disk.sync_directory(directory));
  return file;
}

Result<Recovered> recover(LogDisk& disk, const std::string& directory, const std::string& name,
                          WallTime now) {
  KNIT_TRY_VOID(disk.make_directory(directory));
  KNIT_TRY(const auto names, disk.list(directory));
  std::vector<Seq> firsts;
  for (const auto& n : names) {
    if (const auto first = parse_segment_name(n)) firsts.push_back(*first);
  }
  std::sort(firsts.begin(), firsts.end());

  Recovered out;
  Seq floor = 0;  // numbers below have been used
  std::string half_made;
  std::size_t replayed = 0;  // the first segment to replay: the last with a whole checkpoint
  for (const Seq first : firsts) {
    const std::string path = directory + "/" + segment_name(first);
    KNIT_TRY(auto file, disk.open(path, LogDisk::Open::Existing));
    auto header = read_header(*file);
    if (!header && header.error().code() != Code::InvalidArgument) return std::move(header).error();
    Start start = Start::Nothing;
    Segment segment;
    if (header && header->header.first == first && header->header.stream == name) {
      KNIT_TRY(const std::uint64_t size, file->size());
      segment = {first,  header->header.created, size, header->seed, header->end, header->end, {},
                 nullptr};
      KNIT_TRY(start, judge_start(*file, segment));
    }
    if (start == Start::Nothing) {
      floor = std::max(floor, first);
      if (first != firsts.back()) {
        ++out.lost_segments;
        KNIT_LOG(Error, "a segment of the event log is damaged and left out", KV("stream", name),
                 KV("file", path));
        continue;
      }
      // Nothing in it was ever acknowledged: that needs a whole start on the disk.
      half_made = path;
      continue;
    }
    if (start == Start::Whole) replayed = out.segments.size();
    out.segments.push_back(std::move(segment));
  }
  if (out.segments.empty()) {  // a half-made one gets overwritten
    KNIT_TRY_VOID(create_first(disk, directory, name, now, floor, out));
    return out;
  }

  out.next = floor;
  Replay replay(out);
  for (std::size_t i = replayed; i < out.segments.size(); ++i) {
    Segment& segment = out.segments[i];
    out.last_time = std::max(out.last_time, segment.created);
    KNIT_TRY(auto file,
             disk.open(directory + "/" + segment_name(segment.first), LogDisk::Open::Existing));
    replay.enter(segment);
    KNIT_TRY(const Scanned end,
             scan(*file, segment.start, segment.size, segment.seed, [&](const RawRecord& r) {
               replay(r);
               return true;
             }));
    out.damaged_bytes += end.damaged;
    if (i + 1 < out.segments.size()) continue;
    if (segment.size > end.end) KNIT_TRY_VOID(file->truncate(end.end));
    KNIT_TRY_VOID(file->sync());
    segment.size = end.end;
    segment.file = std::move(file);
  }
  const bool forgets = replay.forgets();
  replay.finish();
  if (!half_made.empty()) {
    // Its name is all that says which numbers are given away: that is written down before it goes.
    if (forgets) KNIT_TRY_VOID(write_checkpoint(out));
    KNIT_TRY_VOID(disk.remove(half_made));
    KNIT_TRY_VOID(disk.sync_directory(directory));
  }
  if (out.damaged_bytes > 0) {
    KNIT_LOG(Error, "bytes of the event log are damaged and passed over", KV("stream", name),
             KV("bytes", out.damaged_bytes));
  }
  return out;
}

}  // namespace knit::events
