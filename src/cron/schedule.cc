#include "cron/schedule.h"

#include <charconv>
#include <chrono>

namespace knit::cron {
namespace {
struct Field {
  const char* name;
  unsigned low, high;
  const char* names;  // three letters each, from `low`
};
constexpr Field kFields[] = {{"second", 0, 59, ""},
                             {"minute", 0, 59, ""},
                             {"hour", 0, 23, ""},
                             {"day of month", 1, 31, ""},
                             {"month", 1, 12, "janfebmaraprmayjunjulaugsepoctnovdec"},
                             {"day of week", 0, 6, "sunmontuewedthufrisat"}};
constexpr int kHorizonYears = 5;

Error bad(const Field& field, std::string_view text, const std::string& why) {
  return {Code::InvalidArgument, "schedule: " + std::string(field.name) + " field \"" +
                                     std::string(text.substr(0, 64)) + "\": " + why};
}

Result<unsigned> number(const Field& field, std::string_view text) {
  const std::string_view names = field.names;
  if (text.size() == 3 && !names.empty()) {
    std::string lower(text);
    for (char& c : lower) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
    for (std::size_t i = 0; i < names.size(); i += 3) {
      if (names.substr(i, 3) == lower) return field.low + static_cast<unsigned>(i / 3);
    }
  }
  unsigned value = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || ec != std::errc() || end != text.data() + text.size()) {
    return bad(field, text, "not a number");
  }
  return value;
}

/// One of the comma's parts: *, ?, n, n-m, each with /step.
Result<std::uint64_t> range(const Field& field, std::string_view text, bool& any) {
  const auto slash = text.find('/');
  const auto body = text.substr(0, slash);
  unsigned low = field.low, high = field.high, step = 1;
  const bool star = body == "*" || body == "?";
  if (!star) {
    const auto dash = body.find('-');
    KNIT_TRY(low, number(field, body.substr(0, dash)));
    high = low;
    if (dash != std::string_view::npos) {
      KNIT_TRY(high, number(field, body.substr(dash + 1)));
    } else if (slash != std::string_view::npos) {
      high = field.high;  // "n/step" is "n-max/step"
    }
  }
  if (slash != std::string_view::npos) {
    KNIT_TRY(step, number(field, text.substr(slash + 1)));
    if (step == 0) return bad(field, text, "step of range should be a positive number");
  }
  if (low < field.low) return bad(field, text, "below minimum " + std::to_string(field.low));
  if (high > field.high) return bad(field, text, "above maximum " + std::to_string(field.high));
  if (low > high) return bad(field, text, "beginning of range is beyond its end");
  if (star && step == 1) any = true;
  std::uint64_t bits = 0;
  for (unsigned v = low; v <= high; v += step) {
    bits |= std::uint64_t{1} << v;
    if (step > high) break;
  }
  return bits;
}

Result<std::uint64_t> field_bits(const Field& field, std::string_view text, bool& any) {
  std::uint64_t bits = 0;
  for (std::size_t from = 0; from <= text.size();) {
    auto comma = text.find(',', from);
    if (comma == std::string_view::npos) comma = text.size();
    KNIT_TRY(const std::uint64_t more, range(field, text.substr(from, comma - from), any));
    bits |= more;
    from = comma + 1;
  }
  return bits;
}

bool in(std::uint64_t bits, unsigned value) { return (bits >> value & 1U) != 0; }
}  // namespace

