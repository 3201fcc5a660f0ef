#include "program.h"

#include "controllers/core/util.h"
#include "controllers/serving/conditions.h"

namespace knit::world {
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

namespace {

const char* const kImages[] = {"knit.local/hello",     "knit.local/hello",   "knit.local/slow",
                               "example.test/missing", "example.test/crash", "example.test/stuck"};

/// Runs one operation; returns what it did.
class Interpreter {
 public:
  explicit Interpreter(World& world) : w_(world) {}
  std::string run(const Op& op);

  struct Entry {
    const char* name;
    int weight;
    std::string (Interpreter::*work)(const Op&);
  };
  static const std::vector<Entry>& table();

 private:
  // ---- picks
  static std::string ns(std::uint64_t n) { return n % 3 == 0 ? "team" : "default"; }
  static std::string name(std::uint64_t n) {
    return std::string(1, static_cast<char>('a' + n % 3));
  }
  Key service(const Op& op) { return {res::ksvcs(), ns(op.a), name(op.a / 7)}; }
  Key some(kube::Resource resource, std::uint64_t n, std::string_view space = {}) {
    if (!w_.server_up()) return {};
    const auto all = w_.list(resource, space);
    return all.empty() ? Key{} : all[n % all.size()]->key();
  }
  static std::string done(std::string verb, const Key& key) {
    return key.name.empty() ? verb + " nothing" : std::move(verb) + " " + to_string(key);
  }
  static Json parse(const std::string& text) {
    auto value = json::parse(text);
    KNIT_CHECK(value.has_value());
    return std::move(*value);
  }

