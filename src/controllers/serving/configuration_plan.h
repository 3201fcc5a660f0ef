// Which Revision a Configuration's template stands for.
#pragma once

#include "controllers/serving/subject.h"

namespace knit::serving {

enum class NameState {
  Unnamed,   // the template gives no name
  Free,      // no such Revision
  Ours,      // this Revision is the template's
  Conflict,  // somebody else's, or ours with another spec
};
struct NameCheck {
  NameState state = NameState::Unnamed;
  ObjectPtr revision;
};
/// Source: knative/serving pkg/reconciler/configuration/configuration.go CheckNameAvailability
NameCheck check_name(const World& world, const Json& configuration);

/// The Revision object that a Configuration's current generation stands for.
Json make_revision(const Json& configuration, WallTime now);

}  // namespace knit::serving
