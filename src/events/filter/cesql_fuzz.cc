// Any text as an expression: parsing and evaluation are bounded and never crash; what compiles
// gives the same every time.
#include "events/filter/cesql.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* bytes, std::size_t size) {
  using namespace knit;
  using namespace knit::events;
  const std::string_view text(reinterpret_cast<const char*>(bytes), size);
  const auto program = cesql::Program::compile(text);
  if (!program) {
    KNIT_CHECK(program.error().code() != Code::Internal && !program.error().message().empty());
    return 0;
  }
  Event e;
  e.id = "1";
  e.source = "/s";
  e.type = "t";
  e.set_extension("a", "abc%_\\");
  e.set_extension("b", "-7", ValueType::Integer);
  e.set_extension("c", "true", ValueType::Boolean);
  const auto once = program->evaluate(e);
  KNIT_CHECK(once == program->evaluate(e));
  if (once.fault != cesql::Fault::None) KNIT_CHECK(!program->matches(e));
  return 0;
}
