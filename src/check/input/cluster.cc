#include "check/input/cluster.h"

#include <algorithm>

#include "base/hash.h"
#include "check/helpers.h"
#include "kube/client.h"
#include "kube/schema/schema.h"

namespace knit::check::input {
namespace {

struct KindRow {
  std::string_view name;    // as rules write it
  std::string_view plural;  // where discovery does not say
  bool namespaced;
};
/// What rules read. Secrets are asked for one by one, at the end.
constexpr KindRow kKinds[] = {
    {"Namespace", "namespaces", false},
    {"Node", "nodes", false},
    {"Pod", "pods", true},
    {"Service", "services", true},
    {"ConfigMap", "configmaps", true},
    {"apps/Deployment", "deployments", true},
    {"networking.k8s.io/NetworkPolicy", "networkpolicies", true},
    {"maistra.io/ServiceMeshControlPlane", "servicemeshcontrolplanes", true},
    {"maistra.io/ServiceMeshMemberRoll", "servicemeshmemberrolls", true},
    {"sailoperator.io/Istio", "istios", false},
    {"sailoperator.io/IstioCNI", "istiocnis", false},
    {"networking.istio.io/Gateway", "gateways", true},
    {"networking.istio.io/VirtualService", "virtualservices", true},
    {"networking.istio.io/ServiceEntry", "serviceentries", true},
    {"networking.istio.io/DestinationRule", "destinationrules", true},
    {"networking.istio.io/EnvoyFilter", "envoyfilters", true},
    {"security.istio.io/PeerAuthentication", "peerauthentications", true},
    {"security.istio.io/AuthorizationPolicy", "authorizationpolicies", true},
    {"gateway.networking.k8s.io/Gateway", "gateways", true},
    {"operator.knative.dev/KnativeServing", "knativeservings", true},
    {"operator.knative.dev/KnativeEventing", "knativeeventings", true},
    {"operator.serverless.openshift.io/KnativeKafka", "knativekafkas", true},
    {"serving.knative.dev/Service", "services", true},
    {"eventing.knative.dev/Broker", "brokers", true},
    {"eventing.knative.dev/Trigger", "triggers", true},
    {"eventing.knative.dev/KafkaSink", "kafkasinks", true},
    {"messaging.knative.dev/Channel", "channels", true},
    {"messaging.knative.dev/InMemoryChannel", "inmemorychannels", true},
    {"messaging.knative.dev/KafkaChannel", "kafkachannels", true},
    {"messaging.knative.dev/Subscription", "subscriptions", true},
    {"sources.knative.dev/ApiServerSource", "apiserversources", true},
    {"sources.knative.dev/ContainerSource", "containersources", true},
    {"sources.knative.dev/KafkaSource", "kafkasources", true},
    {"sources.knative.dev/PingSource", "pingsources", true},
    {"sources.knative.dev/SinkBinding", "sinkbindings", true},
    {"kafka.strimzi.io/Kafka", "kafkas", true},
    {"kafka.strimzi.io/KafkaNodePool", "kafkanodepools", true},
    {"route.openshift.io/Route", "routes", true},
    {"config.openshift.io/Ingress", "ingresses", false},
    {"config.openshift.io/Infrastructure", "infrastructures", false},
    {"operators.coreos.com/ClusterServiceVersion", "clusterserviceversions", true},
};
/// Only these definitions say something (K200); all of them would be megabytes.
constexpr std::string_view kDefinitions[] = {"gateways.networking.istio.io",
                                             "gateways.gateway.networking.k8s.io"};
constexpr std::string_view kDefinition = "apiextensions.k8s.io/CustomResourceDefinition";

class Reader {
 public:
  Reader(io::Loop& loop, http::Connector connector, Access access, ClusterOptions options,
         ObjectSet& out)
      : http_(loop, std::move(connector),
              http::ClientSettings{.host = access.host + ":" + std::to_string(access.port),
                                   .max_body = options.max_answer,
                                   .timeout = options.timeout}),
        access_(std::move(access)),
        options_(options),
        out_(out) {}

  io::Task<Result<void>> run() {
    auto discovering = discover();
    KNIT_CO_TRY_VOID(co_await discovering);
    for (const auto& row : kKinds) {
      auto reading = read_kind(row);
      KNIT_CO_TRY_VOID(co_await reading);
    }
    auto definitions = read_definitions();
    KNIT_CO_TRY_VOID(co_await definitions);
    auto secrets = read_secrets();
    KNIT_CO_TRY_VOID(co_await secrets);
    co_return Result<void>();
  }

