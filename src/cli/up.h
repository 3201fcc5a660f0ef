// `knit up`, `down`, `status`: front ends of the supervisor.
#pragma once

#include "cli/command.h"

namespace knit::cli {

int run_up(const Invocation& in);
int run_down(const Invocation& in);
int run_status(const Invocation& in);

/// Where `up` leaves the resolved settings for `down`: in the data directory, which the second
/// line of the run directory's file `owner` names.
inline constexpr const char* kSettingsFile = "/settings";
/// Marks a data directory as Knit's: `down --purge` removes no directory without it.
inline constexpr const char* kMarkerFile = "/.knit-data";
/// Users that `up` made, one a line: `down --purge` removes them again.
inline constexpr const char* kUsersFile = "/made-users";

Result<Settings> load_settings(const std::string& path);
/// "0.031 s" after `since`.
std::string seconds_since(Instant since);
/// The memory lines of `up` and `status`: per process and the sum.
std::string memory_table(const struct SupervisorState& state);

}  // namespace knit::cli
