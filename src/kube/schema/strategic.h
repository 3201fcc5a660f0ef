// Strategic merge patch, driven by the tables' merge keys.
#pragma once

#include "kube/schema/schema.h"

namespace knit::schema {

/// Applies `patch` with its directives ($patch, $retainKeys, $setElementOrder/…,
/// $deleteFromPrimitiveList/…). Errors: InvalidArgument (a malformed directive, a missing merge
/// key); Unsupported for custom resources (HTTP 415).
/// Source: apimachinery pkg/util/strategicpatch/patch.go
Result<Json> strategic_merge(const Kind& kind, Json target, const Json& patch);

}  // namespace knit::schema
