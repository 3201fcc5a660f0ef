// What planners see: an immutable snapshot, possibly with planned writes laid over it.
#pragma once

#include "base/time.h"
#include "kube/object.h"
#include "kube/resources.h"

namespace knit::reconcile {

using kube::Key;
using kube::ObjectPtr;
using kube::Resource;

/// Inputs of planners that are not API objects (autoscaler decisions, probe results, node facts):
/// small in-memory values beside the store, read like objects, never persisted.
enum class Signal {
  Decision,   // key: podautoscaler. {"desired": n, "excessBurst": n, "panic": bool, …}
  Reach,      // key: kingress. {"hash": "…", "ready": bool, "failure": "…"}
  Activator,  // key: podautoscaler. {"confirmed": bool}: every worker routes it to the activator
  Domain,     // key: ingresses.config.openshift.io "cluster"
  Digest,     // key: revision. {"<image>": {"digest": "…"} or {"error": "…"}}: resolved tags
  Delivery,   // key: inmemorychannel. {"subscribers": {"<uid>": {"observedGeneration": n,
              // "ready": bool, "message": "…"}}}: what the event plane serves
};

class World {
 public:
  virtual ~World() = default;
  /// nullptr when absent.
  virtual ObjectPtr get(const Key& key) const = 0;
  /// In key order; `ns` empty lists every namespace.
  virtual std::vector<ObjectPtr> list(Resource resource, std::string_view ns = {}) const = 0;
  virtual std::vector<ObjectPtr> labelled(Resource resource, std::string_view ns,
                                          std::string_view key, std::string_view value) const;
  /// Objects of `resource` with an ownerReference to `uid`.
  virtual std::vector<ObjectPtr> owned(Resource resource, std::string_view ns,
                                       std::string_view uid) const;
  /// The resources that may hold objects (namespace deletion, owner collection). The default is
  /// every collection of kube/resources.h; a store that knows more kinds overrides it.
  virtual std::vector<Resource> resources() const;
  /// The object with this uid, whatever its kind, or nullptr. The default scans; stores index.
  virtual ObjectPtr by_uid(std::string_view uid) const;
  /// Objects of any kind with an ownerReference to `uid`. The default scans; stores index.
  virtual std::vector<ObjectPtr> dependents(std::string_view uid) const;
  /// null JSON when absent.
  virtual Json signal(Signal kind, const Key& key) const = 0;
  virtual WallTime wall_now() const = 0;

  bool has(const Key& key) const { return get(key) != nullptr; }
  /// The parsed object, or null JSON when absent.
  Json view(const Key& key) const {
    const auto object = get(key);
    return object ? object->parse() : Json();
  }
};

}  // namespace knit::reconcile
