#include "base/iso_duration.h"

namespace knit {

Result<Duration> parse_iso_duration(std::string_view text) {
  const Error error(Code::InvalidArgument,
                    "\"" + std::string(text) + "\" is no ISO 8601 duration (as PT0.2S)");
  std::string_view s = text;
  bool negative = false;
  if (!s.empty() && (s[0] == '-' || s[0] == '+')) {
    negative = s[0] == '-';
    s.remove_prefix(1);
  }
  if (s.empty() || s[0] != 'P') return error;
  s.remove_prefix(1);
  struct Unit {
    char name;
    bool time;
    double seconds;
  };
  static constexpr Unit kUnits[] = {
      {'Y', false, 365.2425 * 86400},
      {'M', false, 365.2425 * 86400 / 12},
      {'W', false, 7 * 86400.0},
      {'D', false, 86400},
      {'H', true, 3600},
      {'M', true, 60},
      {'S', true, 1},
  };
  std::size_t next = 0;  // units come in this order, each at most once
  bool time = false, any = false, fraction = false;
  double seconds = 0;
  while (!s.empty()) {
    if (s[0] == 'T') {
      if (time) return error;
      time = true;
      any = false;  // a T wants something after it
      s.remove_prefix(1);
      continue;
    }
    if (fraction) return error;  // only the smallest unit may have one
    double number = 0, scale = 0;
    std::size_t digits = 0;
    while (!s.empty() && ((s[0] >= '0' && s[0] <= '9') || s[0] == '.' || s[0] == ',')) {
      if (s[0] == '.' || s[0] == ',') {
        if (fraction || digits == 0) return error;
        fraction = true;
        scale = 1;
      } else {
        if (++digits > 18) return error;
        number = number * 10 + (s[0] - '0');
        scale *= 10;
      }
      s.remove_prefix(1);
    }
    if (s.empty() || digits == 0 || (fraction && scale < 10)) return error;
    if (fraction) number /= scale;
    while (next < std::size(kUnits) && (kUnits[next].name != s[0] || kUnits[next].time != time)) {
      ++next;
    }
    if (next == std::size(kUnits)) return error;
    seconds += number * kUnits[next++].seconds;
    any = true;
    s.remove_prefix(1);
  }
  if (!any || seconds > 9e9) return error;
  const auto ns = static_cast<std::int64_t>(seconds * 1e9 + 0.5);
  return Duration(negative ? -ns : ns);
}

}  // namespace knit
