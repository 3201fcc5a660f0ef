// `knit check`: the pre-flight on files and standard input.
#pragma once

#include "cli/command.h"

namespace knit::app {
cli::Command check_command();
}