  // ---- users
  std::string create_service(const Op& op) {
    const Key key = service(op);
    const std::string image = kImages[op.b % std::size(kImages)];
    Json manifest = World::ksvc(key.ns, key.name, image);
    const auto annotate = [&](const char* what, const std::string& value) {
      json::set(manifest,
                {"spec", "template", "metadata", "annotations",
                 "autoscaling.knative.dev/" + std::string(what)},
                Json(value));
    };
    if (op.c % 4 == 0) annotate("min-scale", std::to_string(op.c / 4 % 3));
    if (op.c % 5 == 0) annotate("max-scale", std::to_string(2 + op.c / 5 % 3));
    if (op.c % 7 == 0) {
      json::set(manifest, {"spec", "template", "spec", "containerConcurrency"},
                Json(static_cast<std::int64_t>(1 + op.c / 7 % 3)));
    }
    if (op.c % 11 == 0) annotate("initial-scale", std::to_string(1 + op.c / 11 % 2));
    w_.apply(key, std::move(manifest));
    return "apply " + to_string(key) + " with image " + image;
  }
  std::string new_revision(const Op& op) {
    const Key key = service(op);
    w_.merge(key, parse(R"({"spec":{"template":{"metadata":{"annotations":{"n":")" +
                        std::to_string(op.b % 1000) + R"("}}}}})"));
    return "change the template of " + to_string(key);
  }
  std::string change_scale(const Op& op) {
    const Key key = service(op);
    w_.merge(key, parse(R"({"spec":{"template":{"metadata":{"annotations":{
        "autoscaling.knative.dev/min-scale":")" +
                        std::to_string(op.b % 3) + R"(",
        "autoscaling.knative.dev/max-scale":")" +
                        std::to_string(3 + op.b % 4) + R"("}}}}})"));
    return "change the scale bounds of " + to_string(key);
  }
  std::string split(const Op& op) {
    const Key key = service(op);
    if (!w_.server_up()) return "nothing";
    const auto revisions =
        w_.snapshot()->labelled(res::revisions(), key.ns, "serving.knative.dev/service", key.name);
    if (revisions.empty()) return "nothing to split";
    const auto& old = revisions[op.b % revisions.size()]->key().name;
    const auto percent = op.c % 101;
    w_.merge(key, parse(R"({"spec":{"traffic":[{"latestRevision":true,"percent":)" +
                        std::to_string(100 - percent) + R"(},{"revisionName":")" + old +
                        R"(","latestRevision":false,"percent":)" + std::to_string(percent) +
                        (op.c % 2 == 0 ? R"(,"tag":"old"}]}})" : "}]}}")));
    return "send " + std::to_string(percent) + " % of " + to_string(key) + " to " + old;
  }
  std::string all_to_latest(const Op& op) {
    const Key key = service(op);
    w_.merge(key, parse(R"({"spec":{"traffic":[{"latestRevision":true,"percent":100}]}})"));
    return "send all of " + to_string(key) + " to its latest";
  }
  std::string visibility(const Op& op) {
    const Key key = service(op);
    w_.merge(
        key,
        parse(
            op.b % 2 == 0
                ? R"({"metadata":{"labels":{"networking.knative.dev/visibility":"cluster-local"}}})"
                : R"({"metadata":{"labels":{"networking.knative.dev/visibility":null}}})"));
    return "change the visibility of " + to_string(key);
  }
  std::string delete_service(const Op& op) {
    w_.remove(service(op));
    return done("delete", service(op));
  }
  std::string delete_owned(const Op& op) {
    const kube::Resource kinds[] = {res::configurations(),
                                    res::kroutes(),
                                    res::revisions(),
                                    res::deployments(),
                                    res::replicasets(),
                                    res::services(),
                                    res::podautoscalers(),
                                    res::sks(),
                                    res::kingresses(),
                                    res::oroutes(),
                                    res::virtualservices(),
                                    res::endpoints(),
                                    res::endpointslices(),
                                    res::images(),
                                    res::peerauthentications(),
                                    res::networkpolicies(),
                                    res::configmaps(),
                                    res::serviceaccounts(),
                                    res::metrics(),
                                    res::destinationrules(),
                                    res::clusterroles(),
                                    res::rolebindings()};
    const Key key = some(kinds[op.a % std::size(kinds)], op.b);
    if (!key.name.empty()) w_.remove(key);
    return done("delete", key);
  }
  std::string delete_pod(const Op& op) {
    const Key key = some(res::pods(), op.a);
    if (!key.name.empty()) {
      w_.remove(key, op.b % 4 == 0 ? std::optional<std::int64_t>(0) : std::nullopt);
    }
    return done(op.b % 4 == 0 ? "delete at once" : "delete", key);
  }
  std::string namespaces(const Op& op) {
    const Key key{res::namespaces(), {}, "team"};
    if (op.a % 3 == 0) {
      w_.remove(key);
      return done("delete", key);
    }
    w_.apply(key, parse(R"({"apiVersion":"v1","kind":"Namespace"})"));
    return done("make", key);
  }
  std::string members(const Op& op) {
    JsonArray all{"knative-serving", "knative-eventing"};
    if (op.a % 8 != 0) all.push_back("default");
    if (op.a % 3 != 0) all.push_back("team");
    w_.apply({res::smmrs(), "istio-system", "default"},
             JsonObject{{"apiVersion", "maistra.io/v1"},
                        {"kind", "ServiceMeshMemberRoll"},
                        {"spec", JsonObject{{"members", all}}}});
    return "members of the mesh: " + json::print(all);
  }
  std::string mesh_plane(const Op& op) {
    const Key key{res::smcps(), "istio-system", "basic"};
    if (op.a % 4 == 0) {
      w_.remove(key);
      return done("delete", key);
    }
    if (op.a % 4 == 1) {
      w_.merge(key, parse(R"({"spec":{"security":{"dataPlane":{"mtls":)" +
                          std::string(op.b % 2 == 0 ? "true" : "false") + "}}}}"));
      return op.b % 2 == 0 ? "mtls on" : "mtls off";
    }
    w_.install_seed();
    return "apply the seed's mesh and serving again";
  }
  std::string policy(const Op& op) {
    const Key key{res::peerauthentications(), op.a % 3 == 0 ? "istio-system" : ns(op.a / 3),
                  "mine"};
    if (op.b % 3 == 0) {
      w_.remove(key);
      return done("delete", key);
    }
    const char* mode = op.b % 3 == 1 ? "STRICT" : "PERMISSIVE";
    w_.apply(key, parse(R"({"apiVersion":"security.istio.io/v1beta1","kind":"PeerAuthentication",
        "spec":{"mtls":{"mode":")" +
                        std::string(mode) + R"("}}})"));
    return "PeerAuthentication " + std::string(mode) + " in " + key.ns;
  }
  std::string gateways(const Op& op) {
    const Key key{res::gateways(), "knative-serving",
                  op.a % 2 == 0 ? "knative-ingress-gateway" : "knative-local-gateway"};
    if (op.b % 2 == 0) {
      w_.remove(key);
      return done("delete", key);
    }
    for (const auto& manifest : seed_manifests("istio-knative-gateways.yaml")) {
      if (json::str(manifest, {"metadata", "name"}) == key.name &&
          json::str(manifest, {"kind"}) == "Gateway") {
        w_.apply(key, manifest);
      }
    }
    return done("apply", key);
  }
  std::string certificate(const Op& op) {
    const Key key{res::secrets(), "istio-system", "wildcard-certs"};
    if (op.a % 3 == 0) {
      w_.remove(key);
      return done("delete", key);
    }
    if (op.a % 3 == 1) {
      w_.merge(key, parse(R"({"data":{"tls.crt":"bm8gY2VydGlmaWNhdGU="}})"));
      return "put rubbish into " + to_string(key);
    }
    w_.install_seed();
    return "apply the seed's mesh and serving again";
  }
  std::string serving(const Op& op) {
    const Key key{res::knativeservings(), "knative-serving", "knative-serving"};
    if (op.a % 6 == 0) {
      w_.remove(key);
      return done("delete", key);
    }
    const char* const patches[] = {
        R"({"spec":{"config":{"autoscaler":{"target-burst-capacity":"0"}}}})",
        R"({"spec":{"config":{"autoscaler":{"target-burst-capacity":"211"}}}})",
        R"({"spec":{"config":{"autoscaler":{"enable-scale-to-zero":"true","scale-to-zero-grace-period":"10s"}}}})",
        R"({"spec":{"config":{"autoscaler":null}}})",
        R"({"spec":{"high-availability":{"replicas":2}}})",
        R"({"spec":{"high-availability":null}})"};
    const char* patch = patches[op.b % std::size(patches)];
    w_.merge(key, parse(patch));
    return "KnativeServing: " + std::string(patch);
  }
  std::string labels(const Op& op) {
    if (op.a % 4 == 0) {
      const Key key{res::namespaces(), {}, ns(op.b)};
      w_.merge(key,
               parse(op.c % 2 == 0
                         ? R"({"metadata":{"labels":{"maistra.io/member-of":null}}})"
                         : R"({"metadata":{"labels":{"maistra.io/member-of":"istio-system"}}})"));
      return "change the member label of " + to_string(key);
    }
    const kube::Resource kinds[] = {res::pods(),      res::services(),   res::deployments(),
                                    res::revisions(), res::kingresses(), res::replicasets()};
    const Key key = some(kinds[op.b % std::size(kinds)], op.c);
    if (key.name.empty()) return "nothing";
    const char* const patches[] = {
        R"({"metadata":{"labels":{"serving.knative.dev/revision":null}}})",
        R"({"metadata":{"labels":{"app":null}}})", R"({"metadata":{"labels":{"mine":"yes"}}})",
        R"({"metadata":{"annotations":{"sidecar.istio.io/inject":null}}})"};
    const char* patch = patches[op.a % std::size(patches)];
    w_.merge(key, parse(patch));
    return "patch " + to_string(key) + " " + patch;
  }
  std::string deployment(const Op& op) {
    const Key key{res::deployments(), ns(op.a), "web"};
    if (op.b % 5 == 0) {
      w_.remove(key);
      return done("delete", key);
    }
    Json d = parse(R"({"apiVersion":"apps/v1","kind":"Deployment","spec":{
      "selector":{"matchLabels":{"app":"web"}},"template":{"metadata":{"labels":{"app":"web"},
      "annotations":{"sidecar.istio.io/inject":"true"}},
      "spec":{"containers":[{"name":"c","image":"knit.local/hello"}]}}}})");
    json::set(d, {"spec", "replicas"}, Json(static_cast<std::int64_t>(op.c % 4)));
    json::set(d, {"spec", "template", "metadata", "annotations", "n"},
              Json(std::to_string(op.b % 3)));
    json::set(d, {"spec", "strategy", "type"}, Json(op.c % 3 == 0 ? "Recreate" : "RollingUpdate"));
    if (op.c % 3 == 0) json::set(d, {"spec", "strategy", "rollingUpdate"}, Json());
    w_.apply(key, std::move(d));
    Json s = parse(R"({"apiVersion":"v1","kind":"Service","spec":{"selector":{"app":"web"},
      "ports":[{"name":"http","port":80,"targetPort":8080}]}})");
    w_.apply({res::services(), key.ns, "web"}, std::move(s));
    return done("apply", key);
  }
  std::string edge_route(const Op& op) {
    const Key key{res::oroutes(), ns(op.a), "mine"};
    if (op.b % 3 == 0) {
      w_.remove(key);
      return done("delete", key);
    }
    Json r = parse(R"({"apiVersion":"route.openshift.io/v1","kind":"Route","spec":{
      "to":{"kind":"Service","name":"web"},"port":{"targetPort":"http"}}})");
    if (op.b % 3 == 1) json::set(r, {"spec", "host"}, Json(World::host("default", name(op.c))));
    w_.apply(key, std::move(r));
    return done("apply", key);
  }
  std::string requests(const Op& op) {
    const auto host = World::host(ns(op.a), name(op.a / 7));
    const auto n = 1 + op.b % 12;
    for (std::uint64_t i = 0; i < n; ++i) {
      w_.request(host, milliseconds(10 + op.c % 4000));
    }
    return std::to_string(n) + " requests to " + host;
  }

  // ---- what breaks
  std::string wait(const Op& op) {
    const Duration d = op.a % 32 == 1 ? Duration(seconds(310 + op.b % 90))  // a lost node's pods go
                       : op.a % 4 == 0 ? Duration(seconds(op.b % 40))
                                       : Duration(milliseconds(op.b % 900));
    w_.loop.advance(d);
    return "wait " + go_duration(d);
  }
  /// Some steps on, wherever that is: between a commit and its answer, too.
  std::string few_steps(std::uint64_t n) {
    const auto steps = n % 40;
    for (std::uint64_t i = 0; i < steps && w_.loop.run_one(); ++i) {
    }
    return std::to_string(steps) + " steps later ";
  }
  std::string server(const Op& op) {
    if (w_.server_up()) {
      std::string text = few_steps(op.a);
      w_.kill_server();
      if (op.b % 2 == 0) w_.start_server();
      return text + "kill the server" + (op.b % 2 == 0 ? ", start it" : "");
    }
    w_.start_server();
    return "start the server";
  }
  std::string proxy(const Op& op) {
    if (w_.proxy_up()) {
      std::string text = few_steps(op.a);
      w_.kill_proxy();
      if (op.b % 2 == 0) w_.start_proxy();
      return text + "kill the proxy" + (op.b % 2 == 0 ? ", start it" : "");
    }
    w_.start_proxy();
    return "start the proxy";
  }
  std::string node(const Op& op) {
    if (w_.node_up()) {
      std::string text = few_steps(op.a);
      w_.kill_node();
      if (op.b % 2 == 0) w_.start_node();
      return text + "kill the node" + (op.b % 2 == 0 ? ", start it" : "");
    }
    w_.start_node();
    return "start the node";
  }
  std::string channel(const Op& op) {
    std::string text = few_steps(op.a);
    w_.break_channel();
    return text + "break the channel to the proxy";
  }
  std::string lag(const Op& op) {
    const Duration d = milliseconds(op.b % 200);
    switch (op.a % 4) {
      case 0:
        w_.wire.lag = d;
        return "a frame takes " + go_duration(d);
      case 1:
        w_.disk.lag = d;
        return "a commit takes " + go_duration(d);
      case 2:
        w_.worker_lag = d;
        return "workers take " + go_duration(d);
      default:
        w_.wire.lag = w_.disk.lag = w_.worker_lag = {};
        return "everything is fast";
    }
  }
  std::string disk(const Op& op) {
    w_.disk_errors = static_cast<int>(1 + op.a % 4);
    return "the disk is full for " + std::to_string(w_.disk_errors) + " writes";
  }
  std::string watch(const Op& op) {
    std::string text = few_steps(op.a);
    w_.cut_watch();
    return text + "cut the watch";
  }
  /// What nobody may write, and what is said about it.
  std::string bad_object(const Op& op) {
    const struct {
      Key key;
      const char *manifest, *says;
    } rows[] = {
        {{res::ksvcs(), "default", "bad"},
         R"({"apiVersion":"serving.knative.dev/v1","kind":"Service",
             "spec":{"template":{"spec":{"containers":[{"imgae":"x"}]}}}})",
         "unknown field \"spec.template.spec.containers[0].imgae\""},
        {{res::ksvcs(), "default", "bad"},
         R"({"apiVersion":"serving.knative.dev/v1","kind":"Service",
             "spec":{"template":{"spec":{"containers":[{"image":"<image_url>"}]}}}})",
         "<image_url>"},
        {{res::deployments(), "default", "bad"},
         R"({"apiVersion":"apps/v1","kind":"Deployment","spec":{"replicas":"three"}})",
         "replicas"},
        {{res::configmaps(), "default", "Not_A_Name"},
         R"({"apiVersion":"v1","kind":"ConfigMap"})",
         "RFC 1123"},
        {{res::configmaps(), "nowhere", "bad"},
         R"({"apiVersion":"v1","kind":"ConfigMap"})",
         "namespaces \"nowhere\" not found"},
        {{res::smmrs(), "default", "default"},
         R"({"apiVersion":"maistra.io/v1","kind":"ServiceMeshMemberRoll",
             "spec":{"members":["your-OpenShift-projects"]}})",
         "your-OpenShift-projects"},
    };
    const auto& row = rows[op.a % std::size(rows)];
    w_.apply_bad(row.key, parse(row.manifest), row.says);
    return "a bad " + to_string(row.key) + " (" + row.says + ")";
  }
  std::string container(const Op& op) {
    const Key key = some(res::pods(), op.a);
    if (key.name.empty()) return "nothing";
    w_.node->crash_container(key);
    return done("crash", key);
  }
  std::string images(const Op& op) {
    switch (op.a % 4) {
      case 0:
        w_.missing_images.clear();
        return "the missing image appears";
      case 1:
        w_.crashing_images.clear();
        return "the crashing image is repaired";
      case 2:
        w_.stuck_images.clear();
        return "the stuck image is repaired";
      default:
        w_.missing_images = {"example.test/missing"};
        w_.crashing_images = {"example.test/crash"};
        w_.stuck_images = {"example.test/stuck"};
        return "bad images are bad";
    }
  }
  std::string clock(const Op& op) {
    const Duration steps[] = {seconds(5), minutes(3), minutes(90), seconds(1)};
    Duration d = steps[op.a % std::size(steps)];
    if (op.b % 2 == 0) d = -d;
    w_.loop.step_wall(d);
    return "step the clock by " + go_duration(d);
  }
  std::string rest(const Op& op) {
    w_.heal();
    const std::string when = "at rest";
    if (come_to_rest(w_, when)) check_rest(w_, when);
    static_cast<void>(op);
    return "heal and rest";
  }

  World& w_;
};