 private:
  io::Task<Result<Json>> get(std::string path, http::Query query) {
    if (++requests_ > options_.max_requests) {
      co_return Error(
          Code::ResourceExhausted,
          "the cluster needs more than " + std::to_string(options_.max_requests) + " requests");
    }
    http::Request request;
    request.path = access_.base_path + path;
    request.query = std::move(query);
    request.headers.add("Accept", "application/json");
    request.headers.add("User-Agent", "knit-check");
    if (!access_.token.empty()) {
      request.headers.add("Authorization", "Bearer " + access_.token);
    } else if (!access_.basic.empty()) {
      request.headers.add("Authorization", "Basic " + hash::base64(access_.basic));
    }
    if (!access_.as.empty()) request.headers.add("Impersonate-User", access_.as);
    for (const auto& group : access_.as_groups) request.headers.add("Impersonate-Group", group);
    auto sending = http_.send(std::move(request));
    auto response = co_await sending;
    if (!response) co_return std::move(response).error();
    bytes_ += response->body.size();
    if (bytes_ > options_.max_bytes) {
      co_return Error(
          Code::ResourceExhausted,
          "the cluster's answers exceed " + std::to_string(options_.max_bytes >> 20) + " MiB");
    }
    if (response->status >= 400) co_return kube::status_error(response->status, response->body);
    if (response->status != 200) {
      co_return Error(Code::InvalidArgument, "GET " + path + ": the server answered " +
                                                 std::to_string(response->status) +
                                                 ", which no API server does");
    }
    auto dom = json::parse(response->body);
    if (!dom) {
      co_return Error(Code::InvalidArgument,
                      "GET " + path + ": the answer is no JSON: " + dom.error().message());
    }
    co_return std::move(*dom);
  }

  /// Groups and their versions; nobody is refused this who is somebody.
  io::Task<Result<void>> discover() {
    auto asking = get("/apis", {});
    auto groups = co_await asking;
    if (!groups) co_return std::move(groups).error().within("read the API groups");
    if (json::find(*groups, "groups") == nullptr) {
      co_return Error(Code::InvalidArgument,
                      "GET /apis: the answer lists no groups; is this a Kubernetes API server?");
    }
    for (const auto& g : json::array(*groups, {"groups"})) {
      const std::string name(json::str(g, {"name"}));
      std::vector<std::string> versions{std::string(json::str(g, {"preferredVersion", "version"}))};
      for (const auto& v : json::array(g, {"versions"})) {
        versions.emplace_back(json::str(v, {"version"}));
      }
      for (auto& version : versions) {
        auto& known = versions_[name];
        if (!version.empty() && version.find('/') == std::string::npos && known.size() < 20 &&
            std::find(known.begin(), known.end(), version) == known.end()) {
          known.push_back(version);
        }
      }
    }
    co_return Result<void>();
  }

  struct Served {
    std::string version, plural;
  };
  /// Where a kind is served, in the group's order of versions; nothing when it is not.
  io::Task<Result<std::optional<Served>>> served(KindName kind, std::string plural) {
    if (kind.group.empty()) co_return std::optional<Served>({"v1", plural});
    const auto versions = versions_.find(kind.group);
    if (versions == versions_.end()) co_return std::optional<Served>();
    for (const auto& version : versions->second) {
      const std::string at = "/apis/" + kind.group + "/" + version;
      if (!resources_.contains(at)) {
        auto asking = get(at, {});
        auto list = co_await asking;
        if (!list) {
          const auto code = list.error().code();
          // An aggregated API that is down: what the table says is tried.
          if (code == Code::NotFound || code == Code::PermissionDenied) {
            co_return std::optional<Served>({version, plural});
          }
          co_return std::move(list).error().within("look up " + at);
        }
        auto& known = resources_[at];
        for (const auto& r : json::array(*list, {"resources"})) {
          const std::string name(json::str(r, {"name"}));
          if (name.find('/') == std::string::npos && name.find("..") == std::string::npos)
            known[std::string(json::str(r, {"kind"}))] = name;
        }
      }
      const auto it = resources_[at].find(kind.kind);
      if (it != resources_[at].end()) co_return std::optional<Served>({version, it->second});
    }
    co_return std::optional<Served>();
  }

  void blind(const KindName& kind, std::string why) {
    out_.unreadable.emplace(kind, std::move(why));
  }

