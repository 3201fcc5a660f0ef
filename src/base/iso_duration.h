// Durations of ISO 8601, as Knative's delivery settings have them. Source: rickb777/date period.Parse
#pragma once

#include <string_view>

#include "base/time.h"

namespace knit {

/// "PT0.2S", "P1DT2H", "-PT1S"; a year is 365.2425 days, a month a twelfth of it. Errors:
/// InvalidArgument, also for what 64-bit nanoseconds do not reach.
Result<Duration> parse_iso_duration(std::string_view text);

}  // namespace knit
