// The queue-proxy container of a Revision's pods. Knit plays it in its proxy; the container is
// there so that ports, probes and environment are what people and tools expect.
// Source: knative/serving pkg/reconciler/revision/resources/queue.go
#pragma once

#include "controllers/serving/config.h"

namespace knit::serving {

Json make_queue_proxy(const Json& revision, const ServingConfig& config);
/// SERVING_READINESS_PROBE: the user's readiness probe aimed at 127.0.0.1 and the user's port, in
/// the field order of Go's corev1.Probe.
std::string readiness_probe_json(const Json& revision);

}  // namespace knit::serving
