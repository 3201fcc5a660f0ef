#include "kube/schema/cells.h"

#include <algorithm>
#include <unordered_map>

#include "kube/selector.h"

namespace knit::schema {

namespace {
using json::array;
using json::find;
using json::i64;
using json::str;

constexpr std::string_view kNone = "<none>";

std::string or_none(std::string_view s) { return std::string(s.empty() ? kNone : s); }
std::string or_none(std::string s) { return s.empty() ? std::string(kNone) : std::move(s); }

std::string scalar(const Json* v) {
  if (v == nullptr || v->is_null()) return {};
  if (const auto* s = v->if_string()) return std::string(s->data(), s->size());
  return json::print(*v);
}

std::string joined(const JsonArray& list, json::Path path) {
  std::string out;
  for (const Json& item : list) {
    const std::string_view s = str(item, path);
    if (!out.empty()) out += ',';
    out += s;
  }
  return out;
}

std::string format_map(const Json& object, json::Path path) {
  auto pairs = json::string_map(object, path);
  std::sort(pairs.begin(), pairs.end());
  std::string out;
  for (const auto& [k, v] : pairs) out += (out.empty() ? "" : ",") + k + "=" + v;
  return or_none(std::move(out));
}

std::string format_selector(const Json* selector) {
  if (selector == nullptr) return std::string(kNone);
  const auto parsed = kube::LabelSelector::from_object(selector);
  return parsed ? or_none(parsed->print()) : "<error>";
}

const Json* condition(const Json& object, std::string_view type) {
  for (const Json& c : array(object, {"status", "conditions"})) {
    if (str(c, {"type"}) == type) return &c;
  }
  return nullptr;
}
bool condition_true(const Json& object, std::string_view type) {
  const Json* c = condition(object, type);
  return c != nullptr && str(*c, {"status"}) == "True";
}

// ------------------------------------------------------------------ pods

/// Reason of a terminated state: its own, else by signal or exit code.
std::string terminated_reason(const Json& terminated) {
  const std::string_view reason = str(terminated, {"reason"});
  if (!reason.empty()) return std::string(reason);
  const auto signal = i64(terminated, {"signal"});
  if (signal != 0) return "Signal:" + std::to_string(signal);
  return "ExitCode:" + std::to_string(i64(terminated, {"exitCode"}));
}

struct Restarts {
  std::int64_t count = 0;
  std::string_view last;  // RFC 3339 in UTC compares as text
  void add(const Json& status) {
    count += i64(status, {"restartCount"});
    last = std::max(last, str(status, {"lastState", "terminated", "finishedAt"}));
  }
};

struct PodSummary {
  std::string reason;
  std::int64_t ready = 0, total = 0;
  Restarts restarts;
};

bool restartable_init(const Json& pod, std::string_view name) {
  for (const Json& c : array(pod, {"spec", "initContainers"})) {
    if (str(c, {"name"}) == name) return str(c, {"restartPolicy"}) == "Always";
  }
  return false;
}

/// True while init containers hold the pod; sets reason.
bool summarize_init(const Json& pod, PodSummary& s, Restarts& sidecars) {
  const auto& statuses = array(pod, {"status", "initContainerStatuses"});
  for (std::size_t i = 0; i < statuses.size(); ++i) {
    const Json& c = statuses[i];
    s.restarts.add(c);
    const bool sidecar = restartable_init(pod, str(c, {"name"}));
    if (sidecar) sidecars.add(c);
    const Json* terminated = find(c, {"state", "terminated"});
    if (terminated != nullptr && i64(*terminated, {"exitCode"}) == 0) continue;
    if (sidecar && json::boolean(c, {"started"})) {
      if (json::boolean(c, {"ready"})) ++s.ready;
      continue;
    }
    const std::string_view waiting = str(c, {"state", "waiting", "reason"});
    if (terminated != nullptr) {
      s.reason = "Init:" + terminated_reason(*terminated);
    } else if (!waiting.empty() && waiting != "PodInitializing") {
      s.reason = "Init:" + std::string(waiting);
    } else {
      s.reason = "Init:" + std::to_string(i) + "/" +
                 std::to_string(array(pod, {"spec", "initContainers"}).size());
    }
    return true;
  }
  return false;
}

PodSummary summarize(const Json& pod) {
  PodSummary s;
  const std::string_view phase = str(pod, {"status", "phase"});
  const std::string_view why = str(pod, {"status", "reason"});
  s.reason = why.empty() ? phase : why;
  if (const Json* scheduled = condition(pod, "PodScheduled");
      scheduled != nullptr && str(*scheduled, {"reason"}) == "SchedulingGated") {
    s.reason = "SchedulingGated";
  }
  s.total = static_cast<std::int64_t>(array(pod, {"spec", "containers"}).size());
  for (const Json& c : array(pod, {"spec", "initContainers"})) {
    if (str(c, {"restartPolicy"}) == "Always") ++s.total;
  }
  Restarts sidecars;
  const bool initializing = summarize_init(pod, s, sidecars);
  if (!initializing || condition_true(pod, "Initialized")) {
    s.restarts = sidecars;
    bool running = false;
    const auto& statuses = array(pod, {"status", "containerStatuses"});
    for (auto it = statuses.rbegin(); it != statuses.rend(); ++it) {
      const Json& c = *it;
      s.restarts.add(c);
      const std::string_view waiting = str(c, {"state", "waiting", "reason"});
      const Json* terminated = find(c, {"state", "terminated"});
      if (!waiting.empty()) {
        s.reason = waiting;
      } else if (terminated != nullptr) {
        s.reason = terminated_reason(*terminated);
      } else if (json::boolean(c, {"ready"}) && find(c, {"state", "running"}) != nullptr) {
        running = true;
        ++s.ready;
      }
    }
    if (s.reason == "Completed" && running) {
      s.reason = condition_true(pod, "Ready") ? "Running" : "NotReady";
    }
  }
  if (find(pod, {"metadata", "deletionTimestamp"}) != nullptr) {
    if (why == "NodeLost") {
      s.reason = "Unknown";
    } else if (phase != "Failed" && phase != "Succeeded") {
      s.reason = "Terminating";
    }
  }
  return s;
}

void pod_cells(const Json& pod, WallTime now, Row& row) {
  const PodSummary s = summarize(pod);
  row.cells.emplace_back(std::to_string(s.ready) + "/" + std::to_string(s.total));
  row.cells.emplace_back(s.reason);
  std::string restarts = std::to_string(s.restarts.count);
  if (s.restarts.count != 0 && !s.restarts.last.empty()) {
    const Json last(s.restarts.last);
    restarts += " (" + age(&last, now) + " ago)";
  }
  row.cells.emplace_back(restarts);
  row.cells.emplace_back(age(find(pod, {"metadata", "creationTimestamp"}), now));
  row.cells.emplace_back(or_none(str(pod, {"status", "podIP"})));
  row.cells.emplace_back(or_none(str(pod, {"spec", "nodeName"})));
  row.cells.emplace_back(or_none(str(pod, {"status", "nominatedNodeName"})));
  const auto& gates = array(pod, {"spec", "readinessGates"});
  std::size_t open = 0;
  for (const Json& g : gates) open += condition_true(pod, str(g, {"conditionType"})) ? 1 : 0;
  row.cells.emplace_back(gates.empty() ? std::string(kNone)
                                       : std::to_string(open) + "/" + std::to_string(gates.size()));
  const std::string_view phase = str(pod, {"status", "phase"});
  if (phase == "Succeeded" || phase == "Failed") {
    row.conditions.push_back(
        Json{{"type", "Completed"},
             {"status", "True"},
             {"reason", phase},
             {"message",
              phase == "Succeeded" ? "The pod has completed successfully." : "The pod failed."}});
  }
}

// ------------------------------------------------------------------ services and endpoints

std::string service_ports(const Json& service) {
  std::string out;
  for (const Json& p : array(service, {"spec", "ports"})) {
    if (!out.empty()) out += ',';
    out += std::to_string(i64(p, {"port"}));
    if (const auto node = i64(p, {"nodePort"}); node > 0) out += ":" + std::to_string(node);
    out += "/";
    out += str(p, {"protocol"}, "TCP");
  }
  return or_none(std::move(out));
}

std::string service_external(const Json& service) {
  const std::string_view type = str(service, {"spec", "type"});
  std::string ips;
  for (const Json& ip : array(service, {"spec", "externalIPs"})) {
    ips += (ips.empty() ? "" : ",") + scalar(&ip);
  }
  if (type == "ExternalName") return std::string(str(service, {"spec", "externalName"}));
  if (type != "LoadBalancer") return or_none(std::move(ips));
  std::string lb;
  for (const Json& i : array(service, {"status", "loadBalancer", "ingress"})) {
    const std::string_view ip = str(i, {"ip"});
    if (!lb.empty()) lb += ',';
    lb += ip.empty() ? str(i, {"hostname"}) : ip;
  }
  if (!ips.empty()) lb += (lb.empty() ? "" : ",") + ips;
  return lb.empty() ? "<pending>" : lb;
}

void service_cells(const Json& o, WallTime now, Row& row) {
  const std::string_view ip = str(o, {"spec", "clusterIP"});
  row.cells.emplace_back(str(o, {"spec", "type"}));
  row.cells.emplace_back(or_none(ip));
  row.cells.emplace_back(service_external(o));
  row.cells.emplace_back(service_ports(o));
  row.cells.emplace_back(age(find(o, {"metadata", "creationTimestamp"}), now));
  row.cells.emplace_back(format_map(o, {"spec", "selector"}));
}

/// The first three, then " + n more...".
std::string first_three(const std::vector<std::string>& all) {
  std::string out;
  for (std::size_t i = 0; i < all.size() && i < 3; ++i) out += (i == 0 ? "" : ",") + all[i];
  if (all.size() > 3) out += " + " + std::to_string(all.size() - 3) + " more...";
  return or_none(std::move(out));
}

std::string endpoints(const Json& o) {
  std::vector<std::string> all;
  for (const Json& subset : array(o, {"subsets"})) {
    const auto& ports = array(subset, {"ports"});
    for (const Json& a : array(subset, {"addresses"})) {
      const std::string ip(str(a, {"ip"}));
      const std::string host = ip.find(':') == std::string::npos ? ip : "[" + ip + "]";
      if (ports.empty()) all.push_back(ip);
      for (const Json& p : ports) all.push_back(host + ":" + std::to_string(i64(p, {"port"})));
    }
  }
  return first_three(all);
}

void slice_cells(const Json& o, Row& row) {
  std::vector<std::string> ports, addresses;
  for (const Json& p : array(o, {"ports"})) {
    const Json* n = find(p, "port");
    ports.push_back(n == nullptr ? "*" : scalar(n));
  }
  for (const Json& e : array(o, {"endpoints"})) {
    for (const Json& a : array(e, {"addresses"})) addresses.push_back(scalar(&a));
  }
  row.cells.emplace_back(str(o, {"addressType"}));
  row.cells.emplace_back(ports.empty() ? "<unset>" : first_three(ports));
  row.cells.emplace_back(addresses.empty() ? "<unset>" : first_three(addresses));
}

// ------------------------------------------------------------------ workloads

void container_cells(const Json& o, Row& row, bool with_selector) {
  const auto& containers = array(o, {"spec", "template", "spec", "containers"});
  row.cells.emplace_back(joined(containers, {"name"}));
  row.cells.emplace_back(joined(containers, {"image"}));
  if (with_selector) row.cells.emplace_back(format_selector(find(o, {"spec", "selector"})));
}

void node_cells(const Json& o, WallTime now, Row& row) {
  const Json* ready = condition(o, "Ready");
  std::string status = ready == nullptr                    ? "Unknown"
                       : str(*ready, {"status"}) == "True" ? "Ready"
                                                           : "NotReady";
  if (json::boolean(o, {"spec", "unschedulable"})) status += ",SchedulingDisabled";
  std::vector<std::string> roles;
  for (const auto& [key, value] : json::string_map(o, {"metadata", "labels"})) {
    constexpr std::string_view kPrefix = "node-role.kubernetes.io/";
    if (key.starts_with(kPrefix) && key.size() > kPrefix.size()) {
      roles.push_back(key.substr(kPrefix.size()));
    } else if (key == "kubernetes.io/role" && !value.empty()) {
      roles.push_back(value);
    }
  }
  std::sort(roles.begin(), roles.end());
  std::string role_text;
  for (const auto& r : roles) role_text += (role_text.empty() ? "" : ",") + r;
  const auto address = [&](std::string_view type) {
    for (const Json& a : array(o, {"status", "addresses"})) {
      if (str(a, {"type"}) == type) return std::string(str(a, {"address"}));
    }
    return std::string(kNone);
  };
  const auto info = [&](std::string_view key) {
    const std::string_view v = str(o, {"status", "nodeInfo", key});
    return std::string(v.empty() ? "<unknown>" : v);
  };
  row.cells.emplace_back(status);
  row.cells.emplace_back(or_none(std::move(role_text)));
  row.cells.emplace_back(age(find(o, {"metadata", "creationTimestamp"}), now));
  row.cells.emplace_back(str(o, {"status", "nodeInfo", "kubeletVersion"}));
  row.cells.emplace_back(address("InternalIP"));
  row.cells.emplace_back(address("ExternalIP"));
  row.cells.emplace_back(info("osImage"));
  row.cells.emplace_back(info("kernelVersion"));
  row.cells.emplace_back(info("containerRuntimeVersion"));
}

void event_cells(const Json& o, WallTime now, Row& row) {
  const auto since = [&](json::Path path, json::Path other) {
    const Json* t = find(o, path);
    return age(t != nullptr ? t : find(o, other), now);
  };
  const std::string first = since({"firstTimestamp"}, {"eventTime"});
  std::string last =
      find(o, {"lastTimestamp"}) == nullptr ? first : age(find(o, {"lastTimestamp"}), now);
  std::int64_t count = i64(o, {"count"});
  if (find(o, {"series"}) != nullptr) {
    last = age(find(o, {"series", "lastObservedTime"}), now);
    count = i64(o, {"series", "count"});
  } else if (count == 0) {
    count = 1;
  }
  std::string target(str(o, {"involvedObject", "kind"}));
  for (char& c : target) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  if (const auto name = str(o, {"involvedObject", "name"}); !name.empty()) {
    target += "/" + std::string(name);
  }
  std::string source(str(o, {"source", "component"}));
  std::string_view instance = str(o, {"source", "host"});
  if (source.empty()) {
    source = str(o, {"reportingComponent"});
    instance = str(o, {"reportingInstance"});
  }
  if (!instance.empty()) source += ", " + std::string(instance);
  std::string message(str(o, {"message"}));
  while (!message.empty() && (message.back() == '\n' || message.back() == ' ')) message.pop_back();
  row.cells = {last,
               str(o, {"type"}),
               str(o, {"reason"}),
               target,
               str(o, {"involvedObject", "fieldPath"}),
               source,
               message,
               first,
               count,
               str(o, {"metadata", "name"})};
}

/// events.k8s.io/v1 is another view of the same object.
void new_event_cells(const Json& o, WallTime now, Row& row) {
  Json core = o;
  for (const auto& [from, to] :
       {std::pair{"regarding", "involvedObject"}, std::pair{"note", "message"},
        std::pair{"deprecatedSource", "source"}, std::pair{"deprecatedCount", "count"},
        std::pair{"deprecatedFirstTimestamp", "firstTimestamp"},
        std::pair{"deprecatedLastTimestamp", "lastTimestamp"},
        std::pair{"reportingController", "reportingComponent"}}) {
    if (const Json* v = find(o, from)) core.get_object()[to] = *v;
  }
  event_cells(core, now, row);
}

std::string subjects(const Json& o, std::string_view kind) {
  std::string out;
  for (const Json& s : array(o, {"subjects"})) {
    if (str(s, {"kind"}) != kind) continue;
    if (!out.empty()) out += ", ";
    if (kind == "ServiceAccount") out += std::string(str(s, {"namespace"})) + "/";
    out += str(s, {"name"});
  }
  return out;
}

using Fill = void (*)(const Json& o, WallTime now, Row& row);
std::string created(const Json& o) {
  return std::string(str(o, {"metadata", "creationTimestamp"}));
}
std::string since_created(const Json& o, WallTime now) {
  return age(find(o, {"metadata", "creationTimestamp"}), now);
}

const std::unordered_map<std::string_view, Fill>& fills() {
  static const auto& table = *new std::unordered_map<std::string_view, Fill>{
      {"pods", pod_cells},
      {"services", service_cells},
      {"nodes", node_cells},
      {"events", event_cells},
      {"events.events.k8s.io", new_event_cells},
      {"namespaces",
       [](const Json& o, WallTime now, Row& row) {
         row.cells.emplace_back(str(o, {"status", "phase"}));
         row.cells.emplace_back(since_created(o, now));
       }},
      {"configmaps",
       [](const Json& o, WallTime now, Row& row) {
         row.cells.emplace_back(json::object(o, {"data"}).size() +
                                json::object(o, {"binaryData"}).size());
         row.cells.emplace_back(since_created(o, now));
       }},
      {"secrets",
       [](const Json& o, WallTime now, Row& row) {
         row.cells.emplace_back(str(o, {"type"}));
         row.cells.emplace_back(json::object(o, {"data"}).size());
         row.cells.emplace_back(since_created(o, now));
       }},
      {"serviceaccounts",
       [](const Json& o, WallTime now, Row& row) {
         row.cells.emplace_back(array(o, {"secrets"}).size());
         row.cells.emplace_back(since_created(o, now));
       }},
      {"endpoints",
       [](const Json& o, WallTime now, Row& row) {
         row.cells.emplace_back(endpoints(o));
         row.cells.emplace_back(since_created(o, now));
       }},
      {"endpointslices.discovery.k8s.io",
       [](const Json& o, WallTime now, Row& row) {
         slice_cells(o, row);
         row.cells.emplace_back(since_created(o, now));
       }},
      {"deployments.apps",
       [](const Json& o, WallTime now, Row& row) {
         row.cells.emplace_back(std::to_string(i64(o, {"status", "readyReplicas"})) + "/" +
                                std::to_string(i64(o, {"spec", "replicas"}, 1)));
         row.cells.emplace_back(std::to_string(i64(o, {"status", "updatedReplicas"})));
         row.cells.emplace_back(std::to_string(i64(o, {"status", "availableReplicas"})));
         row.cells.emplace_back(since_created(o, now));
         container_cells(o, row, true);
       }},
      {"replicasets.apps",
       [](const Json& o, WallTime now, Row& row) {
         row.cells.emplace_back(i64(o, {"spec", "replicas"}, 1));
         row.cells.emplace_back(i64(o, {"status", "replicas"}));
         row.cells.emplace_back(i64(o, {"status", "readyReplicas"}));
         row.cells.emplace_back(since_created(o, now));
         container_cells(o, row, true);
       }},
      {"networkpolicies.networking.k8s.io",
       [](const Json& o, WallTime now, Row& row) {
         row.cells.emplace_back(format_selector(find(o, {"spec", "podSelector"})));
         row.cells.emplace_back(since_created(o, now));
       }},
      {"poddisruptionbudgets.policy",
       [](const Json& o, WallTime now, Row& row) {
         const auto or_na = [](std::string s) { return s.empty() ? std::string("N/A") : s; };
         row.cells.emplace_back(or_na(scalar(find(o, {"spec", "minAvailable"}))));
         row.cells.emplace_back(or_na(scalar(find(o, {"spec", "maxUnavailable"}))));
         row.cells.emplace_back(i64(o, {"status", "disruptionsAllowed"}));
         row.cells.emplace_back(since_created(o, now));
       }},
      {"leases.coordination.k8s.io",
       [](const Json& o, WallTime now, Row& row) {
         row.cells.emplace_back(str(o, {"spec", "holderIdentity"}));
         row.cells.emplace_back(since_created(o, now));
       }},
  };
  return table;
}

void binding_cells(const Json& o, WallTime now, Row& row) {
  row.cells.emplace_back(std::string(str(o, {"roleRef", "kind"})) + "/" +
                         std::string(str(o, {"roleRef", "name"})));
  row.cells.emplace_back(since_created(o, now));
  for (const std::string_view kind : {"User", "Group", "ServiceAccount"}) {
    row.cells.emplace_back(subjects(o, kind));
  }
}
}  // namespace

Row builtin_row(const Kind& kind, const Json& object, WallTime now) {
  Row row;
  if (kind.kind != "Event") row.cells.emplace_back(str(object, {"metadata", "name"}));
  const auto it = fills().find(kind.resource.name());
  if (it != fills().end()) {
    it->second(object, now, row);
  } else if (kind.kind == "RoleBinding" || kind.kind == "ClusterRoleBinding") {
    binding_cells(object, now, row);
  } else if (kind.columns.size() == 2 && kind.columns[1].name == "Created At") {
    row.cells.emplace_back(created(object));
  } else {
    // A refused kind has no objects; whatever comes prints its age where that stands.
    for (std::size_t i = 1; i < std::max<std::size_t>(2, kind.columns.size()); ++i) {
      const bool aged = kind.columns.empty() || kind.columns[i].name == "Age";
      row.cells.push_back(aged ? Json(since_created(object, now)) : Json(nullptr));
    }
  }
  return row;
}

void route_cells(const Json& object, JsonArray& cells) {
  std::string host(str(object, {"spec", "host"}));
  const auto& ingress = array(object, {"status", "ingress"});
  if (!ingress.empty()) {
    host = str(ingress[0], {"host"}, host);
    for (const Json& c : array(ingress[0], {"conditions"})) {
      if (str(c, {"type"}) == "Admitted" && str(c, {"status"}) == "False") {
        host = str(c, {"reason"});
      }
    }
  }
  const auto& others = array(object, {"spec", "alternateBackends"});
  std::string services(str(object, {"spec", "to", "name"}));
  if (!others.empty()) {
    std::int64_t total = i64(object, {"spec", "to", "weight"}, 100);
    for (const Json& b : others) total += i64(b, {"weight"}, 100);
    const auto share = [&](const Json* target) {
      const auto weight = i64(*target, {"weight"}, 100);
      return std::string(str(*target, {"name"})) + "(" +
             std::to_string(total == 0 ? 0 : weight * 100 / total) + "%)";
    };
    services = share(find(object, {"spec", "to"}));
    for (const Json& b : others) services += "," + share(&b);
  }
  const std::string port = scalar(find(object, {"spec", "port", "targetPort"}));
  std::string termination(str(object, {"spec", "tls", "termination"}));
  if (const auto p = str(object, {"spec", "tls", "insecureEdgeTerminationPolicy"}); !p.empty()) {
    termination += "/" + std::string(p);
  }
  cells.emplace_back(host);
  cells.emplace_back(str(object, {"spec", "path"}));
  cells.emplace_back(services);
  cells.emplace_back(port.empty() ? "<all>" : port);
  cells.emplace_back(termination);
  cells.emplace_back(str(object, {"spec", "wildcardPolicy"}, "None"));
}

}  // namespace knit::schema
