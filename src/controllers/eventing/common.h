// Names of Knative Eventing and what all of its planners share: one object as a Subject, conditions
// that mirror another object's Ready, children.
// Source: knative/eventing pkg/apis, pkg/reconciler
#pragma once

#include "controllers/serving/subject.h"
#include "reconcile/driver.h"

namespace knit::eventing {

using kube::Key;
using kube::Resource;
using reconcile::ObjectPtr;
using reconcile::Plan;
using reconcile::Planner;
using reconcile::World;
using serving::Condition;
using serving::Conditions;
using serving::find_condition;
using serving::name_of;
using serving::namespace_of;
using serving::Subject;
using serving::uid_of;

inline constexpr std::string_view kNamespace = "knative-eventing";
inline constexpr std::string_view kMtBroker = "MTChannelBasedBroker";

namespace res {
using namespace kube::res;
#define KNIT_RESOURCE(id, name)                   \
  inline Resource id() {                          \
    static const Resource r = Resource::of(name); \
    return r;                                     \
  }
KNIT_RESOURCE(brokers, "brokers.eventing.knative.dev")
KNIT_RESOURCE(triggers, "triggers.eventing.knative.dev")
KNIT_RESOURCE(eventtypes, "eventtypes.eventing.knative.dev")
KNIT_RESOURCE(eventpolicies, "eventpolicies.eventing.knative.dev")
KNIT_RESOURCE(channels, "channels.messaging.knative.dev")
KNIT_RESOURCE(imcs, "inmemorychannels.messaging.knative.dev")
KNIT_RESOURCE(subscriptions, "subscriptions.messaging.knative.dev")
KNIT_RESOURCE(sequences, "sequences.flows.knative.dev")
KNIT_RESOURCE(parallels, "parallels.flows.knative.dev")
KNIT_RESOURCE(pingsources, "pingsources.sources.knative.dev")
KNIT_RESOURCE(containersources, "containersources.sources.knative.dev")
KNIT_RESOURCE(sinkbindings, "sinkbindings.sources.knative.dev")
#undef KNIT_RESOURCE
}  // namespace res

/// How one condition follows the Ready of another object.
struct Follow {
  std::string_view type;          // of the follower
  std::string_view unset_reason;  // the other has no Ready yet
  std::string_view unset_message;
};
/// True, False or Unknown as `other` (null JSON: as one without a status) says.
void follow(Conditions& conditions, const Follow& how, const Json& other);

/// An object with name, namespace and labels of its own, ready for Subject::ensure_child.
Json make_object(std::string_view api_version, std::string_view kind, const Key& key);
/// Where `apiVersion` and `kind` are kept; nullopt when the kind is unknown.
std::optional<Key> key_of(const Json& reference, std::string_view default_namespace);
/// {apiVersion, kind, name, namespace}.
Json reference_to(const Json& object);
/// KnativeEventing is there, accepted by the operator and not being deleted.
bool installed(const World& world);
/// Plans every key of `planner.owns` again when what a reference shows of one of `changed` changes
/// (existence, address, Ready), when a ConfigMap or Endpoints of the system namespace changes, and
/// when KnativeEventing does.
void replan_all(Planner& planner, std::initializer_list<Resource> changed);
/// Plans the keys of the same namespace again on any change.
void replan_namespace(Planner& planner, std::initializer_list<Resource> changed);
/// Endpoints in the system namespace with an address; nullopt when there is no such object.
std::optional<bool> endpoints_ready(const World& world, std::string_view name);
/// No policy is in force: `authentication-oidc` is off (it is refused), so nothing is checked.
void no_event_policies(Conditions& conditions);
void no_oidc_identity(Conditions& conditions);
/// Sets or removes a field of the status.
void put(Json& status, std::string_view field, Json value);

}  // namespace knit::eventing
