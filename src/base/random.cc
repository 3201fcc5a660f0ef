#include "base/random.h"

#include <sys/random.h>

#include <array>
#include <utility>

#include "base/result.h"

namespace knit {
namespace {
class Seeded final : public Random {
 public:
  explicit Seeded(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() override {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

 private:
  std::uint64_t state_;
};

class System final : public Random {
 public:
  std::uint64_t next() override {
    // A system call for many numbers; each is handed out once. Nobody forks without exec.
    struct Stock {
      std::array<std::uint64_t, 32> numbers{};  // 256 bytes: getrandom gives them whole
      std::size_t left = 0;
    };
    static thread_local Stock stock;
    if (stock.left == 0) {
      KNIT_CHECK(getrandom(stock.numbers.data(), sizeof stock.numbers, 0) == sizeof stock.numbers);
      stock.left = stock.numbers.size();
    }
    return std::exchange(stock.numbers[--stock.left], 0);
  }
};
}  // namespace

std::uint64_t Random::below(std::uint64_t bound) {
  const std::uint64_t limit = UINT64_MAX - UINT64_MAX % bound;
  std::uint64_t v = next();
  while (v >= limit) v = next();
  return v % bound;
}

std::string Random::hex(std::size_t n) {
  std::string out;
  while (out.size() < n) {
    std::uint64_t v = next();
    for (int i = 0; i < 16 && out.size() < n; ++i, v >>= 4) out += "0123456789abcdef"[v & 15];
  }
  return out;
}

std::string Random::uuid() {
  std::string h = hex(32);
  h[12] = '4';
  h[16] = "89ab"[below(4)];
  return h.substr(0, 8) + "-" + h.substr(8, 4) + "-" + h.substr(12, 4) + "-" + h.substr(16, 4) +
         "-" + h.substr(20);
}

std::string Random::name_suffix(std::size_t n) {
  static constexpr std::string_view kAlphabet = "bcdfghjklmnpqrstvwxz2456789";
  std::string out;
  for (std::size_t i = 0; i < n; ++i) out += kAlphabet[below(kAlphabet.size())];
  return out;
}

std::unique_ptr<Random> seeded_random(std::uint64_t seed) { return std::make_unique<Seeded>(seed); }
std::unique_ptr<Random> system_random() { return std::make_unique<System>(); }

}  // namespace knit
