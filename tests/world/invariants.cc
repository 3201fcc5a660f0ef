// What must hold whenever the world rests.
#include "controllers/core/util.h"
#include "controllers/mesh/compile/compiler.h"
#include "controllers/serving/ingress/virtual_service.h"
#include "program.h"

namespace knit::world {
namespace pc = proxy_config;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

constexpr seconds kRest(20);        // without a durable change
constexpr seconds kPatience(1500);  // a container's back-off is up to 300 s
constexpr std::uint64_t kMaxWrites = 6000;
constexpr std::uint64_t kMaxPlans = 2000;  // made in kRest, which changed nothing

std::string str(const Json& value, json::Path path) { return std::string(json::str(value, path)); }

class Check {
 public:
  Check(World& world, const std::string& when) : w_(world), when_(when), state_(world.snapshot()) {}

  void all() {
    plans();
    owners();
    config();
    traffic();
    bounds();
    workloads();
    policies();
    containers();
    w_.reader.check(*state_, when_);
    serves();
  }

  /// Everything that users deployed works.
  void whole() {
    for (const auto& object : state_->list(res::ksvcs())) {
      const Json service = object->parse();
      if (w_.ready(object->key()) == "True") continue;
      std::string why;
      for (const auto& c : json::array(service, {"status", "conditions"})) {
        if (json::str(c, {"status"}) != "True") {
          why +=
              " " + str(c, {"type"}) + ": " + str(c, {"reason"}) + " " + str(c, {"message"}) + ";";
        }
      }
      bad(to_string(object->key()) + " is not Ready:" + why);
    }
    for (const auto& key :
         {Key{res::smcps(), "istio-system", "basic"}, Key{res::smmrs(), "istio-system", "default"},
          Key{res::knativeservings(), "knative-serving", "knative-serving"}}) {
      if (w_.ready(key) != "True") {
        bad(to_string(key) + " is not Ready: " + json::print(w_.view(key).at("status")));
      }
    }
  }

 private:
  void bad(std::string text) { w_.violation(when_ + ": " + std::move(text)); }

  void plans() {
    for (const auto& plan : w_.control().driver().pending_plans()) bad("left to do: " + plan);
    for (const auto& [name, stats] : w_.control().driver().stats()) {
      if (stats.last_error.find("do not settle") != std::string::npos) {
        bad("planner " + name + ": " + stats.last_error);
      }
    }
  }

  void owners() {
    for (const auto resource : state_->resources()) {
      if (resource == res::events() || resource == res::leases()) continue;
      for (const auto& object : state_->list(resource)) {
        for (const auto& owner : object->owners()) {
          if (state_->by_uid(owner.uid) == nullptr) {
            bad(to_string(object->key()) + " has outlived its " + owner.kind + " " + owner.name);
          }
        }
        if (!object->key().ns.empty() && !state_->has({res::namespaces(), "", object->key().ns})) {
          bad(to_string(object->key()) + " has outlived its namespace");
        }
        if (object->deleting()) bad(to_string(object->key()) + " is still being deleted");
      }
    }
  }

  /// No container without its pod, no pod without its container.
  void containers() {
    std::set<std::string> have = w_.node->containers();
    for (const auto& object : state_->list(res::pods())) {
      const Json pod = object->parse();
      if (str(pod, {"spec", "nodeName"}).empty()) {
        bad(to_string(object->key()) + " has no node");
      } else if (have.erase(object->uid()) == 0) {
        bad(to_string(object->key()) + " has no containers");
      }
    }
    for (const auto& uid : have) bad("containers of " + uid + ", which is no pod");
  }

