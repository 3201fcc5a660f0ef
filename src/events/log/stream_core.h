// The inside of Stream, shared by its two files: writing (stream.cc), reading and retention
// (stream_read.cc).
#pragma once

#include <deque>
#include <set>

#include "events/log/recovery.h"
#include "events/log/stream.h"

namespace knit::events {

struct Stream::Core : std::enable_shared_from_this<Stream::Core> {
  struct Append {
    std::string payload;
    std::function<void(Result<Seq>)> done;
  };
  struct Job;  // one turn of the pool

  Core(io::Loop& l, std::shared_ptr<LogDisk> d, std::string dir, std::string n, StreamOptions o)
      : loop(l), disk(std::move(d)), directory(std::move(dir)), name(std::move(n)), options(o) {}

  // stream.cc
  std::uint64_t bytes() const { return sealed_bytes + segments.back().size; }
  void schedule();
  bool dirty() const;
  std::pair<Checkpoint, std::vector<CursorState>> take_checkpoint();
  void put_state(Job& job);
  void add_operation(Kind kind, const SubscribeRecord& record);
  void burn_number();
  void kick();
  void finished(Job& job);
  void fail(Job& job);
  void succeed(Job& job);

  // stream_read.cc
  std::string path_of(Seq first) const { return directory + "/" + segment_name(first); }
  Segment* segment_of(Seq first);
  void opened(Seq first, std::shared_ptr<LogFile> file);
  void maintain();
  bool keep_held(const Segment& oldest, Seq end);
  void remove_segments(std::vector<Seq> firsts);

  io::Loop& loop;
  std::shared_ptr<LogDisk> disk;
  std::string directory, name;
  StreamOptions options;

  std::vector<Segment> segments;
  std::uint32_t next_id = 1;
  std::map<std::string, std::unique_ptr<Cursor>> cursors;
  Seq next = 0;
  WallTime last_time;
  std::uint64_t sealed_bytes = 0;

  std::deque<Append> pending;
  std::size_t pending_bytes = 0;
  std::vector<std::pair<Kind, std::string>> operations;  // subscribe and unsubscribe, to write
  std::vector<Record> keeping;                           // held events to copy, to write
  std::map<Seq, KeptAt> kept;                            // ... and where they are
  std::vector<std::function<void(Result<void>)>> flushes;
  std::deque<Record> tail;
  std::size_t tail_bytes = 0;

  bool flushing = false, posted = false, removing = false, reading_held = false;
  bool needs_checkpoint = false;  // a failed turn has lost state records
  bool needs_repair = false;
  bool unsynced = false;
  std::vector<Seq> leftovers;  // half-made segments
  std::deque<Seq> open_files;  // sealed segments whose file is open, oldest use first
  Seq too_dense = 0;           // segments below hold too much to be copied ...
  Instant dense_until;         // ... as seen at the last look
  io::Loop::Timer later;
  std::function<void()> appended;
  StreamStats counts;
};

}  // namespace knit::events
