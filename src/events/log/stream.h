// One durable stream of events: a broker's or a channel's. Appended events are on the disk when
// append() returns; concurrent appends share one sync. Subscribers are cursors whose state (retries
// and parked events included) lives in the same log, so one file order tells the whole truth.
//
// Everything here runs on the loop; the disk is touched on its pool only.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "events/log/segment.h"
#include "io/loop.h"

namespace knit::events {

struct StreamOptions {
  std::uint64_t segment_bytes = 16 << 20;
  std::uint64_t max_bytes = 1 << 30;      // appends are refused (503) while the log is larger
  std::uint64_t retain_bytes = 64 << 20;  // kept for replay once nobody needs it
  Duration retain_age = std::chrono::hours(24);  // ... but no longer than this
  Duration expire_age{0};  // undelivered events are dropped (and counted) after this; 0: never
  std::size_t max_event_bytes = 16 << 20;   // one payload; beyond: refused (413)
  std::size_t max_pending_bytes = 8 << 20;  // accepted and not yet on the disk; beyond: refused
  std::size_t max_batch_bytes = 4 << 20;    // what one sync takes at most
  std::size_t tail_bytes = 1 << 20;         // recent events kept in memory for reading
  Duration state_sync{1'000'000'000};       // state records are synced with events, or after this
  bool sync = true;                         // false: 202 means "handed to the kernel"
};

struct StreamStats {
  Seq first = 0, next = 0;  // what the log holds: [first, next)
  std::uint64_t bytes = 0;
  std::size_t segments = 0, index_entries = 0, tail_bytes = 0, kept = 0;
  std::uint64_t appended = 0, batches = 0, syncs = 0, refused = 0, failed_writes = 0;
  std::uint64_t expired = 0;  // undelivered events (per subscriber) dropped by age
  std::uint64_t damaged = 0;  // bytes passed over when it was opened
};

struct ReadResult {
  std::vector<Record> records;  // ascending numbers, with gaps where the log has some
  Seq next = 0;                 // where to go on; past what is damaged or gone
};

class Stream {
 public:
  /// Opens what is there (after a crash too) or makes it. `directory` is the stream's own below the
  /// disk's root. Errors: those of the disk.
  static io::Task<Result<std::unique_ptr<Stream>>> open(io::Loop& loop,
                                                        std::shared_ptr<LogDisk> disk,
                                                        std::string directory, std::string name,
                                                        StreamOptions options);
  /// Removes a stream that nobody has open, with everything in it.
  static io::Task<Result<void>> remove(io::Loop& loop, std::shared_ptr<LogDisk> disk,
                                       std::string directory);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  const std::string& name() const;
  Seq first() const;
  Seq next() const;

  /// Durable when it returns. Errors: Unavailable (503: full, too much waits for the disk, or the
  /// disk failed; the event may still turn up if the machine then crashes), ResourceExhausted (413:
  /// the payload alone is too large). When the stream is destroyed meanwhile: Unavailable, too.
  void append(std::string payload, std::function<void(Result<Seq>)> done);
  io::Task<Result<Seq>> append(std::string payload);

  /// At most so many events from `from` (at least one if any is there), never past next().
  io::Task<Result<ReadResult>> read(Seq from, std::size_t max_records, std::size_t max_bytes);
  /// One event, wherever it is; the way to those below first() that a subscriber still holds.
  /// Errors: NotFound (gone, or damaged).
  io::Task<Result<Record>> read_one(Seq seq);

  /// A new subscriber, durable with the next flush(). `from` is clamped to [first(), next()].
  /// Returns the present one when the name is known. Pointers live until unsubscribe().
  Cursor* subscribe(const std::string& name, Seq from);
  Cursor* find(const std::string& name);
  void unsubscribe(const std::string& name);
  std::vector<Cursor*> cursors();
  /// Call after changing cursors: what changed is written soon, together.
  void touch();
  /// Everything so far, state included, is on the disk when it returns.
  io::Task<Result<void>> flush();

  /// Called (on the loop) after events became readable.
  void on_appended(std::function<void()> callback);
  /// Removes old segments; runs by itself when a segment is full, call it for the ages. Segments
  /// nobody needs go first. Of one that only held events need, those are copied to the newest
  /// segment. Undelivered events go by `expire_age` only.
  void maintain();
  void set_options(StreamOptions options);
  StreamStats stats() const;

 private:
  struct Core;
  explicit Stream(std::shared_ptr<Core> core);
  std::shared_ptr<Core> core_;
};

}  // namespace knit::events