  /// The proxy runs what a fresh compilation says, but for what it refused.
  void config() {
    mesh::Compiler fresh(w_.mesh_settings(), [](const mesh::ConfigDelta&) {});
    fresh.start(*state_);
    std::map<pc::Ref, std::string> runs;
    for (const auto& r : w_.proxy.config()) runs[{r.type, r.name}] = r.hash;
    const auto& refused = w_.proxy.refused();
    for (const auto& [ref, resource] : fresh.current()) {
      const auto no = refused.find(ref);
      if (no != refused.end() && no->second == resource.hash) {
        runs.erase(ref);  // the last good one, or none
        continue;
      }
      const auto it = runs.find(ref);
      if (it == runs.end()) {
        bad("the proxy lacks " + name(ref));
      } else {
        if (it->second != resource.hash) bad("the proxy runs an old " + name(ref));
        runs.erase(it);
      }
    }
    for (const auto& [ref, hash] : runs) bad("the proxy still has " + name(ref));
  }
  static std::string name(const pc::Ref& ref) {
    return std::string(pc::to_string(ref.type)) + " " + ref.name;
  }

  void traffic() {
    for (const auto resource : {res::ksvcs(), res::kroutes()}) {
      for (const auto& object : state_->list(resource)) {
        const Json json = object->parse();
        std::int64_t sum = 0;
        const auto& parts = json::array(json, {"status", "traffic"});
        for (const auto& part : parts) sum += json::i64(part, {"percent"});
        if (!parts.empty() && sum != 100) {
          bad(to_string(object->key()) + " sends " + std::to_string(sum) + " %");
        }
      }
    }
    for (const auto& object : state_->list(res::virtualservices())) {
      const Json json = object->parse();
      for (const auto& route : json::array(json, {"spec", "http"})) {
        std::int64_t sum = 0;
        const auto& parts = json::array(route, {"route"});
        for (const auto& part : parts)
          sum += json::i64(part, {"weight"}, parts.size() == 1 ? 100 : 0);
        if (!parts.empty() && sum != 100) {
          bad(to_string(object->key()) + " sends " + std::to_string(sum) + " %");
        }
      }
    }
  }

  void bounds() {
    for (const auto& object : state_->list(res::revisions())) {
      const Json revision = object->parse();
      const auto limit =
          str(revision, {"metadata", "annotations", "autoscaling.knative.dev/max-scale"});
      if (limit.empty() || limit == "0") continue;
      std::size_t pods = 0;
      for (const auto& pod : state_->labelled(res::pods(), object->key().ns,
                                              "serving.knative.dev/revision", object->key().name)) {
        // One whose label a user put back by hand is not the Deployment's.
        if (controllers::core::pod_active(pod->parse()) && pod->controller() != nullptr) ++pods;
      }
      if (std::to_string(pods) != limit && pods > std::stoul(limit)) {
        bad(to_string(object->key()) + " has " + std::to_string(pods) + " pods of at most " +
            limit);
      }
    }
  }

  void workloads() {
    using controllers::core::pod_active;
    for (const auto& object : state_->list(res::deployments())) {
      const Json d = object->parse();
      std::int64_t pods = 0;
      for (const auto& rs : state_->owned(res::replicasets(), object->key().ns, object->uid())) {
        for (const auto& pod : state_->owned(res::pods(), rs->key().ns, rs->uid())) {
          pods += pod_active(pod->parse()) ? 1 : 0;
        }
      }
      if (pods != json::i64(d, {"spec", "replicas"}) ||
          pods != json::i64(d, {"status", "replicas"})) {
        bad(to_string(object->key()) + " has " + std::to_string(pods) + " pods, wants " +
            std::to_string(json::i64(d, {"spec", "replicas"})) + " and says " +
            std::to_string(json::i64(d, {"status", "replicas"})));
      }
    }
    for (const auto& service : state_->list(res::services())) {
      const Json s = service->parse();
      const auto selector = json::string_map(s, {"spec", "selector"});
      if (selector.empty()) continue;
      std::set<std::string> ready, told;
      for (const auto& pod : state_->list(res::pods(), service->key().ns)) {
        const Json p = pod->parse();
        bool selected = pod_active(p) && controllers::core::pod_ready(p);
        for (const auto& [key, value] : selector) selected = selected && pod->label(key) == value;
        if (selected) ready.insert(str(p, {"status", "podIP"}));
      }
      const Json e = state_->view({res::endpoints(), service->key().ns, service->key().name});
      for (const auto& subset : json::array(e, {"subsets"})) {
        for (const auto& address : json::array(subset, {"addresses"})) {
          told.insert(str(address, {"ip"}));
        }
      }
      if (ready != told) {
        bad("endpoints of " + to_string(service->key()) + ": " + std::to_string(told.size()) +
            " addresses, but " + std::to_string(ready.size()) + " ready pods");
      }
    }
  }

