// JSON patch (RFC 6902). Merge patch (RFC 7386) is json::merge_patch; strategic merge patch needs
// the tables and lives in kube/schema/strategic.h.
#pragma once

#include "base/json.h"

namespace knit::kube {

inline constexpr std::size_t kMaxPatchOperations = 10'000;

/// Applies every operation or none. Errors: InvalidArgument (a malformed patch: HTTP 400),
/// Conflict (a path is missing or a test fails: HTTP 422), ResourceExhausted (too many: HTTP 413).
Result<Json> json_patch(const Json& target, const Json& patch);

}  // namespace knit::kube
