// A container's environment and arguments: image, ConfigMaps, Secrets, downward API, $(VAR).
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"

namespace knit::node {

/// The ConfigMaps and Secrets of the Pod's namespace that it names, as fetched; a missing one is
/// absent. Keys are "name".
struct Objects {
  std::map<std::string, Json> configmaps, secrets;
};
/// The content of a ConfigMap (data and binaryData) or Secret (data), decoded.
std::map<std::string, std::string> content_of(const Json& object);

/// What the downward API knows beside the Pod object.
struct PodFacts {
  std::string ip, ip6, host_ip, node_name;
  std::int64_t node_cpu_milli = 0, node_memory = 0;  // where a container has no limit
  std::string kubernetes_host;                       // ClusterIP of the `kubernetes` Service
};

/// "$(A)" → value, "$$" → "$", an unknown name stays. Source: k8s
/// third_party/forked/golang/expansion
std::string expand(std::string_view text, const std::map<std::string, std::string>& values);

/// metadata.name, metadata.labels['k'], status.podIP … Errors: InvalidArgument.
Result<std::string> field_value(const Json& pod, std::string_view path, const PodFacts& facts);
/// limits.cpu, requests.memory … divided by the divisor, rounded up.
Result<std::string> resource_value(const Json& pod, const Json& container, const Json& ref,
                                   const PodFacts& facts);

/// "NAME=value" in order: image, service variables, envFrom, env.
/// Errors: NotFound (kubelet's CreateContainerConfigError and its words), InvalidArgument.
Result<std::vector<std::string>> container_env(const Json& pod, const Json& container,
                                               const std::vector<std::string>& image_env,
                                               const Objects& objects, const PodFacts& facts);
/// entrypoint and arguments after the rules of command/args, with $(VAR) expanded.
std::vector<std::string> container_args(const Json& container,
                                        const std::vector<std::string>& image_entrypoint,
                                        const std::vector<std::string>& image_cmd,
                                        const std::vector<std::string>& env);

/// The names of ConfigMaps and Secrets that env and volumes of the Pod use.
struct Needs {
  std::vector<std::string> configmaps, secrets;
};
Needs needs_of(const Json& pod);

}  // namespace knit::node