  /// STRICT is never weaker than asked. Upstream's precedence, said again in few words: workload,
  /// then namespace, then mesh; the oldest of several; the mesh's is that of its control plane.
  void policies() {
    const auto tables = w_.proxy.tables();
    tables->workloads.for_each([&](const std::string& uid, const auto& workload) {
      if (!workload->injected || workload->mesh.empty()) return;
      std::set<std::string> modes = modes_in(workload->ns);
      if (modes.empty() && workload->ns != workload->mesh) modes = modes_in(workload->mesh);
      if (modes != std::set<std::string>{"STRICT"}) return;
      if (workload->inbound != pc::MtlsMode::Strict && !selected(*workload)) {
        bad("pod " + workload->ns + "/" + workload->name + " (" + uid +
            ") takes plaintext, STRICT is asked for");
      }
    });
  }
  bool selected(const pc::Workload& workload) const {
    for (const auto& object : state_->list(res::peerauthentications(), workload.ns)) {
      const Json policy = object->parse();
      const auto labels = json::string_map(policy, {"spec", "selector", "matchLabels"});
      bool all = !labels.empty();
      for (const auto& [key, value] : labels) {
        const auto it = workload.labels.find(key);
        all = all && it != workload.labels.end() && it->second == value;
      }
      if (all) return true;
    }
    return false;
  }
  /// Of the oldest; more than one when several are equally old.
  std::set<std::string> modes_in(const std::string& ns) const {
    std::string oldest;
    std::set<std::string> modes;
    for (const auto& object : state_->list(res::peerauthentications(), ns)) {
      const Json policy = object->parse();
      if (!json::object(policy, {"spec", "selector", "matchLabels"}).empty()) continue;
      const auto created = str(policy, {"metadata", "creationTimestamp"});
      if (!oldest.empty() && created > oldest) continue;
      if (created != oldest) modes.clear();
      oldest = created;
      modes.insert(str(policy, {"spec", "mtls", "mode"}));
    }
    return modes;
  }

  /// Ready is only said of what answers.
  void serves() {
    // Without Serving nobody keeps its conditions, as upstream.
    if (state_->list(res::knativeservings()).empty()) return;
    std::vector<std::pair<std::string, std::string>> asked;  // host, ksvc
    for (const auto& object : state_->list(res::ksvcs())) {
      if (w_.ready(object->key()) != "True") continue;
      const Key ingress_key{res::kingresses(), object->key().ns, object->key().name};
      const Json ingress = state_->view(ingress_key);
      if (ingress.is_null()) {
        bad(to_string(object->key()) + " is Ready without an Ingress");
        continue;
      }
      const auto name = object->key().ns + "/" + object->key().name;
      const auto* probe = w_.proxy.tables()->probes.find(name);
      const auto hash = serving::ingress_hash(ingress);
      if (probe == nullptr || probe->hash != hash) {
        bad(to_string(object->key()) + " is Ready, but the proxy has no probe of this version");
        continue;
      }
      proxy::HandshakeCache handshakes;
      const auto r = proxy::reach(*w_.proxy.tables(), name, *probe, 1, handshakes);
      if (!r.ready) bad(to_string(object->key()) + " is Ready, but unreachable: " + r.failure);
      const Json service = object->parse();
      const auto url = str(service, {"status", "url"});
      if (url.find(kAppsDomain) == std::string::npos) continue;  // cluster-local
      asked.emplace_back(World::host(object->key().ns, object->key().name),
                         to_string(object->key()));
    }
    const auto before = w_.answers.size();
    for (const auto& [host, name] : asked) w_.request(host, milliseconds(20));
    for (int i = 0; i < 120 && w_.answers.size() < before + asked.size(); ++i) {
      w_.loop.advance(milliseconds(500));
    }
    std::set<std::string> ok;
    for (std::size_t i = before; i < w_.answers.size(); ++i) {
      const Answer& a = w_.answers[i];
      if (a.status == 200) {
        ok.insert(a.host);
      } else {
        bad("a request to " + a.host + " got " + std::to_string(a.status) + " (" + a.why +
            ") from " + a.revision);
      }
    }
    for (const auto& [host, name] : asked) {
      if (!ok.contains(host)) bad(name + " is Ready, but a request got no answer in 60 s");
    }
  }

