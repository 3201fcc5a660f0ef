// Any message: decoding never crashes, and what is accepted survives both content modes.
#include "events/model/http_binding.h"
#include "events/model/json_format.h"

// The input is header lines up to an empty line, then the body.
extern "C" int LLVMFuzzerTestOneInput(const unsigned char* bytes, std::size_t size) {
  using namespace knit;
  std::string_view text(reinterpret_cast<const char*>(bytes), size);
  http::Headers headers;
  while (!text.empty()) {
    const auto end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.empty()) break;
    const auto colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    headers.add(std::string(line.substr(0, colon)), std::string(line.substr(colon + 1)));
  }
  const events::Limits limits;
  const auto all = events::from_http(headers, std::string(text), limits);
  if (!all) return 0;
  events::Limits wide = limits;
  wide.max_data_bytes *= 4;
  wide.max_batch_bytes *= 8;
  for (const events::Event& e : *all) {
    const auto json = events::from_json(events::to_json(e), wide);
    KNIT_CHECK(json.has_value());
    KNIT_CHECK(json->id == e.id && json->source == e.source && json->extensions == e.extensions);
    KNIT_CHECK(events::from_json(events::to_json(*json), wide).value_or(events::Event{}) == *json);
    const auto message = events::to_binary(e);
    const auto binary = events::from_http(message.headers, message.body, wide);
    KNIT_CHECK(binary.has_value() && binary->size() == 1);
    KNIT_CHECK(binary->front().data.value_or("") == e.data.value_or(""));
    KNIT_CHECK(binary->front().subject == e.subject && binary->front().type == e.type);
    KNIT_CHECK(codec::decode<events::Event>(codec::encode(e)).value_or(events::Event{}) == e);
  }
  const auto batch = events::to_batch(*all);
  const auto again = events::from_http(batch.headers, batch.body, wide);
  KNIT_CHECK(again.has_value() && again->size() == all->size());
  return 0;
}
