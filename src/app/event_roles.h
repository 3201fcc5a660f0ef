// Which built-in roles knit-events has to play now: those with a pod that runs on this node. The
// supervisor runs the process while the list is not empty.
#pragma once

#include <functional>
#include <map>

#include "ipc/messages.h"
#include "reconcile/backend.h"

namespace knit::app {

class EventRoles {
 public:
  /// `plays(role)`: knit-events carries it out. `tell` gets the whole list, whenever it changes.
  EventRoles(std::string node, std::function<bool(std::string_view)> plays,
             std::function<void(const ipc::Roles&)> tell);

  /// Tells the list, also an empty one, and follows it from now on. `backend` outlives this.
  void start(reconcile::Backend& backend);

  /// The role of a pod that is bound to this node and runs; nothing for any other pod.
  std::optional<ipc::Role> role_of(const reconcile::ObjectPtr& pod) const;

 private:
  bool put(const std::string& uid, std::optional<ipc::Role> role);
  void tell() const;
  const std::string node_;
  const std::function<bool(std::string_view)> plays_;
  const std::function<void(const ipc::Roles&)> tell_;
  std::map<std::string, ipc::Role> roles_;  // by uid
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace knit::app