const std::vector<Interpreter::Entry>& Interpreter::table() {
  using I = Interpreter;
  static const std::vector<Entry> entries = {
      {"create_service", 14, &I::create_service},
      {"new_revision", 8, &I::new_revision},
      {"change_scale", 4, &I::change_scale},
      {"split", 5, &I::split},
      {"all_to_latest", 3, &I::all_to_latest},
      {"visibility", 2, &I::visibility},
      {"delete_service", 4, &I::delete_service},
      {"delete_owned", 8, &I::delete_owned},
      {"delete_pod", 5, &I::delete_pod},
      {"namespaces", 3, &I::namespaces},
      {"members", 3, &I::members},
      {"mesh_plane", 3, &I::mesh_plane},
      {"policy", 3, &I::policy},
      {"gateways", 2, &I::gateways},
      {"certificate", 2, &I::certificate},
      {"serving", 3, &I::serving},
      {"labels", 4, &I::labels},
      {"deployment", 3, &I::deployment},
      {"edge_route", 2, &I::edge_route},
      {"requests", 12, &I::requests},
      {"wait", 14, &I::wait},
      {"server", 5, &I::server},
      {"proxy", 4, &I::proxy},
      {"node", 3, &I::node},
      {"channel", 2, &I::channel},
      {"lag", 4, &I::lag},
      {"disk", 2, &I::disk},
      {"watch", 2, &I::watch},
      {"bad_object", 3, &I::bad_object},
      {"container", 3, &I::container},
      {"images", 3, &I::images},
      {"clock", 2, &I::clock},
      {"rest", 2, &I::rest},
  };
  return entries;
}

