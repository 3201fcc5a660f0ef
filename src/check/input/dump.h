// Support dumps: folders and archives that `oc adm must-gather` and `oc adm inspect` write.
#pragma once

#include <map>
#include <string>

#include "check/objects.h"

namespace knit::check::input {

/// By the names of their files: cluster-scoped-resources/GROUP/…, namespaces/NS/GROUP/….
bool looks_like_dump(const std::map<std::string, std::string>& files);

/// Adds every object of a dump as a recorded one: a set that was `live`, knowing only the kinds
/// that the dump holds. Files that are no objects are counted, not refused; kinds that no rule
/// reads are passed over.
void add_dump(const std::map<std::string, std::string>& files, ObjectSet& out);

}  // namespace knit::check::input
