// Any bytes in any split: no crash, bounded memory, and the same outcome however they arrive.
#include <cstdint>
#include <string>

#include "base/result.h"
#include "http/h1.h"

namespace {
using knit::http::h1::Parser;

std::string run(Parser::Kind kind, std::string_view in, std::size_t step) {
  Parser parser(kind);
  std::string log;
  while (!in.empty()) {
    std::string_view part = in.substr(0, step);
    in.remove_prefix(part.size());
    bool more = true;
    while (more) {
      const Parser::Step s = parser.next(part);
      part.remove_prefix(s.used);
      switch (s.event) {
        case Parser::Event::NeedMore:
          KNIT_CHECK(part.empty());
          more = false;
          break;
        case Parser::Event::Head:
          log += "H" + std::to_string(parser.head().fields.size());
          break;
        case Parser::Event::Data:
          log += s.data;
          break;
        case Parser::Event::End:
          log += "E" + std::to_string(parser.trailers().size());
          break;
        case Parser::Event::Error:
          return log + "!";
      }
    }
  }
  return log;
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view in(reinterpret_cast<const char*>(data), size);
  for (const auto kind : {Parser::Kind::Request, Parser::Kind::Response}) {
    KNIT_CHECK(run(kind, in, in.size() + 1) == run(kind, in, 1));
  }
  return 0;
}
