#include "kube/schema/tables.h"

#include <array>

namespace knit::schema::tables {

// Defined by the sources that CMake makes from tables/*.txt.
#define KNIT_TABLES(X)                                                                             \
  X(meta)                                                                                          \
  X(core)                                                                                          \
  X(apps)                                                                                          \
  X(authentication)                                                                                \
  X(authorization)                                                                                 \
  X(autoscaling)                                                                                   \
  X(batch)                                                                                         \
  X(networking) X(policy) X(rbac) X(apiextensions) X(coordination) X(discovery) X(events) X(kinds) \
      X(istio) X(istio_kinds) X(knative) X(eventing) X(operators) X(maistra) X(openshift)
#define KNIT_DECLARE(name) extern const std::string_view k_##name;
KNIT_TABLES(KNIT_DECLARE)
KNIT_DECLARE(support)
#undef KNIT_DECLARE

std::span<const std::string_view> all() {
#define KNIT_LIST(name) k_##name,
  static const std::array texts = {KNIT_TABLES(KNIT_LIST)};
#undef KNIT_LIST
  return texts;
}

std::span<const std::string_view> support() {
  static const std::array texts = {k_support};
  return texts;
}

}  // namespace knit::schema::tables
