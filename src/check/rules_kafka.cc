// K6xx: KnativeKafka, its workloads, and how the mesh reaches Kafka.
#include "check/helpers.h"

namespace knit::check {
namespace {

using yaml::Path;

std::vector<std::string> hosts_of(const Item& entry) {
  std::vector<std::string> out;
  for (const auto& h : json::array(entry.json, {"spec", "hosts"})) {
    if (const auto* s = h.if_string()) out.emplace_back(s->data(), s->size());
  }
  return out;
}

void after_eventing(Context& c) {
  const auto all = c.list(kKafkaKind);
  for (const auto& kafka : all) {
    if (kafka != all.front())
      c.report(kafka, {}, "is the second KnativeKafka beside " + all.front()->name);
    if (!c.list(kEventingKind, kafka->ns).empty()) continue;
    if (c.objects().knows(kEventingKind) || !c.list(kEventingKind).empty()) {
      c.report(kafka, {}, "there is no KnativeEventing in " + kafka->ns);
    } else {
      c.unknown(kafka, {}, "no KnativeEventing is in the input");
    }
  }
}

void bootstrap_given(Context& c) {
  for (const auto& kafka : c.list(kKafkaKind)) {
    if (json::boolean(kafka->json, {"spec", "channel", "enabled"}) &&
        json::str(kafka->json, {"spec", "channel", "bootstrapServers"}).empty()) {
      c.report(kafka, Path{"spec", "channel"}, "channel.enabled without channel.bootstrapServers");
    }
    if (json::boolean(kafka->json, {"spec", "broker", "enabled"}) &&
        json::str(kafka->json, {"spec", "broker", "defaultConfig", "bootstrapServers"}).empty()) {
      c.report(kafka, Path{"spec", "broker"},
               "broker.enabled without broker.defaultConfig.bootstrapServers");
    }
    const bool name = !json::str(kafka->json, {"spec", "channel", "authSecretName"}).empty();
    const bool ns = !json::str(kafka->json, {"spec", "channel", "authSecretNamespace"}).empty();
    if (name != ns) {
      c.report(kafka, Path{"spec", "channel"},
               "authSecretName and authSecretNamespace go together");
    }
  }
}

void bootstrap_parses(Context& c) {
  for (const auto& b : bootstrap_lists(c.objects())) {
    if (Context::is_placeholder(b.value)) continue;
    for (const auto& part : split_list(b.value)) {
      if (parse_host_port(part)) continue;
      c.report(b.object, b.path, "\"" + part + "\" is no HOST:PORT");
      break;
    }
  }
}

void replication(Context& c) {
  const auto clusters = c.list("kafka.strimzi.io/Kafka");
  for (const auto& kafka : c.list(kKafkaKind)) {
    const Path config{"spec", "broker", "defaultConfig"};
    if (const auto* p = yaml::find(kafka->json, config / "numPartitions");
        p != nullptr && p->is_int64() && p->get_int64() < 1) {
      c.report(kafka, config / "numPartitions", "numPartitions is less than 1").fix =
          set_fix(kafka, config / "numPartitions", 1, "set numPartitions: 1");
    }
    const auto* rf = yaml::find(kafka->json, config / "replicationFactor");
    if (rf == nullptr || !rf->is_int64()) continue;  // K413, or the default
    std::int64_t brokers = 0;
    for (const auto& k : clusters) brokers += json::i64(k->json, {"spec", "kafka", "replicas"});
    for (const auto& pool : c.list("kafka.strimzi.io/KafkaNodePool"))
      brokers += json::i64(pool->json, {"spec", "replicas"});
    if (rf->get_int64() < 1) {
      c.report(kafka, config / "replicationFactor", "replicationFactor is less than 1").fix =
          set_fix(kafka, config / "replicationFactor", 1, "set replicationFactor: 1");
    } else if (brokers == 0) {
      if (rf->get_int64() > 1) {
        c.unknown(kafka, config / "replicationFactor",
                  "how many brokers Kafka has is not in the input");
      }
    } else if (rf->get_int64() > brokers) {
      c.report(kafka, config / "replicationFactor",
               "replicationFactor " + std::to_string(rf->get_int64()) + " is more than Kafka's " +
                   std::to_string(brokers) + " brokers")
          .fix = set_fix(kafka, config / "replicationFactor", brokers, "use as many as there are");
    }
  }
}

void kafka_injected(Context& c) {
  for (const auto& kafka : c.list(kKafkaKind)) {
    const auto on = [&](std::string_view part) {
      return json::boolean(kafka->json, {"spec", part, "enabled"});
    };
    const struct {
      std::string_view name;
      bool wanted;
    } workloads[] = {
        {"kafka-controller", on("broker") || on("channel") || on("source") || on("sink")},
        {"kafka-broker-receiver", on("broker")},
        {"kafka-broker-dispatcher", on("broker")},
        {"kafka-channel-receiver", on("channel")},
        {"kafka-channel-dispatcher", on("channel")},
        {"kafka-source-dispatcher", on("source")},
        {"kafka-sink-receiver", on("sink")}};
    for (const auto& w : workloads) {
      if (w.wanted) want_injected(c, kafka, w.name);
    }
  }
}

bool exported(const Item& entry, const std::string& ns) {
  const auto& list = json::array(entry.json, {"spec", "exportTo"});
  if (list.empty()) return true;
  return std::any_of(list.begin(), list.end(), [&](const Json& v) {
    const auto* s = v.if_string();
    return s != nullptr && (*s == "*" || *s == ns || (*s == "." && entry.ns == ns));
  });
}

bool is_service_host(const std::string& host) {
  const auto parts = split_list(host, '.');
  return parts.size() > 2 && parts[2].starts_with("svc");
}

/// ServiceEntries by the hosts that they name, so that many of both stay quick.
struct EntryHosts {
  std::map<std::string, std::vector<ItemPtr>, std::less<>> by_host;  // "*.a.b" as it stands
  std::vector<ItemPtr> placeholders;

