// What the core controllers are told at start.
#pragma once

#include <cstdint>
#include <string>

#include "controllers/core/services/service_admission.h"
#include "controllers/core/workloads/pod_admission.h"

namespace knit::controllers::core {

struct CoreSettings {
  std::string api_root_pem;            // ca.crt of kube-root-ca.crt
  std::string api_host = "127.0.0.1";  // endpoint of the `kubernetes` Service
  std::uint16_t api_port = 6443;
  std::string kubernetes_ip = "172.30.0.1";  // its ClusterIP; "" makes no such Service
  ServiceRanges ranges;
  PodAdmissionSettings pods;
  std::size_t ended_pods_kept = 500;  // Succeeded and Failed pods kept, oldest go first
  Duration event_ttl = std::chrono::hours(1);
  Duration lease_timeout = std::chrono::seconds(40);
};

}  // namespace knit::controllers::core
