#include "node/driver.h"

namespace knit::node {

namespace {

class RealDriver final : public Driver {
 public:
  RealDriver(runtime::Engine& engine, image::Store& store) : engine_(engine), store_(store) {}

  Result<LocalImage> find_image(const std::string& reference) override {
    KNIT_TRY(image::Image image, store_.find(reference));
    LocalImage out{std::move(image), {}};
    for (const std::string& layer : out.image.layers)
      out.layers.push_back(store_.layer_path(layer));
    return out;
  }
  Result<net::PodNet> make_net(const net::PodNetSettings& settings) override {
    return net::create_pod_net(settings);
  }
  Result<std::vector<Fd>> sockets(int netns, std::size_t count, bool v6) override {
    return net::stock_sockets(netns, count, v6);
  }
  Result<runtime::Created> prepare(const runtime::ContainerSpec& spec,
                                   const std::vector<std::string>& layers, int out,
                                   int err) override {
    return engine_.prepare(spec, layers, out, err);
  }
  Result<void> start(const std::string& id) override { return engine_.start(id); }
  Result<void> signal(pid_t pid, std::uint64_t started, int signo) override {
    return runtime::Engine::signal(pid, started, signo);
  }
  Result<void> remove(const std::string& id) override { return engine_.remove(id); }
  Result<runtime::ExecResult> exec(const std::string& id, const std::vector<std::string>& argv,
                                   Duration timeout) override {
    return engine_.exec(id, argv, timeout);
  }
  bool oom_killed(const std::string& cgroup) override {
    return runtime::oom_killed(engine_.cgroups(), cgroup);
  }
  void remove_pod(const std::string& cgroup) override {
    runtime::remove_cgroup(engine_.cgroups(), cgroup);
  }
  Result<void> mount_memory(const std::string& path, std::int64_t bytes) override {
    return engine_.mount_memory(path, bytes);
  }
  void unmount(const std::string& path) override { engine_.unmount(path); }
  Result<Fd> keep_mounts(const std::string& dir) override { return engine_.keep_mounts(dir); }
  Result<void> restore_mounts(const std::string& dir, int tree) override {
    return engine_.restore_mounts(dir, tree);
  }
  std::string uri(const std::string& id) override { return engine_.uri(id); }
  std::vector<std::string> containers() override { return engine_.list(); }
  std::uint64_t start_time(pid_t pid) override { return runtime::start_time(pid); }

 private:
  runtime::Engine& engine_;
  image::Store& store_;
};

}  // namespace

std::unique_ptr<Driver> real_driver(runtime::Engine& engine, image::Store& store) {
  return std::make_unique<RealDriver>(engine, store);
}

}  // namespace knit::node
