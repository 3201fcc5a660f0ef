// The bytes of a segment file: framed, checksummed records, and how they are found again.
//
//   record  = u32 marker | u32 length of body | u32 CRC-32C over length, kind, body | u8 kind |
//   body segment = Header, Header, checkpoint, checkpoint, then Event and state records checkpoint
//   = Checkpoint, then one Subscriber record per cursor
//
// Marker and checksum of all records but the header follow from the header, so that records of
// another file, or bytes that a sender chose, are never taken for this one's. After a damaged
// record the next one is found by its marker; what the start of a segment says stands there twice.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "events/log/cursor.h"
#include "events/log/disk.h"

namespace knit::events {

enum class Kind : std::uint8_t {
  Header = 1,
  Checkpoint = 2,
  Event = 3,  // u64 seq | i64 wall time, ns | payload
  Progress = 4,
  Subscribe = 5,
  Unsubscribe = 6,
  Subscriber = 7,  // a cursor whole
  Kept = 8,        // as Event: one from an older segment that somebody still needs
  Padding = 9,
};

inline constexpr std::size_t kFrameBytes = 13;
inline constexpr std::size_t kEventHeadBytes = 16;
inline constexpr std::size_t kMaxBody = 64 << 20;

struct SegmentHeader {
  std::string magic = "knit event log 1";
  std::string stream;
  Seq first = 0;
  WallTime created;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(1, s.magic);
    v(2, s.stream);
    v(3, s.first);
    v(4, s.created);
  }
};

/// Where the Kept record of an event is.
struct KeptAt {
  Seq seq = 0;
  Seq segment = 0;
  std::uint64_t offset = 0;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(1, s.seq);
    v(2, s.segment);
    v(3, s.offset);
  }
};

struct Checkpoint {
  std::uint32_t next_id = 1;
  std::uint32_t cursors = 0;  // Subscriber records that follow
  std::vector<KeptAt> kept;
  Seq next = 0;  // numbers below have been given away
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(1, s.next_id);
    v(2, s.cursors);
    v(3, s.kept);
    v(4, s.next);
  }
};

struct SubscribeRecord {
  std::uint32_t id = 0;
  std::string name;
  Seq from = 0;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(1, s.id);
    v(2, s.name);
    v(3, s.from);
  }
};

/// An event as it was accepted.
struct Record {
  Seq seq = 0;
  WallTime time;
  std::shared_ptr<const std::string> payload;
};

void put_record(std::string& out, std::uint32_t seed, Kind kind, std::string_view body);
void put_event(std::string& out, std::uint32_t seed, Kind kind, Seq seq, WallTime time,
               std::string_view payload);

struct RawRecord {
  std::uint64_t offset = 0;  // of the frame
  std::uint64_t end = 0;     // after the body
  Kind kind = Kind::Header;
  std::string_view body;  // until the visitor returns
};

struct Scanned {
  std::uint64_t end = 0;      // after the last whole record visited
  std::uint64_t damaged = 0;  // bytes between whole records that were none
  bool stopped = false;       // by the visitor
};

/// Visits the whole records of a file in [offset, limit), passing over what is damaged; stops when
/// the visitor returns false. Reads 256 KiB at a time. Errors: only those of the disk.
Result<Scanned> scan(const LogFile& file, std::uint64_t offset, std::uint64_t limit,
                     std::uint32_t seed, const std::function<bool(const RawRecord&)>& visit);

struct OpenHeader {
  SegmentHeader header;
  std::uint32_t seed = 0;
  std::uint64_t end = 0;  // after the copy that was read
};
/// Errors: InvalidArgument when the file does not start with a whole header.
Result<OpenHeader> read_header(const LogFile& file);

/// Sets the seed for the records of a segment.
std::string header_record(const SegmentHeader& header, std::uint32_t& seed);
void put_checkpoint(std::string& out, std::uint32_t seed, const Checkpoint& checkpoint,
                    const std::vector<CursorState>& cursors);
/// All that a segment starts with.
std::string segment_start(const SegmentHeader& header, const Checkpoint& checkpoint,
                          const std::vector<CursorState>& cursors, std::uint32_t& seed);

std::string segment_name(Seq first);
/// Nothing for names that are no segment's.
std::optional<Seq> parse_segment_name(std::string_view name);

/// Splits the body of an Event or Kept record. False when it is too short.
bool split_event(std::string_view body, Seq& seq, WallTime& time, std::string_view& payload);

}  // namespace knit::events
