// Reading a Pod as the API has it. Pure functions over its JSON.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "ipc/messages.h"

namespace knit::node {

enum class Kind { Init, Sidecar, Main };  // a Sidecar is an init container that keeps running

struct ContainerView {
  const Json* json = nullptr;
  Kind kind = Kind::Main;
  std::string name, image;
  std::string_view role;  // "queue-proxy": Knit plays it, there is no process
};
/// Init containers first, in order. The views point into `pod`.
std::vector<ContainerView> containers_of(const Json& pod);

std::string uid_of(const Json& pod);
std::string_view namespace_of(const Json& pod);
std::string_view name_of(const Json& pod);
bool deleting(const Json& pod);
/// Seconds: deletionGracePeriodSeconds, else the spec's, else 30.
std::int64_t grace_of(const Json& pod);

/// Guaranteed, Burstable or BestEffort. Source: kubernetes pkg/apis/core/v1/helper/qos/qos.go
std::string_view qos_class(const Json& pod);
/// Request or limit of a container in milli-units ("cpu") or bytes ("memory").
std::optional<std::int64_t> resource_of(const Json& container, std::string_view kind,
                                        std::string_view resource);

/// What the node cannot do, named: "spec.volumes[0].hostPath (volume \"x\") is not supported: use
/// …". Empty when the Pod can run.
std::string unsupported(const Json& pod);

/// A container's probe for the proxy; nullopt when there is none or it is an exec probe.
/// `which` is "startupProbe", "readinessProbe" or "livenessProbe"; the id is "NAME/readiness" ….
/// Errors: InvalidArgument (a named port that the container does not have).
Result<std::optional<ipc::ProbeSpec>> proxy_probe(const ContainerView& c, std::string_view which);
std::string probe_id(std::string_view container, std::string_view which);
/// Every declared TCP port of the Pod's containers.
std::vector<std::uint16_t> ports_of(const Json& pod);
std::string hostname_of(const Json& pod);

}  // namespace knit::node
