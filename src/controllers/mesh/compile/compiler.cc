#include "controllers/mesh/compile/compiler.h"

#include <algorithm>

namespace knit::mesh {

using proxy_config::Ref;
using proxy_config::Resource;

void Compiler::start(const World& world) {
  dirty_ = all_units(world, settings_);
  for (const auto& [unit, refs] : made_) dirty_.insert(unit);
  flush(world);
}

void Compiler::changed(const World& world, const reconcile::Change& change) {
  dirty_.merge(affected(change.before, change.after, world, settings_));
}

void Compiler::flush(const World& world) {
  std::set<Ref> removed;
  std::map<Ref, Resource> set;
  for (const Unit& unit : dirty_) {
    std::vector<Ref>& before = made_[unit];
    removed.insert(before.begin(), before.end());
    before.clear();
    for (Resource& resource : compile(unit, world, settings_)) {
      const Ref ref{resource.type, resource.name};
      before.push_back(ref);
      set[ref] = std::move(resource);
    }
    if (before.empty()) made_.erase(unit);
  }
  dirty_.clear();
  ConfigDelta delta;
  for (auto& [ref, resource] : set) {  // sorted by type
    removed.erase(ref);
    auto& slot = current_[ref];
    if (slot == resource) continue;
    slot = resource;
    delta.set.push_back(std::move(resource));
  }
  for (auto it = removed.rbegin(); it != removed.rend(); ++it) {
    current_.erase(*it);
    delta.removed.push_back(*it);
  }
  if ((!delta.set.empty() || !delta.removed.empty()) && sink_) sink_(delta);
}

}  // namespace knit::mesh
