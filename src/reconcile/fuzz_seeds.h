// How many seeds a world fuzzer runs: a few with every test, KNIT_SEEDS of them in a soak.
#pragma once

#include <cstdint>
#include <cstdlib>

namespace knit::reconcile {

/// For tests only. `usual` unless the environment says another number.
inline std::uint64_t fuzz_seeds(const char* asked, std::uint64_t usual) {
  const auto n = asked != nullptr ? std::strtoull(asked, nullptr, 10) : 0;
  return n > 0 ? n : usual;
}

}  // namespace knit::reconcile
