// `knit check`: the pre-flight on files and standard input.
#pragma once

#include "check/input/kubeconfig.h"
#include "cli/command.h"

namespace knit::app {
cli::Command check_command();

/// As kubectl: --kubeconfig, else KUBECONFIG's list, else `otherwise` or ~/.kube/config; --context.
Result<check::input::Access> access_of(const cli::Invocation& in, std::string otherwise = {});
}