std::string Interpreter::run(const Op& op) {
  const auto& entry = table()[op.kind % table().size()];
  std::string text = (this->*entry.work)(op);
  // Time goes by between what people do, or does not.
  if (op.c % 3 != 0) w_.loop.advance(milliseconds(op.c / 3 % 250));
  return text;
}

/// Users repair what only they can, as upstream. A revision that missed its deadline, or was given
/// up before it ever ran, has failed for good: another is deployed. Traffic to a revision that they
/// deleted goes to the latest. A revision without a sidecar gets its annotation back.
void repair(World& world) {
  const Json again = *json::parse(R"({"spec":{"traffic":[{"latestRevision":true,"percent":100}],
      "template":{"metadata":{"annotations":{"again":"yes"}}}}})");
  for (const auto& object : world.list(res::revisions())) {
    const Key& key = object->key();
    world.merge(key, *json::parse(R"({"metadata":{"annotations":{
        "sidecar.istio.io/inject":"true"}}})"));
    const auto failed = serving::find_condition(object->parse(), "ResourcesAvailable");
    const auto deployment = world.view({res::deployments(), key.ns, key.name + "-deployment"});
    const bool late = failed && failed->reason == "ProgressDeadlineExceeded";
    const bool given_up =
        world.ready(key) == "False" && json::i64(deployment, {"spec", "replicas"}, 1) == 0;
    if (late || given_up) {
      world.merge({res::ksvcs(), key.ns, std::string(object->label("serving.knative.dev/service"))},
                  again);
    }
  }
  for (const auto& object : world.list(res::ksvcs())) {
    const Json service = object->parse();
    for (const auto& target : json::array(service, {"spec", "traffic"})) {
      const std::string name(json::str(target, {"revisionName"}));
      if (name.empty() || world.snapshot()->has({res::revisions(), object->key().ns, name}))
        continue;
      world.merge(object->key(), again);
      break;
    }
  }
}

