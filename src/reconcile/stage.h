// How a write becomes an object: the rules of the API that need no schema. FakeBackend uses them
// as they are; a real backend adds defaults and validation through `admit`.
#pragma once

#include "reconcile/backend.h"

namespace knit::reconcile {

struct StageRules {
  WallTime now;
  std::function<std::string()> uid;  // a fresh one
  /// Defaults, mutation and validation of the object as it will be stored; `before` is null on
  /// create. Not called for status writes. Optional.
  std::function<Result<void>(const World& seen, const Key& key, Json& object, const Json* before)>
      admit;
};

/// Errors: AlreadyExists (create), NotFound (merge, status), Conflict (uid), and those of `admit`.
/// Source: kubernetes apiserver pkg/registry/rest/{create,update,delete}.go,
/// registry/generic/registry/store.go
Result<Effect> stage_write(const World& seen, const Write& write, const StageRules& rules);

}  // namespace knit::reconcile
