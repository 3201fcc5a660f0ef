// Cells of `kubectl get`. Internal to kube/schema.
#pragma once

#include "kube/schema/schema.h"

namespace knit::schema {

/// "5m", "<unknown>" when there is no timestamp.
std::string age(const Json* timestamp, WallTime now);
/// Rows of Kubernetes' own kinds. Source: kubernetes pkg/printers/internalversion/printers.go.
Row builtin_row(const Kind& kind, const Json& object, WallTime now);
/// OpenShift's columns behind the name. Source: openshift/oc pkg/helpers/describe (printer).
void route_cells(const Json& object, JsonArray& cells);

}  // namespace knit::schema
