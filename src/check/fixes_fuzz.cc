// Any bytes as a file for --fix: it ends, what it writes can be read, and no error is new.
#include "check/fixes.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace knit;
  if (size > 8 << 10) return 0;
  const check::Files files{{"in.yaml", {reinterpret_cast<const char*>(data), size}}};
  const auto report_of = [](const check::Files& all) {
    check::ObjectSet objects;
    for (const auto& [name, text] : all) objects.add_text(name, text);
    return check::run(objects, {});
  };
  const auto before = report_of(files);
  const auto fixed = check::fix_files(files, {});
  check::Files after_files = files;
  bool applied = false;
  for (const auto& step : fixed.steps) applied |= step.applied;
  for (const auto& [name, text] : fixed.files) {
    KNIT_CHECK(text != files.at(name));
    after_files[name] = text;
  }
  KNIT_CHECK(applied || fixed.files.empty());
  const auto after = report_of(after_files);
  KNIT_CHECK(after.errors.size() <= before.errors.size());
  KNIT_CHECK(after.objects == before.objects);
  KNIT_CHECK(after.count(check::Severity::Error) <= before.count(check::Severity::Error));
  return 0;
}
