// What `knit check` says about one object while it is written: the texts of its Warning headers.
#pragma once

#include <string>
#include <vector>

#include "apiserver/registry.h"

namespace knit::app {

/// Whether rules look at objects of this kind that users write.
bool is_checked(const schema::Kind& kind);

/// Runs the rules over the object and what the store holds beside it; gives what they say about
/// this object, errors and warnings only, at most ten. What the store cannot show is left out, as
/// is everything about kinds of which it holds too many to look at within a write. Pure.
std::vector<std::string> check_warnings(const apiserver::ObjectReader& state,
                                        const schema::Kind& kind, const kube::Key& key,
                                        const Json& object, WallTime now);

}  // namespace knit::app
