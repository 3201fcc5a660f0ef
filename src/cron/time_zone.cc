#include <algorithm>
#include <chrono>
#include <fstream>

#include "cron/schedule.h"

namespace knit::cron {
namespace {
constexpr std::size_t kMaxBytes = 256 << 10;
constexpr std::size_t kHeader = 44;

std::int64_t big_endian(std::string_view data, std::size_t at, std::size_t bytes) {
  std::uint64_t value = (static_cast<unsigned char>(data[at]) & 0x80U) != 0 ? ~std::uint64_t{0} : 0;
  for (std::size_t i = 0; i < bytes; ++i) {
    value = value << 8U | static_cast<unsigned char>(data[at + i]);
  }
  return static_cast<std::int64_t>(value);
}
std::size_t count(std::string_view data, std::size_t at) {
  return static_cast<std::size_t>(big_endian(data, at, 4) & 0xffffffff);
}

/// Reads digits, at most six.
bool digits(std::string_view& text, std::int64_t& value) {
  std::size_t n = 0;
  value = 0;
  while (n < text.size() && n < 6 && text[n] >= '0' && text[n] <= '9') {
    value = value * 10 + (text[n++] - '0');
  }
  text.remove_prefix(n);
  return n > 0;
}
bool eat(std::string_view& text, char c) {
  if (!text.starts_with(c)) return false;
  text.remove_prefix(1);
  return true;
}
/// [+-]hh[:mm[:ss]]
bool clock(std::string_view& text, std::int64_t& seconds) {
  const bool minus = eat(text, '-');
  if (!minus) eat(text, '+');
  std::int64_t h = 0, m = 0, s = 0;
  if (!digits(text, h)) return false;
  if (eat(text, ':') && !digits(text, m)) return false;
  if (eat(text, ':') && !digits(text, s)) return false;
  seconds = (h * 3600 + m * 60 + s) * (minus ? -1 : 1);
  return true;
}
bool abbreviation(std::string_view& text) {
  if (eat(text, '<')) {
    const auto end = text.find('>');
    if (end == std::string_view::npos) return false;
    text.remove_prefix(end + 1);
    return true;
  }
  std::size_t n = 0;
  while (n < text.size() && ((text[n] | 32) >= 'a' && (text[n] | 32) <= 'z')) ++n;
  text.remove_prefix(n);
  return n > 0;
}
}  // namespace

bool TimeZone::parse_footer(std::string_view text, TimeZone& zone) {
  std::int64_t west = 0;
  if (!abbreviation(text) || !clock(text, west)) return false;
  zone.standard_ = -west;
  zone.summer_ = zone.standard_ + 3600;
  zone.has_footer_ = true;
  if (text.empty()) return true;
  if (!abbreviation(text)) return false;
  if (!text.starts_with(',')) {
    if (!clock(text, west)) return false;
    zone.summer_ = -west;
  }
  for (Rule* rule : {&zone.begins_, &zone.ends_}) {
    std::int64_t n = 0;
    if (!eat(text, ',')) return false;
    if (eat(text, 'M')) {
      rule->kind = 'M';
      if (!digits(text, n) || n < 1 || n > 12 || !eat(text, '.')) return false;
      rule->month = static_cast<int>(n);
      if (!digits(text, n) || n < 1 || n > 5 || !eat(text, '.')) return false;
      rule->week = static_cast<int>(n);
      if (!digits(text, n) || n > 6) return false;
    } else {
      rule->kind = eat(text, 'J') ? 'J' : 'N';
      if (!digits(text, n) || n > 365) return false;
    }
    rule->day = static_cast<int>(n);
    if (eat(text, '/') && !clock(text, rule->second)) return false;
  }
  zone.has_dst_ = true;
  return text.empty();
}

std::int64_t TimeZone::rule_seconds(const Rule& rule, std::int64_t y) {
  using namespace std::chrono;
  const year calendar_year{static_cast<int>(y)};
  sys_days date;
  if (rule.kind == 'M') {
    const month m{static_cast<unsigned>(rule.month)};
    const weekday w{static_cast<unsigned>(rule.day)};
    date = rule.week == 5 ? sys_days{calendar_year / m / w[last]}
                          : sys_days{calendar_year / m / w[static_cast<unsigned>(rule.week)]};
  } else {
    date = sys_days{calendar_year / January / 1} + days{rule.day - (rule.kind == 'J' ? 1 : 0)};
    if (rule.kind == 'J' && rule.day >= 60 && calendar_year.is_leap()) date += days{1};
  }
  return static_cast<std::int64_t>(date.time_since_epoch().count()) * 86400 + rule.second;
}

Result<TimeZone> TimeZone::parse(std::string_view data) {
  const Error bad(Code::InvalidArgument, "time zone: not a TZif file of version 2 or newer");
  const auto body_size = [&](std::size_t at, std::size_t width) {
    return count(data, at + 32) * (width + 1) + count(data, at + 36) * 6 + count(data, at + 40) +
           count(data, at + 28) * (width + 4) + count(data, at + 24) + count(data, at + 20);
  };
  if (data.size() < kHeader || !data.starts_with("TZif") || data[4] < '2') return bad;
  if (data.size() > kMaxBytes) return bad;
  const std::size_t second = kHeader + body_size(0, 4);
  if (second > data.size() || data.size() - second < kHeader) return bad;
  if (data.substr(second, 4) != "TZif") return bad;
  const std::size_t transitions = count(data, second + 32), types = count(data, second + 36);
  const std::size_t at = second + kHeader;
  const std::size_t body = body_size(second, 8);
  if (body > data.size() || at + body > data.size() || types == 0) return bad;
  const std::size_t kinds = at + transitions * 8, infos = kinds + transitions;
  TimeZone zone;
  const auto offset = [&](std::size_t type) { return big_endian(data, infos + type * 6, 4); };
  zone.first_ = offset(0);
  for (std::size_t i = 0; i < transitions; ++i) {
    const auto type = static_cast<unsigned char>(data[kinds + i]);
    if (type >= types) return bad;
    zone.at_.push_back(big_endian(data, at + i * 8, 8));
    zone.offset_.push_back(offset(type));
  }
  if (!std::is_sorted(zone.at_.begin(), zone.at_.end())) return bad;
  auto footer = data.substr(at + body);
  if (footer.size() > 2 && footer.front() == '\n') {
    footer.remove_prefix(1);
    footer = footer.substr(0, footer.find('\n'));
    if (!footer.empty() && !parse_footer(footer, zone)) return bad;
  }
  return zone;
}

Result<TimeZone> TimeZone::load(std::string_view name, const std::string& directory) {
  const bool plain = !name.empty() && name.size() <= 64 && name.front() != '/' &&
                     name.find("..") == std::string_view::npos &&
                     std::all_of(name.begin(), name.end(), [](char c) {
                       return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                              (c >= '0' && c <= '9') || c == '/' || c == '_' || c == '-' ||
                              c == '+';
                     });
  if (!plain) {
    return Error(Code::InvalidArgument, "unknown time zone " + std::string(name.substr(0, 64)));
  }
  if (name == "UTC") return utc();
  std::ifstream file(directory + "/" + std::string(name), std::ios::binary);
  std::string data(kMaxBytes + 1, '\0');
  if (!file || !file.read(data.data(), static_cast<std::streamsize>(data.size())).eof()) {
    return Error(Code::NotFound, "unknown time zone " + std::string(name));
  }
  data.resize(static_cast<std::size_t>(file.gcount()));
  return parse(data);
}

std::int64_t TimeZone::offset_at(std::int64_t t) const {
  const auto next = std::upper_bound(at_.begin(), at_.end(), t);
  if (next == at_.begin() && !at_.empty()) return first_;
  if (next != at_.end() || !has_footer_) {
    return at_.empty() ? first_ : offset_[static_cast<std::size_t>(next - at_.begin()) - 1];
  }
  if (!has_dst_) return standard_;
  using namespace std::chrono;
  const std::int64_t local = t + standard_;
  const auto day = floor<days>(sys_seconds{seconds{local}});
  const std::int64_t y = static_cast<int>(year_month_day{day}.year());
  const std::int64_t begins = rule_seconds(begins_, y) - standard_;
  const std::int64_t ends = rule_seconds(ends_, y) - summer_;
  const bool summer = begins < ends ? t >= begins && t < ends : t >= begins || t < ends;
  return summer ? summer_ : standard_;
}

}  // namespace knit::cron
