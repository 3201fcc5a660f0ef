#include "world.h"

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/hash.h"
#include "base/yaml.h"
#include "controllers/core/util.h"
#include "http/client.h"
#include "pki/vault.h"

namespace knit::world {
namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

/// Authorities and the router's certificate are made once for the whole binary, back-dated and long
/// enough for every simulated day.
std::shared_ptr<const pki::Authority> authority(const std::string& name) {
  static std::map<std::string, std::shared_ptr<const pki::Authority>> made;
  auto& entry = made[name];
  if (!entry) {
    const WallTime then = io::SimLoop().wall_now() - std::chrono::hours(24);
    auto files = pki::Authority::create({"Knit test " + name, {}}, then);
    KNIT_CHECK(files.has_value());
    auto loaded = pki::Authority::load(*files);
    KNIT_CHECK(loaded.has_value());
    entry = std::move(*loaded);
  }
  return entry;
}
const pki::Credential& wildcard() {
  static const pki::Credential made = [] {
    const WallTime then = io::SimLoop().wall_now() - std::chrono::hours(1);
    auto credential = pki::wildcard_certificate(*authority("apps"), kAppsDomain, then);
    KNIT_CHECK(credential.has_value());
    return std::move(*credential);
  }();
  return made;
}

}  // namespace

void Wire::post(std::function<void()> work) {
  if (lag == Duration{} && last_ <= inner_.now()) {
    inner_.post(std::move(work));
    return;
  }
  last_ = std::max(last_, inner_.now() + lag);
  const auto id = ++ids_;
  under_way_[id] = inner_.at(last_, [this, id, work = std::move(work)] {
    const auto mine = under_way_.extract(id);
    work();
  });
}

Directory::Directory() {
  std::error_code ignored;
  const bool memory = fs::is_directory("/dev/shm", ignored);
  std::string name =
      (memory ? fs::path("/dev/shm") : fs::temp_directory_path()).string() + "/knit-world-XXXXXX";
  KNIT_CHECK(::mkdtemp(name.data()) != nullptr);
  path_ = name;
}
Directory::~Directory() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

struct World::Server {
  std::unique_ptr<store::Store> store;
  std::unique_ptr<Random> random;
  std::unique_ptr<app::Control> control;
  std::unique_ptr<apiserver::ApiServer> api;
  bool started = false;
  std::vector<io::Loop::Scope> calls;
};

World::World(std::uint64_t seed)
    : random(seeded_random(seed)),
      proxy(loop, {[this](const std::string& uid) -> std::optional<Duration> {
                     const auto it = gone_.find(uid);
                     if (it == gone_.end()) return std::nullopt;
                     return loop.now() - it->second;
                   },
                   [this](std::string text) { violation(std::move(text)); },
                   [this] { return worker_lag; },
                   [this](const std::string& revision) {
                     if (!server_) return false;
                     const auto slash = revision.find('/');
                     const auto object = snapshot()->get(
                         {res::revisions(), revision.substr(0, slash), revision.substr(slash + 1)});
                     return object != nullptr && !object->deleting();
                   }}),
      seed_(seed) {
  mesh_.apps_domain = kAppsDomain;
  mesh_.router_ip = "172.30.0.2";
  mesh_.mesh_root_pem = [](const std::string& mesh) { return authority(mesh)->root_pem(); };
  mesh_.router_chain_pem = wildcard().chain_pem;
  mesh_.router_key_pem = wildcard().key_pem;
  reconcile::FakeNodeSettings settings;
  settings.fate = [this](const Json& pod) {
    reconcile::PodFate fate;
    for (const auto& c : json::array(pod, {"spec", "containers"})) {
      const std::string image(json::str(c, {"image"}));
      if (missing_images.contains(image)) fate.kind = reconcile::PodFate::Kind::NoImage;
      if (crashing_images.contains(image)) fate.kind = reconcile::PodFate::Kind::Crashes;
      if (stuck_images.contains(image)) fate.kind = reconcile::PodFate::Kind::NeverReady;
      if (const auto it = slow_images.find(image); it != slow_images.end()) {
        fate.ready = it->second;
      }
    }
    return fate;
  };
  settings.busy = [this](const std::string& uid) { return proxy.busy(uid); };
  settings.ended = [this](const std::string& uid) {
    proxy.pod_ended(uid);
    if (!gone_.contains(uid)) gone_[uid] = loop.now();
  };
  settings.started = [this](const std::string& uid) { gone_.erase(uid); };
  node = std::make_unique<reconcile::FakeNode>(loop, std::move(settings));
}

World::~World() {
  if (server_) server_->calls.clear();
  proxy.kill();
  node->kill();
  reader.disconnect();
  server_.reset();
  server_end_.reset();
  proxy_end_.reset();
}

