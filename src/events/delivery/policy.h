// What delivery settings decide: pure functions over statuses and durations.
// Source: knative/eventing pkg/apis/duck/v1/delivery_types.go, pkg/kncloudevents/retries.go;
// spec/eventing.md 1.2, 2.2, 2.6, 7.1.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/iso_duration.h"
#include "base/json.h"
#include "base/result.h"
#include "base/time.h"

namespace knit::events {

enum class Backoff { None, Linear, Exponential };
enum class Format { AsReceived, Json, Binary };
/// Unordered: up to a limit at a time. Ordered: one at a time, a retry holds all others back.
/// ByKey: ordered among events of one `partitionkey`, unordered among the others.
enum class Order { Unordered, Ordered, ByKey };

struct Policy {
  std::uint32_t retry = 0;  // tries after the first
  Backoff backoff = Backoff::None;
  Duration delay{0};
  Duration timeout = std::chrono::minutes(15);  // of one request
  std::optional<Duration> retry_after_max;
  Format format = Format::AsReceived;
  Order order = Order::Unordered;
  Duration cap{0};  // of one wait; 0: a year

  bool operator==(const Policy&) const = default;
};

/// Reads a DeliverySpec (its deadLetterSink is resolved elsewhere). Errors: InvalidArgument naming
/// the field.
Result<Policy> parse_delivery(const Json& delivery);

enum class Verdict { Delivered, Retry, Failed };
/// Of a status; 0 stands for no answer (refused, timed out, garbage).
Verdict judge(int status);

/// The wait before retry `k` (1 is the first), from the policy alone.
Duration backoff(const Policy& policy, std::uint32_t k);
/// ... with what the answer asks for. `retry_after` is the header's value, or empty.
Duration wait_before(const Policy& policy, std::uint32_t k, int status,
                     std::string_view retry_after, WallTime now);
/// Seconds, or an HTTP date (in the past: 0). Nothing when it is neither.
std::optional<Duration> parse_retry_after(std::string_view value, WallTime now);

/// How long an event rests after its dead letter sink failed for the nth time (1 is the first): a
/// minute, doubled up to an hour.
Duration park_time(std::uint32_t n);

}  // namespace knit::events
