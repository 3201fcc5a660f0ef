// What a pod's worker gets from the agent that runs it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "io/loop.h"
#include "node/api.h"
#include "node/driver.h"
#include "node/env.h"
#include "node/runtime/logs.h"

namespace knit::node {

struct Settings {
  std::string node_name = "knit";
  std::string host_ip = "127.0.0.1";
  std::string data_dir = "/var/lib/knit";  // images, logs, disk volumes
  std::string run_dir = "/run/knit";       // pods' state, bundles; gone after a reboot
  std::string pod_range = "10.128.0.0/20";
  std::vector<std::string> service_ranges = {"172.30.0.0/16"};
  std::string dns_ip = "172.30.0.10";
  std::string kubernetes_ip = "172.30.0.1";
  std::string cluster_domain = "cluster.local";
  std::string version = "v1.35.0+knit";  // kubeletVersion
  std::int64_t max_pods = 110;
  /// Reach of pods and services from this host's own processes (routes, rule, BPF).
  bool host_network_path = true;
  runtime::LogSettings logs;
  Duration unknown_pod_limit = std::chrono::seconds(10);
  Duration volume_refresh = std::chrono::seconds(60);
  Duration lease_interval = std::chrono::seconds(10);
};

/// What the machine has, read once at start.
struct Machine {
  std::int64_t cpu_milli = 1000, memory = 0, disk = 0;
  std::string architecture, kernel, os_image, machine_id, boot_id, system_uuid;
  std::int64_t least_oom_score = -1000;
};

class PodWorker;

class Host {
 public:
  virtual ~Host() = default;
  virtual io::Loop& loop() = 0;
  virtual Api& api() = 0;
  virtual Driver& driver() = 0;
  virtual const Settings& settings() const = 0;
  virtual const Machine& machine() const = 0;
  virtual Result<net::Address> take_ip(const std::string& uid) = 0;
  virtual void release_ip(const std::string& uid) = 0;
  virtual std::string new_id() = 0;
  /// The end of `container` will be told to worker->on_exit().
  virtual void expect(PodWorker& worker, const std::string& container, pid_t pid,
                      std::uint64_t start_time) = 0;
  /// Keeps a copy of the descriptor beyond this process, under "pod/UID/`what`".
  virtual void keep(const std::string& uid, const std::string& what, int fd) = 0;
  virtual void drop(const std::string& uid, const std::string& what) = 0;
  /// Tells the proxy about the pod (again): network, ports, probes to run now.
  virtual void announce(PodWorker& worker) = 0;
  /// Asks the proxy to give the pod no more requests. Becomes true when none runs there any more.
  virtual std::shared_ptr<const bool> drain(const std::string& uid) = 0;
  /// Returns when the proxy has let go of the pod, or is dead.
  virtual io::Task<void> gone(std::string uid) = 0;
  virtual void event(const Json& pod, std::string_view type, std::string_view reason,
                     std::string message, std::string_view container) = 0;
  /// The pod has ended and everything of it is removed; the worker may be destroyed later.
  virtual void finished(const std::string& uid) = 0;
};

}  // namespace knit::node