std::string World::database(int generation) const {
  return directory_.path() + "/" + std::to_string(generation);
}

void World::start_server() {
  if (server_) return;
  fs::create_directories(database(generation_));
  auto server = std::make_unique<Server>();
  server->random = seeded_random(seed_ * 1000 + static_cast<std::uint64_t>(generation_));
  store::Options options;
  options.path = database(generation_) + "/knit.db";
  options.writer_thread = false;
  options.writer = [this](std::function<void()> turn) { disk.post(std::move(turn)); };
  options.before_write = [this]() -> Result<void> {
    if (disk_errors == 0) return {};
    --disk_errors;
    ++disk_errors_seen_;
    return Error(Code::ResourceExhausted, "database or disk is full");
  };
  auto opened = store::Store::open(std::move(options));
  if (!opened) {
    violation("the store does not open: " + opened.error().message());
    return;
  }
  server->store = std::move(*opened);
  app::ControlSettings settings;
  settings.core.api_root_pem = authority("api")->root_pem();
  settings.operators.apps_domain = kAppsDomain;
  settings.operators.router_ip = mesh_.router_ip;
  settings.routes.apps_domain = kAppsDomain;
  settings.mesh = mesh_;
  settings.authority = [](const std::string& mesh) { return Result(authority(mesh)); };
  server->control =
      std::make_unique<app::Control>(loop, *server->store, *server->random, std::move(settings));
  apiserver::ApiDependencies dependencies;
  dependencies.random = server->random.get();
  server->api = std::make_unique<apiserver::ApiServer>(loop, *server->store,
                                                       server->control->registry(), dependencies);
  server->control->backend().subscribe(
      [this](const reconcile::Change& change) { on_change(change); });
  server_ = std::move(server);
  reader.connect(*server_->store);
  server_->calls.push_back(loop.spawn_scoped([](World* self) -> io::Task<void> {
    Server* const s = self->server_.get();
    auto making =
        apiserver::bootstrap(s->api->api(), apiserver::kFirstNamespaces, self->loop.wall_now());
    const auto made = co_await making;
    if (!made && self->disk_errors_seen_ == 0) {
      self->violation("the first objects: " + made.error().message());
    }
    s->control->start();
    s->started = true;
  }(this)));
  if (node_up_) node->connect(server_->control->backend());
  link();
}

/// The write that was under way when the power went: a piece of a frame, or nonsense.
void World::tear(const std::string& log) {
  const auto kind = random->below(3);
  std::error_code ignored;
  const auto size = fs::file_size(log, ignored);
  if (kind == 0 || ignored || size < 5000) return;
  std::string piece(1 + random->below(6000), '\0');
  if (kind == 1) {
    std::ifstream in(log, std::ios::binary);
    in.seekg(static_cast<std::streamoff>(size - std::min<std::uint64_t>(4120, piece.size())));
    in.read(piece.data(),
            static_cast<std::streamsize>(std::min<std::uint64_t>(4000, piece.size())));
    piece.resize(static_cast<std::size_t>(in.gcount()));
  } else {
    for (char& c : piece) c = static_cast<char>(random->below(256));
  }
  std::ofstream(log, std::ios::binary | std::ios::app) << piece;
}

void World::cut_watch() {
  if (server_) reader.connect(*server_->store);
}

void World::kill_server() {
  if (!server_) return;
  // What the disk has at this moment is what the next one finds; what runs on in the old process
  // reaches nobody.
  const auto before = server_->store->snapshot();
  const auto from = database(generation_);
  const auto to = database(++generation_);
  fs::create_directories(to);
  for (const char* file : {"/knit.db", "/knit.db-wal"}) {
    std::error_code ignored;
    fs::copy_file(from + file, to + file, ignored);
  }
  tear(to + "/knit.db-wal");
  node->disconnect();
  reader.disconnect();
  server_->calls.clear();
  server_.reset();
  server_end_.reset();
  std::error_code ignored;
  fs::remove_all(from, ignored);
  // Nothing that was durable is lost.
  store::Options options;
  options.path = to + "/knit.db";
  options.writer_thread = false;
  auto opened = store::Store::open(std::move(options));
  if (!opened) {
    violation("the store does not open after a crash: " + opened.error().message());
    return;
  }
  const auto after = (*opened)->snapshot();
  for (const auto resource : before.resources()) {
    const auto now = after.list(resource, {});
    const auto then = before.list(resource, {});
    bool same = now.size() == then.size();
    for (std::size_t i = 0; same && i < now.size(); ++i) {
      same = now[i]->version() == then[i]->version() && now[i]->bytes() == then[i]->bytes();
    }
    if (!same) violation("a crash changed " + std::string(resource.name()));
  }
  if (after.version() < last_version_) {
    violation("after a crash numbers go on at " + std::to_string(after.version()) + "; " +
              std::to_string(last_version_) + " was used before");
  }
}

