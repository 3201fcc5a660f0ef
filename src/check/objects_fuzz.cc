// Any bytes as manifests: reading and every rule end, and every output can be printed.
#include "check/output.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace knit;
  if (size > 64 << 10) return 0;
  check::ObjectSet objects;
  objects.add_text("input.yaml", {reinterpret_cast<const char*>(data), size});
  const auto report = check::run(objects, {});
  for (const auto format :
       {check::Format::Text, check::Format::Short, check::Format::Table, check::Format::Json,
        check::Format::Yaml, check::Format::Sarif, check::Format::Junit, check::Format::Markdown}) {
    KNIT_CHECK(!check::print(report, format, {}).empty());
  }
  return 0;
}
