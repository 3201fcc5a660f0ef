// Runs one scenario file (README.md) on a world of its own.
#pragma once

#include <string>
#include <vector>

namespace knit::scenario {

/// What went wrong, each with the step's line; empty: all as it says.
std::vector<std::string> run(const std::string& path);

}  // namespace knit::scenario