void World::start_proxy() {
  if (proxy.running()) return;
  proxy.start();
  link();
}
void World::kill_proxy() {
  proxy_end_.reset();
  proxy.kill();
}
void World::start_node() {
  if (node_up_) return;
  node_up_ = true;
  node->restart();
  if (server_) node->connect(server_->control->backend());
}
void World::kill_node() {
  node_up_ = false;
  node->disconnect();
  node->kill();
}
void World::break_channel() {
  if (server_ && proxy.running()) link();
}

/// As the supervisor does: a new pair when both are there.
void World::link() {
  const auto at = ++link_;
  proxy.disconnect();
  if (!server_ || !proxy.running()) return;
  auto [mine, theirs] = ipc::memory_channels(wire,
                                             {[this, at](ipc::Received m) {
                                                if (at == link_ && server_)
                                                  server_->control->proxy().on_message(m);
                                              },
                                              [this, at] {
                                                if (at == link_ && server_ && proxy.running())
                                                  link();
                                              }},
                                             {[this, at](ipc::Received m) {
                                                if (at == link_) proxy.on_message(m);
                                              },
                                              [this, at] {
                                                if (at == link_) proxy.disconnect();
                                              }});
  server_->control->proxy().connect(*mine);
  proxy.connect(*theirs);
  server_end_ = std::move(mine);
  proxy_end_ = std::move(theirs);
}

// ---- users

namespace {
/// "/api/v1/namespaces/NS/pods" and, with a name, the object.
std::string path_of(const Key& key, std::string_view version, bool with_name) {
  const auto* kind = schema::Registry::get().by_resource(key.resource);
  KNIT_CHECK(kind != nullptr);
  std::string out = (kind->group.empty() ? "/api/" : "/apis/") + kind->api_version(version);
  if (kind->namespaced) out += "/namespaces/" + key.ns;
  out += "/" + std::string(kind->plural);
  return with_name ? out + "/" + key.name : out;
}
io::Task<Result<std::unique_ptr<io::Stream>>> connection(io::Loop* loop,
                                                         apiserver::ApiServer* server) {
  auto [mine, theirs] = io::memory_streams(*loop);
  server->serve_as(std::move(theirs), "system:knit:controller:user");
  co_return std::move(mine);
}
}  // namespace

io::Task<void> World::carry_out(World* self, Request request) {
  Server* const s = self->server_.get();
  const Key key = request.key;
  http::Client client(self->loop,
                      [loop = &self->loop, api = s->api.get()] { return connection(loop, api); },
                      {.host = "api"});
  http::Request r;
  r.method = request.method;
  r.query = http::Query("fieldValidation=Strict");
  if (r.method == "POST" && s->store->head().get(key)) {  // as `kubectl apply` looks first
    r.method = "PATCH";
    json::erase(request.body, {"status"});
  }
  r.path = path_of(key, request.version, r.method != "POST");
  r.headers.set("Content-Type",
                r.method == "PATCH" ? "application/merge-patch+json" : "application/json");
  if (!request.body.is_null()) r.body = json::print(request.body);
  auto sending = client.send(std::move(r));
  const auto done = co_await sending;
  if (!done) {
    self->violation("a user's write of " + to_string(key) + ": " + done.error().message());
    co_return;
  }
  const auto body = json::parse(done->body);
  const bool good = done->status < 300;
  self->said = {good ? 200 : done->status, "", {}};
  for (const auto value : done->headers.all("Warning")) self->said.warnings.emplace_back(value);
  if (good) {
    const std::string version(body ? json::str(*body, {"metadata", "resourceVersion"})
                                   : std::string_view());
    if (s->store->snapshot().version() < std::strtoull(version.c_str(), nullptr, 10)) {
      self->violation(to_string(key) + " was acknowledged before it was durable");
    }
    if (!request.refusal.empty()) {
      self->violation(to_string(key) + " was accepted; expected: " + request.refusal);
    }
    co_return;
  }
  const std::string message(body ? json::str(*body, {"message"}) : std::string_view(done->body));
  self->said.message = message;
  const bool full = message.find("disk is full") != std::string::npos;
  if (done->status >= 500 && !full) {
    self->violation("a user's write failed: " + to_string(key) + ": " + message);
  }
  if (!request.refusal.empty() && !full && done->status != 409 &&
      message.find(request.refusal) == std::string::npos) {
    self->violation(to_string(key) + ": " + message + "; expected: " + request.refusal);
  }
}
void World::send(Request request) {
  if (!server_) return;
  std::erase_if(server_->calls, [](const auto& c) { return !c.running(); });
  server_->calls.push_back(loop.spawn_scoped(carry_out(this, std::move(request))));
}
void World::apply(const Key& key, Json manifest) { apply_bad(key, std::move(manifest), {}); }
void World::apply_bad(const Key& key, Json manifest, std::string says) {
  json::set(manifest, {"metadata", "name"}, Json(key.name));
  if (!key.ns.empty()) json::set(manifest, {"metadata", "namespace"}, Json(key.ns));
  const std::string version(json::str(manifest, {"apiVersion"}));
  send({"POST", key, version.substr(version.find('/') + 1), std::move(manifest), std::move(says)});
}
void World::merge(const Key& key, Json patch) { send({"PATCH", key, {}, std::move(patch), {}}); }
void World::remove(const Key& key, std::optional<std::int64_t> grace) {
  Json options;
  if (grace) options = JsonObject{{"gracePeriodSeconds", *grace}};
  send({"DELETE", key, {}, std::move(options), {}});
}
void World::request(const std::string& host, Duration work) {
  proxy.request(host, work, [this](Answer answer) { answers.push_back(std::move(answer)); });
}

