// K127, K614, K903, K905: walks over what the objects of a running cluster say of themselves. They
// connect to nothing but the API server: what a hop reports is the evidence, the first that does
// not report well is the finding.
#include "check/conditions.h"
#include "check/helpers.h"

namespace knit::check {
namespace {

using yaml::Path;

constexpr std::string_view kBrokerKind = "eventing.knative.dev/Broker";
constexpr std::string_view kTriggerKind = "eventing.knative.dev/Trigger";
constexpr std::string_view kSubscriptionKind = "messaging.knative.dev/Subscription";
constexpr std::string_view kStrimziKind = "kafka.strimzi.io/Kafka";
constexpr std::string_view kRouteKind = "route.openshift.io/Route";
constexpr std::string_view kVirtualServiceKind = "networking.istio.io/VirtualService";

/// Of the cluster, and not on its way out: what a file lays over a cluster has reported nothing.
bool reports(const Item& item) {
  return item.recorded && json::find(item.json, {"metadata", "deletionTimestamp"}) == nullptr;
}

// --- K127: the mesh that Serverless is in, and the one that it still hangs on

/// "istiod-basic.istio-system.svc:15012" → "istio-system".
std::string namespace_of_istiod(std::string_view address) {
  const auto parts = split_list(address, '.');
  return parts.size() > 2 && parts[0].starts_with("istiod") && parts[2].starts_with("svc")
             ? parts[1]
             : std::string();
}

/// Where the sidecar of a pod gets its certificate and configuration, "" when it does not say.
std::string istiod_of(const Json& pod) {
  for (const std::string_view list : {"containers", "initContainers"}) {
    for (const auto& container : json::array(pod, {"spec", list})) {
      if (json::str(container, {"name"}) != "istio-proxy") continue;
      for (const auto& env : json::array(container, {"env"})) {
        const auto name = json::str(env, {"name"});
        const auto value = json::str(env, {"value"});
        if (name == "CA_ADDR") return std::string(value);
        if (name != "PROXY_CONFIG") continue;
        if (const auto config = yaml::parse_one(value)) {
          if (const auto at = json::str(*config, {"discoveryAddress"}); !at.empty())
            return std::string(at);
        }
      }
    }
  }
  return {};
}

void moved(Context& c) {
  const Facts& facts = c.facts();
  std::set<std::string> serverless;
  for (const auto kind : {kServingKind, kEventingKind, kKafkaKind}) {
    for (const auto& object : c.list(kind)) serverless.insert(object->ns);
  }
  for (const auto& ns : serverless) {
    const auto* mesh = facts.mesh_of(ns);
    if (mesh == nullptr || mesh->ns == ns) continue;  // K120
    const std::string now = "the mesh of " + ns + " is " + mesh->ns + "'s";
    const ItemPtr space = c.find("Namespace", "", ns);
    const std::string_view label =
        space ? json::str(space->json, {"metadata", "labels", "maistra.io/member-of"})
              : std::string_view();
    if (is_smcp(*mesh) && !label.empty() && label != mesh->ns) {
      c.report(space, Path{"metadata", "labels"} / "maistra.io/member-of",
               now + ", and it is still labelled as a member of " + std::string(label));
    }
    for (const auto& roll : c.list(kRollKind)) {
      if (roll->ns == mesh->ns) continue;
      for (const std::string_view list : {"configuredMembers", "terminatingMembers"}) {
        const auto& members = json::array(roll->json, {"status", list});
        if (std::find(members.begin(), members.end(), Json(std::string_view(ns))) == members.end())
          continue;
        c.report(roll, Path{"status", list},
                 now + ", and this roll still holds it in status." + std::string(list));
        break;
      }
    }
    for (const auto& pod : c.list("Pod", ns)) {
      const std::string address = istiod_of(pod->json);
      const std::string from = namespace_of_istiod(address);
      if (from.empty() || from == mesh->ns) continue;
      c.report(pod, Path{"spec", "containers"},
               now + ", and the sidecar takes its certificate from " + address);
    }
  }
}

// --- K614: what Kafka and its clients report

/// "NAME-kafka-bootstrap.NS…" is the Service of Strimzi's cluster NAME.
ItemPtr strimzi_of(const std::vector<ItemPtr>& clusters, const std::string& host) {
  const auto parts = split_list(host, '.');
  for (const auto& kafka : clusters) {
    const bool here =
        parts[0] == kafka->name + "-kafka-bootstrap" || parts[0] == kafka->name + "-kafka-brokers";
    if (here && parts.size() > 1 && parts[1] == kafka->ns) return kafka;
  }
  return nullptr;
}

void strimzi_listeners(Context& c, const ItemPtr& kafka) {
  if (const auto why = blocking_condition(kafka->json)) {
    c.report(kafka, Path{"status", "conditions"}, why->text()).severity =
        why->is_false() ? Severity::Error : Severity::Warning;
    return;
  }
  const auto& listening = json::array(kafka->json, {"status", "listeners"});
  if (listening.empty()) return;  // older Strimzi says nothing before it is ready
  std::size_t i = 0;
  for (const auto& wanted : json::array(kafka->json, {"spec", "kafka", "listeners"})) {
    const Path at = Path{"spec", "kafka", "listeners"} / i++;
    const auto name = json::str(wanted, {"name"});
    const bool there = std::any_of(listening.begin(), listening.end(), [&](const Json& l) {
      return (json::str(l, {"name"}) == name || json::str(l, {"type"}) == name) &&
             (!json::array(l, {"addresses"}).empty() ||
              !json::str(l, {"bootstrapServers"}).empty());
    });
    if (!there) c.report(kafka, at, "listener " + std::string(name) + " advertises no address");
  }
}

void kafka_answers(Context& c) {
  const auto clusters = c.list(kStrimziKind);
  std::set<std::string> ports;  // "NS/NAME:PORT" that Strimzi listens on
  bool heard = false;
  for (const auto& kafka : clusters) {
    for (const auto& l : json::array(kafka->json, {"spec", "kafka", "listeners"})) {
      ports.insert(kafka->ref() + ":" + std::to_string(json::i64(l, {"port"})));
    }
    if (!reports(*kafka)) continue;
    heard |= !conditions_of(kafka->json).empty();
    strimzi_listeners(c, kafka);
  }
  for (const auto& b : bootstrap_lists(c.objects())) {
    for (const auto& part : split_list(b.value)) {
      const auto at = parse_host_port(part);
      if (!at || Context::is_placeholder(part)) continue;
      const auto kafka = strimzi_of(clusters, at->host);
      if (!kafka || json::array(kafka->json, {"spec", "kafka", "listeners"}).empty() ||
          ports.contains(kafka->ref() + ":" + std::to_string(at->port))) {
        continue;
      }
      c.report(b.object, b.path,
               kafka->ref() + " has no listener on port " + std::to_string(at->port));
    }
  }
  // Those that talk to Kafka say whether it answered.
  const struct {
    std::string_view kind;
    std::vector<std::string_view> conditions;
  } clients[] = {
      {kBrokerKind, {"TopicReady", "ProbeSucceeded"}},
      {"eventing.knative.dev/KafkaSink", {"TopicReady", "ProbeSucceeded"}},
      {"messaging.knative.dev/KafkaChannel", {"TopicReady", "ProbeSucceeded"}},
      {"sources.knative.dev/KafkaSource", {"ConnectionEstablished", "InitialOffsetsCommitted"}}};
  for (const auto& client : clients) {
    for (const auto& object : c.list(client.kind)) {
      if (!reports(*object)) continue;
      for (const auto type : client.conditions) {
        const auto condition = condition_of(object->json, type);
        if (!condition) continue;
        heard = true;
        if (!condition->is_false()) continue;
        c.report(object, Path{"status", "conditions"}, condition->text());
        break;
      }
    }
  }
  if (heard) return;
  for (const auto& kafka : c.list(kKafkaKind)) {
    if (!reports(*kafka)) continue;
    for (const std::string_view part : {"broker", "channel", "source", "sink"}) {
      if (!json::boolean(kafka->json, {"spec", part, "enabled"})) continue;
      c.unknown(kafka, {}, "no object of the cluster has talked to Kafka yet");
      break;
    }
  }
}

// --- K903: the way of a request

/// One hop that reports; walks end at the first that does not.
struct Walk {
  std::vector<Evidence> passed;
  std::string stops;  // what is wrong at the next hop; empty: it got through
  ItemPtr at;
  Path path;
  bool sure = true;
  void stop(ItemPtr object, Path where, std::string why, bool proven = true) {
    at = std::move(object);
    path = std::move(where);
    stops = std::move(why);
    sure = proven;
  }
};

void tell(Context& c, const ItemPtr& from, const Walk& walk) {
  if (walk.stops.empty()) return;
  // At the object that a reader asks about; the hop that stops is its first evidence.
  auto& f = c.report(from, walk.at == from ? walk.path : Path{"status"},
                     "hop " + std::to_string(walk.passed.size() + 1) + ", " +
                         (walk.at ? walk.at->ref() + ": " : "") + walk.stops);
  if (!walk.sure) f.severity = Severity::Warning;
  for (const auto& e : walk.passed) f.evidence.push_back(e);
}

bool pod_ready(const Json& pod) {
  const auto ready = condition_of(pod, "Ready");
  return ready && ready->is_true();
}

std::string host_of(std::string_view url) {
  const auto scheme = url.find("://");
  if (scheme != std::string_view::npos) url.remove_prefix(scheme + 3);
  return std::string(url.substr(0, url.find_first_of(":/")));
}

struct ServingHops {
  std::map<std::string, ItemPtr> routes;  // by host
  std::map<std::string, ItemPtr> virtual_services;
  std::set<std::string> external;
  bool openshift = false;
};

/// Gateway, pods and their readiness, common to all services.
void gateway_hop(Context& c, const ServingHops& hops, Walk& walk) {
  const Facts& facts = c.facts();
  for (const auto& [view, item] : facts.gateways) {
    if (!hops.external.contains(view.ns + "/" + view.name)) continue;
    std::size_t ready = 0;
    ItemPtr idle;
    bool pods = false;
    for (const auto* pod : facts.selected(view)) {
      auto all = pod->alike;
      all.push_back(pod->from);
      for (const auto& one : all) {
        if (!one || one->kind != "Pod") continue;
        pods = true;
        if (pod_ready(one->json)) {
          ++ready;
        } else {
          idle = one;
        }
      }
    }
    if (ready > 0) {
      walk.passed.push_back({item->ref(), std::to_string(ready) +
                                              (ready == 1 ? " pod is ready" : " pods are ready")});
      return;
    }
    if (pods) {
      walk.stop(idle, Path{"status", "conditions"}, "no pod of " + item->ref() + " is ready");
    } else if (!c.objects().unreadable.contains(kind_name("Pod")) && !c.objects().dump) {
      walk.stop(item, Path{"spec", "selector"}, "it selects no pod that runs");
    }
    return;
  }
  if (c.objects().knows(kGatewayKind))
    walk.stop(nullptr, {}, "no Gateway that config.istio names is there");
}

void walk_service(Context& c, const ItemPtr& service, const ServingHops& hops) {
  Walk walk;
  const std::string host = host_of(json::str(service->json, {"status", "url"}));
  const auto ready = condition_of(service->json, "Ready");
  if (!ready || host.empty()) {
    c.unknown(service, Path{"status"}, "no controller has reported on it yet");
    return;
  }
  const bool local =
      json::str(service->json, {"metadata", "labels", "networking.knative.dev/visibility"}) ==
          "cluster-local" ||
      host.ends_with(".svc.cluster.local") || host.ends_with(".svc");
  const bool own_route =
      json::str(service->json,
                {"metadata", "annotations", "serving.knative.openshift.io/disableRoute"}) != "true";
  if (!local && hops.openshift && own_route) {
    const auto route = hops.routes.find(host);
    if (route == hops.routes.end()) {
      walk.stop(service, Path{"status", "url"}, "no Route has the host " + host);
      return tell(c, service, walk);
    }
    const Json& json = route->second->json;
    for (const auto& ingress : json::array(json, {"status", "ingress"})) {
      for (const auto& condition : json::array(ingress, {"conditions"})) {
        if (json::str(condition, {"type"}) != "Admitted" ||
            json::str(condition, {"status"}) == "True") {
          continue;
        }
        walk.stop(
            route->second, Path{"status", "ingress"},
            "the router does not admit it (" + std::string(json::str(condition, {"reason"})) + ")");
        return tell(c, service, walk);
      }
    }
    if (json::array(json, {"status", "ingress"}).empty()) {
      walk.stop(route->second, Path{"status", "ingress"}, "no router has taken it", false);
      return tell(c, service, walk);
    }
    walk.passed.push_back({route->second->ref(), "admitted"});
  }
  if (!local) gateway_hop(c, hops, walk);
  if (!walk.stops.empty()) return tell(c, service, walk);
  const std::string inside = service->name + "." + service->ns + ".svc.cluster.local";
  const auto vs = hops.virtual_services.find(local ? inside : host);
  if (vs != hops.virtual_services.end()) {
    walk.passed.push_back({vs->second->ref(), "routes " + (local ? inside : host)});
  } else if (c.objects().knows(kVirtualServiceKind)) {
    walk.stop(service, Path{"status", "url"},
              "no VirtualService has the host " + (local ? inside : host));
    return tell(c, service, walk);
  }
  std::size_t activators = 0;
  std::size_t idle = 0;
  for (const auto& pod : c.list("Pod", "knative-serving")) {
    if (json::str(pod->json, {"metadata", "labels", "app"}) != "activator") continue;
    (pod_ready(pod->json) ? activators : idle) += 1;
    if (!pod_ready(pod->json)) walk.at = pod;
  }
  if (activators > 0) {
    walk.passed.push_back({"Pod knative-serving/activator", std::to_string(activators) + " ready"});
  } else if (idle > 0) {
    walk.stop(walk.at, Path{"status", "conditions"}, "no activator is ready");
    return tell(c, service, walk);
  }
  if (const auto why = blocking_condition(service->json)) {
    walk.stop(service, Path{"status", "conditions"}, why->text(), ready->is_false());
  }
  tell(c, service, walk);
}

void request_walk(Context& c) {
  ServingHops hops;
  const auto routes = c.list(kRouteKind);
  for (const auto& route : routes) {
    const std::string host(json::str(route->json, {"spec", "host"}));
    if (!host.empty()) hops.routes.emplace(host, route);
    hops.openshift |=
        json::find(route->json,
                   {"metadata", "labels", "serving.knative.openshift.io/ingressName"}) != nullptr;
  }
  for (const auto& vs : c.list(kVirtualServiceKind)) {
    for (const auto& h : json::array(vs->json, {"spec", "hosts"})) {
      if (const auto* s = h.if_string())
        hops.virtual_services.emplace(std::string(s->data(), s->size()), vs);
    }
  }
  for (auto& g : serverless_gateways(c.objects()).external) hops.external.insert(g);
  const auto servings = c.list(kServingKind);
  const bool istio = std::any_of(servings.begin(), servings.end(), [](const ItemPtr& s) {
    return json::boolean(s->json, {"spec", "ingress", "istio", "enabled"});
  });
  if (!istio) return;  // K402, or another ingress on purpose
  for (const auto& service : c.list(kServiceKind)) {
    if (reports(*service)) walk_service(c, service, hops);
  }
}

// --- K905: the way of an event

/// The object of a reference: {apiVersion, kind, namespace, name}.
ItemPtr referred(Context& c, const Json& ref, const std::string& ns, bool& readable) {
  const std::string version(json::str(ref, {"apiVersion"}));
  const auto slash = version.find('/');
  const std::string kind = (slash == std::string::npos ? "" : version.substr(0, slash + 1)) +
                           std::string(json::str(ref, {"kind"}));
  const std::string where(json::str(ref, {"namespace"}, ns));
  auto found = c.find(kind, where, json::str(ref, {"name"}));
  // Absence is known of kinds that were read: others of them are there.
  readable = found != nullptr || (c.objects().knows(kind) && !c.list(kind).empty());
  return found;
}

/// Whether the walk goes on past `object`, which `what` refers to.
bool hop(Walk& walk, const ItemPtr& object) {
  if (const auto why = blocking_condition(object->json)) {
    walk.stop(object, Path{"status", "conditions"}, why->text(), why->is_false());
    return false;
  }
  if (condition_of(object->json, "Ready")) walk.passed.push_back({object->ref(), "Ready"});
  return true;
}

bool sink_hop(Context& c, Walk& walk, const ItemPtr& from, std::string_view field) {
  const Json* ref = json::find(from->json, {"spec", field, "ref"});
  if (ref == nullptr || json::str(*ref, {"name"}).empty()) return true;  // a URI, or none
  bool readable = false;
  const auto object = referred(c, *ref, from->ns, readable);
  if (!object) {
    if (!readable) return true;
    walk.stop(from, Path{"spec", field, "ref"},
              "there is no " + std::string(json::str(*ref, {"kind"})) + " " +
                  std::string(json::str(*ref, {"namespace"}, from->ns)) + "/" +
                  std::string(json::str(*ref, {"name"})));
    return false;
  }
  return hop(walk, object);
}

void event_walk(Context& c) {
  std::set<const Item*> told;  // a Broker that is down is told once, not per Trigger
  const auto finish = [&](const ItemPtr& from, const Walk& walk) {
    if (walk.stops.empty()) return;
    if (walk.at && walk.at != from && !told.insert(walk.at.get()).second) return;
    told.insert(from.get());
    tell(c, from, walk);
  };
  for (const auto& trigger : c.list(kTriggerKind)) {
    if (!reports(*trigger)) continue;
    Walk walk;
    const std::string name(json::str(trigger->json, {"spec", "broker"}));
    if (const auto broker = c.find(kBrokerKind, trigger->ns, name)) {
      if (!hop(walk, broker)) {
        finish(trigger, walk);
        continue;
      }
    } else if (!name.empty() && c.objects().knows(kBrokerKind)) {
      walk.stop(trigger, Path{"spec", "broker"}, "there is no Broker " + name);
      finish(trigger, walk);
      continue;
    }
    if (sink_hop(c, walk, trigger, "subscriber")) (void)hop(walk, trigger);
    finish(trigger, walk);
  }
  for (const auto& subscription : c.list(kSubscriptionKind)) {
    if (!reports(*subscription)) continue;
    Walk walk;
    const Json* ref = json::find(subscription->json, {"spec", "channel"});
    bool readable = false;
    const auto channel = ref == nullptr ? nullptr : referred(c, *ref, subscription->ns, readable);
    if (channel && !hop(walk, channel)) {
      finish(subscription, walk);
      continue;
    }
    if (!channel && readable) {
      walk.stop(subscription, Path{"spec", "channel"},
                "there is no " + std::string(json::str(*ref, {"kind"})) + " " +
                    std::string(json::str(*ref, {"name"})));
      finish(subscription, walk);
      continue;
    }
    if (sink_hop(c, walk, subscription, "subscriber")) (void)hop(walk, subscription);
    finish(subscription, walk);
  }
  for (const auto kind : {"sources.knative.dev/ApiServerSource", "sources.knative.dev/PingSource",
                          "sources.knative.dev/ContainerSource", "sources.knative.dev/KafkaSource",
                          "sources.knative.dev/SinkBinding"}) {
    for (const auto& source : c.list(kind)) {
      if (!reports(*source)) continue;
      Walk walk;
      if (sink_hop(c, walk, source, "sink")) (void)hop(walk, source);
      finish(source, walk);
    }
  }
  for (const auto kind : {kBrokerKind, std::string_view("messaging.knative.dev/Channel"),
                          std::string_view("messaging.knative.dev/InMemoryChannel"),
                          std::string_view("messaging.knative.dev/KafkaChannel"),
                          std::string_view("eventing.knative.dev/KafkaSink")}) {
    for (const auto& object : c.list(kind)) {
      if (!reports(*object) || told.contains(object.get())) continue;
      Walk walk;
      (void)hop(walk, object);
      finish(object, walk);
    }
  }
}

}  // namespace

void add_walk_rules(std::vector<Rule>& out) {
  out.push_back({"K127",
                 {},
                 {},
                 Severity::Error,
                 Offline::Live,
                 "Serverless is not between two meshes",
                 "Serverless は二つのメッシュの間にない",
                 "503 between activator and pods: certificates of two roots",
                 "Serverless is supported with the mesh that it was installed with; moving it "
                 "means to install it again. What a move leaves is seen: a namespace still "
                 "labelled for the other mesh, a roll that still holds it, sidecars that take "
                 "their certificate from the other istiod.",
                 "remove KnativeServing and KnativeEventing, wait until their pods are gone, and "
                 "apply them to the new mesh",
                 {"Pod", "Namespace"},
                 {},
                 moved});
  out.push_back({"K614",
                 {},
                 {},
                 Severity::Error,
                 Offline::Live,
                 "Kafka answers its clients",
                 "Kafka がクライアントに応答する",
                 "the first event hangs; run out of available brokers",
                 "Strimzi reports its listeners and the addresses they advertise; Brokers, "
                 "channels, sinks and sources report whether Kafka answered them. knit check reads "
                 "these reports and does not connect to Kafka itself, so `unknown` means that "
                 "nobody has talked to it yet.",
                 "read the message; from a pod of the namespace: kcat -L -b HOST:PORT",
                 {},
                 {},
                 kafka_answers});
  out.push_back({"K903",
                 {},
                 {},
                 Severity::Error,
                 Offline::Live,
                 "every hop of a request reports that it works",
                 "リクエストの各ホップが正常を報告している",
                 "404, 503 or a reset, and nothing says where",
                 "A request goes through Route, gateway pods, VirtualService, activator and "
                 "revision. Each reports on itself; the first that does not report well is where "
                 "requests end. knit check sends no request: DNS and the certificate that the "
                 "router serves are outside this walk (K301 to K306 read the certificate).",
                 "mend the hop that is named; then curl --cacert root.crt "
                 "https://SERVICE-NAMESPACE.DOMAIN",
                 {"Pod"},
                 {},
                 request_walk});
  out.push_back({"K905",
                 {},
                 {},
                 Severity::Error,
                 Offline::Live,
                 "every hop of an event reports that it works",
                 "イベントの各ホップが正常を報告している",
                 "events are accepted and never arrive",
                 "An event goes from a source through a Broker or a channel to its subscriber. "
                 "Each reports on itself; the first that does not report well is where events "
                 "stay. knit check sends no event.",
                 "mend the hop that is named; then send an event to the Broker's "
                 "status.address.url from a pod of the mesh",
                 {},
                 {},
                 event_walk});
}

}  // namespace knit::check