/// Users take everything away that they made.
void clean_up(World& world) {
  for (const auto& space : {"default", "team"}) {
    for (const auto resource : {res::ksvcs(), res::deployments(), res::oroutes()}) {
      for (const auto& object : world.list(resource, space)) {
        if (object->controller() == nullptr) world.remove(object->key());
      }
    }
    world.remove({res::services(), space, "web"});
    world.remove({res::peerauthentications(), space, "mine"});
  }
  world.remove({res::peerauthentications(), "istio-system", "mine"});
  world.remove({res::namespaces(), {}, "team"});
  world.loop.advance(seconds(1));
  world.remove({res::knativeservings(), "knative-serving", "knative-serving"});
  for (const auto& object : world.list(res::gateways())) world.remove(object->key());
  world.remove({res::services(), "istio-system", "knative-local-gateway"});
  world.remove({res::secrets(), "istio-system", "wildcard-certs"});
  world.remove({res::smmrs(), "istio-system", "default"});
  world.remove({res::smcps(), "istio-system", "basic"});
}

std::set<std::string> names(World& world) {
  std::set<std::string> out;
  const auto snapshot = world.snapshot();
  for (const auto resource : snapshot->resources()) {
    if (resource == res::events() || resource == res::leases()) continue;
    for (const auto& object : snapshot->list(resource)) out.insert(to_string(object->key()));
  }
  return out;
}

}  // namespace

