// A whole Knit in simulated time: the real store (its file), registry, controllers, autoscaler,
// compiler and config stream; a fake node; a proxy without sockets. Each process can be killed at
// any step and comes back with what it kept.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "apiserver/server.h"
#include "app/control.h"
#include "base/random.h"
#include "io/sim_loop.h"
#include "pki/authority.h"
#include "reader.h"
#include "reconcile/fake_node.h"
#include "sim_proxy.h"

namespace knit::world {

namespace res = kube::res;
using kube::Key;
using kube::ObjectPtr;

inline constexpr const char* kAppsDomain = "apps.openshift.example.com";

/// SimLoop whose posted work takes `lag`: the wire between two processes. Order is kept.
class Wire final : public io::Loop {
 public:
  explicit Wire(io::SimLoop& inner) : inner_(inner) {}
  Duration lag{};
  Instant now() const override { return inner_.now(); }
  WallTime wall_now() const override { return inner_.wall_now(); }
  Timer at(Instant when, std::function<void()> f) override { return inner_.at(when, std::move(f)); }
  Watch watch(int fd, Sharing s, std::function<void(io::Ready)> f) override {
    return inner_.watch(fd, s, std::move(f));
  }
  void post(std::function<void()> work) override;
  void offload(std::function<void()> work, std::function<void()> done) override {
    inner_.offload(std::move(work), std::move(done));
  }

 private:
  io::SimLoop& inner_;
  Instant last_{};
  std::uint64_t ids_ = 0;
  std::map<std::uint64_t, Timer> under_way_;
};

/// Files of one world, gone with it.
class Directory {
 public:
  Directory();
  ~Directory();
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

class World {
 public:
  explicit World(std::uint64_t seed);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  io::SimLoop loop;
  std::unique_ptr<Random> random;

  // ---- processes
  void start_server();
  void kill_server();
  void start_proxy();
  void kill_proxy();
  void start_node();
  void kill_node();
  /// The channel between server and proxy breaks and is made anew.
  void break_channel();
  /// Who watches is cut off and reads on from its last number.
  void cut_watch();
  bool server_up() const { return server_ != nullptr; }
  bool proxy_up() const { return proxy.running(); }
  bool node_up() const { return node_up_; }

  // ---- faults
  Wire disk{loop};        // its lag: a commit takes this long
  int disk_errors = 0;    // the next groups are refused
  Duration worker_lag{};  // until new tables run
  Wire wire{loop};
  std::set<std::string> missing_images, crashing_images, stuck_images;
  std::map<std::string, Duration> slow_images;  // until ready

  // ---- users
  /// `kubectl apply`: merges into what is there, or creates.
  void apply(const Key& key, Json manifest);
  void merge(const Key& key, Json patch);
  void remove(const Key& key, std::optional<std::int64_t> grace = std::nullopt);
  /// An apply that must be refused, with `says` in the message.
  void apply_bad(const Key& key, Json manifest, std::string says);
  void request(const std::string& host, Duration work);
  /// The seed's mesh, gateways, certificate and Serving.
  void install_seed();
  static Json ksvc(const std::string& ns, const std::string& name, const std::string& image);

  // ---- looking
  std::shared_ptr<const reconcile::World> snapshot() const;
  Json view(const Key& key) const;
  std::vector<ObjectPtr> list(kube::Resource resource, std::string_view ns = {}) const;
  app::Control& control();
  /// Ready condition of an object: "True", "False", "Unknown" or "absent".
  std::string ready(const Key& key) const;
  static std::string host(const std::string& ns, const std::string& name) {
    return name + "-" + ns + "." + kAppsDomain;
  }
  const mesh::MeshSettings& mesh_settings() const { return mesh_; }

  SimProxy proxy;
  Reader reader{loop, [this](std::string text) { violation(std::move(text)); }};
  std::unique_ptr<reconcile::FakeNode> node;

  // ---- what was seen
  void violation(std::string text);
  std::vector<std::string> violations;
  std::vector<Answer> answers;
  /// Durable changes so far, for each key.
  std::map<Key, int> writes;
  std::uint64_t changes = 0;
  /// The answer to the user's last write that was answered: 200 or an error's code and message.
  struct Said {
    int code = 0;
    std::string message;
    std::vector<std::string> warnings;
  } said;
  /// Everything is up, no fault is set, images work.
  void heal();

 private:
  struct Server;
  void link();
  void on_change(const reconcile::Change& change);
  void check_change(const reconcile::Change& change);
  struct Request {
    std::string method;
    Key key;
    std::string version;  // of the group; empty: the preferred one
    Json body;
    std::string refusal;  // what must be said; empty: it may succeed
  };
  void send(Request request);
  static io::Task<void> carry_out(World* self, Request request);
  void tear(const std::string& log);
  std::string database(int generation) const;
  std::uint64_t seed_;
  Directory directory_;
  int generation_ = 0;
  mesh::MeshSettings mesh_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<ipc::Channel> server_end_, proxy_end_;
  std::uint64_t link_ = 0;
  bool node_up_ = false;
  int disk_errors_seen_ = 0;
  std::map<std::string, Instant> gone_;  // pods' containers that ended, by uid
  std::uint64_t last_version_ = 0;       // that anybody was told
};

/// The documents of a YAML file.
std::vector<Json> manifests(const std::string& path);
/// … of tests/seed.
std::vector<Json> seed_manifests(const std::string& file);
/// Of a manifest whose kind is known.
Key key_of(const Json& manifest);

}  // namespace knit::world
