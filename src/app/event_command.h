// `knit event …`.
#pragma once

#include <vector>

#include "cli/command.h"

namespace knit::app {

std::vector<cli::Command> event_commands();

}  // namespace knit::app
