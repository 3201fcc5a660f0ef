#include "reconcile/world.h"

namespace knit::reconcile {
namespace res = kube::res;

std::vector<ObjectPtr> World::labelled(Resource resource, std::string_view ns, std::string_view key,
                                       std::string_view value) const {
  std::vector<ObjectPtr> out;
  for (auto& object : list(resource, ns)) {
    for (const auto& [name, have] : object->labels()) {
      if (name == key && have == value) {
        out.push_back(std::move(object));
        break;
      }
    }
  }
  return out;
}

namespace {
bool has_owner(const ObjectPtr& object, std::string_view uid) {
  for (const auto& owner : object->owners()) {
    if (owner.uid == uid) return true;
  }
  return false;
}
}  // namespace

std::vector<ObjectPtr> World::owned(Resource resource, std::string_view ns,
                                    std::string_view uid) const {
  std::vector<ObjectPtr> out;
  for (auto& object : list(resource, ns)) {
    if (has_owner(object, uid)) out.push_back(std::move(object));
  }
  return out;
}

std::vector<Resource> World::resources() const {
  static const std::vector<Resource> all = {res::namespaces(),
                                            res::pods(),
                                            res::services(),
                                            res::endpoints(),
                                            res::endpointslices(),
                                            res::configmaps(),
                                            res::secrets(),
                                            res::serviceaccounts(),
                                            res::nodes(),
                                            res::events(),
                                            res::leases(),
                                            res::deployments(),
                                            res::replicasets(),
                                            res::networkpolicies(),
                                            res::poddisruptionbudgets(),
                                            res::clusterroles(),
                                            res::clusterrolebindings(),
                                            res::roles(),
                                            res::rolebindings(),
                                            res::crds(),
                                            res::ksvcs(),
                                            res::configurations(),
                                            res::revisions(),
                                            res::kroutes(),
                                            res::podautoscalers(),
                                            res::metrics(),
                                            res::sks(),
                                            res::kingresses(),
                                            res::kcertificates(),
                                            res::images(),
                                            res::knativeservings(),
                                            res::knativeeventings(),
                                            res::knativekafkas(),
                                            res::smcps(),
                                            res::smmrs(),
                                            res::smms(),
                                            res::gateways(),
                                            res::virtualservices(),
                                            res::destinationrules(),
                                            res::serviceentries(),
                                            res::peerauthentications(),
                                            res::oroutes(),
                                            res::oingresses()};
  return all;
}

ObjectPtr World::by_uid(std::string_view uid) const {
  for (const Resource resource : resources()) {
    for (auto& object : list(resource)) {
      if (object->uid() == uid) return object;
    }
  }
  return nullptr;
}

std::vector<ObjectPtr> World::dependents(std::string_view uid) const {
  std::vector<ObjectPtr> out;
  for (const Resource resource : resources()) {
    for (auto& object : list(resource)) {
      if (has_owner(object, uid)) out.push_back(std::move(object));
    }
  }
  return out;
}

}  // namespace knit::reconcile
