#include "base/quantity.h"

#include <algorithm>
#include <array>

namespace knit {

namespace {
__extension__ using Int128 = __int128;
__extension__ using Uint128 = unsigned __int128;

constexpr Int128 kNano = 1'000'000'000;
constexpr Int128 kCap = Int128{INT64_MAX} * kNano;

Int128 pow10(int n) {
  Int128 p = 1;
  for (int i = 0; i < n; ++i) p *= 10;
  return p;
}

struct Suffix {
  std::string_view text;
  int exponent;  // of 10, or of 2 for binary
};
constexpr std::array<Suffix, 10> kDecimal{{{"n", -9},
                                           {"u", -6},
                                           {"m", -3},
                                           {"", 0},
                                           {"k", 3},
                                           {"M", 6},
                                           {"G", 9},
                                           {"T", 12},
                                           {"P", 15},
                                           {"E", 18}}};
constexpr std::array<Suffix, 6> kBinary{
    {{"Ki", 10}, {"Mi", 20}, {"Gi", 30}, {"Ti", 40}, {"Pi", 50}, {"Ei", 60}}};

std::string digits(Int128 v) {
  if (v == 0) return "0";
  std::string out;
  const bool negative = v < 0;
  for (Uint128 u = negative ? static_cast<Uint128>(-v) : static_cast<Uint128>(v); u != 0; u /= 10) {
    out += static_cast<char>('0' + static_cast<int>(u % 10));
  }
  if (negative) out += '-';
  std::reverse(out.begin(), out.end());
  return out;
}

/// ceil(a / b) for a >= 0.
Int128 ceil_div(Int128 a, Int128 b) { return (a + b - 1) / b; }

bool is_digit(char c) { return c >= '0' && c <= '9'; }

Error bad_format() {
  return Error(Code::InvalidArgument,
               "quantities must match the regular expression "
               "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
}
Error bad_suffix() { return Error(Code::InvalidArgument, "unable to parse quantity's suffix"); }

/// |value| in nano-units of `whole`.`fraction` (`fraction_digits` digits, at most 18) times
/// `multiplier` (>= 1), rounded up, capped.
Int128 scale_up(Int128 whole, Int128 fraction, int fraction_digits, Int128 multiplier) {
  if (whole > kCap / kNano / multiplier) return kCap;
  const Int128 unit = pow10(fraction_digits);
  const Int128 product = fraction * multiplier;
  return std::min(kCap, whole * multiplier * kNano + product / unit * kNano +
                            ceil_div(product % unit * kNano, unit));
}

/// The same times 10^-shift.
Int128 scale_down(Int128 whole, Int128 fraction, int fraction_digits, int shift) {
  const Int128 all = whole * pow10(fraction_digits) + fraction;  // < 10^37
  const int exponent = 9 - shift - fraction_digits;
  if (exponent >= 0) {
    return all > kCap / pow10(exponent) ? kCap : all * pow10(exponent);
  }
  if (-exponent > 37) return all == 0 ? 0 : 1;
  return std::min(kCap, all / pow10(-exponent) + (all % pow10(-exponent) == 0 ? 0 : 1));
}
}  // namespace

Quantity Quantity::of(std::int64_t value, Format format) {
  Quantity q;
  q.nano_ = Int128{value} * kNano;
  q.format_ = format;
  return q;
}

Quantity Quantity::of_milli(std::int64_t milli, Format format) {
  Quantity q;
  q.nano_ = Int128{milli} * 1'000'000;
  q.format_ = format;
  return q;
}

Result<Quantity> Quantity::parse(std::string_view text) {
  if (text.empty()) return bad_format();
  std::size_t i = 0;
  bool negative = false;
  if (text[0] == '+' || text[0] == '-') {
    negative = text[0] == '-';
    ++i;
  }
  Int128 whole = 0;
  Int128 fraction = 0;
  int fraction_digits = 0;
  bool saturated = false;
  bool sticky = false;  // digits beyond the 18th behind the point
  const std::size_t first = i;
  bool any_digit = false;
  for (; i < text.size() && is_digit(text[i]); ++i) {
    any_digit = true;
    if (whole > pow10(18)) saturated = true;
    if (!saturated) whole = whole * 10 + (text[i] - '0');
  }
  if (i < text.size() && text[i] == '.') {
    for (++i; i < text.size() && is_digit(text[i]); ++i) {
      any_digit = true;
      if (fraction_digits < 18) {
        fraction = fraction * 10 + (text[i] - '0');
        ++fraction_digits;
      } else {
        sticky = sticky || text[i] != '0';
      }
    }
  }
  if (i == first || !any_digit) return bad_format();
  const std::string_view suffix = text.substr(i);

  Quantity q;
  Int128 nano = 0;
  const auto* binary = std::find_if(kBinary.begin(), kBinary.end(),
                                    [&](const Suffix& s) { return s.text == suffix; });
  const auto* decimal = std::find_if(kDecimal.begin(), kDecimal.end(),
                                     [&](const Suffix& s) { return s.text == suffix; });
  int exponent = 0;
  if (binary != kBinary.end()) {
    q.format_ = Format::BinarySI;
    nano = scale_up(whole, fraction, fraction_digits, Int128{1} << binary->exponent);
  } else {
    if (decimal != kDecimal.end()) {
      exponent = decimal->exponent;
    } else {
      if (suffix.size() < 2 || (suffix[0] != 'e' && suffix[0] != 'E')) {
        for (const char c : suffix) {
          if (!is_digit(c) &&
              std::string_view("eEinumkKMGTP+-").find(c) == std::string_view::npos) {
            return bad_format();
          }
        }
        return bad_suffix();
      }
      std::size_t j = 1;
      bool down = false;
      if (suffix[j] == '+' || suffix[j] == '-') down = suffix[j++] == '-';
      if (j == suffix.size()) return bad_suffix();
      for (; j < suffix.size(); ++j) {
        if (!is_digit(suffix[j])) return bad_suffix();
        exponent = std::min(1000, exponent * 10 + (suffix[j] - '0'));
      }
      if (down) exponent = -exponent;
      q.format_ = Format::DecimalExponent;
    }
    if (exponent > 18) {
      nano = whole == 0 && fraction == 0 ? 0 : kCap;
      if (whole == 0 && exponent <= 36) {
        nano = std::min(kCap, scale_up(0, fraction, fraction_digits, pow10(18)));
        for (int e = exponent; e > 18; --e) nano = nano > kCap / 10 ? kCap : nano * 10;
      }
    } else if (exponent >= 0) {
      nano = scale_up(whole, fraction, fraction_digits, pow10(exponent));
    } else {
      nano = scale_down(whole, fraction, fraction_digits, -exponent);
    }
  }
  if (saturated) nano = kCap;
  if (sticky && nano < kCap && nano == 0) nano = 1;
  q.nano_ = negative ? -nano : nano;
  return q;
}

std::string Quantity::str() const {
  if (nano_ == 0) return "0";
  if (format_ == Format::BinarySI && (nano_ <= -1024 * kNano || nano_ >= 1024 * kNano)) {
    Int128 v = nano_ / kNano;
    if (nano_ % kNano != 0) v += nano_ < 0 ? -1 : 1;
    std::size_t step = 0;
    while (step < kBinary.size() && v % 1024 == 0) {
      v /= 1024;
      ++step;
    }
    return digits(v) + (step == 0 ? std::string() : std::string(kBinary[step - 1].text));
  }
  Int128 v = nano_;
  std::size_t step = 0;
  while (step + 1 < kDecimal.size() && v % 1000 == 0) {
    v /= 1000;
    ++step;
  }
  if (format_ == Format::DecimalExponent) {
    const int e = kDecimal[step].exponent;
    return digits(v) + (e == 0 ? std::string() : "e" + std::to_string(e));
  }
  return digits(v) + std::string(kDecimal[step].text);
}

namespace {
std::int64_t saturate(Int128 v) {
  return v > INT64_MAX ? INT64_MAX : v < INT64_MIN ? INT64_MIN : static_cast<std::int64_t>(v);
}
Int128 away_from_zero(Int128 a, Int128 b) {
  const Int128 q = a / b;
  return a % b == 0 ? q : q + (a < 0 ? -1 : 1);
}
}  // namespace

std::int64_t Quantity::value() const { return saturate(away_from_zero(nano_, kNano)); }
std::int64_t Quantity::milli() const { return saturate(away_from_zero(nano_, 1'000'000)); }
double Quantity::number() const { return static_cast<double>(nano_) / 1e9; }

Quantity Quantity::operator+(const Quantity& o) const {
  Quantity q = *this;
  q.nano_ = std::clamp(nano_ + o.nano_, -kCap, kCap);
  return q;
}

}  // namespace knit
