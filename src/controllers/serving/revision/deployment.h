// What a Revision makes: Deployment, caching Images and PodAutoscaler, as pure functions.
// Source: knative/serving pkg/reconciler/revision/resources/{deploy,queue,imagecache,pa}.go
#pragma once

#include "controllers/serving/config.h"

namespace knit::serving {

std::string deployment_name(const Json& revision);  // "<revision>-deployment"
/// Labels of everything that a Revision makes; `app` unless the user set one.
StringMap child_labels(const Json& revision);
/// The index of the container that serves requests (the one with a port, or the only one).
std::size_t serving_container(const Json& revision);
int user_port(const Json& revision);
bool is_h2c(const Json& revision);
/// autoscaling.knative.dev/initial-scale, or the ConfigMap's.
int initial_scale(const StringMap& annotations, const AutoscalerConfig& config);
Duration progress_deadline(const StringMap& annotations, const DeploymentConfig& config);
/// The image to run: status.containerStatuses' digest, or the container's own.
std::string image_of(const Json& revision, const Json& container);

Json make_deployment(const Json& revision, const ServingConfig& config);
/// Name → object, one per container.
std::vector<std::pair<std::string, Json>> make_images(const Json& revision);
Json make_pod_autoscaler(const Json& revision, const Json& deployment);

/// The registry that an image reference names ("index.docker.io" when none).
std::string registry_of(std::string_view image);

}  // namespace knit::serving