  io::Task<Result<void>> read_kind(KindRow row) {
    const KindName kind = kind_name(row.name);
    auto looking = served(kind, std::string(row.plural));
    auto found = co_await looking;
    if (!found) co_return std::move(found).error();
    if (!*found) co_return Result<void>();
    const std::string version = (*found)->version;
    const std::string plural = (*found)->plural;
    const std::string api = kind.group.empty() ? "/api/v1" : "/apis/" + kind.group + "/" + version;
    const std::string api_version = kind.group.empty() ? "v1" : kind.group + "/" + version;
    auto listing = list(api + "/" + plural, api_version, kind.kind);
    auto done = co_await listing;
    if (done) co_return Result<void>();
    if (done.error().code() == Code::NotFound) co_return Result<void>();  // not served after all
    if (done.error().code() != Code::PermissionDenied) {
      if (done.error().code() == Code::InvalidArgument ||
          done.error().code() == Code::Unsupported || done.error().code() == Code::Internal) {
        blind(kind, done.error().message());
        co_return Result<void>();
      }
      co_return std::move(done).error().within("list " + plural);
    }
    const std::string why = done.error().message();
    if (!row.namespaced) {
      blind(kind, why);
      co_return Result<void>();
    }
    auto asking = by_namespace(kind, api, plural, api_version, why);
    co_return co_await asking;
  }

  /// A token that may not list everywhere may still list where it works.
  io::Task<Result<void>> by_namespace(KindName kind, std::string api, std::string plural,
                                      std::string api_version, std::string why) {
    std::vector<std::string> names;
    const auto add = [&](const std::string& n) {
      if (!n.empty() && std::find(names.begin(), names.end(), n) == names.end()) names.push_back(n);
    };
    add(options_.ns);
    add(access_.ns);
    for (const char* n : {"istio-system", "knative-serving", "knative-eventing"}) add(n);
    const bool all_known = !out_.unreadable.contains(kind_name("Namespace"));
    for (const auto& ns : out_.list("Namespace")) add(ns->name);
    const bool cut = names.size() > options_.max_namespaces;
    if (cut) names.resize(options_.max_namespaces);
    std::string read;
    std::size_t refused = 0;
    std::size_t good = 0;
    for (const auto& name : names) {
      auto listing = list(api + "/namespaces/" + name + "/" + plural, api_version, kind.kind);
      auto done = co_await listing;
      if (done) {
        ++good;
        if (read.size() < 200) read += (read.empty() ? "" : ", ") + name;
        continue;
      }
      if (done.error().code() == Code::NotFound) continue;
      if (done.error().code() != Code::PermissionDenied) co_return std::move(done).error();
      if (++refused >= 8 && good == 0) break;
    }
    if (refused == 0 && all_known && !cut) co_return Result<void>();
    blind(kind, why + (good == 0 ? std::string() : " (read in " + read + " only)"));
    co_return Result<void>();
  }

  void add(Json object, const std::string& api_version, const std::string& kind) {
    if (!object.is_object()) return;
    auto& o = object.as_object();
    // Items of lists carry neither.
    if (!o.contains("apiVersion")) o["apiVersion"] = api_version;
    if (!o.contains("kind")) o["kind"] = kind;
    if (auto* metadata = o.if_contains("metadata"); metadata != nullptr && metadata->is_object()) {
      metadata->as_object().erase("managedFields");
      if (auto* notes = metadata->as_object().if_contains("annotations");
          notes != nullptr && notes->is_object()) {
        notes->as_object().erase("kubectl.kubernetes.io/last-applied-configuration");
      }
    }
    out_.add_live(std::move(object));
  }

