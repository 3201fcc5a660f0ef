// Children whose labels, annotations and spec are exactly what their parent says.
#pragma once

#include "controllers/serving/subject.h"

namespace knit::serving {

/// As Subject::ensure_child, but labels, annotations and spec that `want` does not name go away.
void ensure_exact(Subject& subject, const Key& key, Json want);

}  // namespace knit::serving
