// Connections to a running cluster's API server, over TCP and TLS.
#pragma once

#include "check/input/kubeconfig.h"
#include "http/client.h"
#include "io/loop.h"

namespace knit::check::input {

/// Names are resolved once, off the loop. Errors: InvalidArgument (certificates).
Result<http::Connector> connector_to(io::Loop& loop, const Access& access);

}  // namespace knit::check::input
