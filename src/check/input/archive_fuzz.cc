// Any bytes as an archive: bounded, no crash, and no name that leads outside.
#include <cstdlib>

#include "check/input/archive.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace knit::check::input;
  ArchiveLimits limits;
  limits.entries = 1000;
  limits.files = 100;
  limits.file_bytes = 1 << 16;
  limits.total_bytes = 1 << 18;
  limits.expanded_bytes = 1 << 22;
  const auto archive =
      read_archive(std::string_view(reinterpret_cast<const char*>(data), size), limits);
  std::size_t total = 0;
  for (const auto& [name, text] : archive.files) {
    total += text.size();
    if (name.starts_with('/') || ("/" + name + "/").find("/../") != std::string::npos) abort();
    if (!is_manifest_name(name) || text.size() > limits.file_bytes) abort();
  }
  // A later entry of the same name replaces an earlier one, so the sum may only be smaller.
  if (archive.files.size() > limits.files || total > limits.total_bytes) abort();
  if (archive.refused.size() > limits.refusals + 1) abort();
  return 0;
}
