// Frames and the bodies of every message the supervisor reads, from hostile peers.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "ipc/frame.h"

using namespace knit;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  const std::string_view packet(reinterpret_cast<const char*>(data + 1), size - 1);
  const auto header = ipc::decode_header(packet, data[0]);
  if (!header) return 0;
  const std::string_view body = packet.substr(ipc::kHeaderSize);
  (void)codec::decode<ipc::Hello>(body);
  (void)codec::decode<ipc::Kept>(body);
  (void)codec::decode<ipc::Bind>(body);
  (void)codec::decode<ipc::Expect>(body);
  (void)codec::decode<ipc::Pod>(body);
  (void)codec::decode<ipc::Have>(body);
  (void)codec::decode<ipc::Delta>(body);
  (void)codec::decode<ipc::Stats>(body);
  return 0;
}
