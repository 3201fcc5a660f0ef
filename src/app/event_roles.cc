#include "app/event_roles.h"

#include "controllers/mesh/compile/compile.h"
#include "image/reference.h"
#include "kube/resources.h"

namespace knit::app {

EventRoles::EventRoles(std::string node, std::function<bool(std::string_view)> plays,
                       std::function<void(const ipc::Roles&)> tell)
    : node_(std::move(node)), plays_(std::move(plays)), tell_(std::move(tell)) {}

std::optional<ipc::Role> EventRoles::role_of(const reconcile::ObjectPtr& object) const {
  if (object == nullptr || object->deleting()) return std::nullopt;
  // Most pods are no roles: one look at the bytes says so.
  if (object->bytes().find("knit.local/role/") == std::string::npos) return std::nullopt;
  const Json pod = object->parse();
  if (json::str(pod, {"spec", "nodeName"}) != node_ ||
      json::str(pod, {"status", "phase"}) != "Running") {
    return std::nullopt;
  }
  for (const Json& container : json::array(pod, {"spec", "containers"})) {
    const std::string_view role = image::role_of(json::str(container, {"image"}));
    if (role.empty() || !plays_(role)) continue;
    return ipc::Role{std::string(object->uid()), std::string(role), mesh::has_sidecar(pod)};
  }
  return std::nullopt;
}

bool EventRoles::put(const std::string& uid, std::optional<ipc::Role> role) {
  const auto old = roles_.find(uid);
  if (!role) {
    if (old == roles_.end()) return false;
    roles_.erase(old);
    return true;
  }
  if (old != roles_.end() && codec::encode(old->second) == codec::encode(*role)) return false;
  roles_[uid] = std::move(*role);
  return true;
}

void EventRoles::tell() const {
  ipc::Roles message;
  for (const auto& [uid, role] : roles_) message.roles.push_back(role);
  tell_(message);
}

void EventRoles::start(reconcile::Backend& backend) {
  const auto world = backend.snapshot();
  for (const auto& pod : world->list(kube::res::pods(), "")) {
    static_cast<void>(put(std::string(pod->uid()), role_of(pod)));
  }
  tell();
  backend.subscribe([this, alive = std::weak_ptr(alive_)](const reconcile::Change& change) {
    if (alive.expired() || change.key().resource != kube::res::pods()) return;
    const auto& object = change.after ? change.after : change.before;
    if (put(std::string(object->uid()), role_of(change.after))) tell();
  });
}

}  // namespace knit::app
