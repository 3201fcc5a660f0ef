// Templates of queue-proxy's request log: a line or an error, always one line.
#include <cstdint>

#include "base/result.h"
#include "proxy/access_log.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  knit::proxy::AccessRecord record;
  record.method = "GET";
  record.path = "/a?b=\"c\"";
  knit::proxy::RequestLogInput in;
  in.record = &record;
  in.header = [](std::string_view name) { return name; };
  const auto line = knit::proxy::request_log_line(text, in);
  if (line) KNIT_CHECK(line->find('\n') + 1 == line->size());
  return 0;
}
