// JSON patch (RFC 6902), and a look at merge patches (RFC 7386: json::merge_patch); strategic merge
// patch needs the tables and lives in kube/schema/strategic.h.
#pragma once

#include "base/json.h"

namespace knit::kube {

inline constexpr std::size_t kMaxPatchOperations = 10'000;

/// Applies every operation or none. Errors: InvalidArgument (a malformed patch: HTTP 400),
/// Conflict (a path is missing or a test fails: HTTP 422), ResourceExhausted (too many: HTTP 413).
Result<Json> json_patch(const Json& target, const Json& patch);

/// True when json::merge_patch() would leave `target` as it is: costs the patch, not the target.
bool merges_nothing(const Json& target, const Json& patch);

}  // namespace knit::kube