  World& w_;
  const std::string when_;
  std::shared_ptr<const reconcile::World> state_;
};

}  // namespace

namespace {
std::uint64_t plans_of(World& world) {
  std::uint64_t sum = 0;
  for (const auto& [name, stats] : world.control().driver().stats()) sum += stats.plans;
  return sum;
}
}  // namespace

bool come_to_rest(World& world, const std::string& when) {
  const auto first = world.changes;
  auto seen = world.changes;
  auto window = world.writes;
  Duration still{};
  auto plans = plans_of(world);
  for (Duration spent{}; spent < kPatience; spent += seconds(1)) {
    world.loop.advance(seconds(1));
    if (!world.violations.empty()) return false;
    if (world.changes == seen && world.control().driver().idle() && world.proxy.in_flight() == 0) {
      still += seconds(1);
      if (still < kRest) continue;
      const auto made = plans_of(world) - plans;
      if (std::getenv("KNIT_WORLD_STATS") != nullptr) {
        std::printf("%s: %llu writes, %llu plans at rest\n", when.c_str(),
                    static_cast<unsigned long long>(world.changes - first),
                    static_cast<unsigned long long>(made));
      }
      if (made <= kMaxPlans) return true;
      world.violation(when + ": at rest, but " + std::to_string(made) + " plans were made");
      return false;
    }
    if (still > Duration{} || spent.count() % seconds(60).count() == 0) window = world.writes;
    still = {};
    plans = plans_of(world);
    seen = world.changes;
    if (world.changes - first > kMaxWrites) break;
  }
  std::string text = when + ": does not come to rest after " +
                     std::to_string(world.changes - first) + " writes; " +
                     std::to_string(world.proxy.in_flight()) + " requests in flight; last:";
  for (const auto& [key, n] : world.writes) {
    const auto it = window.find(key);
    const int more = n - (it == window.end() ? 0 : it->second);
    if (more > 0) text += "\n    " + std::to_string(more) + "x " + to_string(key);
  }
  world.violation(std::move(text));
  return false;
}

void check_rest(World& world, const std::string& when) { Check(world, when).all(); }

void check_whole(World& world, const std::string& when) {
  Check check(world, when);
  check.whole();
  check.all();
}

/// What holds after every single write.
void World::check_change(const reconcile::Change& change) {
  const Key& key = change.key();
  if (key.resource != res::deployments()) return;
  const Json d = change.after->parse();
  const std::string limit =
      str(d, {"metadata", "annotations", "autoscaling.knative.dev/max-scale"});
  if (limit.empty() || limit == "0" || change.after->controller() == nullptr) return;
  const auto replicas = json::i64(d, {"spec", "replicas"});
  if (replicas > std::stol(limit)) {
    violation(to_string(key) + " wants " + std::to_string(replicas) + " pods of at most " + limit);
  }
}

}  // namespace knit::world
