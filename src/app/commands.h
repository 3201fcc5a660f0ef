// All subcommands of `knit`. To add one: write a cli::Command next to its code (a function that
// returns it) and list it in commands.cc.
#pragma once

#include <vector>

#include "cli/command.h"

namespace knit::app {
std::vector<cli::Command> all_commands();
/// cert and image.
std::vector<cli::Command> data_commands();

}  // namespace knit::app
