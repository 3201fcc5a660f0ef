#include "events/log/segment.h"

#include <algorithm>
#include <cstring>

#include "events/log/crc32c.h"

namespace knit::events {
namespace {

constexpr std::size_t kChunk = 256 << 10;
constexpr std::size_t kPage = 4096;

template <class T>
void put(std::string& out, T v) {
  char bytes[sizeof v];
  std::memcpy(bytes, &v, sizeof v);
  out.append(bytes, sizeof v);
}
template <class T>
T get(const char* p) {
  T v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

std::uint32_t marker_of(std::uint32_t seed) { return seed * 2'654'435'761u + 0x6b6e6974u; }

void begin(std::string& out, std::uint32_t seed, Kind kind) {
  put(out, marker_of(seed));
  out.append(8, '\0');
  out += static_cast<char>(kind);
}
void seal(std::string& out, std::size_t start, std::uint32_t seed) {
  const auto length = static_cast<std::uint32_t>(out.size() - start - kFrameBytes);
  std::memcpy(out.data() + start + 4, &length, 4);
  std::uint32_t crc = crc32c(seed, std::string_view(out).substr(start + 4, 4));
  crc = crc32c(crc, std::string_view(out).substr(start + 12));
  std::memcpy(out.data() + start + 8, &crc, 4);
}

enum class Parse { Whole, Short, Bad };

// Judges the record at the start of `bytes`. Short: it would end after `need` bytes.
Parse parse(std::string_view bytes, std::uint32_t seed, RawRecord& out, std::size_t& need) {
  need = kFrameBytes;
  if (bytes.size() < kFrameBytes) return Parse::Short;
  if (get<std::uint32_t>(bytes.data()) != marker_of(seed)) return Parse::Bad;
  const auto length = get<std::uint32_t>(bytes.data() + 4);
  if (length > kMaxBody) return Parse::Bad;
  need = kFrameBytes + length;
  if (bytes.size() < need) return Parse::Short;
  std::uint32_t crc = crc32c(seed, bytes.substr(4, 4));
  crc = crc32c(crc, bytes.substr(12, 1 + length));
  if (crc != get<std::uint32_t>(bytes.data() + 8)) return Parse::Bad;
  out.kind = static_cast<Kind>(bytes[12]);
  out.body = bytes.substr(kFrameBytes, length);
  return Parse::Whole;
}

// The next marker after the first byte of `bytes`; npos when there is none.
std::size_t find_marker(std::string_view bytes, std::uint32_t seed) {
  std::string marker;
  put(marker, marker_of(seed));
  return bytes.find(marker, 1);
}

}  // namespace

void put_record(std::string& out, std::uint32_t seed, Kind kind, std::string_view body) {
  const std::size_t start = out.size();
  begin(out, seed, kind);
  out += body;
  seal(out, start, seed);
}

void put_event(std::string& out, std::uint32_t seed, Kind kind, Seq seq, WallTime time,
               std::string_view payload) {
  const std::size_t start = out.size();
  begin(out, seed, kind);
  put(out, seq);
  put(out, time.ns);
  out += payload;
  seal(out, start, seed);
}

Result<Scanned> scan(const LogFile& file, std::uint64_t offset, std::uint64_t limit,
                     std::uint32_t seed, const std::function<bool(const RawRecord&)>& visit) {
  Scanned out;
  out.end = offset;
  std::string buffer;
  std::uint64_t base = offset;  // of buffer[0]
  std::size_t at = 0, want = kChunk;
  bool end = false;
  while (true) {
    buffer.erase(0, at);
    base += at;
    at = 0;
    const std::uint64_t from = base + buffer.size();
    const auto n =
        static_cast<std::size_t>(std::min<std::uint64_t>(want, from < limit ? limit - from : 0));
    if (n > 0) {
      KNIT_TRY(const std::string more, file.read(from, n));
      end = more.size() < n;
      buffer += more;
    }
    end = end || base + buffer.size() >= limit;
    want = kChunk;
    while (true) {
      const std::string_view rest = std::string_view(buffer).substr(at);
      if (rest.empty()) {
        if (end) return out;
        break;
      }
      RawRecord record;
      std::size_t need = 0;
      const Parse verdict = parse(rest, seed, record, need);
      if (verdict == Parse::Whole) {
        record.offset = base + at;
        record.end = record.offset + kFrameBytes + record.body.size();
        out.damaged += record.offset - out.end;
        out.end = record.end;
        at += kFrameBytes + record.body.size();
        if (!visit(record)) {
          out.stopped = true;
          return out;
        }
        continue;
      }
      if (verdict == Parse::Short && !end) {
        want = std::max(want, need - rest.size());
        break;
      }
      if (parse(rest, 0, record, need) == Parse::Whole && record.kind == Kind::Header) {
        if (out.end == base + at) out.end += need;  // the copy of the header, no damage
        at += need;
        continue;
      }
      const std::size_t next = find_marker(rest, seed);
      if (next != std::string_view::npos) {
        at += next;
        continue;
      }
      if (end) return out;
      at += std::max<std::size_t>(1, rest.size() - std::min<std::size_t>(rest.size(), 3));
      break;
    }
  }
}

Result<OpenHeader> read_header(const LogFile& file) {
  OpenHeader out;
  bool found = false;
  KNIT_TRY_VOID(scan(file, 0, UINT64_MAX, 0, [&](const RawRecord& r) {
    if (r.kind != Kind::Header) return true;
    auto header = codec::decode<SegmentHeader>(r.body);
    if (!header || header->magic != SegmentHeader().magic) return true;
    out = {std::move(*header), crc32c(0, r.body), r.end};
    found = true;
    return false;
  }));
  if (!found) return Error(Code::InvalidArgument, "the file is no segment of an event log");
  return out;
}

std::string header_record(const SegmentHeader& header, std::uint32_t& seed) {
  const std::string body = codec::encode(header);
  seed = crc32c(0, body);
  std::string out;
  put_record(out, 0, Kind::Header, body);
  return out;
}

void put_checkpoint(std::string& out, std::uint32_t seed, const Checkpoint& checkpoint,
                    const std::vector<CursorState>& cursors) {
  put_record(out, seed, Kind::Checkpoint, codec::encode(checkpoint));
  for (const CursorState& c : cursors) put_record(out, seed, Kind::Subscriber, codec::encode(c));
}

std::string segment_start(const SegmentHeader& header, const Checkpoint& checkpoint,
                          const std::vector<CursorState>& cursors, std::uint32_t& seed) {
  std::string once = header_record(header, seed);
  put_checkpoint(once, seed, checkpoint, cursors);
  std::string out = once;
  if (out.size() + kFrameBytes < kPage) {
    put_record(out, seed, Kind::Padding, std::string(kPage - kFrameBytes - out.size(), '\0'));
  }
  return out + once;
}

std::string segment_name(Seq first) {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string out(16, '0');
  for (std::size_t i = 16; i-- > 0; first >>= 4) out[i] = kHex[first & 15];
  return out + ".seg";
}

std::optional<Seq> parse_segment_name(std::string_view name) {
  if (name.size() != 20 || !name.ends_with(".seg")) return std::nullopt;
  Seq out = 0;
  for (const char c : name.substr(0, 16)) {
    const bool digit = c >= '0' && c <= '9';
    if (!digit && !(c >= 'a' && c <= 'f')) return std::nullopt;
    out = (out << 4) | static_cast<Seq>(digit ? c - '0' : c - 'a' + 10);
  }
  return out;
}

bool split_event(std::string_view body, Seq& seq, WallTime& time, std::string_view& payload) {
  if (body.size() < kEventHeadBytes) return false;
  seq = get<Seq>(body.data());
  time.ns = get<std::int64_t>(body.data() + 8);
  payload = body.substr(kEventHeadBytes);
  return true;
}

}  // namespace knit::events