std::vector<Op> make_program(std::uint64_t seed) {
  const auto random = seeded_random(seed);
  const auto& table = Interpreter::table();
  int sum = 0;
  for (const auto& entry : table) sum += entry.weight;
  std::vector<Op> out(30 + random->below(50));
  for (Op& op : out) {
    int at = static_cast<int>(random->below(static_cast<std::uint64_t>(sum)));
    while (at >= table[op.kind].weight) at -= table[op.kind++].weight;
    op.a = random->below(1 << 16);
    op.b = random->below(1 << 16);
    op.c = random->below(1 << 16);
  }
  return out;
}

Outcome run_program(std::uint64_t seed, const std::vector<Op>& program,
                    const std::vector<std::size_t>& keep) {
  Outcome out;
  World world(seed);
  world.missing_images = {"example.test/missing"};
  world.crashing_images = {"example.test/crash"};
  world.stuck_images = {"example.test/stuck"};
  world.slow_images["knit.local/slow"] = seconds(8);
  const auto failed = [&] {
    out.violations = world.violations;
    return !out.violations.empty();
  };
  const auto at_rest = [&](const std::string& when, void (*check)(World&, const std::string&)) {
    world.heal();
    if (come_to_rest(world, when)) check(world, when);
    return !failed();
  };

  world.start_server();
  world.start_node();
  world.start_proxy();
  world.loop.advance(seconds(1));
  if (!at_rest("before anything", check_rest)) return out;
  const auto first = names(world);
  if (seed % 2 == 0) {
    world.install_seed();
    world.loop.advance(seconds(1));
  }

  Interpreter interpreter(world);
  const auto step = [&](std::size_t i) {
    out.steps.push_back(std::to_string(i) + ": " + interpreter.run(program[i]));
    return !failed();
  };
  if (keep.empty()) {
    for (std::size_t i = 0; i < program.size(); ++i) {
      if (!step(i)) return out;
    }
  } else {
    for (const auto i : keep) {
      if (i < program.size() && !step(i)) return out;
    }
  }

  if (!at_rest("after the program", check_rest)) return out;
  // Everything that is needed is there: what is deployed must work.
  world.install_seed();
  world.loop.advance(seconds(1));  // the member roll is there: what follows is merged into it
  world.apply({res::namespaces(), {}, "team"},
              JsonObject{{"apiVersion", "v1"}, {"kind", "Namespace"}});
  world.apply(
      {res::smmrs(), "istio-system", "default"},
      JsonObject{{"apiVersion", "maistra.io/v1"},
                 {"kind", "ServiceMeshMemberRoll"},
                 {"spec", JsonObject{{"members", JsonArray{"knative-serving", "knative-eventing",
                                                           "default", "team"}}}}});
  world.merge({res::smcps(), "istio-system", "basic"},
              *json::parse(R"({"spec":{"security":{"dataPlane":{"mtls":true}}}})"));
  // Who holds another's host keeps it: the oldest Route wins, as upstream.
  for (const auto& space : {"default", "team"}) world.remove({res::oroutes(), space, "mine"});
  world.heal();
  if (come_to_rest(world, "with everything installed")) repair(world);
  if (!at_rest("with everything installed", check_whole)) return out;

  clean_up(world);
  if (!at_rest("with everything deleted", check_rest)) return out;
  for (const auto& name : names(world)) {
    if (!first.contains(name)) world.violation("left over when all is deleted: " + name);
  }
  for (const auto& name : first) {
    if (!names(world).contains(name)) world.violation("gone for good: " + name);
  }
  failed();
  return out;
}

}  // namespace knit::world