Result<Schedule> Schedule::parse(std::string_view text) {
  if (text.size() > 1024) return Error(Code::InvalidArgument, "schedule: too long");
  if (text.starts_with("TZ=") || text.starts_with("CRON_TZ=")) {
    return Error(Code::InvalidArgument, "schedule: set spec.timezone instead of " +
                                            std::string(text.substr(0, text.find('='))));
  }
  std::string expanded(text);
  if (text.starts_with('@')) {
    const struct {
      std::string_view name, fields;
    } descriptors[] = {{"@yearly", "0 0 0 1 1 *"},  {"@annually", "0 0 0 1 1 *"},
                       {"@monthly", "0 0 0 1 * *"}, {"@weekly", "0 0 0 * * 0"},
                       {"@daily", "0 0 0 * * *"},   {"@midnight", "0 0 0 * * *"},
                       {"@hourly", "0 0 * * * *"}};
    if (text.starts_with("@every")) {
      return Error(Code::InvalidArgument, "unsupported descriptor @every");
    }
    expanded.clear();
    for (const auto& d : descriptors) {
      if (d.name == text) expanded = d.fields;
    }
    if (expanded.empty()) {
      return Error(Code::InvalidArgument, "unrecognized descriptor: " + std::string(text));
    }
  }
  std::vector<std::string_view> parts;
  const std::string_view all = expanded;
  for (std::size_t at = 0; at < all.size();) {
    const auto from = all.find_first_not_of(" \t", at);
    if (from == std::string_view::npos) break;
    const auto end = std::min(all.find_first_of(" \t", from), all.size());
    parts.push_back(all.substr(from, end - from));
    at = end;
  }
  if (parts.size() != 5 && parts.size() != 6) {
    return Error(Code::InvalidArgument, "expected 5 to 6 fields, found " +
                                            std::to_string(parts.size()) + ": [" + expanded + "]");
  }
  if (parts.size() == 5) parts.insert(parts.begin(), "0");
  Schedule out;
  bool unused = false;
  KNIT_TRY(out.second_, field_bits(kFields[0], parts[0], unused));
  KNIT_TRY(out.minute_, field_bits(kFields[1], parts[1], unused));
  KNIT_TRY(out.hour_, field_bits(kFields[2], parts[2], unused));
  KNIT_TRY(out.day_, field_bits(kFields[3], parts[3], out.any_day_));
  KNIT_TRY(out.month_, field_bits(kFields[4], parts[4], unused));
  KNIT_TRY(out.weekday_, field_bits(kFields[5], parts[5], out.any_weekday_));
  return out;
}

bool Schedule::day_matches(std::int64_t days_since_epoch) const {
  using namespace std::chrono;
  const sys_days date{days{days_since_epoch}};
  const year_month_day ymd{date};
  if (!in(month_, static_cast<unsigned>(ymd.month()))) return false;
  const bool by_day = in(day_, static_cast<unsigned>(ymd.day()));
  const bool by_weekday = in(weekday_, weekday{date}.c_encoding());
  // Both restricted: either is enough (cron's rule).
  return any_day_ || any_weekday_ ? by_day && by_weekday : by_day || by_weekday;
}

std::optional<WallTime> Schedule::next(WallTime now, const TimeZone& zone) const {
  constexpr std::int64_t kSecond = 1'000'000'000, kDay = 86400, kHour = 3600, kMinute = 60;
  // No step crosses a change of the zone's offset: those lie on quarters of an hour.
  constexpr std::int64_t kQuarter = 900;
  const auto floor_div = [](std::int64_t a, std::int64_t b) { return a / b - (a % b < 0 ? 1 : 0); };
  std::int64_t t = floor_div(now.ns, kSecond) + 1;
  // Time goes forward; a local time that comes twice fires twice, one that never comes does not.
  for (const std::int64_t end = t + kHorizonYears * 366 * kDay; t < end;) {
    const std::int64_t offset = zone.offset_at(t);
    const std::int64_t day = floor_div(t + offset, kDay);
    const std::int64_t clock = t + offset - day * kDay;
    const auto to_quarter = kQuarter - clock % kQuarter;
    if (!day_matches(day)) {
      const std::int64_t midnight = t + kDay - clock;
      t = zone.offset_at(midnight) == offset ? midnight : t + to_quarter;
    } else if (!in(hour_, static_cast<unsigned>(clock / kHour))) {
      t += to_quarter;
    } else if (!in(minute_, static_cast<unsigned>(clock % kHour / kMinute))) {
      t += kMinute - clock % kMinute;
    } else if (!in(second_, static_cast<unsigned>(clock % kMinute))) {
      ++t;
    } else {
      return WallTime{t * kSecond};
    }
  }
  return std::nullopt;
}

}  // namespace knit::cron