  explicit EntryHosts(const std::vector<ItemPtr>& entries) {
    for (const auto& entry : entries) {
      const auto hosts = hosts_of(*entry);
      for (const auto& h : hosts) by_host[h].push_back(entry);
      if (std::any_of(hosts.begin(), hosts.end(), Context::is_placeholder))
        placeholders.push_back(entry);
    }
  }
  /// Those that name the host or a wildcard over it.
  std::vector<ItemPtr> of(const std::string& host) const {
    std::vector<ItemPtr> out;
    const auto add = [&](std::string_view name) {
      const auto it = by_host.find(name);
      if (it != by_host.end()) out.insert(out.end(), it->second.begin(), it->second.end());
    };
    add(host);
    for (auto dot = host.find('.'); dot != std::string::npos; dot = host.find('.', dot + 1))
      add("*" + host.substr(dot));
    return out;
  }
};

void entry_covers(Context& c) {
  const auto entries = c.list(kEntryKind);
  const EntryHosts hosts(entries);
  for (const auto& b : bootstrap_lists(c.objects())) {
    if (b.object->kind == "ConfigMap" && b.object->ns != "knative-eventing") continue;
    const std::string ns = b.object->ns;
    if (std::any_of(hosts.placeholders.begin(), hosts.placeholders.end(),
                    [&](const ItemPtr& e) { return exported(*e, ns); })) {
      continue;
    }
    for (const auto& part : split_list(b.value)) {
      const auto at = parse_host_port(part);
      if (!at || Context::is_placeholder(part)) continue;
      bool port = false;
      ItemPtr near;
      for (const auto& entry : hosts.of(at->host)) {
        if (!exported(*entry, ns)) continue;
        near = entry;
        for (const auto& p : json::array(entry->json, {"spec", "ports"})) {
          port |= json::i64(p, {"number"}) == at->port;
        }
      }
      if (port) continue;
      if (near) {
        auto& f =
            c.report(near, Path{"spec", "ports"},
                     "port " + std::to_string(at->port) + " of " + at->host + " is not listed");
        f.evidence.push_back({b.object->ref(), "connects to " + part});
        continue;
      }
      if (is_service_host(at->host)) continue;  // a Service of the cluster: the mesh knows it
      if (!entries.empty() || c.objects().knows(kEntryKind)) {
        c.report(b.object, b.path, at->host + " has no ServiceEntry that " + ns + " sees");
      } else {
        c.unknown(b.object, b.path, "no ServiceEntry for " + at->host + " is in the input");
      }
    }
  }
}

void unique_ports(Context& c) {
  for (const auto& entry : c.list(kEntryKind)) {
    std::map<std::string, std::size_t> names;
    std::map<std::int64_t, std::size_t> numbers;
    const auto& ports = json::array(entry->json, {"spec", "ports"});
    // All names first, so that a new one meets none of them.
    std::set<std::string> taken;
    for (const auto& p : ports) taken.emplace(json::str(p, {"name"}));
    Finding* found = nullptr;
    std::string said;
    std::vector<Edit> edits;
    Path first;
    for (std::size_t i = 0; i < ports.size(); ++i) {
      const Path at = Path{"spec", "ports"} / i;
      const std::string name(json::str(ports[i], {"name"}));
      const std::int64_t number = json::i64(ports[i], {"number"});
      if (!numbers.emplace(number, i).second) {
        c.report(entry, at / "number", "port number " + std::to_string(number) + " is there twice");
        continue;
      }
      if (name.empty() || names.emplace(name, i).second) continue;
      std::string fresh = name + "-" + std::to_string(number);
      while (!taken.insert(fresh).second) fresh += "x";
      edits.push_back({Edit::Op::Set, entry, at / "name", Json(std::string_view(fresh))});
      said += (said.empty() ? "" : "; ") + std::string("name ") + name + " of port " +
              std::to_string(number) + " is that of port " +
              std::to_string(json::i64(ports[names[name]], {"number"}));
      if (first.empty()) first = at / "name";
    }
    if (edits.empty()) continue;
    found = &c.report(entry, first, said);
    found->fix = {Fix::Type::Patch, std::move(edits), "give every port its own name"};
  }
}

void entry_addresses(Context& c) {
  std::map<std::pair<std::string, std::int64_t>, ItemPtr> seen;
  for (const auto& entry : c.list(kEntryKind)) {
    if (!json::array(entry->json, {"spec", "addresses"}).empty()) continue;
    const auto& exports = json::array(entry->json, {"spec", "exportTo"});
    const bool everywhere =
        exports.empty() || std::any_of(exports.begin(), exports.end(), [](const Json& v) {
          return v.if_string() != nullptr && *v.if_string() == "*";
        });
    std::size_t i = 0;
    bool told = false;
    for (const auto& p : json::array(entry->json, {"spec", "ports"})) {
      const Path at = Path{"spec", "ports"} / i++;
      const auto protocol = json::str(p, {"protocol"});
      if (protocol != "TCP") continue;
      const auto number = json::i64(p, {"number"});
      const auto [it, fresh] = seen.emplace(std::pair(everywhere ? "*" : entry->ns, number), entry);
      if (!fresh && it->second != entry) {
        c.report(entry, at,
                 "port " + std::to_string(number) + " without addresses is also that of " +
                     it->second->ref() + ": they share one listener");
      } else if (everywhere && !told) {
        c.report(entry, at,
                 "TCP port " + std::to_string(number) +
                     " without addresses is opened to any address, in every namespace");
        told = true;
      }
    }
  }
}

void entry_valid(Context& c) {
  for (const auto& entry : c.list(kEntryKind)) {
    const bool none = json::str(entry->json, {"spec", "resolution"}, "NONE") == "NONE";
    if (none && !json::array(entry->json, {"spec", "endpoints"}).empty()) {
      c.report(entry, Path{"spec", "endpoints"}, "resolution NONE takes no endpoints").fix =
          remove_fix(entry, Path{"spec", "endpoints"}, "remove them");
    }
    std::size_t i = 0;
    for (const auto& host : hosts_of(*entry)) {
      const Path at = Path{"spec", "hosts"} / i++;
      if (Context::is_placeholder(host)) continue;
      if (host == "*") {
        c.report(entry, at, "host \"*\" is not allowed");
      } else if (const auto with_port = parse_host_port(host)) {
        c.report(entry, at, host + " has a port: hosts are names only").fix =
            set_fix(entry, at, with_port->host, "remove the port");
      }
    }
    if (hosts_of(*entry).empty()) c.report(entry, Path{"spec", "hosts"}, "has no hosts");
  }
}

void kafka_in_cluster(Context& c) {
  const Facts& facts = c.facts();
  for (const auto& kafka : c.list("kafka.strimzi.io/Kafka")) {
    const auto* mesh = facts.mesh_of(kafka->ns);
    if (mesh == nullptr || !mesh->strict) continue;
    bool open = false;
    for (const auto& pa : c.list("security.istio.io/PeerAuthentication", kafka->ns)) {
      const auto mode = json::str(pa->json, {"spec", "mtls", "mode"});
      open |= mode == "PERMISSIVE" || mode == "DISABLE";
    }
    if (open) continue;
    c.report(kafka, {}, "is in the strict mesh: brokers and their clients outside it cannot talk")
        .confidence = Confidence::Likely;
  }
}

void entry_per_namespace(Context& c) {
  const Facts& facts = c.facts();
  const auto entries = c.list(kEntryKind);
  std::map<std::string, bool> sees;  // namespace
  for (const auto kind : {"sources.knative.dev/KafkaSource", "eventing.knative.dev/KafkaSink"}) {
    for (const auto& object : c.list(kind)) {
      if (object->ns == "knative-eventing" || facts.mesh_of(object->ns) == nullptr) continue;
      const auto [it, fresh] = sees.try_emplace(object->ns);
      if (fresh) {
        it->second = std::any_of(entries.begin(), entries.end(),
                                 [&](const auto& e) { return exported(*e, object->ns); });
      }
      if (it->second) continue;
      if (entries.empty() && !c.objects().knows(kEntryKind)) {
        c.unknown(object, {}, "no ServiceEntry is in the input");
      } else {
        c.report(object, {}, "namespace " + object->ns + " sees no ServiceEntry for Kafka");
      }
    }
  }
}

}  // namespace

void add_kafka_rules(std::vector<Rule>& out) {
  out.push_back({"K601",
                 {},
                 {},
                 Severity::Error,
                 Offline::Partly,
                 "KnativeKafka stands beside a KnativeEventing",
                 "KnativeKafka は KnativeEventing と同じ namespace にある",
                 "admission denies it",
                 "The operator's webhook wants a KnativeEventing in the namespace first, and one "
                 "KnativeKafka only.",
                 "apply KnativeEventing first",
                 {},
                 {},
                 after_eventing});
  out.push_back(
      {"K602",
       {},
       {},
       Severity::Error,
       Offline::Yes,
       "enabled parts of KnativeKafka have bootstrap servers",
       "有効な KnativeKafka の機能にはブートストラップサーバーがある",
       "admission denial; the Broker is not ready",
       "Channels and the broker cannot guess where Kafka is.",
       "give spec.channel.bootstrapServers and spec.broker.defaultConfig.bootstrapServers",
       {},
       {},
       bootstrap_given});
  out.push_back(
      {"K603",
       {},
       {},
       Severity::Error,
       Offline::Yes,
       "bootstrap servers are HOST:PORT",
       "ブートストラップサーバーは HOST:PORT 形式",
       "No resolvable bootstrap urls",
       "A Kafka client takes a list of HOST:PORT, separated by commas, without scheme or spaces.",
       "write HOST:PORT",
       {},
       {},
       bootstrap_parses});
  out.push_back(
      {"K604",
       {},
       {},
       Severity::Error,
       Offline::Partly,
       "Kafka has as many brokers as replicas",
       "レプリカ数は Kafka ブローカー数以下",
       "TopicReady=False",
       "A topic cannot have more replicas than there are brokers, nor less than one partition.",
       "set replicationFactor to the number of brokers at most, and one partition at least",
       {},
       {},
       replication});
  out.push_back({"K605",
                 {},
                 {},
                 Severity::Error,
                 Offline::Yes,
                 "Kafka's data plane has sidecars",
                 "Kafka のデータプレーンにサイドカーがある",
                 "ProbeStatus: NotReady; delivery fails",
                 "Receivers and dispatchers carry events; kafka-controller probes the receivers "
                 "and is named by "
                 "policies.",
                 "list the workload with the sidecar label under spec.workloads",
                 {},
                 {},
                 kafka_injected});
  out.push_back({"K606",
                 {"SE-02"},
                 {},
                 Severity::Error,
                 Offline::Partly,
                 "a ServiceEntry covers every bootstrap host and port",
                 "ServiceEntry はブートストラップのホストとポートを含む",
                 "run out of available brokers",
                 "Sidecars reach hosts that the mesh knows. Advertised listeners count too; they "
                 "are known only to "
                 "the running Kafka.",
                 "add the host to spec.hosts and the port to spec.ports",
                 {},
                 {},
                 entry_covers});
  out.push_back({"K607",
                 {"SE-01"},
                 {"IST0106", "KIA1211"},
                 Severity::Error,
                 Offline::Yes,
                 "port names and numbers of a ServiceEntry are unique",
                 "ServiceEntry のポート名と番号は一意",
                 "the API server refuses it",
                 "ports is a list keyed by name; Istio's validation refuses repeats. "
                 "The procedure's own sample repeats tcp-tls and tcp-sasl-tls.",
                 "give every port its own name",
                 {},
                 {},
                 unique_ports});
  out.push_back(
      {"K608",
       {"SE-04"},
       {"IST0134"},
       Severity::Warning,
       Offline::Partly,
       "TCP ports of ServiceEntries do not catch other traffic",
       "ServiceEntry の TCP ポートが他の通信に影響しない",
       "wrong destination; listener conflict",
       "A TCP port without addresses binds 0.0.0.0:PORT in every sidecar that sees the entry.",
       "add addresses, or exportTo: [\".\"]",
       {},
       {},
       entry_addresses});
  out.push_back({"K609",
                 {},
                 {"IST0106"},
                 Severity::Error,
                 Offline::Yes,
                 "ServiceEntries are valid",
                 "ServiceEntry の内容が有効",
                 "the API server refuses it",
                 "Hosts are names without port and not \"*\"; resolution NONE takes no endpoints.",
                 "write hosts as names without a port, and no endpoints beside resolution NONE",
                 {},
                 {},
                 entry_valid});
  out.push_back({"K611",
                 {},
                 {},
                 Severity::Warning,
                 Offline::Partly,
                 "Kafka in the cluster speaks its own TLS outside the mesh",
                 "クラスター内の Kafka はメッシュの mTLS を必要としない",
                 "handshake failures",
                 "Brokers and clients that have no sidecar cannot talk to a strict one.",
                 "take Kafka's namespace off the roll, or make it PERMISSIVE",
                 {},
                 {},
                 kafka_in_cluster});
  out.push_back({"K612",
                 {"SE-03"},
                 {},
                 Severity::Warning,
                 Offline::Partly,
                 "namespaces with Kafka clients see a ServiceEntry",
                 "Kafka クライアントの namespace から ServiceEntry が見える",
                 "works in knative-eventing only",
                 "exportTo: [\".\"] limits the entry to its own namespace.",
                 "copy the ServiceEntry there",
                 {},
                 {},
                 entry_per_namespace});
}

}  // namespace knit::check
