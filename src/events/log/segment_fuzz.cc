// Any bytes as a segment file: recovery never crashes, and what it leaves is read the same again.
#include "events/log/recovery.h"
#include "events/log/sim_disk.h"

namespace knit::events {
namespace {

struct Seen {
  std::vector<std::pair<Seq, std::string>> events;
  Seq next = 0;
  std::vector<CursorState> cursors;
  bool operator==(const Seen&) const = default;
};

Seen look(SimDisk& disk) {
  Seen out;
  auto found = recover(disk, "s", "n", WallTime{1});
  KNIT_CHECK(found.has_value());
  out.next = found->next;
  for (const Cursor& c : found->cursors) out.cursors.push_back(c.state());
  for (const Segment& s : found->segments) {
    auto file = disk.open("s/" + segment_name(s.first), LogDisk::Open::Existing);
    KNIT_CHECK(file.has_value());
    auto end = scan(**file, s.start, s.size, s.seed, [&](const RawRecord& r) {
      Seq seq = 0;
      WallTime time;
      std::string_view payload;
      if (r.kind == Kind::Event && split_event(r.body, seq, time, payload)) {
        out.events.emplace_back(seq, payload);
      }
      return true;
    });
    KNIT_CHECK(end.has_value() && end->end <= s.size);
  }
  return out;
}

void write(SimDisk& disk, Seq first, std::string_view bytes) {
  auto file = disk.open("s/" + segment_name(first), LogDisk::Open::Fresh);
  KNIT_CHECK(file.has_value() && (*file)->write(0, bytes).has_value());
}

}  // namespace
}  // namespace knit::events

// The first byte chooses: raw bytes, or records (kind, length, body) that are framed properly, so
// that what stands behind the checksums is fuzzed too.
extern "C" int LLVMFuzzerTestOneInput(const unsigned char* bytes, std::size_t size) {
  using namespace knit;
  using namespace knit::events;
  std::string_view in(reinterpret_cast<const char*>(bytes), size);
  if (in.empty()) return 0;
  const bool raw = (in[0] & 1) != 0;
  in.remove_prefix(1);
  const auto random = seeded_random(1);
  SimDisk disk(*random);
  KNIT_CHECK(disk.make_directory("s").has_value());
  std::uint32_t seed = 0;
  std::string file = segment_start({SegmentHeader().magic, "n", 5, WallTime{1}}, {}, {}, seed);
  if (raw) {
    file += in;
  } else {
    while (in.size() >= 2) {
      const auto kind = static_cast<Kind>(in[0]);
      const auto length = std::min<std::size_t>(static_cast<unsigned char>(in[1]), in.size() - 2);
      put_record(file, seed, kind, in.substr(2, length));
      in.remove_prefix(2 + length);
    }
  }
  write(disk, 5, file);
  if (raw) write(disk, 9, in);
  const Seen once = look(disk);
  const Seen twice = look(disk);
  KNIT_CHECK(once == twice);
  return 0;
}
