// What the node does to the machine, behind one interface: the real one, and a model in tests.
// Every function blocks and is thread-safe: the workers call it from the pool.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "image/store.h"
#include "node/net/pod_net.h"
#include "node/runtime/engine.h"

namespace knit::node {

struct LocalImage {
  image::Image image;
  std::vector<std::string> layers;  // directories, lowest first
};

class Driver {
 public:
  virtual ~Driver() = default;
  /// Errors: NotFound (how to import it), InvalidArgument (InvalidImageName).
  virtual Result<LocalImage> find_image(const std::string& reference) = 0;
  virtual Result<net::PodNet> make_net(const net::PodNetSettings& settings) = 0;
  virtual Result<std::vector<Fd>> sockets(int netns, std::size_t count, bool v6) = 0;
  virtual Result<runtime::Created> prepare(const runtime::ContainerSpec& spec,
                                           const std::vector<std::string>& layers, int out,
                                           int err) = 0;
  virtual Result<void> start(const std::string& id) = 0;
  virtual Result<void> signal(pid_t pid, std::uint64_t start_time, int signo) = 0;
  virtual Result<void> remove(const std::string& id) = 0;
  virtual Result<runtime::ExecResult> exec(const std::string& id,
                                           const std::vector<std::string>& argv,
                                           Duration timeout) = 0;
  virtual bool oom_killed(const std::string& cgroup) = 0;
  virtual void remove_pod(const std::string& cgroup) = 0;
  /// A memory-backed emptyDir (bytes; 0: half of the machine's memory).
  virtual Result<void> mount_memory(const std::string& path, std::int64_t bytes) = 0;
  virtual void unmount(const std::string& path) = 0;
  /// Everything mounted below `dir` as one descriptor that outlives this process; and back again.
  virtual Result<Fd> keep_mounts(const std::string& dir) = 0;
  virtual Result<void> restore_mounts(const std::string& dir, int tree) = 0;
  virtual std::string uri(const std::string& id) = 0;
  virtual std::vector<std::string> containers() = 0;
  virtual std::uint64_t start_time(pid_t pid) = 0;
};

/// Both outlive the driver.
std::unique_ptr<Driver> real_driver(runtime::Engine& engine, image::Store& store);

}  // namespace knit::node
