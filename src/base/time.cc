#include "base/time.h"

#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <limits>

namespace knit {
namespace {

/// Days since 1970-01-01 of a proleptic Gregorian date.
std::int64_t days_from_civil(std::int64_t y, int m, int d) {
  return std::chrono::sys_days(std::chrono::year(static_cast<int>(y)) /
                               std::chrono::month(static_cast<unsigned>(m)) /
                               std::chrono::day(static_cast<unsigned>(d)))
      .time_since_epoch()
      .count();
}

std::string format(WallTime t, int digits) {
  std::int64_t seconds = t.ns / 1'000'000'000;
  std::int64_t nanos = t.ns % 1'000'000'000;
  if (nanos < 0) {
    nanos += 1'000'000'000;
    --seconds;
  }
  std::int64_t days = seconds / 86400;
  std::int64_t rest = seconds % 86400;
  if (rest < 0) {
    rest += 86400;
    --days;
  }
  const std::chrono::year_month_day date{std::chrono::sys_days(std::chrono::days(days))};
  char buffer[64];
  int n = std::snprintf(buffer, sizeof buffer, "%04d-%02u-%02uT%02d:%02d:%02d",
                        static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                        static_cast<unsigned>(date.day()), static_cast<int>(rest / 3600),
                        static_cast<int>(rest / 60 % 60), static_cast<int>(rest % 60));
  std::string out(buffer, static_cast<std::size_t>(n));
  if (digits > 0) {
    n = std::snprintf(buffer, sizeof buffer, ".%09lld", static_cast<long long>(nanos));
    out.append(buffer, static_cast<std::size_t>(1 + digits));
  }
  return out + "Z";
}

struct Unit {
  std::string_view name;
  double ns;
};
constexpr Unit kUnits[] = {{"ns", 1},          {"us", 1e3},          {"\xC2\xB5s", 1e3},
                           {"\xCE\xBCs", 1e3}, {"ms", 1e6},          {"s", 1e9},
                           {"m", 6e10},        {"h", 3.6e12}};

}  // namespace

std::string rfc3339(WallTime t) { return format(t, 0); }
std::string rfc3339_fraction(WallTime t, int digits) { return format(t, digits); }

Result<WallTime> parse_rfc3339(std::string_view text) {
  const auto bad = [&] {
    return Error(Code::InvalidArgument, "\"" + std::string(text.substr(0, 64)) +
                                            "\" is not an RFC 3339 time like "
                                            "2026-01-02T15:04:05Z");
  };
  const std::string s(text);
  int y = 0, mo = 0, d = 0, h = 0, mi = 0, sec = 0, used = 0;
  if (std::sscanf(s.c_str(), "%4d-%2d-%2d%*1[Tt]%2d:%2d:%2d%n", &y, &mo, &d, &h, &mi, &sec,
                  &used) != 6 ||
      mo < 1 || mo > 12 || d < 1 || d > 31 || h > 23 || mi > 59 || sec > 60) {
    return bad();
  }
  std::size_t at = static_cast<std::size_t>(used);
  std::int64_t nanos = 0;
  if (at < s.size() && s[at] == '.') {
    std::int64_t scale = 100'000'000;
    for (++at; at < s.size() && std::isdigit(static_cast<unsigned char>(s[at])) != 0; ++at) {
      nanos += (s[at] - '0') * scale;
      scale /= 10;
    }
  }
  std::int64_t offset = 0;
  if (at < s.size() && (s[at] == 'Z' || s[at] == 'z')) {
    ++at;
  } else if (at + 6 == s.size() && (s[at] == '+' || s[at] == '-')) {
    int oh = 0, om = 0;
    if (std::sscanf(s.c_str() + at + 1, "%2d:%2d", &oh, &om) != 2) return bad();
    offset = (oh * 3600 + om * 60) * (s[at] == '-' ? -1 : 1);
    at += 6;
  } else {
    return bad();
  }
  if (at != s.size()) return bad();
  const std::int64_t seconds =
      days_from_civil(y, mo, d) * 86400 + h * 3600 + mi * 60 + sec - offset;
  // Years that nanoseconds in 64 bits do not reach (before 1678, after 2261) count as the nearest.
  constexpr std::int64_t limit = std::numeric_limits<std::int64_t>::max() / 1'000'000'000 - 1;
  if (seconds > limit || seconds < -limit) {
    return WallTime{(seconds > 0 ? limit : -limit) * 1'000'000'000};
  }
  return WallTime{seconds * 1'000'000'000 + nanos};
}

Result<Duration> parse_go_duration(std::string_view text) {
  const auto bad = [&] {
    return Error(Code::InvalidArgument, "\"" + std::string(text.substr(0, 64)) +
                                            "\" is not a duration like 30s or 1h5m");
  };
  std::string_view rest = text;
  bool negative = false;
  if (!rest.empty() && (rest.front() == '-' || rest.front() == '+')) {
    negative = rest.front() == '-';
    rest.remove_prefix(1);
  }
  if (rest == "0") return Duration(0);
  if (rest.empty()) return bad();
  double total = 0;
  while (!rest.empty()) {
    std::size_t digits = 0;
    while (digits < rest.size() && (std::isdigit(static_cast<unsigned char>(rest[digits])) != 0 ||
                                    rest[digits] == '.')) {
      ++digits;
    }
    if (digits == 0 || digits > 20) return bad();
    const std::string number(rest.substr(0, digits));
    if (number == "." || number.find('.') != number.rfind('.')) return bad();
    rest.remove_prefix(digits);
    std::size_t letters = 0;
    while (letters < rest.size() && std::isdigit(static_cast<unsigned char>(rest[letters])) == 0 &&
           rest[letters] != '.') {
      ++letters;
    }
    const std::string_view unit = rest.substr(0, letters);
    rest.remove_prefix(letters);
    double scale = 0;
    for (const auto& known : kUnits) {
      if (known.name == unit) scale = known.ns;
    }
    if (scale == 0) return bad();
    total += std::strtod(number.c_str(), nullptr) * scale;
  }
  if (total > 9.2e18) return bad();
  const auto ns = static_cast<std::int64_t>(total + 0.5);
  return Duration(negative ? -ns : ns);
}

std::string go_duration(Duration d) {
  if (d.count() == 0) return "0s";
  std::string out;
  std::int64_t ns = d.count();
  if (ns < 0) {
    out = "-";
    ns = -ns;
  }
  const auto fraction = [](double v) {
    char buffer[40];
    std::snprintf(buffer, sizeof buffer, "%.9f", v);
    std::string s = buffer;
    s.erase(s.find_last_not_of('0') + 1);
    if (s.back() == '.') s.pop_back();
    return s;
  };
  if (ns < 1'000) return out + std::to_string(ns) + "ns";
  if (ns < 1'000'000) return out + fraction(static_cast<double>(ns) / 1e3) + "\xC2\xB5s";
  if (ns < 1'000'000'000) return out + fraction(static_cast<double>(ns) / 1e6) + "ms";
  const std::int64_t hours = ns / 3'600'000'000'000;
  const std::int64_t minutes = ns / 60'000'000'000 % 60;
  if (hours > 0) out += std::to_string(hours) + "h";
  if (hours > 0 || minutes > 0) out += std::to_string(minutes) + "m";
  return out + fraction(static_cast<double>(ns % 60'000'000'000) / 1e9) + "s";
}

}  // namespace knit
