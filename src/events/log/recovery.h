// Finds the state of a stream from its files, whatever a crash or a damaged sector has left.
// Blocks.
#pragma once

#include "events/log/segment.h"

namespace knit::events {

struct Segment {
  Seq first = 0;
  WallTime created;
  std::uint64_t size = 0;
  std::uint32_t seed = 0;
  std::uint64_t start = 0;  // of the first record to read
  std::uint64_t base = 0;   // ... after the checkpoint, where that is known
  // (seq, offset) of every 64 KiB or so; empty until the segment is read for the first time.
  std::vector<std::pair<Seq, std::uint64_t>> index;
  std::shared_ptr<LogFile> file;  // while it is the active one, or read often
};
inline constexpr std::uint64_t kIndexEvery = 64 << 10;

struct Recovered {
  std::vector<Segment> segments;  // oldest first; the last is the active one
  std::uint32_t next_id = 1;
  std::vector<Cursor> cursors;
  std::map<Seq, KeptAt> kept;
  Seq next = 0;
  WallTime last_time;
  std::uint64_t lost_segments = 0;  // files that were no whole segments
  std::uint64_t damaged_bytes = 0;  // passed over in the segments that were replayed
};

/// Opens or makes the stream `name` in `directory`: removes half-made segments, cuts a torn tail.
/// Damage before the tail costs the damaged records only: an event among them is gone (readers see
/// a gap), a state record among them may have events delivered again, never left out.
Result<Recovered> recover(LogDisk& disk, const std::string& directory, const std::string& name,
                          WallTime now);

/// Writes a new segment whole and syncs it and its directory.
Result<std::shared_ptr<LogFile>> create_segment(LogDisk& disk, const std::string& directory,
                                                Seq first, std::string_view bytes);

}  // namespace knit::events