std::vector<Json> seed_manifests(const std::string& file) {
  return manifests("tests/seed/" + file);
}
std::vector<Json> manifests(const std::string& path) {
  std::ifstream in(path);
  KNIT_CHECK(in.good());
  std::stringstream text;
  text << in.rdbuf();
  std::vector<Json> out;
  for (const auto& document : yaml::parse(text.str()).documents) {
    if (document.root) out.push_back(yaml::to_json(*document.root).value());
  }
  return out;
}

Key key_of(const Json& manifest) {
  const auto* kind = schema::Registry::get().by_api_version(json::str(manifest, {"apiVersion"}),
                                                            json::str(manifest, {"kind"}));
  KNIT_CHECK(kind != nullptr);
  return {kind->resource, std::string(json::str(manifest, {"metadata", "namespace"})),
          std::string(json::str(manifest, {"metadata", "name"}))};
}

void World::install_seed() {
  for (const char* file : {"smcp.yaml", "servicemesh-member-roll.yaml",
                           "istio-knative-gateways.yaml", "knative-serving-config.yaml"}) {
    for (const auto& manifest : seed_manifests(file)) apply(key_of(manifest), manifest);
  }
  JsonObject data;
  data["tls.crt"] = hash::base64(wildcard().chain_pem);
  data["tls.key"] = hash::base64(wildcard().key_pem);
  apply({res::secrets(), "istio-system", "wildcard-certs"},
        JsonObject{{"apiVersion", "v1"},
                   {"kind", "Secret"},
                   {"type", "kubernetes.io/tls"},
                   {"data", std::move(data)}});
}

Json World::ksvc(const std::string& ns, const std::string& name, const std::string& image) {
  Json out = seed_manifests("knative-service.yaml").front();
  json::set(out, {"metadata", "name"}, Json(name));
  json::set(out, {"metadata", "namespace"}, Json(ns));
  JsonObject container;
  container["image"] = image;
  json::set(out, {"spec", "template", "spec", "containers"}, JsonArray{std::move(container)});
  json::set(out, {"spec", "template", "metadata", "annotations", "autoscaling.knative.dev/window"},
            Json("6s"));
  return out;
}

void World::heal() {
  wire.lag = disk.lag = worker_lag = {};
  disk_errors = 0;
  missing_images.clear();
  crashing_images.clear();
  stuck_images.clear();
  start_server();
  start_proxy();
  // Containers that stand still with a bad image are started anew, with a good one.
  kill_node();
  start_node();
}

// ---- looking

app::Control& World::control() { return *server_->control; }
std::shared_ptr<const reconcile::World> World::snapshot() const {
  KNIT_CHECK(server_ != nullptr);
  return server_->control->backend().snapshot();
}
Json World::view(const Key& key) const { return snapshot()->view(key); }
std::vector<ObjectPtr> World::list(kube::Resource resource, std::string_view ns) const {
  return snapshot()->list(resource, ns);
}
std::string World::ready(const Key& key) const {
  const Json object = view(key);
  const auto status = controllers::core::condition_status(object, "Ready");
  return status.empty() ? "absent" : std::string(status);
}

void World::violation(std::string text) {
  if (violations.size() < 50) violations.push_back(std::move(text));
}

void World::on_change(const reconcile::Change& change) {
  if (change.after) {
    const auto version = change.after->version();
    if (version <= last_version_) {
      violation("number " + std::to_string(version) + " of " + to_string(change.key()) +
                " was used before");
    }
    last_version_ = std::max(last_version_, version);
  }
  const auto resource = change.key().resource;
  if (resource == res::events() || resource == res::leases()) return;
  ++writes[change.key()];
  ++changes;
  if (change.after) check_change(change);
}

}  // namespace knit::world
