// What `knit event` prints, from knit-events' JSON (events/host/admin.h).
#pragma once

#include <string>

#include "base/json.h"

namespace knit::app {

std::string event_trace_text(const Json& trace);
std::string event_stat_text(const Json& stat);
/// Lines of /recent, one for each event.
std::string event_lines_text(const Json& recent);
std::string event_dlq_text(const Json& dlq);

}  // namespace knit::app
