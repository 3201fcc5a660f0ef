// Kubernetes resource quantities: "100m", "1Gi", "1e3".
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace knit {

/// An exact value in units of 10^-9 and the format it prints in.
/// Source: apimachinery pkg/api/resource/quantity.go
class Quantity {
 public:
  enum class Format : std::uint8_t { DecimalSI, BinarySI, DecimalExponent };

  Quantity() = default;
  static Quantity of(std::int64_t value, Format format = Format::DecimalSI);
  static Quantity of_milli(std::int64_t milli, Format format = Format::DecimalSI);
  /// Errors: InvalidArgument, in upstream's words ("quantities must match the regular expression
  /// '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'" or "unable to parse quantity's suffix").
  /// Values beyond 2^63-1 are capped, fractions below 10^-9 are rounded up, as upstream does.
  static Result<Quantity> parse(std::string_view text);

  /// Canonical: no fractional digits, the largest fitting suffix ("0.5" → "500m", "1024Mi" →
  /// "1Gi").
  std::string str() const;
  /// Rounded up (away from zero), as Quantity.Value() and MilliValue() do; saturating.
  std::int64_t value() const;
  std::int64_t milli() const;
  double number() const;
  bool negative() const { return nano_ < 0; }
  bool zero() const { return nano_ == 0; }
  Format format() const { return format_; }
  Quantity operator+(const Quantity& o) const;
  std::strong_ordering operator<=>(const Quantity& o) const { return nano_ <=> o.nano_; }
  bool operator==(const Quantity& o) const { return nano_ == o.nano_; }

 private:
  __extension__ using Int128 = __int128;
  Int128 nano_ = 0;
  Format format_ = Format::DecimalSI;
};

}  // namespace knit
