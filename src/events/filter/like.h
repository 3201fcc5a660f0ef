// LIKE patterns, compiled: `%` any run, `_` one character, `\%` and `\_` literal.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace knit::events {

/// Matches left to right, a run of literal text at a time, and never goes back past a `%`: the cost
/// is at most text times pattern, counted in `budget`.
class Like {
 public:
  explicit Like(std::string_view pattern);

  enum class Verdict { No, Yes, OutOfBudget };
  Verdict matches(std::string_view text, std::int64_t& budget) const;

 private:
  struct Piece {       // between two `%`
    std::string text;  // '_' wildcards as bytes that UTF-8 never has
    bool wild = false;
    std::size_t characters = 0;
  };
  static bool at(const Piece& piece, std::string_view text, std::size_t& end, std::int64_t& budget);
  std::vector<Piece> pieces_;  // at least one; the first and the last are anchored
};

}  // namespace knit::events
