#include "events/delivery/policy.h"

#include <algorithm>

namespace knit::events {
namespace {

using std::chrono::hours;
constexpr Duration kYear = hours(24) * 365;

Error invalid(std::string_view field, std::string_view value) {
  return Error(Code::InvalidArgument,
               "delivery." + std::string(field) + ": invalid value \"" + std::string(value) + "\"");
}

Result<std::optional<Duration>> duration_field(const Json& delivery, std::string_view field) {
  const Json* value = json::find(delivery, field);
  if (value == nullptr || value->is_null()) return std::optional<Duration>();
  if (!value->is_string()) return invalid(field, json::print(*value));
  const std::string_view text = value->get_string();
  auto d = parse_iso_duration(text);
  if (!d || *d < Duration(0)) return invalid(field, text);
  return std::optional(*d);
}

}  // namespace

Result<Policy> parse_delivery(const Json& delivery) {
  Policy out;
  if (delivery.is_null()) return out;
  if (!delivery.is_object()) {
    return Error(Code::InvalidArgument, "delivery: settings are an object");
  }
  if (const Json* retry = json::find(delivery, "retry"); retry != nullptr && !retry->is_null()) {
    const auto n = json::opt_i64(delivery, {"retry"});
    if (!n || *n < 0 || *n > INT32_MAX) return invalid("retry", json::print(*retry));
    out.retry = static_cast<std::uint32_t>(*n);
  }
  const std::string_view policy = json::str(delivery, {"backoffPolicy"});
  KNIT_TRY(const auto delay, duration_field(delivery, "backoffDelay"));
  if (!policy.empty() && policy != "linear" && policy != "exponential") {
    return invalid("backoffPolicy", policy);
  }
  if (!policy.empty() && delay) {  // one alone means no wait
    out.backoff = policy == "linear" ? Backoff::Linear : Backoff::Exponential;
    out.delay = *delay;
  }
  KNIT_TRY(const auto timeout, duration_field(delivery, "timeout"));
  if (timeout) {
    if (*timeout == Duration(0)) return invalid("timeout", json::str(delivery, {"timeout"}));
    out.timeout = *timeout;
  }
  KNIT_TRY(out.retry_after_max, duration_field(delivery, "retryAfterMax"));
  const std::string_view format = json::str(delivery, {"format"});
  if (format == "json") {
    out.format = Format::Json;
  } else if (format == "binary") {
    out.format = Format::Binary;
  } else if (!format.empty()) {
    return invalid("format", format);
  }
  return out;
}

Verdict judge(int status) {
  if (status >= 200 && status < 300) return Verdict::Delivered;
  if (status < 100 || status >= 500) return Verdict::Retry;
  if (status == 404 || status == 408 || status == 409 || status == 429) return Verdict::Retry;
  return Verdict::Failed;
}

Duration backoff(const Policy& policy, std::uint32_t k) {
  const Duration cap = policy.cap > Duration(0) ? policy.cap : kYear;
  if (policy.backoff == Backoff::None || k == 0) return Duration(0);
  double wait = static_cast<double>(policy.delay.count());
  if (policy.backoff == Backoff::Linear) {
    wait *= k - 1;
  } else {
    for (std::uint32_t i = 1; i < k && wait < static_cast<double>(cap.count()); ++i) wait *= 2;
  }
  return wait >= static_cast<double>(cap.count()) ? cap : Duration(static_cast<std::int64_t>(wait));
}

std::optional<Duration> parse_retry_after(std::string_view value, WallTime now) {
  while (!value.empty() && value.front() == ' ') value.remove_prefix(1);
  while (!value.empty() && value.back() == ' ') value.remove_suffix(1);
  if (value.empty()) return std::nullopt;
  const auto number = [](std::string_view s) -> std::optional<std::int64_t> {
    std::int64_t v = 0;
    for (const char c : s) {
      if (c < '0' || c > '9' || v > 1'000'000'000) return std::nullopt;
      v = v * 10 + (c - '0');
    }
    return s.empty() ? std::nullopt : std::optional(v);
  };
  if (const auto seconds = number(value)) {
    return std::chrono::seconds(std::min<std::int64_t>(*seconds, kYear / std::chrono::seconds(1)));
  }
  // Sun, 06 Nov 1994 08:49:37 GMT
  if (value.size() != 29 || !value.ends_with(" GMT") || value[3] != ',') return std::nullopt;
  static constexpr std::string_view kMonths = "JanFebMarAprMayJunJulAugSepOctNovDec";
  const auto month = kMonths.find(value.substr(8, 3));
  if (month == std::string_view::npos || month % 3 != 0) return std::nullopt;
  const std::string m = std::to_string(100 + month / 3 + 1).substr(1);
  const auto date =
      parse_rfc3339(std::string(value.substr(12, 4)) + "-" + m + "-" +
                    std::string(value.substr(5, 2)) + "T" + std::string(value.substr(17, 8)) + "Z");
  if (!date) return std::nullopt;
  return *date > now ? std::min(*date - now, kYear) : Duration(0);
}

Duration wait_before(const Policy& policy, std::uint32_t k, int status,
                     std::string_view retry_after, WallTime now) {
  const Duration wait = backoff(policy, k);
  if (!policy.retry_after_max || (status != 429 && status != 503)) return wait;
  const auto asked = parse_retry_after(retry_after, now);
  return asked ? std::max(wait, std::min(*asked, *policy.retry_after_max)) : wait;
}

Duration park_time(std::uint32_t n) {
  const std::uint32_t doublings = std::min(n > 0 ? n - 1 : 0, 6u);
  return std::min<Duration>(std::chrono::minutes(1) * (1 << doublings), hours(1));
}

}  // namespace knit::events