  io::Task<Result<void>> list(std::string path, std::string api_version, std::string kind) {
    std::string token;
    std::size_t restarts = 0;
    std::size_t size = options_.page;
    std::set<std::string> seen;
    while (true) {
      http::Query query;
      query.add("limit", std::to_string(size));
      if (!token.empty()) query.add("continue", token);
      auto asking = get(path, std::move(query));
      auto page = co_await asking;
      if (!page) {
        // The list's version was compacted: from the start; what was read is replaced.
        if (page.error().code() == Code::Expired && !token.empty() && ++restarts <= 2) {
          token.clear();
          seen.clear();
          continue;
        }
        if (page.error().code() == Code::ResourceExhausted && bytes_ <= options_.max_bytes &&
            requests_ <= options_.max_requests) {  // one page was too large: smaller ones
          if (size == 1) {
            co_return Error(Code::Internal, "GET " + path + ": " + page.error().message());
          }
          size = std::max<std::size_t>(1, size / 10);
          continue;
        }
        co_return std::move(page).error();
      }
      auto* items = page->is_object() ? page->as_object().if_contains("items") : nullptr;
      if (items == nullptr || !(items->is_array() || items->is_null())) {
        co_return Error(Code::InvalidArgument, "GET " + path + ": the answer is no list");
      }
      std::size_t count = 0;
      if (items->is_array()) {
        count = items->as_array().size();
        for (auto& item : items->as_array()) add(std::move(item), api_version, kind);
      }
      token = json::str(*page, {"metadata", "continue"});
      if (token.empty()) co_return Result<void>();
      if (count == 0 || token.size() > 64 * 1024 || !seen.insert(token).second ||
          out_.size() >= ObjectSet::kMaxObjects) {
        co_return Error(Code::ResourceExhausted, "GET " + path + ": the list does not end (" +
                                                     std::to_string(out_.size()) +
                                                     " objects read)");
      }
    }
  }

  io::Task<Result<void>> read_definitions() {
    const KindName kind = kind_name(kDefinition);
    auto looking = served(kind, "customresourcedefinitions");
    auto found = co_await looking;
    if (!found) co_return std::move(found).error();
    if (!*found) co_return Result<void>();
    const std::string api = kind.group + "/" + (*found)->version;
    for (const auto name : kDefinitions) {
      auto asking = get("/apis/" + api + "/customresourcedefinitions/" + std::string(name), {});
      auto object = co_await asking;
      if (object) {
        if (json::find(*object, "spec") != nullptr) object->as_object()["spec"] = JsonObject();
        add(std::move(*object), api, kind.kind);
      } else if (object.error().code() == Code::PermissionDenied) {
        blind(kind, object.error().message());
        break;
      } else if (object.error().code() != Code::NotFound) {
        co_return std::move(object).error().within("read CustomResourceDefinition");
      }
    }
    co_return Result<void>();
  }

  /// Only those that Gateways name, where their pods run and where they end up by mistake.
  io::Task<Result<void>> read_secrets() {
    const KindName kind = kind_name("Secret");
    if (!options_.secrets) {
      blind(kind, "--secrets=skip");
      co_return Result<void>();
    }
    for (const auto& want : wanted_secrets(out_)) {
      auto asking = get("/api/v1/namespaces/" + want.ns + "/secrets/" + want.name, {});
      auto secret = co_await asking;
      if (secret) {
        add(std::move(*secret), "v1", "Secret");
      } else if (secret.error().code() == Code::PermissionDenied) {
        if (want.needed)
          blind(kind, secret.error().message() + "; grant get, or give --secrets=skip");
      } else if (secret.error().code() != Code::NotFound) {
        co_return std::move(secret).error().within("read Secret " + want.ns + "/" + want.name);
      }
    }
    co_return Result<void>();
  }

  http::Client http_;
  Access access_;
  ClusterOptions options_;
  ObjectSet& out_;
  std::size_t requests_ = 0, bytes_ = 0;
  std::map<std::string, std::vector<std::string>> versions_;
  std::map<std::string, std::map<std::string, std::string>> resources_;
};

}  // namespace

std::vector<std::string_view> cluster_kinds() {
  std::vector<std::string_view> out;
  for (const auto& row : kKinds) out.push_back(row.name);
  out.push_back("Secret");
  out.push_back(kDefinition);
  return out;
}

bool is_read(std::string_view group, std::string_view plural, std::string_view name) {
  const auto is = [&](std::string_view kind, std::string_view p) {
    return p == plural && kind_name(kind).group == group;
  };
  if (is("Secret", "secrets")) return true;
  if (is(kDefinition, "customresourcedefinitions")) {
    return name.empty() ||  // all in one file
           std::find(std::begin(kDefinitions), std::end(kDefinitions), name) !=
               std::end(kDefinitions);
  }
  return std::any_of(std::begin(kKinds), std::end(kKinds),
                     [&](const KindRow& row) { return is(row.name, row.plural); });
}

io::Task<Result<void>> read_cluster(io::Loop& loop, http::Connector connector, Access access,
                                    ClusterOptions options, ObjectSet& out) {
  out.live = true;
  Reader reader(loop, std::move(connector), std::move(access), options, out);
  auto running = reader.run();
  co_return co_await running;
}

}  // namespace knit::check::input
