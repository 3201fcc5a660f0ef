// From a Pod's container and its image to what the runtime is told. Pure.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "image/store.h"
#include "node/env.h"
#include "node/pod.h"
#include "node/runtime/oci_config.h"

namespace knit::node {

struct ContainerInput {
  const Json* pod = nullptr;
  ContainerView container;
  std::string id;
  const image::Config* image = nullptr;
  const Objects* objects = nullptr;
  PodFacts facts;
  std::map<std::string, std::string> volumes;  // name → directory on the node
  std::string files;            // directory with this pod's hosts, resolv.conf and hostname
  std::string termination_log;  // file on the node
  std::string netns_path;
  std::int64_t least_oom_score = -1000;  // without CAP_SYS_RESOURCE it cannot be lowered
};

/// Errors: kubelet's CreateContainerConfigError and its words.
Result<runtime::ContainerSpec> container_spec(const ContainerInput& in);
/// "/knit/pod<uid>".
std::string pod_cgroup(std::string_view uid);

}  // namespace knit::node
