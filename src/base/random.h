// Randomness through constructors: a seeded generator for tests, the kernel's for the product.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace knit {

class Random {
 public:
  virtual ~Random() = default;
  virtual std::uint64_t next() = 0;
  /// Uniform in [0, bound); bound > 0.
  std::uint64_t below(std::uint64_t bound);
  /// A version 4 UUID.
  std::string uuid();
  /// `n` characters of the alphabet of Kubernetes' generated names.
  std::string name_suffix(std::size_t n);
  std::string hex(std::size_t n);
};

/// Deterministic (splitmix64). Thread-compatible.
std::unique_ptr<Random> seeded_random(std::uint64_t seed);
/// From getrandom(2). Thread-safe.
std::unique_ptr<Random> system_random();

}  // namespace knit
